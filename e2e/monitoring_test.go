package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// prometheus runs a real one with a configuration until the test ends, and returns its address.
func (w world) prometheus(config string) string {
	t := w.t
	t.Helper()
	program := debian(t, "prometheus", "prometheus")
	file := filepath.Join(w.dir, "prometheus.yml")
	w.put(file, []byte(config))
	address := freeAddress(t)
	cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(w.dir, "tsdb"), "--web.listen-address="+address)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // and was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return address
}

// TestPrometheusScrapesAService runs a real Prometheus with the shipped rules.
func TestPrometheusScrapesAService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := freeAddress(t)
	w.serve("--admin", admin, "--poll", never)
	w.put(filepath.Join(w.dir, "alerts.yaml"), []byte(must(t, "monitoring", "alerts")))
	address := w.prometheus(fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yaml]\nscrape_configs: [{job_name: pomona, static_configs: [{targets: [%q]}]}]\n", admin))
	value := func(query string) string {
		_, body := text("http://" + address + "/api/v1/query?query=" + query)
		var answer struct {
			Data struct {
				Result []struct{ Value [2]any }
			}
		}
		if json.Unmarshal([]byte(body), &answer) != nil || len(answer.Data.Result) != 1 {
			return ""
		}
		return fmt.Sprint(answer.Data.Result[0].Value[1])
	}
	eventually(t, "Prometheus has the published generation", func() bool { return value(`pomona_published_generation{job="pomona",site="site"}`) == "1" })
	eventually(t, "Prometheus has the template's draft", func() bool { return value(`pomona_campaigns{state="draft"}`) == "1" })
	if held := value(`pomona_campaign_stuck{campaign="orbit-reprocessing/1"}`); held != "0" {
		t.Errorf("a draft is held: %q", held)
	}
	if _, body := text("http://" + address + "/api/v1/rules"); !strings.Contains(body, "PomonaSiteInvalid") || strings.Contains(body, `"health":"err"`) {
		t.Errorf("rules: %s", body)
	}
}

// hostileFEC says everything of itself that a monitoring system could stumble over.
const hostileFEC = `package site

fecs: odd1fec: {
	host: "odd1.acc.example.org"
	platform: "debian-x86"
	description: "a \"quoted\" word, a \\ and \n}\nobject Host \"injected\" {}\n/* $host.name$ é \u0007"
	location: "hall \"7\" */ $(reboot)"
	labels: {"a-b": "$user$", "a.b": "two\nlines"}
	ssh: {port: 2222, user: "guest"}
	monitoring: {
		groups: ["beamline", "front-ends"]
		services: {
			web: {check: "http", port: 8080, target: "/health?x=\"1\"&y=$z$", interval: "2w", description: "it's \"up\""}
			io: {check: "process", target: "io \"daemon\" $$0; reboot"}
			exporter: {check: "metrics", port: 9101, target: "/m", interval: "5s"}
		}
	}
}
`

// icinga checks a configuration by a real Icinga 2, and returns what it says.
func (w world) icinga(objects string) (says string, ok bool) {
	t := w.t
	t.Helper()
	program := debian(t, "icinga2-bin", "icinga2")
	conf := filepath.Join(w.dir, "icinga2.conf")
	w.put(conf, fmt.Appendf(nil, `include <itl>
include <plugins>
const PluginDir = "/usr/lib/nagios/plugins"
const NodeName = "here"
const ZoneName = NodeName
object Endpoint NodeName {}
object Zone ZoneName { endpoints = [ NodeName ] }
include_recursive %q, "*.conf"
`, objects))
	args := []string{"daemon", "-C", "-c", conf, "-DRunAsUser=root", "-DRunAsGroup=root"}
	for _, dir := range []string{"DataDir", "CacheDir", "LogDir", "InitRunDir", "SpoolDir"} {
		at := filepath.Join(w.dir, "icinga", dir)
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-D"+dir+"="+at)
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	return string(out), err == nil
}

// TestIcingaAcceptsWhatIsPublished gives the template's FECs and a hostile one to a real Icinga.
func TestIcingaAcceptsWhatIsPublished(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("SKIPPED: Icinga 2 becomes the user whom its configuration names: only as root")
	}
	w := newWorld(t)
	w.write("fecs/odd.cue", hostileFEC, 0o644)
	w.commit("odd")
	w.reconcile()
	objects := filepath.Join(w.root, "current/monitoring/icinga2")
	says, ok := w.icinga(objects)
	// 13 FECs; a check of what each runs; the services that the template and the hostile FEC name.
	services := 13 + strings.Count(string(w.read("current/monitoring/icinga2/hosts.conf")), "object Service")
	for _, want := range []string{"Instantiated 13 Hosts", "Instantiated 2 HostGroups", fmt.Sprintf("Instantiated %d Services", services)} {
		if !ok || !strings.Contains(says, want) {
			t.Errorf("want %s: %s", want, says)
		}
	}
	if services != 13+4*3+3*(1+1)+3*(1+1)+2*1+3 { // PCs, crates with one program more than ping, and without; the hostile one
		t.Errorf("%d services", services)
	}
	copied := filepath.Join(w.dir, "copied")
	if err := os.CopyFS(copied, os.DirFS(objects)); err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(copied, "hosts.conf")
	w.put(hosts, append(w.read("current/monitoring/icinga2/hosts.conf"), `object Host "odd1fec" {}`...))
	if says, ok := w.icinga(copied); ok {
		t.Errorf("Icinga takes a host twice: %s", says)
	}
	// A site that serves no address of its own leaves out what asks there.
	w.edit("site.cue", `\n\tboot: servers: \[[^\n]*`, "")
	w.reconcile()
	if says, ok := w.icinga(objects); !ok || !strings.Contains(says, fmt.Sprintf("Instantiated %d Services", services-13)) {
		t.Errorf("without servers: %s", says)
	}
}

// TestMonitoringSeesWhatAFECRuns asks the published plugin, as Icinga would, before and after boots.
func TestMonitoringSeesWhatAFECRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address, _ := w.serve("--admin", "", "--poll", never)
	plugin := filepath.Join(w.root, "current/monitoring/icinga2/check_pomona_fec")
	check := func(fec string, code int, says string, servers ...string) {
		t.Helper()
		args := []string{"-f", fec}
		for _, s := range append(servers, "http://"+address) {
			args = append(args, "-u", s)
		}
		eventually(t, "the plugin says "+says, func() bool {
			out, _, got := runCommand(t, exec.Command(plugin, args...))
			return got == code && strings.HasPrefix(out, says)
		})
	}
	const name = "lin1mg01"
	check(name, 3, "UNKNOWN: "+name+" does not run serial")
	fec := w.newFEC(name, "http://"+address)
	fec.mustBoot()
	check(name, 0, "OK: "+name+" runs serial")
	check(name, 0, "OK: "+name+" runs serial", "http://"+freeAddress(t)) // a server that is not there
	w.edit("fecs/linac/linac.cue", `"1": "1.4.0"`, `"1": "1.5.0"`)
	must(t, "kick", "--root", w.root)
	check(name, 1, "WARNING: "+name+" does not run serial")
	w.write("scripts/daemon", "#!/bin/sh\nexit 1\n", 0o755)
	w.commit("broken")
	must(t, "kick", "--root", w.root)
	if code, _ := fec.boot(); code == 0 {
		t.Fatal("a broken script lets a FEC boot")
	}
	check(name, 2, "CRITICAL: "+name+" does not run serial")
	check("nobody1", 3, "UNKNOWN: cannot ask Pomona")
	if out, _, code := runCommand(t, exec.Command(plugin, "-f", name)); code != 3 || !strings.Contains(out, "give -f FEC and -u SERVER") {
		t.Errorf("without a server: %d, %s", code, out)
	}
	for _, path := range []string{"/-/fecs/", "/-/fecs/" + name, "/-/fecs/../check", "/-/fecs/nobody1/check", "/-/fecs//check"} {
		if got := get("http://" + address + path); got != 404 {
			t.Errorf("%s gives %d", path, got)
		}
	}
}

func (w world) read(name string) []byte {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.root, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// TestPrometheusDiscoversFECs has a real Prometheus read the published lists, as files and over HTTP.
func TestPrometheusDiscoversFECs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("fecs/odd.cue", hostileFEC, 0o644)
	w.commit("odd")
	serves, _ := w.serve("--admin", "", "--poll", never)
	lists := filepath.Join(w.root, "current/monitoring/prometheus")
	address := w.prometheus(fmt.Sprintf(`scrape_configs:
- {job_name: fecs, file_sd_configs: [{files: [%q]}]}
- job_name: probes
  metrics_path: /probe
  http_sd_configs: [{url: %q}]
  relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__param_target], target_label: instance}
  - {target_label: __address__, replacement: "127.0.0.1:9"}
`, lists+"/fecs.json", "http://"+serves+"/monitoring/prometheus/probes.json"))
	type target struct {
		ScrapeURL, ScrapeInterval string
		Labels                    map[string]string
	}
	found := func() (found map[string]target) {
		_, body := text("http://" + address + "/api/v1/targets?state=active")
		var answer struct {
			Data struct{ ActiveTargets []target }
		}
		if json.Unmarshal([]byte(body), &answer) != nil {
			return nil
		}
		found = map[string]target{}
		for _, x := range answer.Data.ActiveTargets {
			found[x.Labels["job"]+" "+x.Labels["fec"]+" "+x.Labels["service"]] = x
		}
		return found
	}
	// Four PCs of the template and the hostile one give metrics; every FEC of the template answers to ping.
	eventually(t, "Prometheus knows all targets", func() bool { return len(found()) == 4+1+12+3+1 })
	all := found()
	odd := all["fecs odd1fec exporter"]
	want := map[string]string{"fec": "odd1fec", "groups": "", "instance": "odd1.acc.example.org:9101", "job": "fecs", "label_a_b": "$user$",
		"location": `hall "7" */ $(reboot)`, "monitoring_groups": ",beamline,front-ends,", "platform": "debian-x86", "service": "exporter", "site": "linac"}
	for label, value := range want {
		if odd.Labels[label] != value {
			t.Errorf("label %s is %q, want %q", label, odd.Labels[label], value)
		}
	}
	if odd.ScrapeURL != "http://odd1.acc.example.org:9101/m" || odd.ScrapeInterval != "5s" {
		t.Errorf("scraped at %s every %s", odd.ScrapeURL, odd.ScrapeInterval)
	}
	web := all["probes odd1fec web"]
	if !strings.HasPrefix(web.ScrapeURL, "http://127.0.0.1:9/probe?module=http_2xx&target=http%3A%2F%2Fodd1.acc.example.org%3A8080%2Fhealth") {
		t.Errorf("probed at %s", web.ScrapeURL)
	}
	if keys := slices.Collect(func(yield func(string) bool) {
		for k := range all {
			if strings.HasSuffix(k, "odd1fec io") && !yield(k) {
				return
			}
		}
	}); len(keys) > 0 {
		t.Errorf("a process cannot be probed: %v", keys)
	}
}

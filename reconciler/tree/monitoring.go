package tree

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// What monitoring systems read: objects of Icinga 2, and lists of targets for Prometheus.
const (
	monitoringTop = "monitoring"
	icingaFolder  = monitoringTop + "/icinga2"
	promFolder    = monitoringTop + "/prometheus"
)

// Their files.
const (
	icingaTemplates = "templates.conf" // the same for every site, but for the addresses of its servers
	icingaGroups    = "groups.conf"
	icingaHosts     = "hosts.conf"
	icingaPlugin    = "check_pomona_fec"
	promTargets     = "fecs.json"
	promProbes      = "probes.json"
)

//go:embed monitoring/templates.conf
var templatesConf []byte

//go:embed monitoring/check_pomona_fec
var checkPlugin []byte

// watched is what monitoring systems are told of one FEC: parts of their files.
type watched struct{ hosts, targets, probes []byte }

// isWatched says whether monitoring systems are told of a FEC.
func isWatched(fec desired.FEC) bool {
	return len(fec.Monitoring.Groups)+len(fec.Monitoring.Services) > 0
}

// watch is what monitoring systems are told of a FEC; nil if it is not to be watched.
func watch(site, name string, fec desired.FEC) *watched {
	if !isWatched(fec) {
		return nil
	}
	var w watched
	w.hosts = icingaHost(name, fec)
	w.targets, w.probes = promGroups(site, name, fec)
	return &w
}

// MonitoringOf is what monitoring systems are told of a FEC, as their files have it: objects of Icinga 2, and lists of targets for Prometheus and a blackbox
// exporter.
func MonitoringOf(site, name string, fec desired.FEC) (icinga, targets, probes []byte) {
	w := watch(site, name, fec)
	if w == nil {
		w = &watched{}
	}
	return w.hosts, promFile(w.targets), promFile(w.probes)
}

// monitoringFolders are everything that monitoring systems are told of; none if nothing is to be watched. The folders of FECs are
// in the order of their names.
func monitoringFolders(s desired.Settings, fecs []Folder) []Folder {
	var all watched
	for _, f := range fecs {
		if f.watched != nil {
			all.hosts = append(append(all.hosts, f.watched.hosts...), '\n')
			all.targets = append(all.targets, f.watched.targets...)
			all.probes = append(all.probes, f.watched.probes...)
		}
	}
	if all.hosts == nil {
		return nil
	}
	return []Folder{{Path: icingaFolder, Nodes: sortNodes([]Node{
		{Path: icingaTemplates, Data: slices.Concat(icingaSite(s), templatesConf)},
		{Path: icingaGroups, Data: icingaGroupObjects(s)},
		{Path: icingaHosts, Data: all.hosts},
		{Path: icingaPlugin, Mode: artifact.Executable, Data: checkPlugin},
	})}, {Path: promFolder, Nodes: sortNodes([]Node{
		{Path: promTargets, Data: promFile(all.targets)},
		{Path: promProbes, Data: promFile(all.probes)},
	})}}
}

// IsMonitoring says whether a folder is what monitoring systems read.
func IsMonitoring(path string) bool { return path == icingaFolder || path == promFolder }

// WatchAsServed has monitoring systems be told of a FEC what the nodes of monitoring folders tell of it.
func (f *Folder) WatchAsServed(fec string, monitoring []Node) {
	var w watched
	for _, n := range monitoring {
		switch n.Path {
		case icingaHosts:
			for block := range bytes.SplitSeq(n.Data, []byte("\n\n")) {
				if bytes.HasPrefix(block, fmt.Appendf(nil, "object Host %s {", icingaString(fec))) {
					w.hosts = append(bytes.Clone(block), '\n')
				}
			}
		case promTargets:
			w.targets = promLines(n.Data, fec)
		case promProbes:
			w.probes = promLines(n.Data, fec)
		}
	}
	if w.hosts != nil {
		f.watched = &w
	}
}

// promLines are the lines of one FEC, as append writes them.
func promLines(file []byte, fec string) (out []byte) {
	for line := range bytes.Lines(file) {
		var g promGroup
		line = bytes.TrimPrefix(line, []byte(","))
		if json.Unmarshal(line, &g) == nil && g.Labels["fec"] == fec {
			out = append(append(out, ','), line...)
		}
	}
	return out
}

// icingaSite says where Pomona is asked what a FEC runs.
func icingaSite(s desired.Settings) []byte {
	return fmt.Appendf(nil, "// Of site %s.\nconst PomonaServers = %s\n\n", s.Name, icingaList(s.Boot.Servers))
}

func icingaGroupObjects(s desired.Settings) []byte {
	var b strings.Builder
	b.WriteString("// Leave this file out where these groups are defined elsewhere.\n")
	for _, name := range slices.Sorted(maps.Keys(s.MonitoringGroups)) {
		fmt.Fprintf(&b, "\nobject HostGroup %s {\n", icingaString(name))
		if d := s.MonitoringGroups[name].Description; d != "" {
			fmt.Fprintf(&b, "\tdisplay_name = %s\n", icingaString(d))
		}
		b.WriteString("}\n")
	}
	return []byte(b.String())
}

// icingaHost is a FEC with its services.
func icingaHost(name string, fec desired.FEC) []byte {
	b := &strings.Builder{}
	fmt.Fprintf(b, "object Host %s {\n\timport \"pomona-fec\"\n\taddress = %s\n", icingaString(name), icingaString(fec.Host))
	if len(fec.Monitoring.Groups) > 0 {
		fmt.Fprintf(b, "\tgroups = %s\n", icingaList(slices.Sorted(slices.Values(fec.Monitoring.Groups))))
	}
	if fec.Description != "" {
		fmt.Fprintf(b, "\tnotes = %s\n", icingaString(fec.Description))
	}
	for _, kv := range [][2]string{{"platform", fec.Platform}, {"location", fec.Location}, {"responsible", fec.Responsible}} {
		if kv[1] != "" {
			fmt.Fprintf(b, "\tvars.pomona_%s = %s\n", kv[0], icingaValue(kv[1]))
		}
	}
	if len(fec.Groups) > 0 {
		fmt.Fprintf(b, "\tvars.pomona_groups = %s\n", icingaList(slices.Sorted(slices.Values(fec.Groups))))
	}
	for _, kv := range [][2]string{{"address", fec.SSH.Address}, {"port", number(fec.SSH.Port)}, {"logname", fec.SSH.User}} {
		if kv[1] != "" {
			fmt.Fprintf(b, "\tvars.by_ssh_%s = %s\n", kv[0], icingaValue(kv[1]))
		}
	}
	for _, label := range slices.Sorted(maps.Keys(fec.Labels)) {
		fmt.Fprintf(b, "\tvars.pomona_labels[%s] = %s\n", icingaString(label), icingaValue(fec.Labels[label]))
	}
	b.WriteString("}\n")
	for _, service := range slices.Sorted(maps.Keys(fec.Monitoring.Services)) {
		icingaService(b, name, service, fec.Monitoring.Services[service])
	}
	return []byte(b.String())
}

// icingaService is one service of a FEC. Templates say how it is checked.
func icingaService(b *strings.Builder, fec, name string, s desired.MonitorService) {
	fmt.Fprintf(b, "object Service %s {\n\timport %s\n\thost_name = %s\n", icingaString(name), icingaString("pomona-"+s.Check), icingaString(fec))
	if s.Description != "" {
		fmt.Fprintf(b, "\tnotes = %s\n", icingaString(s.Description))
	}
	if s.Interval != "" {
		fmt.Fprintf(b, "\tcheck_interval = %d\n", int64(s.Every().Seconds()))
	}
	if s.Port != 0 {
		fmt.Fprintf(b, "\tvars.pomona_port = %d\n", s.Port)
	}
	if s.Target != "" {
		fmt.Fprintf(b, "\tvars.pomona_target = %s\n", icingaValue(s.Target))
	}
	b.WriteString("}\n")
}

// icingaString is a string of Icinga's language. What no terminal shows becomes a blank.
func icingaString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range strings.ToValidUTF8(s, "?") {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c == 0x7f:
			b.WriteByte(' ')
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// icingaValue is a string in which Icinga finds no macro when it puts it into a command.
func icingaValue(s string) string { return icingaString(strings.ReplaceAll(s, "$", "$$")) }

func icingaList(list []string) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = icingaString(s)
	}
	return "[ " + strings.Join(words, ", ") + " ]"
}

// promGroup is one entry of a file for Prometheus: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config
type promGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// promGroups are the targets of a FEC that give metrics themselves, and those that a blackbox exporter probes: a line for each, after a
// comma.
func promGroups(site, name string, fec desired.FEC) (targets, probes []byte) {
	for _, service := range slices.Sorted(maps.Keys(fec.Monitoring.Services)) {
		m := fec.Monitoring.Services[service]
		g := promGroup{Labels: promLabels(site, name, fec)}
		g.Labels["service"] = service
		if m.Interval != "" {
			g.Labels["__scrape_interval__"] = fmt.Sprintf("%ds", int64(m.Every().Seconds()))
			if m.Every() < time.Minute { // a target whose timeout is longer than its interval is dropped
				g.Labels["__scrape_timeout__"] = fmt.Sprintf("%ds", int64(min(m.Every(), 10*time.Second).Seconds()))
			}
		}
		switch at := fec.Host + ":" + strconv.Itoa(m.Port); m.Check {
		case desired.CheckMetrics:
			if m.Target != "" {
				g.Labels["__metrics_path__"] = m.Target
			}
			g.Targets = []string{at}
			targets = g.append(targets)
			continue
		case desired.CheckPing:
			g.Targets, g.Labels["__param_module"] = []string{fec.Host}, "icmp"
		case desired.CheckTCP:
			g.Targets, g.Labels["__param_module"] = []string{at}, "tcp_connect"
		case desired.CheckHTTP:
			g.Targets, g.Labels["__param_module"] = []string{"http://" + at + m.Target}, "http_2xx"
		default:
			continue // nothing of Prometheus's sees it from outside
		}
		probes = g.append(probes)
	}
	return targets, probes
}

// promLabels are those of a FEC. Lists stand between commas, so that ",ring," finds one.
func promLabels(site, name string, fec desired.FEC) map[string]string {
	labels := map[string]string{"site": site, "fec": name, "platform": fec.Platform}
	if fec.Location != "" {
		labels["location"] = fec.Location
	}
	for label, list := range map[string][]string{"groups": fec.Groups, "monitoring_groups": fec.Monitoring.Groups} {
		if len(list) > 0 {
			labels[label] = "," + strings.Join(slices.Sorted(slices.Values(list)), ",") + ","
		}
	}
	for _, label := range slices.Sorted(maps.Keys(fec.Labels)) {
		key := "label_" + strings.NewReplacer(".", "_", "-", "_").Replace(label)
		if _, taken := labels[key]; !taken {
			labels[key] = strings.ToValidUTF8(fec.Labels[label], "?")
		}
	}
	return labels
}

// append adds the group as a line.
func (g promGroup) append(to []byte) []byte {
	b := bytes.NewBuffer(append(to, ','))
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(g); err != nil {
		panic(err) // strings always encode
	}
	return b.Bytes()
}

// promFile is a list of lines, each after a comma.
func promFile(lines []byte) []byte {
	return slices.Concat([]byte("[\n"), bytes.TrimPrefix(lines, []byte(",")), []byte("]\n"))
}

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/remote/sshtest"
)

// collected is a service that collects from one FEC, which runs a real ssh server and the real forced command.
type collected struct {
	*configured
	world
	fec    fec
	server *sshtest.Server
}

const dataFEC = "kgp2bp01"

// newCollected boots the FEC. More stands in the service's configuration of the site.
func newCollected(t *testing.T, start func(testing.TB, ...sshtest.Option) *sshtest.Server, more string) *collected {
	t.Helper()
	c := &collected{configured: &configured{file: filepath.Join(t.TempDir(), "pomona.cue"), sites: map[string]world{}, addrs: map[string]string{"admin": freeAddress(t)}}}
	c.sites["one"], c.addrs["one"] = newWorld(t), freeAddress(t)
	c.world = c.sites["one"]
	must(t, "keygen", filepath.Join(c.dir, "data"))
	c.fec = fec{t: t, name: dataFEC, server: "http://" + c.addrs["one"], dir: filepath.Join(c.dir, "fec-"+dataFEC)}
	script := filepath.Join(c.dir, "forced")
	c.put(script, fmt.Appendf(nil, `#!/bin/sh
[ ! -x %[1]s/fault ] || exec %[1]s/fault
export PATH=%[1]s/bin POMONA_ROOT=%[1]s/state POMONA_CONF=/nonexistent
exec busybox sh %[1]s/pomona-fec --allow status,tar
`, c.fec.dir))
	c.server = start(t, sshtest.Force(script))
	c.reach()
	c.configured.write(t, []string{"one"}, fmt.Sprintf("\t\tssh: {key: %q, user: %q, root: %q, timeout: \"1m\"}\n\t\tcollect: key: %q\n%s",
		c.server.Key, c.server.User, filepath.Join(c.fec.dir, "state"), filepath.Join(c.dir, "data.sec"), more))
	c.serve()
	c.fec = c.newFEC(dataFEC, c.fec.server)
	c.put(filepath.Join(c.fec.dir, "pomona-fec"), download(t, c.fec.server+"/fecs/global/pomona-fec"))
	c.fec.env = append(c.fec.env, "POMONA_DATA_KEYS="+filepath.Join(c.fec.dir, "data-keys"))
	pub, err := os.ReadFile(filepath.Join(c.dir, "data.pub"))
	if err == nil {
		err = os.Mkdir(filepath.Join(c.fec.dir, "data-keys"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.put(filepath.Join(c.fec.dir, "data-keys/data.pub"), pub)
	return c
}

// reach has the site say where the FEC's ssh server is, and which key it has.
func (c *collected) reach() {
	c.t.Helper()
	host, port, _ := strings.Cut(c.server.Address, ":")
	c.world.write("fecs/ring/reach.cue", fmt.Sprintf("package site\n\nfecs: %s: ssh: {address: %q, port: %s, hostKeys: [%q]}\n", dataFEC, host, port, c.server.HostKey), 0o644)
	c.commit("say how a FEC is reached")
}

// serve starts the service, also again.
func (c *collected) serve() {
	c.t.Helper()
	c.service = serveFile(c.t, c.file)
	service := c.service
	c.t.Cleanup(func() {
		if service.cmd.ProcessState == nil {
			if err := service.end(syscall.SIGTERM); err != nil {
				c.t.Errorf("pomona serve ends with %v", err)
			}
		}
		if c.t.Failed() {
			c.t.Log(service.logOf())
		}
	})
	eventually(c.t, "the site is served", func() bool { return c.answers("one") && isFile(filepath.Join(c.root, "current/index")) })
	eventually(c.t, "its data is known", func() bool {
		out, _, code := pomona(c.t, "data", "list", "--root", c.root)
		return code == 0 && strings.Contains(out, dataFEC)
	})
}

func (p *service) logOf() string {
	b, _ := os.ReadFile(p.logFile.Name()) // for a test that failed
	return string(b)
}

// writes has the FEC's software write this.
func (c *collected) writes(content string) {
	c.t.Helper()
	dir := filepath.Join(c.fec.slot("current"), "opt/data/orbit")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	c.put(filepath.Join(dir, "table"), []byte(content))
}

// collect collects now.
func (c *collected) collect() string {
	c.t.Helper()
	return must(c.t, "data", "collect", dataFEC, "orbit", "--root", c.root)
}

// anew boots a FEC that has lost everything, as one in memory does, and returns what it got back.
func (c *collected) anew() (restored, said string) {
	c.t.Helper()
	if err := os.RemoveAll(filepath.Join(c.fec.dir, "state")); err != nil {
		c.t.Fatal(err)
	}
	code, said := c.fec.boot()
	if code != 0 {
		c.t.Fatalf("exit code %d\n%s", code, said)
	}
	b, err := os.ReadFile(filepath.Join(c.fec.slot("current"), "opt/data/orbit/table"))
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	return string(b), said
}

// TestPersistentDataSurvives: what a FEC writes is there again after a boot, whatever becomes of it in between.
func TestPersistentDataSurvives(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, ...sshtest.Option) *sshtest.Server{"sshd": sshtest.Sshd, "dropbear": sshtest.Dropbear} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCollected(t, start, "")
			if got, said := c.anew(); got != "" || !strings.Contains(said, "data skipped: no data.manifest") {
				t.Errorf("first boot: %q\n%s", got, said)
			}
			if out := c.collect(); out != dataFEC+" orbit: the FEC has none yet\n" {
				t.Error(out)
			}
			c.writes("first")
			if out := c.collect(); out != dataFEC+" orbit: collected\n" {
				t.Error(out)
			}
			if out := c.collect(); out != dataFEC+" orbit: unchanged since the last time\n" {
				t.Error(out)
			}
			if got, said := c.anew(); got != "first" || !strings.Contains(said, "restored data orbit") {
				t.Errorf("restored %q\n%s", got, said)
			}
			c.writes("second")
			c.collect()
			out := must(t, "data", "list", dataFEC, "--root", c.root)
			found := regexp.MustCompile(`(?m)^orbit +([0-9a-f]{12}) +orbit-1 `).FindAllStringSubmatch(out, -1)
			if !regexp.MustCompile(`kgp2bp01 +orbit +orbit-1 +\S+ \S+ UTC +1 +6 +2 +collected at `).MatchString(out) || len(found) != 2 {
				t.Fatal(out)
			}
			// An operator wants the first one back.
			if out := must(t, "data", "restore", dataFEC, "orbit", "--snapshot", found[1][1], "--root", c.root); !strings.Contains(out, "until: pomona data restore kgp2bp01 orbit --newest") {
				t.Error(out)
			}
			c.writes("third")
			c.collect()
			if got, said := c.anew(); got != "first" {
				t.Errorf("restored %q\n%s", got, said)
			}
			must(t, "data", "restore", dataFEC, "orbit", "--newest", "--root", c.root)
			if got, _ := c.anew(); got != "third" {
				t.Errorf("restored %q", got)
			}
			// Software that writes another format finds none; what it wrote before is there for the older one.
			c.edit("fecs/ring/ring.cue", `schema: "orbit-1"`, `schema: "orbit-2"`)
			c.kick()
			if got, said := c.anew(); got != "" || !strings.Contains(said, "data orbit skipped: orbit-1 of /opt/data/orbit was collected, and orbit-2 of /opt/data/orbit is wanted") {
				t.Errorf("in another format: restored %q\n%s", got, said)
			}
			c.writes("2")
			git(t, c.site, "revert", "--no-edit", "HEAD")
			c.kick()
			if out := c.collect(); out != dataFEC+" orbit: collected\n" { // in the format that the FEC writes, not that which is published
				t.Error(out)
			}
			if got, _ := c.anew(); got != "third" {
				t.Errorf("back in the first format: restored %q", got)
			}
			// The tree is what the commit says, whatever is collected.
			if out := must(t, "verify", c.site, "--rev", "HEAD", "--root", c.root, "--public-key", filepath.Join(c.dir, "key.pub")); out == "" {
				t.Error("verify says nothing")
			}
			c.edit("fecs/ring/ring.cue", `\t\t\tpersistence: .*\n`, "")
			c.kick()
			eventually(t, "it is archived", func() bool {
				return strings.Contains(must(t, "data", "list", dataFEC, "--root", c.root), "archived: no FEC wants it any more")
			})
			if code := get(c.fec.server + "/data/" + dataFEC + "/data.manifest"); code != 404 {
				t.Errorf("the manifest of a FEC without persistent data is answered with %d", code)
			}
			if err := c.end(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			// Without a service, what was collected can be had.
			file := filepath.Join(c.dir, "export.tar.gz")
			must(t, "data", "export", dataFEC, "orbit", file, "--snapshot", found[0][1], "--root", c.root)
			if out, err := exec.Command("tar", "-xzOf", file, "opt/data/orbit/table").Output(); err != nil || string(out) != "second" {
				t.Errorf("exported %q, %v", out, err)
			}
			if out := must(t, "data", "list", "--root", c.root); !strings.Contains(out, "archived") {
				t.Error(out)
			}
			if _, errs, code := pomona(t, "data", "collect", dataFEC, "orbit", "--root", c.root); code != 2 || !strings.Contains(errs, "start pomona serve --config") {
				t.Errorf("exit code %d\n%s", code, errs)
			}
		})
	}
}

// fault has the FEC's ssh server answer with what a shell script does; empty: as it should.
func (c *collected) fault(script string) {
	c.t.Helper()
	file := filepath.Join(c.fec.dir, "fault")
	if err := os.RemoveAll(file); err != nil {
		c.t.Fatal(err)
	}
	if script != "" {
		c.put(file, []byte("#!/bin/sh\n"+script+"\n"))
	}
}

// TestServiceDiesWhileItCollects: killed at any moment, it leaves the last snapshot, and the next one needs no help.
func TestServiceDiesWhileItCollects(t *testing.T) {
	t.Parallel()
	c := newCollected(t, sshtest.Sshd, "")
	c.anew()
	c.writes("first")
	c.collect()
	for _, how := range []string{"sleep 60", "busybox tar -cf - -C %[1]s/current opt/data/orbit | head -c 700; sleep 60",
		"busybox tar -cf - -C %[1]s/current opt/data/orbit | head -c 9000; sleep 60"} {
		c.fault(strings.ReplaceAll(how, "%[1]s", filepath.Join(c.fec.dir, "state")) + " # " + c.fec.dir)
		c.writes(strings.Repeat("second", 10_000))
		asked := exec.Command(binary, "data", "collect", dataFEC, "orbit", "--root", c.root)
		if err := asked.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "something is on its way", func() bool {
			names, _ := os.ReadDir(filepath.Join(c.root, ".pomona/collecting"))
			return len(names) > 0
		})
		if err := c.end(syscall.SIGKILL); err == nil {
			t.Error("it was not killed")
		}
		if err := asked.Wait(); err == nil {
			t.Error("whoever asked thinks that it was done")
		}
		c.fault("")
		c.serve()
		if got, said := c.anew(); got != "first" {
			t.Fatalf("%s: restored %q\n%s", how, got, said)
		}
	}
	c.writes("second")
	if out := c.collect(); out != dataFEC+" orbit: collected\n" {
		t.Error(out)
	}
	if names, err := os.ReadDir(filepath.Join(c.root, ".pomona/collecting")); err != nil || len(names) > 0 {
		t.Errorf("left: %v, %v", names, err)
	}
	if got, _ := c.anew(); got != "second" {
		t.Errorf("restored %q", got)
	}
}

// TestWhatFailsIsToldWithWhatToDo: a host key that is another one, or unknown, and data that is much less than before.
func TestWhatFailsIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	c := newCollected(t, sshtest.Dropbear, "")
	c.anew()
	c.writes("1 2 3 4")
	c.collect()
	fails := func(words ...string) {
		t.Helper()
		_, errs, code := pomona(t, "data", "collect", dataFEC, "orbit", "--root", c.root)
		for _, w := range words {
			if code != 2 || !strings.Contains(errs, w) {
				t.Errorf("exit code %d, want %q\n%s", code, w, errs)
			}
		}
	}
	c.writes("1")
	fails("it has 1 bytes, files: 1, and had 7 bytes, files: 1", "pomona data collect kgp2bp01 orbit --shrunken")
	must(t, "data", "collect", dataFEC, "orbit", "--shrunken", "--root", c.root)
	c.server.Rekey()
	fails("shows another host key than the known one: nothing was run", c.server.HostKey)
	eventually(t, "it is measured", func() bool {
		return strings.Contains(string(download(t, "http://"+c.addrs["admin"]+"/metrics")), "pomona_data_failing{site=\"one\"} 1")
	})
	c.world.edit("fecs/ring/reach.cue", `, hostKeys: .*\]`, "")
	c.kick()
	fails("nothing says which host key kgp2bp01", c.server.HostKey)
	c.reach()
	c.kick()
	if out := c.collect(); !strings.Contains(out, "unchanged") {
		t.Error(out)
	}
}

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// configured is a service with a configuration file, and its worlds by site.
type configured struct {
	*service
	file  string
	top   string // of the configuration, beside the sites
	sites map[string]world
	addrs map[string]string
}

// configure starts a service of some sites.
func configure(t *testing.T, names ...string) *configured {
	t.Helper()
	c := &configured{file: filepath.Join(t.TempDir(), "pomona.cue"), sites: map[string]world{}, addrs: map[string]string{"admin": freeAddress(t)}}
	for _, name := range names {
		c.sites[name], c.addrs[name] = newWorld(t), freeAddress(t)
	}
	c.write(t, names, "")
	c.service = serveFile(t, c.file)
	t.Cleanup(func() {
		if err := c.end(syscall.SIGTERM); err != nil {
			t.Errorf("pomona serve ends with %v", err)
		}
	})
	return c
}

// serveFile starts a service with a configuration file.
func serveFile(t *testing.T, file string) *service {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "serve", "--config", file)
	cmd.Stderr = f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &service{t, cmd, "", f}
}

// write writes the configuration of some of the sites, and more at the end of each.
func (c *configured) write(t *testing.T, names []string, more string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "admin: %q\n%ssites: {\n", c.addrs["admin"], c.top)
	for _, name := range names {
		w := c.sites[name]
		fmt.Fprintf(&b, "\t%s: {\n\t\troot: %q\n\t\tlisten: %q\n\t\trepository: url: %q\n\t\tkeys: [%q]\n%s\t}\n",
			name, w.root, c.addrs[name], w.site, filepath.Join(w.dir, "key.sec"), more)
	}
	b.WriteString("}\n")
	if err := os.WriteFile(c.file+".new", []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.file+".new", c.file); err != nil {
		t.Fatal(err)
	}
}

func (c *configured) answers(name string) bool {
	return get("http://"+c.addrs[name]+"/-/readyz") == 200
}

// TestServeConfiguredSites serves two sites; what happens to one concerns the other as little as changes of the
// configuration do.
func TestServeConfiguredSites(t *testing.T) {
	t.Parallel()
	c := configure(t, "one", "two")
	eventually(t, "both sites are served", func() bool { return c.answers("one") && c.answers("two") })
	one, two := c.sites["one"], c.sites["two"]

	// The first loses its repository; the second follows its branch, and the first stays served.
	if err := os.Rename(one.site, one.site+".gone"); err != nil {
		t.Fatal(err)
	}
	two.note("beside a site without repository")
	two.follows("the second site's commit is published")
	if !c.answers("one") {
		t.Error("a site without repository is served no more")
	}
	if err := os.Rename(one.site+".gone", one.site); err != nil {
		t.Fatal(err)
	}
	one.note("back again")
	one.follows("the first site's commit is published when its repository is back")

	// A configuration with a problem changes nothing.
	c.write(t, []string{"one"}, "\t\tmaxConections: 3\n")
	eventually(t, "the problem is told with its place", func() bool {
		return strings.Contains(c.log(), c.file+":8:3: sites.one.maxConections: unknown field")
	})
	if !c.answers("one") || !c.answers("two") {
		t.Error("an invalid configuration ends a site")
	}

	// One site less, and back; the other never stops.
	c.write(t, []string{"two"}, "")
	eventually(t, "the first site is gone", func() bool { return !c.answers("one") })
	if !c.answers("two") {
		t.Error("the site that did not change is not served")
	}
	c.write(t, []string{"one", "two"}, "")
	eventually(t, "the first site is back", func() bool { return c.answers("one") })
	if n := strings.Count(c.log(), "serving tree"); n != 3 {
		t.Errorf("sites were started %d times, want 3:\n%s", n, c.log())
	}
}

// TestServeWithoutRepository starts while the repository is away: what was published is served, and what comes followed.
func TestServeWithoutRepository(t *testing.T) {
	t.Parallel()
	c := configure(t, "one")
	one := c.sites["one"]
	eventually(t, "the site is served", func() bool { return c.answers("one") })
	one.follows("the first commit is published")
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(one.site, one.site+".gone"); err != nil {
		t.Fatal(err)
	}
	c.service = serveFile(t, c.file)
	eventually(t, "what is wrong is told", func() bool { return strings.Contains(c.log(), "pass not done") })
	if code := get("http://" + c.addrs["one"] + "/generation.json"); code != 200 {
		t.Errorf("without its repository the site answers %d", code)
	}
	if err := os.Rename(one.site+".gone", one.site); err != nil {
		t.Fatal(err)
	}
	one.note("back again")
	one.follows("the commit is published when the repository is back")
}

// TestServeBrokenSite starts with a site that cannot run: the other does, and the broken one as soon as it can.
func TestServeBrokenSite(t *testing.T) {
	t.Parallel()
	c := configure(t, "good", "bad")
	// The configuration is read when the service starts; the site is broken before or after: it is tried again either way.
	bad := c.sites["bad"]
	if err := os.Rename(filepath.Join(bad.dir, "key.sec"), filepath.Join(bad.dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	c.write(t, []string{"good", "bad"}, "\t\tpoll: \"7s\"\n") // both start anew
	eventually(t, "what is wrong is told", func() bool {
		return strings.Contains(c.log(), "site not served") && strings.Contains(c.log(), "site=bad")
	})
	eventually(t, "the good site is served", func() bool { return c.answers("good") })
	if err := os.Rename(filepath.Join(bad.dir, "elsewhere"), filepath.Join(bad.dir, "key.sec")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the site is served as soon as it can be", func() bool { return c.answers("bad") })
}

func TestServeConfigProblems(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pomona.cue")
	if err := os.WriteFile(file, []byte("sites: a: {root: \"/srv/a\", listen: \":1\", repository: url: \"git.example.org/x\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"serve", "--config", file}, {"serve", "--config", file, "--check"}} {
		if _, errs, code := pomona(t, args...); code != 1 || !strings.Contains(errs, file+":1:59: sites.a.repository.url: malformed repository address") {
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		}
	}
	if _, errs, code := pomona(t, "serve", "--config", file, "--root", "/srv/a"); code != 2 || !strings.Contains(errs, "--root and --config") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

// TestStandby starts a second service of a root: it waits, and takes over when the first is killed.
func TestStandby(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.start("--poll", never)
	eventually(t, "the first serves", func() bool { return get("http://"+first.address+"/-/readyz") == 200 })
	second := w.start("--poll", never)
	eventually(t, "the second waits", func() bool { return strings.Contains(second.log(), "waiting: another pomona serves this root") })
	if get("http://"+second.address+"/-/readyz") == 200 {
		t.Error("the second answers")
	}
	w.note("while one waits")
	w.kick()
	if err := first.end(syscall.SIGKILL); err == nil {
		t.Error("a killed service ends well")
	}
	eventually(t, "the second serves", func() bool { return get("http://"+second.address+"/-/readyz") == 200 })
	w.note("after the change of guard")
	w.kick()
	w.follows("the second publishes")
	third := w.start("--poll", never)
	eventually(t, "the third waits", func() bool { return strings.Contains(third.log(), "waiting: another") })
	if err := third.end(syscall.SIGTERM); err != nil {
		t.Errorf("a waiting service ends with %v", err)
	}
	if err := second.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

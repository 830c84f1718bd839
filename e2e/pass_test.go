package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kills is how many processes a campaign kills: POMONA_KILLS, else a few.
func kills(t *testing.T) int {
	t.Helper()
	s := os.Getenv("POMONA_KILLS")
	if s == "" {
		return 20
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestKilledAtRandom kills the real binary at random moments of passes that publish. After each death the served tree is
// whole; one more pass needs no help.
func TestKilledAtRandom(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	w.change(0)
	w.reconcile()
	whole := time.Since(start)
	killed, done := 0, 0
	for i := 1; killed < kills(t); i++ {
		w.change(i)
		cmd := exec.Command(binary, "reconcile", w.site, "--root", w.root, "--key", filepath.Join(w.dir, "key.sec"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int64N(int64(whole) * 5 / 4)))
		if err := cmd.Process.Kill(); err != nil && err != os.ErrProcessDone {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			done++
			continue
		}
		killed++
		w.whole()
		w.reconcile()
		w.whole()
		if out, _, code := pomona(t, "plan", w.site, "--root", w.root, "--exit-code"); code != 0 {
			t.Fatalf("after kill %d, planning again yields\n%s", killed, out)
		}
		if left, err := os.ReadDir(filepath.Join(w.root, ".pomona/staging")); len(left) > 0 || err != nil {
			t.Fatalf("staging holds %v, %v", left, err)
		}
	}
	t.Logf("%d passes killed, %d finished first, 0 violations", killed, done)
}

// change commits a new payload and a new script.
func (w world) change(i int) {
	w.t.Helper()
	w.write("kill.cue", `package site

software: victim: versions: "1.0.0": payload: any: {folder: "payload/victim", install: "/opt/victim"}
fecs: victim1: {host: "victim1.example.org", platform: "yocto-ppc", software: victim: version: "1.0.0"}
`, 0o644)
	w.write("payload/victim/data", strings.Repeat(fmt.Sprintf("pass %d\n", i), 200_000), 0o644)
	w.commit(fmt.Sprintf("change %d", i))
}

// whole checks the served tree as a client would: the index is complete, every link leads somewhere, every checksum
// beside an archive holds.
func (w world) whole() {
	w.t.Helper()
	index, err := os.ReadFile(filepath.Join(w.root, "current/index"))
	if err != nil {
		w.t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(index, []byte("\n")), []byte("\n"))
	if want := fmt.Sprintf("end %d", len(lines)-1); string(lines[len(lines)-1]) != want {
		w.t.Fatalf("the index ends with %q, want %q", lines[len(lines)-1], want)
	}
	out, err := exec.Command("find", filepath.Join(w.root, "current")+"/", filepath.Join(w.root, "by-commit"), "-xtype", "l").CombinedOutput()
	if err != nil || len(out) > 0 {
		w.t.Fatalf("dangling links, %v:\n%s", err, out)
	}
	check := exec.Command("sh", "-c", `find -L software configuration -name '*.sha256' | while read -r f; do (cd "${f%/*}" && sha256sum --quiet -c "${f##*/}") || exit 1; done`)
	check.Dir = filepath.Join(w.root, "current")
	if out, err := check.CombinedOutput(); err != nil {
		w.t.Fatalf("checksums: %v\n%s", err, out)
	}
}

// TestSameTreeAnywhere is law 4 through the binary: umask, time zone, locale, processors and the order of files on disk
// do not matter.
func TestSameTreeAnywhere(t *testing.T) {
	w := newWorld(t)
	digest := func(root string) string {
		b, err := os.ReadFile(filepath.Join(root, "current/index"))
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^tree ([0-9a-f]{64})$`).FindSubmatch(b)
		if m == nil {
			t.Fatalf("no tree in the index:\n%s", b)
		}
		return string(m[1])
	}
	w.reconcile()
	want := digest(w.root)
	clone := filepath.Join(w.dir, "clone.git")
	git(t, w.dir, "clone", "-q", "--bare", w.site, clone)
	for i, variant := range []struct {
		umask int
		site  string
		env   []string
	}{
		{0o077, w.site, []string{"TZ=Pacific/Kiritimati", "LC_ALL=tr_TR.UTF-8", "GOMAXPROCS=1"}},
		{0o002, clone, []string{"TZ=America/Adak", "LANG=C", "GOMAXPROCS=7", "HOME=/nonexistent", "USER=nobody"}},
	} {
		root := filepath.Join(w.dir, fmt.Sprint("root", i))
		old := syscall.Umask(variant.umask)
		cmd := exec.Command(binary, "reconcile", variant.site, "--root", root, "--key", filepath.Join(w.dir, "key.sec"))
		cmd.Env = append(os.Environ(), variant.env...)
		_, errs, code := runCommand(t, cmd)
		syscall.Umask(old)
		if code != 0 {
			t.Fatalf("reconcile: %s", errs)
		}
		if got := digest(root); got != want {
			t.Errorf("with umask %o, %v: tree %s, want %s", variant.umask, variant.env, got, want)
		}
		if out, err := exec.Command("find", root, "-path", root+"/.pomona", "-prune", "-o", "!", "-type", "l", "!", "-perm", "-444", "-print").CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("with umask %o, a web server cannot read, %v:\n%s", variant.umask, err, out)
		}
	}
}

// TestNginxServesTheTree boots a FEC from the shipped nginx configuration.
func TestNginxServesTheTree(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	address := w.nginx()
	w.newFEC(w.fecs()[0], "http://"+address).mustBoot()
	for path, want := range map[string]int{"/.pomona/known": 404, "/current/index": 404, "/generations/1/index": 404} {
		if got := get("http://" + address + path); got != want {
			t.Errorf("%s gives %d, want %d", path, got, want)
		}
	}
}

// nginx runs the shipped configuration until the test ends and returns its address.
func (w world) nginx() (address string) {
	t := w.t
	t.Helper()
	nginx := debian(t, "nginx-light", "nginx")
	shipped, err := os.ReadFile("../docs/nginx/pomona.conf")
	if err != nil {
		t.Fatal(err)
	}
	address = freeAddress(t)
	conf := string(shipped)
	conf = regexp.MustCompile(`(?m)^(\s*)listen .*;`).ReplaceAllString(conf, "${1}listen "+address+";")
	conf = strings.ReplaceAll(conf, "/srv/pomona", w.root)
	if !strings.Contains(conf, address) || !strings.Contains(conf, w.root) {
		t.Fatalf("the shipped configuration has another form:\n%s", shipped)
	}
	main := fmt.Sprintf("daemon off;\nuser root;\npid %[1]s/nginx.pid;\nerror_log %[1]s/error.log;\nevents {}\nhttp {\naccess_log %[1]s/access.log;\nclient_body_temp_path %[1]s/body;\n%[2]s\n}\n", w.dir, conf)
	if os.Getuid() != 0 {
		main = strings.Replace(main, "user root;\n", "", 1)
	}
	w.put(filepath.Join(w.dir, "nginx.conf"), []byte(main))
	cmd := exec.Command(nginx, "-c", filepath.Join(w.dir, "nginx.conf"), "-p", w.dir)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("nginx: %v\n%s", err, &errs)
		}
	})
	eventually(t, "nginx answers", func() bool { return get("http://"+address+"/index") == 200 })
	return address
}

// TestStockCUE holds the template and a broken site to the cue that engineers have, offline.
func TestStockCUE(t *testing.T) {
	w := newWorld(t)
	cue := w.stockCUE()
	vet := func() (string, error) {
		cmd := exec.Command(cue, "vet", "-c", "./...")
		cmd.Dir = w.site
		cmd.Env = append(os.Environ(), "CUE_REGISTRY=none", "CUE_CACHE_DIR="+w.dir+"/no-cache")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := vet(); err != nil {
		t.Errorf("stock cue refuses the template: %v\n%s", err, out)
	}
	w.write("fecs/bad/bad.cue", "package site\n\nfecs: bad1: {host: \"bad1\", platform: \"yocto-ppc\", responsable: \"me\"}\n", 0o644)
	if out, err := vet(); err == nil || !strings.Contains(out, "responsable") {
		t.Errorf("stock cue accepts a misspelt field: %v\n%s", err, out)
	}
	out, _, code := pomona(t, "validate", w.site)
	if code != 1 || !strings.Contains(out, `fecs/bad/bad.cue:3:`) || !strings.Contains(out, `did you mean "responsible"?`) {
		t.Errorf("pomona validate: exit code %d\n%s", code, out)
	}
}

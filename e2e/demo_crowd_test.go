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
)

// TestDemoOfACrowd boots 300 FECs, of which those fail that were to, leaves the service with them, and releases something: it
// reaches the running FECs.
func TestDemoOfACrowd(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	said, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	top := filepath.Join(dir, "demo")
	cmd := exec.Command(binary, "demo", "--fecs", "300", "--failing", "5%", "--dir", top, "--listen", freeAddress(t))
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := func() string {
		b, _ := os.ReadFile(out) // for people, or not yet there
		return string(b)
	}
	defer func() {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("interrupted, it ends with %v:\n%s", err, text())
		}
	}()
	eventually(t, "the crowd has booted", func() bool { return strings.Contains(text(), "Serving until Ctrl-C") })
	row := regexp.MustCompile(`(?m)^ *(diag|linac|ring|timing) +(\d+) +(\d+) +(\d+) +(\d+)`)
	total := [4]int{}
	for _, found := range row.FindAllStringSubmatch(text(), -1) {
		for i := range total {
			var n int
			_, _ = fmt.Sscan(found[i+2], &n) // digits
			total[i] += n
		}
	}
	if total[0] != 300 || total[1]+total[2] != 300 || total[3] != 0 || total[2] < 5 || total[2] > 30 {
		t.Errorf("FECs, running, failed, other: %v\n%s", total, text())
	}
	root, site := filepath.Join(top, "root"), filepath.Join(top, "site")
	summary := fmt.Sprintf("%d of 300 run what is published; %d failed", total[1], total[2])
	eventually(t, summary, func() bool { return strings.Contains(must(t, "status", "--root", root), summary) })

	const common = "fecs/diag/diag.cue"
	b, err := os.ReadFile(filepath.Join(site, common))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(site, common), []byte(strings.ReplaceAll(string(b), "1.0.0", "1.1.0")), 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, site, "commit", "-qam", "diag-tools 1.1.0")
	eventually(t, "the first FEC runs the new version", func() bool {
		told := must(t, "fec", "diag00001cr", "--root", root)
		_, running, _ := strings.Cut(told, "\nrunning ")
		running, _, _ = strings.Cut(running, "\ndiffers ")
		return strings.Contains(running, "diag-tools 1.1.0")
	})
}

func TestDemoOfACrowdOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	out := must(t, "demo", "--fecs", "20", "--once", "--dir", dir, "--listen", freeAddress(t))
	if !strings.Contains(out, "20 FECs have booted in ") {
		t.Errorf("it says:\n%s", out)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--fecs", "20", "--dir", dir}, "is not empty"},
		{[]string{"--fecs", "-1"}, "cannot simulate -1 FECs"},
		{[]string{"--fecs", "20", "--failing", "120%"}, "malformed share"},
		{[]string{"--failing", "5%"}, "give --fecs too"},
	} {
		if out, errs, code := pomona(t, append([]string{"demo", "--once"}, c.args...)...); code != 2 || !strings.Contains(errs, c.want) {
			t.Errorf("%v: exit code %d\n%s%s", c.args, code, out, errs)
		}
	}
}

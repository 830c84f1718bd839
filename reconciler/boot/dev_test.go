package boot_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/boot"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// develops has the FEC do what pomona dev asks.
func develops(t *testing.T, f *boot.FEC, command string, in []byte) (out string, status int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), f.Command(), "--allow", "status,dev")
	c.Dir, c.Env, c.Stdin = t.TempDir(), []string{"SSH_ORIGINAL_COMMAND=pomona-fec " + command}, bytes.NewReader(in)
	b, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return string(b), c.ProcessState.ExitCode()
}

func mustDevelop(t *testing.T, f *boot.FEC, command string, in []byte) string {
	t.Helper()
	out, status := develops(t, f, command, in)
	if status != 0 {
		t.Fatalf("%s: status %d\n%s", command, status, out)
	}
	return out
}

// puts puts a version of bpm on the FEC that says who it is.
func puts(t *testing.T, f *boot.FEC, version string) {
	t.Helper()
	const install = "/opt/fesa/bpm/dev"
	b := archive(t, artifact.Gzip, map[string]string{install + "/version": version})
	mustDevelop(t, f, fmt.Sprintf("dev put bpm %s %s %s", version, artifact.Sum(b), install), b)
}

// bench is a release whose bpm notes what it was started with, and whose other software goes on beside.
func (s *site) bench(serial int64) tree.Manifest {
	const notes = `echo "$POMONA_VERSION $(cat $POMONA_INSTALL/version 2>/dev/null) $(cat $POMONA_SLOT/opt/conf/timing/delays) $(cat $POMONA_SLOT/opt/timing/bin/timing)" >$POMONA_RUN/bpm.says
while sleep 1; do :; done &
echo $! >$POMONA_RUN/bpm.process
echo "$POMONA_VERSION runs" >>$POMONA_RUN/bpm.log`
	return s.withScripts(s.crew(serial), map[string]string{"50-bpm=bpm": notes, "60-timing=timing": "while sleep 1; do :; done &\necho $! >$POMONA_RUN/timing.process"})
}

func said(t *testing.T, f *boot.FEC) string { t.Helper(); return read(t, f.Root(), "run/bpm.says") }

func slotsOf(t *testing.T, f *boot.FEC) (names []string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(f.Root(), "slots"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func TestDev(t *testing.T) {
	onEach(t, func(t *testing.T, on machine) {
		s := siteOn(t, on)
		f := s.fec()
		s.publish(s.bench(100))
		o := boots(t, f, "running", 100, "")
		released, beside, timing := said(t, f), process(t, f, "bpm"), process(t, f, "timing")
		if !strings.HasPrefix(released, "1.0.100 ") {
			t.Fatalf("bpm says %q", released)
		}

		puts(t, f, "dev-1")
		if !alive(beside) || said(t, f) != released {
			t.Error("what was put has been started")
		}
		status, _ := ask(t, f, "status")
		if !strings.Contains(status, "\nstate running 100 "+filepath.Base(o.Slot)) || !strings.Contains(status, "\ndev bpm dev-1\nend\n") {
			t.Errorf("status:\n%s", status)
		}
		mustDevelop(t, f, "dev start bpm", nil)
		if got, want := said(t, f), strings.Replace(released, "1.0.100 ", "dev-1 dev-1", 1); got != want || alive(beside) || !alive(process(t, f, "bpm")) || !alive(timing) {
			t.Errorf("bpm says %q, want %q; alive: before %v, now %v, timing %v", got, want, alive(beside), alive(process(t, f, "bpm")), alive(timing))
		}
		told := s.told()
		if last := told[len(told)-1]; last.Get("dev") != "bpm dev-1" || last.Get("state") != "running" || last.Get("serial") != "100" || last.Get("slot") != filepath.Base(o.Slot) {
			t.Errorf("reported %v", last)
		}

		if on.emulator != "" {
			return // the rest is the same, and slow
		}

		first := process(t, f, "bpm")
		puts(t, f, "dev-2")
		if !alive(first) {
			t.Error("putting the next one has ended the last one")
		}
		mustDevelop(t, f, "dev start bpm", nil)
		if alive(first) || !strings.HasPrefix(said(t, f), "dev-2 dev-2 ") {
			t.Errorf("bpm says %q", said(t, f))
		}
		if left := slotsOf(t, f); len(left) != 2 {
			t.Errorf("slots %v, want the release and the last of dev", left)
		}

		second := process(t, f, "bpm")
		mustDevelop(t, f, "dev stop bpm", nil)
		if alive(second) || !alive(timing) {
			t.Errorf("stopped: alive %v, timing %v", alive(second), alive(timing))
		}
		mustDevelop(t, f, "dev start bpm", nil)
		third := process(t, f, "bpm")
		mustDevelop(t, f, "dev drop bpm", nil)
		if alive(third) || said(t, f) != released || len(slotsOf(t, f)) != 1 {
			t.Errorf("dropped: alive %v, bpm says %q, slots %v", alive(third), said(t, f), slotsOf(t, f))
		}
		if status, _ := ask(t, f, "status"); strings.Contains(status, "dev ") {
			t.Errorf("status:\n%s", status)
		}
		if read(t, o.Slot, ".pomona/software") == "" || strings.Contains(read(t, o.Slot, ".pomona/software"), "dev") {
			t.Error("the release's slot has changed")
		}
	})
}

// TestDevIsGone at the next boot, also when that brings nothing new, and after a restart of the same software.
func TestDevIsGone(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.bench(100))
	boots(t, f, "running", 100, "")
	released := said(t, f)
	puts(t, f, "dev-1")
	mustDevelop(t, f, "dev start bpm", nil)
	boots(t, f, "running", 100, "")
	if left := slotsOf(t, f); len(left) != 1 || said(t, f) != released {
		t.Errorf("after a boot there are %v, and bpm says %q", left, said(t, f))
	}
	told := s.told()
	if told[len(told)-1].Has("dev") {
		t.Errorf("reported %v", told[len(told)-1])
	}

	puts(t, f, "dev-2")
	mustDevelop(t, f, "dev start bpm", nil)
	before := process(t, f, "bpm")
	s.publish(s.bench(101))
	accepted(t, f, "restart 101 timing")
	eventually(t, f, "running 101 ")
	if status, _ := ask(t, f, "status"); !strings.Contains(status, "\ndev bpm dev-2\n") || !alive(before) {
		t.Errorf("the restart of another software ended it:\n%s", status)
	}
	accepted(t, f, "restart 101 bpm")
	awaits(t, "the release's bpm", func() bool { return strings.HasPrefix(said(t, f), "1.0.101 ") })
	eventually(t, f, "running 101 ")
	if status, _ := ask(t, f, "status"); strings.Contains(status, "dev ") || alive(before) {
		t.Errorf("alive %v, status:\n%s", alive(before), status)
	}
}

// TestDevThatFails leaves the FEC's state as its boot has left it: nothing that is published is to blame.
func TestDevThatFails(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.withScripts(s.crew(100), map[string]string{"50-bpm=bpm": `[ ! -e "$POMONA_INSTALL/version" ] || { echo no such device; exit 3; }`}))
	boots(t, f, "running", 100, "")
	puts(t, f, "dev-1")
	if out, status := develops(t, f, "dev start bpm", nil); status != 1 || !strings.Contains(out, "no such device") || !strings.Contains(out, "50-bpm failed with status 3") {
		t.Errorf("status %d:\n%s", status, out)
	}
	if status, _ := ask(t, f, "status"); !strings.Contains(status, "\nstate running 100 ") {
		t.Errorf("status:\n%s", status)
	}
	for _, report := range s.told() {
		if report.Get("state") == "init-failed" {
			t.Errorf("reported %v", report)
		}
	}
}

// TestDevStartsWhatIsOnHold in the release: whoever works on it has asked for it.
func TestDevStartsWhatIsOnHold(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	m := s.bench(100)
	m.Software[0].Start = false
	s.publish(m)
	boots(t, f, "running", 100, "")
	if _, err := os.Stat(filepath.Join(f.Root(), "run/bpm.says")); err == nil {
		t.Fatal("the release's bpm was started")
	}
	puts(t, f, "dev-1")
	mustDevelop(t, f, "dev start bpm", nil)
	if got := said(t, f); !strings.HasPrefix(got, "dev-1 dev-1 ") {
		t.Errorf("bpm says %q", got)
	}
}

func TestDevRefuses(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.bench(100))
	boots(t, f, "running", 100, "")
	b := archive(t, artifact.Gzip, map[string]string{"/opt/bpm/version": "x"})
	sum := artifact.Sum(b).String()
	for command, want := range map[string]struct {
		status int
		text   string
	}{
		"dev put bpm dev " + strings.Repeat("0", 64) + " /opt/bpm": {2, "what came is not what was sent"},
		"dev put bpm dev " + sum + " /opt/else":                    {2, "the archive has no /opt/else"},
		"dev put bpm dev " + sum + " opt/bpm":                      {126, "malformed path"},
		"dev put bpm dev " + sum + " /opt/../bpm":                  {126, "malformed path"},
		"dev put bpm dev " + sum + " /opt/.pomona":                 {126, "malformed path"},
		"dev put ../bpm dev " + sum + " /opt/bpm":                  {126, "malformed software"},
		"dev put bpm de/v " + sum + " /opt/bpm":                    {126, "malformed version"},
		"dev put bpm dev XYZ /opt/bpm":                             {126, "malformed digest"},
		"dev put bpm dev " + sum:                                   {126, "no such command"},
		"dev start bpm":                                            {2, "no bpm was put here"},
		"dev start bpm now":                                        {126, "no such command"},
		"dev":                                                      {126, "with 0 words"},
		"restart 100 bpm":                                          {126, "not allowed here"},
	} {
		if out, status := develops(t, f, command, b); status != want.status || !strings.Contains(out, want.text) {
			t.Errorf("%s: status %d, %s", command, status, out)
		}
	}
	develops(t, f, "dev put bpm dev "+sum+" /opt/else", b)
	if left := slotsOf(t, f); len(left) != 1 {
		t.Errorf("slots %v", left)
	}
	puts(t, f, "dev-1")
	write(t, filepath.Join(f.Root(), "inhibit"), "beam")
	if out, status := develops(t, f, "dev start bpm", nil); status != 3 || !strings.Contains(out, "inhibited: beam") {
		t.Errorf("inhibited: status %d, %s", status, out)
	}
}

// TestDevLog follows what a software says, until nobody listens any more.
func TestDevLog(t *testing.T) {
	onEach(t, func(t *testing.T, on machine) {
		s := siteOn(t, on)
		f := s.fec()
		s.publish(s.bench(100))
		boots(t, f, "running", 100, "")
		c := exec.Command(f.Command(), "--allow", "dev")
		c.Env = []string{"SSH_ORIGINAL_COMMAND=dev log bpm"}
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		heard := filepath.Join(t.TempDir(), "heard")
		out, err := os.Create(heard)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		c.Stdout = out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		awaits(t, "what was said before", func() bool { return strings.Contains(read(t, heard), "1.0.100 runs\n") })
		log, err := os.OpenFile(filepath.Join(f.Root(), "run/bpm.log"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if _, err := io.WriteString(log, "a new line\n"); err != nil {
			t.Fatal(err)
		}
		awaits(t, "a new line", func() bool { return strings.Contains(read(t, heard), "a new line\n") })
		in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("it ends with %v", err)
		}
	})
}

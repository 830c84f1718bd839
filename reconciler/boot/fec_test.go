package boot_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/boot"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const allowed = "status,restart,reboot,tar"

// ask runs pomona-fec as an ssh server does that has it as a forced command.
func ask(t *testing.T, f *boot.FEC, command string) (out string, status int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), f.Command(), "--allow", allowed)
	c.Dir, c.Env = t.TempDir(), []string{"SSH_ORIGINAL_COMMAND=" + command, "SSH_CONNECTION=192.0.2.7 1 192.0.2.8 22"}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	b, err := c.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) > 0 {
		t.Errorf("%q left %v, %v in its folder", command, left, err)
	}
	if exit != nil {
		return stderr.String(), exit.ExitCode()
	}
	return string(b), 0
}

// accepted asks for something that goes on after the answer, again as long as the boot client is at work.
func accepted(t *testing.T, f *boot.FEC, command string) {
	t.Helper()
	awaits(t, command, func() bool {
		out, status := ask(t, f, command)
		if accepted := status == 0 && out == "accepted\n"; accepted || status == 3 && strings.Contains(out, "is at work") {
			return accepted
		}
		t.Fatalf("%s: status %d, %s", command, status, out)
		return false
	})
}

// eventually waits for a state of the FEC.
func eventually(t *testing.T, f *boot.FEC, state string) {
	t.Helper()
	awaits(t, state, func() bool {
		out, _ := ask(t, f, "pomona-fec status")
		_, idle := os.Lstat(filepath.Join(f.Root(), "lock")) // it reports after that, and ends
		return strings.Contains(out, "\nstate "+state) && idle != nil
	})
}

func awaits(t *testing.T, what string, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !there(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not there: %s", what)
		}
	}
}

func TestStatusOfAFEC(t *testing.T) {
	onEach(t, func(t *testing.T, on machine) {
		s := siteOn(t, on)
		f := s.fec()
		m := s.release(100)
		s.publish(m)
		o := boots(t, f, "running", 100, "")
		id := strings.TrimSpace(read(t, "/proc/sys/kernel/random/boot_id"))
		slot := filepath.Base(o.Slot)
		want := "pomona-fec 1\nfec kgp2cu02\nstate running 100 " + slot + " \ncurrent " + slot + "\nboot " + id + "\nend\n"
		if got, status := ask(t, f, "pomona-fec status"); got != want || status != 0 {
			t.Errorf("status %d:\n%swant\n%s", status, got, want)
		}
		write(t, filepath.Join(f.Root(), "inhibit"), "magnet \x1b[31mtests\nuntil noon\n")
		want = strings.Replace(want, "end\n", "inhibit magnet [31mtests\nend\n", 1)
		if got, _ := ask(t, f, "status"); got != want {
			t.Errorf("inhibited:\n%swant\n%s", got, want)
		}
		// What was said before the kernel started anew is not what runs now.
		write(t, filepath.Join(f.Root(), "run/.boot"), "another\n")
		if got, _ := ask(t, f, "status"); strings.Contains(got, "state") || !strings.HasSuffix(got, "end\n") {
			t.Errorf("the state of an earlier run of the kernel is told:\n%s", got)
		}
	})
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestNothingElse asks for what no service asks, in the words of somebody who has stolen its key.
func TestNothingElse(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.release(100))
	boots(t, f, "running", 100, "")
	dir := filepath.Join(f.Root(), "current")
	if err := os.Symlink("/etc", filepath.Join(dir, "opt/out")); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"", "sh", "ls /", "status;touch x", "status touch", "$(touch x)", "status $(touch x)", "`touch x`", "restart", "restart 100",
		"restart 100 bpm;touch x", "restart 100 *", "restart 1x bpm", "restart 99999999999 bpm", "restart -1 bpm", "restart 100 -x", "restart 100 ../bpm",
		"restart 100 bpm >x", "reboot", "reboot x", "reboot 100 now", "dev put x", "pomona-fec", "pomona-fec pomona-fec status", "--allow all status",
		"tar -xf - -C " + dir + " opt", "tar -cf - -C / etc", "tar -cf - -C " + dir + " .pomona", "tar -cf - -C " + dir + " opt/../.pomona",
		"tar -cf - -C " + dir + " opt/./x", "tar -cf - -C " + dir + " opt/out", "tar -cf - -C " + dir + " optional", "tar -cf x -C " + dir + " opt",
		"tar -cf - -C " + dir + " opt opt", "tar -cf - -C " + dir + "/../current opt", "tar -cf - -C " + dir + " /etc", "tar -cf - -C " + dir + " --to-command=x",
	} {
		if out, status := ask(t, f, command); status != 126 || !strings.Contains(out, "refused: ") {
			t.Errorf("%q: status %d, %s", command, status, out)
		}
	}
	if _, err := os.Stat(filepath.Join(f.Dir, "reboot")); err == nil {
		t.Error("rebooted")
	}
	if log := read(t, f.Root(), "run/boot.log"); strings.Contains(log, "asked by") {
		t.Errorf("something was done:\n%s", log)
	}
}

func TestArchiveOfAFEC(t *testing.T) {
	onEach(t, func(t *testing.T, on machine) {
		s := siteOn(t, on)
		f := s.fec()
		s.publish(s.release(100))
		boots(t, f, "running", 100, "")
		out, status := ask(t, f, "tar -cf - -C "+filepath.Join(f.Root(), "current")+" opt/fesa/bpm/1.0.100/bin")
		if status != 0 || !strings.HasPrefix(out, "opt/fesa/bpm/1.0.100/bin/\x00") || !strings.Contains(out, "1.0.100") {
			t.Errorf("status %d, %d bytes: %.60q", status, len(out), out)
		}
		if out, status := ask(t, f, "tar -cf - -C "+filepath.Join(f.Root(), "current")+" opt/fesa/none"); status != 1 || !strings.Contains(out, "o such file") {
			t.Errorf("of what is not there: status %d, %s", status, out)
		}
	})
}

// crew is a release with software bpm and timing, each of which leaves a process that writes its slot, and a process of no
// software.
func (s *site) crew(serial int64) tree.Manifest {
	m := s.release(serial)
	m.Software = append(m.Software, tree.Item{Name: "timing", Version: "2", Install: "/opt/timing", Start: true,
		Object: s.object(artifact.Gzip, map[string]string{"/opt/timing/bin/timing": fmt.Sprint(serial)})})
	const daemon = "echo $POMONA_SLOT >$POMONA_RUN/%[1]s.slot\nwhile sleep 1; do :; done &\necho $! >$POMONA_RUN/%[1]s.process"
	return s.withScripts(m, map[string]string{
		"20-plain": fmt.Sprintf(daemon, "plain"), "50-bpm=bpm": fmt.Sprintf(daemon, "bpm"), "60-timing=timing": fmt.Sprintf(daemon, "timing"),
	})
}

func process(t *testing.T, f *boot.FEC, name string) string {
	t.Helper()
	return strings.TrimSpace(read(t, f.Root(), "run", name+".process"))
}

// TestRestart restarts one of three daemons three times over: the others go on, from slots that stay for them.
func TestRestart(t *testing.T) {
	onEach(t, func(t *testing.T, on machine) {
		s := siteOn(t, on)
		f := s.fec()
		s.publish(s.crew(100))
		first := boots(t, f, "running", 100, "")
		plain, timing := process(t, f, "plain"), process(t, f, "timing")
		var slots []string
		for serial := int64(101); serial <= 103; serial++ {
			bpm := process(t, f, "bpm")
			s.publish(s.crew(serial))
			accepted(t, f, fmt.Sprintf("pomona-fec restart %d bpm", serial))
			eventually(t, f, fmt.Sprintf("running %d ", serial))
			slot := strings.TrimSpace(read(t, f.Root(), "run/bpm.slot"))
			if alive(bpm) || !alive(process(t, f, "bpm")) || slots != nil && slices.Contains(slots, slot) || filepath.Base(slot)[:3] != fmt.Sprint(serial) {
				t.Fatalf("bpm was %s, %v; is %s, %v, in %s", bpm, alive(bpm), process(t, f, "bpm"), alive(process(t, f, "bpm")), slot)
			}
			slots = append(slots, slot)
			if plain != process(t, f, "plain") || timing != process(t, f, "timing") || !alive(plain) || !alive(timing) {
				t.Fatal("what was not to be restarted was")
			}
		}
		for _, slot := range []string{first.Slot, slots[1], slots[2]} { // what runs still, previous, current
			if _, err := os.Stat(filepath.Join(slot, "opt/timing/bin/timing")); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Stat(slots[0]); err == nil {
			t.Errorf("%s is still there, and nothing runs in it", slots[0])
		}
		awaits(t, "the report", func() bool {
			last := s.told()[len(s.told())-1]
			return last.Get("state") == "running" && last.Get("serial") == "103"
		})
		boots(t, f, "running", 103, "")
		if left, err := os.ReadDir(filepath.Join(f.Root(), "slots")); err != nil || len(left) != 2 {
			t.Errorf("a boot leaves slots %v, %v", left, err)
		}
	})
}

// TestRestartStops ends software by its script, and what does not end by itself.
func TestRestartStops(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	f.Env = append(f.Env, "POMONA_STOP=1")
	scripts := map[string]string{
		"50-bpm=bpm": `# pomona: stop
echo "$POMONA_SOFTWARE $POMONA_VERSION ${1:-start}" >>$POMONA_RUN/said
[ "${1:-}" != stop ] || { kill $(cat $POMONA_RUN/clean); exit; }
env -i sleep 1000 & echo $! >$POMONA_RUN/clean`,
		"60-timing=bpm": "trap '' TERM\nwhile :; do sleep 1; done &\necho $! >$POMONA_RUN/stubborn",
	}
	s.publish(s.withScripts(s.release(100), scripts))
	boots(t, f, "running", 100, "")
	clean, stubborn := strings.TrimSpace(read(t, f.Root(), "run/clean")), strings.TrimSpace(read(t, f.Root(), "run/stubborn"))
	s.publish(s.withScripts(s.release(101), scripts))
	accepted(t, f, "restart 101 bpm")
	eventually(t, f, "running 101 ")
	if said := read(t, f.Root(), "run/said"); said != "bpm 1.0.100 start\nbpm 1.0.100 stop\nbpm 1.0.101 start\n" {
		t.Errorf("the script was called:\n%s", said)
	}
	if alive(clean) || alive(stubborn) {
		t.Errorf("still there: %v, %v", alive(clean), alive(stubborn))
	}
	accepted(t, f, "restart 101 bpm") // once more, which ends the process that Stop would not find
	awaits(t, "a restart", func() bool { return strings.Count(read(t, f.Root(), "run/said"), "\n") == 5 })
	eventually(t, f, "running 101 ")
	if err := exec.Command("kill", strings.TrimSpace(read(t, f.Root(), "run/clean"))).Run(); err != nil {
		t.Error(err)
	}
}

// TestRestartWithoutDelivery leaves everything as it runs.
func TestRestartWithoutDelivery(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.crew(100))
	boots(t, f, "running", 100, "")
	bpm := process(t, f, "bpm")
	s.fail(only("/fecs/", status(503)))
	accepted(t, f, "restart 101 bpm")
	eventually(t, f, "failed 100 ")
	if out, _ := ask(t, f, "status"); !strings.Contains(out, "nothing was restarted: ") || !alive(bpm) {
		t.Errorf("alive: %v\n%s", alive(bpm), out)
	}
}

func TestRestartOfSoftwareThatFails(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.crew(100))
	boots(t, f, "running", 100, "")
	s.publish(s.withScripts(s.crew(101), map[string]string{"50-bpm=bpm": "exit 3", "60-timing=timing": "echo >$POMONA_RUN/never"}))
	accepted(t, f, "restart 101 bpm")
	eventually(t, f, "init-failed 101 ")
	if _, err := os.Stat(filepath.Join(f.Root(), "run/never")); err == nil {
		t.Error("another software was started anew")
	}
}

// TestRestartKeepsData takes data along: what goes on running, and what starts anew, write to the same folder.
func TestRestartKeepsData(t *testing.T) {
	s := newSite(t)
	f := s.dataFEC()
	s.data(dataKey, fecName, map[string]string{"/opt/fesa/data/offsets": "collected"})
	first := boots(t, f, "running", 100, "")
	write(t, filepath.Join(first.Slot, "opt/fesa/data/offsets"), "written")
	s.publish(s.withData(101))
	accepted(t, f, "restart 101 bpm")
	eventually(t, f, "running 101 ")
	current := filepath.Join(f.Root(), "current/opt/fesa/data")
	if got := read(t, current, "offsets"); got != "written" {
		t.Errorf("after a restart data is %q", got)
	}
	write(t, filepath.Join(first.Slot, "opt/fesa/data/later"), "x")
	if _, err := os.Stat(filepath.Join(current, "later")); err != nil {
		t.Errorf("what the first slot's software writes is lost: %v", err)
	}
	// The slot that boots after the newer one was lost gets back what was collected.
	if err := os.RemoveAll(first.Slot + "x"); err != nil {
		t.Fatal(err)
	}
	newer, err := filepath.EvalSymlinks(filepath.Join(f.Root(), "current"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(newer); err != nil {
		t.Fatal(err)
	}
	s.fail(only("/fecs/", status(503)))
	o := boots(t, f, "fallback", 100, "no manifest")
	if got := read(t, o.Slot, "opt/fesa/data/offsets"); got != "collected" {
		t.Errorf("the slot before has data %q", got)
	}
}

func TestInhibited(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.crew(100))
	boots(t, f, "running", 100, "")
	write(t, filepath.Join(f.Root(), "inhibit"), "")
	for _, command := range []string{"restart 101 bpm", "reboot 101"} {
		if out, status := ask(t, f, command); status != 3 || !strings.Contains(out, "inhibited: "+f.Root()+"/inhibit is there") {
			t.Errorf("%s: status %d, %s", command, status, out)
		}
	}
	if err := os.Remove(filepath.Join(f.Root(), "inhibit")); err != nil {
		t.Fatal(err)
	}
	accepted(t, f, "reboot 101")
	if out, _ := ask(t, f, "status"); strings.Contains(out, "\nstate ") || !strings.Contains(out, "\nasked reboot 101\n") {
		t.Errorf("after it was asked:\n%s", out)
	}
	awaits(t, "a reboot", func() bool {
		_, err := os.Stat(filepath.Join(f.Dir, "reboot"))
		return err == nil
	})
}

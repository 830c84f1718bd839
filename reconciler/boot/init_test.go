package boot_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/boot"
)

// TestScripts checks where scripts run, in which order, and what they are told.
func TestScripts(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	m := s.withScripts(s.release(100), map[string]string{
		"10-b": "echo 10-b >>$POMONA_RUN/order; echo to the console; echo trouble >&2; cat",
		"10-a": "echo 10-a >>$POMONA_RUN/order",
		"9-c":  "echo 9-c >>$POMONA_RUN/order",
		"10-B": "echo 10-B >>$POMONA_RUN/order",
		"20-bpm=bpm": `pwd >$POMONA_RUN/pwd
for v in FEC HOST SITE CHANNEL PLATFORM SERIAL SLOT RUN SOFTWARE VERSION INSTALL; do eval "echo $v \$POMONA_$v"; done >$POMONA_RUN/env`,
		"30-none": `echo ${POMONA_SOFTWARE-unset} ${POMONA_VERSION-unset} ${POMONA_INSTALL-unset} >$POMONA_RUN/none`,
	})
	s.publish(m)
	o := boots(t, f, "running", 100, "")
	if d := cmp.Diff("10-B\n10-a\n10-b\n9-c\n", read(t, f.Root(), "run/order")); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
	want := "FEC kgp2cu02\nHOST " + hostFQN + "\nSITE linac\nCHANNEL production\nPLATFORM yocto-ppc\nSERIAL 100\nSLOT " + o.Slot +
		"\nRUN " + filepath.Join(f.Root(), "run") + "\nSOFTWARE bpm\nVERSION 1.0.100\nINSTALL " + o.Slot + "/opt/fesa/bpm/1.0.100\n"
	if d := cmp.Diff(want, read(t, f.Root(), "run/env")); d != "" {
		t.Errorf("environment (-want +got):\n%s", d)
	}
	for file, want := range map[string]string{
		"run/pwd": o.Slot + "\n", "run/none": "unset unset unset\n",
		"current/.pomona/software":             "bpm 1.0.100 /opt/fesa/bpm/1.0.100 start\n",
		"current/.pomona/configuration":        "timing 2.0 /opt/conf/timing\n",
		"current/opt/conf/timing/master.conf":  "serial 100",
		"current/opt/fesa/bpm/1.0.100/bin/bpm": "1.0.100",
		"serial":                               "100\n",
	} {
		if d := cmp.Diff(want, read(t, f.Root(), file)); d != "" {
			t.Errorf("%s (-want +got):\n%s", file, d)
		}
	}
	for _, log := range []string{o.Log, filepath.Join(f.Root(), "run/boot.log")} {
		if b := read(t, log); strings.Count(b, "to the console\n") != 1 || strings.Count(b, "trouble\n") != 1 {
			t.Errorf("%s lacks a script's output:\n%s", log, b)
		}
	}
}

func TestHeldSoftwareIsNotStarted(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	m := s.withScripts(s.release(100), map[string]string{
		"50-bpm=bpm":     "echo >$POMONA_RUN/started",
		"60-other=other": "echo >$POMONA_RUN/other", // not among the FEC's software
		"70-last":        "echo >$POMONA_RUN/last",
	})
	m.Software[0].Start = false
	s.publish(m)
	boots(t, f, "running", 100, "")
	for name, want := range map[string]bool{"started": false, "other": false, "last": true} {
		if _, err := os.Stat(filepath.Join(f.Root(), "run", name)); (err == nil) != want {
			t.Errorf("run/%s: %v, want it there: %v", name, err, want)
		}
	}
	if log := read(t, f.Dir, "console.log"); !strings.Contains(log, "50-bpm skipped: bpm is on hold") {
		t.Errorf("the log does not say why:\n%s", log)
	}
}

// TestInitFailure stops, and does not go back to the release before.
func TestInitFailure(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.release(100))
	boots(t, f, "running", 100, "")
	s.publish(s.withScripts(s.release(101), map[string]string{
		"10-good": "true", "20-bad": "exit 3", "30-never": "echo >$POMONA_RUN/never",
	}))
	s.fail(nil)
	for range 2 {
		boots(t, f, "init-failed", 101, "20-bad failed with status 3")
	}
	if _, err := os.Stat(filepath.Join(f.Root(), "run/never")); err == nil {
		t.Error("a script ran after the one that failed")
	}
	for _, r := range s.told() {
		if r.Get("state") == "running" {
			t.Error("reported running")
		}
	}
}

// TestDaemon leaves two processes behind: the client does not wait for them, Stop finds both.
func TestDaemon(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.withScripts(s.release(100), map[string]string{
		"10-daemon":  "while sleep 1; do echo alive; done &\necho $! >$POMONA_RUN/pid",
		"20-session": "setsid sh -c 'echo $$ >$POMONA_RUN/pid2; exec sleep 1000' &\nwhile ! test -s $POMONA_RUN/pid2; do sleep 0.1; done",
	}))
	boots(t, f, "running", 100, "")
	pids := []string{strings.TrimSpace(read(t, f.Root(), "run/pid")), strings.TrimSpace(read(t, f.Root(), "run/pid2"))}
	for _, pid := range pids {
		if !alive(pid) {
			t.Errorf("process %s has ended with the client", pid)
		}
	}
	if err := f.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %s survives Stop", pid)
		}
	}
}

// alive says whether a process exists and is no zombie.
func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return err == nil && !bytes.HasPrefix(rest, []byte("Z"))
}

// TestDBus starts a service in the way that FECs do: a bus daemon of its own, and a service on it.
func TestDBus(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	for program, debian := range map[string]string{"dbus-daemon": "dbus-daemon", "dbus-send": "dbus-bin", "dbus-test-tool": "dbus-tests"} {
		f.Tools = append(f.Tools, need(t, program, "install "+debian))
	}
	s.publish(s.withScripts(s.release(100), map[string]string{
		"10-bus":     "dbus-daemon --session --fork --address=unix:path=$POMONA_RUN/bus",
		"50-bpm=bpm": "DBUS_SESSION_BUS_ADDRESS=unix:path=$POMONA_RUN/bus dbus-test-tool echo --name=org.example.$POMONA_SOFTWARE &",
		"90-check": `export DBUS_SESSION_BUS_ADDRESS=unix:path=$POMONA_RUN/bus
until dbus-send --session --print-reply --dest=org.example.bpm / org.example.Any; do sleep 0.2; done`,
	}))
	boots(t, f, "running", 100, "")
}

func TestOneClientAtATime(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.withScripts(s.release(100), map[string]string{"10-wait": "echo >$POMONA_RUN/waiting; while ! test -e $POMONA_RUN/go; do sleep 0.1; done"}))
	first := make(chan boot.Outcome, 1)
	go func() {
		o, err := f.Boot(t.Context())
		if err != nil {
			t.Error(err)
		}
		first <- o
	}()
	waiting := filepath.Join(f.Root(), "run/waiting")
	for _, err := os.Stat(waiting); err != nil; _, err = os.Stat(waiting) {
		select {
		case o := <-first:
			t.Fatalf("first client ended with %+v", o)
		case <-time.After(20 * time.Millisecond):
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	second := exec.CommandContext(ctx, filepath.Join(f.Dir, "bin/sh"), filepath.Join(f.Dir, "etc/pomona-boot"))
	second.Env = []string{"PATH=" + filepath.Join(f.Dir, "bin"), "POMONA_CONF=" + filepath.Join(f.Dir, "etc/boot.conf")}
	out, err := second.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "is booting from") {
		t.Errorf("second client: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(f.Root(), "run/go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if o := <-first; o.State != "running" {
		t.Errorf("first client ended with %+v", o)
	}
}

// TestDeadLock leaves the lock of a process that is no more, and of one whose number another has now.
func TestDeadLock(t *testing.T) {
	for _, holder := range []string{"999999.1.x", "1.1.x", "nonsense"} {
		s := newSite(t)
		f := s.fec()
		s.publish(s.release(100))
		if err := os.MkdirAll(f.Root(), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(holder, filepath.Join(f.Root(), "lock")); err != nil {
			t.Fatal(err)
		}
		boots(t, f, "running", 100, "")
		if _, err := os.Lstat(filepath.Join(f.Root(), "lock")); err == nil {
			t.Error("the lock is still there")
		}
	}
}

func TestSettingsFromTheKernelCommandLine(t *testing.T) {
	s := newSite(t)
	s.publish(s.release(100))
	f := s.fec()
	cmdline := filepath.Join(t.TempDir(), "cmdline")
	if err := os.WriteFile(cmdline, []byte("quiet pomona.minserial=101 pomona.fec=ignored root=/dev/nfs\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f.Env = append(f.Env, "POMONA_CMDLINE="+cmdline)
	boots(t, f, "failed", 100, "replay: serial 100 is older than 101") // boot.conf names the FEC
	f.Env = append(f.Env, "POMONA_MIN_SERIAL=7")                       // the environment wins
	boots(t, f, "running", 100, "")
}

func TestBootAll(t *testing.T) {
	s := newSite(t)
	s.publish(s.release(100))
	var fecs []*boot.FEC
	for range 4 {
		fecs = append(fecs, s.fec())
	}
	outcomes, err := boot.BootAll(t.Context(), fecs, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		if o.State != "running" || !strings.HasPrefix(o.Slot, fecs[i].Dir) {
			t.Errorf("FEC %d ended with %+v", i, o)
		}
	}
}

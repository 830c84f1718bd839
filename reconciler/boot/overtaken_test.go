package boot_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRestartForWhatIsPublishedNoMore is of software that one release needs restarted. What is published meanwhile may need more, so that
// the FEC must not say that it runs it.
func TestRestartForWhatIsPublishedNoMore(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.crew(100))
	boots(t, f, "running", 100, "")
	bpm := process(t, f, "bpm")
	s.publish(s.crew(102))
	accepted(t, f, "restart 101 bpm")
	eventually(t, f, "running ")
	if out, _ := ask(t, f, "status"); !strings.Contains(out, "\nstate running 100 ") || !alive(bpm) {
		t.Errorf("bpm is alive: %v\n%s", alive(bpm), out)
	}
	accepted(t, f, "restart 102 bpm")
	eventually(t, f, "running 102 ")
	if alive(bpm) {
		t.Error("bpm was not restarted")
	}
	// A server that lags behind has not got it yet.
	accepted(t, f, "restart 103 bpm")
	eventually(t, f, "failed 102 ")
	if out, _ := ask(t, f, "status"); !strings.Contains(out, "and 103 is wanted") {
		t.Error(out)
	}
}

// TestRestartWhileAClientWorks would be lost: that client has the lock.
func TestRestartWhileAClientWorks(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.crew(100))
	boots(t, f, "running", 100, "")
	client := exec.Command("sleep", "1000")
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Process.Kill() // it may be over
		_ = client.Wait()
	})
	stat := strings.Fields(read(t, fmt.Sprintf("/proc/%d/stat", client.Process.Pid)))
	holder := fmt.Sprintf("%d.%s.%s", client.Process.Pid, stat[21], strings.TrimSpace(read(t, "/proc/sys/kernel/random/boot_id")))
	if err := os.Symlink(holder, filepath.Join(f.Root(), "lock")); err != nil {
		t.Fatal(err)
	}
	if out, status := ask(t, f, "restart 100 bpm"); status != 3 || !strings.Contains(out, "inhibited: pomona-boot is at work") {
		t.Errorf("status %d, %s", status, out)
	}
	if out, _ := ask(t, f, "status"); !strings.Contains(out, "\nstate running 100 ") {
		t.Errorf("its state is lost:\n%s", out)
	}
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait() // killed
	accepted(t, f, "restart 100 bpm")
	eventually(t, f, "running 100 ")
}

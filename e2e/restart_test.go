package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/remote/sshtest"
)

// hall is a service that restarts FECs, and one FEC that it reaches by a real ssh server and the forced command.
type hall struct {
	*configured
	world
	fec fec
}

const restartedFEC = "lin2mg01"

func newHall(t *testing.T, server func(testing.TB, ...sshtest.Option) *sshtest.Server, onUpdate string) *hall {
	t.Helper()
	c := configure(t, "linac")
	h := &hall{configured: c, world: c.sites["linac"]}
	h.world.write("restarts.cue", "package site\n\nsite: restarts: order: [\"linac\"]\n", 0o644)
	h.world.write("software/magnet-psc/restart.cue", fmt.Sprintf("package site\n\nsoftware: \"magnet-psc\": onUpdate: %q\n", onUpdate), 0o644)
	h.commit("how FECs are restarted")
	h.follows("the site is published")
	h.fec = h.newFEC(restartedFEC, "http://"+c.addrs["linac"])
	h.fec.mustBoot()
	s := server(t, sshtest.Force(h.fec.overSSH()+" --allow status,restart,reboot"))
	h.reached(restartedFEC, s)
	h.follows("it is known how the FEC is reached")
	c.again("linac", fmt.Sprintf("\t\tssh: {key: %q, timeout: \"1m\"}\n\t\trestarts: {}\n", s.Key))
	eventually(t, "the FEC is known to run what is published", func() bool { return h.stands("current") })
	return h
}

// configured writes another configuration of the site and waits until it counts.
func (c *configured) again(name, more string) {
	c.t.Helper()
	c.write(c.t, []string{name}, more)
	eventually(c.t, "restarts are configured", func() bool {
		_, _, code := pomona(c.t, "restart", "--root", c.sites[name].root)
		return code == 0 && c.answers(name)
	})
}

func (h *hall) restarts(args ...string) string {
	h.world.t.Helper()
	return must(h.world.t, append([]string{"restart", "--root", h.root}, args...)...)
}

// stands says whether the FEC is in a state, as an operator is told.
func (h *hall) stands(state string) bool {
	h.world.t.Helper()
	out := must(h.world.t, "restart", "--root", h.root, "-o", "json")
	_, fec, _ := strings.Cut(out, `"fec":"`+restartedFEC+`"`)
	fec, _, _ = strings.Cut(fec, "}")
	return strings.Contains(fec, `"state":"`+state+`"`)
}

func (h *hall) release(version string) {
	h.world.t.Helper()
	h.edit("fecs/linac/linac.cue", `"2": "[0-9.]+"`, `"2": "`+version+`"`)
}

func (h *hall) bootLog() string {
	b, err := os.ReadFile(filepath.Join(h.fec.dir, "state/run/boot.log"))
	if err != nil {
		h.world.t.Fatal(err)
	}
	return string(b)
}

var sshServers = map[string]func(testing.TB, ...sshtest.Option) *sshtest.Server{"OpenSSH": sshtest.Sshd, "dropbear": sshtest.Dropbear}

// TestAReleaseReachesARunningFEC restarts what a release changes, while the service is killed, and not what somebody holds.
func TestAReleaseReachesARunningFEC(t *testing.T) {
	t.Parallel()
	for name, server := range sshServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHall(t, server, "restart")
			before := h.fec.runs()
			wait := filepath.Join(h.fec.dir, "wait") // else it may have restarted before the service is killed
			h.put(wait, nil)
			h.release("1.4.0")
			eventually(t, "the FEC is asked", func() bool { return strings.Contains(h.bootLog(), "restart of magnet-psc") })
			if err := h.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = h.cmd.Wait() // killed
			if out := h.restarts(); !strings.Contains(out, restartedFEC+"  underway  restart") {
				t.Errorf("without a service:\n%s", out)
			}
			if err := os.Remove(wait); err != nil {
				t.Fatal(err)
			}
			h.service = serveFile(t, h.file)
			eventually(t, "the release before runs", func() bool { return strings.Contains(h.fec.runs(), "1.4.0") && h.fec.runs() != before })
			eventually(t, "the service knows", func() bool { return h.stands("current") })
			if n := strings.Count(h.bootLog(), "restart of magnet-psc"); n != 1 {
				t.Errorf("it was restarted %d times:\n%s", n, h.bootLog())
			}

			// Whoever is at the FEC may forbid it, and so may an operator.
			inhibit := filepath.Join(h.fec.dir, "state/inhibit")
			h.put(inhibit, []byte("conditioning\n"))
			h.release("2.0.0")
			eventually(t, "it is inhibited", func() bool { return h.stands("held") && strings.Contains(h.restarts(), "inhibited: conditioning") })
			if out, errs, code := pomona(t, "restart", "pause", "--root", h.root); code == 0 || !strings.Contains(errs, "give --reason") {
				t.Errorf("a pause without a reason: %s%s", out, errs)
			}
			h.restarts("pause", "--reason", "shift change", "--by", "ann")
			if out := must(t, "status", "--root", h.root); !strings.Contains(out, "shift change") {
				t.Errorf("the status tells of no pause:\n%s", out)
			}
			if err := os.Remove(inhibit); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it waits", func() bool { return h.stands("waiting") && strings.Contains(h.restarts(), "by ann: shift change") })
			if n := strings.Count(h.bootLog(), "restart of magnet-psc"); n != 1 {
				t.Error("it was restarted although nothing was to be")
			}
			h.restarts("resume")
			eventually(t, "the new release runs", func() bool { return strings.Contains(h.fec.runs(), "2.0.0") && h.stands("current") })
		})
	}
}

// TestAReleaseRebootsAFEC reboots where the software does not say that a restart is enough.
func TestAReleaseRebootsAFEC(t *testing.T) {
	t.Parallel()
	h := newHall(t, sshtest.Sshd, "reboot")
	h.release("1.4.0")
	eventually(t, "it is rebooted", func() bool { return isFile(filepath.Join(h.fec.dir, "rebooted")) })
	h.fec.mustBoot()
	eventually(t, "the service knows", func() bool { return h.stands("current") })
	if log := h.log(); !strings.Contains(log, "FEC restarts") || !strings.Contains(log, "need=reboot") {
		t.Errorf("log:\n%s", log)
	}
}

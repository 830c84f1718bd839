package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/remote/sshtest"
)

// overSSH is a program that is pomona-fec in the FEC, for a forced command. The boot client that it starts waits while there is a file wait.
func (f fec) overSSH() string {
	f.t.Helper()
	for _, program := range []string{"pomona-boot", "pomona-fec"} {
		b := download(f.t, f.server+"/fecs/global/"+program)
		if err := os.WriteFile(filepath.Join(f.dir, program), b, 0o755); err != nil {
			f.t.Fatal(err)
		}
	}
	var env strings.Builder
	for _, e := range []string{
		"PATH=" + filepath.Join(f.dir, "bin"), "POMONA_SERVER=" + f.server, "POMONA_FEC=" + f.name, "POMONA_RETRIES=3",
		"POMONA_ROOT=" + filepath.Join(f.dir, "state"), "POMONA_KEYS=" + filepath.Join(f.dir, "keys"), "POMONA_CONF=/nonexistent",
		"TMPDIR=/tmp", "POMONA_E2E=" + f.dir, "POMONA_BOOT=" + filepath.Join(f.dir, "boot"),
		"POMONA_REBOOT=" + filepath.Join(f.dir, "reboot"), // never this machine's
	} {
		env.WriteString("export " + e + "\n")
	}
	if err := os.WriteFile(filepath.Join(f.dir, "reboot"), []byte("#!/bin/sh\n>"+filepath.Join(f.dir, "rebooted")+"\n"), 0o755); err != nil {
		f.t.Fatal(err)
	}
	gate := fmt.Sprintf("while [ -e %s ]; do sleep 0.1; done\n", filepath.Join(f.dir, "wait"))
	for name, program := range map[string]string{"boot": "pomona-boot", "over-ssh": "pomona-fec"} {
		script := fmt.Sprintf("#!/bin/sh\n%s%sexec %s sh %s \"$@\"\n", env.String(), map[string]string{"boot": gate}[name], f.busybox, filepath.Join(f.dir, program))
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(script), 0o755); err != nil {
			f.t.Fatal(err)
		}
	}
	return filepath.Join(f.dir, "over-ssh")
}

// reached writes into the site how a FEC is reached.
func (w world) reached(name string, s *sshtest.Server) {
	w.t.Helper()
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("fecs/linac/ssh-"+name+".cue", fmt.Sprintf("package site\n\nfecs: %s: ssh: {address: %q, port: %s, user: %q, hostKeys: [%q]}\n", name, host, port, s.User, s.HostKey), 0o644)
	w.commit("how " + name + " is reached")
}

const ramp = `#!/bin/sh
echo "ramp %s of $POMONA_VERSION" >$POMONA_RUN/magnet-psc.status
while :; do echo "beat %[1]s"; sleep 1; done
`

func (w world) built(t *testing.T, which string) (folder string) {
	t.Helper()
	folder = filepath.Join(w.dir, "build")
	if err := os.MkdirAll(filepath.Join(folder, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.put(filepath.Join(folder, "bin/magnet-psc"), fmt.Appendf(nil, ramp, which))
	return folder
}

func (f fec) runs() string {
	b, _ := os.ReadFile(filepath.Join(f.dir, "state/run/magnet-psc.status")) // absent: it runs nothing
	return string(b)
}

// TestDevelopOnAFEC goes round as a developer does: build, try it on the crate, again, look at its log, and reboot.
func TestDevelopOnAFEC(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func(testing.TB, ...sshtest.Option) *sshtest.Server{"OpenSSH": sshtest.Sshd, "dropbear": sshtest.Dropbear} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			address, log := w.serve("--poll", never)
			f := w.newFEC("lin2mg01", "http://"+address)
			f.mustBoot()
			released := f.runs()
			s := server(t, sshtest.Force(f.overSSH()+" --allow status,dev"))
			w.reached(f.name, s)
			w.kick()
			head, index := git(t, w.site, "rev-parse", "HEAD"), w.index()
			access := []string{"--site", w.site, "--ssh-key", s.Key}

			out := must(t, append([]string{"dev", "magnet-psc", w.built(t, "one"), f.name, "--start"}, access...)...)
			if !strings.Contains(out, "lin2mg01: magnet-psc: started") || !strings.Contains(out, "is at /opt/fesa/psc/dev") {
				t.Errorf("it says:\n%s", out)
			}
			eventually(t, "the first build runs", func() bool { return strings.HasPrefix(f.runs(), "ramp one of dev-") })
			if got := must(t, append([]string{"dev", "status", f.name}, access...)...); !strings.Contains(got, "lin2mg01: magnet-psc dev-") {
				t.Errorf("status: %s", got)
			}
			eventually(t, "the service hears of it", func() bool { return strings.Contains(log(), "dev=\"magnet-psc dev-") })
			for _, args := range [][]string{{"fec", f.name, "--root", w.root}, {"status", "--root", w.root}} {
				if got := must(t, args...); !strings.Contains(got, "pomona dev has put magnet-psc dev-") {
					t.Errorf("pomona %s does not tell of it:\n%s", args[0], got)
				}
			}
			if got := must(t, append([]string{"dev", "magnet-psc", w.built(t, "one"), f.name}, access...)...); !strings.Contains(got, "is there already") {
				t.Errorf("the same build again: %s", got)
			}

			must(t, append([]string{"dev", "magnet-psc", w.built(t, "two"), f.name, "--start"}, access...)...)
			eventually(t, "the second build runs", func() bool { return strings.HasPrefix(f.runs(), "ramp two of dev-") })
			w.hears(t, append([]string{"dev", "log", "magnet-psc", f.name}, access...), "lin2mg01: beat two")
			out = must(t, append([]string{"dev", "drop", "magnet-psc", f.name}, access...)...)
			eventually(t, "the release runs", func() bool { return sameBut(f.runs(), released) })
			if got := must(t, append([]string{"dev", "status", f.name}, access...)...); !strings.Contains(got, "nothing of a developer's") {
				t.Errorf("status after %s: %s", out, got)
			}

			must(t, append([]string{"dev", "magnet-psc", w.built(t, "three"), f.name, "--start"}, access...)...)
			f.mustBoot()
			eventually(t, "the release runs", func() bool { return sameBut(f.runs(), released) })
			if left, _ := filepath.Glob(filepath.Join(f.dir, "state/slots/*dev*")); len(left) > 0 {
				t.Errorf("a reboot leaves %v", left)
			}
			if git(t, w.site, "rev-parse", "HEAD") != head || git(t, w.site, "status", "--porcelain") != "" || w.index() != index {
				t.Error("the site, or what is served, has changed")
			}
		})
	}
}

// sameBut compares what the program of a release says, but for its heart's beats.
func sameBut(a, b string) bool {
	_, a, _ = strings.Cut(a, ", ")
	_, b, _ = strings.Cut(b, ", ")
	return a == b && a != ""
}

// hears runs the binary until it has said a line, and interrupts it.
func (w world) hears(t *testing.T, args []string, line string) {
	t.Helper()
	heard := filepath.Join(w.dir, "heard")
	out, err := os.Create(heard)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() string {
		b, _ := os.ReadFile(heard) // for people, or not yet there
		return string(b)
	}
	eventually(t, "pomona "+strings.Join(args, " ")+" says "+line, func() bool { return strings.Contains(said(), line) })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted, it ends with %v:\n%s", err, said())
	}
}

// TestDevelopRefused changes nothing on any FEC, and says why and what to do.
func TestDevelopRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address, _ := w.serve("--poll", never)
	f := w.newFEC("lin2mg01", "http://"+address)
	f.mustBoot()
	s := sshtest.Sshd(t, sshtest.Force(f.overSSH()+" --allow status,dev"))
	w.reached("lin2mg01", s)
	w.reached("lin3mg01", s) // which is another
	closed := sshtest.Sshd(t, sshtest.Force(f.overSSH()+" --allow status"))
	w.reached("lin1mg01", closed)
	w.write("fecs/linac/inhibit.cue", "package site\n\nfecs: lin3mg01: inhibit: \"conditioning\"\n", 0o644)
	w.commit("inhibit")
	folder := w.built(t, "one")
	dev := func(args ...string) (string, int) {
		t.Helper()
		out, errs, code := pomona(t, append([]string{"dev", "--site", w.site, "--ssh-key", s.Key}, args...)...)
		return out + errs, code
	}
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"magnet-psc", folder, "lin2mg99"}, 1, []string{"the site has no such FEC", "lin2mg01"}},
		{[]string{"magnet-pcs", folder, "lin2mg01"}, 1, []string{"the site has no such software", "magnet-psc"}},
		{[]string{"magnet-psc", folder, "lin2mg01", "lin4mg01"}, 1, []string{"debian-x86", "one platform at a time"}},
		{[]string{"magnet-psc", filepath.Join(w.dir, "none"), "lin2mg01"}, 2, []string{"no such file"}},
		{[]string{"magnet-psc", folder, "lin3mg01", "--start"}, 1, []string{"left as it runs: conditioning"}},
		{[]string{"magnet-psc", folder, "lin3mg01"}, 1, []string{"this is lin2mg01: nothing was done", "not done on 1 of 1 FECs: lin3mg01"}},
		{[]string{"start", "magnet-psc", "lin2mg01"}, 1, []string{"no magnet-psc was put here since the last boot"}},
	} {
		if out, code := dev(c.args...); code != c.code || !containsAll(out, c.want) {
			t.Errorf("dev %v: exit code %d, want %d with %q:\n%s", c.args, code, c.code, c.want, out)
		}
	}
	out, errs, code := pomona(t, "dev", "--site", w.site, "--ssh-key", closed.Key, "magnet-psc", folder, "lin1mg01")
	if code != 1 || !strings.Contains(errs, "this is lin2mg01") {
		t.Errorf("exit code %d:\n%s%s", code, out, errs)
	}
	// One that cannot be reached keeps no other from it.
	out, code = dev("magnet-psc", folder, "lin1mg01", "lin2mg01")
	if code != 1 || !strings.Contains(out, "lin2mg01: magnet-psc dev-") || !strings.Contains(out, "not done on 1 of 2 FECs: lin1mg01") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	s.Rekey()
	if out, code := dev("status", "lin2mg01"); code != 1 || !strings.Contains(out, "another host key") {
		t.Errorf("another host key: exit code %d:\n%s", code, out)
	}
}

func containsAll(s string, all []string) bool {
	for _, one := range all {
		if !bytes.Contains([]byte(s), []byte(one)) {
			return false
		}
	}
	return true
}

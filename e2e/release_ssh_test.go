package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReleaseBySSH pushes through a real sshd, whose key is known.
func TestReleaseBySSH(t *testing.T) {
	t.Parallel()
	sshd := debian(t, "openssh-server", "sshd")
	r := newReleases(t)
	bare := filepath.Join(r.dir, "site.git")
	git(t, r.dir, "clone", "-q", "--bare", r.site, bare)
	for _, name := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(r.dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // what Debian's own start of sshd makes
			t.Fatal(err)
		}
	}
	address := freeAddress(t)
	host, port, _ := strings.Cut(address, ":")
	config := filepath.Join(r.dir, "sshd_config")
	r.put(config, fmt.Appendf(nil, "Port %s\nListenAddress %s\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nStrictModes no\nUsePAM no\n"+
		"PermitRootLogin prohibit-password\nPasswordAuthentication no\n", port, host, filepath.Join(r.dir, "host"), filepath.Join(r.dir, "user.pub")))
	cmd := exec.Command(sshd, "-D", "-e", "-f", config)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	eventually(t, "sshd answers", func() bool {
		c, err := net.Dial("tcp", address)
		return err == nil && c.Close() == nil
	})
	key, err := os.ReadFile(filepath.Join(r.dir, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	known := filepath.Join(r.dir, "known")
	r.put(known, fmt.Appendf(nil, "[%s]:%s %s", host, port, key))
	who, err := exec.Command("id", "-un").Output()
	if err != nil {
		t.Fatal(err)
	}
	release := func(version string, more ...string) (string, string, int) {
		return pomona(t, append([]string{"release", "bpm-fesa", version, r.folder, "--site", "ssh://" + strings.TrimSpace(string(who)) + "@" + address + bare,
			"--root", r.root, "--credential", address + "=" + filepath.Join(r.dir, "user"), "--cache", filepath.Join(r.dir, "cache")}, more...)...)
	}
	if _, errs, code := release("3.2.0"); code != 3 || !strings.Contains(errs, "give --known-hosts FILE") {
		t.Errorf("unknown host: exit code %d\n%s", code, errs)
	}
	if out, errs, code := release("3.2.0", "--known-hosts", known, "--pin", "kgp1bp01"); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if said := git(t, bare, "log", "-1", "--format=%s", "main"); said != "Release bpm-fesa 3.2.0" {
		t.Errorf("the newest commit is %q", said)
	}
	git(t, bare, "fsck", "--strict")
	r.put(filepath.Join(bare, "hooks/update"), []byte("#!/bin/sh\nexit 1\n"))
	if _, errs, code := release("3.3.0", "--known-hosts", known); code != 2 || !strings.Contains(errs, "the server does not take the commit") {
		t.Errorf("a hook: exit code %d\n%s", code, errs)
	}
	// Other commands read a site from there too.
	if _, errs, code := pomona(t, "dev", "status", "kgp1bp99", "--site", "ssh://"+strings.TrimSpace(string(who))+"@"+address+bare,
		"--credential", address+"="+filepath.Join(r.dir, "user"), "--known-hosts", known); code != 1 || !strings.Contains(errs, `no such FEC; did you mean "kgp1bp01"`) {
		t.Errorf("pomona dev: exit code %d\n%s", code, errs)
	}
}

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPrerequisitesByAnsible runs what is rendered of the template's prerequisites on this machine, which has them: syntax, foresight, and
// twice for real. Neither run changes anything, and the second never may.
func TestPrerequisitesByAnsible(t *testing.T) {
	t.Parallel()
	debian(t, "ansible-core", "ansible-playbook")
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can install packages")
	}
	if err := exec.Command("dpkg-query", "-W", "python3-apt", "dbus-daemon", "python3-yaml").Run(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("python3-apt, dbus-daemon or python3-yaml is missing: .ci/setup must install them")
		}
		t.Skip("SKIPPED: python3-apt, dbus-daemon or python3-yaml is missing; install Debian's packages")
	}
	dir := t.TempDir()
	site, out := filepath.Join(dir, "site"), filepath.Join(dir, "out")
	inFolder(t, dir, binary, "init", site)
	inFolder(t, site, binary, "prerequisites", "render", "--to", out)
	play := func(more ...string) string {
		cmd := exec.Command("ansible-playbook", append([]string{"-i", "localhost,", "-c", "local", "-e", "target=localhost",
			"-e", "ansible_python_interpreter=/usr/bin/python3", "debian12.yml"}, more...)...)
		cmd.Dir = filepath.Join(out, "ansible")
		cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8", "ANSIBLE_LOCALHOST_WARNING=false")
		b, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("ansible-playbook %v: %v\n%s", more, err, b)
		}
		return string(b)
	}
	play("--syntax-check")
	for _, more := range [][]string{{"--check"}, nil, nil} {
		// An index that is older than an hour is asked again, which changes no package.
		if said := play(more...); !strings.Contains(said, "failed=0") || !strings.Contains(said, "unreachable=0") {
			t.Errorf("ansible-playbook %v:\n%s", more, said)
		}
	}
	if said := play(); !strings.Contains(said, "changed=0") {
		t.Errorf("once more, something changes:\n%s", said)
	}
	// The script that people run agrees.
	script := filepath.Join(out, "debian12/install.sh")
	if said := inFolder(t, out, script); !strings.HasSuffix(said, "changed=0\n") {
		t.Errorf("the script changes something that Ansible did not: %s", said)
	}
	if said := inFolder(t, out, filepath.Join(out, "debian12/verify.sh")); strings.Count(said, "PASS ") != 2 {
		t.Errorf("probes: %s", said)
	}
	refuse := exec.Command(script, "dbus=9.9")
	if b, _ := refuse.CombinedOutput(); refuse.ProcessState.ExitCode() != 2 || !strings.Contains(string(b), "debian12 has no dbus=9.9") {
		t.Errorf("a version that is not there: %s", b)
	}
}

// TestPrerequisitesOnACleanMachine makes clean machines of Debian's packages, and has the evidence of what happens there count.
func TestPrerequisitesOnACleanMachine(t *testing.T) {
	if os.Getenv("POMONA_SOAK") == "" {
		t.Skip("takes minutes and a mirror: POMONA_SOAK=1")
	}
	dir := t.TempDir()
	site := filepath.Join(dir, "site")
	inFolder(t, dir, binary, "init", site)
	inFolder(t, site, "git", "config", "user.name", "Bo")
	inFolder(t, site, "git", "config", "user.email", "bo@example.org")
	key, allowed := filepath.Join(dir, "bo"), filepath.Join(dir, "allowed")
	inFolder(t, dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(allowed, append([]byte("bo@example.org "), public...), 0o600); err != nil {
		t.Fatal(err)
	}
	inFolder(t, site, "git", "config", "gpg.ssh.allowedSignersFile", allowed)
	said := inFolder(t, site, binary, "prerequisites", "test", "debian12", "--only", "dbus", "--sign", key, "--cache", filepath.Join(dir, "cache"))
	if !strings.Contains(said, "recorded trial of dbus 1.14.10 on debian12: pass") {
		t.Errorf("the trial says %s", said)
	}
	if said := inFolder(t, site, binary, "prerequisites"); !strings.Contains(said, "trial of 1.12.20 on rocky9: pending") {
		t.Errorf("afterwards: %s", said)
	}
}

// TestTheServiceRemembersWhoWroteEvidence has a service find out who signed, and a command ask it; without a service its ledger knows.
func TestTheServiceRemembersWhoWroteEvidence(t *testing.T) {
	t.Parallel()
	h := newTownhall(t)
	trial := func(more ...string) {
		inFolder(t, h.site, binary, append([]string{"prerequisites", "trial", "dbus", "--system", "rocky9", "--version", "1.12.20", "--again", "0", "--changed", "0",
			"--verify", "0", "--by", "owner@example.org"}, more...)...)
	}
	gate := func(want string) func() bool {
		return func() bool {
			out, _, code := pomona(t, "prerequisites", "show", "dbus", "--root", h.root, "--site", h.site)
			return code == 0 && strings.Contains(strings.Join(strings.Fields(out), " "), "trial of 1.12.20 on rocky9 "+want)
		}
	}
	trial("--install", "0", "--sign", "none", "--at", "2026-11-20T08:00:00Z")
	eventually(t, "evidence that nobody signed does not count", gate("needs_approval trial-rocky9-20261120-"))
	trial("--install", "1", "--at", "2026-11-21T08:00:00Z")
	eventually(t, "signed evidence counts", gate("fail trial-rocky9-20261121-"))
	if out, errs, code := pomona(t, "prerequisites", "--root", h.root, "-o", "json"); code != 0 || !strings.Contains(out, `"records": [`) {
		t.Errorf("%d %s\n%s", code, out, errs)
	}
	if err := h.end(syscall.SIGTERM); err != nil {
		t.Errorf("pomona serve ends with %v", err)
	}
	if !gate("fail trial-rocky9-20261121-")() {
		t.Errorf("without a service: %s", must(t, "prerequisites", "show", "dbus", "--root", h.root, "--site", h.site))
	}
	*h.service = *serveFile(t, h.file)
	eventually(t, "it is served again", func() bool { return h.answers("linac") })
}

// inFolder runs a program in a folder, which must end with 0, and gives what it printed. It may take as long as the test may.
func inFolder(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	var said, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, said.String(), errs.String())
	}
	return said.String()
}

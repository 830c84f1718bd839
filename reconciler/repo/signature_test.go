package repo_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// signer configures git to sign with an ssh key from now on.
func (u *upstream) signer(key string) {
	u.t.Helper()
	for name, value := range map[string]string{"gpg.format": "ssh", "user.signingkey": key, "commit.gpgsign": "true"} {
		git(u.t, u.work, "config", name, value)
	}
}

func allowed(t *testing.T, u *upstream, lines ...string) {
	t.Helper()
	write(t, u.dir, "allowed.new", strings.Join(lines, "\n")+"\n", 0o600)
	if err := os.Rename(filepath.Join(u.dir, "allowed.new"), filepath.Join(u.dir, "allowed")); err != nil {
		t.Fatal(err)
	}
}

// line is one of allowed signers.
func line(t *testing.T, key, options string) string {
	t.Helper()
	b, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace("somebody@example.org " + options + " " + string(b))
}

func TestSignedBySSH(t *testing.T) {
	u := newUpstream(t)
	known, other, old := keygen(t, u.dir, "known"), keygen(t, u.dir, "other"), keygen(t, u.dir, "old")
	rsa := filepath.Join(u.dir, "rsa")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", rsa).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	year := fmt.Sprintf(`valid-before="%d0101Z"`, time.Now().Year())
	allowed(t, u, "# who may sign", line(t, known, `namespaces="git,file"`), line(t, old, year), line(t, other, `namespaces="file"`))
	signers, err := repo.OpenSigners(repo.SignerFiles{SSH: filepath.Join(u.dir, "allowed")}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if got := signers.People(); len(got) != 1 {
		t.Errorf("of three, of whom one's time is over and one signs files, there are %q", got)
	}
	o := u.options()
	o.Signers = signers
	m := open(t, o)
	var refused *repo.Refused
	m.fails("", &refused, "it is not signed")
	u.signer(known)
	// What lies before the first accepted commit does not count.
	first := u.commit("signed")
	m.moves(first)
	m.moves(u.commit("signed again"))
	at := u.head()

	// Hidden behind a signed tip: unsigned, on the branch itself and on one that is merged.
	git(t, u.work, "-c", "commit.gpgsign=false", "commit", "-q", "--allow-empty", "-m", "hidden")
	hidden := u.head()
	u.commit("signed tip")
	m.fails(at, &refused, "it brings commit "+hidden+": it is not signed")
	m.restart()
	m.fails(at, &refused, "it brings commit "+hidden)
	git(t, u.work, "reset", "-q", "--hard", at)
	git(t, u.work, "checkout", "-qb", "side", first)
	git(t, u.work, "-c", "commit.gpgsign=false", "commit", "-q", "--allow-empty", "-m", "hidden on a side")
	hidden = u.head()
	git(t, u.work, "checkout", "-q", "main")
	git(t, u.work, "merge", "-q", "--no-ff", "-m", "merge", "side")
	u.push()
	m.fails(at, &refused, "it brings commit "+hidden+": it is not signed")
	// Naming it does not sign it.
	if err := m.Accept(u.head()); err != nil {
		t.Fatal(err)
	}
	m.fails(at, &refused, "it is not signed")
	git(t, u.work, "reset", "-q", "--hard", at)

	for _, c := range []struct{ key, says string }{
		{other, "nobody who may sign has the key"}, {old, "has expired"}, {rsa, "nobody who may sign has the key"},
	} {
		u.signer(c.key)
		u.commit("signed by " + c.key)
		m.fails(at, &refused, c.says)
		git(t, u.work, "reset", "-q", "--hard", at)
	}
	// A date before the key expired does not help.
	u.signer(old)
	t.Setenv("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")
	u.commit("dated back")
	m.fails(at, &refused, "has expired")
	if err := os.Unsetenv("GIT_COMMITTER_DATE"); err != nil {
		t.Fatal(err)
	}
	// Keys that become known count at once.
	allowed(t, u, line(t, known, ""), line(t, old, ""), line(t, rsa, ""))
	m.moves(u.head())
	u.signer(rsa)
	m.moves(u.commit("by RSA"))
	at = u.head()

	// A signature of another commit, of other bytes, and for another purpose.
	u.signer(known)
	u.commit("to be altered")
	raw := git(t, u.work, "cat-file", "commit", "HEAD") + "\n"
	for name, altered := range map[string]string{
		"message":     strings.Replace(raw, "to be altered", "altered", 1),
		"author":      strings.Replace(raw, "author a ", "author b ", 1),
		"own header":  strings.Replace(raw, "\n\n", "\nmore header\n\n", 1),
		"two":         strings.Replace(raw, "gpgsig ", "gpgsig -----BEGIN SSH SIGNATURE-----\n x\n -----END SSH SIGNATURE-----\ngpgsig ", 1),
		"sha256 also": strings.Replace(raw, "gpgsig ", "gpgsig-sha256 -----BEGIN SSH SIGNATURE-----\n x\n -----END SSH SIGNATURE-----\ngpgsig ", 1),
		"two, odd":    strings.Replace(raw, "\n\n", "\ngpgsig x\n\n", 1),
		"sha256, odd": strings.Replace(raw, "gpgsig ", "gpgsig-sha256 x\ngpgsig ", 1),
		"for files":   signedFor(t, u, known, "file"),
		"cut":         strings.Replace(raw, "\n -----END", "\n-----END", 1),
	} {
		id := gitReading(t, u.work, altered, "hash-object", "-t", "commit", "-w", "--stdin", "--literally")
		git(t, u.work, "push", "-qf", "origin", id+":refs/heads/main")
		m.fails(at, &refused, id)
		if name == "message" {
			m.fails(at, &refused, "its SSH signature is wrong")
		}
	}
	// The same by hand, for git.
	id := gitReading(t, u.work, signedFor(t, u, known, "git"), "hash-object", "-t", "commit", "-w", "--stdin")
	git(t, u.work, "push", "-qf", "origin", id+":refs/heads/main")
	m.moves(id)
	git(t, u.work, "reset", "-q", "--hard", id)

	// A file of keys that cannot be read lets nobody in.
	at = u.head()
	u.commit("signed still")
	allowed(t, u, "nonsense")
	m.fails(at, new(error), "read allowed signers")
	allowed(t, u, line(t, known, ""))
	m.moves(u.head())
}

// signedFor is a commit with a good signature that was made for something else.
func signedFor(t *testing.T, u *upstream, key, namespace string) string {
	t.Helper()
	tree := git(t, u.work, "rev-parse", "HEAD^{tree}")
	raw := fmt.Sprintf("tree %s\nparent %s\nauthor a <a@b> 1700000000 +0000\ncommitter a <a@b> 1700000000 +0000\n\nfor %s\n", tree, git(t, u.work, "rev-parse", "HEAD~1"), namespace)
	write(t, u.dir, "payload", raw, 0o600)
	if out, err := exec.Command("ssh-keygen", "-Y", "sign", "-n", namespace, "-f", key, filepath.Join(u.dir, "payload")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	signature, err := os.ReadFile(filepath.Join(u.dir, "payload.sig"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(u.dir, "payload.sig")); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(raw, "\n\n", "\ngpgsig "+strings.ReplaceAll(strings.TrimSpace(string(signature)), "\n", "\n ")+"\n\n", 1)
}

func TestSignedByGPG(t *testing.T) {
	gpg := program(t, "gpg", "gpg")
	home, err := os.MkdirTemp("", "gnupg") // its socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() // it may not run
		os.RemoveAll(home)
	})
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(gpg, append([]string{"--homedir", home, "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %v: %v", args, err)
		}
		return string(out)
	}
	run("--quick-generate-key", "known@example.org", "ed25519", "sign", "never")
	run("--quick-generate-key", "other@example.org", "rsa2048", "sign", "never")
	run("--faked-system-time", "20200101T000000!", "--quick-generate-key", "old@example.org", "ed25519", "sign", "1d")
	u := newUpstream(t)
	keyring := filepath.Join(u.dir, "keyring")
	export := func(args ...string) {
		t.Helper()
		write(t, u.dir, "keyring.new", run(append([]string{"--export"}, args...)...), 0o600)
		if err := os.Rename(keyring+".new", keyring); err != nil {
			t.Fatal(err)
		}
	}
	export("--armor", "known@example.org", "old@example.org")
	t.Setenv("GNUPGHOME", home)
	signers, err := repo.OpenSigners(repo.SignerFiles{GPG: keyring}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if got := signers.People(); len(got) != 1 || got[0] != "known@example.org" {
		t.Errorf("of two, of whom one's time is over, there are %q", got)
	}
	o := u.options()
	o.Signers = signers
	m := open(t, o)
	sign := func(who string) {
		git(t, u.work, "config", "gpg.format", "openpgp")
		git(t, u.work, "config", "user.signingkey", who)
		git(t, u.work, "config", "commit.gpgsign", "true")
	}
	sign("known@example.org")
	at := u.commit("signed")
	m.moves(at)
	var refused *repo.Refused
	sign("other@example.org")
	u.commit("signed by another")
	m.fails(at, &refused, "nobody who may sign has the GPG key")
	git(t, u.work, "reset", "-q", "--hard", at)
	// gpg does not sign with an expired key, unless its clock is wrong.
	write(t, u.dir, "gpg-old", "#!/bin/sh\nexec "+gpg+" --faked-system-time 20200101T060000! \"$@\"\n", 0o755)
	sign("old@example.org")
	git(t, u.work, "config", "gpg.program", filepath.Join(u.dir, "gpg-old"))
	t.Setenv("GIT_COMMITTER_DATE", "2020-01-01T06:00:00Z")
	u.commit("signed with an expired key")
	if err := os.Unsetenv("GIT_COMMITTER_DATE"); err != nil {
		t.Fatal(err)
	}
	m.fails(at, &refused, "expired")
	git(t, u.work, "config", "--unset", "gpg.program")
	git(t, u.work, "reset", "-q", "--hard", at)
	sign("known@example.org")
	u.commit("good")
	raw := git(t, u.work, "cat-file", "commit", "HEAD") + "\n"
	id := gitReading(t, u.work, strings.Replace(raw, "good", "evil", 1), "hash-object", "-t", "commit", "-w", "--stdin")
	git(t, u.work, "push", "-qf", "origin", id+":refs/heads/main")
	m.fails(at, &refused, "its GPG signature is wrong")
	u.push()
	m.moves(u.head())
	sign("other@example.org")
	u.commit("signed by another")
	export("known@example.org", "other@example.org")
	m.moves(u.head())
}

func TestSignersMustBeSomebody(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"", "# nobody\n", "a@b\n", "a@b ssh-ed25519 xyz\n", "a@b cert-authority ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBFRXGZuU5NGVd2oBCMQ3TFxHOqHVdTVx8G3z7L7wF3N\n", `a@b valid-before="soon" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBFRXGZuU5NGVd2oBCMQ3TFxHOqHVdTVx8G3z7L7wF3N` + "\n"} {
		write(t, dir, "keys", content, 0o600)
		for _, files := range []repo.SignerFiles{{}, {SSH: filepath.Join(dir, "keys")}, {GPG: filepath.Join(dir, "keys")}, {SSH: filepath.Join(dir, "none")}} {
			if _, err := repo.OpenSigners(files, time.Now); err == nil {
				t.Errorf("%q lets somebody sign: %+v", content, files)
			}
		}
	}
}

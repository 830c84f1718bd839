package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// gnupg is a real one, with a home of its own.
type gnupg struct {
	t             *testing.T
	program, home string
}

func newGnuPG(t *testing.T) gnupg {
	t.Helper()
	home, err := os.MkdirTemp("", "gnupg") // its socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() // it may not run
		os.RemoveAll(home)
	})
	return gnupg{t, debian(t, "gpg", "gpg"), home}
}

func (g gnupg) run(args ...string) string {
	g.t.Helper()
	cmd := exec.Command(g.program, append([]string{"--homedir", g.home, "--batch", "--yes", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("gpg %v: %v", args, err)
	}
	return string(out)
}

// TestRecordsSignedByGPG has people say things of a pilot with keys of GnuPG, as git is configured to sign: one that the service knows counts, by its
// primary user id; one that it does not know, that has expired or was revoked does not.
func TestRecordsSignedByGPG(t *testing.T) {
	t.Parallel()
	g := newGnuPG(t)
	for _, who := range []string{"ann", "eve", "rea"} {
		g.run("--quick-generate-key", who+" <"+who+"@example.org>", "ed25519", "sign", "never")
	}
	g.run("--quick-add-uid", "ann@example.org", "Ann at home <ann@home.example>")
	g.run("--quick-set-primary-uid", "ann@example.org", "ann <ann@example.org>")
	g.run("--faked-system-time", "20200101T000000!", "--quick-generate-key", "old <old@example.org>", "ed25519", "sign", "1d")
	h := newHouse(t)
	says := func(who string, program string) string {
		t.Helper()
		for name, value := range map[string]string{"gpg.format": "openpgp", "user.signingkey": who + "@example.org", "user.email": who + "@example.org", "gpg.program": program} {
			git(t, h.bare, "config", name, value)
		}
		cmd := exec.Command(binary, "pilot", "psc-2-0", "feedback", "--text", "ten thousand ramps, says "+who, "--site", h.bare, "-o", "text", "--cache", h.sayers.path("cache"))
		cmd.Env = append(os.Environ(), "GNUPGHOME="+g.home)
		out, errs, code := runCommand(t, cmd)
		if code != 0 {
			t.Fatalf("%s: exit code %d\n%s%s", who, code, out, errs)
		}
		_, record, _ := strings.Cut(out, "record ")
		record, _, _ = strings.Cut(record, " ")
		if raw := git(t, h.bare, "cat-file", "commit", "HEAD"); !strings.Contains(raw, "-----BEGIN PGP SIGNATURE-----") {
			t.Fatalf("it is not signed:\n%s", raw)
		}
		return record
	}
	// gpg does not sign with an expired key, unless its clock is wrong.
	h.sayers.write("gpg-old", fmt.Sprintf("#!/bin/sh\nexec %s --faked-system-time 20200101T060000! \"$@\"\n", g.program))
	if err := os.Chmod(h.sayers.path("gpg-old"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // why it does not count
		says("ann", g.program):                "",
		says("eve", g.program):                "nobody who may sign has the GPG key",
		says("rea", g.program):                "the GPG key that signed it was revoked",
		says("old", h.sayers.path("gpg-old")): "the GPG key that signed it has expired",
	}
	revocation := g.home + "/revocation"
	fingerprint := ""
	for line := range strings.Lines(g.run("--with-colons", "--list-keys", "rea@example.org")) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" && fingerprint == "" {
			fingerprint = fields[9]
		}
	}
	b, err := os.ReadFile(g.home + "/openpgp-revocs.d/" + fingerprint + ".rev")
	if err != nil {
		t.Fatal(err)
	}
	h.world.put(revocation, []byte(strings.ReplaceAll(string(b), ":-----BEGIN", "-----BEGIN")))
	g.run("--import", revocation)
	h.sayers.write("keyring", g.run("--armor", "--export", "ann@example.org", "rea@example.org", "old@example.org"))
	h.sayers.write("allowed", "")
	h.signers = fmt.Sprintf("keyring: %q", h.sayers.path("keyring"))
	h.serves("")
	var records []provenRecord
	defer func() {
		if t.Failed() {
			t.Logf("want %v\ngot %+v", want, records)
		}
	}()
	eventually(t, "each record is judged", func() bool {
		records = h.pilot("psc-2-0").Records
		for _, r := range records {
			if why := want[r.Record]; why == "" && r.Proof == nil || why != "" && (r.Proof != nil || !strings.Contains(r.Doubt, why)) {
				return false
			}
		}
		return len(records) == len(want)
	})
}

package rpm_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

// gpg runs gpg with a home of its own.
func gpg(t *testing.T, home string, args ...string) string {
	t.Helper()
	return output(t, home, "gpg", append([]string{"--homedir", home, "--batch", "--yes", "--quiet", "--no-autostart", "--no-tty"}, args...)...)
}

func TestGPGKnowsWhatAKeyHasSigned(t *testing.T) {
	need(t, "gpg")
	k, home := must(key())(t), t.TempDir()
	write(t, home+"/key.asc", string(must(k.PublicArmored())(t)))
	write(t, home+"/repomd.xml", "content")
	write(t, home+"/repomd.xml.asc", string(must(k.SignDetached([]byte("content")))(t)))
	gpg(t, home, "--import", "key.asc")
	if said := gpg(t, home, "--with-colons", "--list-keys"); !strings.Contains(said, "fpr:::::::::"+k.Fingerprint()+":") {
		t.Errorf("want %s, gpg lists\n%s", k.Fingerprint(), said)
	}
	gpg(t, home, "--verify", "repomd.xml.asc", "repomd.xml")
	if !strings.HasSuffix(k.Fingerprint(), k.ID()) {
		t.Errorf("the key %s has ID %s", k.Fingerprint(), k.ID())
	}
}

func TestASignatureOfAFixedTimeIsAlwaysTheSame(t *testing.T) {
	k := must(key())(t)
	b, later := []byte("content"), time.Now().Add(time.Hour).Truncate(time.Second)
	for _, at := range []time.Time{time.Unix(fixed, 0), later} {
		first := must(k.SignDetachedAt(b, at))(t)
		if second := must(k.SignDetachedAt(b, at))(t); !bytes.Equal(first, second) {
			t.Errorf("signed at %v: two signatures", at)
		}
		if bytes.Equal(first, must(k.SignDetachedAt(b, later.Add(time.Hour)))(t)) {
			t.Errorf("signed at %v: another time has the same signature", at)
		}
		ring := must(openpgp.ReadArmoredKeyRing(bytes.NewReader(must(k.PublicArmored())(t))))(t)
		config := &packet.Config{Time: func() time.Time { return later }}
		if _, err := openpgp.CheckArmoredDetachedSignature(ring, bytes.NewReader(b), bytes.NewReader(first), config); err != nil {
			t.Errorf("signed at %v: %v", at, err)
		}
	}
}

func TestParseSecretKeyReadsWhatGPGExports(t *testing.T) {
	need(t, "gpg", "gpg-agent", "gpgconf")
	home := t.TempDir()
	t.Cleanup(func() { output(t, home, "gpgconf", "--homedir", home, "--kill", "all") })
	run := func(args ...string) string {
		t.Helper()
		return output(t, home, "gpg", append([]string{"--homedir", home, "--batch", "--yes", "--quiet", "--no-tty", "--pinentry-mode", "loopback"}, args...)...)
	}
	for name, passphrase := range map[string]string{"open": "", "closed": "secret"} {
		run("--passphrase", passphrase, "--quick-generate-key", name, "rsa2048", "sign", "never")
	}
	k := must(rpm.ParseSecretKey([]byte(run("--armor", "--export-secret-keys", "open"))))(t)
	write(t, home+"/x", "content")
	write(t, home+"/x.asc", string(must(k.SignDetached([]byte("content")))(t)))
	run("--verify", "x.asc", "x")
	write(t, home+"/x.asc", string(must(k.SignDetachedAt([]byte("content"), time.Unix(fixed, 0)))(t)))
	run("--verify", "x.asc", "x")
	for _, row := range []struct{ what, armored, want string }{
		{"a passphrase", run("--passphrase", "secret", "--armor", "--export-secret-keys", "closed"), "has a passphrase"},
		{"the public key", run("--armor", "--export", "open"), "it is a public key"},
		{"a signature", string(must(k.SignDetached(nil))(t)), "pgp signature"},
		{"text", "text", "not an armored OpenPGP key"},
		{"two keys", run("--passphrase", "secret", "--armor", "--export-secret-keys"), "2 keys"},
	} {
		if _, err := rpm.ParseSecretKey([]byte(row.armored)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.what, err, row.want)
		}
	}
}

func TestASecretKeyIsReadAsItWasWritten(t *testing.T) {
	k := must(key())(t)
	back := must(rpm.ParseSecretKey(must(k.SecretArmored())(t)))(t)
	if back.Fingerprint() != k.Fingerprint() {
		t.Errorf("%s has become %s", k.Fingerprint(), back.Fingerprint())
	}
}

func TestVerifyPackageTakesNothingButWhatTrustedKeysSigned(t *testing.T) {
	k := must(key())(t)
	ring := must(rpm.ParseKeyring(must(k.PublicArmored())(t)))(t)
	other := must(openpgp.NewEntity("other", "", "", nil))(t)
	p := packed{name: "tool", files: "/usr/bin/tool", by: must(entity())(t)}
	b := p.bytes(t)
	if got := must(rpm.VerifyPackage(bytes.NewReader(b), ring))(t); got != k.Fingerprint() {
		t.Errorf("signed by %s, want %s", got, k.Fingerprint())
	}
	unsigned, foreign := p, p
	unsigned.by, foreign.by = nil, other
	read := p.read(t)
	flipped := func(at int64) []byte {
		c := bytes.Clone(b)
		c[at] ^= 1
		return c
	}
	for _, row := range []struct {
		what string
		b    []byte
		want error
	}{
		{"unsigned", unsigned.bytes(t), rpm.ErrUnsigned},
		{"signed by somebody", foreign.bytes(t), rpm.ErrUnknownKey},
		{"with another header", flipped(read.HeaderEnd - 2), rpm.ErrChanged},
		{"with another payload", flipped(int64(len(b) - 1)), rpm.ErrChanged},
		{"with something behind", append(bytes.Clone(b), 0), rpm.ErrChanged},
		{"with less", b[:len(b)-1], rpm.ErrChanged},
	} {
		if who, err := rpm.VerifyPackage(bytes.NewReader(row.b), ring); !errors.Is(err, row.want) {
			t.Errorf("%s: %q, %v, want %v", row.what, who, err, row.want)
		}
	}
}

func TestVerifyPackageTakesWhatRPMSigns(t *testing.T) {
	need(t, "gpg", "gpg-agent", "gpgconf", "rpmsign")
	files := built(t, "empty")
	home := t.TempDir()
	t.Cleanup(func() { output(t, home, "gpgconf", "--homedir", home, "--kill", "all") })
	for _, algorithm := range []string{"rsa2048", "ed25519"} {
		run := func(args ...string) string {
			t.Helper()
			return output(t, home, "gpg", append([]string{"--homedir", home, "--batch", "--yes", "--quiet", "--no-tty"}, args...)...)
		}
		run("--passphrase", "", "--quick-generate-key", algorithm, algorithm, "sign", "never")
		ring := must(rpm.ParseKeyring([]byte(run("--armor", "--export", algorithm))))(t)
		file := filepath.Join(home, algorithm+".rpm")
		put(t, home, algorithm+".rpm", must(os.ReadFile(files[0]))(t))
		output(t, home, "rpmsign", "--define", "__gpg /usr/bin/gpg", "--define", "_gpg_path "+home, "--define", "_gpg_name "+algorithm, "--addsign", file)
		b := must(os.ReadFile(file))(t)
		got := must(rpm.VerifyPackage(bytes.NewReader(b), ring))(t)
		if !strings.Contains(run("--with-colons", "--list-keys", algorithm), "fpr:::::::::"+got+":") {
			t.Errorf("%s: signed by %s", algorithm, got)
		}
		p := must(rpm.Read(bytes.NewReader(b)))(t)
		if p.SigningKeyID == "" || !strings.HasSuffix(got, p.SigningKeyID) {
			t.Errorf("%s: signed by %s, and the header names %q", algorithm, got, p.SigningKeyID)
		}
		if who, err := rpm.VerifyPackage(bytes.NewReader(b[:len(b)-1]), ring); !errors.Is(err, rpm.ErrChanged) {
			t.Errorf("%s: %q, %v", algorithm, who, err)
		}
	}
}

func TestParseKeyringRefuses(t *testing.T) {
	k := must(key())(t)
	public := must(k.PublicArmored())(t)
	if _, err := rpm.ParseKeyring(append(bytes.Clone(public), public...)); err != nil {
		t.Errorf("two blocks: %v", err)
	}
	for what, b := range map[string][]byte{"nothing": nil, "text": []byte("text"), "a secret key": must(k.SecretArmored())(t), "half": public[:len(public)/2]} {
		if _, err := rpm.ParseKeyring(b); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

// FuzzVerifyPackage holds that no changed package passes.
func FuzzVerifyPackage(f *testing.F) {
	ring := must(rpm.ParseKeyring(must(must(key())(f).PublicArmored())(f)))(f)
	good := packed{name: "tool", files: "/usr/bin/tool", by: must(entity())(f)}.bytes(f)
	f.Add(0, byte(1))
	f.Add(len(good)-1, byte(1))
	f.Fuzz(func(t *testing.T, at int, by byte) {
		if at < 0 || at >= len(good) || by == 0 {
			return
		}
		b := bytes.Clone(good)
		b[at] ^= by
		read, err := rpm.Read(bytes.NewReader(b))
		if err != nil || int64(at) < read.HeaderStart {
			return // what the signature does not cover
		}
		if who, err := rpm.VerifyPackage(bytes.NewReader(b), ring); err == nil {
			t.Errorf("byte %d changed, and it is still signed by %s", at, who)
		}
	})
}

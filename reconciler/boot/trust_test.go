package boot_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/boot"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// TestVerifiers boots with each verifier alone, and with each refuses a changed byte.
func TestVerifiers(t *testing.T) {
	for name, path := range map[string]func(*testing.T) string{
		"pomona-verify":     func(t *testing.T) string { return program(t, verifier) },
		"signify-openbsd":   func(t *testing.T) string { return need(t, "signify-openbsd", "install signify-openbsd") },
		"openssl":           func(t *testing.T) string { return need(t, "openssl", "install openssl") },
		"usign of OpenWrt":  usign,
		"another's signify": notSignify,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			f := s.fec()
			f.Tools = []string{path(t)}
			f.Env = append(f.Env, "POMONA_RETRIES=1")
			s.publish(s.release(100))
			if name == "another's signify" {
				boots(t, f, "failed", 0, "has signed it")
				return
			}
			boots(t, f, "running", 100, "")
			body := s.release(101).Marshal()
			signed := s.sign(body)
			s.put(manifestPath, bytes.Replace(signed, []byte("serial 101"), []byte("serial 102"), 1))
			boots(t, f, "fallback", 100, "has signed it")
		})
	}
}

// usign is OpenWrt's program, which Debian does not package, or signify in its place, which takes the same arguments.
func usign(t *testing.T) string {
	t.Helper()
	if found, err := exec.LookPath("usign"); err == nil {
		return found
	}
	t.Log("no usign: signify-openbsd stands in for it")
	link := filepath.Join(t.TempDir(), "usign")
	if err := os.Symlink(need(t, "signify-openbsd", "install signify-openbsd"), link); err != nil {
		t.Fatal(err)
	}
	return link
}

// notSignify is a program of that name which verifies nothing, as Debian has one.
func notSignify(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "signify")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeyRotation(t *testing.T) {
	both := []tree.SecretKey{oldKey, newKey}
	for _, c := range []struct {
		name   string
		signed []tree.SecretKey
		knows  []tree.SecretKey
		boots  bool
	}{
		{"before", []tree.SecretKey{oldKey}, []tree.SecretKey{oldKey}, true},
		{"tree signs with both, FEC knows the old one", both, []tree.SecretKey{oldKey}, true},
		{"tree signs with both, FEC knows the new one", both, []tree.SecretKey{newKey}, true},
		{"tree signs with both, FEC knows both", both, both, true},
		{"tree signs with the new one, FEC knows both", []tree.SecretKey{newKey}, both, true},
		{"tree signs with the old one, FEC knows it no more", []tree.SecretKey{oldKey}, []tree.SecretKey{newKey}, false},
		{"tree signs with a stranger's", []tree.SecretKey{otherKey}, both, false},
		{"tree signs with nothing", nil, both, false},
		{"stranger uses the old one's number", []tree.SecretKey{tree.NewSecretKey([32]byte{9}, tree.KeyID{1, 7})}, both, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.keys = c.signed
			s.publish(s.release(100))
			f := s.fec()
			f.Keys = nil
			for _, k := range c.knows {
				f.Keys = append(f.Keys, publicKey(t, k))
			}
			if c.boots {
				boots(t, f, "running", 100, "")
			} else {
				boots(t, f, "failed", 0, "has signed it")
			}
		})
	}
}

// TestRevokedKey takes the only key that signed what is installed.
func TestRevokedKey(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.release(100))
	boots(t, f, "running", 100, "")
	f.Keys = []string{publicKey(t, newKey)}
	boots(t, f, "failed", 0, "has signed it")
}

func TestUnverified(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*boot.FEC)
	}{
		{"no keys", func(f *boot.FEC) { f.Keys = nil }},
		{"no verifier", func(f *boot.FEC) { f.Tools = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.publish(s.release(100))
			f := s.fec()
			c.spoil(f)
			boots(t, f, "failed", 0, "verif")
			s.settings.AllowUnverified = true
			f.Client = boot.Client(s.settings)
			boots(t, f, "running", 100, "unverified")
		})
	}
	t.Run("keys and verifier are there", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.settings.AllowUnverified = true
		s.keys = []tree.SecretKey{otherKey}
		s.publish(s.release(100))
		boots(t, s.fec(), "failed", 0, "has signed it")
	})
}

// TestNotForThisFEC serves manifests of others, well signed.
func TestNotForThisFEC(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tree.Manifest)
		env    string
		detail string
	}{
		"another site":     {func(m *tree.Manifest) { m.Site = "ring" }, "", "it is for site ring, not linac"},
		"another channel":  {func(m *tree.Manifest) { m.Channel = "pr-7" }, "", "it is for channel pr-7, not production"},
		"another FEC":      {func(m *tree.Manifest) { m.FEC, m.Host = "kgp2cu03", "scuxl0816.acc.example.org" }, "", "it is for kgp2cu03, not kgp2cu02"},
		"another platform": {func(*tree.Manifest) {}, "POMONA_PLATFORM=debian-12", "it is for platform yocto-ppc, not debian-12"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			m := s.release(100)
			c.change(&m)
			s.publish(m)
			f := s.fec()
			f.Env = append(f.Env, c.env)
			boots(t, f, "failed", 0, c.detail)
		})
	}
}

// TestNames boots under each name that a FEC may know itself by.
func TestNames(t *testing.T) {
	for name, boot := range map[string]bool{
		fecName: true, "KGP2CU02": true, fecName + ".acc.example.org": true, "scuxl0815": true, hostFQN: true,
		"scuxl0815.other.example.org": false, "scuxl081": false,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.put("/fecs/"+strings.ToLower(name)+"/boot.manifest", s.sign(s.release(100).Marshal()))
			f := s.fec()
			f.Name = name
			if boot {
				boots(t, f, "running", 100, "")
			} else {
				boots(t, f, "failed", 0, "it is for kgp2cu02, not "+name)
			}
		})
	}
	for _, name := range []string{"../kgp2cu02", "-h", "a b", "kgp2cu02/..", "$(reboot)"} {
		t.Run("malformed "+name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			f := s.fec()
			f.Name = name
			if o, err := f.Boot(t.Context()); err != nil || o.Status != 2 || len(s.asked()) > 0 {
				t.Errorf("ended with %+v: %v; requests %v", o, err, s.asked())
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	past := time.Now().Unix()/60 - 10
	expired := func(s *site, serial int64) {
		m := s.release(serial)
		m.Expires = past
		s.publish(m)
	}
	t.Run("nothing installed", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		f := s.fec()
		expired(s, 100)
		boots(t, f, "running", 100, "stale")
		boots(t, f, "running", 100, "stale") // the same one, installed
	})
	t.Run("another installed", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		f := s.fec()
		s.publish(s.release(100))
		boots(t, f, "running", 100, "")
		expired(s, 101)
		boots(t, f, "fallback", 100, "it has expired, and a release is installed")
	})
	t.Run("site demands fresh ones", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		f := s.fec()
		expired(s, 100)
		boots(t, f, "running", 100, "stale")
		s.settings.RequireFresh = true
		f.Client = boot.Client(s.settings)
		boots(t, f, "failed", 100, "it has expired, and the site demands fresh manifests")
		s.publish(s.release(101))
		boots(t, f, "running", 101, "")
	})
	t.Run("clock not set", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		f := s.fec()
		f.Shell, f.Env = need(t, "dash", "install dash"), append(f.Env, "FAKE_DATE=86400")
		f.Tools = append(f.Tools, tool(t, "date", `case $1 in +%s) echo "$FAKE_DATE" ;; *) echo then ;; esac`))
		expired(s, 100)
		boots(t, f, "running", 100, "clock not set, expiry unchecked")
		s.settings.RequireFresh = true
		f.Client = boot.Client(s.settings)
		boots(t, f, "failed", 100, "the clock is not set")
	})
	t.Run("after 2038", func(t *testing.T) { // no arithmetic of 32 bits
		t.Parallel()
		s := newSite(t)
		f := s.fec()
		f.Shell, f.Env = need(t, "dash", "install dash"), append(f.Env, "FAKE_DATE=6000000000")
		f.Tools = append(f.Tools, tool(t, "date", `case $1 in +%s) echo "$FAKE_DATE" ;; *) echo then ;; esac`))
		m := s.release(100)
		m.Expires = 100_000_000 // minutes; the clock says as many
		s.publish(m)
		boots(t, f, "running", 100, "")
		f.Env = append(f.Env, "FAKE_DATE=6000000060")
		boots(t, f, "running", 100, "stale")
	})
}

// tool is a program that takes the place of an applet. Debian's busybox never calls it from its own shell.
func tool(t *testing.T, name, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHostileManifests are signed, so that nothing but the client's own grammar stops them.
func TestHostileManifests(t *testing.T) {
	for name, change := range map[string][2]string{
		"script outside":         {"init 10-env", "init ../10-env"},
		"script as option":       {"init 10-env", "init -rf"},
		"hidden script":          {"init 10-env", "init .10-env"},
		"install outside":        {"/opt/conf/timing", "/opt/../etc"},
		"install not rooted":     {"/opt/conf/timing", "opt/conf"},
		"install into slot":      {"/opt/conf/timing", "/.pomona/init"},
		"unknown line":           {"data no", "data no\nrun reboot"},
		"command":                {"bpm 1.0.100", "bpm $(reboot)"},
		"number too long":        {"serial 100", "serial 10000000000000"},
		"number with a zero":     {"serial 100", "serial 0100"},
		"digest too long":        {" /opt/conf/timing", "0 /opt/conf/timing"},
		"unknown format":         {"gzip", "lzma"},
		"lines in another order": {"fec kgp2cu02\nhost scuxl0815.acc.example.org", "host scuxl0815.acc.example.org\nfec kgp2cu02"},
		"zero byte":              {"init 10-env", "init 10-env\x00"},
		"wrong count":            {"\nend ", "\nend 1"},
		"no end":                 {"\nend ", "\nfin "},
		"another version":        {"pomona-boot 1", "pomona-boot 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			f := s.fec()
			f.Env = append(f.Env, "POMONA_RETRIES=1")
			good := s.release(100).Marshal()
			bad := bytes.Replace(good, []byte(change[0]), []byte(change[1]), 1)
			if bytes.Equal(good, bad) {
				t.Fatalf("no %q in\n%s", change[0], good)
			}
			bad = recount(bad, bytes.Count(bad, []byte("\n"))-bytes.Count(good, []byte("\n")))
			s.put(manifestPath, s.sign(bad))
			if o, err := f.Boot(t.Context()); err != nil || o.Status != 2 || len(s.asked()) != 1 {
				t.Errorf("ended with %+v: %v; requests %v", o, err, s.asked())
			}
		})
	}
}

// recount corrects the last line after n lines were added.
func recount(b []byte, n int) []byte {
	if n == 0 {
		return b
	}
	i := bytes.LastIndex(b, []byte("end "))
	return append(bytes.Clone(b[:i]), []byte("end 15\n")...)
}

// TestEndlessManifest fills no disk.
func TestEndlessManifest(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	f.Env = append(f.Env, "POMONA_RETRIES=1")
	s.put(manifestPath, bytes.Repeat([]byte("site linac\n"), 1<<20))
	boots(t, f, "failed", 0, "no manifest")
	if size := len(read(t, f.Root(), "work/manifest")); size > 2<<20 {
		t.Errorf("the client kept %d bytes", size)
	}
}

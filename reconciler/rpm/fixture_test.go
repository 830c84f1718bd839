package rpm_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/google/rpmpack"

	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

// fixed is when everything was made.
const fixed = 1_700_000_000

// need skips a test whose programs are not installed, except in CI.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed", name)
			}
			t.Skipf("SKIPPED: %s is not installed", name)
		}
	}
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// output runs a command to its end.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "LC_ALL=C.UTF-8")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// packed is a package that rpmpack makes.
type packed struct {
	name, version, release string // 1.0 and 1 by default
	epoch                  uint32
	arch                   string // noarch by default
	provides, requires     string // separated by commas
	obsoletes, conflicts   string
	files                  string
	tags                   map[int]rpmpack.IndexEntry
	by                     *openpgp.Entity // signs it
}

func (p packed) bytes(t testing.TB) []byte {
	t.Helper()
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	m := rpmpack.RPMMetaData{
		Name: p.name, Version: or(p.version, "1.0"), Release: or(p.release, "1"), Epoch: p.epoch, Arch: or(p.arch, "noarch"), OS: "linux",
		Summary: "A package for tests", Description: "It is for tests.\n", Licence: "Apache-2.0", BuildTime: time.Unix(fixed, 0), BuildHost: "reproducible", Compressor: "gzip",
	}
	for list, into := range map[string]*rpmpack.Relations{p.provides: &m.Provides, p.requires: &m.Requires, p.obsoletes: &m.Obsoletes, p.conflicts: &m.Conflicts} {
		for word := range strings.SplitSeq(list, ",") {
			if word = strings.TrimSpace(word); word == "" {
				continue
			}
			if err := into.Set(word); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := rpmpack.NewRPM(m)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCustomTag(1044, rpmpack.EntryString(p.name+".src.rpm")) // without a source package's name rpm takes it for one
	for tag, e := range p.tags {
		r.AddCustomTag(tag, e)
	}
	for name := range strings.SplitSeq(p.files, ",") {
		if name != "" {
			r.AddFile(rpmpack.RPMFile{Name: name, Body: []byte(name), Mode: 0o644, Owner: "root", Group: "root", MTime: fixed})
		}
	}
	if p.by != nil {
		r.SetPGPSigner(func(b []byte) ([]byte, error) {
			var out bytes.Buffer
			err := openpgp.DetachSign(&out, p.by, bytes.NewReader(b), nil)
			return out.Bytes(), err
		})
	}
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read is the package as this room reads it.
func (p packed) read(t testing.TB) *rpm.Package {
	t.Helper()
	read, err := rpm.Read(bytes.NewReader(p.bytes(t)))
	if err != nil {
		t.Fatal(err)
	}
	return &read
}

// entity is the key with which packages are signed.
var entity = sync.OnceValues(func() (*openpgp.Entity, error) {
	k, err := key()
	if err != nil {
		return nil, err
	}
	secret, err := k.SecretArmored()
	if err != nil {
		return nil, err
	}
	list, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(secret))
	if err != nil {
		return nil, err
	}
	return list[0], nil
})

var key = sync.OnceValues(func() (*rpm.Key, error) { return rpm.GenerateKey("pilot test") })

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// put writes a package file with a fixed time.
func put(t testing.TB, dir, name string, b []byte) {
	t.Helper()
	file := filepath.Join(dir, name)
	write(t, file, string(b))
	if err := os.Chtimes(file, time.Unix(fixed, 0), time.Unix(fixed, 0)); err != nil {
		t.Fatal(err)
	}
}

// entries reads a folder of packages.
func entries(t testing.TB, dir string) (all []rpm.Entry) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.rpm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, digest, size, err := rpm.Scan(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, rpm.Entry{Location: filepath.Base(name), Digest: digest, Size: size, Time: fixed, Package: &p})
	}
	return all
}

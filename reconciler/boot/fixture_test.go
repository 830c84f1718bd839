package boot_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/boot"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const (
	fecName = "kgp2cu02"
	hostFQN = "scuxl0815.acc.example.org"

	never = int64(99_999_999) // minutes since 1970
)

var oldKey, newKey, otherKey = key(1), key(2), key(3)

func key(b byte) tree.SecretKey { return tree.NewSecretKey([32]byte{b}, tree.KeyID{b, 7}) }

// need is the path of a program; remedy says how to get it.
func need(t *testing.T, program, remedy string) string {
	t.Helper()
	if found, err := exec.LookPath(program); err == nil {
		return found
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: %s", program, remedy)
	}
	t.Skipf("SKIPPED: %s is missing: %s", program, remedy)
	return ""
}

// site is a served tree and the FECs that boot from it.
type site struct {
	*server
	t        *testing.T
	on       machine          // that the FECs are
	keys     []tree.SecretKey // sign what is published
	settings boot.Settings
}

func newSite(t *testing.T) *site { return siteOn(t, native(t)) }

func siteOn(t *testing.T, on machine) *site {
	s := &site{server: newServer(t), t: t, on: on, keys: []tree.SecretKey{oldKey}}
	s.settings = boot.Settings{Site: "linac", Channel: "production", Servers: []string{s.URL}}
	return s
}

// fec boots from the site without pauses, gives up after three rounds, and knows the old key.
func (s *site) fec() *boot.FEC {
	s.t.Helper()
	dir := s.t.TempDir()
	f := &boot.FEC{
		Name: fecName, Server: s.URL, Dir: filepath.Join(dir, "fec"), Client: boot.Client(s.settings),
		Busybox: s.on.busybox, Emulator: s.on.emulator,
		Keys:  []string{publicKey(s.t, oldKey)},
		Tools: []string{s.on.verifier},
		Env:   []string{"POMONA_WAIT=0", "POMONA_RETRIES=3", fmt.Sprintf("POMONA_STALL=%d", s.on.stall)},
	}
	s.t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			s.t.Error(err)
		}
		if s.t.Failed() {
			b, _ := os.ReadFile(filepath.Join(f.Dir, "console.log")) // for people
			s.t.Logf("console:\n%s", b[max(0, len(b)-3000):])
		}
	})
	return f
}

func publicKey(t *testing.T, k tree.SecretKey) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), k.ID.String()+".pub")
	if err := os.WriteFile(file, k.Public().Marshal(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// boots boots f and checks how that ended. A client that hangs is killed after some minutes.
func boots(t *testing.T, f *boot.FEC, state string, serial int64, detail string) boot.Outcome {
	t.Helper()
	status := map[string]int{"running": 0, "fallback": 0, "init-failed": 1, "failed": 2}[state]
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	o, err := f.Boot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if o.Status != status || o.State != state || o.Serial != fmt.Sprint(serial) || !strings.Contains(o.Detail, detail) || (detail == "") != (o.Detail == "") {
		t.Fatalf("boot ended with %+v, want status %d, state %s of serial %d, detail with %q", o, status, state, serial, detail)
	}
	return o
}

// release is a manifest whose objects are served: bpm with a file of 300 kB, its configuration, and two scripts.
func (s *site) release(serial int64) tree.Manifest {
	s.t.Helper()
	version := fmt.Sprintf("1.0.%d", serial)
	install := "/opt/fesa/bpm/" + version
	m := tree.Manifest{
		Site: "linac", Channel: "production", FEC: fecName, Host: hostFQN, Platform: "yocto-ppc", Serial: serial, Expires: never,
		Software: []tree.Item{{
			Name: "bpm", Version: version, Install: install, Start: true,
			Object: s.object(artifact.Gzip, map[string]string{install + "/bin/bpm": version, install + "/lib/big": payload(serial)}),
		}},
		Configuration: []tree.Item{{
			Name: "timing", Version: "2.0", Install: "/opt/conf/timing",
			Object: s.object(artifact.Gzip, map[string]string{"/opt/conf/timing/master.conf": "serial " + fmt.Sprint(serial)}),
		}},
	}
	return s.withScripts(m, map[string]string{
		"10-env":       "export -p | grep POMONA_ >$POMONA_RUN/env-first; pwd >$POMONA_RUN/pwd",
		"50-bpm=bpm":   "export -p | grep POMONA_ >$POMONA_RUN/env-bpm; cat $POMONA_INSTALL/bin/bpm >$POMONA_RUN/started",
		"9-not-sorted": "echo >$POMONA_RUN/last; test -e $POMONA_RUN/started",
	})
}

// payload is 300 kB that no compressor makes smaller.
func payload(serial int64) string {
	random := rand.New(rand.NewPCG(uint64(serial), 1))
	b := make([]byte, 300_000)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return string(b)
}

// withScripts gives m init scripts: name or name=software that it starts, to what it does. Their shell is the FEC's own:
// /bin/sh would be this machine's.
func (s *site) withScripts(m tree.Manifest, scripts map[string]string) tree.Manifest {
	s.t.Helper()
	files := map[string]string{}
	m.Init = nil
	for _, key := range slices.Sorted(maps.Keys(scripts)) {
		name, starts, _ := strings.Cut(key, "=")
		files["/"+name] = "#!/usr/bin/env sh\n" + scripts[key] + "\n"
		m.Init = append(m.Init, tree.Script{Name: name, Starts: starts, Digest: artifact.Sum([]byte(files["/"+name]))})
	}
	m.Scripts = s.object(artifact.Gzip, files)
	return m
}

// object serves an archive of files.
func (s *site) object(format artifact.Format, files map[string]string) tree.Object {
	s.t.Helper()
	b := archive(s.t, format, files)
	d := artifact.Sum(b)
	s.put("/objects/"+d.Path(), b)
	return tree.Object{Format: format, Size: int64(len(b)), Digest: d}
}

// publish serves m, signed.
func (s *site) publish(m tree.Manifest) {
	s.t.Helper()
	s.put("/fecs/"+fecName+"/boot.manifest", s.sign(m.Marshal()))
}

func (s *site) sign(body []byte) []byte { return append(tree.Sign(body, s.keys), body...) }

// archive packs files by their paths, which start with a slash, and the folders that they are in.
func archive(t *testing.T, format artifact.Format, files map[string]string) []byte {
	t.Helper()
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	folders := map[string]bool{"/": true}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var missing []*tar.Header
		for dir := path.Dir(name); !folders[dir]; dir = path.Dir(dir) {
			folders[dir] = true
			missing = append(missing, &tar.Header{Name: dir[1:] + "/", Mode: 0o755, Typeflag: tar.TypeDir, Format: tar.FormatGNU})
		}
		slices.Reverse(missing)
		file := &tar.Header{Name: name[1:], Mode: 0o755, Size: int64(len(files[name])), Typeflag: tar.TypeReg, Format: tar.FormatGNU}
		for _, header := range append(missing, file) {
			if err := w.WriteHeader(header); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return compress(t, format, plain.Bytes())
}

func compress(t *testing.T, format artifact.Format, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if format == artifact.Gzip {
		z := gzip.NewWriter(&out)
		if _, err := z.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	remedy := map[artifact.Format]string{artifact.Xz: "install xz-utils", artifact.Zstd: "install zstd"}[format]
	c := exec.Command(need(t, string(format), remedy), "-c", "-q")
	c.Stdin, c.Stdout = bytes.NewReader(b), &out
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

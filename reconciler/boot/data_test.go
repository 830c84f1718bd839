package boot_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/boot"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

var dataKey = key(4)

// dataFEC knows the data key and boots serial 100, which has persistent data.
func (s *site) dataFEC() *boot.FEC {
	s.t.Helper()
	f := s.fec()
	dir := filepath.Join(f.Dir, "etc/data-keys")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data.pub"), dataKey.Public().Marshal(), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.publish(s.withData(100))
	return f
}

func (s *site) withData(serial int64) tree.Manifest {
	m := s.release(serial)
	m.Data, m.Persistence = true, []tree.Persistent{{Name: "offsets", Schema: "v2", Path: "/opt/fesa/data"}}
	return m
}

// data serves a data.manifest of one item.
func (s *site) data(k tree.SecretKey, fec string, files map[string]string) {
	s.t.Helper()
	s.dataOf(k, fec, s.item("v2", "/opt/fesa/data", files))
}

// item serves an archive of data.
func (s *site) item(schema, path string, files map[string]string) tree.DataItem {
	s.t.Helper()
	b := archive(s.t, artifact.Gzip, files)
	o := tree.Object{Format: artifact.Gzip, Size: int64(len(b)), Digest: artifact.Sum(b)}
	s.put("/data/"+fecName+"/sha256/"+o.Digest.String(), b)
	return tree.DataItem{Name: "offsets", Schema: schema, Object: o, Path: path}
}

func (s *site) dataOf(k tree.SecretKey, fec string, items ...tree.DataItem) {
	s.t.Helper()
	body := tree.DataManifest{Site: "linac", FEC: fec, Data: items}.Marshal()
	s.put("/data/"+fecName+"/data.manifest", append(tree.Sign(body, []tree.SecretKey{k}), body...))
}

func TestData(t *testing.T) {
	const file = "/opt/fesa/data/offsets"
	t.Run("good", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		f := s.dataFEC()
		s.data(dataKey, fecName, map[string]string{file: "collected", "/opt/fesa/bpm/1.0.100/bin/bpm": "x", "/.pomona/init/10-env": "x"})
		o := boots(t, f, "running", 100, "")
		started(t, f, o) // what is not below the data's own path is left alone
		if got := read(t, o.Slot, file); got != "collected" {
			t.Errorf("restored %q", got)
		}
		// What the FEC has written since is newer than what was collected.
		if err := os.WriteFile(filepath.Join(o.Slot, file), []byte("written"), 0o644); err != nil {
			t.Fatal(err)
		}
		s.data(dataKey, fecName, map[string]string{file: "collected later"})
		s.fail(nil)
		if o = boots(t, f, "running", 100, ""); read(t, o.Slot, file) != "written" {
			t.Errorf("data is %q after a reboot", read(t, o.Slot, file))
		}
		if n := len(s.asked()); n != 2 {
			t.Errorf("an unchanged reboot is %d requests, want 2: %v", n, s.asked())
		}
		s.publish(s.withData(101)) // a new slot
		if o = boots(t, f, "running", 101, ""); read(t, o.Slot, file) != "collected later" {
			t.Errorf("data is %q in the new slot", read(t, o.Slot, file))
		}
	})
	t.Run("of several formats", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		f := s.dataFEC()
		s.dataOf(dataKey, fecName, s.item("v3", "/opt/fesa/data", map[string]string{file: "too new"}),
			s.item("v2", "/opt/fesa/data", map[string]string{file: "right"}), s.item("v1", "/opt/fesa/data", map[string]string{file: "too old"}))
		if o := boots(t, f, "running", 100, ""); read(t, o.Slot, file) != "right" {
			t.Errorf("restored %q", read(t, o.Slot, file))
		}
	})
	for name, spoil := range map[string]struct {
		how    func(*site)
		detail string
	}{
		"missing":                      {func(*site) {}, "data skipped: no data.manifest"},
		"signed by a key for releases": {func(s *site) { s.data(oldKey, fecName, map[string]string{file: "x"}) }, "data skipped: no key"},
		"another FEC's":                {func(s *site) { s.data(dataKey, "kgp2cu03", map[string]string{file: "x"}) }, "data skipped: it is for kgp2cu03"},
		"object missing": {func(s *site) {
			s.data(dataKey, fecName, map[string]string{file: "x"})
			s.fail(only("/sha256/", onlyData(status(404))))
		}, "data offsets skipped: got 0 of"},
		"object corrupt": {func(s *site) {
			s.data(dataKey, fecName, map[string]string{file: "x"})
			s.fail(only("/sha256/", onlyData(flip)))
		}, "data offsets skipped"},
		"of another format": {func(s *site) {
			s.dataOf(dataKey, fecName, s.item("v1", "/opt/fesa/data", map[string]string{file: "x"}))
		},
			"data offsets skipped: v1 of /opt/fesa/data was collected, and v2 of /opt/fesa/data is wanted"},
		"for another path": {func(s *site) {
			s.dataOf(dataKey, fecName, s.item("v2", "/opt/fesa/bpm", map[string]string{file: "x", "/opt/fesa/bpm/1.0.100/bin/bpm": "x"}))
		}, "data offsets skipped: v2 of /opt/fesa/bpm was collected"},
		"other paths": {func(s *site) { s.data(dataKey, fecName, map[string]string{"/opt/fesa/bpm/1.0.100/bin/bpm": "x"}) }, "data offsets skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			f := s.dataFEC()
			spoil.how(s)
			o := boots(t, f, "running", 100, spoil.detail)
			started(t, f, o)
			if _, err := os.Stat(filepath.Join(o.Slot, file)); err == nil {
				t.Error("data was restored")
			}
		})
	}
}

func onlyData(f fault) fault { return only("/data/", f) }

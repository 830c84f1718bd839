package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

func open(t *testing.T, hook durable.Hook) (*store.Store, *durable.Dir, string) {
	t.Helper()
	path := t.TempDir()
	d, err := durable.Open(path, hook)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := d.Prepare(); err != nil {
		t.Fatal(err)
	}
	return store.New(d), d, path
}

func bytesOf(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func TestPutOnceOpenListDelete(t *testing.T) {
	s, _, path := open(t, nil)
	for range 2 {
		d, n, err := s.Put(t.Context(), bytesOf("hello"))
		if err != nil || n != 5 || d != artifact.Sum([]byte("hello")) {
			t.Fatalf("put gives %v, %d, %v", d, n, err)
		}
	}
	d := artifact.Sum([]byte("hello"))
	info, err := os.Stat(filepath.Join(path, store.Path(d)))
	if err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("mode %v, %v; want read-only", info.Mode(), err)
	}
	all, err := s.List()
	if err != nil || !cmp.Equal(all, []artifact.Digest{d}) {
		t.Errorf("list gives %v, %v", all, err)
	}
	f, err := s.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "hello" || err != nil {
		t.Errorf("object holds %q, %v", b, err)
	}
	if err := errors.Join(s.Delete(d), s.Delete(d)); err != nil || s.Has(d) {
		t.Errorf("delete twice: %v, has %v", err, s.Has(d))
	}
	if left, _ := os.ReadDir(filepath.Join(path, durable.Staging)); len(left) > 0 {
		t.Errorf("staging holds %v", left)
	}
}

func TestFailedPutStoresNothing(t *testing.T) {
	s, _, path := open(t, nil)
	broken := errors.New("payload broken")
	ctx, cancel := context.WithCancel(t.Context())
	for name, put := range map[string]func() error{
		"write fails": func() error {
			_, _, err := s.Put(ctx, func(w io.Writer) error { return errors.Join(bytesOf("half")(w), broken) })
			return err
		},
		"cancelled": func() error {
			_, _, err := s.Put(ctx, func(w io.Writer) error { cancel(); return bytesOf("x")(w) })
			return err
		},
	} {
		if err := put(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if all, err := s.List(); len(all) > 0 || err != nil {
		t.Errorf("stored %v, %v", all, err)
	}
	if left, _ := os.ReadDir(filepath.Join(path, durable.Staging)); len(left) > 0 {
		t.Errorf("staging holds %v", left)
	}
}

func TestMeasureAgreesWithPut(t *testing.T) {
	s, _, _ := open(t, nil)
	d1, n1, err1 := s.Put(t.Context(), bytesOf("same"))
	d2, n2, err2 := store.Measure{}.Put(t.Context(), bytesOf("same"))
	if d1 != d2 || n1 != n2 || err1 != nil || err2 != nil {
		t.Errorf("put %v %d %v, measure %v %d %v", d1, n1, err1, d2, n2, err2)
	}
}

func TestKnownSurvivesAndForgetsTornLines(t *testing.T) {
	_, dir, path := open(t, nil)
	k := store.Known{
		artifact.Sum([]byte("a")): {Digest: artifact.Sum([]byte("x")), Size: 7, Format: artifact.Xz, Memory: 8 << 20, SBOM: artifact.Sum([]byte("z"))},
		artifact.Sum([]byte("b")): {Digest: artifact.Sum([]byte("y")), Size: 0},
	}
	if err := store.WriteKnown(dir, k); err != nil {
		t.Fatal(err)
	}
	got, err := store.ReadKnown(dir.Root().FS())
	if diff := cmp.Diff(k, got); diff != "" || err != nil {
		t.Errorf("known differs, %v (-want +got):\n%s", err, diff)
	}
	file := filepath.Join(path, ".pomona", "known")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(file), os.WriteFile(file, bytes.TrimRight(b, "\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if got, err := store.ReadKnown(dir.Root().FS()); len(got) != 1 || err != nil {
		t.Errorf("torn file gives %d, %v; want the whole line only", len(got), err)
	}
	// A damaged size would be believed and published.
	changed := bytes.Replace(b, []byte(" 7 "), []byte(" 8 "), 1)
	if err := os.WriteFile(file, changed, 0o600); err != nil || bytes.Equal(b, changed) {
		t.Fatalf("the file stays as it is, %v", err)
	}
	if got, err := store.ReadKnown(dir.Root().FS()); len(got) != 1 || err != nil {
		t.Errorf("damaged file gives %v, %v; want the other line only", got, err)
	}
}

package memo

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func all(string) bool { return true }

func none(string) bool { return false }

// mustSave saves entries of these keys, whose value is the key twice.
func mustSave(t *testing.T, s Shelf, used func(string) bool, keys ...string) Entries {
	t.Helper()
	es := Entries{}
	for _, key := range keys {
		es[key] = []byte(key + key)
	}
	if err := s.Save(es, used); err != nil {
		t.Fatal(err)
	}
	return es
}

func keys(es Entries) string { return strings.Join(slices.Sorted(maps.Keys(es)), " ") }

func packFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "s", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestShelfKeepsWhatIsSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	s := NewShelf(dir, "s")
	if got := s.Load(); len(got) != 0 {
		t.Errorf("an empty shelf holds %v", got)
	}
	want := mustSave(t, s, all, "a", "b")
	maps.Copy(want, mustSave(t, s, all, "", "c\x00d"))
	if d := cmp.Diff(want, NewShelf(dir, "s").Load()); d != "" {
		t.Errorf("(-saved +loaded):\n%s", d)
	}
	for _, name := range []string{dir, filepath.Join(dir, "s")} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestShelfOfNoFolderIsEmpty(t *testing.T) {
	mustSave(t, Shelf{}, all, "a")
	if got := (Shelf{}).Load(); got != nil {
		t.Error(got)
	}
	if err := NewShelf(filepath.Join(t.TempDir(), "a", "b"), "s").Save(Entries{"k": nil}, all); err == nil {
		t.Error("what the folder lies in was made")
	}
}

// TestAnyDamageOnlyLoses changes bytes of packs in any way: what is loaded was saved, or is not there.
func TestAnyDamageOnlyLoses(t *testing.T) {
	dir := t.TempDir()
	s := NewShelf(dir, "s")
	want := mustSave(t, s, all, "alpha", "beta", "gamma")
	files := packFiles(t, dir)
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := slices.Clone(whole)
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		case 1:
			b = b[:rapid.IntRange(0, len(b)).Draw(t, "to")]
		case 2:
			at := rapid.IntRange(0, len(b)).Draw(t, "at")
			b = slices.Insert(b, at, rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "new")...)
		case 3:
			at := rapid.IntRange(0, len(b)).Draw(t, "at")
			b = append(b[at:], b[:at]...)
		}
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		for key, got := range s.Load() {
			if value, ok := want[key]; !ok || !bytes.Equal(got, value) {
				t.Fatalf("loaded %q: %q", key, got)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	var b bytes.Buffer
	b.WriteString(magic)
	entry{"key", 3, []byte("value")}.append(&b)
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range parse(b) {
			var again bytes.Buffer
			if e.append(&again); !bytes.Contains(b, again.Bytes()) {
				t.Errorf("entry %+v is not there", e)
			}
		}
	})
}

func TestPacksArePutTogether(t *testing.T) {
	dir := t.TempDir()
	s := NewShelf(dir, "s")
	var want []string
	for i := range 3 * maxPacks {
		key := fmt.Sprintf("k%02d", i)
		want = append(want, key)
		mustSave(t, s, all, key)
		if n := len(packFiles(t, dir)); n > maxPacks {
			t.Fatalf("%d packs after %d saves", n, i+1)
		}
	}
	if got := keys(s.Load()); got != strings.Join(want, " ") {
		t.Errorf("after putting together: %s", got)
	}
}

// TestUnusedEntriesGo saves until packs were put together more often than an unused entry stays.
func TestUnusedEntriesGo(t *testing.T) {
	dir := t.TempDir()
	s := NewShelf(dir, "s")
	mustSave(t, s, none, "old", "used")
	inUse := func(key string) bool { return key == "used" }
	i := 0
	for ; strings.Contains(keys(s.Load()), "old") && i < 1000; i++ {
		mustSave(t, s, inUse, fmt.Sprintf("new%d", i))
	}
	if least := maxAge * maxPacks; i < least || i == 1000 {
		t.Errorf("unused entry goes after %d saves, not soon after %d", i, least)
	}
	if got := s.Load(); got["used"] == nil || len(got) > (maxAge+2)*maxPacks {
		t.Errorf("%d entries are left, the used one: %q", len(got), got["used"])
	}
}

func TestSizeIsBounded(t *testing.T) {
	big := entry{key: "big", value: make([]byte, maxBytes/4)}
	var entries []entry
	for i := range 4 {
		e := big
		e.key, e.age = fmt.Sprint("big", i), uint8(3-i)
		entries = append(entries, e)
	}
	var left []string
	for _, e := range survivors([]pack{{entries: entries}}, func(key string) bool { return key == "big0" }) {
		left = append(left, e.key)
	}
	if d := cmp.Diff([]string{"big0"}, left[:1]); d != "" || len(left) != 1 {
		t.Errorf("left of four, the first in use: %v", left)
	}
}

func TestSeveralProcessesShareAShelf(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			s := NewShelf(dir, "s")
			for i := range 3 * maxPacks {
				key := fmt.Sprintf("p%d-%d", p, i)
				if err := s.Save(Entries{key: []byte(key)}, all); err != nil {
					t.Error(err)
				}
				for k, v := range s.Load() {
					if k != string(v) {
						t.Errorf("%q holds %q", k, v)
					}
				}
			}
		})
	}
	wg.Wait()
	if left := packFiles(t, dir); len(left) > 2*maxPacks {
		t.Errorf("%d files", len(left))
	}
}

// TestLinksAreNotFollowed has links in place of a pack, of the shelf, and of neither.
func TestLinksAreNotFollowed(t *testing.T) {
	elsewhere := t.TempDir()
	mustSave(t, NewShelf(elsewhere, "s"), all, "k")
	pack := packFiles(t, elsewhere)[0]
	t.Run("pack", func(t *testing.T) {
		dir := t.TempDir()
		mustSave(t, NewShelf(dir, "s"), all, "own")
		if err := os.Symlink(pack, filepath.Join(dir, "s", "x.pack")); err != nil {
			t.Fatal(err)
		}
		if got := keys(NewShelf(dir, "s").Load()); got != "own" {
			t.Errorf("loaded %s", got)
		}
	})
	t.Run("shelf", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Symlink(filepath.Join(elsewhere, "s"), filepath.Join(dir, "s")); err != nil {
			t.Fatal(err)
		}
		s := NewShelf(dir, "s")
		if got := s.Load(); got != nil {
			t.Errorf("loaded %v", got)
		}
		if err := s.Save(Entries{"k": nil}, all); err == nil {
			t.Error("saved")
		}
	})
}

func TestOthersMustNotWriteThere(t *testing.T) {
	dir := t.TempDir()
	s := NewShelf(dir, "s")
	mustSave(t, s, all, "k")
	if err := os.Chmod(filepath.Join(dir, "s"), 0o777); err != nil {
		t.Fatal(err)
	}
	if got := s.Load(); got != nil {
		t.Errorf("loaded %v", got)
	}
	if err := s.Save(Entries{"k": nil}, all); err == nil {
		t.Error("saved")
	}
}

func TestDeadTemporariesGo(t *testing.T) {
	dir := t.TempDir()
	s := NewShelf(dir, "s")
	mustSave(t, s, all, "k")
	dead, alive := filepath.Join(dir, "s", temp+"dead"), filepath.Join(dir, "s", temp+"alive")
	for _, name := range []string{dead, alive} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * stale)
	if err := os.Chtimes(dead, old, old); err != nil {
		t.Fatal(err)
	}
	for i := range maxPacks {
		mustSave(t, s, all, fmt.Sprint(i))
	}
	if left := packFiles(t, dir); slices.Contains(left, dead) || !slices.Contains(left, alive) {
		t.Errorf("left: %v", left)
	}
}

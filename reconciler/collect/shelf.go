package collect

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// shelf is where snapshots lie. Only one goroutine at a time may concern itself with one FEC.
type shelf struct {
	dir  *durable.Dir
	room int64
	pins pins

	mu    sync.Mutex
	taken int64 // bytes of all snapshots
}

// openShelf empties staging of what a crash left there.
func openShelf(root string, room int64, hook durable.Hook) (*shelf, error) {
	dir, err := durable.OpenData(root, hook)
	if err != nil {
		return nil, err
	}
	s := &shelf{dir: dir, room: room}
	if err := dir.Prepare(); err != nil {
		return nil, fmt.Errorf("prepare collecting: %w", err)
	}
	if _, err := dir.Recover(); err != nil {
		return nil, fmt.Errorf("clear up after collecting: %w", err)
	}
	if s.pins, err = readPins(dir.Root()); err != nil {
		return nil, err
	}
	fecs, err := FECs(dir.Root())
	if err != nil {
		return nil, fmt.Errorf("find snapshots: %w", err)
	}
	for _, fec := range fecs {
		have, err := Snapshots(dir.Root(), fec)
		if err != nil {
			return nil, fmt.Errorf("find snapshots of %s: %w", fec, err)
		}
		for _, h := range have {
			s.taken += h.Size
		}
	}
	return s, nil
}

// of are the snapshots of a FEC.
func (s *shelf) of(fec string) ([]Snapshot, error) { return Snapshots(s.dir.Root(), fec) }

// last is the newest snapshot of a name in a format, if there is one.
func last(have []Snapshot, name, schema string) (Snapshot, bool) {
	i := slices.IndexFunc(have, func(h Snapshot) bool { return h.Name == name && h.Schema == schema && !h.Archived })
	if i < 0 {
		return Snapshot{}, false
	}
	return have[i], true
}

// put gives a snapshot, whose file lies synced in staging, its place. It stays there once it is settled.
func (s *shelf) put(temp string, next Snapshot) error {
	s.mu.Lock()
	over := s.taken + next.Size - s.room
	if over <= 0 {
		s.taken += next.Size
	}
	s.mu.Unlock()
	if over > 0 {
		return fmt.Errorf("no room: all snapshots take %d bytes more than the quota of %d; raise quota, or let persistence keep less", over, s.room)
	}
	err := s.dir.MkdirUnsynced(folderOf(next.FEC, false))
	if err == nil {
		err = s.dir.Rename(temp, next.place())
	}
	if err != nil {
		s.free(next.Size)
	}
	return err
}

func (s *shelf) free(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken -= bytes
}

// seen notes that a FEC still holds what a snapshot holds. Nothing is lost with this note.
func (s *shelf) seen(last Snapshot, now time.Time) error {
	return s.dir.Root().Chtimes(last.place(), now, now)
}

// settle has everything of a FEC lie where it belongs: what the site wants is served and signed, of the rest the newest are
// archived. It may be done again and again.
func (s *shelf) settle(site, fec string, want map[string]desired.Persistence, keys []tree.SecretKey) error {
	have, err := s.of(fec)
	if err != nil {
		return err
	}
	// What is named is there: it comes before the manifest, and goes after it.
	if err := s.move(have, func(h Snapshot) bool { _, wanted := want[h.Name]; return h.Archived && wanted }); err != nil {
		return err
	}
	if err := s.manifest(site, fec, have, want, keys); err != nil {
		return err
	}
	if err := s.move(have, func(h Snapshot) bool { _, wanted := want[h.Name]; return !h.Archived && !wanted }); err != nil {
		return err
	}
	return s.drop(have, want)
}

// move archives served snapshots, and brings archived ones back.
func (s *shelf) move(have []Snapshot, which func(Snapshot) bool) error {
	for i, h := range have {
		if !which(h) {
			continue
		}
		next := h
		next.Archived = !h.Archived
		folder := folderOf(h.FEC, next.Archived)
		if err := s.dir.MkdirAll(folder); err != nil {
			return err
		}
		if err := s.dir.Rename(h.place(), next.place()); err != nil {
			return err
		}
		if err := s.dir.SyncAll([]string{folder, folderOf(h.FEC, h.Archived)}); err != nil {
			return err
		}
		have[i] = next
	}
	return nil
}

// manifest has data.manifest name what a FEC is to restore, once that is on the disk. One that says so already stays.
func (s *shelf) manifest(site, fec string, have []Snapshot, want map[string]desired.Persistence, keys []tree.SecretKey) error {
	name := tree.DataFolder + "/" + fec + "/" + tree.DataManifestName
	if len(want) == 0 {
		if !s.dir.Exists(name) {
			return nil
		}
		if err := s.dir.Remove(name); err != nil {
			return err
		}
		return s.dir.Sync(path.Dir(name))
	}
	m := tree.DataManifest{Site: site, FEC: fec}
	for _, h := range s.restored(have, want) {
		m.Data = append(m.Data, tree.DataItem{Name: h.Name, Schema: h.Schema, Path: h.Path,
			Object: tree.Object{Format: artifact.Gzip, Size: h.Size, Digest: h.Object}})
	}
	if len(m.Data) == 0 && !s.dir.Exists(name) {
		return nil // nothing was ever collected
	}
	body := m.Marshal()
	signed := append(tree.Sign(body, keys), body...) // Ed25519: the same each time
	folders := []string{folderOf(fec, false), path.Dir(name), tree.DataFolder}
	if b, err := s.dir.Root().ReadFile(name); err == nil && bytes.Equal(b, signed) {
		return s.dir.SyncTogether(folders...)
	}
	if err := s.dir.MkdirUnsynced(folders[0]); err != nil {
		return err
	}
	return s.dir.ReplaceTogether(name, signed, 0o444, folders)
}

// restored are the snapshots that a FEC restores: the newest of each name and format, unless an operator chose another.
func (s *shelf) restored(have []Snapshot, want map[string]desired.Persistence) (out []Snapshot) {
	kept := s.kinds(have, want)
	for _, h := range have {
		if h.Archived || !kept[kindOf(h)] || slices.ContainsFunc(out, func(o Snapshot) bool { return o.Name == h.Name && o.Schema == h.Schema }) {
			continue
		}
		if pin, ok := s.pins.of(h.FEC, h.Name); ok {
			i := slices.IndexFunc(have, func(o Snapshot) bool { return o.Object == pin && !o.Archived && o.Schema == h.Schema })
			if i >= 0 {
				h = have[i]
			}
		}
		out = append(out, h)
	}
	return out
}

// mostFormats is in how many formats the data of one name is kept: FECs say which one theirs has, and one that says another each time
// must not fill the quota of all.
const mostFormats = 4

// kind is the data of one name in one format.
type kind struct{ name, schema string }

func kindOf(h Snapshot) kind { return kind{h.Name, h.Schema} }

// kinds are those that are kept of a FEC: of each name what the site wants, what an operator chose, and the newest others.
func (s *shelf) kinds(have []Snapshot, want map[string]desired.Persistence) map[kind]bool {
	kept, count := map[kind]bool{}, map[string]int{}
	for _, h := range have {
		p, wanted := want[h.Name]
		if !wanted || kept[kindOf(h)] {
			continue
		}
		pin, pinned := s.pins.of(h.FEC, h.Name)
		if h.Schema == p.Schema || pinned && pin == h.Object {
			kept[kindOf(h)] = true
		} else if count[h.Name] < mostFormats-1 {
			kept[kindOf(h)] = true
			count[h.Name]++
		}
	}
	return kept
}

// drop removes what there is too much of, in each format: software that is rolled back wants its own. The one before the newest
// stays, since a FEC may be fetching it, and so does what an operator chose.
func (s *shelf) drop(have []Snapshot, want map[string]desired.Persistence) error {
	count, kept := map[kind]int{}, s.kinds(have, want)
	for _, h := range have {
		p, ok := want[h.Name]
		if !ok {
			continue
		}
		count[kindOf(h)]++
		pin, pinned := s.pins.of(h.FEC, h.Name)
		if kept[kindOf(h)] && count[kindOf(h)] <= max(p.Kept(), 2) || pinned && pin == h.Object {
			continue
		}
		if err := s.dir.Remove(h.place()); err != nil {
			return err
		}
		s.free(h.Size)
	}
	return nil
}

// temp is a new file in staging.
func (s *shelf) temp() (*os.File, string, error) {
	name := s.dir.Temp("snapshot")
	f, err := s.dir.Create(name)
	return f, name, err
}

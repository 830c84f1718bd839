package repo

import (
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// remembered are folders of commits that were listed lately: most of a commit is the same as in the one before.
type remembered struct {
	pass    int
	folders map[place]*folder
}

// place is a folder of that content at that path.
type place struct {
	tree   plumbing.Hash
	prefix string
}

// folder is what lies directly in a place, in git's order, all of it checked.
type folder struct {
	pass    int
	entries []entry
}

// entry is a file, or a folder when below is set.
type entry struct {
	file  artifact.File
	below place
}

// forget is after how many listings an unused folder is dropped; some branches may take turns.
const forget = 8

func (m *remembered) get(p place) (*folder, bool) {
	f, ok := m.folders[p]
	if ok {
		f.pass = m.pass
	}
	return f, ok
}

func (m *remembered) put(p place, entries []entry) *folder {
	if m.folders == nil {
		m.folders = map[place]*folder{}
	}
	f := &folder{m.pass, entries}
	m.folders[p] = f
	return f
}

func (m *remembered) sweep() {
	for p, f := range m.folders {
		if f.pass <= m.pass-forget {
			delete(m.folders, p)
		}
	}
}

// sizes reads the sizes of objects. One that is to read many keeps the packs open until it is closed; for long it must
// not, since git may replace them.
type sizes interface {
	EncodedObjectSize(plumbing.Hash) (int64, error)
}

func (r *Repo) manySizes() *filesystem.Storage {
	return filesystem.NewStorageWithOptions(osfs.New(r.dir, osfs.WithBoundOS()), cache.NewObjectLRUDefault(),
		filesystem.Options{KeepDescriptors: true, ExclusiveAccess: true, LargeObjectThreshold: largeObject})
}

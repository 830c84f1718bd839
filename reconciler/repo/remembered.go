package repo

import (
	"maps"

	"github.com/go-git/go-git/v5/plumbing"

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

// folder is what lies directly in a place, all of it checked and measured.
type folder struct {
	pass  int // its last use; 0 when it is not remembered yet
	files []artifact.File
	below []place
}

// forget is after how many listings an unused folder is dropped; some branches may take turns.
const forget = 8

// keep remembers the folders of one commit, and of others before it as long as that is no more than a commit may have.
func (m *remembered) keep(fresh map[place]*folder, used []*folder) {
	if m.folders == nil {
		m.folders = make(map[place]*folder, len(fresh))
	}
	maps.Copy(m.folders, fresh)
	m.pass++
	for _, f := range used {
		f.pass = m.pass
	}
	entries := 0
	for _, f := range m.folders {
		entries += 1 + len(f.files)
	}
	oldest := m.pass - forget
	if entries > maxEntries {
		oldest = m.pass - 1
	}
	maps.DeleteFunc(m.folders, func(_ place, f *folder) bool { return f.pass <= oldest })
}

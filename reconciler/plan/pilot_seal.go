package plan

import (
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// keep notes which folders with signatures of the pilot key stay as they are published, and which key signed this generation. It says whether
// one must be signed anew although its content stays.
func (p *Publish) keep(want Want, have observed.Root, before string) (resign bool) {
	was := map[string]tree.IndexedFolder{}
	for _, f := range have.Index.Folders {
		was[f.Path] = f
	}
	key := want.PilotKey
	if key == "" {
		key = before // a plan may be made without the key
	}
	p.Kept = map[string]artifact.Digest{}
	for _, f := range want.Tree.Folders {
		if len(f.Added()) == 0 {
			continue
		}
		p.Generation.PilotKey = key
		old := was[f.Path]
		switch same := old.Holds() == f.Content(); {
		case same && !old.Content.IsZero() && key == before && !have.Gone[old.Folder]:
			p.Kept[f.Path] = old.Folder
		case same:
			resign = resign || key != before || have.Gone[old.Folder]
		}
	}
	return resign
}

// KeptOf are the folders with signatures of the pilot key of a published generation that are still there.
func KeptOf(x tree.Index, has func(artifact.Digest) bool) map[string]artifact.Digest {
	kept := map[string]artifact.Digest{}
	for _, f := range x.Folders {
		if !f.Content.IsZero() && has(f.Folder) {
			kept[f.Path] = f.Folder
		}
	}
	return kept
}

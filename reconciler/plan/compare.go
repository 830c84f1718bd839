package plan

import (
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Compare is what one commit changes in another one, whatever is published. Serials, renewal, repair and pruning depend on a
// root: nothing is said about them.
func Compare(want, base Want) Plan {
	have := asPublished(base)
	p := difference(want, have)
	p.Base = base.Commit
	for i, f := range p.FECs {
		if f.What == Removed {
			p.FECs[i].Groups = groupsOf(base.Site, f.Name)
		}
	}
	p.Campaigns = campaignChanges(base.Site, want.Site)
	p.Refused = overBudget(want.Tree, have, want.Site.Settings.Retention, want.Messages)
	return p
}

// asPublished is a root that would serve a commit's tree, as far as a difference needs to know it.
func asPublished(w Want) observed.Root {
	have := observed.Root{
		Generations: []observed.Generation{{Number: 1, Site: w.Tree.Site, Commit: w.Commit}}, Current: 1,
		Manifests: map[string]tree.Manifest{}, Folders: map[string][]tree.Node{},
	}
	for _, f := range w.Tree.Folders {
		if f.Manifest != nil {
			have.Manifests[f.Manifest.FEC] = *f.Manifest
			have.Index.FECs = append(have.Index.FECs, tree.IndexedFEC{Name: f.Manifest.FEC, Content: f.Content()})
			continue
		}
		have.Folders[f.Path] = f.Nodes
		have.Index.Folders = append(have.Index.Folders, tree.IndexedFolder{Path: f.Path, Folder: f.Content()})
	}
	have.Index.Links = w.Tree.Links
	return have
}

// Unmeasured are the archives that FECs will download and whose size is not known.
func Unmeasured(want, base Want) map[artifact.Digest]bool {
	was, out := asPublished(base).Manifests, map[artifact.Digest]bool{}
	for _, f := range want.Tree.Folders {
		if f.Manifest == nil {
			continue
		}
		for _, o := range fetched(was[f.Manifest.FEC], *f.Manifest) {
			if o.Size == 0 {
				out[o.Digest] = true
			}
		}
	}
	return out
}

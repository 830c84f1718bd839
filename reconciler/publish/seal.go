package publish

import (
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Seal gives a tree the serials and expiries of the plan and signs it with every key. Without keys the tree stays
// unsigned; the corridor allows that only to a site that says so.
func Seal(t tree.Tree, p *plan.Publish, keys []tree.SecretKey) tree.Sealed {
	s := tree.Sealed{Links: t.Links, Data: t.Data, Generation: p.Generation.Marshal()}
	x := tree.Index{
		Site: t.Site, Channel: t.Channel, Generation: p.Generation.Number,
		Commit: p.Generation.Commit, Tree: p.Generation.Tree, Links: t.Links,
	}
	for _, f := range t.Folders {
		sealed := tree.SealedFolder{Path: f.Path}
		if f.Manifest == nil {
			sealed.Nodes, sealed.Object = f.Sealed(nil)
			x.Folders = append(x.Folders, tree.IndexedFolder{Path: f.Path, Folder: sealed.Object})
		} else {
			seal := p.Seals[f.Manifest.FEC]
			if sealed.Object = seal.Folder; seal.Folder.IsZero() {
				sealed.Nodes, sealed.Object = f.Sealed(signed(*f.Manifest, seal, keys))
			}
			x.FECs = append(x.FECs, tree.IndexedFEC{
				Name: f.Manifest.FEC, Content: f.Content(), Folder: sealed.Object,
				Serial: seal.Serial, Expires: seal.Expires,
			})
		}
		s.Folders = append(s.Folders, sealed)
	}
	s.Index = x.Marshal()
	s.Signature = tree.Sign(s.Index, keys)
	return s
}

// signed is boot.manifest: the signatures, then what they cover.
func signed(m tree.Manifest, seal plan.Seal, keys []tree.SecretKey) []byte {
	m.Serial, m.Expires = seal.Serial, seal.Expires
	body := m.Marshal()
	return append(tree.Sign(body, keys), body...)
}

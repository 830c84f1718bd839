package publish

import (
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Seal gives a tree the serials and expiries of the plan and signs it with every key. Without keys the tree stays
// unsigned; the corridor allows that only to a site that says so. Repositories of pilots are signed by pilots; nil signs none.
func Seal(t tree.Tree, p *plan.Publish, keys []tree.SecretKey, pilots *Signer) (tree.Sealed, error) {
	s := tree.Sealed{Links: t.Links, Data: t.Data, Generation: p.Generation.Marshal()}
	x := tree.Index{
		Site: t.Site, Channel: t.Channel, Generation: p.Generation.Number,
		Commit: p.Generation.Commit, Tree: p.Generation.Tree, Links: t.Links,
	}
	for _, f := range t.Folders {
		if f.Manifest == nil {
			sealed, indexed, err := shared(f, p, pilots)
			if err != nil {
				return s, fmt.Errorf("sign %s: %w", f.Path, err)
			}
			s.Folders, x.Folders = append(s.Folders, sealed), append(x.Folders, indexed)
			continue
		}
		sealed, seal := tree.SealedFolder{Path: f.Path}, p.Seals[f.Manifest.FEC]
		if sealed.Object = seal.Folder; seal.Folder.IsZero() {
			sealed.Nodes, sealed.Object = f.Sealed(signed(*f.Manifest, seal, keys))
		}
		x.FECs = append(x.FECs, tree.IndexedFEC{
			Name: f.Manifest.FEC, Content: f.Content(), Folder: sealed.Object,
			Serial: seal.Serial, Expires: seal.Expires,
		})
		s.Folders = append(s.Folders, sealed)
	}
	s.Index = x.Marshal()
	s.Signature = tree.Sign(s.Index, keys)
	return s, nil
}

// signed is boot.manifest: the signatures, then what they cover.
func signed(m tree.Manifest, seal plan.Seal, keys []tree.SecretKey) []byte {
	m.Serial, m.Expires = seal.Serial, seal.Expires
	body := m.Marshal()
	return append(tree.Sign(body, keys), body...)
}

// shared is a folder that is no FEC's: what it holds, and the signatures of the pilot key if it is to have any.
func shared(f tree.Folder, p *plan.Publish, pilots *Signer) (sealed tree.SealedFolder, indexed tree.IndexedFolder, err error) {
	sealed.Path, indexed.Path = f.Path, f.Path
	var added []tree.Node
	if kept, stays := p.Kept[f.Path]; stays {
		sealed.Object, indexed.Content = kept, f.Content()
	} else if added, err = pilots.added(f); len(added) > 0 {
		sealed.Nodes, sealed.Object = f.With(added)
		indexed.Content = f.Content()
	} else {
		sealed.Nodes, sealed.Object = f.Sealed(nil)
	}
	indexed.Folder = sealed.Object
	return sealed, indexed, err
}

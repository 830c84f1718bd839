package publish

import "github.com/pomona-gitops/pomona/reconciler/tree"

// Signer signs repositories of pilots with the pilot key, in OpenPGP as their clients verify it. A nil Signer signs nothing.
type Signer struct {
	Public []byte                          // the key's public part, armored
	Sign   func(tree.Node) ([]byte, error) // the signature of a file, armored
}

// added are the nodes that a folder gets with the key.
func (s *Signer) added(f tree.Folder) (nodes []tree.Node, err error) {
	if s == nil || len(f.Added()) == 0 {
		return nil, nil
	}
	what := map[string]tree.Node{}
	for _, n := range f.Nodes {
		what[n.Path] = n
	}
	added := f.Added()
	for i, path := range f.Signs {
		n := tree.Node{Path: added[i]}
		if n.Data, err = s.Sign(what[path]); err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	if f.Key != "" {
		nodes = append(nodes, tree.Node{Path: f.Key, Data: s.Public})
	}
	return nodes, nil
}

package tree

import "github.com/pomona-gitops/pomona/reconciler/artifact"

// Sealed is a tree with serials, expiries and signatures: what is written, byte for byte.
type Sealed struct {
	Folders    []SealedFolder // by path
	Links      []Link
	Data       []string // FECs whose persistent data has a folder
	Index      []byte
	Signature  []byte // of the index; nil when nothing signs
	Generation []byte // generation.json
}

// SealedFolder is one folder as it is stored.
type SealedFolder struct {
	Path   string
	Object artifact.Digest
	Nodes  []Node // nil: it is published already
}

package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Served is one generation as a client finds it, in a root on this machine or over HTTP. Nothing in it is trusted.
type Served struct {
	Generation observed.Generation // zero when generation.json does not parse
	Index      tree.Index          // zero when the index does not parse
	Notes      []string            // what a reader should know besides differences

	view      view
	index     []byte
	signature []byte // nil: there is none
	early     observed.Differences
}

// NotServed is the error for a commit that a root or URL does not serve.
type NotServed struct {
	Commit  string
	Current string // commit that is served instead; empty for none
}

func (e NotServed) Error() string {
	if e.Current == "" {
		return fmt.Sprintf("commit %s is not served, nor any other", e.Commit)
	}
	return fmt.Sprintf("commit %s is not served: current is commit %s", e.Commit, e.Current)
}

// view reads one generation and what it names. Paths are relative to the generation; errors that are fs.ErrNotExist say
// that there is nothing.
type view interface {
	// read is the content of a file of at most limit bytes.
	read(ctx context.Context, path string, limit int64) ([]byte, error)
	// object hashes an object that should have size bytes.
	object(ctx context.Context, d artifact.Digest, size int64) (content, error)
	// folder compares everything of a folder but the content of objects.
	folder(ctx context.Context, f expectedFolder, objects map[artifact.Digest]content, found func(observed.Difference)) error
	// around compares what lies beside the folders: links, and paths that the commit does not have.
	around(ctx context.Context, x expectedTop, found func(observed.Difference)) error
	// unchanged is an error when the generation was replaced or pruned meanwhile.
	unchanged(ctx context.Context, index []byte) error
	// workers is how many reads may be under way at once.
	workers() int
}

// expectedFolder is one folder as it should be served.
type expectedFolder struct {
	path   string
	object artifact.Digest // zero when nobody knows: its manifest cannot be read
	nodes  []tree.Node

	content artifact.Digest // of a folder with signatures, without them
}

// expectedTop is what a generation should hold besides the content of its folders.
type expectedTop struct {
	tree   tree.Tree
	signed bool // index.sig is there
}

// content is what the bytes of an object are.
type content struct {
	digest artifact.Digest
	size   int64
	tail   artifact.Digest // of the last tailSize bytes
	wrong  string          // why it is not the object; empty when it is
}

// Limits of what is read into memory, in bytes.
const (
	maxIndex      = 64 << 20
	maxGeneration = 16 << 20
	maxManifest   = 1 << 20
	maxSignature  = 64 << 10
)

// open reads what says which generation this is.
func (s *Served) open(ctx context.Context) (err error) {
	s.index, err = s.view.read(ctx, tree.IndexFile, maxIndex)
	if err != nil && !absent(err) {
		return fmt.Errorf("read %s: %w", tree.IndexFile, err)
	}
	if err != nil {
		s.early = append(s.early, observed.Difference{Path: tree.IndexFile, What: "missing"})
	} else if x, err := tree.ParseIndex(s.index); err != nil {
		s.note(tree.IndexFile, "malformed", err)
	} else {
		s.Index = x
	}
	b, err := s.view.read(ctx, tree.GenerationFile, maxGeneration)
	if absent(err) {
		s.early = append(s.early, observed.Difference{Path: tree.GenerationFile, What: "missing"})
	} else if err != nil {
		s.note(tree.GenerationFile, unreadable, err)
	} else if g, err := observed.ParseGeneration(b); err != nil {
		s.note(tree.GenerationFile, "malformed", err)
	} else {
		s.Generation = g
	}
	s.signature, err = s.view.read(ctx, tree.SignatureFile, maxSignature)
	if err != nil && !absent(err) {
		s.note(tree.SignatureFile, unreadable, err)
	}
	return nil
}

func (s *Served) note(path, what string, err error) {
	s.early = append(s.early, observed.Difference{Path: path, What: what, Got: err.Error()})
}

// commit is the commit that a generation says it is of.
func (s *Served) commit() string {
	if s.Generation.Commit != "" {
		return s.Generation.Commit
	}
	return s.Index.Commit
}

// beside says which commit is current while this generation is not: another one, or none at all.
func (s *Served) beside(current string) {
	if current == "" {
		s.early = append(s.early, observed.Difference{Path: tree.CurrentLink, What: "leads to no generation"})
		return
	}
	s.Notes = append(s.Notes, "current is another commit: "+current)
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

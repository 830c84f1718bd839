package report

import (
	"fmt"
	"io"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Verification is what a root or a URL serves, compared with what a commit says.
type Verification struct {
	Commit      string               `json:"commit"`
	Generation  int64                `json:"generation"`
	Tree        artifact.Digest      `json:"tree"` // of the commit, as rendered here
	Same        bool                 `json:"same"`
	Folders     int                  `json:"folders"` // compared
	Objects     int                  `json:"objects"` // compared, each once
	Differences observed.Differences `json:"differences"`
	Notes       []string             `json:"notes"`
}

// Text writes a line for each path that differs, then the result.
func (v Verification) Text(w io.Writer) error {
	for _, d := range v.Differences {
		fmt.Fprintln(w, d)
	}
	for _, n := range v.Notes {
		fmt.Fprintln(w, "note:", observed.Printable(n))
	}
	if !v.Same {
		_, err := fmt.Fprintf(w, "not what commit %s says: %s\n", short(v.Commit), count(len(v.Differences), "difference"))
		return err
	}
	_, err := fmt.Fprintf(w, "generation %d is what commit %s says: %s, %s\n", v.Generation, short(v.Commit), count(v.Folders, "folder"), count(v.Objects, "object"))
	return err
}

func short(commit string) string { return commit[:min(len(commit), 12)] }

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

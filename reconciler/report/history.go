package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// History are the generations of a root, newest first.
type History struct {
	Current     int64  `json:"current"`        // 0: nothing is published
	Path        string `json:"path,omitempty"` // only generations that changed it
	Generations []Past `json:"generations"`
}

// Past is one generation of a root.
type Past struct {
	Number    int64         `json:"generation"`
	State     string        `json:"state"` // serving, previous, kept or never published
	Published time.Time     `json:"published"`
	Commit    string        `json:"commit"`
	Author    string        `json:"author,omitempty"` // of the commit, when a repository is at hand
	Subject   string        `json:"subject,omitempty"`
	Keys      []string      `json:"keys"`
	Pomona    string        `json:"pomona"`
	Since     int64         `json:"since"`  // generation that it is compared with; 0 for none
	FECs      []plan.Change `json:"fecs"`   // by path; null when the generation before it is gone
	Others    []plan.Change `json:"others"` // shared folders and links of hosts
}

// Text writes some lines for each generation.
func (h History) Text(w io.Writer) error {
	var b strings.Builder
	if len(h.Generations) == 0 {
		b.WriteString("nothing is published\n")
	}
	for _, g := range h.Generations {
		fmt.Fprintf(&b, "generation %d, %s: published %s, commit %s", g.Number, g.State, g.Published.UTC().Format("2006-01-02 15:04 UTC"), observed.Printable(short(g.Commit)))
		if g.Author != "" {
			fmt.Fprintf(&b, "\n  %s: %s", observed.Printable(g.Author), observed.Printable(g.Subject))
		}
		fmt.Fprintf(&b, "\n  %s\n", g.what(h.Path))
		fmt.Fprintf(&b, "  rendered by pomona %s, %s\n", observed.Printable(g.Pomona), observed.Printable(signedBy(g.Keys)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func signedBy(keys []string) string {
	if len(keys) == 0 {
		return "not signed"
	}
	return "signed by key " + strings.Join(keys, " and ")
}

// what says what changed, FECs first.
func (g Past) what(path string) string {
	switch {
	case g.FECs == nil && path != "":
		return path + " is there; what changed is not known: the generation before it was pruned"
	case g.FECs == nil:
		return "what changed is not known: the generation before it was pruned"
	case len(g.FECs)+len(g.Others) == 0:
		return fmt.Sprintf("same content as generation %d", g.Since)
	}
	var parts []string
	if len(g.FECs) > 0 {
		parts = append(parts, "FECs: "+summary(g.FECs))
	}
	if len(g.Others) > 0 {
		parts = append(parts, "besides: "+summary(g.Others))
	}
	return strings.Join(parts, "; ")
}

// summary is for instance "1 added (fecs/a), 2 changed (fecs/b, fecs/c)".
func summary(changes []plan.Change) string {
	var parts []string
	for _, verb := range []string{"added", "changed", "removed"} {
		var paths []string
		for _, c := range changes {
			if c.What == verb {
				paths = append(paths, c.Path)
			}
		}
		if len(paths) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(paths), verb, desired.Few(paths)))
		}
	}
	return strings.Join(parts, ", ")
}

// Concerns says whether a generation changed a path.
func (g Past) Concerns(path string) bool {
	is := func(c plan.Change) bool { return c.Path == path }
	return slices.ContainsFunc(g.FECs, is) || slices.ContainsFunc(g.Others, is)
}

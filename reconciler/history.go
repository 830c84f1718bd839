package reconciler

import (
	"fmt"
	"os"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// History are at most n generations of a root, newest first; all for n = 0. With a path, for instance fecs/kgp2cu02, only
// those that changed it. Authors and subjects come from a repository, which may be nil or lack commits. It only reads,
// and needs no lock.
func History(root *os.Root, commits *repo.Repo, path string, n int) (report.History, error) {
	past, current, err := observe.Past(root)
	if err != nil {
		return report.History{}, err
	}
	h := report.History{Current: current, Path: path, Generations: []report.Past{}}
	for i, p := range past {
		g := remembered(past, i, current)
		if path != "" && !g.Concerns(path) && (g.FECs != nil || !slices.Contains(p.Index.Paths(), path)) {
			continue
		}
		if commits != nil {
			if c, err := commits.Commit(p.Commit); err == nil {
				g.Author, g.Subject = c.Author, c.Subject
			}
		}
		if h.Generations = append(h.Generations, g); len(h.Generations) == n {
			break
		}
	}
	if path != "" && len(h.Generations) == 0 {
		return h, neverServed(path, past)
	}
	return h, nil
}

// remembered is generation i of some, compared with the one before it.
func remembered(past []observed.Past, i int, current int64) report.Past {
	p := past[i]
	g := report.Past{Number: p.Number, State: "kept", Published: p.Published, Commit: p.Commit, Keys: p.Keys, Pomona: p.Pomona}
	switch {
	case p.Number > current:
		g.State = "never published"
	case p.Number == current:
		g.State = "serving"
	case i > 0 && past[i-1].Number == current:
		g.State = "previous"
	}
	switch {
	case i+1 < len(past):
		g.Since = past[i+1].Number
		g.FECs, g.Others = plan.Between(past[i+1].Index, p.Index)
	case p.Number == 1:
		g.FECs, g.Others = plan.Between(tree.Index{}, p.Index)
	}
	return g
}

func neverServed(path string, past []observed.Past) error {
	var known []string
	for _, p := range past {
		known = append(known, p.Index.Paths()...)
	}
	if near := desired.Suggest(path, known); near != "" {
		return fmt.Errorf("no generation has %q: did you mean %q?", path, near)
	}
	return fmt.Errorf("no generation has %q", path)
}

// Package prune removes what the plan lets go: generations, links to them, and objects that nothing reaches.
package prune

import (
	"fmt"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Generations removes the links to old generations, then the generations: a link never dangles. A generation leaves its
// place in one step, into staging.
func Generations(dir *durable.Dir, p plan.Prune) error {
	for _, commit := range p.Commits {
		if err := dir.Remove(tree.CommitsFolder + "/" + commit); err != nil {
			return fmt.Errorf("prune link of commit %s: %w", commit, err)
		}
	}
	if len(p.Commits) > 0 {
		if err := dir.Sync(tree.CommitsFolder); err != nil {
			return fmt.Errorf("prune links of commits: %w", err)
		}
	}
	for _, n := range p.Remove() {
		temp := dir.Temp("pruned")
		if err := dir.Rename(tree.GenerationPath(n), temp); err != nil {
			return fmt.Errorf("prune generation %d: %w", n, err)
		}
		if err := dir.Sync(tree.GenerationsFolder); err != nil {
			return fmt.Errorf("prune generation %d: %w", n, err)
		}
		if err := dir.Remove(temp); err != nil {
			return fmt.Errorf("prune generation %d: %w", n, err)
		}
	}
	return nil
}

// Pin keeps what FECs run when their generations go.
func Pin(dir *durable.Dir, pins map[string]observed.Pin) error {
	out := map[string]store.Pin{}
	for fec, p := range pins {
		out[fec] = store.Pin(p)
	}
	return store.WritePins(dir, out)
}

// Later remembers when another sweep is due; zero: none is.
func Later(dir *durable.Dir, due time.Time) error {
	var err error
	if due.IsZero() {
		err = dir.Remove(durable.SweepDue)
	} else {
		err = dir.Replace(durable.SweepDue, []byte(due.UTC().Format(time.RFC3339)), 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember next sweep: %w", err)
	}
	return nil
}

// Objects removes objects from the store.
func Objects(s *store.Store, objects []observed.Object) error {
	gone := make([]artifact.Digest, len(objects))
	for i, o := range objects {
		gone[i] = o.Digest
	}
	if err := s.Delete(gone...); err != nil {
		return fmt.Errorf("prune objects: %w", err)
	}
	return nil
}

// Preview takes the preview of a pull request out of its place, in one step, into staging.
func Preview(dir *durable.Dir, number int) error {
	temp := dir.Temp("pruned")
	if err := dir.Rename(tree.PreviewPath(number), temp); err != nil {
		return fmt.Errorf("prune preview %d: %w", number, err)
	}
	if err := dir.Sync(tree.PreviewsFolder); err != nil {
		return fmt.Errorf("prune preview %d: %w", number, err)
	}
	if err := dir.Remove(temp); err != nil {
		return fmt.Errorf("prune preview %d: %w", number, err)
	}
	return nil
}

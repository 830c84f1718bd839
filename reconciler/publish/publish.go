// Package publish makes a generation current: it signs, moves what render staged into place, and turns the one link.
package publish

import (
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Generation makes a staged generation current. In this order, so that a crash at any point leaves either the old or
// the new generation published, whole:
//
//  1. move it to generations/N, sync generations/
//  2. turn current, sync the root: published
//  3. link by-commit/SHA
func Generation(dir *durable.Dir, staged string, g observed.Generation) error {
	if err := dir.MkdirAll(tree.GenerationsFolder); err != nil {
		return fmt.Errorf("publish generation %d: %w", g.Number, err)
	}
	if err := dir.Rename(staged, tree.GenerationPath(g.Number)); err != nil {
		return fmt.Errorf("publish generation %d: %w", g.Number, err)
	}
	if err := dir.Sync(tree.GenerationsFolder); err != nil {
		return fmt.Errorf("publish generation %d: %w", g.Number, err)
	}
	if err := dir.Relink(tree.GenerationPath(g.Number), tree.CurrentLink); err != nil {
		return fmt.Errorf("publish generation %d: %w", g.Number, err)
	}
	return Commit(dir, g)
}

// Commit links by-commit/SHA to a published generation.
func Commit(dir *durable.Dir, g observed.Generation) error {
	if err := dir.MkdirAll(tree.CommitsFolder); err != nil {
		return fmt.Errorf("link commit %s: %w", g.Commit, err)
	}
	if err := dir.Relink("../"+tree.GenerationPath(g.Number), tree.CommitsFolder+"/"+g.Commit); err != nil {
		return fmt.Errorf("link commit %s: %w", g.Commit, err)
	}
	return nil
}

package reconciler

import (
	"context"
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// Accept is Kick for a commit that an operator names: the mirror takes it although it does not descend from the one before,
// alone or with what has been added to it, and it needs no check. If the branch does not have it, nothing was named.
func (l *Loop) Accept(ctx context.Context, commit string) Done {
	if err := repo.CheckCommit(commit); err != nil {
		return Done{Err: err}
	}
	if l.Name != nil {
		if err := l.Name(commit); err != nil {
			return Done{Err: err}
		}
		defer l.Name("") // an empty name is none, and no error
	}
	before := l.named.Swap(&commit) // a pass may see the commit before this goroutine does
	err := l.fetched(ctx)
	if err == nil {
		err = l.Has(commit)
	}
	if err != nil {
		l.named.CompareAndSwap(&commit, before)
		return Done{Err: err}
	}
	l.Log.Warn("an operator named a commit", "commit", commit)
	return l.Do(ctx, func(context.Context) error { return nil })
}

// isNamed says whether an operator named a commit last.
func (l *Loop) isNamed(commit string) bool {
	named := l.named.Load()
	return named != nil && *named == commit
}

// Has says why a commit is not one of the branch.
func (r *Reconciler) Has(commit string) error {
	head, err := r.Repo.Resolve(r.Branch)
	if err != nil {
		return err
	}
	if there, err := r.Repo.Reaches(head.ID, commit); err != nil || !there {
		return fmt.Errorf("commit %s is not one of the branch, which is at %s: name that one if it is right", commit, head.ID)
	}
	return nil
}

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// Checks say what the checks of pull requests mean for what is published.
type Checks struct {
	Made    bool // pull requests are checked: a commit whose tree no check has seen is published as unchecked
	Require bool // or not at all, unless an operator has accepted it
	// Named says whether an operator has accepted a commit; nil: none has
	Named func(commit string) bool
}

// Unchecked says that no check of a pull request has seen what a commit would publish.
type Unchecked struct{ Commit string }

// Error says what to do about it.
func (e *Unchecked) Error() string {
	return fmt.Sprintf("commit %s is not published: no check of a pull request has seen its tree, and requireChecked is set; "+
		"merge through a pull request whose check is up to date with the branch, or have an operator accept the commit: pomona kick --accept %s", e.Commit, e.Commit)
}

// Contradicted says that the same inputs gave one tree to the check of a pull request and give another one now.
type Contradicted struct {
	Commit       string
	Checked, Now string // digests of the trees
}

// Error says what to do about it.
func (e *Contradicted) Error() string {
	return fmt.Sprintf("commit %s is not published: its check found tree %.12s, and the same commit, version and givens now give %.12s; "+
		"find out what has changed under the same name, for instance a payload at an address; to publish it all the same, accept it: pomona kick --accept %s",
		e.Commit, e.Checked, e.Now, e.Commit)
}

// compareWithCheck compares what is about to be published with what the check of a pull request said of the same inputs.
func (r *Reconciler) compareWithCheck(ctx context.Context, have observed.Root, p *plan.Plan) error {
	if !r.Checks.Made || p.Publish == nil {
		return nil
	}
	g := &p.Publish.Generation
	current, published := have.Published()
	if published && current.Commit == g.Commit {
		g.Givens.Unchecked = current.Givens.Unchecked
		return nil
	}
	checked, err := r.Records.checked(ctx, *g)
	named := r.Checks.Named != nil && r.Checks.Named(g.Commit)
	must := r.Checks.Require && !named && published && g.Commit != have.LastCommit() && !rolledBackTo(*g)
	switch now := g.Tree.String(); {
	case err != nil && must:
		return fmt.Errorf("read checks: %w", err)
	case checked == now:
	case checked != "" && !named:
		return &Contradicted{g.Commit, checked, now}
	case must:
		return &Unchecked{g.Commit}
	default:
		g.Givens.Unchecked = true
		r.Log.Warn("publishing a tree that no check of a pull request has seen", "commit", g.Commit)
	}
	return nil
}

// rolledBackTo says whether an operator has rolled back to the commit of a generation: the way back must always be open.
func rolledBackTo(g observed.Generation) bool {
	return slices.ContainsFunc(g.Givens.Holds, func(h observed.Hold) bool { return h.Bad != "" && h.Commit == g.Commit })
}

// checked is the digest of the tree that a check found for the inputs of a generation; empty for none.
func (r *Records) checked(ctx context.Context, g observed.Generation) (digest string, err error) {
	if r == nil {
		return "", nil
	}
	err = r.Use(ctx, func(l *ledger.Ledger) (err error) {
		digest, err = l.Checked(ctx, g.GitTree, g.Pomona, g.Givens.Digest().String())
		return err
	})
	if errors.Is(err, ledger.ErrNone) {
		err = nil
	}
	return digest, err
}

// Review is what publishing a commit would change, that a pull request proposes. It writes nothing. Holds of the whole site do
// not count, since they end; what may be removed is judged by what base says, which the proposal cannot change.
func (r *Reconciler) Review(ctx context.Context, base string) (rep report.Report, err error) {
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return rep, err
	}
	defer root.Close() // only read
	have, err := observe.Root(root)
	if err != nil {
		return rep, err
	}
	want, err := r.read(ctx, r.Branch)
	rep.Commit, rep.Wanted, rep.Warnings = want.commit.ID, want.commit.ID, want.warnings
	if err != nil {
		return rep, err
	}
	var problems desired.Problems
	switch now, err := r.load(ctx, base); {
	case err == nil:
		want.budget = &now.site.Settings.Retention
		if err := r.rewritten(ctx, now.site, now.commit.ID, want); err != nil {
			return rep, err
		}
	case !errors.As(err, &problems): // else the site has no valid policy: the proposal may mend that
		return rep, fmt.Errorf("read policy of base: %w", err)
	}
	j := r.judge(ctx, want.commit.ID, stated(have))
	want.head, j.holds.Stated = want.commit.ID, want.site.Holds
	j.again(r.Now())
	want, j, err = r.holdFECs(ctx, want, j, have)
	rep.Holds = j.in
	if err != nil {
		return rep, err
	}
	return rep, r.foresee(ctx, want, &have, root, &rep)
}

// CheckOf is what a review found that publishing the very same inputs must give.
func CheckOf(rep report.Report) (c ledger.Check, ok bool) {
	if rep.Plan.Publish == nil {
		return c, false
	}
	g := rep.Plan.Publish.Generation
	return ledger.Check{GitTree: g.GitTree, Pomona: g.Pomona, Givens: g.Givens.Digest().String(), Tree: g.Tree.String()}, true
}

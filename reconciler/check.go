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
	now, invalid := r.load(ctx, base)
	switch {
	case invalid == nil:
		want.budget = &now.site.Settings.Retention
		if err := r.rewritten(ctx, now.site, now.commit.ID, want); err != nil {
			return rep, err
		}
	case !errors.As(invalid, &problems): // else the site has no valid policy: the proposal may mend that
		return rep, fmt.Errorf("read policy of base: %w", invalid)
	}
	here := *r
	here.Withheld = nil // that is of what passes have found
	want.head = want.commit.ID
	rep.Holds, err = here.reviewHeld(ctx, want, have, root, &rep)
	if err != nil || invalid != nil || len(want.stated.Pilots)+len(now.stated.Pilots) == 0 {
		return rep, err
	}
	return rep, here.reviewPilots(ctx, now, want, have, root, &rep)
}

// reviewHeld foresees what a commit would publish now.
func (r *Reconciler) reviewHeld(ctx context.Context, want wanted, have observed.Root, root *os.Root, rep *report.Report) ([]observed.Hold, error) {
	j := r.judge(ctx, want.commit.ID, stated(have))
	j.holds.Stated = want.site.Holds
	j.again(r.Now())
	want, j, err := r.holdFECs(ctx, want, j, have)
	if err != nil {
		return j.in, err
	}
	return j.in, r.foresee(ctx, want, &have, root, rep)
}

// reviewPilots says what becomes of pilots. What they change counts once it is known who has written what is proposed: the plan has it, and AtOnce is
// what is published before.
func (r *Reconciler) reviewPilots(ctx context.Context, base, want wanted, have observed.Root, root *os.Root, rep *report.Report) error {
	records := newRecords(base.stated, want.stated)
	judge := r.granting(records)
	if len(records) > 0 && len(rep.Plan.Refused) == 0 {
		at := rep.Plan
		if _, err := judge.reviewHeld(ctx, want, have, root, rep); err != nil {
			return err
		}
		rep.AtOnce = &at
	}
	j := judge.judge(ctx, want.commit.ID, stated(have))
	was, err := r.seenOf(ctx, base, lastKnown(have))
	if err != nil {
		return err
	}
	after := judge.pilots(ctx, want, lastKnown(have), j.in, have)
	until := judge.until(ctx, r.Proofs, after, lastKnown(have), j.in)
	rep.Plan.Pilots, rep.Plan.PilotsFrom = plan.PilotChangesOnceProven(was.side(base), after.side(), until.side()), pilotsByCheck
	return nil
}

// ChecksOf are what a review found that publishing the very same inputs must give: at once and, if pilots get further by records that are proposed,
// when it is known who wrote them.
func ChecksOf(rep report.Report) (all []ledger.Check) {
	for _, p := range []*plan.Plan{rep.AtOnce, &rep.Plan} {
		if p != nil && p.Publish != nil {
			g := p.Publish.Generation
			all = append(all, ledger.Check{GitTree: g.GitTree, Pomona: g.Pomona, Givens: g.Givens.Digest().String(), Tree: g.Tree.String()})
		}
	}
	return slices.Compact(all)
}

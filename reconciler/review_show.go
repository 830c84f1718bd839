package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// seen is what every outcome shows to people.
func (v *Reviewer) seen(pr repo.Proposal, o outcome) report.Proposal {
	return report.Proposal{Number: pr.Number, Head: pr.Head, Base: pr.Base, State: string(o.state), Says: o.title, Planned: v.By.Now().UTC(), Pomona: v.By.Version}
}

// find adds to what is shown the problems of a commit, with lines of its files.
func find(p *report.Proposal, from *repo.Repo, problems desired.Problems) {
	n := min(len(problems), maxToldList)
	p.Problems, p.Left = excerpts(from, p.Commit, problems[:n]), len(problems)-n
}

// show lets people look at an outcome, in place of the one before it. It is kept in the ledger: a comment links to it for longer than a service runs.
func (v *Reviewer) show(ctx context.Context, p report.Proposal) error {
	told, err := json.Marshal(p)
	if err == nil && len(told) > maxTold {
		p.Left, p.Problems, p.Holds = p.Left+len(p.Problems), nil, nil
		if p.Plan != nil {
			p.Plan = short(*p.Plan)
		}
		told, err = json.Marshal(p)
	}
	if err != nil {
		return fmt.Errorf("write plan as JSON: %w", err)
	}
	p.Plan, p.Problems, p.Holds = nil, nil, nil
	line, _ := json.Marshal(p) // as before
	defer v.changed()
	return v.Enter.Use(ctx, func(l *ledger.Ledger) error {
		return l.PutProposal(ctx, ledger.Proposal{Number: p.Number, Head: p.Head, Merged: p.Commit, Planned: p.Planned, Line: line, Told: told})
	})
}

// closeShown marks those that are open no more. What they would have done can still be read.
func (v *Reviewer) closeShown(ctx context.Context, open []forge.Pull) {
	closed := false
	v.Enter.Try(ctx, func(l *ledger.Ledger) error {
		were, err := l.OpenProposals(ctx)
		for _, number := range were {
			if err == nil && !slices.ContainsFunc(open, func(o forge.Pull) bool { return o.Number == number }) {
				closed, err = true, l.CloseProposal(ctx, number)
			}
		}
		return err
	})
	if closed {
		v.changed()
	}
}

func (v *Reviewer) changed() {
	if v.Changed != nil {
		v.Changed()
	}
}

// Shown are the pull requests that were looked at, the last one first, without what each would do.
func (v *Reviewer) Shown(ctx context.Context) (report.Proposals, error) {
	out := report.Proposals{Forge: true, Proposals: []report.Proposal{}}
	err := v.kept(ctx, func(l *ledger.Ledger) error {
		all, err := l.Proposals(ctx)
		for _, kept := range all {
			p, wrong := proposalOf(kept, kept.Line)
			out.Proposals, err = append(out.Proposals, p), errors.Join(err, wrong)
		}
		return err
	})
	return out, err
}

// ErrNoProposal says that nothing is known of such a pull request, or nothing any more.
var ErrNoProposal error = refused{errors.New("no such pull request"), serve.ErrNoSuch}

// ShownOf is what was found last of a pull request: by its number, or by the commit that it proposes or that its merge gives, of which twelve
// digits are enough.
func (v *Reviewer) ShownOf(ctx context.Context, which string) (p report.Proposal, err error) {
	there := false
	err = v.kept(ctx, func(l *ledger.Ledger) error {
		kept, ok, err := l.ProposalOf(ctx, which)
		if ok {
			there = true
			p, err = proposalOf(kept, kept.Told)
		}
		return err
	})
	if err == nil && !there {
		err = fmt.Errorf("%w %s", ErrNoProposal, which)
	}
	return p, err
}

// kept reads the ledger; that there is none yet is no error.
func (v *Reviewer) kept(ctx context.Context, do func(*ledger.Ledger) error) error {
	if err := v.Enter.Use(ctx, do); !errors.Is(err, ledger.ErrNone) {
		return err
	}
	return nil
}

func proposalOf(kept ledger.Proposal, told []byte) (p report.Proposal, err error) {
	if err := json.Unmarshal(told, &p); err != nil {
		return p, fmt.Errorf("read proposal %.12s: %w", kept.Head, err)
	}
	if p.Closed = kept.Closed; p.Closed {
		p.Preview = nil // it has gone
	}
	return p, nil
}

package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// record enters how a pass ended, and gives its number if it tells something new.
func (r *Reconciler) record(ctx context.Context, dir *durable.Dir, began time.Time, rep report.Report, err error) (number int64) {
	if r.Records == nil {
		return 0
	}
	p := ledger.Pass{Started: began, Ended: r.Now(), Wanted: rep.Wanted, Outcome: observed.Unchanged, Did: did(rep)}
	var problems desired.Problems
	switch {
	case errors.As(err, &problems):
		p.Outcome, p.Reason = observed.Invalid, problems.Blocking().Error()
	case err != nil:
		p.Outcome, p.Reason = observed.Failed, err.Error()
	case rep.Plan.Publish != nil:
		p.Outcome, p.Reason = observed.Published, strings.Join(rep.Plan.Publish.Reasons, "; ")
	}
	if g, err := observe.Current(dir.Root()); err == nil { // else nobody knows what is published
		p.Published, p.Generation, p.Tree = g.Commit, g.Number, g.Tree.String()
	}
	if p.Blocked, err = json.Marshal(append([]plan.Blocked{}, rep.Plan.Blocked...)); err != nil {
		p.Blocked = []byte("[]")
	}
	p.Stages, _ = json.Marshal(rep.Stages) // numbers and names
	r.Records.Try(ctx, func(l *ledger.Ledger) error {
		last, err := l.Passes(ctx, 1)
		if err != nil {
			return err
		}
		p.News = len(last) == 0 || !seenPass(last[0]).Says(seenPass(p))
		id, err := l.AddPass(ctx, p)
		if p.News {
			number = id
		}
		return err
	})
	return number
}

func seenPass(p ledger.Pass) observed.Pass { return observe.TimedPass(ledger.TimedPass{Pass: p}) }

// maxDid is how much of what a pass did its row says, in bytes.
const maxDid = 500

// did is what a pass has changed, in a few words; empty: nothing.
func did(rep report.Report) string {
	var parts []string
	if rep.Plan.Publish != nil || len(rep.Plan.Prune.Remove()) > 0 {
		parts = append(parts, rep.Plan.Summary())
	}
	for _, c := range []struct {
		n    int
		what string
	}{{len(rep.Repaired), "repaired %d"}, {rep.Recovered, "removed %d leftovers of an interrupted pass"}, {rep.Swept, "swept %d objects"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf(c.what, c.n))
		}
	}
	return cut(strings.Join(parts, "; "), maxDid)
}

// Passes are a page of the timeline, from 1: all with this outcome, of empty all. It only reads.
func (r *Reconciler) Passes(ctx context.Context, outcome string, page int) (report.Passes, error) {
	out := report.Passes{Outcome: outcome, Page: page, Passes: []observed.Pass{}}
	every := outcome == observed.Unchanged // whoever asks for those wants each of them
	err := r.timeline(ctx, func(l *ledger.Ledger) error {
		passes, of, err := l.Timeline(ctx, outcome, every, (page-1)*report.PassesOnPage, report.PassesOnPage)
		out.Of = of
		for _, p := range passes {
			if every {
				p.Again, p.Last = 0, time.Time{}
			}
			out.Passes = append(out.Passes, observe.TimedPass(p))
		}
		return err
	})
	if err != nil {
		out.Trouble = err.Error()
	}
	return out, ctx.Err()
}

// timeline reads the ledger; that there is none yet is no error.
func (r *Reconciler) timeline(ctx context.Context, do func(*ledger.Ledger) error) error {
	if r.Records == nil {
		return nil
	}
	if err := r.Records.Use(ctx, do); !errors.Is(err, ledger.ErrNone) {
		return err
	}
	return nil
}

// ErrNoPass says that there is no such pass, or none any more.
var ErrNoPass error = refused{errors.New("no such pass"), serve.ErrNoSuch}

// shownDigits are as many of a commit's as pages and commands print.
const shownDigits = 12

// PassOf is one pass: by its number, or the last that was news of the commit of an id, or of twelve or more of its first digits. It only reads.
func (r *Reconciler) PassOf(ctx context.Context, which string) (report.Pass, error) {
	var found ledger.TimedPass
	var there bool
	var told []byte
	err := r.timeline(ctx, func(l *ledger.Ledger) (err error) {
		if number, ok := numberOf(which); ok {
			found, there, err = l.TimedPass(ctx, number)
		}
		if err == nil && !there && len(which) >= shownDigits {
			found, there, err = l.PassOf(ctx, which)
		}
		if err == nil && there {
			told, err = l.PlanOf(ctx, found.Number)
		}
		return err
	})
	if err != nil {
		return report.Pass{}, err
	}
	if !there {
		return report.Pass{}, ErrNoPass
	}
	p := report.Pass{Pass: observe.TimedPass(found), Blocked: []plan.Blocked{}}
	if err := json.Unmarshal(found.Blocked, &p.Blocked); err != nil {
		return p, fmt.Errorf("read what is blocked: %w", err)
	}
	if r.Repo != nil {
		if c, err := r.Repo.Commit(p.Wanted); err == nil {
			p.Author, p.Subject = c.Author, c.Subject
		}
	}
	if told != nil {
		if err := json.Unmarshal(told, &p.Told); err != nil {
			return p, fmt.Errorf("read plan of pass %d: %w", p.Number, err)
		}
		problems := make(desired.Problems, len(p.Told.Problems))
		for i, l := range p.Told.Problems {
			problems[i] = l.Problem
		}
		p.Told.Problems = excerpts(r.Repo, p.Told.Commit, problems)
	}
	return p, nil
}

// numberOf is a number as numbers are printed: 05 and +5 are no further names of what 5 names.
func numberOf(s string) (n int64, ok bool) {
	_, err := fmt.Sscanf(s, "%d", &n)
	return n, err == nil && n > 0 && fmt.Sprint(n) == s
}

package reconciler

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// maxClosed is how many pull requests that are closed, and commits of merge queues, may still be looked at.
const maxClosed = 50

// seen is what every outcome shows to people.
func (v *Reviewer) seen(pr repo.Proposal, o outcome) report.Proposal {
	return report.Proposal{Number: pr.Number, Head: pr.Head, Base: pr.Base, State: string(o.state), Says: o.title, Planned: v.By.Now().UTC(), Pomona: v.By.Version}
}

// find adds to what is shown the problems of a commit, with lines of its files.
func find(p *report.Proposal, from *repo.Repo, problems desired.Problems) {
	n := min(len(problems), maxToldList)
	p.Problems, p.Left = excerpts(from, p.Commit, problems[:n]), len(problems)-n
}

// show lets people look at an outcome, in place of the one before it.
func (v *Reviewer) show(p report.Proposal) {
	if v.Changed != nil {
		defer v.Changed()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shown = append(slices.DeleteFunc(v.shown, func(x report.Proposal) bool {
		return x.Number == p.Number && (p.Number > 0 || x.Head == p.Head)
	}), p)
	v.tidy()
}

// closeShown marks those that are open no more. What they would have done can be read for a while.
func (v *Reviewer) closeShown(open []forge.Pull) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, p := range v.shown {
		v.shown[i].Closed = p.Number > 0 && !slices.ContainsFunc(open, func(o forge.Pull) bool { return o.Number == p.Number })
	}
	v.tidy()
}

// tidy drops the oldest that nobody waits for any more.
func (v *Reviewer) tidy() {
	over := -maxClosed
	for _, p := range v.shown {
		if p.Closed || p.Number == 0 {
			over++
		}
	}
	v.shown = slices.DeleteFunc(v.shown, func(p report.Proposal) bool {
		if over <= 0 || !p.Closed && p.Number > 0 {
			return false
		}
		over--
		return true
	})
}

// Shown are the pull requests that were looked at, the last one first, without what each would do.
func (v *Reviewer) Shown() []report.Proposal {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := slices.Clone(v.shown)
	slices.Reverse(out)
	for i := range out {
		out[i].Plan, out[i].Problems, out[i].Holds = nil, nil, nil
	}
	return out
}

// ShownOf is what was found last of a pull request: by its number, or by the commit that it proposes or that its merge gives, of which twelve
// digits are enough.
func (v *Reviewer) ShownOf(which string) (report.Proposal, bool) {
	number, err := strconv.Atoi(which)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range slices.Backward(v.shown) {
		byNumber := err == nil && number > 0 && p.Number == number
		byCommit := len(which) >= 12 && (strings.HasPrefix(p.Head, which) || strings.HasPrefix(p.Commit, which))
		if byNumber || byCommit {
			return p, true
		}
	}
	return report.Proposal{}, false
}

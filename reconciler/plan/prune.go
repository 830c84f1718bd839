package plan

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Prune says of each generation whether it stays, and why.
type Prune struct {
	Generations []Pruned `json:"generations"` // ascending, all that are there
	Commits     []string `json:"commits"`     // by-commit links to remove
	Sweep       bool     `json:"sweep"`       // look for objects that nothing reaches
	Swept       Swept    `json:"swept"`       // what a plan expects of that look; a pass finds out
	Grace       Grace    `json:"-"`
}

// Swept are objects that nothing reaches any more.
type Swept struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// Pruned is one generation's fate.
type Pruned struct {
	Number int64  `json:"number"`
	Commit string `json:"commit"`
	Keep   bool   `json:"keep"`
	Reason string `json:"reason"`
}

// Grace is how long something that nothing needs any more stays, for FECs that are still fetching it.
type Grace time.Duration

// Empty says whether there is nothing to prune.
func (p Prune) Empty() bool { return len(p.Commits) == 0 && len(p.Remove()) == 0 && !p.Sweep }

// Remove are the numbers of generations to remove.
func (p Prune) Remove() []int64 { return p.numbers(false) }

// Kept are the numbers of generations that stay.
func (p Prune) Kept() []int64 { return p.numbers(true) }

func (p Prune) numbers(keep bool) (out []int64) {
	for _, g := range p.Generations {
		if g.Keep == keep {
			out = append(out, g.Number)
		}
	}
	return out
}

// prune decides as if pub were published already. Generations are ordered by number; a time only says since when one is
// superseded. What an interrupted pass left above the current generation was never published. Of a commit that a hold names,
// the newest generation stays.
func prune(r desired.Retention, have observed.Root, pub *Publish, named map[string]string, now time.Time) Prune {
	p := Prune{Grace: Grace(r.GracePeriod())}
	var published []observed.Generation
	for _, g := range have.Generations {
		if have.Current > 0 && g.Number > have.Current {
			p.Generations = append(p.Generations, Pruned{g.Number, g.Commit, false, "left by an interrupted pass, never published"})
			continue
		}
		if why := have.Damaged[g.Number]; why != "" && (g.Number != have.Current || pub != nil) {
			p.Generations = append(p.Generations, Pruned{g.Number, g.Commit, false, "damaged: " + why})
			continue
		}
		published = append(published, g)
	}
	if pub != nil {
		published = append(published, pub.Generation)
	}
	older := false // an older generation stays
	for i, g := range published {
		keep, reason := fate(published, i, r, now)
		if by := named[g.Commit]; !keep && by != "" && isNewest(published, i) {
			p.Generations = append(p.Generations, Pruned{g.Number, g.Commit, true, "its commit is named by hold " + by})
			continue // those after it may go all the same
		}
		if !keep && older {
			// The oldest go first: so what superseded a generation never changes.
			keep, reason = true, "newer than one that stays"
		}
		older = older || keep
		p.Generations = append(p.Generations, Pruned{g.Number, g.Commit, keep, reason})
	}
	slices.SortFunc(p.Generations, func(a, b Pruned) int { return int(a.Number - b.Number) })
	for _, commit := range slices.Sorted(maps.Keys(have.Commits)) {
		if pub != nil && commit == pub.Generation.Commit {
			continue // publish has just turned it
		}
		if !slices.Contains(p.Kept(), have.Commits[commit]) {
			p.Commits = append(p.Commits, commit)
		}
	}
	p.Sweep = have.Interrupted || len(p.Remove()) > 0 || !have.SweepDue.IsZero() && !now.Before(have.SweepDue)
	return p
}

// Fates says of each generation whether it would stay if nothing but pruning were done now, while some holds are in force.
func Fates(r desired.Retention, have observed.Root, holds []observed.Hold, now time.Time) []Pruned {
	return prune(r, have, nil, namedCommits(Want{Holds: holds}, have, nil), now).Generations
}

// Leaving is what has to happen before a published generation may go, holds aside: so many generations more are published, and a time has come.
func Leaving(r desired.Retention, have observed.Root, number int64) (more int, notBefore time.Time) {
	newer := 0
	for _, g := range have.Generations {
		if g.Number > number && g.Number <= have.Current {
			if newer++; newer == 1 {
				notBefore = g.Published.Add(r.GracePeriod())
			}
		}
	}
	return max(0, max(2, r.KeepGenerations())-newer), notBefore
}

// isNewest says whether no later generation is of the same commit.
func isNewest(all []observed.Generation, i int) bool {
	return !slices.ContainsFunc(all[i+1:], func(g observed.Generation) bool { return g.Commit == all[i].Commit })
}

// fate judges one published generation.
func fate(all []observed.Generation, i int, r desired.Retention, now time.Time) (bool, string) {
	age := len(all) - i // 1 for the current one
	switch {
	case age == 1:
		return true, "current"
	case age == 2:
		return true, "previous"
	case age <= r.KeepGenerations():
		return true, fmt.Sprintf("one of the %d newest", r.KeepGenerations())
	}
	// The generation after it took its place.
	if since := now.Sub(all[i+1].Published); since < r.GracePeriod() {
		return true, fmt.Sprintf("superseded %s ago, grace is %s", since.Round(time.Minute), r.GracePeriod())
	}
	return false, fmt.Sprintf("older than the %d newest", r.KeepGenerations())
}

// Sweep are the objects to remove: those that no kept generation reaches and that have lain there longer than the grace
// period. Due is when the first of the others that nothing reaches may go; zero if there is none.
func Sweep(all []observed.Object, reachable map[artifact.Digest]bool, g Grace, now time.Time) (gone []observed.Object, due time.Time) {
	for _, o := range all {
		if reachable[o.Digest] {
			continue
		}
		if now.Sub(o.Written) > time.Duration(g) {
			gone = append(gone, o)
			continue
		}
		if at := o.Written.Add(time.Duration(g) + time.Second); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	return gone, due
}

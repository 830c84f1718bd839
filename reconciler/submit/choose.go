package submit

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// choose says which of all jobs of a launch is the one, and which others must never run. One that may have run goes before one that is
// held, the one that was chosen before others, and then the lowest.
func choose(l observed.Launch, jobs []engine.Job) (chosen string, cancel []string) {
	groups := map[string][]engine.Job{}
	for _, j := range jobs {
		groups[j.ID] = append(groups[j.ID], j)
	}
	ids := slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		return cmp.Or(rank(groups[a])-rank(groups[b]), before(a == l.Job, b == l.Job), cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	if len(ids) == 0 {
		return "", nil
	}
	for _, id := range ids[1:] {
		if slices.ContainsFunc(groups[id], func(j engine.Job) bool { return j.State == engine.Held || j.State == engine.Queued }) {
			cancel = append(cancel, id)
		}
	}
	return ids[0], cancel
}

// rank is lower the more a job may have done.
func rank(tasks []engine.Job) int {
	ranks := []int{}
	for _, t := range tasks {
		switch {
		case !t.Began.IsZero() || t.State == engine.Running || t.State.Ended() && t.State != engine.Cancelled:
			ranks = append(ranks, 0)
		case t.State == engine.Queued:
			ranks = append(ranks, 1)
		case t.State == engine.Held:
			ranks = append(ranks, 2)
		default: // cancelled before it began
			ranks = append(ranks, 3)
		}
	}
	return slices.Min(ranks)
}

func before(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// mostReleases is how often a job is released: the batch system may lose that. One that is held again after so many is held by somebody.
const mostReleases = 5

// heldThere says whether a job that is held is held by somebody at the batch system.
func heldThere(l observed.Launch, j engine.Job) bool {
	return l.Releases >= mostReleases || strings.Contains(j.Reason, "HeldAdmin")
}

// releasable says whether some job of a launch is held that should not be.
func releasable(l observed.Launch, jobs []engine.Job) bool {
	return slices.ContainsFunc(jobs, func(j engine.Job) bool { return j.ID == l.Job && j.State == engine.Held && !heldThere(l, j) })
}

package reconciler

import (
	"context"
	"errors"
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// maxSayings is how many commits are read to find the one that wrote a record down.
var maxSayings = 500

// maxThen is of how many commits it is remembered what they say: records of one commit, and of those beside it, are asked about one after another.
const maxThen = 64

// origins find the commits that wrote records down first. Who brings a record back, moves or formats it has not written it.
type origins struct {
	*Reconciler
	then  map[string]said // by commit
	order []string        // in which then has been filled
}

// said is what a commit says.
type said struct {
	keys    map[recordKey]bool
	invalid bool // as a site: it may not say all
}

func (r *Reconciler) origins() *origins { return &origins{Reconciler: r, then: map[string]said{}} }

// sayings are, for each record, the commits that had it in their files otherwise than their parents.
func (o *origins) sayings(ctx context.Context, from repo.Commit, records []statedRecord) ([][]repo.Saying, error) {
	changes, err := o.Repo.Changes(from)
	if err != nil {
		return nil, err
	}
	words := make([][]string, len(records))
	for i, s := range records {
		words[i] = []string{s.record, s.at}
	}
	return changes.Sayings(ctx, words)
}

// of are the commits that wrote a record down, before anything that came of them: one, unless branches of history have done so. Why says why
// nobody knows them; then sure: neither will they later.
func (o *origins) of(ctx context.Context, s statedRecord, sayings []repo.Saying) (commits []string, sure bool, why error) {
	if len(sayings) > maxSayings {
		return nil, true, fmt.Errorf("more than %d commits speak of it: record it again", maxSayings)
	}
	for _, c := range sayings {
		now, err := o.says(ctx, c.Commit)
		switch {
		case err != nil:
			return nil, false, err
		case !now.keys[s.recordKey] && now.invalid:
			return nil, true, fmt.Errorf("the site was not valid at commit %.12s, which speaks of it: record it again", c.Commit)
		case !now.keys[s.recordKey]:
			continue
		}
		later, err := o.cameOf(c.Commit, commits)
		if err != nil {
			return nil, false, err
		}
		if later {
			continue
		}
		for _, parent := range c.Parents {
			before, err := o.says(ctx, parent)
			if err != nil {
				return nil, false, err
			}
			if before.keys[s.recordKey] {
				return nil, true, fmt.Errorf("commit %.12s says it, but not in plain words: record it again", parent)
			}
		}
		if !c.Adds {
			return nil, true, fmt.Errorf("commit %.12s does not write all of it down: record it again", c.Commit)
		}
		commits = append(commits, c.Commit)
	}
	if len(commits) == 0 {
		return nil, true, errors.New("history does not tell which commit wrote it: record it again")
	}
	return commits, false, nil
}

// cameOf says whether a commit came of one of others.
func (o *origins) cameOf(commit string, others []string) (bool, error) {
	for _, other := range others {
		if came, err := o.Repo.Reaches(commit, other); came || err != nil {
			return came, err
		}
	}
	return false, nil
}

// says is what a commit says.
func (o *origins) says(ctx context.Context, commit string) (said, error) {
	if known, ok := o.then[commit]; ok {
		return known, nil
	}
	w, err := o.load(ctx, commit)
	problems := desired.Problems(nil)
	if err != nil && !errors.As(err, &problems) {
		return said{}, err
	}
	now := said{map[recordKey]bool{}, err != nil}
	if w.loaded != nil {
		for _, each := range recordsOf(w.loaded.Site) {
			now.keys[each.recordKey] = true
		}
	}
	o.remember(commit, now)
	return now, nil
}

// remember remembers what a commit says, and forgets what has been remembered longest.
func (o *origins) remember(commit string, now said) {
	if o.order = append(o.order, commit); len(o.order) > maxThen {
		delete(o.then, o.order[0])
		o.order = o.order[1:]
	}
	o.then[commit] = now
}

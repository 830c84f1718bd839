package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// appendOnly finds the records that a commit says otherwise than the one that is published, or not at all, and pilots and
// prerequisites that come back without what was proven of them. Only what follows what is published is compared with it: a way back brings back what was known then. An operator who names a
// commit takes it as it is.
func (r *Reconciler) appendOnly(ctx context.Context, w wanted, published string) error {
	if published == "" || published == w.commit.ID || r.Checks.Named != nil && r.Checks.Named(w.commit.ID) {
		return nil
	}
	follows, err := r.Repo.Reaches(w.commit.ID, published)
	if err != nil || !follows {
		if back, err := r.Repo.Reaches(published, w.commit.ID); err == nil && back {
			return nil
		}
		// What history does not tell, it tells nobody else either: the ledger does.
		return r.refuse(ctx, w, nil, desired.Site{})
	}
	before, err := r.publishedBefore(ctx, published)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("commit %[1]s is not published: nobody knows whether it has all records of the published commit %[2]s, which cannot be read (%[3]w); "+
			"make it readable, or have an operator accept the commit as it is: pomona kick --accept %[1]s", w.commit.ID, published, err)
	}
	return r.rewritten(ctx, before, published, w)
}

// rewritten refuses a commit that does not have all that was recorded by another one, or brings pilots and prerequisites back without that.
func (r *Reconciler) rewritten(ctx context.Context, before desired.Site, commit string, w wanted) error {
	return r.refuse(ctx, w, desired.Rewritten(before, w.site, r.statesOf(ctx, commit)), before)
}

// statesOf is how far pilots and prerequisites of a commit are, worked out once somebody asks. Where somebody could say who wrote records, what nobody
// knows to have ended has not; elsewhere nobody knows how far something is of which the ledger has nothing proven.
func (r *Reconciler) statesOf(ctx context.Context, commit string) func(section, name string) string {
	states := sync.OnceValue(func() map[[2]string]string {
		states := map[[2]string]string{}
		known, _ := r.provenRecords(ctx) // a ledger that cannot be read knows nothing
		asks := r.Proofs.ask()
		if len(known.proofs) == 0 && !asks {
			return states
		}
		w, err := r.load(ctx, commit)
		if err != nil {
			return states
		}
		if j, err := r.seenOf(ctx, w, r.published()); err == nil {
			for _, now := range j.now {
				states[[2]string{pilotSection, now.Name}] = now.State
			}
		}
		if all, err := r.judgePrerequisites(ctx, w); err == nil {
			for _, now := range all {
				states[[2]string{prerequisiteSection, now.Name}] = now.State
			}
		}
		maps.DeleteFunc(states, func(of [2]string, _ string) bool { return !asks && !known.proves(of) })
		return states
	})
	return func(section, name string) string {
		state := states()[[2]string{section, name}]
		if state == "" && r.Proofs.ask() {
			return desired.NotKnown
		}
		return state
	}
}

// proves says whether anything is proven of something in a section.
func (k provenRecords) proves(of [2]string) bool {
	for key := range k.proofs {
		if key.section == of[0] && key.name == of[1] {
			return true
		}
	}
	return false
}

// returned finds pilots and prerequisites that a site did not have before, and of which the ledger knows more than they say now: those of a former one of
// that name, or their own that have been taken away.
func (r *Reconciler) returned(ctx context.Context, before desired.Site, w wanted) (ps desired.Problems, err error) {
	fresh := map[[2]string]bool{}
	for name := range w.site.Pilots {
		if _, there := before.Pilots[name]; !there {
			fresh[[2]string{pilotSection, name}] = true
		}
	}
	for name := range w.site.Prerequisites {
		if _, there := before.Prerequisites[name]; !there {
			fresh[[2]string{prerequisiteSection, name}] = true
		}
	}
	if len(fresh) == 0 || r.Records == nil {
		return nil, nil
	}
	known, err := r.provenRecords(ctx)
	if err != nil && !r.Records.readOnly {
		var names []string
		for of := range fresh {
			names = append(names, of[1])
		}
		slices.Sort(names)
		return nil, fmt.Errorf("commit %s is not published: nobody knows whether it had %s before: %w", w.commit.ID, desired.Few(names), err)
	}
	has := map[recordKey]bool{}
	for _, s := range recordsOf(w.stated) {
		has[s.recordKey] = true
	}
	lost := map[[2]string][]string{}
	for key := range known.proofs {
		if of := [2]string{key.section, key.name}; fresh[of] && !has[key] {
			lost[of] = append(lost[of], key.record)
		}
	}
	for of, records := range lost {
		slices.Sort(records)
		ps = append(ps, desired.Problem{Path: desired.CUEPath(of[0], of[1]),
			Text: fmt.Sprintf("a %s of this name was there before, and this one does not have what was proven of that: %s",
				map[string]string{pilotSection: "pilot", prerequisiteSection: "prerequisite"}[of[0]], desired.Few(records)),
			Advice: "give this one another name"})
	}
	return ps.Sorted(), nil
}

// publishedBefore is the site of the commit that is published.
func (r *Reconciler) publishedBefore(ctx context.Context, commit string) (desired.Site, error) {
	if r.Served != nil {
		if site, ok := r.Served.of(commit); ok {
			return site, nil
		}
	}
	then, err := r.load(ctx, commit)
	return then.site, err
}

// of is the site of a commit, if that is what is remembered.
func (p *PublishedSite) of(commit string) (desired.Site, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.is.site, p.link != "" && p.is.generation.Commit == commit
}

// refuse tells of records that are not what they were, and of what comes back, where they stand.
func (r *Reconciler) refuse(ctx context.Context, w wanted, problems desired.Problems, before desired.Site) error {
	back, err := r.returned(ctx, before, w)
	if err != nil {
		return err
	}
	if problems = append(problems, back...); len(problems) == 0 {
		return nil
	}
	located, err := w.loaded.Locate(ctx, problems)
	if err != nil {
		return fmt.Errorf("locate problems: %w", err)
	}
	return located.Sorted()
}

// witness is what is known of one commit.
type witness struct {
	people []string
	source string
	err    error
}

// witnesses remember what is known of commits.
type witnesses struct {
	Approvers
	repo             *repo.Repo
	signed, approved map[string]witness
	silent           error // of the forge
}

func (a Approvers) witnesses(r *repo.Repo) *witnesses {
	return &witnesses{Approvers: a, repo: r, signed: map[string]witness{}, approved: map[string]witness{}}
}

// proveCommit says whether somebody has made a commit, or approved what brought it.
func (k *witnesses) proveCommit(ctx context.Context, by, commit string) plan.RecordProof {
	var why []error
	for _, w := range []witness{k.signature(commit), k.approval(ctx, commit)} {
		for _, who := range w.people {
			if desired.SamePerson(who, by) {
				return plan.RecordProof{Who: who, Source: w.source}
			}
		}
		switch {
		case w.err != nil:
			why = append(why, w.err)
		case len(w.people) > 0:
			why = append(why, fmt.Errorf("%s is by %s, not by %s", w.source, desired.Few(w.people), by))
		}
	}
	if len(why) == 0 {
		why = append(why, errors.New("no signers and no forge are known that could say who wrote it"))
	}
	doubted := plan.RecordProof{Doubt: errors.Join(why...).Error()}
	if signed := k.signature(commit); len(signed.people) > 0 {
		doubted.Who = signed.people[0]
	}
	return doubted
}

func (k *witnesses) signature(commit string) witness {
	if k.Signers == nil {
		return witness{}
	}
	w, ok := k.signed[commit]
	if !ok {
		who, err := k.repo.SignedBy(commit, k.Signers)
		if w = (witness{source: fmt.Sprintf("signature of commit %.12s", commit), err: err}); err == nil {
			w.people = []string{who}
		}
		k.signed[commit] = w
	}
	return w
}

func (k *witnesses) approval(ctx context.Context, commit string) witness {
	if k.Forge == nil || k.silent != nil {
		return witness{err: k.silent}
	}
	w, ok := k.approved[commit]
	if !ok {
		number, people, err := k.ask(ctx, commit)
		w = witness{people, fmt.Sprintf("approval of pull request %d", number), err}
		switch unknown := (*forge.Unknown)(nil); {
		case errors.As(err, &unknown): // who counts for nobody does not make it silent
		case err != nil:
			k.silent, w.people = err, nil
		case len(people) == 0:
			w.err = fmt.Errorf("nobody has approved a pull request that brought commit %.12s", commit)
		}
		k.approved[commit] = w
	}
	return w
}

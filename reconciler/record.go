package reconciler

import (
	"context"
	"errors"
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// appendOnly finds the records that a commit says otherwise than the one that is published, or not at all. Only what follows that is compared:
// a way back brings back what was known then. An operator who names a commit takes it as it is.
func (r *Reconciler) appendOnly(ctx context.Context, w wanted, published string) error {
	if published == "" || published == w.commit.ID || r.Checks.Named != nil && r.Checks.Named(w.commit.ID) {
		return nil
	}
	follows, err := r.Repo.Reaches(w.commit.ID, published)
	if err != nil || !follows {
		return nil // what history does not tell, it tells nobody else either
	}
	before, err := r.publishedBefore(ctx, published)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("commit %[1]s is not published: nobody knows whether it has all records of the published commit %[2]s, which cannot be read (%[3]w); "+
			"make it readable, or have an operator accept the commit as it is: pomona kick --accept %[1]s", w.commit.ID, published, err)
	}
	return rewritten(ctx, before, w)
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

// rewritten are the records that are not what they were, where they stand.
func rewritten(ctx context.Context, before desired.Site, w wanted) error {
	problems := desired.Rewritten(before, w.site)
	if len(problems) == 0 {
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
		switch {
		case err != nil:
			k.silent, w.people = err, nil
		case len(people) == 0:
			w.err = fmt.Errorf("nobody has approved a pull request that brought commit %.12s", commit)
		}
		k.approved[commit] = w
	}
	return w
}

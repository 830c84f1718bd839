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
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// appendOnly finds the records that a commit says otherwise than the one that is published, or not at all. Only what follows what is published is compared
// with it: a way back brings back what was known then. An operator who names a commit takes it as it is. It remembers what goes with a commit, so that
// no other pilot or prerequisite takes its name (usurps).
func (r *Reconciler) appendOnly(ctx context.Context, w wanted, published string) error {
	if published == "" || published == w.commit.ID {
		return nil
	}
	if r.Checks.Named != nil && r.Checks.Named(w.commit.ID) {
		r.goes(ctx, desired.Site{}, w, true)
		return nil
	}
	follows, err := r.Repo.Reaches(w.commit.ID, published)
	if err != nil || !follows {
		if back, err := r.Repo.Reaches(published, w.commit.ID); err == nil && back {
			r.goes(ctx, desired.Site{}, w, true)
			return nil
		}
		// What history does not tell, it tells nobody else either: the ledger does.
		lost, err := r.returned(ctx, desired.Site{}, w, false)
		if err != nil {
			return err
		}
		return w.refuse(ctx, lost)
	}
	before, err := r.publishedBefore(ctx, published)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("commit %[1]s is not published: nobody knows whether it has all records of the published commit %[2]s, which cannot be read (%[3]w); "+
			"make it readable, or have an operator accept the commit as it is: pomona kick --accept %[1]s", w.commit.ID, published, err)
	}
	before = r.entitled(ctx, before)
	if err := w.refuse(ctx, desired.Rewritten(before, w.site, r.statesOf(ctx, published))); err != nil {
		return err
	}
	r.goes(ctx, before, w, false)
	return nil
}

// rewritten refuses a proposal that does not have all that was recorded by another commit, or that takes the name of what was there before.
func (r *Reconciler) rewritten(ctx context.Context, before desired.Site, commit string, w wanted) error {
	back, err := r.returned(ctx, before, w, true)
	if err != nil {
		r.Log.Warn("not known which pilots and prerequisites were there before", "because", err)
	}
	return w.refuse(ctx, append(desired.Rewritten(r.entitled(ctx, before), w.site, r.statesOf(ctx, commit)), back...))
}

// entitled is a site without what has taken the name of a former one: nothing counts that such a one records, and it may go.
func (r *Reconciler) entitled(ctx context.Context, s desired.Site) desired.Site {
	known, _ := r.provenRecords(ctx) // without them, nobody knows of any
	s.Pilots, s.Prerequisites = maps.Clone(s.Pilots), maps.Clone(s.Prerequisites)
	for of := range known.gone {
		switch {
		case known.usurped(s, of) == "":
		case of[0] == pilotSection:
			delete(s.Pilots, of[1])
		default:
			delete(s.Prerequisites, of[1])
		}
	}
	return s
}

// goes remembers which proven records go with what they are of, and what is back with all of them; or anyway, since somebody who may takes it as it is.
func (r *Reconciler) goes(ctx context.Context, before desired.Site, w wanted, anyway bool) {
	known, err := r.provenRecords(ctx)
	if err != nil || r.Records.readOnly {
		return // without them, none can be noted
	}
	r.free(ctx, before, w, known)
	var gone []ledger.RecordProof
	for _, s := range recordsOf(before) {
		if _, proven := known.proofs[s.recordKey]; proven && !w.states(s.section, s.name) {
			gone = append(gone, ledger.RecordProof{Section: s.section, Name: s.name, Record: s.record, Digest: s.digest})
		}
	}
	var back [][2]string
	for of := range known.gone {
		if w.states(of[0], of[1]) && (anyway || known.usurped(w.stated, of) == "") {
			back = append(back, of)
		}
	}
	r.Records.Try(ctx, func(l *ledger.Ledger) error { return l.RecordsGo(ctx, gone, back) })
}

// states says whether a commit has a pilot or a prerequisite.
func (w wanted) states(section, name string) bool {
	_, pilot := w.stated.Pilots[name]
	_, prerequisite := w.stated.Prerequisites[name]
	return section == pilotSection && pilot || section == prerequisiteSection && prerequisite
}

// usurped is why nothing counts that a pilot or a prerequisite of a site records; empty: it does.
func (k provenRecords) usurped(s desired.Site, of [2]string) string {
	if of[0] == pilotSection {
		return usurps(k, of[0], of[1], s.Pilots[of[1]].Records)
	}
	return usurps(k, of[0], of[1], s.Prerequisites[of[1]].Records)
}

// usurps is why nothing counts that something records: it has taken the name of a former one, or is that without all that was proven of it.
func usurps[R any](k provenRecords, section, name string, records map[string]R) string {
	var lost []string
	for _, key := range k.gone[[2]string{section, name}] {
		if r, there := records[key.record]; !there || recordKeyOf(section, name, key.record, r) != key {
			lost = append(lost, key.record)
		}
	}
	if len(lost) == 0 {
		return ""
	}
	slices.Sort(lost)
	return notAll(section, lost) + "; " + anotherName
}

// anotherName is what to do about that.
const anotherName = "give this one another name"

func notAll(section string, records []string) string {
	return fmt.Sprintf("a %s of this name was there before, and this one does not have what was proven of that: %s",
		map[string]string{pilotSection: "pilot", prerequisiteSection: "prerequisite"}[section], desired.Few(records))
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

// returned finds pilots and prerequisites that a site did not have before, and of which the ledger knows more than they say now: of those that have gone
// or, if history does not tell, of those that have not.
func (r *Reconciler) returned(ctx context.Context, before desired.Site, w wanted, gone bool) (ps desired.Problems, err error) {
	was := wanted{stated: before}
	fresh := map[[2]string]bool{}
	for name := range w.stated.Pilots {
		fresh[[2]string{pilotSection, name}] = !was.states(pilotSection, name)
	}
	for name := range w.stated.Prerequisites {
		fresh[[2]string{prerequisiteSection, name}] = !was.states(prerequisiteSection, name)
	}
	maps.DeleteFunc(fresh, func(_ [2]string, is bool) bool { return !is })
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
		if of := [2]string{key.section, key.name}; fresh[of] && !has[key] && gone == slices.Contains(known.gone[of], key) {
			lost[of] = append(lost[of], key.record)
		}
	}
	for of, records := range lost {
		slices.Sort(records)
		ps = append(ps, desired.Problem{Path: desired.CUEPath(of[0], of[1]), Text: notAll(of[0], records), Advice: anotherName})
	}
	return ps.Sorted(), nil
}

// publishedBefore is the site as the commit states it that is published.
func (r *Reconciler) publishedBefore(ctx context.Context, commit string) (desired.Site, error) {
	if r.Served != nil {
		if site, ok := r.Served.of(commit); ok {
			return site, nil
		}
	}
	then, err := r.load(ctx, commit)
	return then.stated, err
}

// of is the site as a commit states it, if that is what is remembered.
func (p *PublishedSite) of(commit string) (desired.Site, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.is.commit.stated, p.link != "" && p.is.generation.Commit == commit
}

// refuse tells of problems where they stand.
func (w wanted) refuse(ctx context.Context, problems desired.Problems) error {
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

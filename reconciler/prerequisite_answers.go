package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// What the ledger remembers of people beside records.
const (
	answersSection = "prerequisite answers" // who answers for a prerequisite as of a commit
	commitsSection = "commits"              // who has signed, or approved what brought, a commit that wrote what somebody has reviewed
)

// Sources of what is known of a commit.
const (
	commitSigned   = "signature"
	commitApproved = "approval"
)

// answer is who answers for a prerequisite as of a commit.
type answer struct {
	who, commit string
	at          time.Time
}

// standing is somebody who has signed a commit, or approved what brought it.
type standing struct {
	who    string
	signed bool
}

// peopleKnown is what is known of people beside records. It is no more than what was proven once.
type peopleKnown struct {
	answers map[string][]answer // by prerequisite, the latest known last
	stand   map[string][]standing
}

// add enters what is proven.
func (k *peopleKnown) add(rows []ledger.RecordProof) {
	if k.answers == nil {
		k.answers, k.stand = map[string][]answer{}, map[string][]standing{}
	}
	for _, row := range rows {
		switch row.Section {
		case answersSection:
			k.answers[row.Name] = append(k.answers[row.Name], answer{row.By, row.Record, row.At})
			slices.SortStableFunc(k.answers[row.Name], func(a, b answer) int { return a.at.Compare(b.at) })
		case commitsSection:
			k.stand[row.Name] = append(k.stand[row.Name], standing{row.By, row.Record == commitSigned})
		}
	}
}

// learn remembers what is proven of people, whatever becomes of the ledger.
func (p *Proofs) learn(rows []ledger.RecordProof) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.people.add(rows)
}

// standFor are those who are known to stand for a commit.
func (k provenRecords) standFor(commit string, p *Proofs) []standing {
	stand := k.people.stand[commit]
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		stand = slices.Concat(stand, p.people.stand[commit])
	}
	return stand
}

// answered are all that are known to have answered for a prerequisite, the latest known last.
func (k provenRecords) answered(name string, p *Proofs) []answer {
	all := k.people.answers[name]
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		all = slices.Clone(all)
		for _, a := range p.people.answers[name] {
			if !slices.ContainsFunc(all, func(b answer) bool { return a.who == b.who && a.commit == b.commit }) {
				all = append(all, a)
			}
		}
		slices.SortStableFunc(all, func(a, b answer) int { return a.at.Compare(b.at) })
	}
	return all
}

// answering is who answered last for a prerequisite up to a commit, of those who are known to have. One that history has lost counts if none else does.
func (r *Reconciler) answering(known provenRecords, w wanted, name string) (last answer, ok bool, err error) {
	all := known.answered(name, r.Proofs)
	if len(all) == 0 {
		return last, false, nil
	}
	last = all[len(all)-1]
	if desired.SamePerson(last.who, w.stated.Prerequisites[name].Responsible) && (len(all) == 1 || all[len(all)-2].at.Before(last.at)) {
		return last, true, nil
	}
	found := false
	for _, a := range all {
		past, err := r.reaches(w.commit.ID, a.commit)
		if err != nil {
			return last, false, err
		}
		later := past && !found
		if past && found {
			if later, err = r.reaches(a.commit, last.commit); err != nil {
				return last, false, err
			}
		}
		if later {
			last, found = a, true
		}
	}
	return last, true, nil
}

// reaches is Reaches of commits of which one may have been lost.
func (r *Reconciler) reaches(from, to string) (bool, error) {
	if _, err := r.Repo.Commit(to); err != nil {
		return false, nil
	}
	return r.Repo.Reaches(from, to)
}

// prerequisiteAnswers adds to what is known of a prerequisite who answers for it: whom it names, once whoever answered for it before has handed it over.
// Where nobody could say who wrote what, that is whom it names.
func (r *Reconciler) prerequisiteAnswers(known provenRecords, w wanted, f *plan.PrerequisiteFacts) {
	named := f.Spec.Responsible
	last, ok, err := r.answering(known, w, f.Name)
	switch {
	case err != nil:
		f.Unagreed, f.UnagreedLater = err.Error(), true
		return
	case ok && desired.SamePerson(last.who, named), !ok && !r.Proofs.ask():
		f.Answers = named
		return
	case ok:
		f.Answers = last.who
	}
	_, _, doubt := r.Proofs.of(answerKey(f.Name, named))
	if f.Unagreed, f.UnagreedLater = doubt.why, !doubt.sure; doubt.unasked || r.Proofs == nil {
		f.Unagreed = fmt.Sprintf("nobody has found out yet whether %s does", named)
	}
}

func answerKey(name, who string) recordKey { return recordKey{answersSection, name, who, ""} }

// people finds out who answers for the prerequisites of a commit, and who stands for what somebody has reviewed; it says how much it could prove. What is
// not found out of one keeps none of the others; once the branch has moved on, what is left waits for the next time.
func (p *Prover) people(ctx context.Context, w wanted, moved func() bool) (found int, err error) {
	if len(w.stated.Prerequisites) == 0 || p.Approvers.Signers == nil && p.Approvers.Forge == nil {
		return 0, nil
	}
	known, _ := p.provenRecords(ctx) // what a ledger that cannot be read has is found out once more
	look := peopleLook{p, w, known, p.Approvers.witnesses(p.Repo), p.declared("").then, moved, w.commit.ID + " " + p.Approvers.Signers.Stamp(), nil}
	for _, name := range slices.Sorted(maps.Keys(w.stated.Prerequisites)) {
		if moved != nil && moved() {
			p.Passed(Done{})
			return found, nil
		}
		look.rows = nil
		look.answers(ctx, name)
		look.authors(ctx, name)
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		if found += len(look.rows); len(look.rows) > 0 {
			p.Records.Try(ctx, func(l *ledger.Ledger) error { return l.ProveRecords(ctx, look.rows) })
			p.Proofs.learn(look.rows)
		}
	}
	return found, nil
}

// peopleLook is one look at the people of prerequisites.
type peopleLook struct {
	*Prover
	w     wanted
	known provenRecords
	who   *witnesses
	then  *pastSites
	moved func() bool
	by    string // what a settled doubt stands by
	rows  []ledger.RecordProof
}

func (l *peopleLook) declared(name string) *declared {
	d := l.Reconciler.declared(name)
	d.then, d.moved = l.then, l.moved
	return d
}

// until is how long it stands that something could not be found out: for long if that may cost as much once more, so that the others are not kept waiting.
func (l *peopleLook) until(err error) time.Time {
	if err == nil || errors.Is(err, errMovedOn) {
		return l.Now().Add(again)
	}
	return l.Now().Add(settled)
}

// prove has something remembered.
func (l *peopleLook) prove(section, name, record, digest, who, source string) {
	l.rows = append(l.rows, ledger.RecordProof{Section: section, Name: name, Record: record, Digest: digest, By: who, Source: source, At: l.Now()})
	if section == answersSection {
		l.Log.Info("who answers is known", "for", name, "who", who, "known", source)
	}
}

// answers finds out whether whom a prerequisite names answers for it.
func (l *peopleLook) answers(ctx context.Context, name string) {
	named := l.w.stated.Prerequisites[name].Responsible
	last, ok, err := l.answering(l.known, l.w, name)
	if err != nil {
		l.Proofs.doubt(answerKey(name, named), unproven{why: err.Error(), until: l.Now().Add(again)})
		return
	}
	if named == "" || ok && desired.SamePerson(last.who, named) {
		return
	}
	enter := func(source string) { l.prove(answersSection, name, l.w.commit.ID, "", named, source) }
	if l.Checks.Named != nil && l.Checks.Named(l.w.commit.ID) {
		enter("an operator took commit " + l.w.commit.ID)
		return
	}
	if !l.Proofs.due(answerKey(name, named), l.Now(), l.by) {
		return
	}
	from, d := []answer{last}, l.declared(name)
	if !ok {
		from, err = d.firsts(ctx, l.w, !l.proves(name))
	}
	var why error
	for _, f := range from {
		if err == nil && why == nil && !desired.SamePerson(f.who, named) {
			why, err = l.handedOver(ctx, d, l.w, f)
		}
	}
	switch {
	case ctx.Err() != nil:
		return
	case err == nil && why == nil:
		enter(fmt.Sprintf("commit %.12s names him", l.w.commit.ID))
		return
	case err == nil && !ok && len(from) == 1 && l.couldSay(from[0].who): // else it is forgotten who it was, or he has gone
		l.prove(answersSection, name, from[0].commit, "", from[0].who, fmt.Sprintf("commit %.12s names him first", from[0].commit))
	}
	doubt := unproven{why: cmp.Or(err, why).Error(), sure: err == nil && l.who.silent == nil, until: l.until(err)}
	if doubt.sure && l.Approvers.Forge == nil {
		doubt.until, doubt.by = l.Now().Add(settled), l.by
	}
	l.Proofs.doubt(answerKey(name, named), doubt)
}

// proves says whether anything is proven of a prerequisite, or of one of its name that has gone.
func (l *peopleLook) proves(name string) bool {
	return l.known.proves([2]string{prerequisiteSection, name}) || l.Proofs.proves(name)
}

func (p *Proofs) proves(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.proven {
		if k.section == prerequisiteSection && k.name == name {
			return true
		}
	}
	return false
}

// free forgets who answered for prerequisites that have gone before anything was proven of them: whoever declares one of such a name begins anew.
func (r *Reconciler) free(ctx context.Context, before desired.Site, w wanted, known provenRecords) {
	for name := range before.Prerequisites {
		if w.states(prerequisiteSection, name) || known.proves([2]string{prerequisiteSection, name}) || r.Proofs != nil && r.Proofs.proves(name) {
			continue
		}
		r.Records.Try(ctx, func(l *ledger.Ledger) error { return l.UnproveRecords(ctx, answersSection, name) })
		if r.Proofs != nil {
			r.Proofs.mu.Lock()
			delete(r.Proofs.people.answers, name)
			r.Proofs.mu.Unlock()
		}
	}
}

// couldSay says whether somebody could hand anything over.
func (l *peopleLook) couldSay(who string) bool {
	return l.Approvers.Forge != nil || slices.ContainsFunc(l.Approvers.Signers.People(), func(known string) bool { return desired.SamePerson(known, who) })
}

// handedOver says why whoever answered for a prerequisite has not handed it over to whom a commit names: each commit that wrote that name has to be by him, or
// by somebody whom he has handed it over to before, and none may be of before he answered.
func (l *peopleLook) handedOver(ctx context.Context, d *declared, w wanted, from answer) (why, err error) {
	named := w.stated.Prerequisites[d.name].Responsible
	commits, err := d.writers(ctx, w, map[string]any{"responsible": named})
	if err != nil {
		return nil, err
	}
	if len(commits) == 0 {
		return fmt.Errorf("history does not tell which commit names %s, and %s answered for it before", named, from.who), nil
	}
	for _, commit := range commits {
		if past, err := l.reaches(from.commit, commit); err != nil || past {
			return fmt.Errorf("commit %.12s names %s, and is of before %s answered for it", commit, named, from.who), err
		}
		proof := l.who.proveCommit(ctx, from.who, commit)
		if proof.Doubt == "" {
			continue
		}
		between, err := l.between(ctx, d, commit, named, from)
		if err != nil {
			return nil, err
		}
		if !between {
			return fmt.Errorf("commit %.12s names %s, and %s, who answered for it before, has neither signed that nor approved it: %s", commit, named, from.who, proof.Doubt), nil
		}
	}
	return nil, nil
}

// between says whether a commit that hands a prerequisite over is by somebody whom it was handed over to before.
func (l *peopleLook) between(ctx context.Context, d *declared, commit, named string, from answer) (bool, error) {
	parents, err := l.Repo.Parents(commit)
	if err != nil {
		return false, err
	}
	for _, parent := range parents {
		before, err := d.at(ctx, parent)
		if err != nil {
			return false, err
		}
		who := before[d.name].Responsible
		if who == "" || desired.SamePerson(who, named) || desired.SamePerson(who, from.who) || l.who.proveCommit(ctx, who, commit).Doubt != "" {
			continue
		}
		was, err := d.whole(ctx, parent)
		if err != nil {
			return false, err
		}
		if why, err := l.handedOver(ctx, d, was, from); why == nil {
			return err == nil, err
		}
	}
	return false, nil
}

// firsts are who answered for a prerequisite where history has it first: one, unless branches of it that nothing joins have declared it. Of one that has gone
// and come back that is where it came back, if anew.
func (d *declared) firsts(ctx context.Context, w wanted, anew bool) (firsts []answer, err error) {
	changes, err := d.Repo.Changes(w.commit)
	if err != nil {
		return nil, err
	}
	said, err := changes.Sayings(ctx, [][]string{{d.name, prerequisiteSection}})
	if err != nil {
		return nil, err
	}
	if anew {
		slices.Reverse(said[0])
	}
	for _, s := range said[0] {
		beside, err := d.beside(s.Commit, firsts, anew)
		if err != nil {
			return nil, err
		}
		if !beside {
			continue
		}
		then, err := d.at(ctx, s.Commit)
		if err != nil {
			return nil, err
		}
		p, starts := then[d.name]
		for i := 0; anew && starts && i < len(s.Parents); i++ {
			before, err := d.at(ctx, s.Parents[i])
			if err != nil {
				return nil, err
			}
			_, there := before[d.name]
			starts = !there
		}
		if starts {
			firsts = append(firsts, answer{who: p.Responsible, commit: s.Commit})
		}
	}
	return firsts, nil
}

// beside says whether a commit comes of none of others, or none of them of it.
func (d *declared) beside(commit string, others []answer, before bool) (bool, error) {
	for _, o := range others {
		from, to := commit, o.commit
		if before {
			from, to = to, from
		}
		if came, err := d.Repo.Reaches(from, to); came || err != nil {
			return false, err
		}
	}
	return true, nil
}

// authors finds out who stands for what a prerequisite says, once somebody has reviewed that: keys are taken away, and forges do not answer for ever.
func (l *peopleLook) authors(ctx context.Context, name string) {
	digest, err := tree.PrerequisiteDigest(l.w.stated, name)
	if err != nil || !hasReview(l.w.stated.Prerequisites[name], "sha256:"+digest.String()) {
		return // gates tell of it
	}
	k, by := recordKey{commitsSection, name, digest.String(), ""}, l.Approvers.Signers.Stamp()
	if !l.Proofs.due(k, l.Now(), by) {
		return
	}
	commits, err := l.declared(name).commits(ctx, l.w)
	if err != nil {
		l.Proofs.doubt(k, unproven{why: err.Error(), until: l.until(err)})
		return
	}
	open := false
	for _, commit := range commits {
		stand := l.known.standFor(commit, l.Proofs)
		if slices.ContainsFunc(stand, func(s standing) bool { return s.signed }) {
			continue
		}
		if signed := l.who.signature(commit); len(signed.people) > 0 {
			l.stands(commit, commitSigned, signed, stand)
			continue
		}
		open = true
		l.stands(commit, commitApproved, l.who.approval(ctx, commit), stand)
	}
	looked := unproven{why: "looked", until: l.Now().Add(again)}
	if !open || l.Approvers.Forge == nil {
		looked.until, looked.by = l.Now().Add(settled), by
	}
	l.Proofs.doubt(k, looked)
}

// stands has those remembered who stand for a commit and are not yet known to.
func (l *peopleLook) stands(commit, how string, w witness, known []standing) {
	for _, who := range w.people {
		there := slices.ContainsFunc(l.rows, func(r ledger.RecordProof) bool {
			return r.Section == commitsSection && r.Name == commit && r.Record == how && r.By == who
		})
		if !there && !slices.Contains(known, standing{who, how == commitSigned}) {
			l.prove(commitsSection, commit, how, strings.ToLower(who), who, w.source)
		}
	}
}

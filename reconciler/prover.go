package reconciler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// Sections of a site that have records.
const (
	pilotSection        = "pilots"
	prerequisiteSection = "prerequisites"
)

// recordKey is a record as it says what it says.
type recordKey struct{ section, name, record, digest string }

// recordKeyOf is the key of a record.
func recordKeyOf(section, name, record string, says any) recordKey {
	b, _ := json.Marshal(says) // records have only what JSON has
	sum := sha256.Sum256(b)
	return recordKey{section, name, record, hex.EncodeToString(sum[:])}
}

// Prover finds out who wrote the records of pilots and prerequisites down, beside passes: by the verified signature of the commit that wrote a record down first, or
// by whoever the forge says has approved the pull request that brought that commit. What is proven is entered into the ledger, once; then a pass
// is asked for. It is an Observer: after each pass it looks at what is new.
type Prover struct {
	idleObserver
	*Reconciler
	Approvers Approvers
	Kick      func(context.Context) // makes a pass

	wakes   chan struct{} // at most one is waiting
	wrote   map[recordKey]writing
	trouble trouble
}

// writing is by which commits a record was written down.
type writing struct {
	sayings string // of which history that was found out
	commits []string
}

// How records are looked at.
const (
	maxBatch = 20               // of records that nobody waits for
	settled  = 10 * time.Minute // for which an answer stands that only another history or other signers change: keys have times, and disks fail
)

// Proofs remember what a prover has found out. A nil *Proofs knows nothing. It is safe for concurrent use.
type Proofs struct {
	signers *repo.Signers // nil: signatures count for nothing
	asks    bool          // somebody could say who wrote records

	mu     sync.Mutex
	proven map[recordKey]observed.Proof
	doubts map[recordKey]unproven
	people peopleKnown
}

// unproven is why nobody is known to have written a record.
type unproven struct {
	why     string
	sure    bool // everybody who could say so was asked, and did not
	unasked bool // nobody was, yet
	until   time.Time
	by      string // what said so, while it stands until something of that changes; empty: somebody may say otherwise any time
	given   string // sayings and signers, likewise
}

// NewProver completes a prover whose exported fields are set, and has its reconciler believe it.
func NewProver(p *Prover) *Prover {
	p.wakes, p.wrote = make(chan struct{}, 1), map[recordKey]writing{}
	p.Proofs = &Proofs{signers: p.Approvers.Signers, asks: p.Approvers.Signers != nil || p.Approvers.Forge != nil, proven: map[recordKey]observed.Proof{}, doubts: map[recordKey]unproven{}}
	p.Observers = append(p.Observers, p)
	return p
}

// Passed implements Observer.
func (p *Prover) Passed(Done) {
	select {
	case p.wakes <- struct{}{}:
	default:
	}
}

// Run finds out who wrote records until the context ends.
func (p *Prover) Run(ctx context.Context) error {
	for {
		found, err := p.step(ctx)
		if news := p.trouble.news(err); news && err != nil && ctx.Err() == nil {
			p.Log.Error("nobody finds out who wrote records", "err", err)
		}
		if found > 0 {
			p.Kick(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wakes:
		case <-time.After(again):
		}
	}
}

// step looks once at every record of the branch that is not proven, and says how many it could prove.
func (p *Prover) step(ctx context.Context) (found int, err error) {
	head, err := p.Repo.Resolve(p.Branch)
	if err != nil {
		return 0, nil // passes tell of it
	}
	w, err := p.load(ctx, head.ID)
	if problems := (desired.Problems)(nil); errors.As(err, &problems) {
		return 0, nil // likewise
	}
	if err != nil {
		return 0, err
	}
	return p.find(ctx, w, func() bool {
		now, err := p.Repo.Resolve(p.Branch)
		return err == nil && now.ID != head.ID
	})
}

// find looks once at every record of a commit that is not proven, and at the people of its prerequisites, and says how much it could prove.
func (p *Prover) find(ctx context.Context, w wanted, moved func() bool) (found int, err error) {
	if found, err = p.records(ctx, w, moved); err != nil {
		return found, err
	}
	more, err := p.people(ctx, w, moved)
	return found + more, err
}

// records looks once at every record of a commit that is not proven, and says how many it could prove. What halts or ends something comes first, and
// is entered before anything else is looked at. Once it has moved on, what is left waits for the next time.
func (p *Prover) records(ctx context.Context, w wanted, moved func() bool) (found int, err error) {
	entered, _ := p.provenRecords(ctx) // what a ledger that cannot be read has is found out once more
	by := w.commit.ID + " " + p.Approvers.Signers.Stamp()
	var records []statedRecord
	for _, s := range recordsOf(w.stated) {
		if _, proven := entered.proofs[s.recordKey]; !proven && p.Proofs.due(s.recordKey, p.Now(), by) {
			records = append(records, s)
		}
	}
	if len(records) == 0 {
		return 0, nil
	}
	if p.Approvers.Signers == nil && p.Approvers.Forge == nil {
		for _, s := range records {
			p.Proofs.doubt(s.recordKey, unproven{why: errNobodyToAsk.Error(), until: p.Now().Add(again)})
		}
		return 0, nil
	}
	origins := p.origins()
	sayings, err := origins.sayings(ctx, w.commit, records)
	if err != nil {
		return 0, err
	}
	said := map[recordKey][]repo.Saying{}
	for i, s := range records {
		said[s.recordKey] = sayings[i]
	}
	p.forget(said)
	known, at := p.Approvers.witnesses(p.Repo), p.Now() // what one look finds out is known at once
	for _, batch := range batchesOf(records) {
		rows, err := p.look(ctx, batch, said, origins, known, by, at)
		if found += len(rows); err != nil {
			return found, err
		}
		if batch[0].turn != lookLater && len(rows) > 0 && p.Kick != nil {
			p.Kick(ctx)
		}
		if batch[0].turn == lookLater && moved != nil && moved() {
			p.Passed(Done{})
			return found, nil
		}
	}
	return found, nil
}

// look finds out who wrote some records, and enters what it finds.
func (p *Prover) look(ctx context.Context, records []statedRecord, said map[recordKey][]repo.Saying, o *origins, known *witnesses, by string,
	at time.Time) (rows []ledger.RecordProof, err error) {
	proofs := map[recordKey]observed.Proof{}
	for _, s := range records {
		given := givenBy(said[s.recordKey], p.Approvers.Signers.Stamp())
		if p.Proofs.stands(s.recordKey, given, by, p.Now()) {
			continue
		}
		proof, doubt := p.prove(ctx, s, said[s.recordKey], o, known)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if doubt != nil {
			if doubt.by != "" {
				doubt.by, doubt.given = by, given
			}
			p.Proofs.doubt(s.recordKey, *doubt)
			continue
		}
		proofs[s.recordKey] = proof
		p.Log.Info("record is proven", "of", s.name, "record", s.record, "by", proof.By, "known", proof.Source)
		rows = append(rows, ledger.RecordProof{Section: s.section, Name: s.name, Record: s.record, Digest: s.digest, By: proof.By, Source: proof.Source, At: at})
	}
	if len(rows) > 0 {
		p.Records.Try(ctx, func(l *ledger.Ledger) error { return l.ProveRecords(ctx, rows) })
	}
	for key, proof := range proofs { // once the ledger says since when
		p.Proofs.prove(key, proof)
	}
	return rows, nil
}

// errNobodyToAsk says that a service knows nobody who could say who wrote a record.
var errNobodyToAsk = errors.New("no signers and no forge are known that could say who wrote it: a service has them in repository.signatures or forge, " +
	"a command in --allowed-signers or git's gpg.ssh.allowedSignersFile")

// forget forgets by which commits records were written that nobody asks about any more.
func (p *Prover) forget(asked map[recordKey][]repo.Saying) {
	maps.DeleteFunc(p.wrote, func(k recordKey, _ writing) bool {
		_, still := asked[k]
		return !still
	})
}

// givenBy is what an answer about a record depends on.
func givenBy(sayings []repo.Saying, signers string) string {
	b, _ := json.Marshal(sayings) // has only what JSON has
	sum := sha256.Sum256(append(b, signers...))
	return hex.EncodeToString(sum[:])
}

// When a record is looked at.
const (
	lookFirst    = iota // it may halt or end something, or have it go on
	lookTogether        // agreements: those that are known at once count by their own time
	lookLater           // all else
)

// batchesOf are records in the order in which they are looked at, in parts that are entered together.
func batchesOf(records []statedRecord) (batches [][]statedRecord) {
	turns := map[int][]statedRecord{}
	for _, s := range records {
		turns[s.turn] = append(turns[s.turn], s)
	}
	rest := turns[lookLater]
	slices.SortStableFunc(rest, func(a, b statedRecord) int { return strings.Compare(a.at, b.at) }) // as their commits are, more or less
	for _, turn := range []int{lookFirst, lookTogether} {
		if len(turns[turn]) > 0 {
			batches = append(batches, turns[turn])
		}
	}
	return slices.AppendSeq(batches, slices.Chunk(rest, maxBatch))
}

// pilotTurn is when a record of a pilot is looked at.
func pilotTurn(r desired.PilotRecord) int {
	switch {
	case r.Kind == desired.RecordHalt, r.Kind == desired.RecordResume, r.Kind == desired.RecordClosure,
		r.Kind == desired.RecordAuthorisation && r.Decision == "deny":
		return lookFirst
	case r.Kind == desired.RecordAgreement:
		return lookTogether
	}
	return lookLater
}

// prerequisiteTurn is when a record of a prerequisite is looked at.
func prerequisiteTurn(r desired.PrerequisiteRecord) int {
	if r.Kind == desired.RetireRecord {
		return lookFirst
	}
	return lookLater
}

// statedRecord is a record of a site.
type statedRecord struct {
	recordKey
	by, at string
	turn   int
}

// recordsOf are all records of a site.
func recordsOf(s desired.Site) (all []statedRecord) {
	for name, p := range s.Pilots {
		for record, r := range p.Records {
			all = append(all, statedRecord{recordKeyOf(pilotSection, name, record, r), r.By, r.At, pilotTurn(r)})
		}
	}
	for name, p := range s.Prerequisites {
		for record, r := range p.Records {
			all = append(all, statedRecord{recordKeyOf(prerequisiteSection, name, record, r), r.By, r.At, prerequisiteTurn(r)})
		}
	}
	slices.SortFunc(all, func(a, b statedRecord) int {
		return slices.Compare([]string{a.section, a.name, a.record}, []string{b.section, b.name, b.record})
	})
	return all
}

// prove says who wrote a record, or why nobody is known to have. The commit that wrote it down first must say the whole record as it is now: else
// somebody else may have written the rest of it.
func (p *Prover) prove(ctx context.Context, s statedRecord, sayings []repo.Saying, o *origins, known *witnesses) (observed.Proof, *unproven) {
	doubt := func(sure, settles bool, why error) (observed.Proof, *unproven) {
		d := unproven{why: why.Error(), sure: sure, until: p.Now().Add(again)}
		if settles {
			d.until, d.by = p.Now().Add(settled), "history"
		}
		return observed.Proof{}, &d
	}
	commits, sure, why := p.wroteDown(ctx, s, sayings, o)
	if why != nil {
		return doubt(sure, sure, why)
	}
	var proof plan.RecordProof
	for _, commit := range commits {
		if proof = known.proveCommit(ctx, s.by, commit); proof.Doubt != "" {
			return doubt(known.silent == nil, p.Approvers.Forge == nil, errors.New(proof.Doubt))
		}
	}
	return observed.Proof{By: proof.Who, Source: proof.Source}, nil
}

// wroteDown are the commits that wrote a record down, as origins say. What they are by the same history is found out once.
func (p *Prover) wroteDown(ctx context.Context, s statedRecord, sayings []repo.Saying, o *origins) (commits []string, sure bool, why error) {
	by := givenBy(sayings, "")
	if was, ok := p.wrote[s.recordKey]; ok && was.sayings == by {
		return was.commits, false, nil
	}
	if commits, sure, why = o.of(ctx, s, sayings); why == nil {
		p.wrote[s.recordKey] = writing{by, commits}
	}
	return commits, sure, why
}

// provenRecords is what the ledger knows of who wrote records.
type provenRecords struct {
	proofs map[recordKey]observed.Proof
	proven map[recordKey]time.Time   // when it was first known who wrote it
	gone   map[[2]string][]recordKey // that were published of what has gone since, by section and name
	people peopleKnown
}

func (r *Reconciler) provenRecords(ctx context.Context) (k provenRecords, err error) {
	err = r.Records.ask(ctx, func(l *ledger.Ledger) error { return k.read(ctx, l) })
	return k, err
}

func (k *provenRecords) read(ctx context.Context, l *ledger.Ledger) error {
	*k = provenRecords{proofs: map[recordKey]observed.Proof{}, proven: map[recordKey]time.Time{}, gone: map[[2]string][]recordKey{}}
	for _, section := range []string{pilotSection, prerequisiteSection} {
		proofs, err := l.RecordProofs(ctx, section)
		if err != nil {
			return err
		}
		for _, p := range proofs {
			key := recordKey{p.Section, p.Name, p.Record, p.Digest}
			k.proofs[key], k.proven[key] = observed.Proof{By: p.By, Source: p.Source}, p.At
			if of := [2]string{p.Section, p.Name}; p.Gone {
				k.gone[of] = append(k.gone[of], key)
			}
		}
	}
	for _, section := range []string{answersSection, commitsSection} {
		rows, err := l.RecordProofs(ctx, section)
		if err != nil {
			return err
		}
		k.people.add(rows)
	}
	return nil
}

// ask says whether somebody could say who wrote records.
func (p *Proofs) ask() bool { return p != nil && p.asks }

// due says whether a record is to be looked at. By is what a settled doubt may stand by.
func (p *Proofs) due(k recordKey, now time.Time, by string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, proven := p.proven[k]
	was := p.doubts[k]
	return !proven && (!now.Before(was.until) || was.by != "" && was.by != by)
}

// stands says whether a settled doubt still stands, since nothing has changed that it was given by; then by something else now.
func (p *Proofs) stands(k recordKey, given, by string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.doubts[k]
	if was.by == "" || was.given != given || !now.Before(was.until) {
		return false
	}
	was.by = by
	p.doubts[k] = was
	return true
}

func (p *Proofs) prove(k recordKey, proof observed.Proof) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proven[k] = proof
	delete(p.doubts, k)
}

func (p *Proofs) doubt(k recordKey, why unproven) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubts[k] = why
}

// of is what is known of a record: a proof, or why there is none.
func (p *Proofs) of(k recordKey) (observed.Proof, bool, unproven) {
	if p == nil {
		return observed.Proof{}, false, unproven{why: "the service of the site has not found out who wrote it"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	proof, ok := p.proven[k]
	why, looked := p.doubts[k]
	if !looked {
		why = unproven{why: "nobody has found out yet who wrote it", unasked: true}
	}
	return proof, ok, why
}

// proofs adds to what is known of a pilot who wrote its records; nothing: why none of them counts. Unsure is why that is not known of one of which it may be later; unasked: somebody is
// about to find out.
func (r *Reconciler) proofs(known pilotLedger, nothing, name string, p desired.Pilot, f *plan.PilotFacts) (unsure string, unasked bool) {
	f.Proofs, f.Doubts, f.ProvenAt = map[string]observed.Proof{}, map[string]string{}, map[string]time.Time{}
	if nothing != "" {
		for record := range p.Records {
			f.Doubts[record] = nothing
		}
		return "", false
	}
	byGeneration(p, f)
	for _, record := range p.RecordsInOrder() {
		k := recordKeyOf(pilotSection, name, record, p.Records[record])
		if proof, ok := known.proofs[k]; ok {
			f.Proofs[record] = proof
			if at, sooner := f.ProvenAt[record]; !sooner || known.proven[k].Before(at) {
				f.ProvenAt[record] = known.proven[k]
			}
			continue
		}
		proof, ok, doubt := r.Proofs.of(k)
		if ok {
			f.Proofs[record] = proof
			continue
		}
		if _, ok := f.Proofs[record]; ok {
			continue
		}
		f.Doubts[record] = doubt.why
		unasked = unasked || doubt.unasked
		if !doubt.sure {
			unsure = fmt.Sprintf("record %s: %s", record, doubt.why)
		}
	}
	return unsure, unasked
}

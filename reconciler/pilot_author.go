package reconciler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/propose"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// PilotAuthor writes into a site what people have to say of pilots: each record a file of its own, so that people at work at once do not
// meet; and what a pilot is, field by field.
type PilotAuthor struct {
	Author
	By  string    // who says it
	At  time.Time // when it happened; zero: now
	Dry bool      // only show it
	// Packages and Payloads read packages, to see what they require.
	Packages *build.Packages
	Payloads *fetch.Fetcher
	// Known is the ledger that knows who wrote records and what FECs run; nil: all that is taken for granted.
	Known *Records
	// Doubt is why nobody will know that By wrote it; empty: somebody will.
	Doubt string
}

// PilotWord is what somebody has to say of a pilot: it looks at the pilot and gives what is to be written.
type PilotWord interface {
	say(PilotSeen) (PilotChange, error)
}

// PilotSeen is a pilot as it is when somebody has something to say of it.
type PilotSeen struct {
	Name  string
	Pilot desired.Pilot
	Site  desired.Site
	Files artifact.Files
	By    string
	At    time.Time
	Now   plan.PilotNow // by what the ledger knows or, without one, as if everybody whom records name had written them
	known bool          // by the ledger
	used  bool          // the ledger knows who wrote records of a pilot of this name
	// behind is why what is said may be of a pilot that was: its last agreement has not been fetched; empty: it has.
	behind string
	// unread is why it is not known what its packages say.
	unread string
	facts  plan.PilotFacts
	when   time.Time // Now is
	// unmet is what packages of a digest require and nobody provides; false: nobody knows.
	unmet func(subject string) ([]string, bool, error)
	// mirrorAt is what differs at an address from the packages of a digest.
	mirrorAt func(subject, address string) (observed.Differences, error)
}

// PilotChange is what is to be written of a pilot.
type PilotChange struct {
	Record   *desired.PilotRecord // another one; nil: none
	Agreed   *desired.PilotRecord // to the terms as they then are, in the same commit; nil: nobody agrees
	Pilot    *desired.Pilot       // as it is to be, without its records; nil: as it is
	Apart    []Apart              // what of Pilot gets a file of its own
	Blobs    []remote.Blob        // that the blob store must have before
	Title    string               // of the commit
	Warnings []string             // why it may not count
	Terms    []string             // that somebody agrees to, for people
}

// Apart is a field of a pilot that programs alone write: its file is made anew each time.
type Apart struct {
	File  string   // without folder and ending
	Path  []string // below the pilot
	Value any
}

// PilotSaid is what became of a word.
type PilotSaid struct {
	Pilot    string           `json:"pilot"`
	Record   string           `json:"record,omitempty"`
	Agreed   string           `json:"agreed,omitempty"`   // record by which whoever says it agrees to the terms as they then are
	Terms    []string         `json:"terms,omitempty"`    // PATH: VALUE, that are agreed to
	TermsOf  string           `json:"termsOf,omitempty"`  // their digest
	Unagreed bool             `json:"unagreed,omitempty"` // whoever says it has changed the terms and may agree to that, which is still to be done
	Problem  string           `json:"problem,omitempty"`  // that the record is about
	Subject  string           `json:"subject,omitempty"`
	Files    []string         `json:"files"`
	Text     string           `json:"text,omitempty"` // of what would be written
	Commit   string           `json:"commit,omitempty"`
	Branch   string           `json:"branch,omitempty"`
	Change   string           `json:"change,omitempty"` // address of a pull request
	Before   string           `json:"before,omitempty"` // state of the pilot
	State    string           `json:"state"`            // once this counts
	Next     []plan.Gate      `json:"next"`             // what somebody must do then
	Doubts   []string         `json:"doubts,omitempty"` // why it may not count
	Warnings desired.Problems `json:"warnings,omitempty"`
}

// Say writes one word.
func (a *PilotAuthor) Say(ctx context.Context, pilot string, word PilotWord) (PilotSaid, error) {
	return whileMoving(&a.Author, func() (PilotSaid, error) { return a.once(ctx, pilot, word) })
}

func (a *PilotAuthor) once(ctx context.Context, pilot string, word PilotWord) (PilotSaid, error) {
	said := PilotSaid{Pilot: pilot, Files: []string{}, Next: []plan.Gate{}}
	t, err := a.target(ctx)
	if err != nil {
		return said, err
	}
	defer t.close()
	loaded, problems, err := check(ctx, t.files, a.Loader, a.Verdicts, a.Now())
	if err != nil {
		return said, err
	}
	if len(problems.Blocking()) > 0 {
		return said, problems
	}
	seen, err := a.look(ctx, t, pilot, wanted{site: loaded.Site, files: t.files}, t.files.Files(), "")
	if err != nil {
		return said, err
	}
	seen.unmet = func(subject string) ([]string, bool, error) {
		return a.unmet(ctx, wanted{site: loaded.Site, files: t.files}, seen.deployed(), subject)
	}
	seen.mirrorAt = func(subject, address string) (observed.Differences, error) {
		return CheckMirror(ctx, seen.deployed(), subject, address)
	}
	_, isNew := word.(RequestPilot)
	if _, there := loaded.Site.Pilots[pilot]; !there && !isNew {
		return said, cmp.Or(seen.fetched(), unknownPilot(loaded.Site, pilot))
	}
	change, err := word.say(seen)
	if err != nil {
		return said, err
	}
	if err := seen.agree(&change); err != nil {
		return said, err
	}
	e := &pilotEdit{siteEdit: newSiteEdit(t.files, loaded), name: pilot, change: change}
	if err := e.make(ctx); err != nil {
		return said, err
	}
	said.Record, said.Agreed, said.Files, said.Text, said.Terms = e.record, e.agreed, slices.Sorted(maps.Keys(e.content)), e.text(), change.Terms
	if change.Record != nil {
		said.Subject, said.Problem = change.Record.Subject, change.Record.Problem
	}
	if change.Terms != nil {
		said.TermsOf = change.Record.Terms
	}
	if !isNew {
		said.Before = seen.Now.State
	}
	if err := a.foresee(ctx, t, e, seen, &said); err != nil || a.Dry || len(e.content) == 0 {
		return said, err
	}
	if err := a.upload(ctx, change.Blobs...); err != nil {
		return said, err
	}
	made, err := a.commit(ctx, t, e.content, change.Title, e.body(a.By), "pilot/"+pilot)
	said.Commit, said.Branch, said.Change = made.Commit, made.Branch, made.Change
	return said, err
}

// look is a pilot as a commit has it. Without a ledger, what its packages say and who wrote its records is taken for granted; with one, only who writes
// the record that is being written.
func (a *PilotAuthor) look(ctx context.Context, t *target, name string, w wanted, files artifact.Files, writing string) (PilotSeen, error) {
	p := w.site.Pilots[name]
	last := afterAll(p, a.Now().UTC().Truncate(time.Second))
	seen := PilotSeen{Name: name, Pilot: p, Site: w.site, Files: files, By: a.By, At: a.At, when: later(a.Now(), last)}
	if a.At.IsZero() {
		seen.At = last
	}
	f := plan.PilotFacts{Proofs: map[string]observed.Proof{}, Unmet: map[string][]string{}, Signed: map[string]string{}, Masked: map[string][]string{}, Members: w.site.PilotMembers(p)}
	published := observed.Generation{}
	if a.Known != nil {
		published = (&Reconciler{Root: a.Known.root}).published()
	}
	if err := a.know(ctx, t, &seen, &f, published); err != nil {
		return seen, err
	}
	for record, r := range p.Records {
		if !seen.known || record == writing {
			f.Proofs[record] = observed.Proof{By: r.By, Source: takenForGranted}
		}
	}
	f.Subject, _ = seen.subject("") // without one, nothing is frozen
	if seen.known {
		if was := placeOf(published, name); was != nil && len(plan.Strays(name, p, was.Deployed)) > 0 {
			f.Deployed = was.Deployed
		}
		if err := a.reconciler().repositoryFacts(ctx, w, name, &f); err != nil {
			seen.unread = err.Error()
		}
	} else {
		for _, subject := range append(seen.subjects(), f.Subject) {
			f.Unmet[subject], f.Signed[subject] = []string{}, ""
		}
		for update := range p.Updates {
			f.Masked[update] = []string{}
		}
	}
	seen.facts, seen.when = f, later(seen.when, seen.At)
	seen.Now = plan.Pilot(name, p, f, seen.when)
	return seen, nil
}

// know adds what the ledger knows of a pilot, if there is one, beside what is published.
func (a *PilotAuthor) know(ctx context.Context, t *target, seen *PilotSeen, f *plan.PilotFacts, published observed.Generation) error {
	if a.Known == nil {
		return nil
	}
	r := a.reconciler()
	if was := placeOf(published, seen.Name); was != nil {
		f.Members, f.Left = plan.PilotTakes(seen.Site, seen.Pilot, plan.PilotHad(seen.Site, *was))
	}
	k := r.pilotLedger(ctx, runsOf(seen.Pilot, f.Members))
	switch {
	case errors.Is(k.err, ledger.ErrNone):
		return nil // no service has run there yet
	case k.err != nil:
		return fmt.Errorf("read what the service knows of pilots: %w", k.err)
	}
	seen.used = k.proves([2]string{pilotSection, seen.Name})
	in, _, _ := a.Known.read(ctx)
	f.Agreed = agreedIn(published, seen.Name)
	if !lastIn(seen.Pilot, f.Agreed) {
		if there, err := t.repo.Reaches(t.commit.ID, published.Commit); err == nil && !there {
			seen.behind = fmt.Sprintf("commit %.12s is published, which branch %s does not have: fetch it first", published.Commit, t.branch)
			f.Agreed = whole(seen.Pilot, f.Agreed)
		}
	}
	r.proofs(k, usurps(k.provenRecords, pilotSection, seen.Name, seen.Pilot.Records), seen.Name, seen.Pilot, f)
	k.seen(seen.Name, f, nil, time.Time{})
	f.FECs, seen.known = k.runs(seen.Pilot, f.Members, in), true
	return nil
}

// reconciler is one that finds out what the service finds out.
func (a *PilotAuthor) reconciler() *Reconciler {
	return &Reconciler{Records: a.Known, Payloads: a.Payloads, Packages: a.Packages, Log: a.Log, Now: a.Now}
}

// unmet is what packages of a digest require and nobody provides, as the service will see it.
func (a *PilotAuthor) unmet(ctx context.Context, w wanted, p desired.Pilot, subject string) ([]string, bool, error) {
	j := packageJudge{r: a.reconciler(), w: w, p: p}
	return j.unmet(ctx, subject, tree.PilotSnapshots(p)[subject])
}

// subjects are the digests of the packages after each update.
func (s PilotSeen) subjects() (all []string) {
	for _, tree := range s.Pilot.Trees() {
		all = append(all, tree.Subject())
	}
	return all
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// pilotSkew is how far ahead the clock of whoever wrote the last record may be.
const pilotSkew = 5 * time.Minute

// afterAll is a moment after every record of a pilot, if that is about now: of what is said twice, the later counts.
func afterAll(p desired.Pilot, now time.Time) time.Time {
	at := now
	for _, r := range p.Records {
		if t, err := time.Parse(time.RFC3339, r.At); err == nil && !t.Before(at) && t.Before(now.Add(pilotSkew)) {
			at = t.Add(time.Second)
		}
	}
	return at
}

// deployed is the pilot with the packages that sites have, whatever it states of these now.
func (s PilotSeen) deployed() desired.Pilot { return s.facts.Deployed.Of(s.Pilot) }

// subject is the digest of what a pilot offers first, or after an update.
func (s PilotSeen) subject(update string) (string, error) {
	p := s.deployed()
	if p.Scope == desired.PilotOfFECs {
		subject, ok := desired.ReleaseSubject(s.Site, s.Files, p.Software, p.Version)
		switch {
		case update != "":
			return "", fmt.Errorf("pilot %s is of FECs, which have no updates: a new version is a new pilot", s.Name)
		case !ok:
			return "", fmt.Errorf("the site has no %s %s: pomona release puts it there", p.Software, p.Version)
		}
		return subject, nil
	}
	if len(p.Branches) == 0 {
		return "", fmt.Errorf("pilot %[1]s has no packages yet: pomona pilot %[1]s add-packages FOLDER", s.Name)
	}
	if update == "" {
		return p.Snapshot().Subject(), nil
	}
	if _, ok := p.Updates[update]; !ok {
		err := fmt.Errorf("pilot %s has no update %q", s.Name, update)
		if near := didYouMean(update, p.Updates); near != "" {
			err = fmt.Errorf("%w: %s", err, near)
		}
		return "", err
	}
	tree, ok := p.Trees()[update]
	if !ok {
		return "", fmt.Errorf("update %s adds to packages that pilot %s does not have: give it another base", update, s.Name)
	}
	return tree.Subject(), nil
}

func unknownPilot(site desired.Site, name string) error {
	p := desired.Problem{Path: desired.CUEPath("pilots", name), Text: "the site has no such pilot", Advice: fmt.Sprintf("ask for it: pomona pilot %s request", name)}
	if near := didYouMean(name, site.Pilots); near != "" {
		p.Advice = near
	}
	return desired.Problems{p}
}

// foresee evaluates the site as it would be, sees that nothing has changed but what was meant to, and how far the pilot then is.
func (a *PilotAuthor) foresee(ctx context.Context, t *target, e *pilotEdit, before PilotSeen, said *PilotSaid) error {
	after, problems, err := check(ctx, t.files.With(e.content), a.Loader, a.Verdicts, a.Now())
	if err != nil {
		return err
	}
	if len(problems.Blocking()) > 0 {
		return problems
	}
	if more := e.beyond(after.Site); len(more) > 0 {
		return propose.ByHand(said.Files[0], 0, 0, desired.CUEPath("pilots", e.name), "this would also change "+desired.Few(more), said.Text)
	}
	now, err := a.look(ctx, t, e.name, wanted{site: after.Site, files: t.files}, t.files.With(e.content).Files(), said.Record)
	if err != nil {
		return err
	}
	if r := e.change.Record; r != nil && r.Kind == desired.RecordClosure && r.Outcome == "promoted" {
		now = now.granted() // else it had been refused
	}
	said.Unagreed = e.change.Pilot != nil && now.Now.Unagreed != "" && now.mayAgree()
	said.State, said.Doubts = now.Now.State, slices.Clone(e.change.Warnings)
	if said.Record != "" && slices.Contains(now.Now.Void, said.Record) {
		said.Doubts = append(said.Doubts, "it is void: it is about something else than what is frozen")
	}
	if e.change.Record != nil {
		said.Doubts = append(said.Doubts, unmet(before.Now, *e.change.Record)...)
		said.Doubts = append(said.Doubts, now.idle(*e.change.Record)...)
		said.Doubts = append(said.Doubts, unmeasured(now.Now, said.Record, *e.change.Record)...)
	}
	if now.behind != "" {
		said.Doubts = append(said.Doubts, now.behind)
	}
	if now.unread != "" && e.change.Pilot == nil { // else its packages may be on their way
		said.Doubts = append(said.Doubts, "what its packages say is not known here: "+now.unread)
	}
	said.Doubts = append(said.Doubts, a.datedBack(e.change.Record)...)
	if a.Doubt != "" {
		said.Doubts = append(said.Doubts, a.Doubt)
	}
	said.Next = append(said.Next, next(now)...)
	for _, p := range problems {
		if p.Warning && strings.HasPrefix(p.Path, desired.CUEPath("pilots", e.name)) {
			said.Warnings = append(said.Warnings, p)
		}
	}
	return nil
}

// datedBack warns of a record that is older than what anybody knows of it.
func (a *PilotAuthor) datedBack(r *desired.PilotRecord) (doubts []string) {
	if r == nil || a.At.IsZero() || a.Now().Sub(a.At) <= 24*time.Hour {
		return nil
	}
	doubts = append(doubts, fmt.Sprintf("recorded as of %s; soak and deadlines count from when it is proven", observed.Minute(a.At)))
	if r.Kind == desired.RecordCall && desired.Expired(r.Closes, a.Now()) {
		doubts = append(doubts, fmt.Sprintf("the call has closed with %s: no site that has not answered by then takes part", r.Closes))
	}
	return doubts
}

// pilotEdit is something new about a pilot on its way into the files of a commit.
type pilotEdit struct {
	siteEdit
	name   string
	change PilotChange
	record string // name of the new record
	agreed string // likewise, by which somebody agrees to what changes
}

func (e *pilotEdit) make(ctx context.Context) error {
	e.want.Pilots = maps.Clone(e.want.Pilots)
	if e.want.Pilots == nil {
		e.want.Pilots = map[string]desired.Pilot{}
	}
	if e.change.Pilot != nil {
		if err := e.declare(ctx); err != nil {
			return err
		}
	}
	for _, r := range []struct {
		says *desired.PilotRecord
		name *string
	}{{e.change.Record, &e.record}, {e.change.Agreed, &e.agreed}} {
		if r.says == nil {
			continue
		}
		*r.name = recordName(e.name, *r.says)
		if err := e.write(*r.name, *r.says); err != nil {
			return err
		}
	}
	return nil
}

// write puts a record into a file of its own.
func (e *pilotEdit) write(name string, r desired.PilotRecord) error {
	p := e.want.Pilots[e.name]
	file, err := propose.Written(e.fileOf(name), "", propose.Statement{Path: []string{"pilots", e.name, "records", name}, Value: r})
	if err != nil {
		return err
	}
	e.content[file.Path] = file.Content
	p.Records = maps.Clone(p.Records)
	if p.Records == nil {
		p.Records = map[string]desired.PilotRecord{}
	}
	p.Records[name] = r
	e.want.Pilots[e.name], err = asLoaded(p)
	return err
}

// recordName is a name that nobody else gives at the same time: of two alike, one is enough.
func recordName(pilot string, r desired.PilotRecord) string {
	b, _ := json.Marshal([]any{pilot, r}) // what has been made of flags has no value that JSON lacks
	return fmt.Sprintf("%s-%.8s-%.8s", r.Kind, strings.ReplaceAll(r.At, "-", ""), artifact.Sum(b))
}

// fileOf is where a new file about the pilot goes: all that is said of it must lie in one folder.
func (e *pilotEdit) fileOf(what string) string {
	folder, ok := e.loaded.Folder(desired.CUEPath("pilots", e.name))
	if !ok {
		folder = "pilots/" + e.name
	}
	if path.Base(folder) != e.name {
		what = e.name + "-" + what
	}
	return path.Join(folder, strings.ReplaceAll(what, "_", "-")+".cue") // CUE leaves out files that end in _test or _tool
}

// asLoaded is a pilot as it is read: what says nothing is not there.
func asLoaded(p desired.Pilot) (out desired.Pilot, err error) {
	b, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	return out, err
}

// text is what is new or edited, as people read it.
func (e *pilotEdit) text() string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(e.content)) {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "// %s\n%s", name, e.content[name])
	}
	return b.String()
}

// body is the text of the commit.
func (e *pilotEdit) body(by string) string {
	var b strings.Builder
	if r := e.change.Record; r != nil {
		for _, line := range []struct{ what, value string }{{"Subject", r.Subject}, {"Update", r.Update}, {"Record", e.record}} {
			if line.value != "" {
				fmt.Fprintf(&b, "%s: %s\n", line.what, line.value)
			}
		}
	}
	if e.agreed != "" {
		fmt.Fprintf(&b, "Agreement: %s\n", e.agreed)
	}
	fmt.Fprintf(&b, "By: %s\n", by)
	return b.String()
}

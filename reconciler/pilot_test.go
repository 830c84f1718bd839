package reconciler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// People of the tests' pilot.
const outsider, owner, coordinator, developer, authoriser, tester = "mallory@example.org", "diagnostics@example.org", "cora@example.org", "dave@example.org", "anna@example.org", "tess@example.org"

// piloting is a site that offers bpm 1.1.0 to kgp2cu01, and then to kgp2cu03; its people sign with ssh keys.
type piloting struct {
	*follower
	keys   string // folder, a file for each person
	prover *reconciler.Prover
	kicks  int
	kicked func() // nil: nothing is done then
	n      int    // of records
	agreed int    // of agreements
}

func newPiloting(t *testing.T) *piloting {
	t.Helper()
	f := newFollower(t)
	p := &piloting{follower: f, keys: t.TempDir()}
	f.change("fecs/fecs.cue", `software: bpm: {version: "dev", start: true, until: "2027-01-31", reason: "long test"}`, `software: bpm: version: "1.0.0"`)
	f.change("pilots.cue", "", `package site

pilots: try: {
	scope:       "fec"
	description: "the new averaging of positions, on one FEC before the others"
	owner:       "`+owner+`"
	ticket:      "https://tickets.example.org/browse/DIAG-118"
	software:    "bpm"
	version:     "1.1.0"
	expires:     "2026-12-31"
	success: noise: description: "positions of a still beam scatter by less than 20 micrometres"
	roles: {coordinator: "`+coordinator+`", developer: "`+developer+`", authoriser: "`+authoriser+`", testers: ["`+tester+`"]}
	tracker: "https://tickets.example.org/browse/DIAG-119"
	impact: {services: ["bpm"], resources: "none beside what it has"}
	rollout: waves: [{fecs: ["kgp2cu01"], soak: "1d"}, {fecs: ["kgp2cu03"]}]
}
`)
	var allowed strings.Builder
	for _, who := range []string{owner, coordinator, developer, authoriser, tester, outsider} {
		key := filepath.Join(p.keys, who)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		public, err := os.ReadFile(key + ".pub")
		must(t, err)
		fmt.Fprintf(&allowed, "%s namespaces=\"git\" %s", who, public)
	}
	must(t, os.WriteFile(filepath.Join(p.keys, "allowed"), []byte(allowed.String()), 0o600))
	p.believe(true)
	return p
}

// believe has a prover find out who wrote records; without signers it can ask nobody.
func (p *piloting) believe(signers bool) {
	p.t.Helper()
	var approvers reconciler.Approvers
	if signers {
		s, err := repo.OpenSigners(repo.SignerFiles{SSH: filepath.Join(p.keys, "allowed")}, time.Now)
		must(p.t, err)
		approvers.Signers = s
	}
	p.prover = reconciler.NewProver(&reconciler.Prover{Reconciler: p.Reconciler, Approvers: approvers, Kick: func(context.Context) {
		if p.kicks++; p.kicked != nil {
			p.kicked()
		}
	}})
}

// restarted is what comes after the death of a service.
func (p *piloting) restarted() *piloting {
	p.t.Helper()
	again := &piloting{follower: p.follower.restarted(), keys: p.keys, n: p.n, agreed: p.agreed}
	again.believe(true)
	return again
}

// lost is what comes after the loss of the ledger.
func (p *piloting) lost() *piloting {
	p.t.Helper()
	must(p.t, p.Records.Close())
	for _, ext := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(filepath.Join(p.Root, ".pomona", "ledger.db"+ext)) // there may be none
	}
	again := &piloting{follower: follow1(p.t, p.site, p.Root), keys: p.keys, n: p.n, agreed: p.agreed}
	again.Now = p.Now
	again.believe(true)
	return again
}

// mayAgree are who may agree to the terms.
func (p *piloting) mayAgree() string {
	p.t.Helper()
	now, err := p.Pilots(p.t.Context())
	must(p.t, err)
	return strings.Join(now[0].MayAgree, " ")
}

// subject is the digest of what the pilot offers.
func (p *piloting) subject() string {
	p.t.Helper()
	return plan.PilotSubjects(p.stated(), worktree(p.t, p.dir).Files())["try"]
}

// stated is the site as it is checked out.
func (p *piloting) stated() desired.Site {
	p.t.Helper()
	site, problems, err := reconciler.Validate(p.t.Context(), worktree(p.t, p.dir), loader, nil, nil, p.Now())
	if err != nil || len(problems.Blocking()) > 0 {
		p.t.Fatal(problems, err)
	}
	return site
}

// agrees has somebody agree to the terms as they are, in a commit that they sign.
func (p *piloting) agrees(who string) {
	p.t.Helper()
	p.agreesAt(who, p.Now())
}

func (p *piloting) agreesAt(who string, at time.Time) {
	p.t.Helper()
	p.agreed++
	r := p.stated().Pilots["try"].Agreement(who, at.UTC().Format(time.RFC3339))
	b, err := json.Marshal(r)
	must(p.t, err)
	p.write(fmt.Sprintf("agreement%d.cue", p.agreed), fmt.Sprintf("package site\n\npilots: try: records: \"agreement-%d\": %s\n", p.agreed, b))
	p.signed(who, "agree")
}

// signed commits everything; nobody: that is not signed.
func (p *piloting) signed(signer, title string) {
	p.t.Helper()
	p.git("add", "-A")
	args := []string{"commit", "-qm", title}
	if signer != "" {
		args = append([]string{"-c", "gpg.format=ssh", "-c", "user.signingkey=" + filepath.Join(p.keys, signer)}, append(args, "-S")...)
	}
	p.git(args...)
}

// records writes a record in a commit that somebody signs; nobody: that is not signed.
func (p *piloting) records(signer, by, kind, fields string) {
	p.t.Helper()
	p.n++
	p.write(fmt.Sprintf("record%d.cue", p.n), fmt.Sprintf(`package site

pilots: try: records: "%s-%d": {
	kind: %q
	by:   %q
	at:   %q
	%s
}
`, kind, p.n, kind, by, p.Now().UTC().Format(time.RFC3339), fields))
	p.signed(signer, "record "+kind)
}

// mirrored brings the pilot to where its first wave opens.
func (p *piloting) mirrored() {
	p.t.Helper()
	p.agrees(owner)
	s := fmt.Sprintf("subject: %q\n\t", p.subject())
	p.records(coordinator, coordinator, "freeze", s)
	var checks []string
	for _, c := range []string{"installer-config", "docs", "dependencies", "site-impact", "clean-install"} {
		checks = append(checks, fmt.Sprintf(`%q: verdict: "pass"`, c))
	}
	p.records(tester, tester, "report", s+`compat: "backward-compatible", checks: {`+strings.Join(checks, ", ")+"}")
	p.records(authoriser, authoriser, "authorisation", s+`decision: "ok"`)
	p.records(developer, developer, "notes", s+`text: "positions are averaged over more turns"`)
}

// settled is what passes and the prover come to.
func (p *piloting) settled() {
	p.t.Helper()
	p.pass()
	for before := -1; before != p.kicks; {
		before = p.kicks
		must(p.t, p.prover.Step(p.t.Context()))
		p.pass()
	}
	before := p.link()
	p.pass()
	if p.link() != before {
		p.t.Error("a second pass publishes again")
	}
}

func (p *piloting) link() string {
	link, _ := os.Readlink(filepath.Join(p.Root, "current"))
	return link
}

// version is what a FEC gets of bpm.
func (p *piloting) version(fec string) string {
	p.t.Helper()
	root, err := os.OpenRoot(p.Root)
	must(p.t, err)
	defer root.Close()
	m, err := observe.Manifest(root, fec)
	must(p.t, err)
	for _, i := range m.Software {
		if i.Name == "bpm" {
			return i.Version
		}
	}
	return ""
}

// gets checks what both FECs get.
func (p *piloting) gets(when, first, second string) {
	p.t.Helper()
	if a, b := p.version("kgp2cu01"), p.version("kgp2cu03"); a != first || b != second {
		p.t.Errorf("%s: FECs get %s and %s, want %s and %s\n%s", when, a, b, first, second, p.log)
	}
}

// says is what a FEC proves with its token.
func (p *piloting) says(fec, state string) {
	p.t.Helper()
	x := observeRoot(p.t, p.Root).Index
	for _, f := range x.FECs {
		if f.Name == fec {
			must(p.t, p.Records.Use(p.t.Context(), func(l *ledger.Ledger) error {
				return l.AddReports(p.t.Context(), []ledger.FECReport{{FEC: fec, Serial: f.Serial, State: state, Source: observed.FromToken, Clock: p.Now(), At: p.Now()}})
			}))
		}
	}
}

func TestAPilotOfFECsOpensWaveAfterWaveAndExpires(t *testing.T) {
	p := newPiloting(t)
	p.settled()
	p.gets("requested", "1.0.0", "1.0.0")
	p.mirrored()
	p.pass()
	p.gets("nobody has found out who wrote its records", "1.0.0", "1.0.0")
	p.settled()
	p.gets("noted", "1.1.0", "1.0.0")
	g, _ := observeRoot(t, p.Root).Published()
	if len(g.Givens.Pilots) != 1 || g.Givens.Pilots[0].Waves[0] != p.subject() || g.Givens.Pilots[0].Waves[1] != "" {
		t.Errorf("the generation states %+v", g.Givens.Pilots)
	}
	p.later(time.Hour)
	p.says("kgp2cu01", "running")
	p.settled()
	p.later(23 * time.Hour)
	p.settled()
	p.gets("one day is not over", "1.1.0", "1.0.0")
	p.later(2 * time.Hour)
	p = p.restarted()
	p.settled()
	p.gets("it has run for a day", "1.1.0", "1.1.0")
	if got := p.serves("software/bpm"); !got["1.0.0"] || !got["1.1.0"] {
		t.Errorf("served are %v", got)
	}
	p.says("kgp2cu03", "running")
	p.later(42 * 24 * time.Hour)
	p.settled()
	p.gets("it has expired", "1.0.0", "1.0.0")
}

// serves are the versions of a software that are served.
func (p *piloting) serves(folder string) map[string]bool {
	p.t.Helper()
	entries, err := os.ReadDir(filepath.Join(p.Root, "current", folder))
	must(p.t, err)
	out := map[string]bool{}
	for _, e := range entries {
		out[e.Name()] = true
	}
	return out
}

// deployed is a pilot whose first wave is open and runs it.
func deployed(t *testing.T) *piloting {
	t.Helper()
	p := newPiloting(t)
	p.settled()
	p.mirrored()
	p.settled()
	p.later(time.Hour)
	p.says("kgp2cu01", "running")
	p.settled()
	p.gets("deployed", "1.1.0", "1.0.0")
	return p
}

func TestHaltedAndClosedPilotsGoBackByThemselves(t *testing.T) {
	p := deployed(t)
	p.records("", coordinator, "halt", `reason: "positions jump by a millimetre"`)
	p.settled()
	p.gets("nobody is known to have halted it", "1.1.0", "1.0.0")
	p.later(time.Minute)
	p.records(tester, tester, "halt", `reason: "positions jump by a millimetre"`)
	p.settled()
	p.gets("halted", "1.0.0", "1.0.0")
	p.later(time.Minute)
	p.records(coordinator, coordinator, "resume", `reason: "it was the cable of the test bench"`)
	p.settled()
	p.gets("resumed", "1.1.0", "1.0.0")
	p.later(time.Minute)
	p.records(coordinator, coordinator, "closure", `outcome: "withdrawn", reason: "nobody needs it any more"`)
	p.settled()
	p.gets("withdrawn", "1.0.0", "1.0.0")
}

func TestFailuresHaltAPilotAlsoOnceItsFECsHaveGoneBack(t *testing.T) {
	p := deployed(t)
	p.later(time.Minute)
	p.says("kgp2cu01", "init-failed")
	p.settled()
	p.gets("its FEC has failed", "1.0.0", "1.0.0")
	p.later(time.Minute)
	p.says("kgp2cu01", "running") // what it ran before
	p = p.restarted()
	p.settled()
	p.gets("nobody has resumed it", "1.0.0", "1.0.0")
	p.later(time.Minute)
	p.records(coordinator, coordinator, "resume", `reason: "the FEC had lost its network"`)
	p.settled()
	p.gets("resumed", "1.1.0", "1.0.0")
}

func TestRecordsCountForWhoeverSignedAllOfThem(t *testing.T) {
	p := newPiloting(t)
	p.mirrored()
	file := fmt.Sprintf("record%d.cue", p.n) // the notes
	p.records(tester, coordinator, "problem", `problem: "p-1", category: "functional", severity: "blocker", status: "open", text: "it is signed by another"`)
	p.change(file, "more turns", "fewer turns") // not signed, beside a signed name
	p.settled()
	p.gets("somebody has changed the notes", "1.0.0", "1.0.0")
	p.records(developer, developer, "notes", fmt.Sprintf("subject: %q, text: %q", p.subject(), "positions are averaged over more turns"))
	p.settled()
	p.gets("notes are written anew, and nobody has shown a blocker", "1.1.0", "1.0.0")
}

// TestWhoeverBringsARecordBackHasNotWrittenIt: a record that somebody forged is not by whom it names, although he signs that it is moved, or that
// its removal is taken back; one that he wrote stays his when somebody else moves it.
func TestWhoeverBringsARecordBackHasNotWrittenIt(t *testing.T) {
	p := newPiloting(t)
	p.mirrored()
	notes := fmt.Sprintf("record%d.cue", p.n)
	p.git("mv", notes, "moved.cue")
	p.git("commit", "-qm", "move it, unsigned")
	p.records("", coordinator, "halt", `reason: "somebody has forged this one"`)
	file, key := fmt.Sprintf("record%d.cue", p.n), filepath.Join(p.keys, coordinator)
	signed := func(args ...string) {
		p.git(append([]string{"-c", "gpg.format=ssh", "-c", "user.signingkey=" + key}, args...)...)
	}
	p.git("rm", "-q", file)
	p.git("commit", "-qm", "remove it, unsigned")
	signed("revert", "--no-edit", "-S", "HEAD")
	p.settled()
	p.gets("a forged halt is brought back", "1.1.0", "1.0.0")
	p.git("mv", file, "forged.cue")
	signed("commit", "-q", "-S", "-m", "move it")
	p.settled()
	p.gets("a forged halt is moved", "1.1.0", "1.0.0")
	p.records(coordinator, coordinator, "halt", `reason: "she has seen it fail herself"`)
	p.settled()
	p.gets("halted", "1.0.0", "1.0.0")
}

func TestWhatIsNotKnownTakesNobodyBack(t *testing.T) {
	lost := deployed(t).lost()
	lost.believe(false) // its forge is away, say
	lost.settled()
	lost.gets("the ledger is lost, and nobody knows who wrote what", "1.1.0", "1.0.0")
	lost.Reconciler.Proofs = nil
	lost.pass()
	lost.gets("a pass without a service", "1.1.0", "1.0.0")
	lost.believe(false)
	lost.later(42 * 24 * time.Hour)
	lost.settled()
	lost.gets("it expires all the same", "1.0.0", "1.0.0")
}

// TestALostLedgerMakesNobodyTheOwner who has dated an agreement back, whatever the pilot serves by then.
func TestALostLedgerMakesNobodyTheOwner(t *testing.T) {
	for name, far := range map[string]func(*testing.T) *piloting{
		"deployed": deployed,
		"agreed": func(t *testing.T) *piloting {
			p := newPiloting(t)
			p.agrees(owner)
			p.settled()
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := far(t)
			first := p.version("kgp2cu01")
			for _, who := range []string{owner, coordinator, authoriser} {
				p.change("pilots.cue", who, outsider)
			}
			p.agreesAt(outsider, p.Now().Add(-100*24*time.Hour))
			check := func(when string) {
				t.Helper()
				if got := p.mayAgree(); got != owner+" "+coordinator {
					t.Errorf("%s: %s may agree", when, got)
				}
				p.gets(when, first, "1.0.0")
			}
			p.settled()
			check("dated back")
			p = p.lost()
			p.pass()
			check("lost")
			p.settled()
			check("lost, and proven anew")
			p.later(48 * time.Hour)
			p = p.lost()
			p.settled()
			check("lost once more")
			must(t, verifies(t, p))
		})
	}
}

func TestHeldFECsKeepWhatAPilotPutThere(t *testing.T) {
	p := deployed(t)
	h := p.hold("fecs.kgp2cu01", 90*24*time.Hour)
	p.settled()
	p.later(42 * 24 * time.Hour)
	p.settled()
	p.gets("held, and expired", "1.1.0", "1.0.0")
	must(t, verifies(t, p))
	p.lift(h.ID)
	p.settled()
	p.gets("no longer held", "1.0.0", "1.0.0")
}

func TestAFECThatWentBackHasFailedWithThePilot(t *testing.T) {
	p := deployed(t)
	p.later(time.Minute)
	must(t, p.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		_, err := l.Place(t.Context(), ledger.Hold{Scope: "fecs.kgp2cu01", Kind: "stay", Source: observed.FromFailure, Reason: "its init scripts fail", Commit: p.head(), Bad: p.head(),
			Since: p.Now(), Until: p.Now().Add(90 * 24 * time.Hour)})
		return err
	}))
	p.settled()
	p.gets("it went back to its own version", "1.0.0", "1.0.0")
	p.later(48 * time.Hour)
	p.settled()
	p.gets("the pilot is halted", "1.0.0", "1.0.0")
	g, _ := observeRoot(t, p.Root).Published()
	if len(g.Givens.Pilots) != 1 || g.Givens.Pilots[0].State != plan.PilotHalted {
		t.Errorf("the generation states %+v", g.Givens.Pilots)
	}
}

// verifies says why another machine would render something else.
func verifies(t *testing.T, p *piloting) error {
	t.Helper()
	other := *p.site.reconciler("")
	other.Now = p.Now
	root, err := os.OpenRoot(p.Root)
	must(t, err)
	defer root.Close()
	v, err := other.Verify(t.Context(), func(ctx context.Context, commit string) (*observe.Served, error) {
		return observe.ServedByRoot(ctx, root, commit)
	}, nil)
	if err == nil && !v.Same {
		err = fmt.Errorf("differs: %v", v.Differences)
	}
	return err
}

func TestAnotherMachineRendersPilotsTheSame(t *testing.T) {
	p := deployed(t)
	must(t, verifies(t, p))
	x, err := (&reconciler.Reconciler{Repo: p.Repo, Root: p.Root, Loader: loader, Log: p.Log, Now: p.Now}).Explain(t.Context(), "fecs/kgp2cu01/boot.manifest")
	must(t, err)
	found := false
	for _, s := range x.Sources {
		found = found || s.Role == "pilot try, wave 1" && s.Path == "pilots.try.version"
	}
	if !found {
		t.Errorf("sources are %+v", x.Sources)
	}
}

func TestAPromotedPilotStaysUntilTheSiteSaysMore(t *testing.T) {
	p := deployed(t)
	p.later(26 * time.Hour)
	p.settled()
	p.says("kgp2cu03", "running")
	p.later(time.Minute)
	p.records(coordinator, coordinator, "criterion", fmt.Sprintf("subject: %q, criterion: \"noise\", met: \"yes\"", p.subject()))
	p.later(time.Minute)
	p.records(coordinator, coordinator, "closure", `outcome: "promoted", reason: "it is as good as it was said to be"`)
	p.settled()
	p.gets("promoted", "1.1.0", "1.1.0")
	p.later(42 * 24 * time.Hour)
	p.settled()
	p.gets("promoted, and its last day is over", "1.1.0", "1.1.0")
	p.git("rm", "-q", "pilots.cue")
	for i := range p.n {
		p.git("rm", "-q", fmt.Sprintf("record%d.cue", i+1))
	}
	for i := range p.agreed {
		p.git("rm", "-q", fmt.Sprintf("agreement%d.cue", i+1))
	}
	p.git("commit", "-qm", "the pilot is over")
	p.settled()
	p.gets("its file is gone", "1.0.0", "1.0.0")
	must(t, p.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		sights, err := l.PilotSights(t.Context())
		if !slices.ContainsFunc(sights, func(s ledger.PilotSight) bool { return s.What == plan.PilotClosed }) {
			t.Errorf("of what is gone is remembered: %+v", sights)
		}
		return err
	}))
}

// changesOf are what a plan says of what FECs get of bpm, and of pilots.
func changesOf(t *testing.T, pl plan.Plan) string {
	t.Helper()
	var b strings.Builder
	must(t, pl.Text(&b))
	var lines []string
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, "bpm 1.") || strings.Contains(line, "pilot ") || strings.Contains(line, "until it is proven") || strings.HasPrefix(line, "  note") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

// TestAReviewShowsWhatProposedRecordsOfPilotsWillDo, and the passes after the merge publish what it has seen: at once, before anybody knows who wrote
// the records, and once that is known.
func TestAReviewShowsWhatProposedRecordsOfPilotsWillDo(t *testing.T) {
	p := deployed(t)
	base := p.head()
	p.Reconciler.Checks = reconciler.Checks{Made: true, Require: true}
	p.Withheld = &sync.Map{}
	p.Withheld.Store("try", "of a pass")
	p.later(time.Minute)
	p.records(tester, tester, "halt", `reason: "positions jump by a millimetre"`)
	p.records(tester, tester, "criterion", fmt.Sprintf("subject: %q, criterion: \"noise\", met: \"yes\"", p.subject()))
	p.change("scripts/env", "echo global", "echo everywhere")
	rep, err := p.Review(t.Context(), base)
	must(t, err)
	got := changesOf(t, rep.Plan)
	for _, want := range []string{
		"pilot    try: called → halted: " + tester + " halted it: positions jump by a millimetre",
		"wave 1: kgp2cu01: bpm 1.1.0 → 1.0.0", "changed  kgp2cu01: bpm 1.1.0 → 1.0.0",
		"note     new records of pilots count as if written by whom they name: after the merge",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
	if c := rep.Plan.Pilots[0]; len(c.Records) != 2 || c.Doubts["criterion-6"] == "" || len(c.Doubts) != 1 {
		t.Errorf("records are %q, doubts %q", c.Records, c.Doubts)
	}
	if rep.AtOnce == nil || strings.Contains(changesOf(t, *rep.AtOnce), "bpm 1.") {
		t.Error("nobody knows yet who has halted it")
	}
	if _, ok := p.Withheld.Load("try"); !ok {
		t.Error("a review forgets what passes have withheld")
	}
	checks := reconciler.ChecksOf(rep)
	if len(checks) != 2 {
		t.Fatalf("checks are %+v", checks)
	}
	for _, c := range checks {
		must(t, p.Records.Use(t.Context(), func(l *ledger.Ledger) error { return l.PutCheck(t.Context(), c, p.Now()) }))
	}
	if rep, err = p.Review(t.Context(), p.head()); err != nil || len(rep.Plan.Pilots) > 0 {
		t.Errorf("nothing is proposed: %+v %v", rep.Plan.Pilots, err)
	}
	p.pass()
	g, _ := observeRoot(t, p.Root).Published()
	if g.Commit != p.head() || g.Givens.Unchecked {
		t.Errorf("published is %.12s, unchecked: %v", g.Commit, g.Givens.Unchecked)
	}
	p.gets("merged", "1.1.0", "1.0.0")
	p.settled()
	p.gets("and proven", "1.0.0", "1.0.0")
}

// TestWhoeverFindsOutFirstFindsTheCheckToo: records may be proven before the first pass of a merge.
func TestWhoeverFindsOutFirstFindsTheCheckToo(t *testing.T) {
	p := deployed(t)
	p.Reconciler.Checks = reconciler.Checks{Made: true, Require: true}
	base := p.head()
	p.records(tester, tester, "halt", `reason: "positions jump by a millimetre"`)
	rep, err := p.Review(t.Context(), base)
	must(t, err)
	for _, c := range reconciler.ChecksOf(rep) {
		must(t, p.Records.Use(t.Context(), func(l *ledger.Ledger) error { return l.PutCheck(t.Context(), c, p.Now()) }))
	}
	must(t, p.prover.Step(t.Context()))
	p.pass()
	p.gets("proven before it is published", "1.0.0", "1.0.0")
}

// TestAComparisonShowsWhatRecordsOfPilotsDo, as far as a repository alone tells: whoever wrote them.
func TestAComparisonShowsWhatRecordsOfPilotsDo(t *testing.T) {
	p := newPiloting(t)
	requested := p.head()
	p.mirrored()
	compare := func(records *reconciler.Records, base string) plan.Plan {
		t.Helper()
		r := *p.Reconciler
		if r.Records = records; records == nil {
			r.Root = ""
		}
		rep, err := r.Compare(t.Context(), base)
		must(t, err)
		return rep.Plan
	}
	says := func(pl plan.Plan, all ...string) {
		t.Helper()
		got := changesOf(t, pl)
		for _, want := range all {
			if !strings.Contains(got, want) {
				t.Errorf("it does not say %q:\n%s", want, got)
			}
		}
	}
	opens := compare(nil, requested)
	says(opens, "pilot    try: requested → called", "wave 1: kgp2cu01: bpm 1.0.0 → 1.1.0", "changed  kgp2cu01: bpm 1.0.0 → 1.1.0 (pilot try, wave 1)",
		"until it is proven who wrote that: stays requested; withheld: nobody has agreed to what the pilot says of itself: ", "note     nobody has looked up who wrote records of pilots")
	if c := opens.Pilots[0]; len(c.Records) != 5 || len(c.Doubts) > 0 || !slices.ContainsFunc(c.Holds, func(g plan.Gate) bool { return g.Name == "authorisation" }) {
		t.Errorf("the change is %+v", c)
	}
	if same := compare(nil, p.head()); !same.Empty() || len(same.Pilots) > 0 || same.Pilots == nil {
		t.Errorf("nothing changes: %+v", same.Pilots)
	}
	before := p.head()
	p.change("pilots.cue", `fecs: ["kgp2cu01"]`, `fecs: ["kgp2cu02"]`)
	slips := compare(nil, before)
	says(slips, "pilot    try: called → requested", "holds no more: staffed agreement pending", "withheld: what the pilot says of itself is not what "+owner+" agreed to (agreement-1)")
	if c := slips.Pilots[0]; len(c.Gives) > 0 {
		t.Errorf("the change is %+v", c)
	}
	p.agrees(owner)
	says(compare(nil, before), "pilot    try: stays called", "wave 1: kgp2cu01: bpm 1.1.0 → 1.0.0", "until it is proven who wrote that: called → requested; withheld: what the pilot says of itself is not what "+
		owner+" agreed to (agreement-1): agreement-2: nobody has found out yet who wrote it; nobody gets anything else")
	p.git("reset", "-q", "--hard", before)
	p.change("pilots.cue", `fecs: ["kgp2cu03"]`, `fecs: ["kgp2cu02"]`)
	p.agrees(owner)
	p.change("payload/bpm/1.1.0/bin/bpm", "echo", "echo otherwise;echo")
	voids := compare(nil, before)
	says(voids, "pilot    try: called → staffed", "wave 1: kgp2cu01: bpm 1.1.0 → 1.0.0")
	if c := voids.Pilots[0]; !slices.Contains(c.Fields, "rollout") || !slices.ContainsFunc(c.Fails, func(g plan.Gate) bool { return g.Name == "freeze" }) {
		t.Errorf("the change is %+v", c)
	}
	p.git("reset", "-q", "--hard", before)
	p.settled()
	p.later(time.Hour)
	p.says("kgp2cu01", "running")
	p.settled()
	halts := p.head()
	p.records("", coordinator, "halt", `reason: "positions jump by a millimetre"`)
	says(compare(nil, halts), "pilot    try: called → halted", "changed  kgp2cu01: bpm 1.1.0 → 1.0.0")
	says(compare(reconciler.ReadRecords(p.Root, p.Log), halts), "pilot    try: called → halted", "changed  kgp2cu01: bpm 1.1.0 → 1.0.0",
		"until it is proven who wrote that: stays called", "note     new records of pilots count as if written by whom they name; all else")
	gone := p.head()
	p.records(coordinator, coordinator, "closure", `outcome: "withdrawn", reason: "nobody needs it any more"`)
	says(compare(nil, gone), "pilot    try: halted → closed: withdrawn: nobody needs it any more")
}

// TestAPlanShowsWhatBecomesOfPilots by the next pass: by what the ledger knows, which is what FECs get by it.
func TestAPlanShowsWhatBecomesOfPilots(t *testing.T) {
	p := newPiloting(t)
	p.settled()
	p.mirrored()
	says := func(when string, all ...string) plan.Plan {
		t.Helper()
		rep, err := p.Plan(t.Context())
		must(t, err)
		got := changesOf(t, rep.Plan)
		for _, want := range all {
			if !strings.Contains(got, want) {
				t.Errorf("%s: it does not say %q:\n%s", when, want, got)
			}
		}
		return rep.Plan
	}
	merged := says("merged", "pilot    try: stays requested", "note     a record counts once the service has found out who wrote it")
	if c := merged.Pilots[0]; len(c.Records) != 5 || len(c.Doubts) != 5 || len(c.Gives) > 0 {
		t.Errorf("the change is %+v", c)
	}
	must(t, p.prover.Step(t.Context()))
	says("proven", "pilot    try: requested → called", "wave 1: kgp2cu01: bpm 1.0.0 → 1.1.0", "changed  kgp2cu01: bpm 1.0.0 → 1.1.0 (pilot try, wave 1)")
	p.settled()
	if none := says("published"); len(none.Pilots) > 0 {
		t.Errorf("nothing becomes otherwise: %+v", none.Pilots)
	}
	p.records(coordinator, coordinator, "halt", `reason: "positions jump by a millimetre"`)
	must(t, p.prover.Step(t.Context()))
	says("halted", "pilot    try: called → halted", "wave 1: kgp2cu01: bpm 1.1.0 → 1.0.0")
}

func TestRecordsOfPilotsAreNotWrittenAnew(t *testing.T) {
	p := deployed(t)
	before := p.head()
	p.change("record3.cue", `decision: "ok"`, `decision: "deny", reason: "it was never good enough"`)
	_, err := p.Reconcile(t.Context())
	if err == nil || !strings.Contains(err.Error(), "record3.cue") || !strings.Contains(err.Error(), "this record has been changed") {
		t.Errorf("a record that was changed: %v", err)
	}
	if p.commitServed() != before {
		t.Error("it is published")
	}
	if _, err := p.Review(t.Context(), before); err == nil || !strings.Contains(err.Error(), "this record has been changed") {
		t.Errorf("a proposal that changes a record: %v", err)
	}
	other := *p.Reconciler
	if _, err := other.Compare(t.Context(), before); err == nil || !strings.Contains(err.Error(), "this record has been changed") {
		t.Errorf("a plan that changes a record: %v", err)
	}
}

// goes removes the pilot's file and what was recorded of it.
func (p *piloting) goes() {
	p.t.Helper()
	p.git("rm", "-q", "pilots.cue", "record*.cue", "agreement*.cue")
	p.git("commit", "-qm", "the pilot is over")
}

// used is what is wrong with the site as its files are now, beside the root.
func (p *piloting) used() string {
	p.t.Helper()
	r := *p.Reconciler
	r.Records = reconciler.ReadRecords(p.Root, p.Log)
	_, problems, err := r.Validate(p.t.Context(), worktree(p.t, p.dir), nil, nil)
	must(p.t, err)
	return problems.Error()
}

func TestAPilotDoesNotComeBackWithoutItsDenial(t *testing.T) {
	p := newPiloting(t)
	p.settled()
	p.mirrored()
	p.settled()
	p.later(time.Minute)
	p.records(authoriser, authoriser, "authorisation", fmt.Sprintf("subject: %q\n\tdecision: \"deny\", reason: \"positions jump by a millimetre\"", p.subject()))
	p.settled()
	p.gets("denied", "1.0.0", "1.0.0")
	if got := p.used(); strings.Contains(got, "was there before") {
		t.Errorf("what is published has been there before: %s", got)
	}
	p.goes()
	p.settled()
	gone := p.head()
	a := &reconciler.PilotAuthor{Author: reconciler.Author{Site: p.dir, Loader: p.Loader, Log: p.Log, Now: p.Now}, By: owner, Dry: true, Known: reconciler.ReadRecords(p.Root, p.Log)}
	ask := reconciler.RequestPilot{Pilot: desired.Pilot{Scope: desired.PilotOfFECs, Owner: owner}}
	if _, err := a.Say(t.Context(), "try", ask); err == nil || !strings.Contains(err.Error(), "a pilot try was there before, and what was proven of it stays: choose another name") {
		t.Errorf("the name is asked for once more: %v", err)
	}
	for i := range p.n - 1 { // all but the denial
		p.git("checkout", gone+"~1", "--", fmt.Sprintf("record%d.cue", i+1))
	}
	p.git("checkout", gone+"~1", "--", "pilots.cue", "agreement*.cue")
	p.git("commit", "-qm", "once more")
	again := p.head()
	back := "a pilot of this name was there before, and this one does not have what was proven of that: authorisation-5; give this one another name"
	if got := p.used(); !strings.Contains(got, ".cue:3:9: pilots.try: "+back) {
		t.Errorf("whoever looks at the site beside the root finds %q", got)
	}
	if _, err := p.Review(t.Context(), gone); err == nil || !strings.Contains(err.Error(), back) {
		t.Errorf("a proposal that brings it back: %v", err)
	}
	withheld := func() {
		t.Helper()
		p.settled()
		p.gets("it comes back", "1.0.0", "1.0.0")
		if now, err := p.Pilots(t.Context()); err != nil || len(now) != 1 || now[0].Place.Withheld != back || now[0].State != plan.PilotRequested || p.commitServed() != p.head() {
			t.Errorf("%v: a pilot that comes back: %+v, of %s", err, now, p.commitServed())
		}
	}
	withheld()
	p = p.restarted()
	p.write("README", "nothing to do with it")
	p.signed("", "something else")
	withheld()
	p.git("rm", "-q", "pilots.cue", "record*.cue", "agreement*.cue")
	p.git("commit", "-qm", "it gets another name")
	p.settled()
	if p.commitServed() != p.head() {
		t.Error("it may not go")
	}
	p.git("reset", "-q", "--hard", gone+"~1")
	p.settled()
	p.gets("a way back to when it was denied", "1.0.0", "1.0.0")
	p.git("reset", "-q", "--hard", gone)
	p.settled()
	p.git("checkout", gone+"~1", "--", ".")
	p.git("commit", "-qm", "once more, with all that was said of it")
	p.settled()
	p.gets("denied as it was", "1.0.0", "1.0.0")
	p.git("reset", "-q", "--hard", again)
	if _, err := p.Reconcile(t.Context()); err == nil || !strings.Contains(err.Error(), "authorisation-5") {
		t.Errorf("a pilot that comes back by another history: %v", err)
	}
	p.Checks.Named = func(commit string) bool { return commit == again }
	p.pass()
	if p.commitServed() != again {
		t.Error("an operator has accepted it, and it is not published")
	}
}

// TestAPilotThatComesBackIsHaltedAsItWas has too many fail, and the pilot away for a while.
func TestAPilotThatComesBackIsHaltedAsItWas(t *testing.T) {
	for name, away := range map[string]func(*piloting){
		"removed once it had expired": func(p *piloting) {
			p.later(60 * 24 * time.Hour)
			p.settled()
			back := p.Now
			p.goes()
			p.settled()
			p.Now = func() time.Time { return back().Add(-60 * 24 * time.Hour) } // so it has a later last day
			p.git("checkout", "HEAD~1", "--", ".")
			p.git("commit", "-qm", "once more, with all that was said of it")
		},
		"back before it, and forward again": func(p *piloting) {
			head := p.head()
			p.git("reset", "-q", "--hard", p.git("log", "-1", "--format=%H", "--diff-filter=A", "--", "pilots.cue")+"~1")
			p.pass()
			if p.commitServed() == head {
				t.Error("the way back is not published")
			}
			p.git("reset", "-q", "--hard", head)
		},
	} {
		p := deployed(t)
		p.later(time.Minute)
		p.says("kgp2cu01", "init-failed")
		p.settled()
		p.later(time.Minute)
		p.says("kgp2cu01", "running")
		p.settled()
		p.gets("too many have failed", "1.0.0", "1.0.0")
		away(p)
		p.settled()
		if p.commitServed() != p.head() {
			t.Errorf("%s: it is not published", name)
		}
		p.gets(name, "1.0.0", "1.0.0")
	}
}

// TestAPilotGoesOnlyOnceItHasEnded, whoever a record names that says so.
func TestAPilotGoesOnlyOnceItHasEnded(t *testing.T) {
	p := deployed(t)
	p.later(time.Minute)
	p.records(developer, coordinator, "closure", `outcome: "withdrawn", reason: "nobody has the time to look at it"`)
	p.settled()
	p.gets("somebody else says that it is withdrawn", "1.1.0", "1.0.0")
	before := p.head()
	p.goes()
	if _, err := p.Reconcile(t.Context()); err == nil || !strings.Contains(err.Error(), "it is called, and may go once it is closed or denied or expired") {
		t.Errorf("a pilot that goes: %v", err)
	}
	if p.commitServed() != before {
		t.Error("it has gone")
	}
	p.git("reset", "-q", "--hard", before)
	p.later(42 * 24 * time.Hour)
	p.settled()
	p.goes()
	p.settled()
	if p.commitServed() != p.head() {
		t.Error("it has expired, and does not go")
	}
}

// TestRecordsAreNotForgottenWithThePublishedCommit: what cannot be compared is not published, unless an operator takes it.
func TestRecordsAreNotForgottenWithThePublishedCommit(t *testing.T) {
	p := deployed(t)
	before := p.head()
	id := p.git("rev-parse", before+":record3.cue")
	p.git("rm", "-q", "record3.cue")
	p.git("commit", "-qm", "forget who authorised it")
	must(t, os.Remove(filepath.Join(p.dir, ".git", "objects", id[:2], id[2:])))
	again := p.restarted()
	again.Served = nil
	_, err := again.Reconcile(t.Context())
	if err == nil || !strings.Contains(err.Error(), "pomona kick --accept "+p.head()) {
		t.Errorf("a commit that cannot be compared: %v", err)
	}
	if p.commitServed() != before {
		t.Error("it is published")
	}
	again.Checks.Named = func(commit string) bool { return commit == p.head() }
	if _, err := again.Reconcile(t.Context()); err != nil && strings.Contains(err.Error(), "--accept") {
		t.Errorf("an operator has accepted it: %v", err)
	}
}

// TestWhatAFECGetsOfPilotsIsExplained by the pilot, its wave, since when and until when, and by what it would get without.
func TestWhatAFECGetsOfPilotsIsExplained(t *testing.T) {
	p := newPiloting(t)
	p.settled()
	p.mirrored()
	p.settled()
	opened := p.Now()
	p.later(time.Hour)
	explained := func(at string) string {
		t.Helper()
		r := *p.Reconciler
		r.Branch, r.Records, r.Proofs = "", nil, nil // as the command has it
		x, err := r.Explain(t.Context(), at)
		must(t, err)
		var b strings.Builder
		must(t, x.Text(&b))
		return b.String()
	}
	shown := func(fec string) string {
		t.Helper()
		f, err := p.FEC(t.Context(), fec)
		must(t, err)
		var b strings.Builder
		must(t, f.Text(&b))
		return b.String()
	}
	given := "bpm 1.1.0 by pilot try, wave 1, since " + observed.Minute(opened) + ", until its last day 2026-12-31 unless it is promoted; without it 1.0.0"
	for what, got := range map[string]string{"folder": explained("fecs/kgp2cu01/software"), "manifest": explained("fecs/kgp2cu01/boot.manifest"), "host": explained("fecs/scuxl0001/software"),
		"value": explained("fecs.kgp2cu01.software.bpm.version"), "fec": shown("kgp2cu01")} {
		if !strings.Contains(got, given) {
			t.Errorf("%s: it does not say %q:\n%s", what, given, got)
		}
	}
	waits := "pilot try, wave 2, is to put bpm 1.1.0 in the place of 1.0.0, and does not yet: it is called"
	for what, got := range map[string]string{"folder": explained("fecs/kgp2cu03/software"), "fec": shown("kgp2cu03")} {
		if !strings.Contains(got, waits) {
			t.Errorf("%s: it does not say %q:\n%s", what, waits, got)
		}
	}
	if got := explained("fecs/kgp2cu02/software") + shown("kgp2cu02") + explained("fecs.kgp2cu01.host"); strings.Contains(got, "pilot try") {
		t.Errorf("whom the pilot does not concern is told of it:\n%s", got)
	}
	p.records(tester, tester, "halt", `reason: "positions jump by a millimetre"`)
	p.settled()
	if got, want := shown("kgp2cu01"), "pilot try, wave 1, is halted: bpm gets 1.0.0 in the place of 1.1.0 until it goes on"; !strings.Contains(got, want) {
		t.Errorf("it does not say %q:\n%s", want, got)
	}
	p.later(time.Minute)
	p.records(coordinator, coordinator, "closure", `outcome: "withdrawn", reason: "nobody needs it any more"`)
	p.settled()
	if got := shown("kgp2cu01") + explained("fecs/kgp2cu01/software"); strings.Contains(got, "pilot try") {
		t.Errorf("a pilot that is over is told of:\n%s", got)
	}
}

// TestAFECThatProvesNothingIsToldToGetAToken wherever somebody looks why its pilot does not go on.
func TestAFECThatProvesNothingIsToldToGetAToken(t *testing.T) {
	p := newPiloting(t)
	p.settled()
	p.mirrored()
	p.settled()
	p.later(time.Hour)
	say := func(source string) {
		t.Helper()
		for _, f := range observeRoot(t, p.Root).Index.FECs {
			must(t, p.Records.Use(t.Context(), func(l *ledger.Ledger) error {
				return l.AddReports(t.Context(), []ledger.FECReport{{FEC: f.Name, Serial: f.Serial, State: "running", Source: source, Clock: p.Now(), At: p.Now()}})
			}))
		}
	}
	whys := func() (gate, status, other, shown string) {
		t.Helper()
		now, err := p.Pilots(t.Context())
		must(t, err)
		for _, g := range now[0].Gates {
			if g.Name == "wave-1" {
				gate = g.Why
			}
		}
		s, err := p.Status(t.Context())
		must(t, err)
		for _, line := range s.FECs.All {
			switch line.FEC {
			case "kgp2cu01":
				status = line.Why
			case "kgp2cu02":
				other = line.Why
			}
		}
		f, err := p.FEC(t.Context(), "kgp2cu01")
		must(t, err)
		return gate, status, other, strings.Join(f.Differs, "\n")
	}
	say(observed.FromReport)
	const want = "reported, not proven: give it a token"
	if gate, status, other, shown := whys(); gate != "0 of 1 run it, 1 must; kgp2cu01 "+want || status != want || other != "" || !strings.HasPrefix(shown, want) {
		t.Errorf("the gate says %q, the status %q and %q, the FEC %q", gate, status, other, shown)
	}
	p.later(time.Minute)
	say(observed.FromToken)
	if gate, status, other, shown := whys(); gate+status+other+shown != "" {
		t.Errorf("the gate says %q, the status %q and %q, the FEC %q", gate, status, other, shown)
	}
}

// TestAHaltThatPeopleWereShownStays although its FEC runs again by the next pass, which has seen nothing of it.
func TestAHaltThatPeopleWereShownStays(t *testing.T) {
	p := deployed(t)
	p.later(time.Minute)
	p.says("kgp2cu01", "init-failed")
	state := func() string {
		t.Helper()
		now, err := p.Pilots(t.Context())
		must(t, err)
		return now[0].State
	}
	if got := state(); got != plan.PilotHalted {
		t.Fatalf("it is %s", got)
	}
	p.later(time.Minute)
	p.says("kgp2cu01", "running")
	if got := state(); got != plan.PilotHalted {
		t.Errorf("it was shown as halted, and is %s", got)
	}
	p.settled()
	p.gets("halted", "1.0.0", "1.0.0")
}

// TestPilotsAreShownAsTheyWereWhileTheLedgerCannotBeRead, and not as if nothing had ever happened.
func TestPilotsAreShownAsTheyWereWhileTheLedgerCannotBeRead(t *testing.T) {
	p := deployed(t)
	views := &reconciler.PilotViews{Reconciler: p.Reconciler}
	see := func() report.Pilots {
		t.Helper()
		views.Expire()
		all, err := views.Pilots(t.Context())
		must(t, err)
		return all
	}
	if all := see(); all.Trouble != "" || all.Pilots[0].State != plan.PilotCalled {
		t.Fatalf("%q: %s", all.Trouble, all.Pilots[0].State)
	}
	was, broken := p.Records, t.TempDir()
	must(t, os.MkdirAll(filepath.Join(broken, ".pomona"), 0o755), os.WriteFile(filepath.Join(broken, ".pomona/ledger-place"), []byte("nowhere"), 0o600))
	proofs := p.Proofs
	p.Records, p.Proofs = reconciler.NewRecords(broken, p.Log), nil // as after a restart
	if all := see(); all.Trouble == "" || all.Pilots[0].State != plan.PilotCalled {
		t.Errorf("%q: %s", all.Trouble, all.Pilots[0].State)
	}
	p.Records, p.Proofs = was, proofs
	if all := see(); all.Trouble != "" {
		t.Errorf("the ledger is back, and there is trouble: %s", all.Trouble)
	}
}

// TestASlipInTheTermsLeavesFECsWhatTheyHave whatever it is of, as long as nobody who may has agreed: but a halt does not wait for that.
// TestAPilotGoesOnWithoutItsLastAgreement where somebody who may has gone back to before it, or accepted a commit that does not have it: by those that are
// left.
func TestAPilotGoesOnWithoutItsLastAgreement(t *testing.T) {
	for name, far := range map[string]func(t *testing.T, p *piloting, before string){
		"a way back": func(t *testing.T, p *piloting, before string) { p.git("reset", "-q", "--hard", before) },
		"a way back to before the first": func(t *testing.T, p *piloting, _ string) {
			p.git("reset", "-q", "--hard", p.git("log", "-1", "--format=%H", "--diff-filter=A", "--", "agreement1.cue")+"~1")
		},
		"an accepted commit": func(t *testing.T, p *piloting, _ string) {
			p.change("pilots.cue", `expires:     "2026-12-30"`, `expires:     "2026-12-31"`)
			p.git("rm", "-q", "agreement2.cue")
			p.git("commit", "-qm", "remove it")
			accepted := p.head()
			p.Checks.Named = func(commit string) bool { return commit == accepted }
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := deployed(t)
			p.git("commit", "-q", "--allow-empty", "-m", "never published by itself")
			before := p.head()
			p.later(time.Hour)
			p.change("pilots.cue", `expires:     "2026-12-31"`, `expires:     "2026-12-30"`)
			p.agrees(owner)
			p.settled()
			far(t, p, before)
			p.settled()
			if p.commitServed() != p.head() {
				t.Fatalf("it is not published:\n%s", p.log)
			}
			p.Checks.Named = nil
			p = p.lost()
			p.settled()
			p.later(time.Hour)
			p.change("pilots.cue", `expires:     "2026-12-31"`, `expires:     "2026-12-29"`)
			p.agrees(owner)
			p.settled()
			now, err := p.Pilots(t.Context())
			must(t, err)
			if n := now[0]; n.Unagreed != "" || strings.Join(n.MayAgree, " ") != owner+" "+coordinator || n.LastDay != "2026-12-29" {
				t.Errorf("%v may agree: %q; its last day is %s", n.MayAgree, n.Unagreed, n.LastDay)
			}
		})
	}
}

// TestWhoeverHasNotFetchedTheLastAgreementIsToldToFetch, and not that nobody may agree.
func TestWhoeverHasNotFetchedTheLastAgreementIsToldToFetch(t *testing.T) {
	p := deployed(t)
	p.git("branch", "old")
	p.later(time.Hour)
	p.change("pilots.cue", `expires:     "2026-12-31"`, `expires:     "2026-12-30"`)
	p.agrees(owner)
	p.settled()
	p.later(time.Hour)
	want := fmt.Sprintf("commit %.12s is published, which branch old does not have: fetch it first", p.head())
	say := func(branch, by, pilot string, word reconciler.PilotWord) string {
		t.Helper()
		a := &reconciler.PilotAuthor{Author: reconciler.Author{Site: p.dir, Branch: branch, Loader: loader, Log: p.Log, Now: p.Now}, By: by, Dry: true, Known: reconciler.ReadRecords(p.Root, p.Log)}
		said, err := a.Say(t.Context(), pilot, word)
		if err != nil {
			return err.Error()
		}
		return said.State + "\n" + strings.Join(said.Doubts, "\n")
	}
	if got := say("old", owner, "try", reconciler.AgreePilot{}); got != want {
		t.Errorf("agree: %s", got)
	}
	if got := say("old", owner, "try", reconciler.StaffPilot{Tracker: "https://tickets.example.org/browse/DIAG-120"}); got != want {
		t.Errorf("staff: %s", got)
	}
	halt := reconciler.RecordPilot{Record: desired.PilotRecord{Kind: desired.RecordHalt, Reason: "positions jump by a millimetre"}}
	if got := say("old", tester, "try", halt); got != "halted\n"+want {
		t.Errorf("halt: %s", got)
	}
	p.git("checkout", "-qb", "without", p.git("log", "-1", "--format=%H", "--diff-filter=A", "--", "pilots.cue")+"~1")
	if got := say("without", tester, "try", halt); got != strings.Replace(want, "old", "without", 1) {
		t.Errorf("halt where it is not there: %s", got)
	}
	p.git("checkout", "-q", "main")
	p.git("rm", "-q", "agreement2.cue")
	p.git("commit", "-qm", "remove it")
	if got := say("main", owner, "try", reconciler.AgreePilot{}); !strings.HasPrefix(got, owner+" may not agree to what pilot try says of itself: agreement-2, which was agreed last, is not there any more") {
		t.Errorf("agree without the last: %s", got)
	}
}

func TestASlipInTheTermsLeavesFECsWhatTheyHave(t *testing.T) {
	for name, slip := range map[string][2]string{
		"an authoriser":   {authoriser, outsider},
		"a coordinator":   {coordinator, outsider},
		"nobody":          {"roles:", ""},
		"another version": {`version:     "1.1.0"`, `version: "1.0.0"`},
		"other FECs":      {`"kgp2cu01"], soak: "1d"}, {fecs: ["kgp2cu03"`, `"kgp2cu03"], soak: "1d"}, {fecs: ["kgp2cu01"`},
		"no waves":        {"rollout:", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := deployed(t)
			if name == "nobody" || name == "no waves" {
				slip[1] = "// " + slip[0]
			}
			p.change("pilots.cue", slip[0], slip[1])
			_, problems, err := reconciler.Validate(t.Context(), worktree(t, p.dir), loader, nil, nil, p.Now())
			must(t, err)
			if refused := name == "nobody" || name == "no waves"; refused != (len(problems.Blocking()) > 0) {
				t.Fatalf("a check says %v", problems)
			} else if refused {
				return // nobody can merge that
			}
			p.settled()
			if p.commitServed() != p.head() {
				t.Fatalf("the slip is not published:\n%s", p.log)
			}
			p.gets("with a slip", "1.1.0", "1.0.0")
			all, err := p.SeePilots(t.Context())
			must(t, err)
			for _, now := range all.Pilots {
				if w := now.Waves[0]; !w.Open || w.Verdict != plan.GateWaiting || w.Why != "it keeps what it has while the pilot is withheld" {
					t.Errorf("its first wave is %+v", w)
				}
			}
			p.later(48 * time.Hour)
			p = p.restarted()
			p.settled()
			p.gets("two days later", "1.1.0", "1.0.0")
			p.records(tester, tester, "halt", `reason: "positions are wrong by one turn"`)
			p.settled()
			p.gets("halted", "1.0.0", "1.0.0")
			p.change("pilots.cue", slip[1], slip[0])
			p.records(coordinator, coordinator, "resume", `reason: "positions were right, and a cable was not"`)
			p.settled()
			p.gets("put back, and the first wave has run it", "1.1.0", "1.1.0")
		})
	}
}

// TestAnOutsiderWhoWritesHimselfInMovesNothing, agree as he may.
func TestAnOutsiderWhoWritesHimselfInMovesNothing(t *testing.T) {
	p := newPiloting(t)
	p.settled()
	p.agrees(owner)
	s := fmt.Sprintf("subject: %q\n\t", p.subject())
	p.records(coordinator, coordinator, "freeze", s)
	p.records(tester, tester, "report", s+`compat: "backward-compatible", checks: {for c in ["installer-config", "docs", "dependencies", "site-impact", "clean-install"] {(c): verdict: "pass"}}`)
	p.settled()
	p.change("pilots.cue", authoriser, outsider)
	p.agrees(outsider)
	p.records(outsider, outsider, "authorisation", s+`decision: "ok"`)
	p.records(developer, developer, "notes", s+`text: "positions are averaged over more turns"`)
	p.settled()
	p.gets("an outsider has authorised it", "1.0.0", "1.0.0")
	p.change("pilots.cue", `owner:       "`+owner, `owner:       "`+outsider)
	p.agrees(outsider)
	p.settled()
	p.gets("an outsider is the owner", "1.0.0", "1.0.0")
	p.change("pilots.cue", `owner:       "`+outsider, `owner:       "`+owner)
	p.change("pilots.cue", outsider, authoriser)
	p.settled()
	p.gets("put back", "1.0.0", "1.0.0")
	p.records(authoriser, authoriser, "authorisation", s+`decision: "ok"`)
	p.records(developer, developer, "notes", s+`text: "positions are averaged over more turns"`)
	p.settled()
	p.gets("authorised by its authoriser", "1.1.0", "1.0.0")
}

// TestCommandsAskTheLedgerWhoWroteRecordsAndWhatFECsRun; without it, they take both for granted, and say so.
func TestCommandsAskTheLedgerWhoWroteRecordsAndWhatFECsRun(t *testing.T) {
	p := deployed(t)
	p.later(time.Minute)
	p.records(coordinator, coordinator, "criterion", fmt.Sprintf("subject: %q, criterion: \"noise\", met: \"yes\"", p.subject()))
	p.settled()
	p.later(48 * time.Hour)
	p.settled()
	say := func(known *reconciler.Records, r desired.PilotRecord) (string, error) {
		t.Helper()
		a := &reconciler.PilotAuthor{Author: reconciler.Author{Site: p.dir, Loader: loader, Log: p.Log, Now: p.Now}, By: coordinator, Dry: true, Known: known}
		said, err := a.Say(t.Context(), "try", reconciler.RecordPilot{Record: r})
		return said.State + "\n" + strings.Join(said.Doubts, "\n"), err
	}
	promote := desired.PilotRecord{Kind: desired.RecordClosure, Outcome: "promoted"}
	if _, err := say(p.Records, promote); err == nil || !strings.Contains(err.Error(), "\n  wave-2: 0 of 1 run it, 1 must") || strings.Contains(err.Error(), "criterion") {
		t.Errorf("it is promoted before all FECs run it: %v", err)
	}
	if said, err := say(nil, promote); err != nil || strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "closed\nwhether FECs run it") {
		t.Errorf("it is promoted by who does not know what FECs run: %q, %v", said, err)
	}
	p.says("kgp2cu03", "running")
	p.settled()
	p.later(time.Minute)
	if said, err := say(p.Records, promote); err != nil || said != "closed\n" {
		t.Errorf("it is promoted: %q, %v", said, err)
	}

	p.records(developer, coordinator, "closure", `outcome: "withdrawn", reason: "nobody has the time to look at it"`)
	p.settled()
	p.later(time.Minute)
	halt := desired.PilotRecord{Kind: desired.RecordHalt, Reason: "positions jump by a millimetre"}
	if said, err := say(p.Records, halt); err != nil || !strings.HasPrefix(said, "halted\n") || !strings.Contains(said, "which does not count") {
		t.Errorf("it is halted after somebody has forged its end: %q, %v", said, err)
	}
	if said, err := say(nil, halt); err != nil || !strings.Contains(said, "the pilot has ended, if that record counts") {
		t.Errorf("likewise, by who does not know: %q, %v", said, err)
	}
	p.records(coordinator, coordinator, "closure", `outcome: "withdrawn", reason: "nobody has the time to look at it"`)
	p.settled()
	if _, err := say(p.Records, halt); err == nil || !strings.Contains(err.Error(), "pilot try has ended: withdrawn") {
		t.Errorf("it has ended: %v", err)
	}
}

// TestWhatWasNeverPublishedTakesNoName away, proven or not.
func TestWhatWasNeverPublishedTakesNoName(t *testing.T) {
	p := newPiloting(t)
	p.settled()
	p.mirrored()
	must(t, p.prover.Step(t.Context()))
	p.goes()
	p.settled()
	p.git("checkout", "HEAD~1", "--", ".")
	p.git("rm", "-qf", "record1.cue")
	p.git("commit", "-qm", "once more, and without a freeze")
	if got := p.used(); strings.Contains(got, "was there before") {
		t.Errorf("whoever looks at the site beside the root finds %q", got)
	}
	p.settled()
	if now, err := p.Pilots(t.Context()); err != nil || len(now) != 1 || now[0].Place.Withheld != "" || now[0].State != plan.PilotStaffed || p.commitServed() != p.head() {
		t.Errorf("%v: %+v, of %s", err, now, p.commitServed())
	}
}

// TestANewPilotWaitsForTheLedgerAlone while that cannot be read.
func TestANewPilotWaitsForTheLedgerAlone(t *testing.T) {
	p := newPiloting(t)
	pilot, err := os.ReadFile(filepath.Join(p.dir, "pilots.cue"))
	must(t, err)
	p.git("rm", "-q", "pilots.cue")
	p.git("commit", "-qm", "no pilot yet")
	p.settled()
	was, broken := p.Records, t.TempDir()
	must(t, os.MkdirAll(filepath.Join(broken, ".pomona"), 0o755), os.WriteFile(filepath.Join(broken, ".pomona/ledger-place"), []byte("nowhere"), 0o600))
	p.Records = reconciler.NewRecords(broken, p.Log)
	p.write("pilots.cue", string(pilot))
	p.git("add", "-A")
	p.mirrored()
	for i := range 2 {
		p.settled()
		p.gets("the ledger cannot be read", "1.0.0", "1.0.0")
		now, err := p.Pilots(t.Context())
		if err != nil || len(now) != 1 || !strings.Contains(now[0].Place.Withheld, "nobody knows whether a pilot of this name was there before") || p.commitServed() != p.head() {
			t.Errorf("%v: %+v, of %s", err, now, p.commitServed())
		}
		p.write("README", fmt.Sprint("nothing to do with it ", i))
		p.signed("", "something else")
	}
	p.Records = was
	p.settled()
	p.gets("the ledger can be read", "1.1.0", "1.0.0")
}

// grouped is a pilot whose first wave is a group of two FECs, both of which were given it; the first runs it.
func grouped(t *testing.T) *piloting {
	t.Helper()
	p := newPiloting(t)
	p.change("fecs/fecs.cue", `host:     "scuxl0001"`, `host:     "scuxl0001", groups: ["ring"]`)
	p.change("fecs/fecs.cue", `bpm: version: "1.1.0"`, `bpm: version: "1.0.0"`)
	p.change("pilots.cue", `fecs: ["kgp2cu01"]`, `groups: ["ring"]`)
	p.mirrored()
	p.settled()
	if got := p.version("kgp2cu02"); got != "1.1.0" {
		t.Fatalf("the other FEC of the group gets %s\n%s", got, p.log)
	}
	p.later(time.Hour)
	p.says("kgp2cu01", "running")
	p.settled()
	return p
}

// TestWhoLeavesAGroupCountsStill in the wave in which it was given the release, as long as it is a FEC of the site.
func TestWhoLeavesAGroupCountsStill(t *testing.T) {
	leaves := func(p *piloting) { p.change("fecs/fecs.cue", "\t\t"+`groups: ["ring"]`+"\n", "\n") }
	leavesFor := func(software string) func(*piloting) {
		return func(p *piloting) {
			p.change("fecs/fecs.cue", `software: bpm: version: "1.0.0"`+"\n\t\tinit: \"10-env\"", software+"\n\t\tinit: \"10-env\"")
		}
	}
	for name, c := range map[string]struct {
		goes  func(*piloting)
		gets  string
		opens bool
	}{
		"the group":    {leaves, "1.0.0", false},
		"the software": {leavesFor(""), "", false},
		"the site": {func(p *piloting) {
			b, err := os.ReadFile(filepath.Join(p.dir, "fecs/fecs.cue"))
			must(t, err)
			s := string(b)
			i, j := strings.Index(s, "\tkgp2cu02:"), strings.Index(s, "\tkgp2cu03:")
			p.change("fecs/fecs.cue", s[i:j], "")
		}, "", true},
		"the group while it is halted": {func(p *piloting) {
			p.records(tester, tester, "halt", `reason: "positions jump by a millimetre"`)
			p.settled()
			leaves(p)
			p.settled()
			p.later(time.Minute)
			p.records(coordinator, coordinator, "resume", `reason: "it was the cable of the test bench"`)
			p.settled()
			p.says("kgp2cu01", "running")
		}, "1.0.0", false},
		"the group for that of the next wave": {func(p *piloting) {
			p.change("pilots.cue", `{fecs: ["kgp2cu03"]}`, `{fecs: ["kgp2cu03"], groups: ["late"]}`)
			p.change("site.cue", "groups: ring: {}", "groups: {ring: {}, late: {}}")
			p.agrees(owner)
			p.settled()
			p.change("fecs/fecs.cue", "\t\t"+`groups: ["ring"]`+"\n", `groups: ["late"]`+"\n")
		}, "1.0.0", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := grouped(t)
			c.goes(p)
			p.settled()
			p.later(48 * time.Hour)
			p = p.restarted()
			p.settled()
			if second := p.version("kgp2cu03"); (second == "1.1.0") != c.opens {
				now, err := p.Pilots(t.Context())
				must(t, err)
				t.Errorf("the second wave gets %s: %+v\n%s", second, now[0].Waves, p.log)
			}
			if c.opens {
				return
			}
			if got := p.version("kgp2cu02"); got != c.gets {
				t.Errorf("it gets %q", got)
			}
			must(t, verifies(t, p))
			p.says("kgp2cu02", "init-failed")
			p.settled()
			p.gets("it fails", "1.0.0", "1.0.0")
		})
	}
	p := grouped(t)
	leaves(p)
	p.settled()
	now, err := p.Pilots(t.Context())
	must(t, err)
	if why := now[0].Waves[0].Why; !strings.Contains(why, "kgp2cu02 has proven nothing, which was given it and has been taken out of the wave: put it back") {
		t.Errorf("the first wave waits: %s", why)
	}
	p.git("revert", "--no-edit", "HEAD")
	p.settled()
	p.later(time.Hour)
	p.says("kgp2cu02", "running")
	p.settled()
	p.later(48 * time.Hour)
	p.settled()
	p.gets("it is back, and runs it", "1.1.0", "1.1.0")
}

// TestAnOperatorVouchesForWhoIsToGoOn once owner and coordinator have left: nobody could agree any more.
func TestAnOperatorVouchesForWhoIsToGoOn(t *testing.T) {
	p := deployed(t)
	vouch := func(record, by, reason string) error {
		t.Helper()
		_, err := p.Vouch(t.Context(), "try", record, by, reason)
		return err
	}
	refused := func(record, by, reason, want string) {
		t.Helper()
		if err := vouch(record, by, reason); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s by %q: %v, want %s", record, by, err, want)
		}
	}
	refused("agreement-9", "opal", "they left", "no agreement that does not count: whoever is to go on agrees first: pomona pilot try agree")
	p.change("pilots.cue", owner, tester)
	p.agrees(tester)
	refused("agreement-2", "opal", "they left", "has no record \"agreement-2\"") // nobody has published it
	p.settled()
	if got := p.mayAgree(); got != owner+" "+coordinator {
		t.Errorf("%s may agree", got)
	}
	refused("agreement-9", "opal", "they left", "agreements that do not count are agreement-2")
	refused("notes-4", "opal", "they left", "notes-4 is no agreement but a record of kind notes: it counts once "+developer+" has signed it")
	refused("agreement-1", "opal", "they left", "agreement-1 counts already")
	refused("agreement-2", "", "they left", "give --by")
	refused("agreement-2", "opal", " ", "give --reason")
	p.later(time.Minute)
	who, err := p.Vouch(t.Context(), "try", "agreement-2", "opal", "they left")
	if err != nil || strings.Join(who, " ") != tester+" "+coordinator {
		t.Fatalf("vouched for, %v may agree: %v", who, err)
	}
	p.settled()
	p.later(48 * time.Hour)
	p.settled()
	p.gets("vouched for", "1.1.0", "1.1.0")
	p = p.lost()
	p.settled()
	if got := p.mayAgree(); got != tester+" "+coordinator {
		t.Errorf("the ledger is lost, and %s may agree", got)
	}
	p.gets("the ledger is lost", "1.1.0", "1.1.0")
}

// TestAnAgreementIsNoOlderThanTheLast whatever day is given for it: it would never count.
func TestAnAgreementIsNoOlderThanTheLast(t *testing.T) {
	p := newPiloting(t)
	p.agrees(owner)
	last := p.Now().UTC().Format(time.RFC3339)
	p.change("pilots.cue", authoriser, outsider)
	p.later(time.Hour)
	a := &reconciler.PilotAuthor{Author: reconciler.Author{Site: p.dir, Loader: loader, Log: p.Log, Now: p.Now}, By: owner, At: p.Now().Add(-100 * 24 * time.Hour), Dry: true}
	said, err := a.Say(t.Context(), "try", reconciler.AgreePilot{})
	if err != nil || !strings.Contains(said.Text, `"`+last+`"`) || said.State == plan.PilotRequested {
		t.Errorf("%v: it is %s by\n%s", err, said.State, said.Text)
	}
}

package reconciler_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// People of the tests' pilot.
const coordinator, developer, authoriser, tester = "cora@example.org", "dave@example.org", "anna@example.org", "tess@example.org"

// piloting is a site that offers bpm 1.1.0 to kgp2cu01, and then to kgp2cu03; its people sign with ssh keys.
type piloting struct {
	*follower
	keys   string // folder, a file for each person
	prover *reconciler.Prover
	kicks  int
	n      int // of records
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
	owner:       "diagnostics@example.org"
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
	for _, who := range []string{coordinator, developer, authoriser, tester} {
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
	p.prover = reconciler.NewProver(&reconciler.Prover{Reconciler: p.Reconciler, Kick: func(context.Context) { p.kicks++ }})
	if signers {
		s, err := repo.OpenSigners(repo.SignerFiles{SSH: filepath.Join(p.keys, "allowed")}, time.Now)
		must(p.t, err)
		p.prover.Approvers.Signers = s
	}
}

// restarted is what comes after the death of a service.
func (p *piloting) restarted() *piloting {
	p.t.Helper()
	again := &piloting{follower: p.follower.restarted(), keys: p.keys, n: p.n}
	again.believe(true)
	return again
}

// subject is the digest of what the pilot offers.
func (p *piloting) subject() string {
	p.t.Helper()
	src := worktree(p.t, p.dir)
	site, problems, err := reconciler.Validate(p.t.Context(), src, loader, nil, nil, p.Now())
	if err != nil || len(problems.Blocking()) > 0 {
		p.t.Fatal(problems, err)
	}
	return plan.PilotSubjects(site, src.Files())["try"]
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
	p.git("add", "-A")
	args := []string{"commit", "-qm", "record " + kind}
	if signer != "" {
		args = append([]string{"-c", "gpg.format=ssh", "-c", "user.signingkey=" + filepath.Join(p.keys, signer)}, append(args, "-S")...)
	}
	p.git(args...)
}

// mirrored brings the pilot to where its first wave opens.
func (p *piloting) mirrored() {
	p.t.Helper()
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
	p.later(40 * 24 * time.Hour)
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

package reconciler_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// sitePiloting is a pilot of sites, of two packages, whose people sign: one site takes part.
func sitePiloting(t *testing.T) (p *piloting, svc, patch desired.RPM) {
	t.Helper()
	p = newPiloting(t)
	p.servesPackages()
	public, err := keyOf(t, packagerKey).PublicArmored()
	must(t, err)
	p.write("keys/packager.asc", string(public))
	add := func(name string) desired.RPM {
		d, _, err := reconciler.AddBlob(t.Context(), p.Root, bytes.NewReader(packageFile(t, name, "1.0", "", keyOf(t, packagerKey))))
		must(t, err)
		return desired.RPM{File: name + "-1.0-1.noarch.rpm", SHA256: d.String()}
	}
	svc, patch = add("pilot-svc"), add("patch")
	p.states(desired.RPMBranch{desired.ReleaseRPMs: {svc}, desired.PilotUpdateRPMs: {patch}}, "")
	return p, svc, patch
}

// servesPackages has passes read, sign and serve packages.
func (p *piloting) servesPackages() {
	p.PilotKey, p.Packages = keyOf(p.t, pilotKey), build.NewPackages("", p.Log)
	p.Payloads = fetch.New(fetch.Options{Cache: filepath.Join(p.Root, ".pomona/cache"), Root: p.Root, Remote: remote.New(remote.Options{})})
}

// states commits, unsigned, what the pilot states of packages.
func (p *piloting) states(branch desired.RPMBranch, updates string) {
	p.t.Helper()
	b := &strings.Builder{}
	for _, directory := range desired.RPMDirectories {
		fmt.Fprintf(b, "%q: [", directory)
		for _, r := range branch[directory] {
			fmt.Fprintf(b, "{file: %q, sha256: %q}", r.File, r.SHA256)
		}
		b.WriteString("], ")
	}
	p.write("pilots.cue", fmt.Sprintf(`package site

site: packages: {servers: ["https://repo.example.org"], keys: packager: file: "keys/packager.asc"}
pilots: try: {
	scope: "grid-service", service: "CREAM"
	description: "A computing element that takes jobs from everywhere"
	owner: %q, expires: "2027-06-30"
	ticket: "https://tickets.example.org/1", tracker: "https://tickets.example.org/2"
	success: jobs: description: "Ten thousand jobs in a week"
	impact: {services: ["CE"], resources: "a node"}
	roles: {coordinator: %q, developer: %q, authoriser: %q, testers: [%q]}
	rollout: waves: [{}]
	sites: cern: contact: %q
	branches: %q: {%s}
	%s
}
`, owner, coordinator, developer, authoriser, tester, tester, gridBranch, b, updates))
	p.signed("", "packages")
}

// called brings a pilot of sites to where its wave gets it.
func (p *piloting) called() {
	p.t.Helper()
	p.agrees(owner)
	s := fmt.Sprintf("subject: %q\n\t", p.subject())
	p.records(coordinator, coordinator, "freeze", s+"closure: exit: 0")
	var checks []string
	for _, c := range desired.PilotChecks {
		checks = append(checks, fmt.Sprintf(`%q: verdict: "pass"`, c))
	}
	p.records(tester, tester, "report", s+`compat: "new-service", checks: {`+strings.Join(checks, ", ")+"}")
	p.records(authoriser, authoriser, "authorisation", s+`decision: "ok"`)
	p.records(developer, developer, "notes", s+`text: "takes more jobs"`)
	p.records(authoriser, authoriser, "mirror", s+`location: "https://mirror.example.org/cream"`)
	p.records(coordinator, coordinator, "call", fmt.Sprintf("closes: %q", p.Now().Add(24*time.Hour).Format(time.DateOnly)))
	p.records(tester, tester, "join", `site: "cern", answer: "interested"`)
	p.settled()
	p.later(72 * time.Hour)
	p.settled()
}

// place is what is published of the pilot.
func (p *piloting) place() tree.PilotPlace {
	p.t.Helper()
	g, _ := observeRoot(p.t, p.Root).Published()
	if len(g.Givens.Pilots) != 1 || g.Commit != p.head() {
		p.t.Fatalf("published is commit %s with %+v\n%s", g.Commit, g.Givens.Pilots, p.log)
	}
	return g.Givens.Pilots[0]
}

// TestSitesKeepWhatThePublishedCommitStated through passes, commits and restarts, until it is put back.
func TestSitesKeepWhatThePublishedCommitStated(t *testing.T) {
	p, svc, patch := sitePiloting(t)
	p.settled()
	p.called()
	was, first := p.place(), p.subject()
	if len(was.Waves) != 1 || was.Waves[0] != first || was.Withheld != "" {
		now, err := p.Pilots(t.Context())
		t.Fatalf("before, it is %+v, %+v, %v", was, now, err)
	}
	keeps := func(when string) {
		t.Helper()
		p.settled()
		now := p.place()
		if now.Waves[0] != first || now.Deployed == nil || !strings.Contains(now.Withheld, "its branches are not what is deployed") {
			t.Fatalf("%s, it is %+v\n%s", when, now, p.log)
		}
		for _, r := range []string{desired.ReleaseRPMs + "/" + svc.File, desired.PilotUpdateRPMs + "/" + patch.File} {
			_, err := os.Stat(filepath.Join(p.Root, "current/repo/pilots/try/snap", strings.TrimPrefix(first, "sha256:"), gridBranch, r))
			must(t, err)
		}
	}
	half := desired.Pilot{Branches: map[string]desired.RPMBranch{gridBranch: {desired.ReleaseRPMs: {svc}, desired.ExternalRPMs: {}, desired.PilotUpdateRPMs: {}, desired.ProductionUpdatesRPMs: {}}}}
	p.states(half.Branches[gridBranch], fmt.Sprintf(`updates: patch: {kind: "pilot", reason: "bugfix", base: %q, packages: %q: [{file: %q, sha256: %q}]}`,
		half.Snapshot().Subject(), gridBranch, patch.File, patch.SHA256))
	for _, root := range []string{p.Root, ""} {
		r := *p.Reconciler
		if r.Root = root; root == "" {
			r.Records = nil
		}
		rep, err := r.Compare(t.Context(), "HEAD~1")
		must(t, err)
		if len(rep.Plan.Pilots) != 1 || len(rep.Plan.Pilots[0].Gives) > 0 || !strings.Contains(rep.Plan.Pilots[0].Withheld, "its branches are not what is deployed") {
			t.Errorf("beside root %q, the comparison shows %+v", root, rep.Plan.Pilots)
		}
	}
	keeps("with a package that has become an update, to the same digest")
	p.states(desired.RPMBranch{desired.ReleaseRPMs: {svc}}, "")
	keeps("without that package")
	p = p.restarted()
	p.servesPackages()
	keeps("after a restart")
	p.git("commit", "-q", "--allow-empty", "-m", "nothing")
	keeps("with one more commit")
	p.states(desired.RPMBranch{desired.ReleaseRPMs: {svc}, desired.PilotUpdateRPMs: {patch}}, "")
	p.settled()
	if now := p.place(); now.Waves[0] != first || now.Deployed != nil || now.Withheld != "" {
		t.Errorf("put back, it is %+v", now)
	}
}

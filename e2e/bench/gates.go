package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

const (
	gatePilots  = 200
	gateSites   = 50
	gateRecords = 300
)

// gates judges pilots of many sites, each with many records, and measures how long that takes, and how much of the processor's time.
func (b *bench) gates(context.Context) error {
	pilots := make([]piloted, gatePilots)
	for i := range pilots {
		pilots[i] = newPiloted(fmt.Sprintf("pilot%03d", i))
	}
	const rounds = 20
	began, err := processor(os.Getpid())
	if err != nil {
		return err
	}
	start := time.Now()
	for range rounds {
		for _, p := range pilots {
			if n := plan.Pilot(p.name, p.pilot, p.facts, p.now); n.State != plan.PilotPublished || len(p.pilot.Records) != gateRecords {
				return fmt.Errorf("judge pilot: it is %s with %d records", n.State, len(p.pilot.Records))
			}
		}
	}
	took := time.Since(start).Seconds() / rounds
	ended, err := processor(os.Getpid())
	if err != nil {
		return err
	}
	b.table.count(fmt.Sprintf("gates: how far %d pilots are, %d sites and %d records each (processor time %.3g ms)", gatePilots, gateSites, gateRecords, (ended-began)/rounds*1000), took*1000, "ms", 100)
	return nil
}

// piloted is a pilot that all its sites have installed, and what is known of it.
type piloted struct {
	name  string
	pilot desired.Pilot
	facts plan.PilotFacts
	now   time.Time
}

func newPiloted(name string) piloted {
	p := piloted{name: name, now: time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)}
	branch := desired.RPMBranch{desired.ExternalRPMs: {}, desired.PilotUpdateRPMs: {}, desired.ProductionUpdatesRPMs: {}}
	for i := range 20 {
		branch[desired.ReleaseRPMs] = append(branch[desired.ReleaseRPMs], desired.RPM{File: fmt.Sprintf("%s-%d.rpm", name, i), SHA256: strings.Repeat("a", 64)})
	}
	p.pilot = desired.Pilot{
		Scope: desired.PilotOfSites, Owner: "olga@example.org", Ticket: "https://example.org/1", Tracker: "https://example.org/1", Expires: "2027-10-01",
		Success: map[string]desired.Criterion{"speed": {}}, Impact: &desired.PilotImpact{}, Branches: map[string]desired.RPMBranch{"SL9/x86_64": branch},
		Roles:   &desired.PilotRoles{Coordinator: "carla@example.org", Developer: "dev@example.org", Authoriser: "aldo@example.org", Testers: []string{"tess@example.org"}},
		Rollout: &desired.Rollout{Waves: make([]desired.PilotWave, 5)}, Sites: map[string]desired.PilotSite{}, Records: map[string]desired.PilotRecord{},
	}
	s := p.pilot.Snapshot().Subject()
	p.facts = plan.PilotFacts{Subject: s, Proofs: map[string]observed.Proof{}, Unmet: map[string][]string{s: nil}, Signed: map[string]string{s: ""}}
	checks := map[string]desired.CheckResult{}
	for _, check := range desired.PilotChecks {
		checks[check] = desired.CheckResult{Verdict: "pass"}
	}
	p.add("carla", desired.PilotRecord{Kind: desired.RecordFreeze, Subject: s, Closure: &desired.RPMClosure{}})
	p.add("tess", desired.PilotRecord{Kind: desired.RecordReport, Subject: s, Compat: "new-service", Checks: checks})
	p.add("aldo", desired.PilotRecord{Kind: desired.RecordAuthorisation, Subject: s, Decision: "ok"})
	p.add("dev", desired.PilotRecord{Kind: desired.RecordNotes, Subject: s, Text: "new"})
	p.add("aldo", desired.PilotRecord{Kind: desired.RecordMirror, Subject: s})
	p.add("carla", desired.PilotRecord{Kind: desired.RecordCall, Closes: "2026-10-02"})
	for i := range gateSites {
		site := fmt.Sprintf("site%02d", i)
		p.pilot.Sites[site] = desired.PilotSite{Contact: site + "@example.org", Wave: i%len(p.pilot.Rollout.Waves) + 1}
		p.add(site, desired.PilotRecord{Kind: desired.RecordJoin, Site: site, Answer: "interested"})
	}
	p.now = p.now.AddDate(0, 0, 7)
	p.add("olga", p.pilot.Agreement("", ""))
	for i := 0; len(p.pilot.Records) < gateRecords; i++ {
		site := fmt.Sprintf("site%02d", i%gateSites)
		switch i / gateSites {
		case 0:
			p.add(site, desired.PilotRecord{Kind: desired.RecordDeployment, Site: site, State: "installed", Subject: s})
		case 1:
			p.add(site, desired.PilotRecord{Kind: desired.RecordResources, Site: site, Resources: &desired.SiteResources{Nodes: 1}})
		default:
			p.add(site, desired.PilotRecord{Kind: desired.RecordProblem, Site: site, Problem: fmt.Sprint(i), Severity: "minor", Status: "open"})
		}
	}
	return p
}

// add is a record a minute after the one before, which whoever wrote it has proven.
func (p *piloted) add(who string, r desired.PilotRecord) {
	p.now = p.now.Add(time.Minute)
	name := fmt.Sprintf("record-%d", len(p.pilot.Records))
	r.By, r.At = who+"@example.org", p.now.Format(time.RFC3339)
	p.pilot.Records[name] = r
	p.facts.Proofs[name] = observed.Proof{By: r.By, Source: "signature of commit 1234"}
}

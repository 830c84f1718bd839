package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

var update = flag.Bool("update", false, "write the expected files anew")

func at(day int) time.Time { return time.Date(2026, 10, day, 8, 30, 0, 0, time.UTC) }

const frozen = "sha256:2b5e1d0f7a6c4e3b9d8f7a6c5e4d3c2b1a0f9e8d7c6b5a4f3e2d1c0b9a8f7e6d"

// creamPilot is a pilot in the middle of its life, whose names and texts are others'. Whatever is hostile goes into name.
func creamPilot(hostile string) report.Pilot {
	p := desired.Pilot{
		Scope: desired.PilotOfSites, Description: "the new computing element, on some sites before all of them" + hostile, Owner: "wlcg@example.org", Expires: "2026-12-31",
		Success: map[string]desired.Criterion{"jobs": {Description: "10,000 jobs a day for a week" + hostile}},
		Roles:   &desired.PilotRoles{Coordinator: "cora@example.org", Developer: "dev@example.org", Authoriser: "sam@example.org", Testers: []string{"tess@example.org"}},
		Service: "cream" + hostile, InfoSys: &desired.InfoSys{Type: "org.glite.ce.CREAM", ID: "cream-1"}, Audience: []string{"pilots@example.org"},
		Records: map[string]desired.PilotRecord{
			"freeze-1": {Kind: desired.RecordFreeze, By: "cora@example.org", At: "2026-10-02T08:30:00Z", Subject: frozen},
			"notes-1":  {Kind: desired.RecordNotes, By: "dev@example.org", At: "2026-10-03T08:30:00Z", Subject: frozen, Text: "# CREAM 1.16\n\n<b>faster</b>" + hostile, Migration: "Drain the old one."},
			"join-1":   {Kind: desired.RecordJoin, By: "ann@cern.example.org", At: "2026-10-05T08:30:00Z", Subject: frozen, Site: "CERN-PROD", Answer: "interested"},
			"report-1": {Kind: desired.RecordReport, By: "tess@example.org", At: "2026-10-02T09:30:00Z", Subject: frozen[:70] + "0"},
			"jobs-1":   {Kind: desired.RecordCriterion, By: "wlcg@example.org", At: "2026-10-09T08:30:00Z", Subject: frozen, Criterion: "jobs", Met: "inconclusive"},
		},
	}
	now := plan.PilotNow{
		Name: "cream", Scope: p.Scope, State: plan.PilotCalled, Since: at(5), Subject: frozen, Frozen: frozen, Overdue: 76 * time.Hour, Void: []string{"report-1"},
		Gates: []plan.Gate{
			{State: plan.PilotCalled, Name: "call", Verdict: plan.GatePass, Records: []string{"call-1"}},
			{State: plan.PilotDeployed, Name: "participants", Verdict: plan.GatePending, Why: "1 of 2 sites run it" + hostile, Who: []string{"bob@infn.example.org"},
				Do: "pomona pilot cream deploy --site INFN-CNAF"},
			{State: plan.PilotDeployed, Name: "problems", Verdict: plan.GateBlocked, Why: "b-17 is an open blocker", Who: []string{"dev@example.org"}, Do: "pomona pilot cream problem b-17 --status fixed"},
			{State: plan.PilotPublished, Name: "information-system", Verdict: plan.GateWaiting},
		},
		Waves: []plan.PilotWave{{Wave: 1, Subject: frozen, Open: true, Members: []string{"CERN-PROD", "INFN-CNAF"}, Running: []string{"CERN-PROD"}, Failed: []string{}, Verdict: plan.GatePending,
			Why: "1 of 2 run it", SoakEnds: at(20)}},
		Updates: []plan.UpdateNow{{Name: "u1", Kind: desired.ProductionUpdate, State: "candidate", Subject: frozen,
			Gates: []plan.Gate{{State: "approved", Name: "approval", Verdict: plan.GatePending, Why: "nobody has approved it", Who: []string{"cora@example.org"}, Do: "pomona pilot cream approve u1"}}}},
		Sites: []plan.SiteNow{
			{Site: "CERN-PROD", Wave: 1, Contact: "ann@cern.example.org", Answer: "interested", State: "installed", Subject: frozen, From: at(6),
				Resources: &desired.SiteResources{Nodes: 4, Cores: 256, MemoryGiB: 1024, StorageTiB: 1.5}, Published: plan.GatePending},
			{Site: "INFN-CNAF" + hostile, Wave: 1, Contact: "=HYPERLINK(\"http://evil\")", Answer: "no-answer", State: "none", Published: plan.GateNotApplicable},
		},
		Problems: []plan.ProblemNow{{Problem: "b-17", Site: "CERN-PROD", By: "ann@cern.example.org", Category: "configuration", Severity: "blocker", Status: "open",
			Text: "no proxies after a day" + hostile, FoundIn: frozen, Opened: at(7)}},
		Place: tree.PilotPlace{Name: "cream", State: plan.PilotCalled, Waves: []string{frozen}},
	}
	f := plan.PilotFacts{Proofs: map[string]observed.Proof{"freeze-1": {By: "cora@example.org", Source: "signature of commit 0123456789ab"}},
		Doubts: map[string]string{"jobs-1": "its commit is not signed" + hostile}}
	return report.OfPilot(now, p, f, []observed.PilotBroadcast{{Pilot: "cream", Kind: observed.BroadcastCall, About: "call-1", Title: "pilot cream: who takes part?", Text: "text", At: at(5)}})
}

// TestWhatPeopleSeeOfPilots compares texts and files with testdata/pilot.
func TestWhatPeopleSeeOfPilots(t *testing.T) {
	p := creamPilot("")
	fec := report.OfPilot(plan.PilotNow{Name: "bpm-3-1", Scope: desired.PilotOfFECs, State: plan.PilotHalted, Since: at(8), Why: "2 of 1 FECs failed"}, desired.Pilot{Scope: desired.PilotOfFECs,
		Software: "bpm-fesa", Version: "3.1.0"}, plan.PilotFacts{}, nil)
	all := report.Pilots{Site: "acc", At: at(9), Pilots: []report.Pilot{fec, p}}
	inJSON := func(v any) func(io.Writer) error {
		return func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(v)
		}
	}
	st := report.Status{Pilots: all.Now()}
	for name, write := range map[string]func(io.Writer) error{
		"list.txt": all.Text, "cream.txt": p.Text, "halted.txt": fec.Text, "excuses.json": inJSON(all.Excuses()), "sites.json": inJSON(p.Participation(at(9))),
		"accounting.csv": p.Accounting, "ledger.jsonl": p.Ledger, "status.txt": st.Text,
		"notes.md": func(w io.Writer) error { _, err := io.WriteString(w, p.NotesText()); return err },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("testdata", "pilot", name), b.Bytes())
	}
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s (%v): got\n%s", file, err, got)
	}
}

// TestPilotsComeWholeThroughJSON brings them through the socket of a service.
func TestPilotsComeWholeThroughJSON(t *testing.T) {
	all := report.Pilots{Site: "acc", At: at(9), Pilots: []report.Pilot{creamPilot("")}}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var back report.Pilots
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	var was, is bytes.Buffer
	if again, err := json.Marshal(back); err != nil || !bytes.Equal(b, again) {
		t.Errorf("%v\n%s\n%s", err, b, again)
	}
	if err := all.Pilots[0].Text(&was); err != nil {
		t.Fatal(err)
	}
	if err := back.Pilots[0].Text(&is); err != nil || was.String() != is.String() {
		t.Errorf("%v\n%s", err, is.String())
	}
}

// TestNoCellIsAFormula looks at what a spreadsheet would calculate.
func TestNoCellIsAFormula(t *testing.T) {
	for _, hostile := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "|calc", "%0A=1", "'=1"} {
		p := report.Pilot{PilotNow: plan.PilotNow{Name: hostile, Sites: []plan.SiteNow{{Site: hostile, Contact: hostile, Answer: "interested", State: hostile, Subject: hostile}}}}
		var b bytes.Buffer
		if err := p.Accounting(&b); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) != 2 {
			t.Fatalf("%q: %v %v", hostile, rows, err)
		}
		for _, c := range rows[1] {
			if c = strings.TrimSpace(c); c != "" && strings.ContainsAny(c[:1], "=+-@|%\t\r\n") || strings.HasPrefix(c, "＝") {
				t.Errorf("%q is written as %q", hostile, c)
			}
		}
	}
}

// TestPilotsSteerNoTerminal shows hostile names and texts.
func TestPilotsSteerNoTerminal(t *testing.T) {
	for _, hostile := range []string{"\x1b[2J", "\u009b2J", "\u202e", "\nnext  nobody: nothing", "\tb"} {
		p := creamPilot(hostile)
		for _, text := range []func(io.Writer) error{p.Text, report.Pilots{Trouble: hostile, Pilots: []report.Pilot{p}}.Text} {
			var b strings.Builder
			if err := text(&b); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), hostile) {
				t.Errorf("%q", b.String())
			}
		}
	}
}

// TestBroadcastsSayWhatToDo reads what each kind says to sites, and to those with FECs.
func TestBroadcastsSayWhatToDo(t *testing.T) {
	p := creamPilot("")
	p.Records = append(p.Records, report.PilotRecord{Record: "call-1", PilotRecord: desired.PilotRecord{Kind: desired.RecordCall, Closes: "2026-10-20"}},
		report.PilotRecord{Record: "closure-1", PilotRecord: desired.PilotRecord{Kind: desired.RecordClosure, Outcome: "withdrawn", Reason: "nobody needs it any more"}},
		report.PilotRecord{Record: "notes-2", PilotRecord: desired.PilotRecord{Kind: desired.RecordNotes, Update: "u1", Text: "fixes the proxies"}})
	p.Why = "wave 1 has failed at CERN-PROD"
	fecs := p
	fecs.Scope = desired.PilotOfFECs
	sync := "dnf distro-sync"
	found, idle := p, p
	found.Sites = slices.Clone(p.Sites)
	found.Sites[0].Published = plan.GatePass
	idle.Waves = nil
	for _, c := range []struct {
		p     report.Pilot
		kind  observed.PilotBroadcastKind
		about string
		want  []string
		not   string
	}{
		{p, observed.BroadcastCall, "call-1", []string{"2026-10-20", "pomona pilot cream join SITE", "CERN-PROD is in wave 1", "pilot-node.repo"}, sync},
		{p, observed.BroadcastResources, "CERN-PROD", []string{"PilotID=cream-1", "256 cores"}, sync},
		{found, observed.BroadcastPublished, "", []string{"CERN-PROD: 4 nodes", "PilotID=cream-1"}, "INFN"},
		{p, observed.BroadcastPublished, "", []string{"every site that takes part runs it", "CERN-PROD: 4 nodes"}, "PilotID"},
		{idle, observed.BroadcastHalt, "1", []string{"offer nothing until it goes on"}, sync},
		{p, observed.BroadcastUpdate, "u1 0123456789ab", []string{"update u1 is there", "fixes the proxies"}, sync},
		{p, observed.BroadcastHalt, "1", []string{"wave 1 has failed at CERN-PROD", sync}, "pins"},
		{fecs, observed.BroadcastHalt, "1", []string{"wave 1 has failed", "their pins went back"}, sync},
		{p, observed.BroadcastResume, "1", []string{"goes on", "It is called."}, sync},
		{p, observed.BroadcastExpired, "2026-12-31", []string{"2026-12-31", sync}, "pins"},
		{fecs, observed.BroadcastExpired, "2026-12-31", []string{"their pins went back"}, sync},
		{p, observed.BroadcastOverdue, "called", []string{"called for too long", "pomona pilot cream deploy"}, sync},
		{p, observed.BroadcastClosed, "closed", []string{"withdrawn", "nobody needs it any more", sync}, "pins"},
	} {
		title, text := c.p.Broadcast(observed.PilotBroadcast{Pilot: "cream", Kind: c.kind, About: c.about})
		for _, want := range c.want {
			if !strings.Contains(title+"\n"+text, want) {
				t.Errorf("%s of %s has no %q:\n%s\n%s", c.kind, c.p.Scope, want, title, text)
			}
		}
		if strings.Contains(title+text, c.not) || !strings.Contains(title, "pilot cream") || strings.Contains(title, "\n") {
			t.Errorf("%s of %s: %s\n%s", c.kind, c.p.Scope, title, text)
		}
	}
}

// TestNobodyIsToldWhatIsNotProven has the last record of each kind be in doubt, or void.
func TestNobodyIsToldWhatIsNotProven(t *testing.T) {
	p := creamPilot("")
	for _, kind := range []string{desired.RecordNotes, desired.RecordResume, desired.RecordClosure} {
		for _, says := range []string{"proven", "unknown", "unfit", "void"} {
			r := report.PilotRecord{Record: kind + "-" + says, Void: says == "void", PilotRecord: desired.PilotRecord{Kind: kind, Update: "u1", Text: says, Reason: says, Outcome: "withdrawn"}}
			switch says {
			case "unknown":
				r.Doubt = "its commit is not signed"
			case "unfit":
				p.Doubted = append(p.Doubted, r.Record)
			}
			p.Records = append(p.Records, r)
		}
	}
	texts := map[string]string{"notes": p.NotesText()}
	for _, kind := range []observed.PilotBroadcastKind{observed.BroadcastUpdate, observed.BroadcastResume, observed.BroadcastClosed} {
		_, texts[string(kind)] = p.Broadcast(observed.PilotBroadcast{Pilot: "cream", Kind: kind, About: "u1"})
	}
	for kind, text := range texts {
		if !strings.Contains(text, "proven") || strings.Contains(text, "unknown") || strings.Contains(text, "unfit") || strings.Contains(text, "void") {
			t.Errorf("%s: %s", kind, text)
		}
	}
}

// TestBroadcastsBeginWithWhatTheySay reads texts of which something was left out.
func TestBroadcastsBeginWithWhatTheySay(t *testing.T) {
	p := creamPilot("")
	p.Records = append(p.Records, report.PilotRecord{Record: "resume-1", PilotRecord: desired.PilotRecord{Kind: desired.RecordResume, Update: "u1"}},
		report.PilotRecord{Record: "closure-1", PilotRecord: desired.PilotRecord{Kind: desired.RecordClosure, Outcome: "promoted"}})
	for kind, want := range map[observed.PilotBroadcastKind]string{
		observed.BroadcastResume: "Update u1 is to help.\nIt is called.", observed.BroadcastClosed: "Every criterion is met: whoever has it keeps it.",
	} {
		if _, text := p.Broadcast(observed.PilotBroadcast{Pilot: "cream", Kind: kind, About: "1"}); text != want {
			t.Errorf("%s says %q", kind, text)
		}
	}
}

// TestACriterionIsMetByTheLastRecordThatCounts, and every record that does not says why, whatever that is.
func TestACriterionIsMetByTheLastRecordThatCounts(t *testing.T) {
	p := desired.Pilot{Success: map[string]desired.Criterion{"jobs": {Description: "enough"}, "users": {Description: "happy"}}, Records: map[string]desired.PilotRecord{
		"a": {Kind: desired.RecordCriterion, Criterion: "jobs", Met: "yes", At: "2026-10-02T08:30:00Z"},
		"b": {Kind: desired.RecordCriterion, Criterion: "jobs", Met: "no", At: "2026-10-03T08:30:00Z"},
		"c": {Kind: desired.RecordCriterion, Criterion: "users", Met: "yes", At: "2026-10-03T08:30:00Z", Subject: "x"},
		"d": {Kind: desired.RecordHalt, At: "2026-10-03T08:30:00Z"},
	}}
	now := plan.PilotNow{Name: "cream", Void: []string{"c"}, Doubted: []string{"b", "d"}, Doubts: map[string]string{"b": "tom is not its coordinator or owner"}, Gates: []plan.Gate{
		{State: plan.PilotClosed, Name: "criterion jobs", Verdict: plan.GatePass, Records: []string{"a"}},
		{State: plan.PilotClosed, Name: "criterion users", Verdict: plan.GatePending}}}
	out := report.OfPilot(now, p, plan.PilotFacts{}, nil)
	if c := out.Criteria; c[0].Met != "yes" || c[0].Record != "a" || c[1].Met != "" || c[1].Record != "" {
		t.Errorf("criteria are %+v", c)
	}
	var got []string
	for _, r := range out.Ignored() {
		got = append(got, r.Record+": "+r.Ignored())
	}
	if want := "b: tom is not its coordinator or owner|c: it is about something else than what is there|d: nobody knows that the right person wrote it"; strings.Join(got, "|") != want {
		t.Errorf("ignored are %q", got)
	}
}

// TestAFeedOfNothingIsNotOf1970 but of when its pilots became as they are.
func TestAFeedOfNothingIsNotOf1970(t *testing.T) {
	p := creamPilot("")
	p.Broadcasts = nil
	for want, all := range map[string]report.Pilots{
		"2026-10-05T08:30:00Z": {Site: "acc", At: at(9), Pilots: []report.Pilot{p}}, "2026-10-09T08:30:00Z": {Site: "acc", At: at(9)},
	} {
		var b strings.Builder
		if err := all.Feed(&b, ""); err != nil || !strings.Contains(b.String(), "<updated>"+want+"</updated>") {
			t.Errorf("%v, not of %s:\n%s", err, want, b.String())
		}
	}
}

// TestWhatAPilotWaitsForIsSaid, so that its coordinator knows whether to do something, and nobody is asked to do anything for one that is over.
func TestWhatAPilotWaitsForIsSaid(t *testing.T) {
	gate := func(state, name string, v plan.GateVerdict, why string, who ...string) plan.Gate {
		return plan.Gate{State: state, Name: name, Verdict: v, Why: why, Who: who}
	}
	deployed, closed := plan.PilotDeployed, plan.PilotClosed
	soaks := []plan.PilotWave{{Wave: 1, Open: true, Verdict: plan.GatePending, Why: "it has to run until tomorrow", SoakEnds: at(20)}}
	for name, c := range map[string]struct {
		now         plan.PilotNow
		waits, next string
	}{
		"sites may answer": {plan.PilotNow{State: plan.PilotCalled, Scope: desired.PilotOfSites, Sites: []plan.SiteNow{{Site: "a", Answer: "no-answer"}, {Site: "b", Answer: "declined"}},
			Gates: []plan.Gate{gate(deployed, "call-closed", plan.GatePending, "sites may answer until tomorrow")}},
			"call-closed: sites may answer until tomorrow; nothing is heard of a: pomona pilot x join SITE --answer interested (or declined)", ""},
		"FECs start when they do": {plan.PilotNow{State: plan.PilotCalled, Scope: desired.PilotOfFECs, Gates: []plan.Gate{gate(deployed, "wave-1", plan.GatePending, "0 of 1 run it")},
			Waves: []plan.PilotWave{{Wave: 1, Open: true, Verdict: plan.GatePending, Why: "0 of 1 run it"}}}, "wave-1: 0 of 1 run it; a FEC gets it at its next start", ""},
		"a wave soaks": {plan.PilotNow{State: plan.PilotCalled, Waves: soaks, Gates: []plan.Gate{gate(deployed, "minimum", plan.GatePending, "1 run it, 2 must")}},
			"minimum: 1 run it, 2 must|wave 1: it has to run until tomorrow", ""},
		"the same is said once": {plan.PilotNow{State: plan.PilotPublished, Waves: soaks, Gates: []plan.Gate{gate(deployed, "blockers", plan.GateBlocked, "open: 1", "dev"), gate(closed, "blockers", plan.GateBlocked, "open: 1", "dev")}}, "wave 1: it has to run until tomorrow", "dev: open: 1"},
		"a record is to be proven": {plan.PilotNow{State: plan.PilotStaffed, Gates: []plan.Gate{{State: plan.PilotFrozen, Name: "freeze", Verdict: plan.GateNeedsApproval, Records: []string{"freeze-1"}, Who: []string{"cora"}, Do: "freeze"}}},
			"", "cora: freeze; or, if you did write freeze-1, approve its pull request"},
		"it is over": {plan.PilotNow{State: plan.PilotDenied, Waves: soaks, Gates: []plan.Gate{gate(deployed, "minimum", plan.GatePending, "1 run it"), gate(deployed, "x", plan.GatePending, "y", "dev")}}, "", ""},
	} {
		c.now.Name = "x"
		p := report.OfPilot(c.now, desired.Pilot{}, plan.PilotFacts{}, nil)
		var next []string
		for _, n := range p.Next {
			next = append(next, strings.Join(n.Who, ",")+": "+strings.TrimPrefix(n.Do+n.Why, ": "))
		}
		if got := strings.Join(p.Waits(), "|"); got != c.waits || strings.Join(next, "|") != c.next {
			t.Errorf("%s: it waits for %q, next is %q", name, got, next)
		}
	}
	late := creamPilot("")
	late.Overdue, late.Due = 0, at(12)
	var b strings.Builder
	if err := late.Text(&b); err != nil || !strings.HasPrefix(b.String(), "pilot cream: called since 2026-10-05 08:30 UTC, overdue from 2026-10-12 08:30 UTC on\n") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

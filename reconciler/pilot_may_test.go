package reconciler

import (
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// What somebody wrote who may not, or too early, ends nothing: the pilot's people can still act, and are told of it.
func TestWhatDoesNotEndAPilotLocksNobodyOut(t *testing.T) {
	const cora, mallory = "cora@example.org", "mallory@example.org"
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	closure := func(by, outcome string) desired.PilotRecord {
		return desired.PilotRecord{Kind: desired.RecordClosure, By: by, At: "2026-05-02T00:00:00Z", Outcome: outcome, Reason: "enough of it"}
	}
	rejection := func(by string) desired.PilotRecord {
		return desired.PilotRecord{Kind: desired.RecordRejection, By: by, At: "2026-05-02T00:00:00Z", Update: "fix", Reason: "enough of it"}
	}
	halt := desired.PilotRecord{Kind: desired.RecordHalt, Reason: "it loses jobs"}
	approve := desired.PilotRecord{Kind: desired.RecordApproval, Update: "fix"}
	for name, c := range map[string]struct {
		there, says   desired.PilotRecord
		refused, told string
	}{
		"closed by nobody of it":   {closure(mallory, "withdrawn"), halt, "", "mallory@example.org closed it as withdrawn"},
		"closed too early":         {closure(cora, "promoted"), halt, "", "cora@example.org closed it as promoted"},
		"closed once more":         {closure(cora, "promoted"), closure("", "withdrawn"), "", "cora@example.org closed it as promoted"},
		"closed":                   {closure(cora, "withdrawn"), halt, "", "the pilot has ended, if that record counts: cora@example.org closed it as withdrawn"},
		"closed, as is known":      {closure(cora, "withdrawn"), halt, "pilot p has ended: withdrawn 2026-05-02T00:00:00Z; what is to go on is a new pilot: pomona pilot NAME request", ""},
		"rejected by nobody of it": {rejection(mallory), approve, "", "mallory@example.org rejected update fix"},
		"rejected":                 {rejection(cora), approve, "update fix has been rejected", ""},
	} {
		p := desired.Pilot{
			Scope: desired.PilotOfSites, Owner: "owner@example.org", Expires: "2026-12-31", Branches: map[string]desired.RPMBranch{"SL9/x86_64": {desired.ReleaseRPMs: {{File: "a-1-1.noarch.rpm"}}}},
			Roles:   &desired.PilotRoles{Coordinator: cora, Developer: "dave@example.org", Authoriser: "anna@example.org", Testers: []string{"tess@example.org"}},
			Records: map[string]desired.PilotRecord{"r": c.there},
		}
		p.Records["agreed"] = p.Agreement(p.Owner, "2026-05-01T00:00:00Z")
		p.Updates = map[string]desired.PilotUpdate{"fix": {Kind: desired.UpdateOfPilot, Reason: "bugfix", Base: p.Snapshot().Subject(),
			Packages: map[string][]desired.RPM{"SL9/x86_64": {{File: "a-1-2.noarch.rpm"}}}}}
		a := &PilotAuthor{Author: Author{Now: func() time.Time { return now }}, By: cora}
		seen, err := a.look(t.Context(), nil, "p", wanted{site: desired.Site{Pilots: map[string]desired.Pilot{"p": p}}}, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		seen.known = strings.HasSuffix(name, "as is known")
		said, err := RecordPilot{c.says}.say(seen)
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: %v, want %q", name, err, c.refused)
			}
			continue
		}
		if err != nil || !strings.Contains(strings.Join(said.Warnings, "\n"), c.told) {
			t.Errorf("%s: %v, %q, want to be told %q", name, err, said.Warnings, c.told)
		}
	}
}

// Who does what in a pilot that has ended nobody says any more; and what only seems to have ended can be told to go on.
func TestAPilotThatHasEndedIsToldSo(t *testing.T) {
	const cora = "cora@example.org"
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	seen := func(roles *desired.PilotRoles, records ...desired.PilotRecord) PilotSeen {
		p := desired.Pilot{Scope: desired.PilotOfSites, Owner: cora, Expires: "2026-12-31", Roles: roles, Records: map[string]desired.PilotRecord{}}
		p.Records["agreed"] = p.Agreement(cora, "2026-05-01T00:00:00Z")
		for i, r := range records {
			r.By, r.At, r.Reason = cora, now.Add(time.Duration(i-9)*time.Hour).Format(time.RFC3339), "enough of it"
			p.Records[r.Kind] = r
		}
		s, err := (&PilotAuthor{Author: Author{Now: func() time.Time { return now }}, By: cora}).look(t.Context(), nil, "p", wanted{site: desired.Site{Pilots: map[string]desired.Pilot{"p": p}}}, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	roles := &desired.PilotRoles{Coordinator: cora, Developer: "dave@example.org", Authoriser: "anna@example.org"}
	halt, closure := desired.PilotRecord{Kind: desired.RecordHalt}, desired.PilotRecord{Kind: desired.RecordClosure, Outcome: "withdrawn"}
	staff := StaffPilot{Tracker: "https://example.org/1"}
	resume := RecordPilot{desired.PilotRecord{Kind: desired.RecordResume, Reason: "it is mended now"}}
	for name, c := range map[string]struct {
		seen          PilotSeen
		known         bool
		says          PilotWord
		refused, told string
	}{
		"staff":                               {seen(roles, closure), false, staff, "", "the pilot has ended, if that record counts: cora@example.org closed it as withdrawn"},
		"staff, as is known":                  {seen(roles, closure), true, staff, "pilot p has ended: withdrawn", ""},
		"staff nobody, as is known":           {seen(nil, closure), true, staff, "pilot p has ended: withdrawn", ""},
		"resume what was halted":              {seen(roles, halt, closure), false, resume, "", "the pilot has ended, if that record counts"},
		"resume what was not":                 {seen(roles, closure), false, resume, "there is nothing to resume", ""},
		"resume what was halted, as is known": {seen(roles, halt, closure), true, resume, "pilot p has ended", ""},
	} {
		c.seen.known = c.known
		said, err := c.says.say(c.seen)
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: %v, want %q", name, err, c.refused)
			}
		} else if err != nil || !strings.Contains(strings.Join(said.Warnings, "\n"), c.told) {
			t.Errorf("%s: %v, %q, want to be told %q", name, err, said.Warnings, c.told)
		}
	}
}

func TestAMirrorThatIsNoneIsToldWhatToDo(t *testing.T) {
	const cora = "cora@example.org"
	p := desired.Pilot{Scope: desired.PilotOfFECs, Roles: &desired.PilotRoles{Coordinator: cora, Developer: "dave@example.org", Authoriser: "anna@example.org"}}
	s := PilotSeen{Name: "p", Pilot: p, By: cora, At: time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)}
	if _, err := (MirrorPilot{}).say(s); err == nil || !strings.Contains(err.Error(), "pilot p is of FECs: nothing of it is mirrored") {
		t.Errorf("of FECs: %v", err)
	}
	s.Pilot.Scope, s.Pilot.Branches = desired.PilotOfSites, map[string]desired.RPMBranch{"SL9/x86_64": {desired.ReleaseRPMs: {{File: "a-1-1.noarch.rpm"}}}}
	subject := s.Pilot.Snapshot().Subject()
	s.Pilot.Records = map[string]desired.PilotRecord{"f": {Kind: desired.RecordFreeze, Subject: subject, By: cora, At: "2026-05-01T00:00:00Z"}}
	s.mirrorAt = func(string, string) (observed.Differences, error) {
		return observed.Differences{{Path: "a", What: "missing"}, {Path: "b", What: "missing"}}, nil
	}
	for at, want := range map[string]string{
		"https://example.org/m":                   "a: missing, b: missing\nmirror it again",
		"https://example.org/repo/pilots/p/snap/": "a: missing, b: missing\nname the snapshot: https://example.org/repo/pilots/p/snap/" + strings.TrimPrefix(subject, "sha256:"),
	} {
		if _, err := (MirrorPilot{Record: desired.PilotRecord{Kind: desired.RecordMirror, Location: at}}).say(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", at, err, want)
		}
	}
}

// TestWhatIsDatedBackIsJudgedByAllThatIsThere, also by what was written within the same second as something else, and so is dated after it.
func TestWhatIsDatedBackIsJudgedByAllThatIsThere(t *testing.T) {
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	p := desired.Pilot{Scope: desired.PilotOfSites, Owner: "owner@example.org", Expires: "2026-12-31", Records: map[string]desired.PilotRecord{}}
	p.Records["agreed"] = p.Agreement(p.Owner, now.Add(3*time.Second).Format(time.RFC3339))
	a := &PilotAuthor{Author: Author{Now: func() time.Time { return now }}, By: p.Owner, At: now.Add(-48 * time.Hour)}
	seen, err := a.look(t.Context(), nil, "p", wanted{site: desired.Site{Pilots: map[string]desired.Pilot{"p": p}}}, nil, "")
	if err != nil || seen.Now.Unagreed != "" || !seen.At.Equal(a.At) {
		t.Errorf("%v, of %s, %q", err, seen.At, seen.Now.Unagreed)
	}
}

// TestALaterReportIsOfWhatIsOtherwise: whoever has reported on all says of one check what came of it since, and of nothing else.
func TestALaterReportIsOfWhatIsOtherwise(t *testing.T) {
	const subject, tess = "sha256:00", "tess@example.org"
	whole := desired.PilotRecord{Kind: desired.RecordReport, By: tess, At: "2026-05-02T00:00:00Z", Subject: subject, Compat: "breaking", Checks: map[string]desired.CheckResult{}}
	p := desired.Pilot{Scope: desired.PilotOfSites, Owner: "owner@example.org", Roles: &desired.PilotRoles{Coordinator: "cora@example.org", Developer: "dave@example.org", Testers: []string{tess}}}
	for _, check := range p.NeededChecks() {
		whole.Checks[check] = desired.CheckResult{Verdict: "pass"}
	}
	with := func(r desired.PilotRecord, change func(*desired.PilotRecord)) desired.PilotRecord {
		change(&r)
		return r
	}
	freeze := desired.PilotRecord{Kind: desired.RecordFreeze, By: "cora@example.org", At: "2026-05-01T00:00:00Z", Subject: subject}
	later := desired.PilotRecord{Kind: desired.RecordReport, By: tess, At: "2026-05-03T00:00:00Z", Subject: subject, Checks: map[string]desired.CheckResult{"docs": {Verdict: "fail"}}}
	for name, c := range map[string]struct {
		there   desired.PilotRecord
		says    desired.PilotRecord
		refused string
	}{
		"after a whole one":  {whole, later, ""},
		"after none":         {freeze, later, "the report says nothing of installer-config, "},
		"after another's":    {with(whole, func(r *desired.PilotRecord) { r.By = "mallory@example.org" }), later, "the report says nothing of "},
		"of other packages":  {with(whole, func(r *desired.PilotRecord) { r.Subject = "sha256:01" }), later, "the report says nothing of "},
		"of an update":       {with(whole, func(r *desired.PilotRecord) { r.Update = "fix" }), later, "the report says nothing of "},
		"of nothing":         {whole, with(later, func(r *desired.PilotRecord) { r.Checks = nil }), "the report says nothing: "},
		"compatible or not?": {with(whole, func(r *desired.PilotRecord) { r.Compat = "" }), later, "give --compat"},
	} {
		p.Records = map[string]desired.PilotRecord{"freeze": freeze, "report": c.there}
		_, err := PilotSeen{Name: "p", Pilot: p}.checkReport(&c.says)
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v, want %q", name, err, c.refused)
		}
	}
	p.Records = map[string]desired.PilotRecord{"freeze": freeze, "report": whole, "later": later}
	notes := desired.PilotRecord{Kind: desired.RecordNotes, Subject: subject, Text: "it is faster"}
	if _, err := (PilotSeen{Name: "p", Pilot: p}).checkNotes(&notes); err == nil || !strings.Contains(err.Error(), "--migration") {
		t.Errorf("notes of what breaks something, as the report before the last says: %v", err)
	}
}

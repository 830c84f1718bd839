package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// booted is when the FEC of the fixture booted last.
var booted = time.Date(2026, 11, 22, 14, 25, 0, 0, time.UTC)

// fecOf is a FEC with as much history as a ledger keeps; every word that others may write is the given one, unless that is empty.
func fecOf(name, word string) report.FECSeen {
	or := func(usual string) string {
		if word != "" {
			return word
		}
		return usual
	}
	release := func(serial int64) report.Release {
		return report.Release{Commit: strings.Repeat("ab", 20), Generation: serial % 100, Serial: serial, Since: booted.Add(time.Duration(serial-120) * time.Hour), Known: true,
			Software: map[string]string{or("bpm"): fmt.Sprintf("1.%d.0", serial%100)}, Configuration: map[string]string{or("table"): or("1.0")}}
	}
	x := report.FECSeen{FEC: report.FEC{Name: name, Host: or("scuxl0001"), Platform: or("ppc"), Condition: plan.Fails, Differs: []string{or("init-failed with serial 120")},
		Holds: []observed.Hold{{ID: "h1", Scope: "fecs." + name, Kind: desired.Stay, Reason: or("beam time")}}, Inhibit: or("cable is being laid"),
		Restart: &report.Restart{State: "failed", Need: "restart", Group: or("ring"), Detail: or("late"), Since: booted}}, Trouble: []string{or("a part is not known")}}
	wanted, published := release(0), release(120)
	running := release(119)
	running.Source, running.From = "token", "192.0.2.1"
	x.Wanted, x.Published, x.Running = &wanted, &published, &running
	x.Declared = &desired.FEC{Description: or("first crate"), Location: or("hall 3"), Responsible: or("a.b@example.org"), Groups: []string{or("ring")}, Labels: map[string]string{"rack": or("7")},
		Init: map[string]desired.Init{"50-bpm": {File: or("scripts/bpm"), Starts: or("bpm")}}}
	x.Why = &report.Explanation{Path: "fecs/" + name + "/boot.manifest", Commit: strings.Repeat("ab", 20), Sources: []report.Source{
		{Role: "pinned version", Path: "fecs." + name + ".software.bpm.version", Value: `"1.20.0"`, File: or("fecs/ring.cue"), Line: 7, Column: 3, Text: or(`version: "1.20.0"`),
			Changed: &report.Change{Commit: strings.Repeat("cd", 20), Time: booted, Author: or("Anna"), Subject: or("bpm 1.20"), Pull: 12}},
		{Role: "content", File: or("payload/bpm/"), Why: or("not there")}}}
	for serial := int64(120); serial > 98; serial-- {
		x.Ran = append(x.Ran, report.Ran{Release: release(serial), Author: or("Anna"), Subject: or("bpm"), First: booted, Last: booted.Add(time.Minute), Boots: 2, Failed: or("50-bpm failed")})
	}
	for i := range 60 {
		x.Reports = append(x.Reports, observed.FECReport{FEC: name, Serial: 120, State: []string{"init-failed", "installed", "fetching"}[i%3], Slot: or("120-ab"), Detail: or("50-bpm failed with status 1"),
			Source: "token", From: or("192.0.2.1"), Dev: or(""), At: booted.Add(-time.Duration(i) * time.Second)})
	}
	x.Boot = report.LastBoot(x.Reports)
	x.Data = &report.DataList{Data: []report.Data{{FEC: name, Name: or("orbit"), Error: or("no route to host"), Since: booted, Snapshots: []report.Snapshot{{Schema: or("v1"), At: booted, Seen: booted, Files: 3}}}}}
	labels := map[string]string{"fec": or(name), or("label_rack"): or("7")}
	x.Monitoring = &report.Monitoring{Groups: []string{or("bpms")}, Icinga: or("object Host \"" + name + "\" {\n}\n"), Targets: []report.PrometheusTarget{{Targets: []string{or("scuxl0001:9100")}, Labels: labels}}}
	x.Touches = []report.Touch{{Kind: "software", Name: or("bpm"), Version: or("1.20.0"), File: or("payload/bpm"), FECs: 2000, Some: []string{or("kgp2cu02")}, Groups: map[string]int{or("ring"): 2000}},
		{Kind: "file", Name: or("fecs/ring.cue"), File: or("fecs/ring.cue"), FECs: 1, AtMost: true}}
	return x
}

func fecFixture(kind siteKind, seen *serve.SeenSite) []string {
	const name = "scuxl00001"
	word := map[siteKind]string{siteHostile: hostile}[kind]
	seen.Forge = report.ForgeOf("github", "", "lab/site")
	seen.FEC = func(_ context.Context, asked string, at time.Time) (report.FECSeen, error) {
		switch {
		case kind == siteEmpty && asked == name:
			return report.FECSeen{FEC: report.FEC{Name: name}}, nil // the branch has it, and nothing is published
		case at.After(booted.Add(24 * time.Hour)):
			return report.FECSeen{}, fmt.Errorf("%w time: it lies in the future", serve.ErrMalformed)
		case asked != name && asked != "kgp2cu02":
			return report.FECSeen{}, fmt.Errorf("%w: there is no FEC %s", serve.ErrNoSuch, asked)
		}
		x := fecOf(asked, word)
		if !at.IsZero() {
			x.Then = report.ThenOf(at, x.Ran, x.Reports)
		}
		return x, nil
	}
	return []string{"fecs/" + name, "fecs/" + name + "?page=2", "fecs/" + name + "?page=-7&at=2026-11-22T14:24:30&beside=kgp2cu02",
		"fecs/" + name + "?at=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&beside=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"}
}

func TestPageOfAFEC(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	s := looking(t, seen, nil)
	for path, want := range map[string][]string{
		"": {`<span class="word failed">failed</span>`, "beam time", "cable is being laid", "hall 3", "fecs/ring.cue:7", `href="https://github.com/lab/site/blob/` + strings.Repeat("ab", 20) + `/fecs/ring.cue#L7"`,
			`href="https://github.com/lab/site/pull/12"`, "Anna: bpm 1.20", "keeps them: 22", "page 1 of 3", "1.20.0", "60 reports", "no route to host", "object Host", "scuxl0001:9100", "2000 FECs",
			`href="/ring/?software=bpm&amp;version=1.20.0"`, "at most 1 FEC", "pomona explain fecs/scuxl00001/boot.manifest"},
		"?page=3":                         {"page 3 of 3", "the page before", "1.99.0"},
		"?page=99":                        {"page 3 of 3"},
		"?beside=kgp2cu02":                {"beside kgp2cu02", "0 of "},
		"?beside=nobody":                  {"there is no FEC nobody"},
		"?at=2026-11-22T14:24:55":         {"at 2026-11-22 14:24:55 UTC", "serial 120", "the last it had said", "fetching with serial 120", "what it ran: the last"},
		"?at=2026-11-22T15:24:55%2B01:00": {"at 2026-11-22 14:24:55 UTC"},
		"?at=2026-11-22T15:24:55+01:00":   {"at 2026-11-22 14:24:55 UTC"},
		"?at=2026-11-22&beside=kgp2cu02":  {`<h2 id="beside">beside kgp2cu02, as both are now</h2>`},
		"?at=1999-01-01":                  {"the oldest release that is kept", "the oldest report that is kept"},
		"?at=yesterday":                   {"malformed time &#34;yesterday&#34;"},
		"?at=2030-01-01":                  {`role="alert">malformed time: it lies in the future</p>`, "wanted, published, running"},
	} {
		shown(t, s.URL+"/ring/fecs/scuxl00001"+path, 200, want, nil)
	}
	_, text := look(t, "GET", s.URL+"/ring/fecs/scuxl00001?at=2026-11-22T14:24:55&beside=kgp2cu02", "Accept", "application/json")
	var x report.FECSeen
	if err := json.Unmarshal([]byte(text), &x); err != nil || x.Name != "scuxl00001" || x.Then == nil || x.Beside == nil || x.Beside.Name != "kgp2cu02" || len(x.Ran) != 22 || x.Why.Sources[0].Changed.Pull != 12 {
		t.Errorf("%v: %.2000s", err, text)
	}
}

// TestAProgramIsToldThatATimeIsMalformed, and does not get how it is now instead.
func TestAProgramIsToldThatATimeIsMalformed(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	s := looking(t, seen, nil)
	for at, want := range map[string]string{"yesterday": `malformed time "yesterday": want`, "2030-01-01": "malformed time: it lies in the future"} {
		resp, text := look(t, "GET", s.URL+"/ring/fecs/scuxl00001?at="+at, "Accept", "application/json")
		if resp.StatusCode != 400 || !strings.HasPrefix(text, want) {
			t.Errorf("%s: %d: %.300s", at, resp.StatusCode, text)
		}
	}
}

// TestRowsThatDiffer are marked by a word, and those that only one of the FECs has are there too.
func TestRowsThatDiffer(t *testing.T) {
	a, b := fecOf("a", ""), fecOf("b", "")
	b.Published.Software = map[string]string{"bpm": "2.0.0", "magnet": "1.0.0"}
	b.Declared.Location = "hall 4"
	x := report.BesideOf(a, b)
	var differs []string
	for _, r := range x.Rows {
		if r.Same != (r.One == r.Other) {
			t.Errorf("%+v", r)
		}
		if !r.Same {
			differs = append(differs, r.Name+": "+r.One+" / "+r.Other)
		}
	}
	if got := strings.Join(differs, "\n"); got != "location: hall 3 / hall 4\npublished software bpm: 1.20.0 / 2.0.0\npublished software magnet:  / 1.0.0" || x.Differ != 3 {
		t.Errorf("%d: %s", x.Differ, got)
	}
}

func TestLastBoot(t *testing.T) {
	for newest, want := range map[string]string{
		"running installed fetching running installed": "fetching installed running",
		"running running":                  "running", // the same, booted again
		"installed fetching running":       "fetching installed",
		"failed fetching fetching running": "fetching failed",
		"":                                 "",
	} {
		var reports []observed.FECReport
		for _, state := range strings.Fields(newest) {
			reports = append(reports, observed.FECReport{State: state, Serial: 1, Source: "token"}, observed.FECReport{State: state, Serial: 1, Source: "ssh"})
		}
		var got []string
		for _, r := range report.LastBoot(reports) {
			got = append(got, r.State)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", newest, got, want)
		}
	}
}

// TestThenOf: what is not proven counts for nothing once a token has proven something, a preview never does, and after a failed boot it is not known what ran.
func TestThenOf(t *testing.T) {
	at := func(minute int) time.Time { return booted.Add(time.Duration(minute) * time.Minute) }
	r := func(minute int, state, source string, serial int64, preview int) observed.FECReport {
		return observed.FECReport{State: state, Source: source, Serial: serial, Preview: preview, At: at(minute)}
	}
	newest := []observed.FECReport{r(9, "init-failed", "token", 8, 0), r(8, "fetching", "token", 8, 0), r(7, "running", "report", 9, 0), r(6, "running", "token", 5, 7),
		r(5, "running", "token", 7, 0), r(1, "running", "report", 6, 0)}
	for minute, want := range map[int]int64{10: 0, 8: 7, 7: 7, 5: 7, 4: 6, 1: 6, 0: 0} {
		x := report.ThenOf(at(minute), nil, newest)
		got := int64(0)
		if x.Running != nil {
			got = x.Running.Serial
		}
		if got != want || (got == 0) != (len(x.Unknown) == 2) {
			t.Errorf("minute %d: serial %d, want %d: %q", minute, got, want, x.Unknown)
		}
	}
}

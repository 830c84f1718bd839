package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// wavesOf is how the restarts of n FECs of four groups go; every word that others may write is the given one, unless that is empty.
func wavesOf(n int, word string) report.RestartWaves {
	or := func(usual string) string {
		if word != "" {
			return word
		}
		return usual
	}
	now := report.Restarts{Pause: observed.Pause{Reason: or("3 FECs of group linac failed"), At: booted}}
	for i := range n {
		s := plan.Standing{FEC: fmt.Sprintf("scuxl%05d", i), Group: or(fmt.Sprintf("group-%d", i%4)), State: report.RestartStates[i%len(report.RestartStates)], Wanted: 120, Need: "restart", Since: booted}
		switch s.State {
		case plan.StandsHeld:
			s.Why = or([]string{"inhibited: cable is being laid", "hold h1: beam time"}[i/7%2])
		case plan.StandsFailed:
			s.Why, s.Wave = or("init-failed: 50-bpm failed"), 2
		}
		now.FECs = append(now.FECs, s)
	}
	for i := range 4 {
		now.Groups = append(now.Groups, plan.GroupStanding{Name: or(fmt.Sprintf("group-%d", i)), Pace: desired.Restarts{}.For(""), Wave: int64(2 - i%2), Size: 10, Run: 7, Underway: 2, Enough: 8, Waiting: 20 * (i % 2),
			Failed: 1, TooMany: 3, Rests: booted.Add(time.Hour)})
	}
	var began []report.RestartWave
	for i := range min(n, 200) {
		at := booted.Add(-time.Duration(i) * time.Minute)
		began = append(began, report.RestartWave{ID: report.WaveID(at), Opened: at, Group: or(fmt.Sprintf("group-%d", i%4)), Wave: int64(2 - i%3), FECs: 10, Runs: 7, Failed: 1, Underway: 2, Last: at})
	}
	x := report.WavesOf(now, began)
	x.Service, x.Known = true, true
	return x
}

func restartsFixture(kind siteKind, seen *serve.SeenSite) []string {
	word := map[siteKind]string{siteHostile: hostile}[kind]
	x := wavesOf(map[siteKind]int{siteSmall: 200, siteLarge: 2000, siteHostile: 9}[kind], word)
	if kind == siteEmpty {
		x = report.WavesOf(report.Restarts{}, nil)
	}
	id := report.WaveID(booted)
	seen.Restarts = func(context.Context) (report.RestartWaves, error) { return x, nil }
	seen.RestartWave = func(_ context.Context, asked string) (report.RestartWaveFECs, error) {
		if asked != id || kind == siteEmpty {
			return report.RestartWaveFECs{}, serve.ErrNoSuch
		}
		w := report.RestartWaveFECs{ID: id, Waves: x.Waves[:1]}
		for _, f := range x.FECs {
			state := []string{"running", "failed", "asked"}[len(w.FECs)%3]
			w.FECs = append(w.FECs, report.PastRestart{FEC: f.FEC, Was: 119, Wanted: 120, Need: "restart", State: state, Detail: f.Why, Began: booted, At: booted.Add(42 * time.Second)})
		}
		return w, nil
	}
	paths := []string{"restarts", "restarts?state=held&group=group-3&page=2", "restarts?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&page=x"}
	if kind != siteEmpty {
		paths = append(paths, "restarts/"+id, "restarts/"+id+"?state=failed")
	}
	return paths
}

func TestPagesOfRestarts(t *testing.T) {
	seen, _ := seenOf(siteLarge)
	s := looking(t, seen, nil)
	id := report.WaveID(booted)
	for path, want := range map[string][]string{
		"":                             {"Paused since 2026-11-22 14:25 UTC by Pomona: 3 FECs of group linac failed", "286 current", "1714 of 2000 FECs", "page 1 of 9", "7 of 10", "3 pause everything", `href="/ring/restarts/` + id + `"`, "what holds FECs", "hold h1: beam time", "pomona restart pause", "wave 2 of group group-0", "order of an operator", `<title>7 of 10 run, 2 are under way, 1 failed</title>`},
		"?state=failed":                {"286 of 2000 FECs", "init-failed: 50-bpm failed", `href="?page=2&amp;state=failed"`},
		"?state=current&group=group-3": {"of 2000 FECs", "scuxl00007"},
		"?q=00003":                     {"1 of 2000 FECs", "scuxl00003"},
		"?state=failed&page=2":         {"page 2 of 2", "the page before"},
		"/" + id:                       {"wave 2 of group group-0", "7 run, 1 failed, 2 are under way", "42s", "119 to 120", "page 1 of 10"},
		"/" + id + "?state=failed":     {"page 1 of 4", `href="?page=2&amp;state=failed"`},
	} {
		shown(t, s.URL+"/ring/restarts"+path, 200, want, nil)
	}
	if resp, _ := look(t, "GET", s.URL+"/ring/restarts/17"); resp.StatusCode != 404 {
		t.Errorf("a wave that is not there: status %d", resp.StatusCode)
	}
	_, text := look(t, "GET", s.URL+"/ring/restarts?state=held", "Accept", "application/json")
	var x report.RestartWaves
	if err := json.Unmarshal([]byte(text), &x); err != nil || len(x.FECs) != x.Count[plan.StandsHeld] || x.Of != 2000 || len(x.Groups) != 4 || x.Groups[0].TooMany != 3 || x.Pause.Reason == "" {
		t.Errorf("%v: %.2000s", err, text)
	}
	seen, _ = seenOf(siteEmpty)
	shown(t, looking(t, seen, nil).URL+"/ring/restarts", 200, []string{"restarts no FECs"}, nil)
}

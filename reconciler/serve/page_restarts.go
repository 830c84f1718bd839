package serve

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// How many of a list a page about restarts has.
const (
	standingsShown = 200
	wavesShown     = 50
)

// restartsShown is what the page about restarts shows.
type restartsShown struct {
	report.RestartWaves
	Filter report.RestartFilter
	States []string
	Rows   leaf[plan.Standing]
}

func restartsPage(r *http.Request, s *SeenSite) (shown, error) {
	all, err := s.Restarts(r.Context())
	if err != nil {
		return shown{}, err
	}
	q := r.URL.Query()
	f := report.RestartFilter{State: q.Get("state"), Group: q.Get("group"), Text: q.Get("q")}
	only := all.Only(f)
	x := restartsShown{RestartWaves: only, Filter: f, States: report.RestartStates}
	if f == (report.RestartFilter{}) { // those that are where they should be are counted
		x.FECs = slices.DeleteFunc(slices.Clone(x.FECs), func(s plan.Standing) bool { return s.State == plan.StandsCurrent })
	}
	x.Rows = leafOf(x.FECs, q, standingsShown)
	x.Waves = x.Waves[:min(len(x.Waves), wavesShown)]
	return shown{"restarts", "restarts", x, only}, nil
}

// In leads to the FECs of a group in a state; empty: of all.
func (restartsShown) In(group, state string) string {
	if group == "" {
		group = report.NoGroup
	}
	return "?" + url.Values{"group": {group}, "state": {state}}.Encode() + "#fecs"
}

// Sign is what stands beside the colour of a state.
func (restartsShown) Sign(state string) string {
	return map[string]string{plan.StandsCurrent: "·", plan.StandsUnderway: "…", plan.StandsWaiting: "-", plan.StandsHeld: "=", plan.StandsFailed: "!", plan.StandsSkipped: "/", plan.StandsUnknown: "?"}[state]
}

// Now says in a few words what a group is waiting for.
func (x restartsShown) Now(g report.RestartGroup) string {
	switch {
	case g.Waiting == 0 && g.Underway == 0:
		return "nothing waits"
	case x.Pause.Reason != "":
		return "paused"
	case g.Underway > 0:
		return "a wave is under way"
	case !g.Rests.IsZero():
		return "rests after a wave until " + observed.Minute(g.Rests)
	}
	return "waits for its turn"
}

// waveShown is what the page of a wave shows.
type waveShown struct {
	report.RestartWaveFECs
	Rows leaf[report.PastRestart]
}

func wavePage(r *http.Request, s *SeenSite) (shown, error) {
	w, err := s.RestartWave(r.Context(), r.PathValue("wave"))
	if err != nil {
		return shown{}, err
	}
	q := r.URL.Query()
	if state := q.Get("state"); state != "" {
		w.FECs = slices.DeleteFunc(slices.Clone(w.FECs), func(p report.PastRestart) bool { return p.State != state })
	}
	x := waveShown{RestartWaveFECs: w, Rows: leafOf(w.FECs, q, standingsShown)}
	return shown{"restart_wave", "restarts", x, w}, nil
}

// waveBar is how far a wave is, as a picture.
type waveBar struct {
	report.RestartGroup
	RunWidth, UnderWidth int // of 100
}

// Bar is how far the last wave of a group is.
func (restartsShown) Bar(g report.RestartGroup) waveBar {
	b := waveBar{RestartGroup: g}
	if g.Size > 0 {
		b.RunWidth, b.UnderWidth = 100*g.Run/g.Size, 100*g.Underway/g.Size
	}
	return b
}

// ID is what a wave is called that opened at a time.
func (restartsShown) ID(opened time.Time) string { return report.WaveID(opened) }

package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// RestartWaves is how restarts go, by group and wave, and how those before went.
type RestartWaves struct {
	Service bool            `json:"service"` // it restarts FECs; else only what the ledger tells is known
	Known   bool            `json:"known"`   // the service has decided once
	Pause   observed.Pause  `json:"pause,omitzero"`
	Count   map[string]int  `json:"count"` // of all FECs, by state
	Groups  []RestartGroup  `json:"groups"`
	Holds   []RestartHold   `json:"holds"` // what keeps FECs from being restarted, that of most FECs first
	Waves   []RestartWave   `json:"waves"` // that began, the newest first
	FECs    []plan.Standing `json:"fecs"`  // by name, those that were asked for
	Of      int             `json:"of"`    // as many there are
}

// RestartGroup is a group's pace, and how its FECs stand.
type RestartGroup struct {
	plan.GroupStanding
	Count map[string]int `json:"count"`          // of its FECs, by state
	Since time.Time      `json:"since,omitzero"` // when its last wave opened
}

// RestartHold is what holds some FECs.
type RestartHold struct {
	Why  string   `json:"why"`
	FECs int      `json:"fecs"`
	Some []string `json:"some"`
}

// RestartWave is one wave that began, or an operator's order.
type RestartWave struct {
	ID       string    `json:"id"`
	Opened   time.Time `json:"opened"`
	Group    string    `json:"group"`
	Wave     int64     `json:"wave"` // 0: an operator's order
	FECs     int       `json:"fecs"`
	Runs     int       `json:"runs"`
	Failed   int       `json:"failed"`
	Underway int       `json:"underway"`
	Last     time.Time `json:"last"` // when something was heard of it last
}

// Title names a wave for people.
func (w RestartWave) Title() string {
	switch {
	case w.Wave == 0:
		return "order of an operator"
	case w.Group == "":
		return "wave " + strconv.FormatInt(w.Wave, 10) + " of FECs of no group"
	}
	return "wave " + strconv.FormatInt(w.Wave, 10) + " of group " + w.Group
}

// WaveID is what a wave is called that opened at a time.
func WaveID(opened time.Time) string { return strconv.FormatInt(opened.UnixMilli(), 10) }

// WaveOpened reads what a wave is called; false: nothing is called that.
func WaveOpened(id string) (time.Time, bool) {
	ms, err := strconv.ParseInt(id, 10, 64)
	if err != nil || ms <= 0 || strconv.FormatInt(ms, 10) != id {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}

// RestartWaveFECs is one wave with its FECs.
type RestartWaveFECs struct {
	ID    string        `json:"id"`
	Waves []RestartWave `json:"waves"` // that opened then: usually one
	FECs  []PastRestart `json:"fecs"`  // by name
}

// PastRestart is how one FEC was restarted.
type PastRestart struct {
	FEC    string    `json:"fec"`
	Was    int64     `json:"was,omitempty"`
	Wanted int64     `json:"wanted"`
	Need   string    `json:"need,omitempty"`
	State  string    `json:"state"` // of observed.Rollout
	Detail string    `json:"detail,omitempty"`
	Began  time.Time `json:"began"`
	At     time.Time `json:"at"`
}

// Took is how long it took until the FEC ran; 0: it does not run.
func (p PastRestart) Took() time.Duration {
	if p.State != observed.RolloutRuns {
		return 0
	}
	return p.At.Sub(p.Began).Round(time.Second)
}

// fewHolds are as many reasons as are told of.
const fewHolds = 20

// WavesOf puts together how FECs stand and which waves began, the newest first.
func WavesOf(now Restarts, began []RestartWave) RestartWaves {
	out := RestartWaves{Pause: now.Pause, Count: now.Counts(), Groups: []RestartGroup{}, Holds: holdsOf(now.FECs), Waves: append([]RestartWave{}, began...), FECs: now.FECs, Of: len(now.FECs)}
	counts := map[string]map[string]int{}
	for _, f := range now.FECs {
		if counts[f.Group] == nil {
			counts[f.Group] = map[string]int{}
		}
		counts[f.Group][f.State]++
	}
	for _, g := range now.Groups {
		group := RestartGroup{GroupStanding: g, Count: counts[g.Name]}
		if i := slices.IndexFunc(began, func(w RestartWave) bool { return w.Group == g.Name && w.Wave == g.Wave && w.Wave > 0 }); i >= 0 {
			group.Since = began[i].Opened
		}
		if group.Count != nil {
			out.Groups = append(out.Groups, group)
		}
	}
	return out
}

func holdsOf(fecs []plan.Standing) []RestartHold {
	at := map[string]int{}
	holds := []RestartHold{}
	for _, f := range fecs {
		if f.State != plan.StandsHeld {
			continue
		}
		i, ok := at[f.Why]
		if !ok {
			i = len(holds)
			at[f.Why], holds = i, append(holds, RestartHold{Why: f.Why})
		}
		h := &holds[i]
		if h.FECs++; len(h.Some) < fewFECs {
			h.Some = append(h.Some, f.FEC)
		}
	}
	slices.SortStableFunc(holds, func(a, b RestartHold) int { return cmp.Compare(b.FECs, a.FECs) })
	return holds[:min(len(holds), fewHolds)]
}

// Text writes a table of the waves.
func (r RestartWaves) Text(w io.Writer) error {
	if len(r.Waves) == 0 {
		_, err := io.WriteString(w, "no wave is on record\n")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WAVE\tBEGAN\tWHAT\tFECS\tRUN\tFAILED\tUNDER WAY")
	for _, x := range r.Waves {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\n", x.ID, observed.Minute(x.Opened), observed.Printable(x.Title()), x.FECs, x.Runs, x.Failed, x.Underway)
	}
	return t.Flush()
}

// Text writes a table of its FECs.
func (x RestartWaveFECs) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FEC\tSTATE\tNEEDED\tWAS\tWANTED\tASKED\tTOOK\tWHY")
	for _, f := range x.FECs {
		took := "-"
		if f.Took() > 0 {
			took = f.Took().String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", f.FEC, f.State, f.Need, f.Was, f.Wanted, observed.Minute(f.Began), took, observed.Printable(f.Detail))
	}
	return t.Flush()
}

// RestartFilter says of which FECs it is told; what is empty restricts nothing.
type RestartFilter struct{ State, Group, Text string }

// NoGroup is what FECs of no group are asked for by.
const NoGroup = "-"

// Only tells of fewer FECs.
func (r RestartWaves) Only(f RestartFilter) RestartWaves {
	r.FECs = slices.DeleteFunc(slices.Clone(r.FECs), func(s plan.Standing) bool {
		return f.State != "" && s.State != f.State || f.Group != "" && s.Group != f.Group && (f.Group != NoGroup || s.Group != "") ||
			f.Text != "" && !strings.Contains(s.FEC, f.Text) && !strings.Contains(s.Why, f.Text)
	})
	return r
}

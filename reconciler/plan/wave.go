package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Fleet is all that restarts are decided by.
type Fleet struct {
	Now      time.Time
	Pace     desired.Restarts
	Members  []Member // by name
	Rollouts map[string]observed.Rollout
	Paused   bool
	Stopped  bool      // by an operator: what returns to the release before waits as well
	Since    time.Time // nobody has looked before: no FEC is late because of that
}

// Member is one FEC of a fleet, as it is published.
type Member struct {
	FEC       string
	Groups    []string
	Wanted    int64              // serial that is published for it
	Evidence  *observed.Evidence // the last; nil: it has proved nothing
	Need      Effort             // to come from what it runs to what is wanted
	Held      string             // why it must not be restarted now; empty: it may
	Doubted   bool               // somebody has reported something else since, without proof: it is asked
	Unasked   bool               // it has proved nothing, and has not been asked yet: no wave begins before that
	Returning bool               // to the release before, because the last one did not run: that does not wait for its turn
}

// Standing is how one FEC of a fleet stands, for people.
type Standing struct {
	FEC    string    `json:"fec"`
	Group  string    `json:"group,omitempty"` // whose pace it keeps; empty: of no group
	State  string    `json:"state"`           // one of those below
	Wanted int64     `json:"wanted"`
	Need   string    `json:"need,omitempty"` // restart or reboot
	Wave   int64     `json:"wave,omitempty"`
	Why    string    `json:"why,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// States of a standing.
const (
	StandsCurrent  = "current"  // runs what is wanted, or needs nothing for it
	StandsUnknown  = "unknown"  // has proved nothing, and is asked
	StandsHeld     = "held"     // must not be restarted
	StandsWaiting  = "waiting"  // for its turn
	StandsUnderway = "underway" // is restarting
	StandsFailed   = "failed"
	StandsSkipped  = "skipped"
)

// Waves is what to do next about a fleet.
type Waves struct {
	Begin    []observed.Rollout // FECs to restart or reboot now, each as it is to be recorded before it is asked
	Set      []observed.Rollout // what has become of others: to be recorded
	Forget   []string           // FECs whose rollout is over
	Look     []string           // FECs to be asked what they run, because nobody knows for certain
	Watch    []string           // FECs that are restarting: to be asked how far they are
	Failed   []observed.Rollout // of Set, those that have just failed
	Late     []string           // of Failed, those that did not say so in time
	Broken   []string           // FECs whose init scripts fail as they are published, whoever started them
	Pause    string             // why nothing more is to be restarted; empty: nothing new
	Standing []Standing         // by FEC
	Groups   []GroupStanding    // in their order
}

// GroupStanding is how far the FECs of a group have come that keep one pace, for people.
type GroupStanding struct {
	Name     string       `json:"name"` // empty: those of none of them
	Pace     desired.Pace `json:"pace"`
	Wave     int64        `json:"wave"` // the last that began; 0: none that still counts
	Size     int          `json:"size"` // of it
	Run      int          `json:"run"`  // of it
	Underway int          `json:"underway"`
	Enough   int          `json:"enough"`         // of it must run before the next begins
	Waiting  int          `json:"waiting"`        // for their turn
	Failed   int          `json:"failed"`         // that count
	TooMany  int          `json:"tooMany"`        // of those pause everything
	Rests    time.Time    `json:"rests,omitzero"` // the next wave begins no earlier
}

// Restarts decides which FECs are restarted next: group by group, wave by wave, none twice for one serial unless an operator wants it.
func Restarts(f Fleet) Waves {
	d := decision{Fleet: f, teams: map[string]*team{}, order: sequence(f.Pace)}
	d.out.Standing = make([]Standing, 0, len(f.Members))
	for i, name := range d.order {
		d.teams[name] = &team{name: name, turn: i, pace: f.Pace.For(name)}
	}
	for _, m := range f.Members {
		d.member(m)
	}
	d.judge()
	d.tell()
	if !d.Paused && d.out.Pause == "" && !slices.ContainsFunc(f.Members, func(m Member) bool { return m.Unasked }) {
		d.next()
	}
	d.close()
	return d.out
}

type decision struct {
	Fleet
	order []string // of the teams
	teams map[string]*team
	out   Waves
}

// team is the FECs of a group, or those of none, that keep one pace.
type team struct {
	name    string
	turn    int // from 0
	pace    desired.Pace
	waiting []Member
	rows    []observed.Rollout // that count
	failed  []observed.Rollout
	latest  int64 // wave
}

// sequence is the groups in their order, and last the FECs of none of them.
func sequence(pace desired.Restarts) []string {
	out := slices.Clone(pace.Order)
	for _, name := range sortedKeys(pace.Groups) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return append(out, "")
}

// teamOf is the first group of the order that a FEC is a member of.
func (d *decision) teamOf(m Member) *team {
	first := d.teams[""]
	for _, name := range m.Groups {
		if t := d.teams[name]; t != nil && t.turn < first.turn {
			first = t
		}
	}
	return first
}

// member finds out how one FEC stands.
func (d *decision) member(m Member) {
	t := d.teamOf(m)
	r, known := d.Rollouts[m.FEC]
	s := Standing{FEC: m.FEC, Group: t.name, Wanted: m.Wanted, Need: m.Need.What, Since: r.At, Wave: r.Wave}
	if known {
		r, known = d.advance(m, t, r)
	}
	if known && r.Need != "" {
		s.Need = r.Need
	}
	e := m.Evidence
	if e != nil && e.Serial == m.Wanted && e.State == "init-failed" && !(known && r.Underway()) {
		d.out.Broken = append(d.out.Broken, m.FEC)
	}
	switch {
	case known && r.Underway():
		s.State, s.Why = StandsUnderway, r.Need
		t.count(r)
		d.out.Watch = append(d.out.Watch, m.FEC)
	case runs(e, m.Wanted):
		s.State, s.Since, s.Need = StandsCurrent, e.At, ""
		if known {
			t.count(r)
		}
	case e == nil:
		s.State, s.Why, s.Need = StandsUnknown, "has not proved what it runs", ""
		d.out.Look = append(d.out.Look, m.FEC)
		if m.Held != "" {
			s.Why += ": " + m.Held
		}
	case known && r.State == observed.RolloutSkipped:
		s.State, s.Why = StandsSkipped, r.Detail
		t.count(r)
	case known && r.State == observed.RolloutFailed:
		s.State, s.Why = StandsFailed, r.Detail
		t.count(r)
	case known && r.State == observed.RolloutNow:
		s.State, s.Why = StandsWaiting, "an operator wants it now"
		if m.Held != "" {
			s.State, s.Why = StandsHeld, m.Held
			break
		}
		d.begin(m, t, 0)
	case e.State == "fetching" || e.State == "installed":
		s.State, s.Why, s.Since = StandsHeld, "is booting", e.At
		d.out.Look = append(d.out.Look, m.FEC)
	case e.Serial == m.Wanted: // and it does not run
		s.State, s.Why, s.Since = StandsFailed, why(*e), e.At
	case m.Need.What == desired.Nothing:
		s.State, s.Why, s.Need = StandsCurrent, "takes effect at its next boot", ""
	case m.Held != "":
		s.State, s.Why = StandsHeld, m.Held
	case m.Returning && !d.Stopped:
		s.State, s.Why = StandsWaiting, "returns to the release before"
		d.begin(m, t, 0)
	default:
		s.State, s.Why = StandsWaiting, strings.Join(m.Need.Why, ", ")
		t.waiting = append(t.waiting, m)
	}
	if last := len(d.out.Look) - 1; m.Doubted && s.State != StandsUnderway && (last < 0 || d.out.Look[last] != m.FEC) {
		d.out.Look = append(d.out.Look, m.FEC)
	}
	d.out.Standing = append(d.out.Standing, s)
}

// advance is what has become of a rollout since it was recorded; false if it is none any more.
func (d *decision) advance(m Member, t *team, r observed.Rollout) (observed.Rollout, bool) {
	e := m.Evidence
	limit := t.pace.Limit()
	set := func(state, detail string) {
		r.State, r.Detail, r.At = state, detail, d.Now
		d.out.Set = append(d.out.Set, r)
		if state == observed.RolloutFailed {
			d.out.Failed = append(d.out.Failed, r)
		}
	}
	news := e != nil && e.At.After(r.At)
	switch {
	case r.Underway() && news && e.State == "running" && e.Serial >= r.Wanted:
		r.Wanted = e.Serial // what was published meanwhile, it may have fetched
		set(observed.RolloutRuns, "")
	case r.State == observed.RolloutFailed && r.Wanted == m.Wanted && runs(e, m.Wanted):
		set(observed.RolloutRuns, "") // late
	case r.State == observed.RolloutAsked && news && e.Serial == r.Was && e.Serial < r.Wanted && r.Wanted != m.Wanted && (e.State == "running" || e.State == "fallback"):
		// It was not restarted: something else is published meanwhile, which may need more.
		if r.Wave > 0 {
			d.out.Forget = append(d.out.Forget, m.FEC)
			return r, false
		}
		set(observed.RolloutNow, "")
	case r.State == observed.RolloutAsked && news && ended(e.State):
		set(observed.RolloutFailed, why(*e))
	case r.Underway() && d.Now.Sub(r.At) > limit && d.Now.Sub(d.Since) > limit:
		set(observed.RolloutFailed, fmt.Sprintf("does not run %s after it was asked to %s", limit, r.Need))
		d.out.Late = append(d.out.Late, m.FEC)
	case r.State == observed.RolloutNow && runs(e, m.Wanted):
		set(observed.RolloutRuns, "")
	}
	if !r.Underway() && r.State != observed.RolloutNow && r.Wanted != m.Wanted {
		return r, false // something else is published since
	}
	return r, true
}

// runs says whether a FEC has proved that it runs a serial.
func runs(e *observed.Evidence, serial int64) bool {
	return e != nil && e.State == "running" && e.Serial == serial
}

// ended says whether a state is one in which a boot or a restart ends badly.
func ended(state string) bool {
	return state == "failed" || state == "init-failed" || state == "fallback"
}

func why(e observed.Evidence) string {
	if e.Detail == "" {
		return e.State
	}
	return e.State + ": " + e.Detail
}

func (t *team) count(r observed.Rollout) {
	if r.Closed || r.Wave == 0 {
		return
	}
	t.rows, t.latest = append(t.rows, r), max(t.latest, r.Wave)
	if r.State == observed.RolloutFailed {
		t.failed = append(t.failed, r)
	}
}

// size is how many FECs of the team there are to restart in all.
func (t *team) size() int { return len(t.rows) + len(t.waiting) }

// wave is how the last wave of a team stands.
func (t *team) wave() (n, run, underway int, last time.Time) {
	for _, r := range t.rows {
		if r.Wave != t.latest {
			continue
		}
		n++
		switch {
		case r.Underway():
			underway++
			continue
		case r.State == observed.RolloutRuns || r.State == observed.RolloutSkipped:
			run++
		}
		if r.At.After(last) {
			last = r.At
		}
	}
	return n, run, underway, last
}

// judge pauses everything when too many FECs fail.
func (d *decision) judge() {
	if d.Paused {
		return
	}
	waiting := 0
	for _, t := range d.teams {
		waiting += len(t.waiting)
	}
	for _, name := range d.order {
		t := d.teams[name]
		n, run, underway, _ := t.wave()
		enough := t.pace.Enough(n)
		switch {
		case len(t.failed) > 0 && len(t.failed) >= t.pace.TooMany(t.size()):
			d.out.Pause = fmt.Sprintf("%s of %s failed (%s): %s", count(len(t.failed), "FEC"), t.title(), t.names(), t.failed[0].Detail)
		case underway == 0 && run < enough && waiting > 0:
			d.out.Pause = fmt.Sprintf("in wave %d of %s only %d of %d FECs run, and %d must (%s)", t.latest, t.title(), run, n, enough, t.names())
		default:
			continue
		}
		return
	}
}

// tell says how groups stand.
func (d *decision) tell() {
	for _, name := range d.order {
		t := d.teams[name]
		g := GroupStanding{Name: name, Pace: t.pace, Wave: t.latest, Waiting: len(t.waiting), Failed: len(t.failed), TooMany: t.pace.TooMany(t.size())}
		var last time.Time
		g.Size, g.Run, g.Underway, last = t.wave()
		g.Enough = t.pace.Enough(g.Size)
		if rests := last.Add(t.pace.Rest()); g.Size > 0 && d.Now.Before(rests) {
			g.Rests = rests
		}
		d.out.Groups = append(d.out.Groups, g)
	}
}

func (t *team) title() string {
	if t.name == "" {
		return "no group"
	}
	return "group " + t.name
}

func (t *team) names() string {
	var names []string
	for _, r := range t.failed {
		names = append(names, r.FEC)
	}
	return desired.Few(names)
}

// next begins the next wave of the first group that is not done.
func (d *decision) next() {
	for _, name := range d.order {
		t := d.teams[name]
		n, run, underway, last := t.wave()
		rests := n > 0 && d.Now.Before(last.Add(t.pace.Rest()))
		if len(t.waiting) == 0 {
			if underway > 0 || rests {
				return // it is not done, and the next group waits for it
			}
			continue
		}
		if underway > 0 && run < t.pace.Enough(n) || rests {
			return
		}
		for _, m := range t.waiting[:min(t.pace.Size(t.size()), len(t.waiting))] {
			d.begin(m, t, t.latest+1)
		}
		return
	}
}

func (d *decision) begin(m Member, t *team, wave int64) {
	need := m.Need
	if need.What == desired.Nothing {
		need.What = desired.Reboot // an operator wants it
	}
	if e := m.Evidence; e.State != "running" && e.State != "fallback" {
		need.What, need.Software = desired.Reboot, nil // its scripts were not run to the end
	}
	d.out.Begin = append(d.out.Begin, observed.Rollout{
		FEC: m.FEC, Wanted: m.Wanted, Was: m.Evidence.Serial, Need: need.What, Software: strings.Join(need.Software, " "),
		Group: t.name, Wave: wave, State: observed.RolloutAsking, At: d.Now, Opened: d.Now,
	})
}

// close ends what is done: when nothing waits or is under way any more, no FEC counts for a wave, and those that run are forgotten.
func (d *decision) close() {
	wanted := map[string]int64{}
	for _, m := range d.Members {
		wanted[m.FEC] = m.Wanted
	}
	done := len(d.out.Begin)+len(d.out.Watch)+len(d.out.Set) == 0 && !d.Paused && d.out.Pause == ""
	for _, t := range d.teams {
		done = done && len(t.waiting) == 0
	}
	for _, name := range sortedKeys(d.Rollouts) {
		r := d.Rollouts[name]
		serial, there := wanted[name]
		switch {
		case !there, done && (r.State == observed.RolloutRuns || r.Wanted != serial && r.State != observed.RolloutNow):
			d.out.Forget = append(d.out.Forget, name)
		case done && !r.Closed && r.State != observed.RolloutNow:
			r.Closed = true
			d.out.Set = append(d.out.Set, r)
		}
	}
}

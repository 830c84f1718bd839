package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// FECSeen is all that is known of a FEC: how it is and why, what it ran, and what it has in common with others.
type FECSeen struct {
	FEC
	Declared   *desired.FEC         `json:"declared"` // as published; nil: it is not
	Why        *Explanation         `json:"why"`      // of what is published; nil: nobody knows
	Ran        []Ran                `json:"ran"`      // what was published for it, the newest first
	Boot       []observed.FECReport `json:"boot"`     // what it said in its last boot, the first first
	Data       *DataList            `json:"data"`     // nil: nobody knows
	Monitoring *Monitoring          `json:"monitoring"`
	Touches    []Touch              `json:"touches"` // what decides about it, and how many others that touches
	Then       *FECThen             `json:"then,omitempty"`
	Beside     *FECBeside           `json:"beside,omitempty"`
	Trouble    []string             `json:"trouble,omitempty"` // what is not known, and why
}

// Ran is what was published for a FEC, and what became of it there.
type Ran struct {
	Release
	Until   time.Time `json:"until,omitzero"` // something else was published; zero: nothing was
	Author  string    `json:"author,omitempty"`
	Subject string    `json:"subject,omitempty"`
	First   time.Time `json:"first,omitzero"`  // report that it runs, of those that are kept
	Last    time.Time `json:"last,omitzero"`   // likewise
	Boots   int       `json:"boots,omitempty"` // that ended well, likewise
	Failed  string    `json:"failed,omitempty"`
}

// Outcome says in a few words what became of it.
func (r Ran) Outcome() string {
	switch {
	case !r.First.IsZero() && r.Failed != "":
		return "ran, and failed: " + r.Failed
	case !r.First.IsZero():
		return "ran"
	case r.Failed != "":
		return "failed: " + r.Failed
	}
	return "no report of it is kept"
}

// Monitoring is what monitoring systems are told of a FEC, as it is served.
type Monitoring struct {
	Groups  []string           `json:"groups,omitempty"`
	Icinga  string             `json:"icinga,omitempty"`  // its objects
	Targets []PrometheusTarget `json:"targets,omitempty"` // that give metrics themselves
	Probes  []PrometheusTarget `json:"probes,omitempty"`  // of a blackbox exporter
}

// PrometheusTarget is a target with its labels.
type PrometheusTarget struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// Touch is something that decides about a FEC, and whom a change of it touches.
type Touch struct {
	Kind    string         `json:"kind"` // software, configuration, script, group or file
	Name    string         `json:"name"`
	Version string         `json:"version,omitempty"`
	File    string         `json:"file,omitempty"` // or folder of the repository, whose content it is
	FECs    int            `json:"fecs"`           // this one among them
	AtMost  bool           `json:"atMost,omitempty"`
	Some    []string       `json:"some"` // others of them
	Groups  map[string]int `json:"groups,omitempty"`
}

// FECThen is what was published for a FEC, and what it ran, at a time.
type FECThen struct {
	At        time.Time           `json:"at"`
	Wanted    string              `json:"wanted,omitempty"` // commit that the branch named at the last pass before
	Pass      *observed.Pass      `json:"pass"`
	Published *Ran                `json:"published"` // nil: it is not known, or nothing was
	Running   *Release            `json:"running"`   // nil: it is not known
	Said      *observed.FECReport `json:"said"`      // the last before, of those that count
	Holds     []observed.Hold     `json:"holds"`     // of operators and after failures, by the groups that it is in now
	Unknown   []string            `json:"unknown"`   // what is not known, and why
}

// ThenOf finds what is known of a time: of what was published, the newest first, and of reports, the newest first. A report that is not proven counts
// for nothing once the FEC has proven one by a token.
func ThenOf(at time.Time, ran []Ran, reports []observed.FECReport) *FECThen {
	t := &FECThen{At: at.UTC(), Holds: []observed.Hold{}, Unknown: []string{}}
	if i := slices.IndexFunc(ran, func(r Ran) bool { return !r.Since.IsZero() && !r.Since.After(at) }); i >= 0 {
		t.Published = &ran[i]
	} else {
		t.Unknown = append(t.Unknown, "what was published for it: "+oldest(len(ran), "release", func(i int) time.Time { return ran[i].Since }))
	}
	token := slices.ContainsFunc(reports, func(r observed.FECReport) bool { return r.Source == observed.FromToken && !r.At.After(at) })
	for i, r := range reports {
		if r.At.After(at) || r.Preview > 0 || token && !r.Proven() {
			continue
		}
		if t.Said == nil {
			t.Said = &reports[i]
		}
		if r.State == "failed" || r.State == "init-failed" {
			break // after that it ran nothing for certain
		}
		if r.State == "running" || r.State == "fallback" {
			t.Running = &Release{Serial: r.Serial, Since: r.At, Source: r.Source, From: r.From, Dev: r.Dev}
			break
		}
	}
	switch {
	case t.Said == nil:
		t.Unknown = append(t.Unknown, "what it ran: "+oldest(len(reports), "report", func(i int) time.Time { return reports[i].At }))
	case t.Running == nil:
		t.Unknown = append(t.Unknown, fmt.Sprintf("what it ran: the last that it had said is %s with serial %d at %s", t.Said.State, t.Said.Serial, observed.Minute(t.Said.At)))
	default:
		if i := slices.IndexFunc(ran, func(r Ran) bool { return r.Serial == t.Running.Serial }); i >= 0 {
			x := ran[i].Release
			x.Since, x.Source, x.From, x.Dev = t.Running.Since, t.Running.Source, t.Running.From, t.Running.Dev
			t.Running = &x
		}
	}
	return t
}

func oldest(n int, what string, at func(int) time.Time) string {
	if n == 0 {
		return "no " + what + " is kept"
	}
	return fmt.Sprintf("the oldest %s that is kept is of %s", what, observed.Minute(at(n-1)))
}

// LastBoot are the reports of the last boot or restart, the first first: of some, the newest first. Answers over ssh are none of it.
func LastBoot(reports []observed.FECReport) []observed.FECReport {
	out := []observed.FECReport{}
	for _, r := range reports {
		if r.Source == observed.FromSSH {
			continue
		}
		under := r.State == "fetching" || r.State == "installed"
		if len(out) > 0 && (!under || r.Serial != out[0].Serial || out[len(out)-1].State == "fetching") {
			break
		}
		if out = append(out, r); r.State == "fetching" {
			break
		}
	}
	slices.Reverse(out)
	return out
}

// FECBeside is another FEC beside one, row by row.
type FECBeside struct {
	Name    string      `json:"name"`
	Rows    []BesideRow `json:"rows"`
	Differ  int         `json:"differ"`
	Trouble string      `json:"trouble,omitempty"` // why it is not there
}

// BesideRow is one fact of both.
type BesideRow struct {
	Name  string `json:"name"`
	One   string `json:"one"`
	Other string `json:"other"`
	Same  bool   `json:"same"`
}

// BesideOf compares two FECs.
func BesideOf(a, b FECSeen) *FECBeside {
	out := &FECBeside{Name: b.Name, Rows: []BesideRow{}}
	one, other := a.facts(), b.facts()
	names := slices.Clone(one.names)
	for i, name := range other.names {
		if _, both := one.of[name]; !both { // after what it stands behind there
			at := 0
			if i > 0 {
				at = slices.Index(names, other.names[i-1]) + 1
			}
			names = slices.Insert(names, at, name)
		}
	}
	for _, name := range names {
		row := BesideRow{Name: name, One: one.of[name], Other: other.of[name]}
		if row.Same = row.One == row.Other; !row.Same {
			out.Differ++
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

// facts are words by name, in order.
type facts struct {
	names []string
	of    map[string]string
}

func (f *facts) add(name, text string) {
	f.names = append(f.names, name)
	f.of[name] = text
}

func (x FECSeen) facts() facts {
	f := facts{of: map[string]string{}}
	f.add("condition", string(x.Condition))
	f.add("platform", x.Platform)
	d := desired.FEC{}
	if x.Declared != nil {
		d = *x.Declared
	}
	f.add("location", d.Location)
	f.add("groups", strings.Join(slices.Sorted(slices.Values(d.Groups)), ", "))
	for _, at := range []struct {
		stage string
		r     *Release
	}{{"wanted", x.Wanted}, {"published", x.Published}, {"running", x.Running}} {
		r := cmp.Or(at.r, &Release{})
		f.add(at.stage+" commit", r.Commit)
		for _, name := range slices.Sorted(maps.Keys(r.Software)) {
			f.add(at.stage+" software "+name, r.Software[name])
		}
		for _, name := range slices.Sorted(maps.Keys(r.Configuration)) {
			f.add(at.stage+" configuration "+name, r.Configuration[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Init)) {
		i := d.Init[name]
		f.add("init script "+name, strings.TrimSpace(cmp.Or(i.File, "global "+i.Global)+" "+i.Starts))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Persistence)) {
		f.add("persistent data "+name, d.Persistence[name].Schema+" "+d.Persistence[name].Path)
	}
	f.add("monitoring groups", strings.Join(slices.Sorted(slices.Values(d.Monitoring.Groups)), ", "))
	for _, name := range slices.Sorted(maps.Keys(d.Monitoring.Services)) {
		s := d.Monitoring.Services[name]
		f.add("monitoring service "+name, strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Check, portOf(s.Port), s.Target)))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Labels)) {
		f.add("label "+name, d.Labels[name])
	}
	var holds []string
	for _, h := range x.Holds {
		holds = append(holds, h.String())
	}
	f.add("held", strings.Join(holds, "; "))
	f.add("inhibited", x.Inhibit)
	restart := ""
	if x.Restart != nil {
		restart = x.Restart.Need + ": " + x.Restart.State
	}
	f.add("restart", restart)
	f.add("differs", strings.Join(x.Differs, "; "))
	return f
}

func portOf(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

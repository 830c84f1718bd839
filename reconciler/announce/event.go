package announce

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// Event is something that people may want to be told.
type Event struct {
	Site      string    `json:"site"`
	Severity  Severity  `json:"severity"`
	Kind      Kind      `json:"kind"`
	Recovered bool      `json:"recovered,omitempty"` // what an earlier event of this kind said is over
	Title     string    `json:"title"`               // one line
	Text      string    `json:"text,omitempty"`      // lines
	Commit    string    `json:"commit,omitempty"`    // 40 hex digits
	Pilot     string    `json:"pilot,omitempty"`     // that it is about
	At        time.Time `json:"at"`
}

// Severity is how much an event matters.
type Severity string

// Severities, the least first.
const (
	Info    Severity = "info"
	Warning Severity = "warning"
	Error   Severity = "error" // a person must act
)

var severities = []Severity{Info, Warning, Error}

// Kind is what an event is about.
type Kind string

// Kinds of events. All but Published, DamageRepaired, FECFailed, CampaignEnded and those about pilots last until they have recovered.
const (
	PassFailed     Kind = "pass-failed"
	SiteProblems   Kind = "site-problems" // the branch holds an invalid commit
	PruneRefused   Kind = "prune-refused" // a commit takes away more than it may
	FetchFailing   Kind = "fetch-failing"
	DamageRepaired Kind = "damage-repaired"
	Published      Kind = "published"
	WebhookSilent  Kind = "webhook-silent"  // the branch moves, and no webhook says so
	CollectFailing Kind = "collect-failing" // persistent data of FECs grows old
	HookFailing    Kind = "hook-failing"    // a program is not told of what is published
)

// lasts says whether a kind of event is over only when a later one says so.
func (k Kind) lasts() bool {
	return k != DamageRepaired && k != Published && k != FECFailed && k != CampaignEnded && !k.isPilot()
}

// Route says which events somebody is told. The zero value is all of them.
type Route struct {
	Kinds    []Kind   // none: all
	Sites    []string // none: all
	Severity Severity // the least; empty: info
}

func (r Route) takes(e Event) bool {
	return (len(r.Kinds) == 0 || slices.Contains(r.Kinds, e.Kind)) && (len(r.Sites) == 0 || slices.Contains(r.Sites, e.Site)) &&
		slices.Index(severities, e.Severity) >= slices.Index(severities, r.Severity)
}

// changing is what differs each time that one thing is said: counters, sizes, random names.
var changing = regexp.MustCompile(`[0-9A-Z]{16,}|[0-9]+`)

// hash is the same for events that say the same.
func (e Event) hash() string {
	said := fmt.Sprintf("%q %q %q %t %q %q", e.Site, e.Kind, e.Commit, e.Recovered, e.Title, changing.ReplaceAllString(e.Text, "0"))
	if e.Pilot != "" {
		said += " " + e.Pilot
	}
	sum := sha256.Sum256([]byte(said))
	return hex.EncodeToString(sum[:8])
}

// id tells one event from every other, also from the same one later.
func (e Event) id() string { return fmt.Sprintf("%s-%d", e.hash(), e.At.UnixNano()) }

const listed = 20 // problems and paths in an event

// OfPass are the events that the end of a pass gives. What goes on is given by each pass: a Notifier tells it once.
func OfPass(site string, rep report.Report, err error, now time.Time) (events []Event) {
	add := func(s Severity, k Kind, title, text string) {
		events = append(events, Event{Site: site, Severity: s, Kind: k, Title: title, Text: text, Commit: rep.Commit, At: now})
	}
	over := func(kinds ...Kind) {
		for _, k := range kinds {
			events = append(events, Event{Site: site, Kind: k, Recovered: true, Title: recovered[k], Commit: rep.Commit, At: now})
		}
	}
	if len(rep.Repaired) > 0 {
		add(Warning, DamageRepaired, fmt.Sprintf("repaired %d damaged paths", len(rep.Repaired)), few(rep.Repaired, func(i int) string { return rep.Repaired[i].Path + " " + rep.Repaired[i].What }))
	}
	switch Outcome(rep, err) {
	case "published":
		g := rep.Plan.Publish.Generation
		add(Info, Published, fmt.Sprintf("published generation %d: %d FECs change", g.Number, len(rep.Plan.FECs)), few(rep.Plan.FECs, func(i int) string { return rep.Plan.FECs[i].Name }))
		over(PassFailed, SiteProblems, PruneRefused)
	case "noop":
		over(PassFailed, SiteProblems, PruneRefused)
	case "invalid":
		ps := problemsOf(err).Blocking()
		add(Error, SiteProblems, fmt.Sprintf("commit %.12s has problems and is not published", rep.Commit), few(ps, func(i int) string { return ps[i].String() }))
		over(PassFailed, PruneRefused)
	case "refused":
		ps := rep.Plan.Refused
		add(Error, PruneRefused, fmt.Sprintf("commit %.12s removes too much and is not published", rep.Commit), few(ps, func(i int) string { return ps[i].String() }))
		over(PassFailed, SiteProblems)
	default:
		add(Error, PassFailed, "a pass failed; what is published stays served", err.Error())
	}
	return events
}

var recovered = map[Kind]string{
	PassFailed: "passes succeed again", SiteProblems: "the branch is valid again", PruneRefused: "the commit is published or replaced",
	FetchFailing: "the repository can be read again", WebhookSilent: "webhooks say again that the branch moves",
	CollectFailing: "all persistent data is collected again",
}

func few[T any](all []T, line func(int) string) string {
	var lines []string
	for i := range all {
		if i == listed {
			lines = append(lines, fmt.Sprintf("and %d more", len(all)-listed))
			break
		}
		lines = append(lines, line(i))
	}
	return strings.Join(lines, "\n")
}

// Fetches notices that a repository cannot be read for long. The zero value has seen none.
type Fetches struct{ failing time.Time }

// Of is the event that an attempt gives: that it succeeds, or that none has for patience. Nil, if there is none yet.
func (f *Fetches) Of(site string, err error, patience time.Duration, now time.Time) *Event {
	if err == nil {
		f.failing = time.Time{}
		return &Event{Site: site, Kind: FetchFailing, Recovered: true, Title: recovered[FetchFailing], At: now}
	}
	if f.failing.IsZero() {
		f.failing = now
	}
	if now.Sub(f.failing) < patience {
		return nil
	}
	return &Event{Site: site, Severity: Error, Kind: FetchFailing, At: now, Text: err.Error(),
		Title: "the repository cannot be read since " + f.failing.UTC().Format("2006-01-02 15:04 UTC")}
}

// OfHooks is the event that some hooks after publication fail, or that none does.
func OfHooks(site string, failing []string, text string, now time.Time) Event {
	if len(failing) == 0 {
		return Event{Site: site, Kind: HookFailing, Recovered: true, Title: "every hook is told of what is published again", At: now}
	}
	return Event{Site: site, Severity: Error, Kind: HookFailing, Title: "not told of what is published: hook " + strings.Join(failing, ", "), Text: text, At: now}
}

// Uncollected is persistent data of a FEC that is not collected any more.
type Uncollected struct {
	FEC, Data string
	Since     time.Time
	Err       error
}

// Collects notices that persistent data is not collected. The zero value has seen none.
type Collects struct {
	told time.Time
	what string
}

// collectPatience is how long people are left alone with more and more of the same.
const collectPatience = 15 * time.Minute

// Of is the event that what fails now gives, in the order of FECs; nil, if there is nothing new to say.
func (c *Collects) Of(site string, failing []Uncollected, now time.Time) *Event {
	if len(failing) == 0 {
		c.what = ""
		return &Event{Site: site, Kind: CollectFailing, Recovered: true, Title: recovered[CollectFailing], At: now}
	}
	text := few(failing, func(i int) string {
		return fmt.Sprintf("%s %s since %s: %v", failing[i].FEC, failing[i].Data, failing[i].Since.UTC().Format("2006-01-02 15:04 UTC"), failing[i].Err)
	})
	if text == c.what || c.what != "" && now.Sub(c.told) < collectPatience {
		return nil
	}
	c.told, c.what = now, text
	return &Event{Site: site, Severity: Warning, Kind: CollectFailing, Title: "persistent data of FECs is not collected; what was collected stays", Text: text, At: now}
}

// problemsOf are the problems of a site that an error holds, if any.
func problemsOf(err error) desired.Problems {
	ps, _ := asProblems(err)
	return ps
}

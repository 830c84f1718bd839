package observed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Hold is a reasoned, expiring block on a scope: it keeps what is published there, or starts nothing new.
type Hold struct {
	ID     string    `json:"id"`
	Scope  string    `json:"scope"`  // site, fecs.NAME, groups.NAME, campaigns, campaigns.NAME or campaigns.NAME/STAGE
	Kind   string    `json:"kind"`   // desired.Stay or desired.Stop
	Source string    `json:"source"` // who placed it: one of the sources below
	Reason string    `json:"reason"`
	By     string    `json:"by,omitempty"`
	Commit string    `json:"commit,omitempty"` // that stays published; empty: whichever is when it comes into force
	Bad    string    `json:"bad,omitempty"`    // commit that was rolled back: a newer one ends the hold
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"` // zero: until what it depends on changes
}

// Sources of holds.
const (
	FromGit      = "git"
	FromCalendar = "calendar"
	FromMachine  = "machine"
	FromOperator = "operator"
	FromFailure  = "failure"
)

// String is the hold in a few words: h-3 of ann since 2026-11-21 10:00 UTC until 2026-11-22 10:00 UTC: commissioning.
func (h Hold) String() string {
	s := h.ID
	if h.By != "" {
		s += " of " + h.By
	}
	if !h.Since.IsZero() {
		s += " since " + Minute(h.Since)
	}
	if !h.Until.IsZero() {
		s += " until " + Minute(h.Until)
	}
	return s + ": " + Printable(h.Reason)
}

// Minute is a time as people read it.
func Minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// Held is one FEC that stays as an earlier commit says.
type Held struct {
	FEC     string   `json:"fec"`
	Commit  string   `json:"commit"`  // 40 hex digits
	Expired []string `json:"expired"` // its permissions that have passed, as when it was held
	By      []string `json:"by"`      // ids of the holds, sorted
	// what it has of pilots, by software
	Pilots []HeldPilot `json:"pilots,omitempty"`
}

// HeldPilot is a version that a FEC stays at because a pilot has put it there.
type HeldPilot struct {
	Software string `json:"software"`
	Version  string `json:"version"`
	Pilot    string `json:"pilot"`
	Wave     int    `json:"wave"` // from 1
}

// Override sets a hold out of force for a while.
type Override struct {
	Hold   string    `json:"hold"`
	Reason string    `json:"reason"`
	By     string    `json:"by,omitempty"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// String is the override in a few words.
func (o Override) String() string {
	return fmt.Sprintf("%s since %s until %s: %s", o.By, Minute(o.Since), Minute(o.Until), Printable(o.Reason))
}

// Machine is what one machine said of itself: whether changes must wait.
type Machine struct {
	Name   string
	Scope  string
	Reason string
	Hold   bool
	State  string // what it said, or why it could not be asked
}

// Pass is how one pass ended.
type Pass struct {
	Started    time.Time       `json:"started"`
	Ended      time.Time       `json:"ended"`
	Wanted     string          `json:"wanted"`     // commit that the branch named
	Published  string          `json:"published"`  // commit that is published after it
	Generation int64           `json:"generation"` // likewise
	Outcome    string          `json:"outcome"`    // Published, Unchanged, Invalid or Failed
	Reason     string          `json:"reason,omitempty"`
	Blocked    json.RawMessage `json:"-"` // what holds kept back, as a plan writes it

	Number int64     `json:"number,omitempty"` // in the ledger
	Did    string    `json:"did,omitempty"`    // in a few words; empty: nothing
	Stages []Stage   `json:"stages,omitempty"` // in their order
	Again  int64     `json:"again,omitempty"`  // how many passes after it said the same
	Last   time.Time `json:"last,omitzero"`    // when the last of them ended
}

// Stage is how long a stage of a pass took.
type Stage struct {
	Name string        `json:"name"`
	Took time.Duration `json:"took"` // nanoseconds
}

// Took is how long the pass took.
func (p Pass) Took() time.Duration { return p.Ended.Sub(p.Started) }

// Says says whether another pass says the same as this one, or only that what this one did stands.
func (p Pass) Says(next Pass) bool {
	same := p.Outcome == next.Outcome && p.Reason == next.Reason || p.Outcome == Published && next.Outcome == Unchanged
	return same && next.Did == "" && p.Wanted == next.Wanted && p.Published == next.Published && p.Generation == next.Generation && bytes.Equal(p.Blocked, next.Blocked)
}

// Outcomes of a pass.
const (
	Published = "published" // another generation
	Unchanged = "unchanged" // nothing was to be published
	Invalid   = "invalid"   // a person must change the site
	Failed    = "failed"    // it is tried again
)

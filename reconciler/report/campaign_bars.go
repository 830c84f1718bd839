package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// SubmissionFilter says which submissions of a campaign are shown; what is empty restricts nothing.
type SubmissionFilter struct {
	Stage       string
	State       observed.SubmissionState
	From, Until time.Time // they were under way at some moment between
	Page        int       // from 1
}

// CampaignSubmissions is a page of the submissions of a campaign, those that were handed in last first.
type CampaignSubmissions struct {
	UID         string    `json:"uid"`
	Stages      []string  `json:"stages"` // of the campaign
	Submissions []Attempt `json:"submissions"`
	Found       int       `json:"found"` // that the filter lets through
	Page        int       `json:"page"`
	At          time.Time `json:"at"`
}

// SliceFilter says which slices of a campaign are shown; what is empty restricts nothing.
type SliceFilter struct {
	Stage string
	State observed.SliceState
	Text  string // in its id, label or detail
	Page  int    // from 1
}

// CampaignSlices is a page of the slices of a campaign, in the order of stages, epochs and ids.
type CampaignSlices struct {
	UID    string                      `json:"uid"`
	Stages []string                    `json:"stages"`
	Counts map[observed.SliceState]int `json:"counts"` // of all, tests and earlier epochs too
	Slices []observed.Slice            `json:"slices"`
	Found  int                         `json:"found"` // that the filter lets through
	Page   int                         `json:"page"`
}

// Rows is how many lines a page of slices or submissions has.
const Rows = 100

// Phase is a part of the life of a submission.
type Phase struct {
	What       string // queued, running, or how it ended
	From, Till time.Time
}

// Phases are the parts of an attempt's life as far as its times tell: how long it waited, and how long it ran and to which end. What goes on lasts
// until now.
func (a Attempt) Phases(now time.Time) (all []Phase) {
	waited, ended := a.Began, a.Ended
	if ended.IsZero() && !a.State.Ended() {
		ended = now
	}
	if waited.IsZero() {
		waited = ended
	}
	if a.Intended.Before(waited) && !a.Intended.IsZero() {
		all = append(all, Phase{"queued", a.Intended, waited})
	}
	switch {
	case !a.Began.IsZero() && !ended.Before(a.Began):
		all = append(all, Phase{string(a.State), a.Began, ended})
	case a.State.Ended(): // it never began, or nobody knows when it ended
		at := cmp.Or(ended, a.Began, a.Intended)
		all = append(all, Phase{string(a.State), at, at})
	}
	return all
}

// Text writes it for people.
func (c CampaignSubmissions) Text(w io.Writer) error {
	return textOf(w, func(t io.Writer) {
		fmt.Fprintln(t, "SLICE\tTRY\tSTATE\tHANDED IN\tBEGAN\tENDED\tHOW\tJOB\tNODE")
		for _, a := range c.Submissions {
			fmt.Fprintf(t, "%s %s\t%d.%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Stage, a.Slice, a.Round, a.Attempt, a.State, secondText(a.Intended), secondText(a.Began), secondText(a.Ended),
				observed.Printable(cmp.Or(a.End, a.Detail, "-")), observed.Printable(cmp.Or(a.Job, "-")), observed.Printable(cmp.Or(a.Node, "-")))
		}
		fmt.Fprint(t, pageText(c.Page, c.Found, "submissions"))
	})
}

// Text writes it for people.
func (c CampaignSlices) Text(w io.Writer) error {
	return textOf(w, func(t io.Writer) {
		fmt.Fprintln(t, "SLICE\tSTATE\tSINCE\tINPUTS\tTRY\tDETAIL")
		for _, s := range c.Slices {
			fmt.Fprintf(t, "%s %s\t%s\t%s\t%d\t%d.%d\t%s\n", s.Stage, s.ID, s.State, observed.Minute(s.At), s.Count, s.Round, s.Tries, observed.Printable(cmp.Or(s.Detail, "-")))
		}
		fmt.Fprint(t, pageText(c.Page, c.Found, "slices"))
	})
}

// textOf writes columns.
func textOf(w io.Writer, write func(io.Writer)) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	write(t)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

// pageText says which page of a list it is.
func pageText(page, all int, of string) string {
	return fmt.Sprintf("page %d of %d, %d %s\n", page, max(1, (all+Rows-1)/Rows), all, of)
}

// secondText is a time as people read it who look closely.
func secondText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}

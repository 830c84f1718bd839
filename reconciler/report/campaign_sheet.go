package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CampaignSheet is what a campaign did on each day. Days are UTC's.
type CampaignSheet struct {
	UID      string     `json:"uid"`
	TimeZone string     `json:"timeZone"` // in which days begin: UTC
	Exits    []string   `json:"exits"`    // columns: exit statuses, signals that no status tells, and NoExit
	Days     []SheetDay `json:"days"`     // the last first; those without anything are left out
	Total    SheetDay   `json:"total"`
}

// SheetDay is what was handed in on a day, and what has become of it.
type SheetDay struct {
	Day       string         `json:"day,omitempty"`
	Requested int            `json:"requested"` // inputs of submissions that were handed in on the day
	Delivered int            `json:"delivered"` // of these, inputs of jobs that have begun
	Jobs      int            `json:"jobs"`      // submissions
	Failed    int            `json:"failed"`    // of these, that have failed, were lost or denied
	Outputs   int            `json:"outputs"`   // files that those have left which ended well
	Pending   int            `json:"pending"`   // inputs of slices that were planned on the day and are neither complete nor cancelled, of the present epoch of each stage
	Exits     map[string]int `json:"exits"`     // of submissions whose end is known
}

// SheetDayOf is a day of a sheet, as it is written.
func SheetDayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// NewSheet sorts days, sums them up and finds the columns of exits.
func NewSheet(uid string, days map[string]SheetDay) CampaignSheet {
	s := CampaignSheet{UID: uid, TimeZone: "UTC", Exits: []string{}, Days: []SheetDay{}, Total: SheetDay{Exits: map[string]int{}}}
	for day, d := range days {
		d.Day = day
		s.Days = append(s.Days, d)
		t := &s.Total
		t.Requested, t.Delivered, t.Jobs, t.Failed = t.Requested+d.Requested, t.Delivered+d.Delivered, t.Jobs+d.Jobs, t.Failed+d.Failed
		t.Outputs, t.Pending = t.Outputs+d.Outputs, t.Pending+d.Pending
		for exit, n := range d.Exits {
			t.Exits[exit] += n
		}
	}
	slices.SortFunc(s.Days, func(a, b SheetDay) int { return strings.Compare(b.Day, a.Day) })
	for exit := range s.Total.Exits {
		s.Exits = append(s.Exits, exit)
	}
	slices.SortFunc(s.Exits, func(a, b string) int { return exitPlace(a) - exitPlace(b) })
	return s
}

// NoExit stands for the exit of submissions that have failed though the batch system tells neither an exit status but 0 nor a signal.
const NoExit = "none"

// ExitText is an exit status or, where there is none, the signal.
func ExitText(exit, signal int) string {
	if exit == 0 && signal != 0 {
		return fmt.Sprintf("signal %d", signal)
	}
	return strconv.Itoa(exit)
}

// exitPlace sorts exit statuses by number, signals after them, NoExit last.
func exitPlace(exit string) int {
	if exit == NoExit {
		return 1 << 20
	}
	number, signal := strings.CutPrefix(exit, "signal ")
	n, _ := strconv.Atoi(number) // it was made of one
	if signal {
		n += 1 << 16
	}
	return n
}

// Meaning is what an exit means by convention; empty: nothing.
func (CampaignSheet) Meaning(exit string) string {
	n := exitPlace(exit)
	switch {
	case exit == NoExit:
		return "they failed without an exit status but 0 and without a signal, as at a limit of time, or without the mark of their end"
	case n == 0:
		return "it ended well"
	case n >= 1<<16:
		return signals[n-1<<16]
	case n > 128 && n <= 128+64:
		return strings.TrimSuffix(fmt.Sprintf("signal %d, %s", n-128, signals[n-128]), ", ")
	}
	return exits[n]
}

// head are the names of a sheet's columns.
func (s CampaignSheet) head() []string {
	head := []string{"day (" + s.TimeZone + ")", "requested", "delivered", "jobs", "failed", "outputs", "pending"}
	for _, exit := range s.Exits {
		head = append(head, "exit("+exit+")")
	}
	return head
}

// row is a day as columns.
func (s CampaignSheet) row(d SheetDay) []string {
	row := []string{d.Day}
	for _, n := range []int{d.Requested, d.Delivered, d.Jobs, d.Failed, d.Outputs, d.Pending} {
		row = append(row, strconv.Itoa(n))
	}
	for _, exit := range s.Exits {
		row = append(row, strconv.Itoa(d.Exits[exit]))
	}
	return row
}

// CSV writes a sheet for spreadsheets (RFC 4180), a line for each day.
func (s CampaignSheet) CSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	rows := [][]string{s.head()}
	for _, d := range s.Days {
		rows = append(rows, s.row(d))
	}
	return c.WriteAll(rows)
}

// Text writes it for people.
func (s CampaignSheet) Text(w io.Writer) error {
	total := s.Total
	total.Day = "all"
	return textOf(w, func(t io.Writer) {
		fmt.Fprintln(t, strings.ToUpper(strings.Join(s.head(), "\t")))
		for _, d := range append(slices.Clone(s.Days), total) {
			fmt.Fprintln(t, strings.Join(s.row(d), "\t"))
		}
	})
}

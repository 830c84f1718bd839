package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// PostMortem is what became of a slice, and what there is to tell why.
type PostMortem struct {
	UID     string              `json:"uid"`
	Stage   string              `json:"stage"`
	Epoch   int                 `json:"epoch"`
	ID      string              `json:"id"`
	Label   string              `json:"label,omitempty"`
	Digest  string              `json:"digest"` // of its inputs and parameters
	Inputs  int                 `json:"inputs"`
	Params  map[string]string   `json:"params,omitempty"`
	Cycle   string              `json:"cycle,omitempty"` // of the schedule
	Test    bool                `json:"test,omitempty"`
	State   observed.SliceState `json:"state"`
	Round   int                 `json:"round"` // how many recoveries there were
	Detail  string              `json:"detail,omitempty"`
	Since   time.Time           `json:"since"`
	Planned time.Time           `json:"planned"`
	// Attempts are its submissions, oldest first.
	Attempts []Attempt `json:"attempts"`
	// Disturbances are what kept campaigns from going on while the slice was under way.
	Disturbances []Disturbance     `json:"disturbances"`
	Recovery     SliceRecovery     `json:"recovery"`
	Decisions    []Decision        `json:"decisions,omitempty"`
	Links        map[string]string `json:"links,omitempty"` // of the last attempt
}

// Attempt is one submission of a slice.
type Attempt struct {
	observed.Submission
	Intended  time.Time `json:"intended,omitzero"`
	Submitted time.Time `json:"submitted,omitzero"`
	Began     time.Time `json:"began,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	End       string    `json:"end,omitempty"` // how it ended, in words
	Asked     Asked     `json:"asked,omitzero"`
	Events    []Event   `json:"events,omitempty"`
	LogFile   string    `json:"logFile,omitempty"`
	Log       []string  `json:"log,omitempty"` // its last lines
	LogWhy    string    `json:"logWhy,omitempty"`
}

// Asked is what an attempt asked for.
type Asked struct {
	CPUs   int           `json:"cpus"`
	Memory int64         `json:"memory"` // bytes
	Time   time.Duration `json:"time"`   // nanoseconds
}

// Event is a state that a submission has been in.
type Event struct {
	State  string    `json:"state"`
	Detail string    `json:"detail,omitempty"`
	At     time.Time `json:"at"`
}

// Disturbance is a time during which something kept campaigns from going on.
type Disturbance struct {
	Kind   string    `json:"kind"` // hold, service or engine
	Name   string    `json:"name"`
	Scope  string    `json:"scope,omitempty"`
	Reason string    `json:"reason"`
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended,omitzero"` // zero: it lasts
}

// SliceRecovery is what the next recovery of a slice would do.
type SliceRecovery struct {
	Select string   `json:"select,omitempty"` // as the stage has it
	Inputs int      `json:"inputs"`           // that it would select
	Names  []string `json:"names,omitempty"`  // the first of them
	Why    string   `json:"why,omitempty"`    // there is none, or what it would select is not known
}

// signals are those that end jobs, by number, as Linux has them.
var signals = map[int]string{1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV",
	12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS"}

// exits are exit statuses that mean something by convention: of shells, of timeout(1), of env(1) and of Pomona's own job script.
var exits = map[int]string{
	74:  "Pomona's job script could not read or write its folder: see the log",
	75:  "denied: another job had claimed this submission",
	124: "its own time limit, as timeout(1) says it",
	125: "a wrapper around the program failed",
	126: "the program cannot be executed",
	127: "the program was not found",
}

// full is the share of the memory that was asked for from which on memory is what a kill was for, probably.
const full = 0.95

// ending is how an attempt ended, in words; empty while it has not.
func (a Attempt) ending() string {
	if !a.State.Ended() {
		return ""
	}
	signal := a.Signal
	if signal == 0 && a.Exit > 128 && a.Exit <= 128+64 {
		signal = a.Exit - 128
	}
	switch {
	case a.State == observed.SubmissionDone:
		return "exit status 0"
	case a.State == observed.SubmissionDenied:
		return exits[75]
	case a.State == observed.SubmissionLost:
		return "lost: nobody has seen its end"
	case a.State == observed.SubmissionCancelled && signal == 0:
		return "cancelled"
	case signal != 0:
		words := fmt.Sprintf("signal %d", signal)
		if name := signals[signal]; name != "" {
			words += ", " + name
		}
		if a.Exit > 128 {
			words = fmt.Sprintf("exit status %d: %s", a.Exit, words)
		}
		return words + a.blame(signal)
	}
	words := fmt.Sprintf("exit status %d", a.Exit)
	if meaning := exits[a.Exit]; meaning != "" {
		words += ": " + meaning
	}
	return words
}

// blame says what a kill was for, if that can be seen.
func (a Attempt) blame(signal int) string {
	switch {
	case signal == 9 && a.Asked.Memory > 0 && float64(a.Memory) >= full*float64(a.Asked.Memory):
		return "; it had used all the memory that it asked for: ask for more"
	case a.Asked.Time > 0 && !a.Began.IsZero() && a.Ended.Sub(a.Began) >= a.Asked.Time:
		return "; its time was over: ask for more"
	case signal == 9:
		return "; from outside: often for its memory"
	}
	return ""
}

// Submissions is a page of them.
type Submissions struct {
	Submissions []Attempt `json:"submissions"`    // by key
	Next        string    `json:"next,omitempty"` // key to ask for the next page after; empty: there is none
}

// Slices is a page of them.
type Slices struct {
	Slices []observed.Slice `json:"slices"`         // in the order of stages, epochs and ids
	Next   string           `json:"next,omitempty"` // what to ask for the next page after; empty: there is none
}

// Ordered is what an order has come to, a line for each slice.
type Ordered struct {
	Done []string `json:"done"`
}

// AttemptOf is a submission without its history.
func AttemptOf(s observed.Submission) Attempt { return Attempt{Submission: s}.explain() }

// Explain completes attempts with what their numbers mean.
func (p PostMortem) Explain() PostMortem {
	for i, a := range p.Attempts {
		p.Attempts[i] = a.explain()
	}
	return p
}

func (a Attempt) explain() Attempt {
	s := a.Submission
	a.Intended, a.Submitted, a.Began, a.Ended = s.Intended, s.Submitted, s.Began, s.Ended
	a.End = a.ending()
	return a
}

// Used is how much of what was asked for an attempt has used.
func (a Attempt) Used() string {
	var parts []string
	wall := a.Ended.Sub(a.Began)
	if a.Began.IsZero() || a.Ended.IsZero() {
		wall = 0
	}
	if wall > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s", shortly(wall), a.Asked.Time))
	}
	if a.Memory > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s memory%s", bytesText(a.Memory), bytesText(a.Asked.Memory), percent(float64(a.Memory), float64(a.Asked.Memory))))
	} else if a.Asked.Memory > 0 {
		parts = append(parts, fmt.Sprintf("an unknown part of %s memory", bytesText(a.Asked.Memory)))
	}
	if a.CPU > 0 {
		share := ""
		if wall > 0 {
			share = percent(float64(a.CPU), float64(wall)*float64(max(1, a.Asked.CPUs)))
		}
		parts = append(parts, fmt.Sprintf("%s of %d processors%s", shortly(a.CPU), max(1, a.Asked.CPUs), share))
	}
	return cmp.Or(strings.Join(parts, ", "), "nothing is known")
}

// shortly is a duration without digits that mean nothing.
func shortly(d time.Duration) time.Duration {
	if d >= time.Minute {
		return d.Round(time.Second)
	}
	return d.Round(10 * time.Millisecond)
}

func percent(part, whole float64) string {
	if whole <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%.0f%%)", 100*part/whole)
}

func bytesText(n int64) string {
	for _, u := range []struct {
		size   int64
		suffix string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(u.size)), ".0") + u.suffix
		}
	}
	return fmt.Sprintf("%dB", n)
}

// Text writes it for people.
func (p PostMortem) Text(w io.Writer) error {
	var b bytes.Buffer
	about := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", what, observed.Printable(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(&b, "slice %s of %s, stage %s: %s since %s\n", p.ID, p.UID, p.Stage, p.State, observed.Minute(p.Since))
	if p.Detail != "" {
		about("because", "%s", p.Detail)
	}
	if p.Label != "" && p.Label != p.ID {
		about("label", "%s", p.Label)
	}
	about("inputs", "%d, %s", p.Inputs, p.Digest)
	for _, name := range slices.Sorted(maps.Keys(p.Params)) {
		about("param", "%s = %s", name, p.Params[name])
	}
	about("planned", "%s", observed.Minute(p.Planned))
	for _, title := range slices.Sorted(maps.Keys(p.Links)) {
		about(title, "%s", p.Links[title])
	}
	for _, a := range p.Attempts {
		if err := a.text(&b); err != nil {
			return err
		}
	}
	if len(p.Attempts) == 0 {
		b.WriteString("it was not submitted yet\n")
	}
	p.disturbances(&b)
	p.Recovery.text(&b)
	for _, d := range p.Decisions {
		fmt.Fprintf(&b, "%s  %s by %s: %s\n", observed.Minute(d.At), d.Kind, observed.Printable(d.By), observed.Printable(cmp.Or(d.Reason, d.Source)))
	}
	_, err := b.WriteTo(w)
	return err
}

func (a Attempt) text(b *bytes.Buffer) error {
	fmt.Fprintf(b, "\nattempt %d.%d: %s", a.Round, a.Attempt, a.State)
	if a.End != "" {
		fmt.Fprintf(b, ": %s", a.End)
	}
	job := "no job"
	if a.Job != "" {
		job = "job " + observed.Printable(a.Job)
	}
	fmt.Fprintf(b, "\n  %s, %s of %s", a.Key, job, a.Engine)
	if a.Node != "" {
		fmt.Fprintf(b, " on %s", observed.Printable(a.Node))
	}
	b.WriteByte('\n')
	if a.State.Ended() {
		fmt.Fprintf(b, "  used %s\n", a.Used())
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, e := range a.Events {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", e.At.UTC().Format("2006-01-02 15:04:05"), e.State, observed.Printable(e.Detail))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if a.LogWhy != "" {
		fmt.Fprintf(b, "  log: %s\n", observed.Printable(a.LogWhy))
	}
	if len(a.Log) > 0 {
		fmt.Fprintf(b, "  the last lines of %s:\n", observed.Printable(a.LogFile))
	}
	for _, line := range a.Log {
		fmt.Fprintf(b, "  | %s\n", observed.Printable(line))
	}
	return nil
}

// disturbances writes what kept campaigns from going on meanwhile.
func (p PostMortem) disturbances(b *bytes.Buffer) {
	b.WriteByte('\n')
	if len(p.Disturbances) == 0 {
		b.WriteString("meanwhile nothing was held, and all services and engines were well\n")
	}
	for _, d := range p.Disturbances {
		until := "it lasts"
		if !d.Ended.IsZero() {
			until = "until " + observed.Minute(d.Ended)
		}
		what := d.Kind + " " + d.Name
		if d.Scope != "" {
			what += " of " + d.Scope
		}
		fmt.Fprintf(b, "meanwhile %s, from %s, %s: %s\n", observed.Printable(what), observed.Minute(d.Began), until, observed.Printable(d.Reason))
	}
}

func (r SliceRecovery) text(b *bytes.Buffer) {
	if r.Select == "" {
		fmt.Fprintf(b, "no recovery is to come: %s\n", observed.Printable(cmp.Or(r.Why, "the stage has none")))
		return
	}
	fmt.Fprintf(b, "the next recovery, %s, would select %d inputs", r.Select, r.Inputs)
	if r.Why != "" {
		fmt.Fprintf(b, ": %s", observed.Printable(r.Why))
	}
	b.WriteByte('\n')
	for _, name := range r.Names {
		fmt.Fprintf(b, "  %s\n", observed.Printable(name))
	}
	if more := r.Inputs - len(r.Names); more > 0 && len(r.Names) > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}

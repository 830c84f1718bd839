package ledger

import (
	"context"
	"strings"
	"time"
)

// What people look at of campaigns that may have very many slices: counted by the ledger, or a page of them.

// SubmissionDay is what submissions are counted by that were handed in on one day.
type SubmissionDay struct {
	Day          time.Time // its beginning, UTC
	State        string
	Exit, Signal int
}

// SubmissionSum is how many there are of them, and what they had and left.
type SubmissionSum struct {
	Jobs, Inputs, Begun, Outputs int // Begun are inputs of those that have begun
}

// day is how many milliseconds a day has.
const day = 24 * 60 * 60 * 1000

// SubmissionDays sums up the submissions of a campaign by day, state and end.
func (l *Ledger) SubmissionDays(ctx context.Context, uid string) (map[SubmissionDay]SubmissionSum, error) {
	return readMap(ctx, l, "count submissions", func(scan func(...any) error) (d SubmissionDay, s SubmissionSum, err error) {
		var at int64
		err = scan(&at, &d.State, &d.Exit, &d.Signal, &s.Jobs, &s.Inputs, &s.Begun, &s.Outputs)
		d.Day = unstamp(at * day)
		return d, s, err
	}, `SELECT intended / ?, state, exit_code, signal, COUNT(*), CAST(SUM(inputs) AS BIGINT), CAST(SUM(CASE WHEN began > 0 THEN inputs ELSE 0 END) AS BIGINT), CAST(SUM(outputs) AS BIGINT)
		FROM submissions WHERE uid = ? GROUP BY 1, state, exit_code, signal`, day, uid)
}

// SliceDay is what slices are counted by that were planned on one day.
type SliceDay struct {
	Day   time.Time // its beginning, UTC
	Stage string
	Epoch int
	State string
}

// SliceDays is how many inputs the slices of a campaign have, by day, stage, epoch and state, without tests.
func (l *Ledger) SliceDays(ctx context.Context, uid string) (map[SliceDay]int, error) {
	return readMap(ctx, l, "count slices", func(scan func(...any) error) (d SliceDay, n int, err error) {
		var at int64
		err = scan(&at, &d.Stage, &d.Epoch, &d.State, &n)
		d.Day = unstamp(at * day)
		return d, n, err
	}, "SELECT began / ?, stage, epoch, state, CAST(SUM(inputs) AS BIGINT) FROM slices WHERE uid = ? AND test = 0 GROUP BY 1, stage, epoch, state", day, uid)
}

// CPUShare is what submissions that have ended are counted by: the attempt, and how many thousandths of their time they used of one processor.
type CPUShare struct {
	Stage    string
	Round    int
	Thousand int // -1: nobody knows
}

// CPUShares is how many submissions of a campaign have used how much. Those that were denied did nothing.
func (l *Ledger) CPUShares(ctx context.Context, uid string) (map[CPUShare]int, error) {
	return readMap(ctx, l, "count submissions", func(scan func(...any) error) (s CPUShare, n int, err error) {
		err = scan(&s.Stage, &s.Round, &s.Thousand, &n)
		return s, n, err
	}, `SELECT stage, round, CASE WHEN cpu > 0 AND began > 0 AND ended > began THEN cpu * 1000 / (ended - began) ELSE -1 END, COUNT(*)
		FROM submissions WHERE uid = ? AND state IN (`+worked+`) GROUP BY 1, 2, 3`, uid)
}

// MemoryUse is likewise by how much memory they used.
type MemoryUse struct {
	Stage          string
	Round, Attempt int
	MiB            int64 // -1: nobody knows
}

// MemoryUses is how many submissions of a campaign have used how much.
func (l *Ledger) MemoryUses(ctx context.Context, uid string) (map[MemoryUse]int, error) {
	return readMap(ctx, l, "count submissions", func(scan func(...any) error) (m MemoryUse, n int, err error) {
		err = scan(&m.Stage, &m.Round, &m.Attempt, &m.MiB, &n)
		return m, n, err
	}, `SELECT stage, round, attempt, CASE WHEN memory > 0 THEN memory / 1048576 ELSE -1 END, COUNT(*)
		FROM submissions WHERE uid = ? AND state IN (`+worked+`) GROUP BY 1, 2, 3, 4`, uid)
}

// worked are the ends of submissions but that of those which found another at work.
const worked = "'done', 'failed', 'lost', 'cancelled'"

// CampaignMoved is when a submission of a campaign was handed in, began or ended last; zero: there is none.
func (l *Ledger) CampaignMoved(ctx context.Context, uid string) (time.Time, error) {
	found, err := read(ctx, l, "read submissions", func(scan func(...any) error) (int64, error) {
		var intended, began, ended int64
		err := scan(&intended, &began, &ended)
		return max(intended, began, ended), err
	}, "SELECT COALESCE(MAX(intended), 0), COALESCE(MAX(began), 0), COALESCE(MAX(ended), 0) FROM submissions WHERE uid = ?", uid)
	if err != nil {
		return time.Time{}, err
	}
	return unstamp(found[0]), nil
}

// SubmissionRange says which submissions of a campaign somebody looks at. What is empty does not matter.
type SubmissionRange struct {
	UID, Stage, State string
	From, Until       time.Time // they were under way at some moment between
	Limit, Offset     int
}

// SubmissionsWithin are those of a range, handed in last first, and how many there are of it.
func (l *Ledger) SubmissionsWithin(ctx context.Context, r SubmissionRange) (page []Submission, all int, err error) {
	w := where{"uid = ?", []any{r.UID}}
	w.is("stage", r.Stage)
	w.is("state", r.State)
	if !r.Until.IsZero() {
		w.and("intended < ?", stamp(r.Until))
	}
	if !r.From.IsZero() {
		w.and("(intended >= ? OR ended >= ? OR ended = 0 AND state NOT IN ("+submissionEnds+"))", stamp(r.From), stamp(r.From))
	}
	if all, err = l.count(ctx, "submissions", w); err != nil || all == 0 {
		return nil, all, err
	}
	page, err = read(ctx, l, "read submissions", scanSubmission, "SELECT "+submissionColumns+" FROM submissions WHERE "+w.text+" ORDER BY intended DESC, submission LIMIT ? OFFSET ?",
		append(w.args, r.Limit, r.Offset)...)
	return page, all, err
}

// SliceSearch says which slices of a campaign somebody looks for. What is empty does not matter.
type SliceSearch struct {
	UID, Stage, State string
	Text              string // in id, label or detail
	Limit, Offset     int
}

// SearchSlices are those that are looked for, without inputs, in the order of stages, epochs and ids, and how many there are.
func (l *Ledger) SearchSlices(ctx context.Context, q SliceSearch) (page []Slice, all int, err error) {
	w := where{"uid = ?", []any{q.UID}}
	w.is("stage", q.Stage)
	w.is("state", q.State)
	if q.Text != "" {
		w.and("LOWER(slice || ' ' || label || ' ' || detail) LIKE LOWER(?) ESCAPE '!'", "%"+strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(q.Text)+"%")
	}
	if all, err = l.count(ctx, "slices", w); err != nil || all == 0 {
		return nil, all, err
	}
	page, err = read(ctx, l, "read slices", scanSlice, "SELECT "+sliceColumns+" FROM slices WHERE "+w.text+" ORDER BY stage, epoch, slice LIMIT ? OFFSET ?", append(w.args, q.Limit, q.Offset)...)
	return page, all, err
}

// SlicesCalled are the slices of a campaign that have an id, without inputs, in the order of stages and epochs; of one stage, unless that is empty.
func (l *Ledger) SlicesCalled(ctx context.Context, uid, stage, id string) ([]Slice, error) {
	w := where{"uid = ? AND slice = ?", []any{uid, id}}
	w.is("stage", stage)
	return read(ctx, l, "read slices", scanSlice, "SELECT "+sliceColumns+" FROM slices WHERE "+w.text+" ORDER BY stage, epoch", w.args...)
}

// where are conditions, and what stands for their question marks.
type where struct {
	text string
	args []any
}

func (w *where) and(text string, args ...any) {
	w.text, w.args = w.text+" AND "+text, append(w.args, args...)
}

// is wants a column to be a word, unless that is empty.
func (w *where) is(column, word string) {
	if word != "" {
		w.and(column+" = ?", word)
	}
}

func (l *Ledger) count(ctx context.Context, table string, w where) (int, error) {
	n, err := read(ctx, l, "count "+table, func(scan func(...any) error) (n int, err error) {
		err = scan(&n)
		return n, err
	}, "SELECT COUNT(*) FROM "+table+" WHERE "+w.text, w.args...)
	if err != nil {
		return 0, err
	}
	return n[0], nil
}

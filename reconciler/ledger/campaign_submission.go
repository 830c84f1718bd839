package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Launch is one call of a batch system: a job, or an array of jobs.
type Launch struct {
	Key        string
	Engine     string
	UID, Stage string
	Profile    string
	Tasks      int
	Commit     string
	State      string // intent, called, submitted, released; over is the end
	Detail     string
	Job        string // id of the one that was chosen among all of that key
	Calls      int    // of Submit
	Releases   int
	Intended   time.Time
	Called     time.Time // last
	Submitted  time.Time // when its job was seen first
	Released   time.Time // last
}

// Submission is one attempt at a slice: one job of a batch system.
type Submission struct {
	Key                               string
	UID                               string
	Stage                             string
	Epoch                             int
	Slice                             string
	Round                             int
	Attempt                           int
	Launch                            string
	Task                              int
	Engine                            string
	Job                               string
	State                             string
	Detail                            string
	Commit                            string
	Exit                              int
	Signal                            int
	Node                              string
	CPU                               time.Duration
	Memory                            int64
	Inputs, Outputs                   int
	Intended, Submitted, Began, Ended time.Time
}

// ErrIntended says that a submission of that key is there already.
var ErrIntended = errors.New("it is intended already")

// Intend enters launches and their submissions before any of them is handed to a batch system: all of them, or nothing and
// ErrIntended if one is there already.
func (l *Ledger) Intend(ctx context.Context, launches []Launch, submissions []Submission) error {
	return l.atomically(ctx, "record intent", func(tx *sql.Tx) error {
		var keys []any
		var rows, events, launched [][]any
		for _, s := range submissions {
			keys = append(keys, s.Key)
			rows = append(rows, append(s.columns(), 1))
			events = append(events, []any{s.Key, 1, s.State, s.Detail, stamp(s.Intended)})
		}
		have, err := knownSubmissions(ctx, tx, keys)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if _, ok := have[key.(string)]; ok {
				return fmt.Errorf("submission %s: %w", key, ErrIntended)
			}
		}
		for _, r := range launches {
			launched = append(launched, r.columns())
		}
		if err := inBatches(ctx, tx, "INSERT INTO launches ("+launchColumns+") VALUES ", launched, ""); err != nil {
			return err
		}
		if err := inBatches(ctx, tx, "INSERT INTO submissions ("+submissionColumns+", events) VALUES ", rows, ""); err != nil {
			return err
		}
		return inBatches(ctx, tx, "INSERT INTO submission_events (submission, number, state, detail, at) VALUES ", events, "")
	})
}

const launchColumns = "launch, engine, uid, stage, profile, tasks, commit_id, state, detail, job, calls, releases, intended, called, submitted, released"

func (r Launch) columns() []any {
	return []any{r.Key, r.Engine, r.UID, r.Stage, r.Profile, r.Tasks, r.Commit, r.State, r.Detail, r.Job, r.Calls, r.Releases,
		stamp(r.Intended), stamp(r.Called), stamp(r.Submitted), stamp(r.Released)}
}

func scanLaunch(scan func(...any) error) (r Launch, err error) {
	var intended, called, submitted, released int64
	err = scan(&r.Key, &r.Engine, &r.UID, &r.Stage, &r.Profile, &r.Tasks, &r.Commit, &r.State, &r.Detail, &r.Job, &r.Calls, &r.Releases,
		&intended, &called, &submitted, &released)
	r.Intended, r.Called, r.Submitted, r.Released = unstamp(intended), unstamp(called), unstamp(submitted), unstamp(released)
	return r, err
}

// OpenLaunches are those of an engine that are not over, in the order of their intents; of every engine where it is empty.
func (l *Ledger) OpenLaunches(ctx context.Context, engine string) ([]Launch, error) {
	where, args := openOf(engine)
	return read(ctx, l, "read launches", scanLaunch, "SELECT "+launchColumns+" FROM launches WHERE "+where+" ORDER BY intended, launch", args...)
}

// openOf says of launches that they are of an engine and not over; of every engine where it is empty. All states but the end are named
// for the sake of the index: most launches are over.
func openOf(engine string) (where string, args []any) {
	where = "state IN ('intent', 'called', 'submitted', 'released')"
	if engine == "" {
		return where, nil
	}
	return "engine = ? AND " + where, []any{engine}
}

// LaunchesOver are the launches of some keys that are over, and the run of each: neither those that are open nor those that it does not
// know.
func (l *Ledger) LaunchesOver(ctx context.Context, keys []string) (map[string]string, error) {
	over := map[string]string{}
	for some := range slices.Chunk(keys, batch) {
		var of []any
		for _, key := range some {
			of = append(of, key)
		}
		err := l.readEach(ctx, "read launches", func(scan func(...any) error) error {
			var key, uid string
			err := scan(&key, &uid)
			over[key] = uid
			return err
		}, "SELECT launch, uid FROM launches WHERE state = 'over' AND launch IN (?"+strings.Repeat(", ?", len(some)-1)+")", of...)
		if err != nil {
			return nil, err
		}
	}
	return over, nil
}

// SetProgress enters how far launches and submissions are: all of it or nothing. Of each submission whose state or detail is another, an
// event is added. What is not there is entered. What has ended stays ended as it is: whoever says otherwise knows less.
func (l *Ledger) SetProgress(ctx context.Context, at time.Time, launches []Launch, submissions []Submission) error {
	return l.atomically(ctx, "record submissions", func(tx *sql.Tx) error {
		if err := setLaunches(ctx, tx, launches); err != nil {
			return err
		}
		return setSubmissions(ctx, tx, at, submissions)
	})
}

// SetLaunches enters how far launches are.
func (l *Ledger) SetLaunches(ctx context.Context, launches ...Launch) error {
	return l.SetProgress(ctx, time.Time{}, launches, nil)
}

func setLaunches(ctx context.Context, tx *sql.Tx, launches []Launch) error {
	var rows [][]any
	for _, r := range launches {
		rows = append(rows, r.columns())
	}
	return inBatches(ctx, tx, "INSERT INTO launches ("+launchColumns+") VALUES ", rows,
		` ON CONFLICT (launch) DO UPDATE SET state = excluded.state, detail = excluded.detail, job = excluded.job, calls = excluded.calls,
			releases = excluded.releases, called = excluded.called, submitted = excluded.submitted, released = excluded.released
		WHERE launches.state <> 'over'`)
}

const submissionEnds = "'done', 'failed', 'denied', 'lost', 'cancelled'"

const submissionColumns = `submission, uid, stage, epoch, slice, round, attempt, launch, task, engine, job, state, detail, commit_id, exit_code, signal,
	node, cpu, memory, inputs, outputs, intended, submitted, began, ended`

func (s Submission) columns() []any {
	return []any{s.Key, s.UID, s.Stage, s.Epoch, s.Slice, s.Round, s.Attempt, s.Launch, s.Task, s.Engine, s.Job, s.State, s.Detail, s.Commit, s.Exit, s.Signal,
		s.Node, s.CPU.Milliseconds(), s.Memory, s.Inputs, s.Outputs, stamp(s.Intended), stamp(s.Submitted), stamp(s.Began), stamp(s.Ended)}
}

func scanSubmission(scan func(...any) error) (s Submission, err error) {
	var cpu, intended, submitted, began, ended int64
	err = scan(&s.Key, &s.UID, &s.Stage, &s.Epoch, &s.Slice, &s.Round, &s.Attempt, &s.Launch, &s.Task, &s.Engine, &s.Job, &s.State, &s.Detail, &s.Commit, &s.Exit, &s.Signal,
		&s.Node, &cpu, &s.Memory, &s.Inputs, &s.Outputs, &intended, &submitted, &began, &ended)
	s.CPU = time.Duration(cpu) * time.Millisecond
	s.Intended, s.Submitted, s.Began, s.Ended = unstamp(intended), unstamp(submitted), unstamp(began), unstamp(ended)
	return s, err
}

// knownSubmission is what is there of a submission.
type knownSubmission struct {
	state, detail string
	events        int64
}

// knownSubmissions are those of some keys that are there.
func knownSubmissions(ctx context.Context, tx *sql.Tx, keys []any) (map[string]knownSubmission, error) {
	out := map[string]knownSubmission{}
	return out, readAmong(ctx, tx, "SELECT submission, state, detail, events FROM submissions WHERE submission IN (", keys, ")", func(scan func(...any) error) error {
		var key string
		var k knownSubmission
		err := scan(&key, &k.state, &k.detail, &k.events)
		out[key] = k
		return err
	})
}

// SetSubmissions is SetProgress of submissions alone.
func (l *Ledger) SetSubmissions(ctx context.Context, at time.Time, submissions ...Submission) error {
	return l.SetProgress(ctx, at, nil, submissions)
}

func setSubmissions(ctx context.Context, tx *sql.Tx, at time.Time, submissions []Submission) error {
	var keys []any
	for _, s := range submissions {
		keys = append(keys, s.Key)
	}
	have, err := knownSubmissions(ctx, tx, keys)
	if err != nil {
		return err
	}
	var rows, events [][]any
	for _, s := range submissions {
		known := have[s.Key]
		ended := strings.Contains(submissionEnds, "'"+known.state+"'")
		if known.state != s.State && !ended || known.state == s.State && known.detail != s.Detail {
			known = knownSubmission{s.State, s.Detail, known.events + 1}
			events = append(events, []any{s.Key, known.events, s.State, s.Detail, stamp(at)})
			have[s.Key] = known
		}
		rows = append(rows, append(s.columns(), known.events))
	}
	err = inBatches(ctx, tx, "INSERT INTO submissions ("+submissionColumns+", events) VALUES ", rows,
		` ON CONFLICT (submission) DO UPDATE SET job = excluded.job, state = excluded.state, detail = excluded.detail, exit_code = excluded.exit_code,
		signal = excluded.signal, node = excluded.node, cpu = excluded.cpu, memory = excluded.memory, outputs = excluded.outputs, submitted = excluded.submitted,
		began = excluded.began, ended = excluded.ended, events = excluded.events
		WHERE submissions.state NOT IN (`+submissionEnds+`) OR submissions.state = excluded.state`)
	if err != nil {
		return err
	}
	return inBatches(ctx, tx, "INSERT INTO submission_events (submission, number, state, detail, at) VALUES ", events, "")
}

// Submissions are those of a slice, oldest first; of a whole stage where the slice is empty, of every stage where that is empty too.
func (l *Ledger) Submissions(ctx context.Context, uid, stage string, epoch int, slice string) ([]Submission, error) {
	return read(ctx, l, "read submissions", scanSubmission, "SELECT "+submissionColumns+` FROM submissions
		WHERE uid = ? AND (? = '' OR stage = ? AND epoch = ?) AND (? = '' OR slice = ?) ORDER BY stage, epoch, slice, round, attempt`, uid, stage, stage, epoch, slice, slice)
}

// Submission is the one of a key; false if there is none.
func (l *Ledger) Submission(ctx context.Context, key string) (Submission, bool, error) {
	found, err := read(ctx, l, "read submission", scanSubmission, "SELECT "+submissionColumns+" FROM submissions WHERE submission = ?", key)
	if err != nil || len(found) == 0 {
		return Submission{}, false, err
	}
	return found[0], true, nil
}

// OpenSubmissions are those of an engine whose launches are not over, by launch, each in the order of tasks; of every engine where it is
// empty. They may have ended themselves.
func (l *Ledger) OpenSubmissions(ctx context.Context, engine string) (map[string][]Submission, error) {
	where, args := openOf(engine)
	found, err := read(ctx, l, "read submissions", scanSubmission, "SELECT "+submissionColumns+` FROM submissions
		WHERE launch IN (SELECT launch FROM launches WHERE `+where+`) ORDER BY launch, task`, args...)
	out := map[string][]Submission{}
	for _, s := range found {
		out[s.Launch] = append(out[s.Launch], s)
	}
	return out, err
}

// SubmissionEvent is a state that a submission has been in.
type SubmissionEvent struct {
	State, Detail string
	At            time.Time // since when
}

// SubmissionEvents are the states that a submission has been in, oldest first.
func (l *Ledger) SubmissionEvents(ctx context.Context, key string) ([]SubmissionEvent, error) {
	return read(ctx, l, "read submission", func(scan func(...any) error) (e SubmissionEvent, err error) {
		var at int64
		err = scan(&e.State, &e.Detail, &at)
		e.At = unstamp(at)
		return e, err
	}, "SELECT state, detail, at FROM submission_events WHERE submission = ? ORDER BY number", key)
}

package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// SubmissionFilter says which submissions are wanted. What is empty does not matter.
type SubmissionFilter struct {
	Campaign, Stage, Slice, State string // the campaign by name: all its runs; or NAME/RUN
	After                         string // key
	Limit                         int
}

// FindSubmissions are those that a filter lets through, by key.
func (l *Ledger) FindSubmissions(ctx context.Context, f SubmissionFilter) ([]Submission, error) {
	return read(ctx, l, "read submissions", scanSubmission, "SELECT "+submissionColumns+` FROM submissions
		WHERE submission > ? AND (? = '' OR uid = ? OR uid IN (SELECT uid FROM campaigns WHERE name = ?)) AND (? = '' OR stage = ?) AND (? = '' OR slice = ?) AND (? = '' OR state = ?)
		ORDER BY submission LIMIT ?`, f.After, f.Campaign, f.Campaign, f.Campaign, f.Stage, f.Stage, f.Slice, f.Slice, f.State, f.State, f.Limit)
}

// AddSubmissionEvent enters what somebody has said of a submission into its history, and changes nothing else of it.
func (l *Ledger) AddSubmissionEvent(ctx context.Context, key string, e SubmissionEvent) error {
	return l.atomically(ctx, "record word on submission", func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "UPDATE submissions SET events = events + 1 WHERE submission = ?", key)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("there is no submission %s: %w", key, err)
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO submission_events (submission, number, state, detail, at) SELECT submission, events, ?, ?, ? FROM submissions WHERE submission = ?",
			e.State, e.Detail, stamp(e.At), key)
		return err
	})
}

// EventsSince is how many states and words of a submission were entered since a time.
func (l *Ledger) EventsSince(ctx context.Context, key string, since time.Time) (n int, err error) {
	err = l.readEach(ctx, "count words on submission", func(scan func(...any) error) error { return scan(&n) },
		"SELECT COUNT(*) FROM submission_events WHERE submission = ? AND at >= ?", key, stamp(since))
	return n, err
}

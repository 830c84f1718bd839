package ledger

import (
	"context"
	"database/sql"
	"time"
)

// InputWord is what the job of a submission has said of an input.
type InputWord struct {
	Submission string // its key
	Name       string // of the input
	State      string
}

// SetInputWords enters what the job of a submission has said of inputs of its slice, by name: it replaces what it said of the same before.
func (l *Ledger) SetInputWords(ctx context.Context, of Submission, said map[string]string, at time.Time) error {
	var rows [][]any
	for name, state := range said {
		rows = append(rows, []any{of.Key, name, of.UID, of.Stage, of.Epoch, of.Slice, state, stamp(at)})
	}
	return l.atomically(ctx, "record words on inputs", func(tx *sql.Tx) error {
		return inBatches(ctx, tx, "INSERT INTO input_words (submission, name, uid, stage, epoch, slice, state, at) VALUES ", rows,
			" ON CONFLICT (submission, name) DO UPDATE SET state = excluded.state, at = excluded.at")
	})
}

// InputWords is what jobs of a slice have said of its inputs, the last word last.
func (l *Ledger) InputWords(ctx context.Context, uid, stage string, epoch int, slice string) ([]InputWord, error) {
	return read(ctx, l, "read words on inputs", func(scan func(...any) error) (w InputWord, err error) {
		return w, scan(&w.Submission, &w.Name, &w.State)
	}, "SELECT submission, name, state FROM input_words WHERE uid = ? AND stage = ? AND epoch = ? AND slice = ? ORDER BY at, submission, name", uid, stage, epoch, slice)
}

package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Pass is how one pass ended.
type Pass struct {
	Started    time.Time
	Ended      time.Time
	Wanted     string // commit that the branch named; empty if that could not be told
	Published  string // commit that is published after it; empty for none
	Generation int64  // that is published after it; 0 for none
	Tree       string // its tree digest, 64 hex digits
	Outcome    string
	Reason     string // of a failure: why
	Blocked    []byte // JSON

	Number int64  // that AddPass gives it, from 1
	Stages []byte // JSON
	Did    string // in a few words; empty: nothing
	News   bool   // it says something else than the pass before it
}

// Passes that are kept: the last ones, and the last that were news, which may be far apart, each with the last that said the same. Older ones go.
const (
	mostPasses = 10_000
	mostNews   = 500
)

// AddPass enters a pass, and gives it its number.
func (l *Ledger) AddPass(ctx context.Context, p Pass) (number int64, err error) {
	err = l.db.QueryRowContext(ctx, `INSERT INTO passes (id, started, ended, wanted, published, generation, tree, outcome, reason, blocked, stages, did, news)
		SELECT COALESCE(MAX(id), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM passes RETURNING id`,
		stamp(p.Started), stamp(p.Ended), p.Wanted, p.Published, p.Generation, p.Tree, p.Outcome, p.Reason, string(p.Blocked),
		cmp.Or(string(p.Stages), "[]"), p.Did, bit(p.News)).Scan(&number)
	if err != nil {
		return 0, fmt.Errorf("record pass: %w", err)
	}
	_, err = l.write(ctx, "forget passes", `DELETE FROM passes WHERE id <= ? AND
		(news = 0 AND NOT EXISTS (SELECT 1 FROM passes n WHERE n.id = passes.id + 1 AND n.news = 1)
			OR id < (SELECT MIN(id) FROM (SELECT id FROM passes WHERE news = 1 ORDER BY id DESC LIMIT ?) AS newest))`, number-mostPasses, mostNews)
	return number, err
}

// Passes are the last n, newest first, as every version of Pomona has entered them.
func (l *Ledger) Passes(ctx context.Context, n int) ([]Pass, error) {
	return read(ctx, l, "read passes", scanPass, passColumns+" ORDER BY id DESC LIMIT ?", n)
}

// PassAt is the last that had ended at a time; false: none is known.
func (l *Ledger) PassAt(ctx context.Context, at time.Time) (Pass, bool, error) {
	found, err := read(ctx, l, "read passes", scanPass, passColumns+" WHERE ended <= ? ORDER BY id DESC LIMIT 1", stamp(at))
	if err != nil || len(found) == 0 {
		return Pass{}, false, err
	}
	return found[0], true, nil
}

const passColumns = "SELECT started, ended, wanted, published, generation, tree, outcome, reason, blocked FROM passes"

func scanPass(scan func(...any) error) (p Pass, err error) {
	var started, ended int64
	err = scan(&started, &ended, &p.Wanted, &p.Published, &p.Generation, &p.Tree, &p.Outcome, &p.Reason, &p.Blocked)
	p.Started, p.Ended = unstamp(started), unstamp(ended)
	return p, err
}

// Accept remembers the last commit of a branch that was accepted.
func (l *Ledger) Accept(ctx context.Context, branch, commit string, at time.Time) error {
	_, err := l.write(ctx, "record accepted commit", `INSERT INTO accepted (branch, commit_id, at) VALUES (?, ?, ?)
		ON CONFLICT (branch) DO UPDATE SET commit_id = excluded.commit_id, at = excluded.at`, branch, commit, stamp(at))
	return err
}

// Accepted is the last commit of a branch that was accepted; empty for none.
func (l *Ledger) Accepted(ctx context.Context, branch string) (commit string, err error) {
	err = l.db.QueryRowContext(ctx, "SELECT commit_id FROM accepted WHERE branch = ?", branch).Scan(&commit)
	return commit, orNone("read accepted commit", err)
}

// orNone wraps an error, and takes that there is no row for none.
func orNone(what string, err error) error {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

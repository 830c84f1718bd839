package ledger

import (
	"context"
	"fmt"
	"time"
)

// The plans that are kept, of passes that are news: so many, and so much of them all.
const (
	mostPlans     = 500
	mostPlanBytes = 64 << 20
)

// TimedPass is a pass, and those after it that said the same.
type TimedPass struct {
	Pass
	Again int64     // how many
	Last  time.Time // when the last of them ended; zero: there is none
}

// Timeline are those passes that are news, newest first, after the first ones: all with this outcome, of empty all. With every, also those that said
// the same as the one before. Of is how many there are.
func (l *Ledger) Timeline(ctx context.Context, outcome string, every bool, first, n int) (passes []TimedPass, of int, err error) {
	where, args := "p.news = 1", []any{}
	if every {
		where = "1 = 1"
	}
	if outcome != "" {
		where, args = where+" AND p.outcome = ?", append(args, outcome)
	}
	if err := l.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM passes p WHERE "+where, args...).Scan(&of); err != nil {
		return nil, 0, fmt.Errorf("count passes: %w", err)
	}
	passes, err = l.timed(ctx, where+" ORDER BY p.id DESC LIMIT ? OFFSET ?", append(args, n, first)...)
	return passes, of, err
}

// TimedPass is the pass of a number; false for none.
func (l *Ledger) TimedPass(ctx context.Context, number int64) (TimedPass, bool, error) {
	return only(l.timed(ctx, "p.id = ?", number))
}

// PassOf is the last pass that was news and wanted a commit that begins so; false for none.
func (l *Ledger) PassOf(ctx context.Context, commit string) (TimedPass, bool, error) {
	return only(l.timed(ctx, "SUBSTR(p.wanted, 1, ?) = ? AND p.news = 1 ORDER BY p.id DESC LIMIT 1", len(commit), commit))
}

func only(passes []TimedPass, err error) (TimedPass, bool, error) {
	if err != nil || len(passes) == 0 {
		return TimedPass{}, false, err
	}
	return passes[0], true, nil
}

// timed reads passes. Those whose numbers are between two that are news said the same as the first of them, whether they are still kept or not.
func (l *Ledger) timed(ctx context.Context, which string, args ...any) ([]TimedPass, error) {
	return read(ctx, l, "read passes", func(scan func(...any) error) (p TimedPass, err error) {
		var started, ended, last, news int64
		err = scan(&p.Number, &started, &ended, &p.Wanted, &p.Published, &p.Generation, &p.Tree, &p.Outcome, &p.Reason, &p.Blocked, &p.Stages, &p.Did, &news, &p.Again, &last)
		p.Started, p.Ended, p.Last, p.News = unstamp(started), unstamp(ended), unstamp(last), news == 1
		return p, err
	}, `SELECT id, started, ended, wanted, published, generation, tree, outcome, reason, blocked, stages, did, news, again,
			COALESCE((SELECT e.ended FROM passes e WHERE again > 0 AND e.id = found.id + again), 0)
		FROM (SELECT p.*, COALESCE((SELECT MIN(n.id) FROM passes n WHERE n.news = 1 AND n.id > p.id), (SELECT MAX(m.id) + 1 FROM passes m)) - p.id - 1 AS again
			FROM passes p WHERE `+which+`) AS found ORDER BY id DESC`, args...)
}

// PutPlan remembers what a pass had in mind and found, as JSON.
func (l *Ledger) PutPlan(ctx context.Context, pass int64, told []byte) error {
	_, err := l.write(ctx, "record plan", `INSERT INTO pass_plans (pass, told) VALUES (?, ?) ON CONFLICT (pass) DO UPDATE SET told = excluded.told`, pass, string(told))
	if err != nil {
		return err
	}
	last, over, err := l.surplus(ctx, "SELECT pass, OCTET_LENGTH(told) FROM pass_plans ORDER BY pass DESC", mostPlans, mostPlanBytes)
	if over {
		_, err = l.write(ctx, "forget plans", "DELETE FROM pass_plans WHERE pass <= ?", last)
	}
	return err
}

// surplus is the first row that is more than what is kept, of those that a query gives with their bytes, newest first; the newest is never; false for none.
func (l *Ledger) surplus(ctx context.Context, query string, most int, mostBytes int64) (key int64, over bool, err error) {
	type size struct{ key, bytes int64 }
	kept, err := read(ctx, l, "read what is kept", func(scan func(...any) error) (s size, err error) {
		err = scan(&s.key, &s.bytes)
		return s, err
	}, query)
	var sum int64
	for i, s := range kept {
		if sum += s.bytes; i > 0 && (i >= most || sum > mostBytes) {
			return s.key, true, nil
		}
	}
	return 0, false, err
}

// PlanOf is what a pass had in mind and found; nil: nothing is known.
func (l *Ledger) PlanOf(ctx context.Context, pass int64) (told []byte, err error) {
	err = l.db.QueryRowContext(ctx, "SELECT told FROM pass_plans WHERE pass = ?", pass).Scan(&told)
	return told, orNone("read plan", err)
}

package ledger

import (
	"context"
	"database/sql"
	"time"
)

// PastWave is one wave of restarts, or with number 0 an operator's order.
type PastWave struct {
	Opened time.Time // it is known by that
	Group  string    // empty: of FECs of no group
	Wave   int64
	FECs   int // that were asked
	Runs   int
	Failed int
	Last   time.Time // when something was heard of one of them last
}

// wavesKept are as many as are kept, and as many of orders.
const wavesKept = 200

// ordersApart is how long after an order another one of the same group is a wave of its own.
const ordersApart = 10 * time.Minute

// remember enters what is asked of FECs, and what comes of it, as rollouts tell it.
func remember(ctx context.Context, tx *sql.Tx, set []Rollout, gone [][]any) error {
	for _, r := range set {
		if r.State == "now" {
			gone = append(gone, []any{r.FEC})
		}
	}
	if err := inBatches(ctx, tx, "DELETE FROM past_restarts WHERE state IN ('asking', 'asked') AND fec IN (", gone, ")"); err != nil { // they were not restarted
		return err
	}
	var rows [][]any
	for _, r := range set {
		switch {
		case r.State == "asking":
			opened, err := waveOf(ctx, tx, r)
			if err != nil {
				return err
			}
			rows = append(rows, []any{opened, r.Group, r.Wave, r.FEC, r.Wanted, r.Was, r.Need, r.State, r.Detail, stamp(r.At), stamp(r.At)})
		case r.State == "asked", r.State == "running", r.State == "failed" && !r.Closed:
			_, err := tx.ExecContext(ctx, `UPDATE past_restarts SET state = ?, detail = ?, at = ? WHERE fec = ? AND (state IN ('asking', 'asked') OR state = 'failed' AND wanted = ?)
				AND opened = (SELECT MAX(opened) FROM past_restarts AS p WHERE p.fec = ?)`, r.State, r.Detail, stamp(r.At), r.FEC, r.Wanted, r.FEC)
			if err != nil {
				return err
			}
		}
	}
	return inBatches(ctx, tx, "INSERT INTO past_restarts (opened, team, wave, fec, wanted, was, need, state, detail, began, at) VALUES ", rows,
		` ON CONFLICT (opened, team, wave, fec) DO UPDATE SET wanted = excluded.wanted, was = excluded.was, need = excluded.need, state = excluded.state,
		detail = excluded.detail, began = excluded.began, at = excluded.at`)
}

// waveOf is when the wave of a FEC opened that is being asked: a wave is decided at once, but orders that follow each other are one. Old waves go when one opens.
func waveOf(ctx context.Context, tx *sql.Tx, r Rollout) (opened int64, err error) {
	opened = stamp(r.Opened)
	if opened == 0 {
		opened = stamp(r.At)
	}
	kind, same, args := "wave > 0", "team = ? AND wave = ? AND opened = ?", []any{r.Group, r.Wave, opened}
	if r.Wave == 0 { // one of which the FEC is not yet, nor of a later wave: what comes of it is told of its latest
		kind, args = "wave = 0", []any{r.Group, opened - ordersApart.Milliseconds(), opened, r.FEC}
		same = `team = ? AND wave = 0 AND opened > ? AND opened <= ?
			AND NOT EXISTS (SELECT 1 FROM past_restarts AS q WHERE q.fec = ? AND q.opened >= p.opened)`
	}
	var last sql.NullInt64
	if err := tx.QueryRowContext(ctx, "SELECT MAX(opened) FROM past_restarts AS p WHERE "+same, args...).Scan(&last); err != nil || last.Valid {
		return last.Int64, err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM past_restarts WHERE "+kind+` AND opened < (SELECT MIN(opened) FROM
		(SELECT DISTINCT opened FROM past_restarts WHERE `+kind+" ORDER BY opened DESC LIMIT ?) AS kept)", wavesKept-1)
	return opened, err
}

// PastWaves are those that are kept, the newest first.
func (l *Ledger) PastWaves(ctx context.Context) ([]PastWave, error) {
	return read(ctx, l, "read past restarts", func(scan func(...any) error) (w PastWave, err error) {
		var opened, last int64
		err = scan(&opened, &w.Group, &w.Wave, &w.FECs, &w.Runs, &w.Failed, &last)
		w.Opened, w.Last = unstamp(opened), unstamp(last)
		return w, err
	}, `SELECT opened, team, wave, COUNT(*), SUM(CASE WHEN state = 'running' THEN 1 ELSE 0 END), SUM(CASE WHEN state = 'failed' THEN 1 ELSE 0 END), MAX(at)
		FROM past_restarts GROUP BY opened, team, wave ORDER BY opened DESC, team, wave`)
}

// PastRestarts are those of the waves that opened at a time, by FEC; At is when something was heard of one last, and began when it was asked.
func (l *Ledger) PastRestarts(ctx context.Context, opened time.Time) (all []Rollout, began []time.Time, err error) {
	all, err = read(ctx, l, "read past restarts", func(scan func(...any) error) (r Rollout, err error) {
		var first, at int64
		err = scan(&r.FEC, &r.Wanted, &r.Was, &r.Need, &r.Group, &r.Wave, &r.State, &r.Detail, &first, &at)
		r.At, began = unstamp(at), append(began, unstamp(first))
		return r, err
	}, "SELECT fec, wanted, was, need, team, wave, state, detail, began, at FROM past_restarts WHERE opened = ? ORDER BY fec", stamp(opened))
	return all, began, err
}

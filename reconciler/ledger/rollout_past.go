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

// wavesKept are as many as are kept.
const wavesKept = 200

// remember enters what is asked of FECs, and what comes of it, as rollouts tell it.
func remember(ctx context.Context, tx *sql.Tx, set []Rollout, gone [][]any) error {
	if err := inBatches(ctx, tx, "DELETE FROM past_restarts WHERE state IN ('asking', 'asked') AND fec IN (", gone, ")"); err != nil { // they were not restarted
		return err
	}
	opened := map[PastWave]int64{}
	var rows [][]any
	for _, r := range set {
		if r.State != "asking" {
			_, err := tx.ExecContext(ctx, `UPDATE past_restarts SET state = ?, detail = ?, at = ? WHERE fec = ? AND state IN ('asking', 'asked', 'failed')
				AND opened = (SELECT MAX(opened) FROM past_restarts AS p WHERE p.fec = ?) AND ? IN ('asked', 'running', 'failed')`, r.State, r.Detail, stamp(r.At), r.FEC, r.FEC, r.State)
			if err != nil {
				return err
			}
			continue
		}
		of := PastWave{Group: r.Group, Wave: r.Wave}
		if opened[of] == 0 {
			var err error
			if opened[of], err = waveOf(ctx, tx, r); err != nil {
				return err
			}
		}
		rows = append(rows, []any{opened[of], r.Group, r.Wave, r.FEC, r.Wanted, r.Was, r.Need, r.State, r.Detail, stamp(r.At), stamp(r.At)})
	}
	return inBatches(ctx, tx, "INSERT INTO past_restarts (opened, team, wave, fec, wanted, was, need, state, detail, began, at) VALUES ", rows,
		" ON CONFLICT (opened, team, wave, fec) DO UPDATE SET state = excluded.state, detail = excluded.detail, at = excluded.at")
}

// waveOf is when the wave of a FEC opened that is being asked: when the first of it was. Old waves go when one opens.
func waveOf(ctx context.Context, tx *sql.Tx, r Rollout) (opened int64, err error) {
	var known sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT MAX(p.opened) FROM past_restarts p JOIN rollouts o ON o.fec = p.fec WHERE p.team = ? AND p.wave = ? AND p.wave > 0
		AND o.team = p.team AND o.wave = p.wave AND o.closed = 0 AND o.state <> 'now'`, r.Group, r.Wave).Scan(&known)
	if err != nil || known.Valid {
		return known.Int64, err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM past_restarts WHERE opened < (SELECT MIN(opened) FROM (SELECT DISTINCT opened FROM past_restarts ORDER BY opened DESC LIMIT ?) AS kept)", wavesKept-1)
	return stamp(r.At), err
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

package ledger

import (
	"context"
	"database/sql"
	"time"
)

// Rollout is how far a FEC has come with what is published for it.
type Rollout struct {
	FEC      string
	Wanted   int64  // serial that it is to run
	Was      int64  // serial that it ran before; 0: not known
	Need     string // restart or reboot
	Software string // that is restarted, separated by blanks
	Group    string // whose pace it keeps; empty: of no group
	Wave     int64  // of the group, from 1; 0: of none
	State    string // now, asking, asked, running, failed or skipped
	Detail   string
	Boot     string    // id of the run of its kernel when it was asked
	Closed   bool      // counts for no wave any more
	At       time.Time // since when it is in this state
	Opened   time.Time // when its wave was decided; known only while it begins
}

// RolloutPause is why nothing is restarted.
type RolloutPause struct {
	Reason string // empty: nothing is paused
	By     string // who paused; empty: Pomona itself
	At     time.Time
}

// Rollouts are those of all FECs that have any, by FEC, and why they are paused. A ledger that was lost has none: whoever makes it
// anew pauses them, because what failed is not known any more; what FECs run, they are asked.
func (l *Ledger) Rollouts(ctx context.Context) (map[string]Rollout, RolloutPause, error) {
	const what = "read restarts"
	out, err := readMap(ctx, l, what, func(scan func(...any) error) (fec string, r Rollout, err error) {
		var closed, at int64
		err = scan(&r.FEC, &r.Wanted, &r.Was, &r.Need, &r.Software, &r.Group, &r.Wave, &r.State, &r.Detail, &r.Boot, &closed, &at)
		r.Closed, r.At = closed != 0, unstamp(at)
		return r.FEC, r, err
	}, "SELECT fec, wanted, was, need, software, team, wave, state, detail, boot, closed, at FROM rollouts")
	if err != nil {
		return nil, RolloutPause{}, err
	}
	pauses, err := read(ctx, l, what, func(scan func(...any) error) (p RolloutPause, err error) {
		var at int64
		err = scan(&p.Reason, &p.By, &at)
		p.At = unstamp(at)
		return p, err
	}, "SELECT reason, placed_by, at FROM rollout_pauses")
	if err != nil || len(pauses) == 0 {
		return out, RolloutPause{}, err
	}
	return out, pauses[0], nil
}

// SetRollouts enters how far some FECs have come, and forgets others: all of it or nothing.
func (l *Ledger) SetRollouts(ctx context.Context, set []Rollout, forget []string) error {
	return l.atomically(ctx, "record restarts", func(tx *sql.Tx) error {
		var rows, gone [][]any
		for _, r := range set {
			rows = append(rows, []any{r.FEC, r.Wanted, r.Was, r.Need, r.Software, r.Group, r.Wave, r.State, r.Detail, r.Boot, bit(r.Closed), stamp(r.At)})
		}
		for _, fec := range forget {
			gone = append(gone, []any{fec})
		}
		if err := inBatches(ctx, tx, "DELETE FROM rollouts WHERE fec IN (", gone, ")"); err != nil {
			return err
		}
		if err := remember(ctx, tx, set, gone); err != nil {
			return err
		}
		return inBatches(ctx, tx, "INSERT INTO rollouts (fec, wanted, was, need, software, team, wave, state, detail, boot, closed, at) VALUES ", rows,
			` ON CONFLICT (fec) DO UPDATE SET wanted = excluded.wanted, was = excluded.was, need = excluded.need, software = excluded.software,
			team = excluded.team, wave = excluded.wave, state = excluded.state, detail = excluded.detail, boot = excluded.boot,
			closed = excluded.closed, at = excluded.at`)
	})
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// PauseRollouts has nothing restarted, for a reason; an empty one ends that. A pause that is in force stays as it is, unless a person
// takes over what Pomona has paused.
func (l *Ledger) PauseRollouts(ctx context.Context, p RolloutPause) error {
	if p.Reason == "" {
		_, err := l.write(ctx, "resume restarts", "DELETE FROM rollout_pauses")
		return err
	}
	_, err := l.write(ctx, "pause restarts", `INSERT INTO rollout_pauses (id, reason, placed_by, at) VALUES (1, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, placed_by = excluded.placed_by, at = excluded.at
		WHERE rollout_pauses.placed_by = '' AND excluded.placed_by <> ''`, p.Reason, p.By, stamp(p.At))
	return err
}

package ledger

import (
	"context"
	"database/sql"
	"time"
)

// PilotProbe is what the information system said of a site's resources, as it was asked last.
type PilotProbe struct {
	Pilot, Site string
	Seen, Right bool
	Why         string
	At          time.Time
	Since       time.Time // it has said so; what is entered for the first time says so since At
}

// PutPilotProbes enters what was found, in the place of what was found before: all of it or nothing. Who is asked again and says the same has said so since
// he did first.
func (l *Ledger) PutPilotProbes(ctx context.Context, probes []PilotProbe) error {
	return l.atomically(ctx, "record probes", func(tx *sql.Tx) error {
		var rows [][]any
		for _, p := range probes {
			rows = append(rows, []any{p.Pilot, p.Site, bit(p.Seen), bit(p.Right), p.Why, stamp(p.At), stamp(p.At)})
		}
		return inBatches(ctx, tx, "INSERT INTO pilot_probes (pilot, site, seen, good, why, at, since) VALUES ", rows,
			" ON CONFLICT (pilot, site) DO UPDATE SET seen = excluded.seen, good = excluded.good, why = excluded.why, at = excluded.at, "+
				"since = CASE WHEN pilot_probes.seen = excluded.seen AND pilot_probes.good = excluded.good THEN pilot_probes.since ELSE excluded.since END")
	})
}

// PilotProbes are those of all pilots, by pilot and site.
func (l *Ledger) PilotProbes(ctx context.Context) ([]PilotProbe, error) {
	return read(ctx, l, "read probes", func(scan func(...any) error) (p PilotProbe, err error) {
		var seen, right, at, since int64
		err = scan(&p.Pilot, &p.Site, &seen, &right, &p.Why, &at, &since)
		p.Seen, p.Right, p.At, p.Since = seen != 0, right != 0, unstamp(at), unstamp(since)
		return p, err
	}, "SELECT pilot, site, seen, good, why, at, since FROM pilot_probes ORDER BY pilot, site")
}

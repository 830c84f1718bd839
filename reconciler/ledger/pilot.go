package ledger

import (
	"context"
	"database/sql"
	"time"
)

// RecordProof is how it is known who wrote one record of a pilot or a prerequisite.
type RecordProof struct {
	Section string // pilots or prerequisites
	Name    string // of the pilot or prerequisite
	Record  string
	Digest  string // of what it says: a record that says something else has to be proven again
	By      string
	Source  string
	At      time.Time
	Gone    bool // it was published, and what it is of has gone since
}

// RecordProofs are all of a section.
func (l *Ledger) RecordProofs(ctx context.Context, section string) ([]RecordProof, error) {
	return read(ctx, l, "read proofs of records", func(scan func(...any) error) (p RecordProof, err error) {
		var at, gone int64
		err = scan(&p.Section, &p.Name, &p.Record, &p.Digest, &p.By, &p.Source, &at, &gone)
		p.At, p.Gone = unstamp(at), gone != 0
		return p, err
	}, "SELECT section, name, record, digest, author, source, at, gone FROM record_proofs WHERE section = ?", section)
}

// ProveRecords enters proofs, all or none. What is proven stays so.
func (l *Ledger) ProveRecords(ctx context.Context, proofs []RecordProof) error {
	return l.atomically(ctx, "record proofs of records", func(tx *sql.Tx) error {
		var rows [][]any
		for _, p := range proofs {
			rows = append(rows, []any{p.Section, p.Name, p.Record, p.Digest, p.By, p.Source, stamp(p.At)})
		}
		return inBatches(ctx, tx, "INSERT INTO record_proofs (section, name, record, digest, author, source, at) VALUES ", rows,
			" ON CONFLICT (section, name, record, digest) DO NOTHING")
	})
}

// RecordsGo notes which proven records go with what they are of, and of what none has gone any more, by section and name: all of it or nothing.
func (l *Ledger) RecordsGo(ctx context.Context, gone []RecordProof, back [][2]string) error {
	if len(gone)+len(back) == 0 {
		return nil
	}
	return l.atomically(ctx, "record what has gone", func(tx *sql.Tx) error {
		for _, of := range back {
			if _, err := tx.ExecContext(ctx, "UPDATE record_proofs SET gone = 0 WHERE section = ? AND name = ?", of[0], of[1]); err != nil {
				return err
			}
		}
		for _, p := range gone {
			if _, err := tx.ExecContext(ctx, "UPDATE record_proofs SET gone = 1 WHERE section = ? AND name = ? AND record = ? AND digest = ?", p.Section, p.Name, p.Record, p.Digest); err != nil {
				return err
			}
		}
		return nil
	})
}

// UnproveRecords forgets what is proven under a name.
func (l *Ledger) UnproveRecords(ctx context.Context, section, name string) error {
	_, err := l.write(ctx, "forget proofs of records", "DELETE FROM record_proofs WHERE section = ? AND name = ?", section, name)
	return err
}

// VouchRecord enters a proof in the place of an earlier one, if there is one.
func (l *Ledger) VouchRecord(ctx context.Context, p RecordProof) error {
	_, err := l.write(ctx, "record proofs of records", "INSERT INTO record_proofs (section, name, record, digest, author, source, at) VALUES (?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (section, name, record, digest) DO UPDATE SET author = excluded.author, source = excluded.source, at = excluded.at",
		p.Section, p.Name, p.Record, p.Digest, p.By, p.Source, stamp(p.At))
	return err
}

// PilotSight is something that was seen of a pilot.
type PilotSight struct {
	Pilot  string
	Kind   string // state, wave or trip
	What   string
	At     time.Time
	Detail string
}

// PilotSights are those of all pilots.
func (l *Ledger) PilotSights(ctx context.Context) ([]PilotSight, error) {
	return read(ctx, l, "read pilots", func(scan func(...any) error) (s PilotSight, err error) {
		var at int64
		err = scan(&s.Pilot, &s.Kind, &s.What, &at, &s.Detail)
		s.At = unstamp(at)
		return s, err
	}, "SELECT pilot, kind, what, at, detail FROM pilot_sights ORDER BY pilot, kind, what")
}

// SeePilots enters sights, in the place of earlier ones of the same, and forgets others: all of it or nothing.
func (l *Ledger) SeePilots(ctx context.Context, seen, forget []PilotSight) error {
	if len(seen)+len(forget) == 0 {
		return nil
	}
	return l.atomically(ctx, "record pilots", func(tx *sql.Tx) error {
		for _, s := range forget {
			if _, err := tx.ExecContext(ctx, "DELETE FROM pilot_sights WHERE pilot = ? AND kind = ? AND what = ?", s.Pilot, s.Kind, s.What); err != nil {
				return err
			}
		}
		var rows [][]any
		for _, s := range seen {
			rows = append(rows, []any{s.Pilot, s.Kind, s.What, stamp(s.At), s.Detail})
		}
		return inBatches(ctx, tx, "INSERT INTO pilot_sights (pilot, kind, what, at, detail) VALUES ", rows,
			" ON CONFLICT (pilot, kind, what) DO UPDATE SET at = excluded.at, detail = excluded.detail")
	})
}

// PilotRun is what a FEC has proven to run of one software.
type PilotRun struct {
	FEC      string
	Software string
	Serial   int64  // that it proved it of
	Version  string // empty: not known
	State    string // as it reported
	Since    time.Time
}

// PilotRuns are those of all FECs that take part in pilots, or did.
func (l *Ledger) PilotRuns(ctx context.Context) ([]PilotRun, error) {
	return read(ctx, l, "read pilots", func(scan func(...any) error) (r PilotRun, err error) {
		var since int64
		err = scan(&r.FEC, &r.Software, &r.Serial, &r.Version, &r.State, &since)
		r.Since = unstamp(since)
		return r, err
	}, "SELECT fec, software, serial, version, state, since FROM pilot_runs ORDER BY fec, software")
}

// PutPilotRuns enters what FECs run, in the place of what they ran: all of it or nothing.
func (l *Ledger) PutPilotRuns(ctx context.Context, runs []PilotRun) error {
	if len(runs) == 0 {
		return nil
	}
	return l.atomically(ctx, "record pilots", func(tx *sql.Tx) error {
		var rows [][]any
		for _, r := range runs {
			rows = append(rows, []any{r.FEC, r.Software, r.Serial, r.Version, r.State, stamp(r.Since)})
		}
		return inBatches(ctx, tx, "INSERT INTO pilot_runs (fec, software, serial, version, state, since) VALUES ", rows,
			" ON CONFLICT (fec, software) DO UPDATE SET serial = excluded.serial, version = excluded.version, state = excluded.state, since = excluded.since")
	})
}

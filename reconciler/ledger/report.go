package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// FECReport is what a FEC said of itself.
type FECReport struct {
	FEC     string
	Serial  int64  // that it is about; 0 for none
	State   string // as the boot client names it
	Slot    string
	Detail  string
	Client  string    // version of who reports
	Source  string    // "report", "token" or "ssh"
	From    string    // address
	Preview int       // pull request whose preview it is about; 0: what is published
	Dev     string    // "NAME VERSION", separated by commas, of software that pomona dev has put there
	Clock   time.Time // of the FEC, in a form with a token; zero for none
	At      time.Time
}

// Proven says whether it is certain who said it. Nothing else may decide anything.
func (r FECReport) Proven() bool { return r.Source == "token" || r.Source == "ssh" }

// reportsKept of one FEC; older ones go.
const reportsKept = 50

const reportColumns = "serial, state, slot, detail, client, source, sender, preview, dev, clock, at"

func (r FECReport) columns(first ...any) []any {
	return append(first, r.Serial, r.State, r.Slot, r.Detail, r.Client, r.Source, r.From, r.Preview, r.Dev, stamp(r.Clock), stamp(r.At))
}

// AddReports enters reports, all or none, in the order in which they came. A ledger that was lost fills again as FECs boot or
// are asked; meanwhile it is not known what they run.
func (l *Ledger) AddReports(ctx context.Context, rs []FECReport) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("record reports: %w", err)
	}
	defer tx.Rollback() // of no effect once it is committed
	if err := addReports(ctx, tx, rs); err != nil {
		return fmt.Errorf("record reports: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("record reports: %w", err)
	}
	return nil
}

func addReports(ctx context.Context, tx *sql.Tx, rs []FECReport) error {
	type key struct {
		fec    string
		proven int
	}
	counts, latest := map[string]int64{}, map[key]FECReport{}
	insert, err := tx.PrepareContext(ctx, "INSERT INTO reports (fec, number, "+reportColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close() // its errors are those of its use
	for _, r := range rs {
		if _, ok := counts[r.FEC]; !ok {
			var last int64
			if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(number), 0) FROM reports WHERE fec = ?", r.FEC).Scan(&last); err != nil {
				return err
			}
			counts[r.FEC] = last
		}
		counts[r.FEC]++
		if _, err := insert.ExecContext(ctx, r.columns(r.FEC, counts[r.FEC])...); err != nil {
			return err
		}
		if r.Preview == 0 {
			latest[key{r.FEC, 0}] = r
		}
		if r.Preview == 0 && r.Proven() {
			latest[key{r.FEC, 1}] = r
		}
	}
	for k, r := range latest {
		if _, err := tx.ExecContext(ctx, `INSERT INTO latest_reports (fec, proven, `+reportColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (fec, proven) DO UPDATE SET serial = excluded.serial, state = excluded.state, slot = excluded.slot, detail = excluded.detail,
			client = excluded.client, source = excluded.source, sender = excluded.sender, dev = excluded.dev, clock = excluded.clock, at = excluded.at`,
			r.columns(k.fec, k.proven)...); err != nil {
			return err
		}
	}
	for fec, last := range counts {
		if _, err := tx.ExecContext(ctx, "DELETE FROM reports WHERE fec = ? AND number <= ?", fec, last-reportsKept); err != nil {
			return err
		}
	}
	return nil
}

func scanReport(scan func(...any) error) (r FECReport, err error) {
	var clock, at int64
	err = scan(&r.FEC, &r.Serial, &r.State, &r.Slot, &r.Detail, &r.Client, &r.Source, &r.From, &r.Preview, &r.Dev, &clock, &at)
	r.Clock, r.At = unstamp(clock), unstamp(at)
	return r, err
}

// LatestReports are the last one of each FEC, by FEC. Reports about previews do not count.
func (l *Ledger) LatestReports(ctx context.Context) ([]FECReport, error) {
	return read(ctx, l, "read reports", scanReport, "SELECT fec, "+reportColumns+" FROM latest_reports WHERE proven = 0 ORDER BY fec")
}

// Evidence is the last report of each FEC of which it is certain who sent it.
func (l *Ledger) Evidence(ctx context.Context) (map[string]FECReport, error) {
	rs, err := read(ctx, l, "read reports", scanReport, "SELECT fec, "+reportColumns+" FROM latest_reports WHERE proven = 1")
	out := make(map[string]FECReport, len(rs))
	for _, r := range rs {
		out[r.FEC] = r
	}
	return out, err
}

// ReportsOf are the last n of a FEC, newest first, those about previews among them.
func (l *Ledger) ReportsOf(ctx context.Context, fec string, n int) ([]FECReport, error) {
	return read(ctx, l, "read reports", scanReport, "SELECT fec, "+reportColumns+" FROM reports WHERE fec = ? ORDER BY number DESC LIMIT ?", fec, n)
}

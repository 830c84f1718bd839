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

// HasToken says whether the FEC has proven by a token what it reports: of its evidence, also if that is an answer over ssh.
func (r FECReport) HasToken() bool { return r.Source == "token" || !r.Clock.IsZero() }

// reportsKept of one FEC, and up to moreReports besides; older ones go.
const (
	reportsKept = 50
	moreReports = 10
)

const reportColumns = "serial, state, slot, detail, client, source, sender, preview, dev, clock, at"

func (r FECReport) columns(first ...any) []any {
	return append(first, r.Serial, r.State, r.Slot, r.Detail, r.Client, r.Source, r.From, r.Preview, r.Dev, stamp(r.Clock), stamp(r.At))
}

// AddReports enters reports, all or none, in the order in which they came. A ledger that was lost fills again as FECs boot or
// are asked; meanwhile it is not known what they run.
func (l *Ledger) AddReports(ctx context.Context, rs []FECReport) error {
	return l.atomically(ctx, "record reports", func(tx *sql.Tx) error {
		counts, err := countReports(ctx, tx, rs)
		if err != nil {
			return err
		}
		type key struct {
			fec    string
			proven int
		}
		latest := map[key]FECReport{}
		var rows, latestRows, crowded [][]any
		for _, r := range rs {
			counts[r.FEC]++
			rows = append(rows, r.columns(r.FEC, counts[r.FEC]))
			if counts[r.FEC]%moreReports == 0 {
				crowded = append(crowded, []any{r.FEC})
			}
			if r.Preview == 0 {
				latest[key{r.FEC, 0}] = r
			}
			if r.Preview == 0 && r.Proven() {
				if was := latest[key{r.FEC, 1}]; was.Clock.After(r.Clock) {
					r.Clock = was.Clock // an answer over ssh has none
				}
				latest[key{r.FEC, 1}] = r
			}
		}
		for k, r := range latest {
			latestRows = append(latestRows, r.columns(k.fec, k.proven))
		}
		err = inBatches(ctx, tx, "INSERT INTO reports (fec, number, "+reportColumns+") VALUES ", rows, "")
		if err == nil {
			err = inBatches(ctx, tx, "INSERT INTO latest_reports (fec, proven, "+reportColumns+") VALUES ", latestRows,
				` ON CONFLICT (fec, proven) DO UPDATE SET serial = excluded.serial, state = excluded.state, slot = excluded.slot, detail = excluded.detail,
				client = excluded.client, source = excluded.source, sender = excluded.sender, dev = excluded.dev, at = excluded.at,
				clock = CASE WHEN excluded.clock > latest_reports.clock THEN excluded.clock ELSE latest_reports.clock END`)
		}
		if err == nil {
			err = inBatches(ctx, tx, fmt.Sprintf(`DELETE FROM reports WHERE number <= (SELECT MAX(number) FROM reports AS newer WHERE newer.fec = reports.fec) - %d
				AND fec IN (`, reportsKept), crowded, ")")
		}
		return err
	})
}

// countReports is the number of the last report of each FEC.
func countReports(ctx context.Context, tx *sql.Tx, rs []FECReport) (map[string]int64, error) {
	counts := map[string]int64{}
	var fecs []any
	for _, r := range rs {
		if _, ok := counts[r.FEC]; !ok {
			counts[r.FEC] = 0
			fecs = append(fecs, r.FEC)
		}
	}
	return counts, readAmong(ctx, tx, "SELECT fec, MAX(number) FROM reports WHERE fec IN (", fecs, ") GROUP BY fec", func(scan func(...any) error) error {
		var fec string
		var last int64
		err := scan(&fec, &last)
		counts[fec] = last
		return err
	})
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

// Evidence is the last report of each FEC of which it is certain who sent it; its Clock is that of the last one with a token.
func (l *Ledger) Evidence(ctx context.Context) (map[string]FECReport, error) {
	rs, err := read(ctx, l, "read reports", scanReport, "SELECT fec, "+reportColumns+" FROM latest_reports WHERE proven = 1")
	out := make(map[string]FECReport, len(rs))
	for _, r := range rs {
		out[r.FEC] = r
	}
	return out, err
}

// LatestOf are the last report of a FEC, and the last of which it is certain who sent it; nil for none.
func (l *Ledger) LatestOf(ctx context.Context, fec string) (last, proven *FECReport, err error) {
	for i, to := range []**FECReport{&last, &proven} {
		rs, err := read(ctx, l, "read reports", scanReport, "SELECT fec, "+reportColumns+" FROM latest_reports WHERE fec = ? AND proven = ?", fec, i)
		if err != nil {
			return nil, nil, err
		}
		if len(rs) > 0 {
			*to = &rs[0]
		}
	}
	return last, proven, nil
}

// ForgetProofs forgets the last that FECs have proven: what they report counts as anybody's.
func (l *Ledger) ForgetProofs(ctx context.Context, fecs []string) error {
	return l.atomically(ctx, "forget proofs", func(tx *sql.Tx) error {
		var rows [][]any
		for _, fec := range fecs {
			rows = append(rows, []any{fec})
		}
		return inBatches(ctx, tx, "DELETE FROM latest_reports WHERE proven = 1 AND fec IN (", rows, ")")
	})
}

// ReportsOf are the last n of a FEC, newest first, those about previews among them.
func (l *Ledger) ReportsOf(ctx context.Context, fec string, n int) ([]FECReport, error) {
	return read(ctx, l, "read reports", scanReport, "SELECT fec, "+reportColumns+" FROM reports WHERE fec = ? ORDER BY number DESC LIMIT ?", fec, n)
}

package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// PublishedFEC is what was published to a FEC by the generation that first had it.
type PublishedFEC struct {
	FEC        string
	Serial     int64
	Commit     string // 40 hex digits
	Generation int64
	At         time.Time
	Manifest   []byte            // unsigned text
	Software   map[string]string // name to version
}

// keptOfFEC are how many serials of each FEC are kept; older ones go, but for what it reported last: it may not boot for long.
const keptOfFEC = 20

// Publish enters what a generation publishes: FECs whose serial is new, and those that are gone. All of it is entered or
// nothing.
func (l *Ledger) Publish(ctx context.Context, fecs []PublishedFEC, gone []string) error {
	return l.atomically(ctx, "record what is published", func(tx *sql.Tx) error {
		var superseded, rows, software [][]any
		for _, f := range fecs {
			superseded = append(superseded, []any{f.FEC})
			rows = append(rows, []any{f.FEC, f.Serial, f.Commit, f.Generation, stamp(f.At), string(f.Manifest), 1})
			for _, name := range slices.Sorted(maps.Keys(f.Software)) {
				software = append(software, []any{f.FEC, f.Serial, name, f.Software[name]})
			}
		}
		for _, fec := range gone {
			superseded = append(superseded, []any{fec})
		}
		err := inBatches(ctx, tx, "UPDATE published_fecs SET published = 0 WHERE published = 1 AND fec IN (", superseded, ")")
		if err == nil {
			err = inBatches(ctx, tx, "INSERT INTO published_fecs (fec, serial, commit_id, generation, at, manifest, published) VALUES ", rows,
				" ON CONFLICT (fec, serial) DO UPDATE SET published = 1")
		}
		if err == nil {
			err = inBatches(ctx, tx, "INSERT INTO published_software (fec, serial, software, version) VALUES ", software,
				" ON CONFLICT (fec, serial, software) DO UPDATE SET version = excluded.version")
		}
		if err != nil {
			return err
		}
		return forgetPublished(ctx, tx, fecs)
	})
}

// forgetPublished keeps the newest serials of FECs.
func forgetPublished(ctx context.Context, tx *sql.Tx, fecs []PublishedFEC) error {
	for _, f := range fecs {
		var oldest int64
		err := tx.QueryRowContext(ctx, "SELECT serial FROM published_fecs WHERE fec = ? ORDER BY serial DESC LIMIT 1 OFFSET ?", f.FEC, keptOfFEC-1).Scan(&oldest)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		for _, table := range []string{"published_software", "published_fecs"} {
			if err == nil {
				_, err = tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE fec = ? AND serial < ? AND serial NOT IN (SELECT serial FROM latest_reports WHERE fec = ?)", f.FEC, oldest, f.FEC)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const publishedColumns = "SELECT fec, serial, commit_id, generation, at, manifest FROM published_fecs"

// PublishedFEC is what was published to a FEC with a serial; false if that is not known.
func (l *Ledger) PublishedFEC(ctx context.Context, fec string, serial int64) (PublishedFEC, bool, error) {
	found, err := l.published(ctx, publishedColumns+" WHERE fec = ? AND serial = ?", fec, serial)
	if err != nil || len(found) == 0 {
		return PublishedFEC{}, false, err
	}
	return found[0], true, nil
}

// PublishedOf is what was published to a FEC, the last n of it, newest first.
func (l *Ledger) PublishedOf(ctx context.Context, fec string, n int) ([]PublishedFEC, error) {
	return l.published(ctx, publishedColumns+" WHERE fec = ? ORDER BY serial DESC LIMIT ?", fec, n)
}

func (l *Ledger) published(ctx context.Context, query string, args ...any) ([]PublishedFEC, error) {
	const what = "read what is published"
	found, err := read(ctx, l, what, func(scan func(...any) error) (f PublishedFEC, err error) {
		var at int64
		err = scan(&f.FEC, &f.Serial, &f.Commit, &f.Generation, &at, &f.Manifest)
		f.At = unstamp(at)
		return f, err
	}, query, args...)
	for i := range found {
		f := &found[i]
		f.Software = map[string]string{}
		if err == nil {
			f.Software, err = readMap(ctx, l, what, func(scan func(...any) error) (name, version string, err error) {
				err = scan(&name, &version)
				return name, version, err
			}, "SELECT software, version FROM published_software WHERE fec = ? AND serial = ?", f.FEC, f.Serial)
		}
	}
	return found, err
}

// Serials are what the last recorded generation publishes: each FEC's serial.
func (l *Ledger) Serials(ctx context.Context) (map[string]int64, error) {
	return readMap(ctx, l, "read what is published", func(scan func(...any) error) (fec string, serial int64, err error) {
		err = scan(&fec, &serial)
		return fec, serial, err
	}, "SELECT fec, serial FROM published_fecs WHERE published = 1")
}

// VersionsOf says for each FEC what was published to it of a software with a serial: empty if that release had none of it. A FEC of which nothing
// is known is missing.
func (l *Ledger) VersionsOf(ctx context.Context, software string, serials map[string]int64) (map[string]string, error) {
	out := map[string]string{}
	return out, eachSerial(serials, func(serial int64, in string, fecs []any) error {
		return l.readEach(ctx, "read what is published", func(scan func(...any) error) error {
			var fec, version string
			err := scan(&fec, &version)
			out[fec] = version
			return err
		}, "SELECT f.fec, COALESCE(s.version, '') FROM published_fecs f LEFT JOIN published_software s ON s.fec = f.fec AND s.serial = f.serial AND s.software = ?"+
			" WHERE f.serial = ? AND f.fec IN ("+in+")", append([]any{software, serial}, fecs...)...)
	})
}

// CountVersions is how many of some FECs had each version of each software published to them with a serial.
func (l *Ledger) CountVersions(ctx context.Context, serials map[string]int64) (map[string]map[string]int, error) {
	out := map[string]map[string]int{}
	return out, eachSerial(serials, func(serial int64, in string, fecs []any) error {
		return l.readEach(ctx, "read what is published", func(scan func(...any) error) error {
			var software, version string
			var n int
			err := scan(&software, &version, &n)
			if out[software] == nil {
				out[software] = map[string]int{}
			}
			out[software][version] += n
			return err
		}, "SELECT software, version, COUNT(*) FROM published_software WHERE serial = ? AND fec IN ("+in+") GROUP BY software, version", append([]any{serial}, fecs...)...)
	})
}

// eachSerial asks about some FECs at a time that have the same serial.
func eachSerial(serials map[string]int64, ask func(serial int64, in string, fecs []any) error) error {
	by := map[int64][]any{}
	for fec, serial := range serials {
		by[serial] = append(by[serial], fec)
	}
	for serial, fecs := range by {
		for some := range slices.Chunk(fecs, batch) {
			if err := ask(serial, "?"+strings.Repeat(", ?", len(some)-1), some); err != nil {
				return err
			}
		}
	}
	return nil
}

// PublishedSince is when each FEC's serial was published that the last recorded generation publishes.
func (l *Ledger) PublishedSince(ctx context.Context) (map[string]time.Time, error) {
	return readMap(ctx, l, "read what is published", func(scan func(...any) error) (fec string, since time.Time, err error) {
		var at int64
		err = scan(&fec, &at)
		return fec, unstamp(at), err
	}, "SELECT fec, at FROM published_fecs WHERE published = 1")
}

// PublishedRelease is a version of a software that the tree holds, and the generation that first had it.
type PublishedRelease struct {
	Software, Version string
	Commit            string // 40 hex digits
	Generation        int64
	At                time.Time
}

// PublishReleases enters exactly the releases of a generation. One that was there before keeps its time.
func (l *Ledger) PublishReleases(ctx context.Context, releases []PublishedRelease) error {
	return l.atomically(ctx, "record releases", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE published_releases SET published = 0 WHERE published = 1"); err != nil {
			return err
		}
		var rows [][]any
		for _, r := range releases {
			rows = append(rows, []any{r.Software, r.Version, r.Commit, r.Generation, stamp(r.At), 1})
		}
		return inBatches(ctx, tx, "INSERT INTO published_releases (software, version, commit_id, generation, at, published) VALUES ", rows,
			" ON CONFLICT (software, version) DO UPDATE SET published = 1")
	})
}

// Releases are those that the last recorded generation holds.
func (l *Ledger) Releases(ctx context.Context) ([]PublishedRelease, error) {
	return read(ctx, l, "read releases", func(scan func(...any) error) (r PublishedRelease, err error) {
		var at int64
		err = scan(&r.Software, &r.Version, &r.Commit, &r.Generation, &at)
		r.At = unstamp(at)
		return r, err
	}, "SELECT software, version, commit_id, generation, at FROM published_releases WHERE published = 1 ORDER BY software, version")
}

// atomically does all of something, durably, or nothing.
func (l *Ledger) atomically(ctx context.Context, what string, do func(*sql.Tx) error) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer tx.Rollback() // of no effect once it is committed
	err = do(tx)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// readAmong reads the rows that a query finds of some keys, which stand between its two parts. Keys are asked for some at a time.
func readAmong(ctx context.Context, tx *sql.Tx, before string, keys []any, after string, each func(scan func(...any) error) error) error {
	for some := range slices.Chunk(keys, batch) {
		rows, err := tx.QueryContext(ctx, before+"?"+strings.Repeat(", ?", len(some)-1)+after, some...)
		if err != nil {
			return err
		}
		for rows.Next() {
			if err := each(rows.Scan); err != nil {
				return errors.Join(err, rows.Close())
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
	}
	return nil
}

// batch is how many parameters one statement takes: databases bound them, and binding takes the square of their number.
const batch = 200

// inBatches runs a statement over rows of parameters: a list of them, in parentheses if they have several columns.
func inBatches(ctx context.Context, tx *sql.Tx, before string, rows [][]any, after string) error {
	if len(rows) == 0 {
		return nil
	}
	for some := range slices.Chunk(rows, max(1, batch/len(rows[0]))) {
		row := strings.Repeat(", ?", len(some[0]))[2:]
		if len(some[0]) > 1 {
			row = "(" + row + ")"
		}
		statement := before + strings.Repeat(", "+row, len(some))[2:] + after
		if _, err := tx.ExecContext(ctx, statement, slices.Concat(some...)...); err != nil {
			return err
		}
	}
	return nil
}

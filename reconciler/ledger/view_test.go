package ledger_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

// rows are those of a query, as another tool sees them: columns separated by |.
func rows(t *testing.T, path, query string) (out []string) {
	t.Helper()
	db, err := rawAt(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if p, ok := onPostgres(path); ok {
		db.SetMaxOpenConns(1)
		if _, err := db.Exec("SET search_path = " + p.Schema); err != nil {
			t.Fatal(err)
		}
	}
	found, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for found.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, v := range values {
			words = append(words, v.String)
		}
		out = append(out, strings.Join(words, "|"))
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestViewsForOtherTools(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l := open(t, path)
	a1, a2, b1 := published("a", 1, "1.0.0"), published("a", 2, "1.1.0"), published("b", 1, "1.0.0")
	g1 := published("g", 1, "1.0.0")
	said := func(fec string, serial int64, state, source string) ledger.FECReport {
		return ledger.FECReport{FEC: fec, Serial: serial, State: state, Source: source, At: now.Add(time.Minute)}
	}
	for _, err := range []error{
		l.Publish(t.Context(), []ledger.PublishedFEC{a1, b1, g1}, nil),
		l.Publish(t.Context(), []ledger.PublishedFEC{a2}, nil),
		l.PublishReleases(t.Context(), []ledger.PublishedRelease{{Software: "bpm", Version: "0.9.0", Commit: "c0", Generation: 1, At: now}}),
		l.PublishReleases(t.Context(), []ledger.PublishedRelease{{Software: "bpm", Version: "1.0.0", Commit: "c1", Generation: 1, At: now}, {Software: "bpm", Version: "1.1.0", Commit: "c2", Generation: 2, At: now}}),
		l.AddReports(t.Context(), []ledger.FECReport{said("a", 1, "running", "report"), said("b", 1, "running", "token"), said("g", 1, "running", "token"), said("c", 9, "failed", "report")}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	dev, proven := said("b", 1, "running", "token"), said("d", 8, "running", "token")
	dev.Dev, proven.Clock = "bpm dev-1", now
	for _, r := range []ledger.FECReport{dev, proven, said("d", 8, "running", "ssh"), said("d", 9, "failed", "report"), said("e", 8, "running", "ssh"), said("e", 9, "failed", "report")} {
		if err := l.AddReports(t.Context(), []ledger.FECReport{r}); err != nil {
			t.Fatal(err)
		}
	}
	batch := submission("a", 1)
	batch.State, batch.Job, batch.Submitted, batch.Ended, batch.Exit, batch.Node = "failed", "17_1", now.Add(time.Minute), now.Add(time.Minute), 3, "n1"
	check(t, l.SetCampaign(t.Context(), ledger.Campaign{UID: "keepup/1", Name: "keepup"}), l.SetSubmissions(t.Context(), now, batch))
	at, later := fmt.Sprint(now.Unix()), fmt.Sprint(now.Add(time.Minute).Unix())
	zeros := strings.Repeat("0", 39)
	for query, want := range map[string][]string{
		"SELECT software, version, published, since, commit_id, fecs FROM releases ORDER BY version": {
			"bpm|0.9.0|0|" + at + "|c0|0", "bpm|1.0.0|1|" + at + "|c1|2", "bpm|1.1.0|1|" + at + "|c2|1"},
		"SELECT fec, software, version, serial, since, commit_id FROM fec_software ORDER BY fec, software": {
			"a|bpm|1.1.0|2|" + at + "|" + zeros + "2", "a|timing|2.0.0|2|" + at + "|" + zeros + "2", "b|bpm|1.0.0|1|" + at + "|" + zeros + "1", "b|timing|2.0.0|1|" + at + "|" + zeros + "1",
			"g|bpm|1.0.0|1|" + at + "|" + zeros + "1", "g|timing|2.0.0|1|" + at + "|" + zeros + "1"},
		"SELECT fec, state, serial, software, version, proven, reported, published_serial, current, dev FROM fec_running ORDER BY fec, software": {
			"a|running|1|bpm|1.0.0|0|" + later + "|2|0|", "a|running|1|timing|2.0.0|0|" + later + "|2|0|",
			"b|running|1|bpm|1.0.0|1|" + later + "|1|0|bpm dev-1", "b|running|1|timing|2.0.0|1|" + later + "|1|0|bpm dev-1", "c|failed|9|||0|" + later + "|0|0|",
			"d|running|8|||1|" + later + "|0|0|", "e|failed|9|||0|" + later + "|0|0|", "g|running|1|bpm|1.0.0|1|" + later + "|1|1|", "g|running|1|timing|2.0.0|1|" + later + "|1|1|"},
		"SELECT campaign, stage, slice, attempt, submission, engine, job, state, commit_id, intended, submitted, ended, exit_code, uid, epoch, round, launch, node FROM campaign_submissions": {
			"keepup|reco|a|1|pom-a-1|slurm|17_1|failed|c|" + at + "|" + later + "|" + later + "|3|keepup/1|2|0|pom-l1|n1"},
	} {
		if d := cmp.Diff(want, rows(t, path, query)); d != "" {
			t.Errorf("%s (-want +got):\n%s", query, d)
		}
	}
}

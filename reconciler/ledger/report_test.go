package ledger_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

func said(fec, source string, serial int64) ledger.FECReport {
	return ledger.FECReport{FEC: fec, Serial: serial, State: "running", Slot: "s", Detail: "d", Client: "3", Source: source, From: "192.0.2.1",
		Dev: "bpm dev", Clock: now.Add(-time.Second), At: now.Add(time.Duration(serial) * time.Minute)}
}

func TestReportsAreKeptByFECAndTheLastOfEachIsKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l := open(t, path)
	preview := said("a", "token", 9)
	preview.Preview = 7
	for _, batch := range [][]ledger.FECReport{
		{said("b", "report", 1), said("a", "token", 1), said("a", "ssh", 2)},
		{said("a", "report", 3), preview},
		nil,
	} {
		if err := l.AddReports(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	l = open(t, path)
	latest, err := l.LatestReports(t.Context())
	if d := cmp.Diff([]ledger.FECReport{said("a", "report", 3), said("b", "report", 1)}, latest); d != "" || err != nil {
		t.Errorf("latest (-want +got), %v:\n%s", err, d)
	}
	evidence, err := l.Evidence(t.Context())
	if d := cmp.Diff(map[string]ledger.FECReport{"a": said("a", "ssh", 2)}, evidence); d != "" || err != nil {
		t.Errorf("evidence (-want +got), %v:\n%s", err, d)
	}
	for fec, e := range evidence {
		if last, proven, err := l.LatestOf(t.Context(), fec); err != nil || last == nil || proven == nil || *last != latest[0] || *proven != e {
			t.Errorf("of %s alone: %+v, %+v, %v", fec, last, proven, err)
		}
	}
	if last, proven, err := l.LatestOf(t.Context(), "b"); err != nil || last == nil || proven != nil {
		t.Errorf("of b alone: %+v, %+v, %v", last, proven, err)
	}
	of, err := l.ReportsOf(t.Context(), "a", 3)
	if d := cmp.Diff([]ledger.FECReport{preview, said("a", "report", 3), said("a", "ssh", 2)}, of); d != "" || err != nil {
		t.Errorf("of a (-want +got), %v:\n%s", err, d)
	}
}

// TestTheClockOfTheLastTokenStays, whatever a FEC answers over ssh after it: else what was sent with a token could come again.
func TestTheClockOfTheLastTokenStays(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	ssh := said("a", "ssh", 2)
	ssh.Clock = time.Time{}
	for _, batch := range [][]ledger.FECReport{{said("a", "token", 1), ssh}, {ssh}} {
		if err := l.AddReports(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if e, err := l.Evidence(t.Context()); err != nil || e["a"].Source != "ssh" || !e["a"].Clock.Equal(now.Add(-time.Second)) {
			t.Errorf("evidence %+v, %v", e["a"], err)
		}
	}
}

// TestOneFECCannotPushOutOthersOrWhatIsProven: history is bounded by FEC.
func TestOneFECCannotPushOutOthersOrWhatIsProven(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	batch := []ledger.FECReport{said("a", "token", 1), said("b", "report", 1)}
	for i := range 500 {
		batch = append(batch, said("a", "report", int64(i)))
	}
	for range 3 {
		if err := l.AddReports(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		batch = batch[2:]
	}
	for fec, want := range map[string]int{"a": 50, "b": 1} {
		if of, err := l.ReportsOf(t.Context(), fec, 10_000); len(of) < want || len(of) > want+10 || err != nil {
			t.Errorf("%d reports of %s are kept, want %d and perhaps 10 more, %v", len(of), fec, want, err)
		}
	}
	if evidence, err := l.Evidence(t.Context()); evidence["a"] != said("a", "token", 1) || err != nil {
		t.Errorf("evidence %+v, %v", evidence, err)
	}
}

func BenchmarkAddReports(b *testing.B) {
	l, err := ledger.Open(b.Context(), filepath.Join(b.TempDir(), "l.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var batch []ledger.FECReport
	for i := range 5000 {
		batch = append(batch, said(fmt.Sprintf("fec%d", i%2000), "token", int64(i)))
	}
	for b.Loop() {
		if err := l.AddReports(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

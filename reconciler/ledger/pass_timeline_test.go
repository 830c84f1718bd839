package ledger_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

func TestATimelineHasWhatIsNewsAndCountsTheRest(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	for i, news := range []bool{true, false, false, true, true, false} {
		p := ledger.Pass{Started: now.Add(time.Duration(i) * time.Minute), Ended: now.Add(time.Duration(i)*time.Minute + time.Second), Wanted: fmt.Sprint(i), Outcome: "unchanged",
			Blocked: []byte("[]"), Stages: []byte(`[{"name":"plan"}]`), Did: "swept", News: news}
		if i == 3 {
			p.Outcome = "failed"
		}
		if n, err := l.AddPass(t.Context(), p); n != int64(i+1) || err != nil {
			t.Fatalf("number %d, %v", n, err)
		}
	}
	text := func(passes []ledger.TimedPass, of int, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		out := fmt.Sprint(of)
		for _, p := range passes {
			out += fmt.Sprintf(" %d+%d", p.Number, p.Again)
			if last := now.Add(time.Duration(p.Number+p.Again-1)*time.Minute + time.Second); p.Again > 0 && !p.Last.Equal(last) || p.Again == 0 && !p.Last.IsZero() {
				t.Errorf("pass %d: the last that said the same ended at %s", p.Number, p.Last)
			}
		}
		return out
	}
	for _, c := range []struct {
		outcome  string
		every    bool
		first, n int
		want     string
	}{
		{"", false, 0, 10, "3 5+1 4+0 1+2"},
		{"", false, 1, 1, "3 4+0"},
		{"", false, 9, 1, "3"},
		{"failed", false, 0, 10, "1 4+0"},
		{"unchanged", true, 0, 2, "5 6+0 5+1"},
	} {
		if got := text(l.Timeline(t.Context(), c.outcome, c.every, c.first, c.n)); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if p, ok, err := l.TimedPass(t.Context(), 4); !ok || err != nil || string(p.Stages) != `[{"name":"plan"}]` || p.Did != "swept" || !p.News || p.Outcome != "failed" {
		t.Errorf("%+v %v %v", p, ok, err)
	}
	if p, ok, err := l.PassOf(t.Context(), "4"); !ok || err != nil || p.Number != 5 {
		t.Errorf("%+v %v %v", p, ok, err)
	}
	if _, ok, err := l.PassOf(t.Context(), "1"); ok || err != nil {
		t.Errorf("a pass that is no news is that of a commit: %v", err)
	}
	if _, ok, err := l.TimedPass(t.Context(), 7); ok || err != nil {
		t.Errorf("there is a seventh pass: %v", err)
	}
}

func TestPlansOfTheNewestPassesAreKept(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	for i := range int64(502) {
		if err := l.PutPlan(t.Context(), i+1, fmt.Appendf(nil, `{"pass":%d}`, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.PutPlan(t.Context(), 502, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range []int64{2, 3, 501, 502, 503} {
		told, err := l.PlanOf(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(told))
	}
	if want := []string{"", `{"pass":3}`, `{"pass":501}`, "{}", ""}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestPlansOfAllPassesAreNotTooMuch(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	told := slices.Repeat([]byte("ä"), 15<<20) // 30 MiB
	for i := range int64(3) {
		if err := l.PutPlan(t.Context(), i+1, told); err != nil {
			t.Fatal(err)
		}
	}
	for pass, want := range []int{1: 0, 2: len(told), 3: len(told)} {
		if got, err := l.PlanOf(t.Context(), int64(pass)); len(got) != want || err != nil {
			t.Errorf("pass %d: %d bytes, %v", pass, len(got), err)
		}
	}
}

func TestNewsStaysHoweverMuchIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l := open(t, path)
	// Passes 1 to 600 are news. 601 is none, 602 is, and of all after that none; they are a second apart.
	run(t, path, `INSERT INTO passes (id, started, ended, wanted, published, generation, tree, outcome, reason, blocked, news)
		WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 12000)
		SELECT id, id * 1000, id * 1000 + 1, '', '', 0, '', 'unchanged', '', '[]', CASE WHEN id <= 600 OR id = 602 OR id = 700 THEN 1 ELSE 0 END FROM n`)
	if n, err := l.AddPass(t.Context(), ledger.Pass{Started: now, Ended: now, Outcome: "unchanged", Blocked: []byte("[]")}); n != 12001 || err != nil {
		t.Fatal(n, err)
	}
	passes, of, err := l.Timeline(t.Context(), "", false, 0, 600)
	if err != nil || of != 500 || len(passes) != 500 {
		t.Fatalf("%d of %d are news, %v", len(passes), of, err)
	}
	for i, want := range []struct{ number, again, last int64 }{{700, 11301, now.UnixMilli()}, {602, 97, 699_001}, {600, 1, 601_001}, {599, 0, 0}} {
		p := passes[i]
		if p.Number != want.number || p.Again != want.again || p.Last.IsZero() != (want.last == 0) || want.last != 0 && p.Last.UnixMilli() != want.last {
			t.Errorf("pass %d, %d more until %s, want %+v", p.Number, p.Again, p.Last, want)
		}
	}
	if p, ok, err := l.PassAt(t.Context(), time.UnixMilli(650_500)); !ok || err != nil || p.Started.UnixMilli() != 602_000 {
		t.Errorf("the last before a time: %+v, %v, %v", p, ok, err)
	}
	if _, every, err := l.Timeline(t.Context(), "", true, 0, 1); err != nil || every != 10_000+500+2 {
		t.Errorf("%d passes are kept, %v", every, err)
	}
}

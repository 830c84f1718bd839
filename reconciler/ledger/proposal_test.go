package ledger_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

func TestProposalsAreFoundAndClosed(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	commit := func(c string) string { return strings.Repeat(c, 40) }
	put := func(p ledger.Proposal) {
		t.Helper()
		p.Line, p.Told = []byte(`{"line":1}`), []byte(`{"told":1}`)
		if err := l.PutProposal(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	put(ledger.Proposal{Number: 1, Head: commit("0"), Planned: now})
	put(ledger.Proposal{Number: 1, Head: commit("1"), Merged: commit("a"), Planned: now.Add(3 * time.Second)}) // in its place
	put(ledger.Proposal{Number: 2, Head: commit("2"), Planned: now.Add(time.Second)})
	put(ledger.Proposal{Head: commit("3"), Planned: now.Add(2 * time.Second)})
	if open, err := l.OpenProposals(t.Context()); err != nil || !slices.Equal(open, []int{1, 2}) {
		t.Errorf("open: %v, %v", open, err)
	}
	if err := l.CloseProposal(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for which, want := range map[string]string{"1": commit("1"), "2": commit("2"), "0": "", "-1": "", "": "", "3": "", commit("0"): "", commit("1"): commit("1"), commit("3"): commit("3"),
		commit("a")[:12]: commit("1"), commit("a")[:11]: "", "%%%%%%%%%%%%": "", "____________": "", commit("2") + "2": ""} {
		p, ok, err := l.ProposalOf(t.Context(), which)
		if err != nil || ok != (want != "") || p.Head != want || p.Closed != (p.Number == 2) || ok && string(p.Told) != `{"told":1}` {
			t.Errorf("%q: %+v, %v, %v", which, p, ok, err)
		}
	}
	all, err := l.Proposals(t.Context())
	if err != nil || len(all) != 3 || all[0].Number != 1 || all[0].Merged != commit("a") || all[1].Head != commit("3") || !all[2].Closed || len(all[2].Told) > 0 || string(all[2].Line) != `{"line":1}` {
		t.Errorf("%+v, %v", all, err)
	}
	put(ledger.Proposal{Number: 2, Head: commit("2"), Planned: now.Add(time.Second)}) // it is opened again
	if open, err := l.OpenProposals(t.Context()); err != nil || !slices.Equal(open, []int{1, 2}) {
		t.Errorf("open: %v, %v", open, err)
	}
}

// TestProposalsThatEndedGoSomeDay, the oldest first; those that are open stay.
func TestProposalsThatEndedGoSomeDay(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	for i := range 510 {
		p := ledger.Proposal{Number: i + 1, Head: fmt.Sprintf("%040x", i), Planned: now.Add(time.Duration(i) * time.Second), Closed: i >= 5, Line: []byte("{}"), Told: []byte("{}")}
		if err := l.PutProposal(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	all, err := l.Proposals(t.Context())
	if err != nil || len(all) != 505 || all[0].Number != 510 || all[499].Number != 11 || all[500].Number != 5 {
		t.Errorf("%d are kept: %+v, %v", len(all), all[min(len(all), 499):], err)
	}
}

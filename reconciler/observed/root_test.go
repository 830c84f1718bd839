package observed_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

func FuzzParseGeneration(f *testing.F) {
	g := observed.Generation{
		Number: 42, Site: "linac", Commit: "3f", GitTree: "4e", Tree: artifact.Sum([]byte("t")), Pomona: "v1", Keys: []string{"a"},
		Givens: observed.Givens{Holds: []observed.Hold{{ID: "h-1", Scope: "site", Until: time.Unix(1_800_000_000, 0).UTC()}},
			Held: []observed.Held{{FEC: "a", Commit: "3f", Expired: []string{}, By: []string{"h-1"}}}, Expired: []string{"fecs.a"}}, Published: time.Unix(1_800_000_000, 0).UTC(),
	}
	back, err := observed.ParseGeneration(g.Marshal())
	if d := cmp.Diff(g, back); d != "" || err != nil {
		f.Fatalf("generation differs, %v (-want +got):\n%s", err, d)
	}
	f.Add(g.Marshal())
	f.Add([]byte(`{"generation":0}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := observed.ParseGeneration(b)
		if err != nil {
			return
		}
		again, err := observed.ParseGeneration(g.Marshal())
		if err != nil || !bytes.Equal(again.Marshal(), g.Marshal()) {
			t.Errorf("%q is read as %+v and then as %+v, %v", b, g, again, err)
		}
	})
}

func TestTheHighestSerialOutlivesTheLinkToTheCurrentGeneration(t *testing.T) {
	r := observed.Root{Generations: []observed.Generation{{Number: 1, Serial: 7}, {Number: 2, Serial: 5}}}
	if got := r.HighestSerial(); got != 7 {
		t.Errorf("highest serial %d, want 7", got)
	}
}

func TestNewestCountsWhatWasNeverPublished(t *testing.T) {
	r := observed.Root{Current: 3, Generations: []observed.Generation{{Number: 3}, {Number: 5}}}
	if g, ok := r.Published(); !ok || g.Number != 3 || r.Newest() != 5 {
		t.Errorf("published %+v %v, newest %d", g, ok, r.Newest())
	}
	if _, ok := (observed.Root{}).Published(); ok {
		t.Error("an empty root has a published generation")
	}
}

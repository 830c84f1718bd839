package ledger_test

import (
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

func TestTheLastWordOfAnAttemptOnAnInputCounts(t *testing.T) {
	l := campaignLedger(t)
	of := func(key, slice string) ledger.Submission {
		return ledger.Submission{Key: key, UID: "keepup/1", Stage: "reco", Epoch: 1, Slice: slice}
	}
	check(t,
		l.SetInputWords(t.Context(), of("p2", "a"), map[string]string{"x": "delivered", "y": "delivered"}, now),
		l.SetInputWords(t.Context(), of("p2", "a"), map[string]string{"x": "consumed"}, now.Add(2*time.Second)),
		l.SetInputWords(t.Context(), of("p1", "a"), map[string]string{"x": "failed"}, now.Add(time.Second)),
		l.SetInputWords(t.Context(), of("p3", "b"), map[string]string{"x": "failed"}, now),
		l.SetInputWords(t.Context(), of("p2", "a"), nil, now))
	got, err := l.InputWords(t.Context(), "keepup/1", "reco", 1, "a")
	same(t, "said", []ledger.InputWord{{Submission: "p2", Name: "y", State: "delivered"}, {Submission: "p1", Name: "x", State: "failed"}, {Submission: "p2", Name: "x", State: "consumed"}}, got, err)
	none, err := l.InputWords(t.Context(), "keepup/1", "reco", 2, "a")
	same(t, "another epoch", nil, none, err)
}

package ledger_test

import (
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

func TestDisturbancesLastFromTheFirstTimeToTheLast(t *testing.T) {
	l := campaignLedger(t)
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	hold := ledger.Disturbance{Kind: "hold", Name: "h-1", Scope: "campaigns", Reason: "beam"}
	service := ledger.Disturbance{Kind: "service", Name: "sam", Reason: "503"}
	check(t,
		l.SetDisturbances(t.Context(), at(0), []ledger.Disturbance{hold}),
		l.SetDisturbances(t.Context(), at(1), []ledger.Disturbance{service, hold, hold}),
		l.SetDisturbances(t.Context(), at(2), []ledger.Disturbance{service}),
		l.SetDisturbances(t.Context(), at(3), nil),
		l.SetDisturbances(t.Context(), at(5), []ledger.Disturbance{hold}))
	first, again := hold, hold
	first.Began, first.Ended, again.Began = at(0), at(2), at(5)
	service.Began, service.Ended = at(1), at(3)
	all, err := l.Disturbances(t.Context(), at(0), at(9))
	same(t, "all", []ledger.Disturbance{first, service, again}, all, err)
	between, err := l.Disturbances(t.Context(), at(3), at(4))
	same(t, "between", []ledger.Disturbance{service}, between, err)
	later, err := l.Disturbances(t.Context(), at(100), at(101))
	same(t, "what lasts", []ledger.Disturbance{again}, later, err)
}

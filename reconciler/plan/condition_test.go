package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

func TestConditionsOfAFECToWhich7IsPublished(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		said *observed.FECReport
		want plan.Condition
		why  string
	}{
		{nil, plan.Silent, "nothing"},
		{&observed.FECReport{State: "running", Serial: 7}, plan.Runs, ""},
		{&observed.FECReport{State: "running", Serial: 6}, plan.Stale, "it runs serial 6, as of 2026-11-21 11:30 UTC"},
		{&observed.FECReport{State: "running", Serial: 8}, plan.Stale, "it runs serial 8"},
		{&observed.FECReport{State: "running", Serial: 7, Dev: "bpm dev"}, plan.Stale, "bpm dev"},
		{&observed.FECReport{State: "fallback", Serial: 7, Detail: "no server"}, plan.Fails, "fallback with serial 7 at 2026-11-21 11:30 UTC: no server"},
		{&observed.FECReport{State: "init-failed", Serial: 7}, plan.Fails, "init-failed"},
		{&observed.FECReport{State: "failed"}, plan.Fails, "failed"},
		{&observed.FECReport{State: "fetching", Serial: 7}, plan.Boots, "fetching"},
		{&observed.FECReport{State: "installed", Serial: 7}, plan.Boots, "installed"},
		{&observed.FECReport{State: "installed", Serial: 7, At: now.Add(-2 * time.Hour)}, plan.Fails, "has not ended"},
	} {
		if c.said != nil && c.said.At.IsZero() {
			c.said.At = now.Add(-30 * time.Minute)
		}
		got, why := plan.ConditionOf(7, c.said, now)
		if got != c.want || !strings.Contains(why, c.why) || (c.why == "") != (why == "") {
			t.Errorf("%+v: %s, %q, want %s, %q", c.said, got, why, c.want, c.why)
		}
	}
}

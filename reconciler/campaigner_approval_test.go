package reconciler

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// TestAnApprovalCountsForWhatItNames: who may approve a stage may not approve its campaign, whatever digest they write beside the stage, or
// was recorded so before.
func TestAnApprovalCountsForWhatItNames(t *testing.T) {
	s, of := judging(t, nil)
	yes := true
	of.wanted, of.spec.NeedsApproval = true, &yes
	of.spec.Stages["check"] = desired.Stage{Type: desired.ApprovalStage, Needs: map[string]desired.Need{"a": {}}}
	of.spec.Stages["look"] = of.spec.Stages["check"]
	now := campaignNow{tended: of, open: []observed.Slice{{UID: of.uid, Stage: "check", Epoch: 1, ID: "all", State: observed.SliceAwaiting}}}
	now.digests(desired.Settings{})
	whole, part := now.digest, now.waiting["check"]
	for _, c := range []struct {
		a     desired.Approval
		asks  bool
		doubt string
	}{
		{desired.Approval{Digest: whole}, true, ""},
		{desired.Approval{Digest: whole, Stage: "check"}, false, "the campaign, of which an approval names no stage"},
		{desired.Approval{Digest: part, Stage: "check"}, true, ""},
		{desired.Approval{Digest: part, Stage: "look"}, false, "that of stage check"},
		{desired.Approval{Digest: part}, false, "that of stage check"},
		{desired.Approval{Digest: "sha256:0", Stage: "check"}, false, ""},
	} {
		if got := now.asksFor(c.a); got != c.asks {
			t.Errorf("%+v is asked for: %v", c.a, got)
		}
		if c.asks {
			continue
		}
		now.spec.Approvals, now.evidence = []desired.Approval{c.a}, nil
		approved, doubts, err := s.approvals(t.Context(), siteNow{}, &now)
		if err != nil || len(approved) > 0 || !strings.Contains(strings.Join(doubts, ""), c.doubt) || c.doubt == "" && len(doubts) > 0 {
			t.Errorf("%+v: %v, %v, %v", c.a, approved, doubts, err)
		}
	}
	for _, c := range []struct {
		a        desired.Approval
		recorded string // for which stage
		state    string
		slices   int // that go on
	}{
		{desired.Approval{Digest: whole}, "", plan.CampaignActive, 0},
		{desired.Approval{Digest: whole}, "check", plan.CampaignAwaiting, 0},
		{desired.Approval{Digest: whole, Stage: "check"}, "check", plan.CampaignAwaiting, 0},
		{desired.Approval{Digest: part, Stage: "check"}, "check", plan.CampaignAwaiting, 1},
		{desired.Approval{Digest: part, Stage: "look"}, "look", plan.CampaignAwaiting, 0},
	} {
		now.spec.Approvals = []desired.Approval{c.a}
		now.evidence = []ledger.CampaignEvidence{{UID: of.uid, Kind: decidedApproved, Stage: c.recorded, Digest: c.a.Digest, By: "sam"}}
		if c.recorded != c.a.Stage {
			s.doubts[doubtOf(&now, 0, siteNow{})] = doubted{errNoEngine, s.Now().Add(again)} // nobody knows who else gave it
		}
		var err error
		if now.approved, _, err = s.approvals(t.Context(), siteNow{}, &now); err != nil {
			t.Error(err)
		}
		p := plan.Campaign(s.facts(siteNow{}, now, nil))
		on := plan.JudgeApproval(now.digest, "check", now.awaiting("check"), now.approved.of("check"), s.Now())
		if p.State != c.state || p.Launch != (c.state == plan.CampaignActive) || len(on) != c.slices {
			t.Errorf("%+v, recorded of %q: %s, launches: %v, %d slices go on", c.a, c.recorded, p.State, p.Launch, len(on))
		}
		clear(s.doubts)
	}
}

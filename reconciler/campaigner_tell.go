package reconciler

import (
	"context"
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// tellPeople tells what is so now; whoever is told knows what is new in it.
func (s *Campaigner) tellPeople(ctx context.Context) {
	now, err := s.going(ctx)
	if err != nil {
		return // the next step says why
	}
	s.told.tell(now)
	s.Tell.Campaigns(now)
	s.Tell.CampaignsAre(CampaignsHeld, heldCampaigns(now))
	s.Tell.CampaignsAre(CampaignsLate, lateCampaigns(now))
	s.Tell.CampaignsAre(SubmissionsUnknown, unknownSubmissions(now))
	s.Tell.CampaignsAre(CredentialsExpiring, s.expiring())
}

// heldCampaigns are the campaigns that are to go on and cannot, and why.
func heldCampaigns(now report.Campaigns) (lines []string) {
	for _, c := range now.Campaigns {
		if c.Held() {
			lines = append(lines, c.UID+": "+c.Why[0])
		}
	}
	return lines
}

// lateCampaigns are the campaigns with slices that have taken too long: those that go on, and those that somebody must decide about.
func lateCampaigns(now report.Campaigns) (lines []string) {
	for _, c := range now.Campaigns {
		for _, stage := range c.Stages {
			if stage.Late && !c.Ended {
				lines = append(lines, fmt.Sprintf("%s: %s: %s", c.UID, stage.Name, stage.Why))
			}
		}
		if says := c.Lateness(); says != "" && !c.Ended {
			lines = append(lines, c.UID+": "+says)
		}
	}
	return lines
}

// unknownSubmissions are the campaigns with submissions of which nobody knows what became of them.
func unknownSubmissions(now report.Campaigns) (lines []string) {
	for _, c := range now.Campaigns {
		for _, stage := range c.Stages {
			if n := stage.Submissions[observed.SubmissionUnknown]; n > 0 && !c.Ended {
				lines = append(lines, fmt.Sprintf("%s: %d of %s on engine %s; look there, then say with pomona campaign cancel or accept what is to become of the slice", c.UID, n, stage.Name, stage.Engine))
			}
		}
	}
	return lines
}

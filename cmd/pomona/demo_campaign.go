package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/propose"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// The template's campaign, which is a draft there, and the file that declares it.
const (
	demoCampaign     = "orbit-reprocessing"
	demoCampaignFile = "campaigns/campaigns.cue"
)

// demoPatience is how long a demo waits for its campaign: it takes seconds.
const demoPatience = time.Minute

// carryOut has the service carry out the campaign to its end, and shows what became of it.
func (d *demo) carryOut(ctx context.Context, campaigns *reconciler.Campaigner, r *repo.Repo) error {
	if c, there := d.site.Campaigns[demoCampaign]; !there || c.TheState() != desired.Draft {
		return nil // an earlier demo has, or whoever uses its site
	}
	began := time.Now()
	id, err := d.activate(r)
	if err != nil {
		return err
	}
	d.say("\n5. Activated campaign %s as an engineer would: state: \"active\" in %s, commit %s.", demoCampaign, demoCampaignFile, id[:12])
	c, err := d.ended(ctx, campaigns)
	if err != nil {
		return err
	}
	if !c.Ended {
		d.say("   It goes on: %s campaign %s --root %s\n", os.Args[0], demoCampaign, d.path("root"))
	} else {
		d.say("   Its batch jobs have ended within %s, each submitted once; the campaign is %s:\n", time.Since(began).Round(100*time.Millisecond), c.State)
	}
	return c.StageTable(d.out)
}

// activate commits that the campaign shall start, as its engineer would, and gives the commit's id.
func (d *demo) activate(r *repo.Repo) (id string, err error) {
	content, err := os.ReadFile(d.path("site/" + demoCampaignFile))
	if err != nil {
		return "", fmt.Errorf("read campaign: %w", err)
	}
	f, err := propose.Declare(propose.File{Path: demoCampaignFile, Content: content}, []string{"campaigns", demoCampaign, "state"}, propose.Text(desired.Active))
	if err != nil {
		return "", err
	}
	base, err := r.Resolve("HEAD")
	if err != nil {
		return "", err
	}
	draft, err := r.Draft(base, map[string][]byte{f.Path: f.Content}, "Start "+demoCampaign+"\n\nMade by pomona demo.\n", time.Now(), nil)
	if err != nil {
		return "", err
	}
	branch, err := r.Branch()
	if err != nil {
		return "", err
	}
	return draft.Commit.ID, r.Advance(branch, draft)
}

// ended waits until the campaign has, but not for ever.
func (d *demo) ended(ctx context.Context, campaigns *reconciler.Campaigner) (c report.Campaign, err error) {
	ctx, stop := context.WithTimeout(ctx, demoPatience)
	defer stop()
	for {
		all, err := campaigns.Campaigns(ctx, demoCampaign)
		c, _ = all.Find(demoCampaign)
		if err != nil && ctx.Err() == nil {
			return c, err
		}
		select {
		case <-ctx.Done():
			return c, nil
		case <-time.After(100 * time.Millisecond):
		}
		if c.Ended {
			return c, nil
		}
	}
}

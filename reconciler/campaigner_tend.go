package reconciler

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// tended is one run of a campaign.
type tended struct {
	name, uid string
	spec      desired.Campaign
	wanted    bool // the site has it; else it was deleted, or has another run now
	row       ledger.Campaign
}

// siteNow is what is published, as campaigns see it.
type siteNow struct {
	desired.Site
	commit string
	holds  []observed.Hold // in force
}

// link changes when something else is published.
func (s *Campaigner) link() string {
	link, _ := os.Readlink(filepath.Join(s.Root, tree.CurrentLink)) // none: nothing is
	return link
}

// step decides once about every campaign, and has batch systems do it. Busy says that more is to come soon. What goes wrong with one
// campaign or engine concerns no other.
func (s *Campaigner) step(ctx context.Context) (busy bool, err error) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	s.reads.patient(patientRead)
	site, err := s.siteNow(ctx)
	if err != nil || site.commit == "" {
		return false, err
	}
	s.told.hold(site.holds)
	if err := s.disturb(ctx, site.holds); err != nil {
		return false, err
	}
	all, err := s.tendedFrom(ctx, site)
	if err != nil {
		return false, err
	}
	for _, c := range all {
		if plan.CampaignEnded(c.row.State) {
			continue
		}
		more, err := s.tend(ctx, site, c)
		s.grumble(ctx, c.uid, err)
		busy = busy || more
	}
	s.tellPeople(ctx)
	return busy, ctx.Err()
}

// grumble logs once, and again when it is for another reason, that one campaign does not go on.
func (s *Campaigner) grumble(ctx context.Context, uid string, err error) {
	if s.troubles[uid] == nil {
		s.troubles[uid] = new(trouble)
	}
	switch news := s.troubles[uid].news(err); {
	case ctx.Err() != nil:
	case err != nil && news:
		s.Log.Error("campaign does not go on", "campaign", uid, "err", err)
	case news:
		s.Log.Info("campaign goes on again", "campaign", uid)
	}
	if err != nil {
		s.told.say(uid, []string{"it cannot be decided what is due: " + err.Error()}, plan.CampaignPlan{}, nil)
	}
}

// siteNow is the published site with the holds in force. While nothing is published it has no commit.
func (s *Campaigner) siteNow(ctx context.Context) (now siteNow, err error) {
	site, g, err := s.PublishedSite(ctx)
	if err != nil || g.Commit == "" {
		return now, err
	}
	head, err := s.Repo.Resolve(s.Branch)
	if err != nil {
		head.ID = "" // then rollbacks stay
	}
	j := s.judge(ctx, head.ID, g.Givens.Holds)
	j.holds.Stated = site.Holds
	j.again(s.Now())
	return siteNow{site, g.Commit, j.in}, nil
}

// tendedCampaigns are all campaigns that the ledger or the site knows.
func (s *Campaigner) tendedCampaigns(ctx context.Context) ([]tended, error) {
	site, err := s.siteNow(ctx)
	if err != nil {
		return nil, err
	}
	return s.tendedFrom(ctx, site)
}

func (s *Campaigner) tendedFrom(ctx context.Context, site siteNow) (all []tended, err error) {
	var rows map[string]ledger.Campaign
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		rows, err = l.Campaigns(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		if rows, err = s.rebuild(ctx, site); err != nil {
			return nil, err
		}
	}
	for _, row := range campaignRows(rows, site.Site) {
		c := tended{name: row.Name, uid: row.UID, row: row}
		if rows[row.UID].UID == "" {
			c.row = ledger.Campaign{UID: row.UID, Name: row.Name} // seen for the first time
		}
		if spec, there := site.Campaigns[row.Name]; there && spec.UID(row.Name) == row.UID {
			c.spec, c.wanted = spec, true
		} else {
			c.spec = specOf(row)
		}
		all = append(all, c)
	}
	return all, nil
}

// specOf is a campaign as it was last in the site.
func specOf(row ledger.Campaign) (c desired.Campaign) {
	_ = json.Unmarshal([]byte(row.Spec), &c) // else it has no stages, and ends
	return c
}

// campaignNow is all that is known of a campaign.
type campaignNow struct {
	tended
	stages   []ledger.CampaignStage
	counts   map[ledger.SliceCycle]int
	open     []observed.Slice // those that have not ended, without inputs
	edges    []ledger.CycledEdge
	tries    map[ledger.SliceKey][]observed.Submission // of those, oldest first
	evidence []ledger.CampaignEvidence                 // approvals
	digest   string                                    // of what it does
	waiting  map[string]string                         // digests of all slices that wait for an approval together, by stage
	approved approvals
	busy     bool   // something has been done about it
	late     int    // slices that have taken too long, and go on
	offers   offers // of inputs that slices may get besides
}

// digests works out what approvals bind to.
func (n *campaignNow) digests(settings desired.Settings) {
	n.digest, n.waiting = plan.SpecDigest(n.name, n.spec, settings), map[string]string{}
	for _, slice := range n.open {
		if slice.State == observed.SliceAwaiting && n.waiting[slice.Stage] == "" {
			n.waiting[slice.Stage] = plan.StageDigest(n.digest, slice.Stage, n.awaiting(slice.Stage)...)
		}
	}
}

// awaiting are the slices of a stage that wait for an approval.
func (n *campaignNow) awaiting(stage string) (all []observed.Slice) {
	for _, slice := range n.open {
		if slice.Stage == stage && slice.State == observed.SliceAwaiting {
			all = append(all, slice)
		}
	}
	return all
}

// asksFor says whether an approval would count now: of the campaign, or of what waits in a stage.
func (n *campaignNow) asksFor(a desired.Approval) bool {
	if a.Stage == "" {
		return a.Digest == n.digest
	}
	return n.waiting[a.Stage] == a.Digest || slices.ContainsFunc(n.awaiting(a.Stage), func(s observed.Slice) bool {
		return plan.StageDigest(n.digest, s.Stage, s) == a.Digest
	})
}

// record is how far a stage was in a cycle.
func (n campaignNow) record(stage string, epoch int, cycle string) ledger.CampaignStage {
	for _, r := range n.stages {
		if r.Stage == stage && r.Epoch == epoch && r.Cycle == cycle {
			return r
		}
	}
	return ledger.CampaignStage{}
}

// look reads all that is known of a campaign.
func (s *Campaigner) look(ctx context.Context, c tended) (now campaignNow, err error) {
	now.tended = c
	err = s.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		if now.stages, err = l.CampaignStages(ctx, c.uid); err != nil {
			return err
		}
		if now.counts, err = l.SliceCycles(ctx, c.uid); err != nil {
			return err
		}
		open, err := l.OpenSlices(ctx, c.uid, c.lookedAt())
		if err != nil {
			return err
		}
		now.open = make([]observed.Slice, 0, len(open))
		for _, o := range open {
			now.open = append(now.open, observedSlice(o))
		}
		if now.edges, err = l.CycledEdges(ctx, c.uid); err != nil {
			return err
		}
		tries, err := l.OpenSlicesSubmissions(ctx, c.uid)
		if err != nil {
			return err
		}
		now.tries = map[ledger.SliceKey][]observed.Submission{}
		for _, sub := range tries {
			key := ledger.SliceKey{Stage: sub.Stage, Epoch: sub.Epoch, Slice: sub.Slice}
			now.tries[key] = append(now.tries[key], observedSubmission(sub))
		}
		now.evidence, err = l.CampaignEvidenceOf(ctx, c.uid, decidedApproved)
		return err
	})
	return now, err
}

// lookedAt is how many slices of a stage that wait for a submission are looked at: more than may be under way at once, and all where they are
// cancelled, or a later start may cancel them.
func (c tended) lookedAt() int {
	if c.spec.TheState() == desired.Closed || c.spec.Schedule != nil && c.spec.Schedule.Overlap() == "replace" {
		return math.MaxInt32
	}
	most := 0
	for _, s := range c.spec.Stages {
		most = max(most, s.InFlight())
	}
	return 2 * most
}

func keyOf(s observed.Slice) ledger.SliceKey {
	return ledger.SliceKey{Stage: s.Stage, Epoch: s.Epoch, Slice: s.ID}
}

// last is the last attempt at a slice; the zero value if there is none.
func (n campaignNow) last(slice observed.Slice) (last observed.Submission) {
	for _, sub := range n.tries[keyOf(slice)] {
		last = sub
	}
	return last
}

// underway says whether an attempt at a slice has not ended.
func (n campaignNow) underway(slice observed.Slice) bool {
	return slices.ContainsFunc(n.tries[keyOf(slice)], func(sub observed.Submission) bool { return !sub.State.Ended() })
}

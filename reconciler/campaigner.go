package reconciler

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// Campaigner carries out the campaigns of the published site, beside passes: it looks how far they are, lets plan decide what is due, and
// has batch systems do it.
//
// It may die at any instruction. What it is about to hand to a batch system it records before; what a batch system has, that
// knows. While nothing can be recorded, nothing is handed in.
type Campaigner struct {
	*Reconciler
	Engines   map[string]BatchEngine // by name, as profiles name them
	Datasets  observe.Datasets
	AskAgain  time.Duration // how often a dataset that still grows is asked; default 1m
	Services  map[string]SampledService
	Approvers Approvers
	API       JobAPI
	Every     time.Duration // how often it decides while there is something to do; default 2s
	Tell      CampaignTold

	deciding  sync.Mutex // held from reading how far campaigns are until what was decided is recorded
	samples   samples
	engines   map[string]*engineNow
	told      toldCampaigns
	trouble   trouble
	troubles  map[string]*trouble  // by campaign
	lookAgain map[string]lookAgain // by campaign, stage and cycle
	doubts    map[string]doubted   // by approval
	arrivals  map[string]arrivals  // by campaign and stage
	ended     map[string]time.Time // since when attempts are known to have ended whose slices may get more inputs
	reads     readings
	goesOn    map[string]bool // runs that had not ended when they were looked at first
	stirred   chan struct{}   // holds one: an operator has changed something
	lookers   chan struct{}   // hold one for each who looks where an answer may never come
	seen      recounted
}

// JobAPI is where jobs report; the zero value is nowhere.
type JobAPI struct {
	URL   string
	Token func(key string) string // by which the job of a submission does
}

// CampaignTold is told what people should know. Its methods return at once.
type CampaignTold interface {
	Campaigns(report.Campaigns) // as they were decided about last, and why they are not since
	// CampaignsAre tells that something is so with some campaigns, a line each; none: with none any more.
	CampaignsAre(what CampaignTrouble, lines []string)
	CampaignEnded(uid, state, detail string, well bool)
}

// CampaignTrouble is what people are told of campaigns.
type CampaignTrouble string

// Troubles.
const (
	CampaignsHeld       CampaignTrouble = "held"
	CampaignsLate       CampaignTrouble = "late"
	SubmissionsUnknown  CampaignTrouble = "unknown"
	CredentialsExpiring CampaignTrouble = "credentials"
)

// NewCampaigner completes a campaigner.
func NewCampaigner(c *Campaigner) *Campaigner {
	c.Every, c.AskAgain = cmp.Or(c.Every, 2*time.Second), cmp.Or(c.AskAgain, again)
	c.lookers = make(chan struct{}, mostLookers)
	c.stirred, c.troubles, c.lookAgain, c.doubts = make(chan struct{}, 1), map[string]*trouble{}, map[string]lookAgain{}, map[string]doubted{}
	c.arrivals, c.goesOn, c.ended = map[string]arrivals{}, map[string]bool{}, map[string]time.Time{}
	c.reads.running, c.reads.patience = map[string]*reading{}, patientRead
	c.openEngines(c.Engines)
	return c
}

// Run carries out campaigns until the context ends.
func (s *Campaigner) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { s.sample(ctx) })
	s.reads.begin(ctx)
	defer s.reads.all.Wait()
	for _, e := range s.engines {
		beside.Go(func() { s.attend(ctx, e) })
	}
	for ctx.Err() == nil {
		wait, seen := s.Every, s.link()
		busy, err := s.step(ctx)
		s.complain(ctx, err)
		if !busy {
			wait = min(idle, s.AskAgain)
		}
		s.sleep(ctx, wait, seen)
	}
	return nil
}

// sleep waits until it is time to decide again: also when something else is published than was when it began to decide, or an operator
// has changed something.
func (s *Campaigner) sleep(ctx context.Context, wait time.Duration, seen string) {
	until := time.After(wait)
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-until:
			return
		case <-s.stirred:
			return
		case <-look.C:
			if s.link() != seen {
				return
			}
		}
	}
}

func (s *Campaigner) stir() {
	select {
	case s.stirred <- struct{}{}:
	default:
	}
}

// complain logs once, and again when it is for another reason, that nothing is decided.
func (s *Campaigner) complain(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.told.stuck(err)
	if err != nil && s.Tell != nil {
		last, _ := s.told.lastTold()
		last.Engines, last.Services = s.reportEngines(), s.samples.sorted()
		s.Tell.Campaigns(last)
	}
	switch news := s.trouble.news(err); {
	case news && err == nil:
		s.Log.Info("campaigns can go on again")
	case news:
		s.Log.Error("campaigns do not go on", "err", err)
	}
}

package announce

import (
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pomona-gitops/pomona/reconciler/report"
)

// campaigns are measured as they were decided about last. Those that have ended are counted, and not measured one by one.
type campaigns struct {
	mu   sync.Mutex
	last report.Campaigns
}

var (
	campaignsDesc   = describe("campaigns", "Campaigns by state.", "state")
	slicesDesc      = describe("campaign_slices", "Slices of campaigns that have not ended, by state.", "campaign", "stage", "state")
	submissionsDesc = describe("campaign_submissions", "Submissions of campaigns that have not ended, by state.", "campaign", "stage", "state")
	stuckDesc       = describe("campaign_stuck", "1 if a campaign is to go on and nothing new of it is started, for a reason that pomona campaign tells.", "campaign")
	lateDesc        = describe("campaign_late", "Slices of a campaign that have taken too long.", "campaign")
	stageLateDesc   = describe("campaign_stage_late", "1 if others make the slices of a stage, and none has come for too long.", "campaign", "stage")
	undecidedDesc   = describe("campaigns_undecided", "1 if nothing is decided about any campaign: none goes on.")
	engineDesc      = describe("engine_up", "1 if a batch system answers.", "engine")
	engineJobsDesc  = describe("engine_jobs", "Jobs of a batch system whose end is not known yet.", "engine")
	credentialDesc  = describe("engine_credential_expiry_timestamp_seconds", "When the credential ends that jobs of a batch system need.", "engine")
	expiringDesc    = describe("engine_credential_expiring", "1 if that credential ends sooner than its configuration wants people to know, or cannot be read.", "engine")
	serviceDesc     = describe("service_up", "1 if a service is well that campaigns need.", "service")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pomona_"+name, help, labels, nil)
}

// Campaigns measures campaigns as they were decided about last.
func (m *Metrics) Campaigns(c report.Campaigns) {
	m.campaigns.mu.Lock()
	defer m.campaigns.mu.Unlock()
	m.campaigns.last = c
}

// Describe implements prometheus.Collector.
func (c *campaigns) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{campaignsDesc, slicesDesc, submissionsDesc, stuckDesc, lateDesc, stageLateDesc, undecidedDesc, engineDesc, engineJobsDesc, credentialDesc, expiringDesc, serviceDesc} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *campaigns) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	now := c.last
	c.mu.Unlock()
	set := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	set(undecidedDesc, bit(now.Trouble != ""))
	states := map[string]int{}
	for _, each := range now.Campaigns {
		states[each.State]++
		if each.Ended {
			continue
		}
		set(stuckDesc, bit(each.Held()), each.UID)
		for _, s := range each.Stages {
			if s.Late {
				set(stageLateDesc, 1, each.UID, s.Name)
			}
			for state, n := range s.Slices {
				set(slicesDesc, float64(n), each.UID, s.Name, string(state))
			}
			for state, n := range s.Submissions {
				set(submissionsDesc, float64(n), each.UID, s.Name, string(state))
			}
		}
		set(lateDesc, float64(each.LateSlices()), each.UID)
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		set(campaignsDesc, float64(states[state]), state)
	}
	for _, e := range now.Engines {
		set(engineDesc, bit(e.Answers), e.Name)
		set(engineJobsDesc, float64(e.Jobs), e.Name)
		if !e.Credential.IsZero() {
			set(credentialDesc, float64(e.Credential.Unix()), e.Name)
		}
		if trouble := e.CredentialTrouble != ""; trouble || !e.Credential.IsZero() {
			set(expiringDesc, bit(trouble || e.Expiring), e.Name)
		}
	}
	for _, s := range now.Services {
		set(serviceDesc, bit(s.Well), s.Name)
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

package announce

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pomona-gitops/pomona/reconciler/report"
)

// pilots are measured as they were judged last.
type pilots struct {
	mu   sync.Mutex
	last report.Pilots
}

var (
	pilotStateDesc    = describe("pilot_state", "1 for the state that a pilot is in.", "pilot", "scope", "state")
	pilotOverdueDesc  = describe("pilot_overdue_seconds", "How long somebody should have brought a pilot further; 0 if nobody should.", "pilot")
	pilotWithheldDesc = describe("pilot_withheld", "1 if a pilot is not brought further because something of it cannot be served.", "pilot")
	pilotProblemsDesc = describe("pilot_problems", "Open problems of a pilot by severity.", "pilot", "severity")
)

// Pilots measures pilots as they were judged last.
func (m *Metrics) Pilots(p report.Pilots) {
	m.pilots.mu.Lock()
	defer m.pilots.mu.Unlock()
	m.pilots.last = p
}

// Describe implements prometheus.Collector.
func (p *pilots) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{pilotStateDesc, pilotOverdueDesc, pilotWithheldDesc, pilotProblemsDesc} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (p *pilots) Collect(to chan<- prometheus.Metric) {
	p.mu.Lock()
	now := p.last
	p.mu.Unlock()
	set := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, each := range now.Pilots {
		set(pilotStateDesc, 1, each.Name, each.Scope, each.State)
		overdue := 0.
		if each.Late() {
			overdue = each.Overdue.Seconds()
		}
		set(pilotOverdueDesc, overdue, each.Name)
		set(pilotWithheldDesc, bit(each.Place.Withheld != ""), each.Name)
		problems := map[string]int{"blocker": 0, "major": 0, "minor": 0}
		for _, x := range each.Problems {
			if _, known := problems[x.Severity]; known && x.Status == "open" {
				problems[x.Severity]++
			}
		}
		for severity, n := range problems {
			set(pilotProblemsDesc, float64(n), each.Name, severity)
		}
	}
}

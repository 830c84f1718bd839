package announce

import (
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// Outcomes of a pass. Invalid: the site has problems; refused: it removes more than it may; error: the world failed.
var Outcomes = []string{"published", "noop", "invalid", "refused", "error"}

// Outcome is which of Outcomes a pass had.
func Outcome(rep report.Report, err error) string {
	switch _, invalid := asProblems(err); {
	case err == nil && rep.Plan.Publish != nil:
		return "published"
	case err == nil:
		return "noop"
	case invalid && len(rep.Plan.Refused) > 0:
		return "refused"
	case invalid:
		return "invalid"
	}
	return "error"
}

func asProblems(err error) (ps desired.Problems, ok bool) { return ps, errors.As(err, &ps) }

// The values that labels may have, so that nobody outside can make more series.
var (
	states          = []string{"fetching", "installed", "running", "fallback", "init-failed", "failed"}
	damages         = []observed.Kind{observed.WrongMode, observed.Foreign, observed.Edited, observed.Gone, observed.Altered, observed.Unlinked}
	fetchResults    = []string{"success", "noop", "error"}
	webhookForges   = []string{"github", "gitea", "gitlab", "generic"}
	webhookResults  = []string{"accepted", "ignored", "forged", "malformed", "refused", "repeated"}
	codes           = []string{"1xx", "2xx", "3xx", "4xx", "5xx"}
	collectOutcomes = []string{"collected", "unchanged", "nothing", "failed"}
	deliveries      = []string{"sent", "retried", "rejected", "dropped"}
)

// NewRegistry holds what a whole process measures: itself, and with NewMetrics each of its sites.
func NewRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "pomona_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}})
	info.Set(1)
	r.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// MetricsHandler answers a scrape.
func MetricsHandler(r prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Metrics are what one site is measured by. Its methods may be called from several goroutines.
type Metrics struct {
	site      prometheus.Registerer
	passes    *prometheus.CounterVec
	pass      prometheus.Histogram
	stages    *prometheus.HistogramVec
	problems  *prometheus.GaugeVec
	lastPass  prometheus.Gauge
	succeeded prometheus.Gauge

	generation, published, committed prometheus.Gauge

	declared prometheus.Gauge
	reported *prometheus.GaugeVec
	reports  *prometheus.CounterVec
	dropped  prometheus.Counter
	repaired *prometheus.CounterVec
	freed    prometheus.Counter
	swept    prometheus.Counter

	fetches  *prometheus.CounterVec
	fetch    prometheus.Histogram
	fetched  prometheus.Gauge
	webhooks *prometheus.CounterVec
	silent   prometheus.Gauge
	restarts *prometheus.GaugeVec
	paused   prometheus.Gauge
	collects *prometheus.CounterVec
	old      prometheus.Gauge
	reviews  *prometheus.CounterVec
	requests *prometheus.CounterVec
	sent     prometheus.Counter
	notified *prometheus.CounterVec

	campaigns campaigns
	pilots    pilots

	mu     sync.Mutex
	said   map[string]string // FEC to its last reported state
	saying map[string]int    // state to how many FECs
	fecs   int               // that the site declares, as far as a pass has seen
}

// NewMetrics measures a site. Every series has its name as label site; two sites of one name are an error of the caller.
func NewMetrics(registry *prometheus.Registry, site string, stages []string) *Metrics {
	m := &Metrics{site: prometheus.WrapRegistererWith(prometheus.Labels{"site": site}, registry), said: map[string]string{}, saying: map[string]int{}}
	m.site.MustRegister(&m.campaigns, &m.pilots)
	m.passes = counters(m.site, "passes_total", "Passes by outcome.", "outcome", Outcomes)
	m.pass = histogram(m.site, "pass_duration_seconds", "How long passes took.")
	m.stages = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pomona_stage_duration_seconds", Help: "How long stages of passes took.", Buckets: buckets}, []string{"stage"})
	m.site.MustRegister(m.stages)
	for _, s := range stages {
		m.stages.WithLabelValues(s)
	}
	m.problems = gauges(m.site, "site_problems", "Problems of the commit that was tried last.", "severity", []string{"problem", "warning"})
	m.lastPass = gauge(m.site, "last_pass_timestamp_seconds", "When the last pass ended.")
	m.succeeded = gauge(m.site, "last_success_timestamp_seconds", "When the last pass that succeeded ended.")
	m.generation = gauge(m.site, "published_generation", "Number of the generation that is served; 0 if nothing is.")
	m.published = gauge(m.site, "published_timestamp_seconds", "When the generation that is served was published.")
	m.committed = gauge(m.site, "published_commit_timestamp_seconds", "Time of the commit that is served.")
	m.declared = gauge(m.site, "fecs", "FECs that the site declares.")
	m.reported = gauges(m.site, "fecs_reported", "FECs by the state that they last reported; unknown: nothing yet.", "state", append([]string{"unknown"}, states...))
	m.reports = counters(m.site, "fec_reports_total", "Reports of FECs by state.", "state", states)
	m.dropped = counter(m.site, "fec_reports_dropped_total", "Reports of FECs that were answered and not recorded, as too many came or the ledger could not be used.")
	var kinds []string
	for _, k := range damages {
		kinds = append(kinds, string(k))
	}
	m.repaired = counters(m.site, "damage_repaired_total", "Damaged paths of the root that were put right.", "kind", kinds)
	m.freed = counter(m.site, "prune_freed_bytes_total", "Bytes of objects that were removed.")
	m.swept = counter(m.site, "prune_removed_objects_total", "Objects that were removed.")
	m.fetches = counters(m.site, "git_fetches_total", "Looks at the repository; noop: it has not moved.", "result", fetchResults)
	m.fetch = histogram(m.site, "git_fetch_duration_seconds", "How long looks at the repository took.")
	m.fetched = gauge(m.site, "git_last_fetch_success_timestamp_seconds", "When the repository was last read.")
	m.webhooks = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pomona_webhook_requests_total", Help: "Webhook requests."}, []string{"forge", "result"})
	m.site.MustRegister(m.webhooks)
	for _, f := range webhookForges {
		for _, r := range webhookResults {
			m.webhooks.WithLabelValues(f, r)
		}
	}
	m.silent = gauge(m.site, "webhook_silent", "1 if the branch moved and no webhook said so.")
	m.collects = counters(m.site, "data_collections_total", "Attempts to collect a FEC's persistent data of one name by outcome; nothing: it has none yet.", "outcome", collectOutcomes)
	m.old = gauge(m.site, "data_failing", "FECs' persistent data that is not collected any more, by FEC and name.")
	m.restarts = gauges(m.site, "fecs_restart", "FECs by how far they have come with what is published for them; of a service that restarts FECs.", "state", report.RestartStates)
	m.paused = gauge(m.site, "restarts_paused", "1 if no FEC is restarted until somebody decides.")
	m.reviews = counters(m.site, "reviews_total", "Reviews of pull requests by what was told of them; error: none could be looked at.", "outcome", reviewOutcomes)
	m.requests = counters(m.site, "http_requests_total", "Requests that were answered, of FECs and of whoever else reads the tree.", "code", codes)
	m.sent = counter(m.site, "http_response_bytes_total", "Bytes of the bodies of these answers.")
	m.notified = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pomona_notifications_total", Help: "Notifications by channel."}, []string{"channel", "result"})
	m.site.MustRegister(m.notified)
	return m
}

// buckets reach from a pass with nothing to do to one that fetches and packs for an hour.
var buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600}

func histogram(r prometheus.Registerer, name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pomona_" + name, Help: help, Buckets: buckets})
	r.MustRegister(h)
	return h
}

func gauge(r prometheus.Registerer, name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "pomona_" + name, Help: help})
	r.MustRegister(g)
	return g
}

func counter(r prometheus.Registerer, name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "pomona_" + name, Help: help})
	r.MustRegister(c)
	return c
}

// counters has every series from the start, so that a rate sees the first of a kind.
func counters(r prometheus.Registerer, name, help, label string, values []string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pomona_" + name, Help: help}, []string{label})
	r.MustRegister(c)
	for _, v := range values {
		c.WithLabelValues(v)
	}
	return c
}

func gauges(r prometheus.Registerer, name, help, label string, values []string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pomona_" + name, Help: help}, []string{label})
	r.MustRegister(g)
	for _, v := range values {
		g.WithLabelValues(v)
	}
	return g
}

// known is value if it is one of those, else other.
func known[T ~string](values []T, value T) string {
	for _, v := range values {
		if v == value {
			return string(v)
		}
	}
	return "other"
}

// reviewOutcomes are the states of a check, and that there was none.
var reviewOutcomes = []string{"success", "failure", "pending", "error"}

// Reviewed counts a review of a pull request.
func (m *Metrics) Reviewed(outcome string) {
	m.reviews.WithLabelValues(known(reviewOutcomes, outcome)).Inc()
}

// Queue shows how long a queue is, whenever somebody scrapes.
func (m *Metrics) Queue(name string, length func() int) {
	m.site.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pomona_queue_length", Help: "What waits.",
		ConstLabels: prometheus.Labels{"queue": name}}, func() float64 { return float64(length()) }))
}

// Stage counts a stage of a pass.
func (m *Metrics) Stage(name string, elapsed time.Duration) {
	m.stages.WithLabelValues(name).Observe(elapsed.Seconds())
}

// Passed counts a pass.
func (m *Metrics) Passed(rep report.Report, err error, now time.Time) {
	outcome := Outcome(rep, err)
	m.passes.WithLabelValues(outcome).Inc()
	m.pass.Observe(rep.Elapsed.Seconds())
	m.lastPass.Set(seconds(now))
	switch ps := problemsOf(err); {
	case err == nil:
		m.succeeded.Set(seconds(now))
		m.count(rep.Warnings)
	case len(ps) > 0:
		m.count(ps)
	}
	for _, d := range rep.Repaired {
		m.repaired.WithLabelValues(known(damages, d.Kind)).Inc()
	}
	m.freed.Add(float64(rep.Freed))
	m.swept.Add(float64(rep.Swept))
	fecs := map[string]bool{}
	for _, f := range rep.Plan.Tree.Folders {
		if f.Manifest != nil {
			fecs[f.Manifest.FEC] = true
		}
	}
	if len(fecs) > 0 {
		m.declare(fecs)
	}
}

func (m *Metrics) count(ps desired.Problems) {
	blocking := len(ps.Blocking())
	m.problems.WithLabelValues("problem").Set(float64(blocking))
	m.problems.WithLabelValues("warning").Set(float64(len(ps) - blocking))
}

// Published shows which generation is served.
func (m *Metrics) Published(generation int64, published, committed time.Time) {
	m.generation.Set(float64(generation))
	m.published.Set(seconds(published))
	m.committed.Set(seconds(committed))
}

func (m *Metrics) declare(fecs map[string]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fecs = len(fecs)
	m.declared.Set(float64(m.fecs))
	for f, state := range m.said {
		if !fecs[f] {
			delete(m.said, f)
			m.say(state, -1)
		}
	}
	m.say("unknown", 0)
}

// Reported counts what a FEC of the site says.
func (m *Metrics) Reported(fec, state string) {
	m.reports.WithLabelValues(known(states, state)).Inc()
	m.Said(fec, state)
}

// ReportsDropped counts reports that were not recorded.
func (m *Metrics) ReportsDropped(n int) { m.dropped.Add(float64(n)) }

// Said shows what a FEC of the site has said last.
func (m *Metrics) Said(fec, state string) {
	state = known(states, state)
	m.mu.Lock()
	defer m.mu.Unlock()
	if was, ok := m.said[fec]; ok {
		m.say(was, -1)
	}
	m.said[fec] = state
	m.say(state, 1)
	m.say("unknown", 0)
}

func (m *Metrics) say(state string, more int) {
	m.saying[state] += more
	n := m.saying[state]
	if state == "unknown" {
		n = max(0, m.fecs-len(m.said))
	}
	m.reported.WithLabelValues(state).Set(float64(n))
}

// Fetched counts a look at the repository; moved says that there was something new.
func (m *Metrics) Fetched(elapsed time.Duration, moved bool, err error, now time.Time) {
	result := "noop"
	if moved {
		result = "success"
	}
	if err != nil {
		result = "error"
	} else {
		m.fetched.Set(seconds(now))
	}
	m.fetches.WithLabelValues(result).Inc()
	m.fetch.Observe(elapsed.Seconds())
}

// Webhook counts a webhook request: forge and result are one of a few words each, whatever else counts as other.
func (m *Metrics) Webhook(forge, result string) {
	m.webhooks.WithLabelValues(known(webhookForges, forge), known(webhookResults, result)).Inc()
}

// Served counts an answer with the status and the bytes of its body.
func (m *Metrics) Served(status int, bytes int64) {
	m.requests.WithLabelValues(known(codes, strconv.Itoa(status/100)+"xx")).Inc()
	m.sent.Add(float64(bytes))
}

// Channel shows a channel before anything was sent.
func (m *Metrics) Channel(name string) {
	for _, result := range deliveries {
		m.notified.WithLabelValues(name, result)
	}
}

// Notified counts what became of a notification. Channels are those of the configuration.
func (m *Metrics) Notified(channel, result string) {
	m.notified.WithLabelValues(channel, known(deliveries, result)).Inc()
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// Collected counts an attempt to collect persistent data.
func (m *Metrics) Collected(outcome string) {
	m.collects.WithLabelValues(known(collectOutcomes, outcome)).Inc()
}

// Uncollected notes how much persistent data is not collected any more.
func (m *Metrics) Uncollected(n int) { m.old.Set(float64(n)) }

// Silent shows whether the branch moved and no webhook said so.
func (m *Metrics) Silent(silent bool) {
	m.silent.Set(0)
	if silent {
		m.silent.Set(1)
	}
}

// Restarts counts how far FECs have come with what is published for them, and whether nothing is restarted.
func (m *Metrics) Restarts(r report.Restarts) {
	counts := r.Counts()
	for _, state := range report.RestartStates {
		m.restarts.WithLabelValues(state).Set(float64(counts[state]))
	}
	m.paused.Set(0)
	if r.Pause.Reason != "" {
		m.paused.Set(1)
	}
}

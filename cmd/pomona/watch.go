package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/collect"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// adminFlags say where a service is watched from, and when it counts as hung.
type adminFlags struct {
	address  string
	patience time.Duration
}

const adminAddress = "127.0.0.1:8081"

func (f *adminFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.address, "admin", adminAddress, "address of /metrics, /healthz and /readyz, not for FECs; empty: none")
	cmd.Flags().DurationVar(&f.patience, "hang-after", time.Hour, "how long a stage of a pass may show no sign of life before it counts as hung")
}

// listen opens the listener. If the usual address is taken, the tree is served all the same.
func (f *adminFlags) listen(cmd *cobra.Command, log *slog.Logger) (net.Listener, error) {
	if f.patience <= 0 {
		return nil, fmt.Errorf("malformed --hang-after %s: want more than nothing", f.patience)
	}
	if f.address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", f.address)
	if err != nil && !cmd.Flags().Changed("admin") {
		log.Warn("no metrics and no health checks: give another --admin", "err", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", f.address, err)
	}
	return l, nil
}

// siteName is what a site is called before anything of it is read: the folder of its repository.
func siteName(args []string) string {
	dir, err := filepath.Abs(siteDir(args))
	if err != nil {
		return "site"
	}
	return strings.TrimSuffix(filepath.Base(dir), ".git")
}

// process watches all that a service tends: one listener for those who ask, one watchdog.
type process struct {
	log      *slog.Logger
	registry *prometheus.Registry
	patience time.Duration // with a silent pass
	changed  chan struct{} // holds one: some status is new

	mu    sync.Mutex
	sites map[string]*watch // nil for one that does not run
}

func newProcess(log *slog.Logger, patience time.Duration) *process {
	return &process{log: log, registry: announce.NewRegistry(version()), patience: patience, changed: make(chan struct{}, 1), sites: map[string]*watch{}}
}

// set notes what watches a site: nil for one that is wanted and does not run.
func (p *process) set(site string, w *watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sites[site] = w
}

// forget drops a site that is not wanted any more.
func (p *process) forget(site string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sites, site)
}

// watches are the sites by name.
func (p *process) watches() ([]string, map[string]*watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.sites)), maps.Clone(p.sites)
}

// Gather collects the metrics of the process and of the sites that run. It is a prometheus.Gatherer.
func (p *process) Gather() ([]*dto.MetricFamily, error) {
	all := prometheus.Gatherers{p.registry}
	names, sites := p.watches()
	for _, name := range names {
		if w := sites[name]; w != nil {
			all = append(all, w.registry)
		}
	}
	return all.Gather()
}

// alive says why the service does not work, if so.
func (p *process) alive() error {
	_, sites := p.watches()
	for site, w := range sites {
		if w == nil {
			continue
		}
		if silent := w.pulse.Silence(); silent > p.patience {
			return fmt.Errorf("site %s: the pass shows no sign of life for %s", site, silent.Round(time.Second))
		}
	}
	return nil
}

// ready says why some site cannot be asked yet.
func (p *process) ready() error {
	names, sites := p.watches()
	for _, name := range names {
		if w := sites[name]; w == nil {
			return fmt.Errorf("site %s does not run", name)
		} else if err := w.ready(); err != nil {
			return fmt.Errorf("site %s: %w", name, err)
		}
	}
	return nil
}

// status is a line for systemd.
func (p *process) status() string {
	names, sites := p.watches()
	var lines []string
	for _, name := range names {
		line := "does not run"
		if w := sites[name]; w != nil {
			line = *w.status.Load()
		}
		if len(names) > 1 {
			line = name + ": " + line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

// kick has every site make a pass.
func (p *process) kick(ctx context.Context) {
	_, sites := p.watches()
	var all sync.WaitGroup
	for _, w := range sites {
		if w == nil {
			continue
		}
		if loop := w.loop.Load(); loop != nil {
			all.Go(func() { loop.Kick(ctx) }) // the loop tells by itself how it went
		}
	}
	all.Wait()
}

// tend does the service's work, and meanwhile answers those who watch it and tells systemd how it fares. Reload is what
// SIGHUP asks for.
func (p *process) tend(ctx context.Context, admin net.Listener, reload func(context.Context), work func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer stop()
		return work(ctx)
	})
	g.Go(func() error { return p.run(ctx, admin) })
	g.Go(func() error { return supervise(ctx, p, func() { reload(ctx) }) })
	err := g.Wait()
	if errors.Is(err, serve.ErrCut) { // whoever was so slow asks again
		p.log.Warn("some transfers took too long to end", "err", err)
		return nil
	}
	return err
}

// run answers those who watch until the context ends.
func (p *process) run(ctx context.Context, admin net.Listener) error {
	if admin == nil {
		return nil
	}
	sayWhere(admin, p.log, "answering those who watch")
	h := serve.Admin{Metrics: announce.MetricsHandler(p), Alive: p.alive, Ready: p.ready}.Handler()
	return serve.Run(ctx, admin, h, serve.Options{Log: p.log, MaxConnections: 64, ShutdownTimeout: time.Second})
}

// watch sees how one site fares and tells people.
type watch struct {
	site     string
	process  *process
	registry *prometheus.Registry
	metrics  *announce.Metrics
	notifier *announce.Notifier // nil tells nobody
	pulse    *reconciler.Pulse
	root     *os.Root
	repo     *repo.Repo
	loop     atomic.Pointer[reconciler.Loop]

	views     atomic.Pointer[reconciler.PilotViews]
	collector atomic.Pointer[collect.Collector]     // nil: no data is collected
	restarter atomic.Pointer[reconciler.Restarter]  // nil: no FEC is restarted
	campaigns atomic.Pointer[reconciler.Campaigner] // nil: nobody carries them out yet

	forge    atomic.Pointer[report.Forge] // where its commits are looked at; nil: that is not known
	passed   atomic.Bool                  // a pass has ended, well or not
	status   atomic.Pointer[string]
	changes  *serve.Changes       // of what pages show
	fetches  announce.Fetches     // one at a time
	reviewer *reconciler.Reviewer // of pull requests; nil: nobody looks at any
	silence  *announce.Silence    // of the branch's webhooks; nil: there are none
	behind   string               // branch of another host that was not fetched since the start; empty: it was
}

// fetchPatience is how long a repository may be unreadable before people are told.
const fetchPatience = 15 * time.Minute

// newWatch has a reconciler tell how it fares. Channels of a notification lead to people.
func newWatch(p *process, site string, r *reconciler.Reconciler, root *os.Root, channels []announce.Channel) *watch {
	registry := prometheus.NewRegistry()
	w := &watch{
		site: site, process: p, registry: registry, metrics: announce.NewMetrics(registry, site, reconciler.Stages),
		changes: &serve.Changes{}, pulse: &reconciler.Pulse{}, root: root, repo: r.Repo,
	}
	w.changes.Before = func() {
		if v := w.views.Load(); v != nil {
			v.Expire()
		}
	}
	for _, c := range channels {
		w.metrics.Channel(c.Name)
	}
	if len(channels) > 0 {
		w.notifier = announce.NewNotifier(announce.Options{Channels: channels, Outbox: announce.File{Root: r.Root}, Log: r.Log, Secrets: &secrets, Count: w.metrics.Notified})
		w.metrics.Queue("notifications", w.notifier.Waiting)
	}
	w.say("no pass yet")
	w.served()
	r.Pulse, r.Observers = w.pulse, append(r.Observers, w)
	p.set(site, w)
	return w
}

// Stage counts a stage of a pass.
func (w *watch) Stage(name string, elapsed time.Duration) { w.metrics.Stage(name, elapsed) }

// Looked notes which commit webhooks should have told of.
func (w *watch) Looked(head string, _ time.Duration, moved bool, _ error) {
	if w.silence != nil && moved {
		w.silence.Moved(head, time.Now())
	}
}

// Fetched counts an attempt to read the repository, and tells people when none succeeds for long.
func (w *watch) Fetched(elapsed time.Duration, moved bool, err error) {
	now := time.Now()
	w.metrics.Fetched(elapsed, moved, err, now)
	if w.behind != "" && err == nil {
		// Of what moved while the service was away, webhooks told nobody.
		if c, err := w.repo.Resolve(w.behind); err == nil {
			w.silence.Heard(c.ID, now)
		}
		w.behind = ""
	}
	if e := w.fetches.Of(w.site, err, fetchPatience, now); e != nil {
		w.notifier.Send(*e)
	}
}

// listen tells people, until the context ends, when the branch moves and no webhook says so.
func (w *watch) listen(ctx context.Context, log *slog.Logger) error {
	look := time.NewTicker(max(w.silence.Patience/4, 100*time.Millisecond))
	defer look.Stop()
	for was := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case now := <-look.C:
			e := w.silence.Of(w.site, now)
			w.metrics.Silent(!e.Recovered)
			w.notifier.Send(e)
			if silent := !e.Recovered; silent != was {
				was = silent
				log.Warn(e.Title)
			}
		}
	}
}

// Passed counts a pass and tells people what is new in how it went.
func (w *watch) Passed(done reconciler.Done) {
	now := time.Now()
	w.metrics.Passed(done.Report, done.Err, now)
	for _, e := range announce.OfPass(w.site, done.Report, done.Err, now) {
		w.notifier.Send(e)
	}
	w.passed.Store(true)
	w.changes.Tell()
	g := w.served()
	w.say(fmt.Sprintf("generation %d, commit %.12s; last pass: %s", g.Number, g.Commit, announce.Outcome(done.Report, done.Err)))
}

// say leaves a line for systemd.
func (w *watch) say(status string) {
	w.status.Store(&status)
	select {
	case w.process.changed <- struct{}{}:
	default: // an earlier line has not been told yet, and never will
	}
}

// served shows which generation is served, whoever has published it.
func (w *watch) served() (g observed.Generation) {
	b, err := w.root.ReadFile(tree.CurrentLink + "/" + tree.GenerationFile)
	if err != nil || json.Unmarshal(b, &g) != nil {
		w.metrics.Published(0, time.Time{}, time.Time{})
		return observed.Generation{}
	}
	c, err := w.repo.Resolve(g.Commit)
	if err != nil {
		c.Time = time.Time{} // the commit is gone from the repository
	}
	w.metrics.Published(g.Number, g.Published, c.Time)
	return g
}

// ready says why nothing can be asked yet: nothing is published, and no pass has tried.
func (w *watch) ready() error {
	if w.passed.Load() {
		return nil
	}
	if _, err := w.root.Stat(tree.CurrentLink + "/" + tree.GenerationFile); err != nil {
		return errors.New("nothing is published, and the first pass has not ended")
	}
	return nil
}

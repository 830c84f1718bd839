package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/repo"
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

// watch sees how one site fares and tells people.
type watch struct {
	site     string
	registry *prometheus.Registry
	metrics  *announce.Metrics
	notifier *announce.Notifier // nil tells nobody
	patience time.Duration      // with a silent pass
	pulse    *reconciler.Pulse
	log      *slog.Logger
	root     *os.Root
	repo     *repo.Repo
	passed   atomic.Bool // a pass has ended, well or not
	status   atomic.Pointer[string]
	changed  chan struct{}    // holds one: status is new
	fetches  announce.Fetches // of the loop alone
}

// fetchPatience is how long a repository may be unreadable before people are told.
const fetchPatience = 15 * time.Minute

// watched makes the service's loop tell how it fares. Channels of a notification lead to people.
func (s *service) watched(site string, channels ...announce.Channel) {
	registry := announce.NewRegistry(version())
	w := &watch{
		site: site, registry: registry, metrics: announce.NewMetrics(registry, site, reconciler.Stages), patience: s.patience,
		pulse: &reconciler.Pulse{}, changed: make(chan struct{}, 1), log: s.Log, root: s.root, repo: s.Repo,
	}
	for _, c := range channels {
		w.metrics.Channel(c.Name)
	}
	if len(channels) > 0 {
		w.notifier = announce.NewNotifier(announce.Options{Channels: channels, Outbox: announce.File{Root: s.Root}, Log: s.Log, Secrets: &secrets, Count: w.metrics.Notified})
		w.metrics.Queue("notifications", w.notifier.Waiting)
	}
	w.say("no pass yet")
	w.served()
	s.watch, s.Pulse, s.Observers = w, w.pulse, append(s.Observers, w)
}

// Stage counts a stage of a pass.
func (w *watch) Stage(name string, elapsed time.Duration) { w.metrics.Stage(name, elapsed) }

// Looked counts a look at the repository, and tells people when none succeeds for long.
func (w *watch) Looked(elapsed time.Duration, moved bool, err error) {
	now := time.Now()
	w.metrics.Fetched(elapsed, moved, err, now)
	if e := w.fetches.Of(w.site, err, fetchPatience, now); e != nil {
		w.notifier.Send(*e)
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
	g := w.served()
	w.say(fmt.Sprintf("generation %d, commit %.12s; last pass: %s", g.Number, g.Commit, announce.Outcome(done.Report, done.Err)))
}

// say leaves a line for systemd.
func (w *watch) say(status string) {
	w.status.Store(&status)
	select {
	case w.changed <- struct{}{}:
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

// alive says why the service does not work, if so.
func (w *watch) alive() error {
	if silent := w.pulse.Silence(); silent > w.patience {
		return fmt.Errorf("site %s: the pass shows no sign of life for %s", w.site, silent.Round(time.Second))
	}
	return nil
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

// run answers those who watch, and tells people, until the context ends.
func (w *watch) run(ctx context.Context, admin net.Listener, o serve.Options) error {
	g, ctx := errgroup.WithContext(ctx)
	if admin != nil {
		w.log.Info("answering those who watch", "address", "http://"+admin.Addr().String())
		h := serve.Admin{Metrics: announce.MetricsHandler(w.registry), Alive: w.alive, Ready: w.ready}.Handler()
		g.Go(func() error {
			return serve.Run(ctx, admin, h, serve.Options{Log: o.Log, MaxConnections: 64, ShutdownTimeout: o.ShutdownTimeout})
		})
	}
	if w.notifier != nil {
		g.Go(func() error { return w.notifier.Run(ctx) })
	}
	return g.Wait()
}

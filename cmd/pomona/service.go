package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/webhook"
)

// service tends the sites of a configuration file, which it reads again when it changes.
type service struct {
	file    string
	log     *slog.Logger
	process *process
	hooks   hooks
	began   desired.Service // whose admin, webhooks, pages and log are in force
	now     desired.Service
	running map[string]*running
	asked   chan chan struct{} // to read the configuration again; closed when that is done
}

// siteConfig is all of a configuration that concerns one site.
type siteConfig struct {
	desired.ServedSite
	notify map[string]desired.Notifier
}

func (s *service) wanted(name string) (siteConfig, bool) {
	conf, ok := s.now.Sites[name]
	return siteConfig{conf, s.now.Notify}, ok
}

// running is one site of a service.
type running struct {
	conf  siteConfig
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// serveConfig tends the sites of a configuration until the context ends. How it logs and where it is asked for metrics is
// read once.
func serveConfig(ctx context.Context, file string, check bool, out io.Writer) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	s := &service{file: file, hooks: hooks{sites: map[string]*webhook.Receiver{}}, running: map[string]*running{}, asked: make(chan chan struct{})}
	seen := stampOf(file)
	if s.now, err = readConfig(file); err != nil || check {
		return err
	}
	s.began = s.now
	logs := logFlags{format: cmp.Or(s.now.Log.Format, "text"), level: cmp.Or(s.now.Log.Level, "info")}
	if s.log, err = logs.logger(out); err != nil {
		return err
	}
	admin, err := listenPatiently(s.now.AdminAddress(), s.log)
	if err != nil {
		return err
	}
	s.process = newProcess(s.log, time.Hour)
	for name := range s.now.Sites {
		s.process.set(name, nil)
	}
	var heard net.Listener
	if s.now.Webhooks != "" {
		if heard, err = listenPatiently(s.now.Webhooks, s.log); err != nil {
			return errors.Join(err, admin.Close())
		}
	}
	looked, err := s.process.listenPages(s.now.Pages)
	if err != nil {
		return errors.Join(err, admin.Close())
	}
	return s.process.tend(ctx, admin, s.reloadNow, func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		if looked != nil {
			g.Go(func() error { return s.process.showPages(ctx, looked, s.now.Pages) })
		}
		if heard != nil {
			g.Go(func() error { return s.hooks.run(ctx, heard, serve.Options{Log: s.log}) })
		}
		g.Go(func() error {
			s.run(ctx, seen)
			return nil
		})
		return g.Wait()
	})
}

// run tends the sites, and reads the configuration again when it has changed or somebody asks.
func (s *service) run(ctx context.Context, seen stamp) {
	s.apply(ctx)
	defer s.end()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case done := <-s.asked:
			s.reload(ctx)
			close(done)
		case <-look.C:
			if now := stampOf(s.file); now != seen {
				seen = now
				s.reload(ctx)
			}
		}
	}
}

// reloadNow reads the configuration again, and has every site make a pass.
func (s *service) reloadNow(ctx context.Context) {
	done := make(chan struct{})
	select {
	case s.asked <- done:
		<-done
	case <-ctx.Done():
	}
	s.process.kick(ctx)
}

// readConfig reads a configuration. Its problems carry the file's name as it was given.
func readConfig(file string) (desired.Service, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return desired.Service{}, fmt.Errorf("read configuration: %w", err)
	}
	return load.Service(file, b)
}

// stamp changes when a file is written or replaced.
type stamp struct {
	inode      uint64
	size       int64
	when       time.Time
	unreadable bool
}

func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{unreadable: true}
	}
	s := stamp{size: info.Size(), when: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}

// reload takes a changed configuration over. One with problems changes nothing.
func (s *service) reload(ctx context.Context) {
	next, err := readConfig(s.file)
	var problems desired.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			s.log.Error("found problem in configuration; the last one stays", "problem", p.String())
		}
	case err != nil:
		s.log.Error("configuration not read; the last one stays", "err", err)
	default:
		if b := s.began; next.Admin != b.Admin || next.Webhooks != b.Webhooks || next.Log != b.Log || !reflect.DeepEqual(next.Pages, b.Pages) {
			s.log.Warn("admin, webhooks, pages or log of the configuration changed: restart the service, which reads them once", "file", s.file)
		}
		s.now = next
		s.apply(ctx)
		s.log.Info("configuration read", "file", s.file, "sites", len(next.Sites))
	}
}

// apply ends the sites that are gone or changed, and starts those that are new or changed. The others go on.
func (s *service) apply(ctx context.Context) {
	for name, r := range s.running {
		if conf, ok := s.wanted(name); !ok || !reflect.DeepEqual(conf, r.conf) {
			r.stop()
		}
	}
	for name, r := range s.running {
		if conf, ok := s.wanted(name); !ok || !reflect.DeepEqual(conf, r.conf) {
			r.ended.Wait()
			delete(s.running, name)
			s.process.forget(name)
		}
	}
	for name := range s.now.Sites {
		if s.running[name] == nil {
			conf, _ := s.wanted(name)
			s.start(ctx, name, conf)
		}
	}
}

func (s *service) end() {
	for _, r := range s.running {
		r.ended.Wait()
	}
}

// start runs one site for as long as it is wanted. What goes wrong with it concerns no other: it is tried again.
func (s *service) start(ctx context.Context, name string, conf siteConfig) {
	r := &running{conf: conf}
	ctx, r.stop = context.WithCancel(ctx)
	s.running[name] = r
	s.process.set(name, nil)
	log := s.log.With("site", name)
	r.ended.Go(func() {
		retry := backoff.NewExponentialBackOff()
		retry.InitialInterval, retry.MaxInterval = time.Second, time.Minute
		for {
			began := time.Now()
			err := s.serveSite(ctx, name, conf, log)
			s.process.set(name, nil)
			if ctx.Err() != nil {
				return
			}
			if time.Since(began) > retry.MaxInterval {
				retry.Reset()
			}
			wait := retry.NextBackOff()
			log.Error("site not served", "err", err, "again", wait.Round(time.Second))
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	})
}

// serveSite serves one site until the context ends or something fails that concerns all of it.
func (s *service) serveSite(ctx context.Context, name string, conf siteConfig, log *slog.Logger) error {
	root, err := standBy(ctx, conf.Root, log)
	if err != nil || root == nil {
		return err
	}
	defer root.close()
	r, client, err := newReconciler(conf.ServedSite, log)
	if err != nil {
		return err
	}
	newLoop := follow(r, conf.Interval())
	if elsewhere(conf.Repository.URL) {
		m, err := openMirror(conf.Root, conf.KnownHosts, conf.Repository, client)
		if err != nil {
			return err
		}
		defer m.Close() // what it holds is on the disk
		r.Repo = m.Repo()
		newLoop = followMirror(r, m, conf.Interval())
	}
	o := serve.Options{Log: log, MaxConnections: conf.Connections()}
	if conf.UploadToken != "" {
		blobs, err := root.takeUploads(conf.UploadToken, &o)
		if err != nil {
			return err
		}
		defer blobs.Close() // every write reports its own error
	}
	if err := root.believe(conf.Reports, &o); err != nil {
		return err
	}
	l, err := net.Listen("tcp", conf.Listen)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", conf.Listen, err)
	}
	defer l.Close() // run has closed it, unless it never ran
	if err := placeLedger(name, conf.ServedSite); err != nil {
		return err
	}
	r.Records = reconciler.NewRecords(conf.Root, log)
	root.watch = newWatch(s.process, name, r, root.root, channelsOf(conf.notify))
	if f := conf.Forge; f != nil {
		at := report.ForgeOf(f.Kind, f.API, f.Repository)
		root.watch.forge.Store(&at)
	}
	root.endPreviews(conf.ServedSite, r)
	if err := root.proveRecords(name, conf.ServedSite, r); err != nil {
		return err
	}
	if err := root.runHooks(name, conf.Hooks, r); err != nil {
		return err
	}
	if err := root.collectData(name, conf.ServedSite, r); err != nil {
		return err
	}
	root.restartFECs(conf.ServedSite, r)
	if err := root.runCampaigns(name, conf.ServedSite, r); err != nil {
		return err
	}
	root.tellOfPilots(name, r, channelsOf(conf.notify))
	var reviewer *reconciler.Reviewer
	if conf.Forge != nil {
		open := openerOf(name, conf.ServedSite, log)
		root.tellForge(name, conf.ServedSite, r, open)
		if reviewer, err = root.review(name, conf.ServedSite, s.began.Pages.OfSite(name), r, client, open); err != nil {
			return err
		}
		o.Pull, root.watch.reviewer = reviewer.Page, reviewer
	}
	if len(conf.Webhooks) > 0 {
		newLoop = root.hear(&s.hooks, conf.ServedSite, r, newLoop, reviewer)
		defer s.hooks.set(name, nil)
	}
	return root.run(ctx, newLoop, l, o)
}

// newReconciler is the reconciler of a configured site, and what reaches other hosts. A repository of another host is still
// to be opened.
func newReconciler(conf desired.ServedSite, log *slog.Logger) (*reconciler.Reconciler, *remote.Client, error) {
	var opened *repo.Repo
	var err error
	if !elsewhere(conf.Repository.URL) {
		if opened, err = repo.Await(conf.Repository.URL); err != nil {
			return nil, nil, err
		}
	}
	keys, err := readKeys(conf.Root, conf.Keys)
	if err != nil {
		return nil, nil, err
	}
	pilotKey, err := readPilotKey(conf.Root, conf.PilotKey)
	if err != nil {
		return nil, nil, err
	}
	cache := cacheFolder("", conf.Root, true)
	flags := payloadFlags{knownHosts: conf.KnownHosts}
	for host, file := range conf.Credentials {
		flags.credentials = append(flags.credentials, host+"="+file)
	}
	credentials, err := readCredentials(conf.Root, flags.credentials)
	if err != nil {
		return nil, nil, err
	}
	if err := addApp(credentials, conf); err != nil {
		return nil, nil, err
	}
	client := remote.New(remote.Options{Credentials: credentials})
	freezes, machines, err := holdsOf(conf)
	if err != nil {
		return nil, nil, err
	}
	loader, err := newLoader(cache, log)
	return &reconciler.Reconciler{
		Freezes: freezes, Machines: machines,
		Repo: opened, Branch: conf.Repository.TheBranch(), Root: conf.Root, Keys: keys, Loader: loader,
		PilotKey: pilotKey, Packages: build.NewPackages(cache, log),
		Verdicts: build.NewVerdicts(cache, log), Payloads: payloadsOf(conf, client), Version: version(), Log: log, Now: time.Now,
	}, client, err
}

// payloadsOf brings the payloads of a configured site.
func payloadsOf(conf desired.ServedSite, client *remote.Client) *fetch.Fetcher {
	return fetch.New(fetch.Options{Cache: cacheFolder("", conf.Root, true), Root: conf.Root, KnownHosts: conf.KnownHosts, Remote: client})
}

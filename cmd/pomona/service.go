package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// service tends the sites of a configuration file, which it reads again when it changes.
type service struct {
	file    string
	log     *slog.Logger
	now     desired.Service
	running map[string]*running
}

// running is one site of a service.
type running struct {
	conf  desired.ServedSite
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// serveConfig tends the sites of a configuration until the context ends.
func serveConfig(ctx context.Context, file string, log *slog.Logger) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	s := &service{file: file, log: log, running: map[string]*running{}}
	seen := stampOf(file)
	if s.now, err = readConfig(file); err != nil {
		return err
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	s.apply(ctx)
	defer s.end()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
		case <-look.C:
			now := stampOf(file)
			if now == seen {
				continue
			}
			seen = now
		}
		s.reload(ctx)
	}
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
		s.now = next
		s.apply(ctx)
		s.log.Info("configuration read", "file", s.file, "sites", len(next.Sites))
	}
}

// apply ends the sites that are gone or changed, and starts those that are new or changed. The others go on.
func (s *service) apply(ctx context.Context) {
	for name, r := range s.running {
		if conf, ok := s.now.Sites[name]; !ok || !reflect.DeepEqual(conf, r.conf) {
			r.stop()
		}
	}
	for name, r := range s.running {
		if conf, ok := s.now.Sites[name]; !ok || !reflect.DeepEqual(conf, r.conf) {
			r.ended.Wait()
			delete(s.running, name)
		}
	}
	for name, conf := range s.now.Sites {
		if s.running[name] == nil {
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
func (s *service) start(ctx context.Context, name string, conf desired.ServedSite) {
	r := &running{conf: conf}
	ctx, r.stop = context.WithCancel(ctx)
	s.running[name] = r
	log := s.log.With("site", name)
	r.ended.Go(func() {
		retry := backoff.NewExponentialBackOff()
		retry.InitialInterval, retry.MaxInterval = time.Second, time.Minute
		for {
			began := time.Now()
			err := serveSite(ctx, conf, log)
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
func serveSite(ctx context.Context, conf desired.ServedSite, log *slog.Logger) error {
	s, err := standBy(ctx, conf.Root, log)
	if err != nil || s == nil {
		return err
	}
	defer s.close()
	r, err := newReconciler(conf, log)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", conf.Listen)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", conf.Listen, err)
	}
	return s.run(ctx, follow(r, conf.Interval()), l, serve.Options{Log: log, MaxConnections: conf.Connections()})
}

// newReconciler is the reconciler of a configured site.
func newReconciler(conf desired.ServedSite, log *slog.Logger) (*reconciler.Reconciler, error) {
	opened, err := repo.Open(conf.Repository.URL)
	if err != nil {
		return nil, err
	}
	keys, err := readKeys(conf.Root, conf.Keys)
	if err != nil {
		return nil, err
	}
	cache := cacheFolder("", conf.Root, true)
	flags := payloadFlags{knownHosts: conf.KnownHosts}
	for host, file := range conf.Credentials {
		flags.credentials = append(flags.credentials, host+"="+file)
	}
	payloads, err := flags.fetcher(cache, conf.Root)
	if err != nil {
		return nil, err
	}
	loader, err := newLoader(cache, log)
	return &reconciler.Reconciler{
		Repo: opened, Branch: conf.Repository.TheBranch(), Root: conf.Root, Keys: keys, Loader: loader,
		Verdicts: build.NewVerdicts(cache, log), Payloads: payloads, Version: version(), Log: log, Now: time.Now,
	}, err
}

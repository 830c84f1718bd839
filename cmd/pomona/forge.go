package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// openForge opens the forge where a configured site is reviewed. Nothing is asked yet, but its secrets must be readable.
func openForge(site string, conf desired.ServedSite) (forge.Forge, error) {
	f := conf.Forge
	o := forge.Options{API: f.API, Repository: f.Repository, Branch: conf.Repository.TheBranch(), Site: site, Hook: f.Hook, Link: f.Link, People: f.People,
		Addresses: conf.Repository.Signatures != nil}
	secret := f.Token
	if f.App != nil {
		secret = f.App.Key
	}
	if err := outside(conf.Root, secret); err != nil {
		return nil, err
	}
	if err := proveBy(f, &o); err != nil {
		return nil, err
	}
	return forge.New(f.Kind, o)
}

// proveBy says how a forge knows who we are.
func proveBy(f *desired.Forge, o *forge.Options) (err error) {
	if f.App == nil {
		o.Token, err = forge.TokenFile(f.Token, conceal)
		return err
	}
	app, err := openApp(f)
	if err != nil {
		return err
	}
	o.Token, o.App = app, &forge.App{ID: f.App.ID, Proof: forge.TokenFunc(app.Proof)}
	return nil
}

// openApp is the GitHub App of a forge.
func openApp(f *desired.Forge) (*remote.App, error) {
	api, err := forge.GitHubAPI(f.API)
	if err != nil {
		return nil, fmt.Errorf("open GitHub App: %w", err)
	}
	return remote.NewApp(remote.AppOptions{
		ID: strconv.FormatInt(f.App.ID, 10), Installation: f.App.Installation, Repository: f.Repository, KeyFile: f.App.Key, API: api,
		Client: remote.New(remote.Options{}),
	})
}

// addApp has a GitHub App read its repository too, unless there is another credential for that host.
func addApp(credentials remote.Credentials, conf desired.ServedSite) error {
	at, err := url.Parse(conf.Repository.URL)
	if err != nil || at.Scheme != "https" || conf.Forge == nil || conf.Forge.App == nil {
		return nil
	}
	host := remote.HostOf(at)
	if _, given := credentials[host]; given {
		return nil
	}
	app, err := openApp(conf.Forge)
	if err != nil {
		return err
	}
	credentials[host] = app.Credential()
	return nil
}

// tellForge has the forge of a site told what becomes of its commits, and missed deliveries of its webhook repeated.
func (s *servedRoot) tellForge(site string, conf desired.ServedSite, r *reconciler.Reconciler, open opener) {
	t := reconciler.NewTeller(reconciler.TellerOptions{
		Site: site, Environment: conf.Forge.Environment, Link: conf.Forge.Link, Root: conf.Root, Mask: secrets.Mask, Log: r.Log, Now: r.Now,
	})
	r.Observers = append(r.Observers, t)
	s.watch.metrics.Queue("forge", t.Waiting)
	s.beside = append(s.beside, func(ctx context.Context) error {
		t.Keep(ctx)
		return nil
	}, func(ctx context.Context) error {
		f, there := open(ctx)
		if !there {
			return nil
		}
		var both sync.WaitGroup
		both.Go(func() { t.Run(ctx, f) })
		if len(conf.Webhooks) > 0 {
			both.Go(func() { r.Redeliver(ctx, f) })
		}
		both.Wait()
		return nil
	})
}

// opener opens the forge of a site, again and again while its secrets cannot be read: what is served does not depend on it. It
// is false when the context ends before.
type opener func(context.Context) (forge.Forge, bool)

// openerOf opens one forge for all who ask: what it allows, and one write at a time, is counted in one place.
func openerOf(site string, conf desired.ServedSite, log *slog.Logger) opener {
	var mu sync.Mutex
	var f forge.Forge
	return func(ctx context.Context) (forge.Forge, bool) {
		mu.Lock()
		defer mu.Unlock()
		there := f != nil
		if !there {
			f, there = await(ctx, log, "forge not asked and not told", func() (forge.Forge, error) { return openForge(site, conf) })
		}
		return f, there
	}
}

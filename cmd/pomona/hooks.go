package main

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/webhook"
)

// hooks hands deliveries of webhooks to the sites that run: those for /SITE/SOURCE.
type hooks struct {
	mu    sync.Mutex
	sites map[string]*webhook.Receiver
}

func (h *hooks) set(site string, r *webhook.Receiver) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r == nil {
		delete(h.sites, site)
	} else {
		h.sites[site] = r
	}
}

// ServeHTTP implements http.Handler.
func (h *hooks) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	site, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	h.mu.Lock()
	r := h.sites[site]
	h.mu.Unlock()
	if r == nil {
		http.NotFound(w, req)
		return
	}
	http.StripPrefix("/"+site, r).ServeHTTP(w, req)
}

// run receives deliveries until the context ends.
func (h *hooks) run(ctx context.Context, l net.Listener, o serve.Options) error {
	o.MaxConnections, o.ReadHeaderTimeout, o.ShutdownTimeout = 256, 10*time.Second, 5*time.Second
	return serve.Run(ctx, l, h, o)
}

// loopback are the addresses of a proxy on this machine.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// receiverOf hears the senders of a site. A push to its branch has the loop look for it at once, and what happens to a pull
// request has the reviewer do so, if there is one; what a delivery says beside that does not count.
func receiverOf(conf desired.ServedSite, w *watch, seen webhook.Replay, loop *reconciler.Loop, reviewer *reconciler.Reviewer) (*webhook.Receiver, error) {
	kinds := map[string]string{}
	o := webhook.Options{Log: loop.Log, Proxies: loopback, Seen: seen, Act: func(e webhook.Event) {
		switch {
		case e.Branch != conf.Repository.TheBranch():
		case e.Kind == webhook.Push && !e.Deleted:
			w.silence.Heard(e.Commit, time.Now())
			loop.Expect(e.Commit)
		case e.Kind == webhook.Pull && reviewer != nil:
			reviewer.Wake()
		case e.Kind == webhook.MergeGroup && reviewer != nil:
			reviewer.Group(e.Commit)
		}
	}}
	for _, name := range slices.Sorted(maps.Keys(conf.Webhooks)) {
		s := conf.Webhooks[name]
		source := webhook.Source{Name: name, Kind: s.Kind, Secrets: s.Secrets}
		names := s.Repositories
		if len(names) == 0 {
			names = []string{conf.Forge.Repository}
		}
		for _, repository := range names {
			source.Repositories = append(source.Repositories, webhook.Repository{Name: repository})
		}
		kinds[name] = s.Kind
		o.Sources = append(o.Sources, source)
	}
	o.Count = func(source, outcome string) { w.metrics.Webhook(kinds[source], outcome) }
	return webhook.New(o)
}

// hear has a site hear its senders as soon as its loop is there. Deliveries are remembered in the root's ledger.
func (s *servedRoot) hear(hooks *hooks, conf desired.ServedSite, r *reconciler.Reconciler, newLoop func(context.Context) *reconciler.Loop, reviewer *reconciler.Reviewer) func(context.Context) *reconciler.Loop {
	s.watch.silence = &announce.Silence{Patience: min(4*conf.Interval(), 2*time.Minute)}
	if elsewhere(conf.Repository.URL) {
		s.watch.behind = conf.Repository.TheBranch()
	}
	var seen *replay
	var hear func() (*webhook.Receiver, error)
	s.beside = append(s.beside,
		func(ctx context.Context) error { return seen.run(ctx) },
		func(ctx context.Context) error { return s.watch.listen(ctx, r.Log) },
		func(ctx context.Context) error {
			if hear == nil {
				return nil
			}
			hears, there := await(ctx, r.Log, "no webhooks are received", hear)
			if there { // polling goes on until then
				hooks.set(s.watch.site, hears)
			}
			return nil
		})
	return func(ctx context.Context) *reconciler.Loop {
		loop := newLoop(ctx)
		seen = newReplay(ctx, r.Records)
		hear = func() (*webhook.Receiver, error) { return receiverOf(conf, s.watch, seen, loop, reviewer) }
		if hears, err := hear(); err == nil {
			hooks.set(s.watch.site, hears)
			hear = nil
		}
		return loop
	}
}

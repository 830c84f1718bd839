package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
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
func receiverOf(conf desired.ServedSite, w *watch, loop *reconciler.Loop, reviewer *reconciler.Reviewer) (*webhook.Receiver, error) {
	kinds := map[string]string{}
	o := webhook.Options{Log: loop.Log, Proxies: loopback, Act: func(e webhook.Event) {
		switch {
		case e.Branch != conf.Repository.TheBranch():
		case e.Kind == webhook.Push && !e.Deleted:
			loop.Expect(e.Commit)
		case e.Kind == webhook.Pull && reviewer != nil:
			reviewer.Wake()
		case e.Kind == webhook.MergeGroup && reviewer != nil:
			reviewer.Group(e.Commit)
		}
	}}
	for name, s := range conf.Webhooks {
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

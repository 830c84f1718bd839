package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// listenPages opens the address of the pages; nil: there are none.
func (p *process) listenPages(conf *desired.Pages) (net.Listener, error) {
	if conf == nil {
		return nil, nil
	}
	return listenPatiently(conf.Listen, p.log)
}

// showPages answers people who look, until the context ends.
func (p *process) showPages(ctx context.Context, l net.Listener, conf *desired.Pages) error {
	pages := serve.Pages{Log: p.log, Sites: func() []string { names, _ := p.watches(); return names }, Site: p.seen}
	if conf.Login != nil {
		pages.Login = &serve.Login{Header: conf.Login.Header}
		for _, from := range conf.Login.From {
			prefix, err := netip.ParsePrefix(from)
			if err != nil {
				return fmt.Errorf("read pages.login.from: %w", err)
			}
			pages.Login.From = append(pages.Login.From, prefix)
		}
	}
	p.log.Info("showing pages", "address", "http://"+l.Addr().String())
	return serve.Run(ctx, l, pages.Handler(), serve.Options{Log: p.log, MaxConnections: 1024, ShutdownTimeout: time.Second})
}

// seen is what pages show of a site, nil while it does not run.
func (p *process) seen(site string) (*serve.SeenSite, bool) {
	_, sites := p.watches()
	w, ok := sites[site]
	if !ok || w == nil {
		return nil, ok
	}
	loop := w.loop.Load()
	if loop == nil {
		return nil, true
	}
	return &serve.SeenSite{
		Changes: w.changes,
		Fleet:   loop.Reconciler.Fleet,
		FEC: func(ctx context.Context, name string) (report.FEC, error) {
			f, err := loop.Reconciler.FEC(ctx, name)
			if errors.Is(err, reconciler.ErrNoFEC) {
				err = serve.ErrNotThere
			}
			return f, err
		},
		AllSoftware: loop.Reconciler.AllSoftware,
		Software: func(ctx context.Context, name string) (report.Software, error) {
			s, err := loop.Reconciler.Software(ctx, name)
			if errors.Is(err, reconciler.ErrNoSoftware) {
				err = serve.ErrNotThere
			}
			return s, err
		},
		Bill: func(ctx context.Context, software, version, archive string) ([]byte, error) {
			b, err := loop.Reconciler.Bill(ctx, software, version, archive)
			if errors.Is(err, reconciler.ErrNoSoftware) {
				err = serve.ErrNotThere
			}
			return b, err
		},
	}, true
}

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/collect"
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
	sayWhere(l, p.log, "showing pages")
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
	seen := &serve.SeenSite{
		Changes: w.changes,
		Fleet:   loop.Reconciler.Fleet,
		FEC: func(ctx context.Context, name string, at time.Time) (report.FECSeen, error) {
			return w.fecSeen(ctx, loop.Reconciler, name, at)
		},
		AllSoftware: loop.Reconciler.AllSoftware,
		Software:    loop.Reconciler.Software,
		Bill:        loop.Reconciler.Bill,
		Pilots:      w.views.Load().Pilots,
		Passes:      loop.Reconciler.Passes,
		Pass:        loop.Reconciler.PassOf,
		Plans:       w.plans,
		Plan:        w.planOf,
		Restarts:    loop.Reconciler.Waves,
		RestartWave: loop.Reconciler.Wave,

		Prerequisites: loop.Reconciler.SeenPrerequisites,
		Prerequisite:  loop.Reconciler.SeenPrerequisite,
	}
	if s := w.restarter.Load(); s != nil {
		seen.Restarts = s.Waves
	}
	if f := w.forge.Load(); f != nil {
		seen.Forge = *f
	}
	if c := w.campaigns.Load(); c != nil {
		seen.Campaigns = maskedCampaigns{c}
	}
	return seen, true
}

// fecSeen is all that is known of a FEC, what was collected of it too.
func (w *watch) fecSeen(ctx context.Context, r *reconciler.Reconciler, name string, at time.Time) (report.FECSeen, error) {
	f, err := r.FECSeen(ctx, name, at)
	if err != nil {
		return f, err
	}
	var going []collect.Status
	c := w.collector.Load()
	if c != nil {
		going = c.Statuses()
	}
	if data, err := dataOf(w.root, c != nil, going, f.Name); err == nil {
		f.Data = &data
	} else {
		f.Trouble = append(f.Trouble, "what was collected of it is not known: "+err.Error())
	}
	return f, nil
}

// maskedCampaigns show no secrets that jobs have printed.
type maskedCampaigns struct{ *reconciler.Campaigner }

// PostMortemNow is that of the campaigner.
func (c maskedCampaigns) PostMortemNow(ctx context.Context, campaign, slice string) (report.PostMortem, error) {
	p, err := c.Campaigner.PostMortemNow(ctx, campaign, slice)
	for _, a := range p.Attempts {
		for i, line := range a.Log {
			a.Log[i] = secrets.Mask(line)
		}
	}
	return p, err
}

// plans are the pull requests that were looked at.
func (w *watch) plans(ctx context.Context) (report.Proposals, error) {
	if w.reviewer == nil {
		return report.Proposals{Proposals: []report.Proposal{}}, nil
	}
	return w.reviewer.Shown(ctx)
}

// planOf is what the merge of one would do.
func (w *watch) planOf(ctx context.Context, which string) (report.Proposal, error) {
	if w.reviewer == nil {
		return report.Proposal{}, serve.ErrNoSuch
	}
	return w.reviewer.ShownOf(ctx, which)
}

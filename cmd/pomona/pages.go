package main

import (
	"context"
	"errors"
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
	seen := &serve.SeenSite{
		Changes: w.changes,
		Fleet:   loop.Reconciler.Fleet,
		FEC: func(ctx context.Context, name string, at time.Time) (report.FECSeen, error) {
			return w.fecSeen(ctx, loop.Reconciler, name, at)
		},
		AllSoftware: loop.Reconciler.AllSoftware,
		Software: func(ctx context.Context, name string) (report.Software, error) {
			s, err := loop.Reconciler.Software(ctx, name)
			return s, notThere(err)
		},
		Bill: func(ctx context.Context, software, version, archive string) ([]byte, error) {
			b, err := loop.Reconciler.Bill(ctx, software, version, archive)
			return b, notThere(err)
		},
		Pilots: w.views.Load().Pilots,
	}
	seen.Restarts, seen.RestartWave = loop.Reconciler.Waves, func(ctx context.Context, id string) (report.RestartWaveFECs, error) {
		wave, err := loop.Reconciler.Wave(ctx, id)
		return wave, notThere(err)
	}
	if s := w.restarter.Load(); s != nil {
		seen.Restarts = s.Waves
	}
	seen.Passes, seen.Plans, seen.Plan = loop.Reconciler.Passes, w.plans, w.planOf
	seen.Prerequisites = loop.Reconciler.SeenPrerequisites
	seen.Prerequisite = func(ctx context.Context, name string) (report.PrerequisiteShown, error) {
		p, err := loop.Reconciler.SeenPrerequisite(ctx, name)
		return p, notThere(err)
	}
	seen.Pass = func(ctx context.Context, which string) (report.Pass, error) {
		p, err := loop.Reconciler.PassOf(ctx, which)
		return p, notThere(err)
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
		return f, notThere(err)
	}
	var going []collect.Status
	if c := w.collector.Load(); c != nil {
		going = c.Statuses()
	}
	if data, err := dataOf(w.root, going, f.Name); err == nil {
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

// notThere has pages say that there is nothing of a name.
func notThere(err error) error {
	for _, none := range []error{reconciler.ErrNoFEC, reconciler.ErrNoSoftware, reconciler.ErrNoWave, reconciler.ErrNoPass, reconciler.ErrNoPrerequisite, reconciler.ErrNoProposal} {
		if errors.Is(err, none) {
			return fmt.Errorf("%w: %w", serve.ErrNotThere, err)
		}
	}
	return err
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
		return report.Proposal{}, serve.ErrNotThere
	}
	p, err := w.reviewer.ShownOf(ctx, which)
	return p, notThere(err)
}

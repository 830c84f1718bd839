package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// pullPoll is how often pull requests are listed at most, unless a webhook says something: each time costs calls of an API that are
// counted.
const pullPoll = time.Minute

// review has the pull requests of a site looked at while it is served, and what is published compared with their checks. What
// is served does not wait for anything of it. Pages is where people look at the site; empty: nobody says.
func (s *servedRoot) review(site string, conf desired.ServedSite, pages string, r *reconciler.Reconciler, client *remote.Client, open opener) (*reconciler.Reviewer, error) {
	by := *r
	var err error
	// One loader serves one commit at a time: a merge does not wait for a review.
	if by.Loader, err = newLoader(cacheFolder("", conf.Root, true), r.Log); err != nil {
		return nil, err
	}
	// Likewise one fetcher brings a payload once: from the slowest host that a proposal names for it.
	by.Payloads = payloadsOf(conf, client)
	by.Records = reconciler.ReadRecords(s.path, r.Log)
	r.Checks = reconciler.Checks{Made: true, Require: conf.Forge.RequireChecked}
	v := reconciler.NewReviewer(&reconciler.Reviewer{
		By: &by, Site: site, Enter: r.Records, Forks: conf.Forge.Forks, Poll: max(conf.Interval(), pullPoll), Link: conf.Forge.Link,
		Pages: pages, Count: s.watch.metrics.Reviewed, Changed: s.watch.changes.Tell,
	})
	r.Observers = append(r.Observers, v)
	s.beside = append(s.beside, func(ctx context.Context) error {
		var there bool
		if conf.Previews != nil {
			if v.Previews, there = await(ctx, r.Log, "pull requests not looked at, for want of previews", func() (*reconciler.Previews, error) { return previewsOf(conf, r) }); !there {
				return nil
			}
		}
		if v.Proposals, there = await(ctx, r.Log, "pull requests not looked at", func() (*repo.Proposals, error) { return openProposals(conf, client) }); !there {
			return nil
		}
		if v.Forge, there = open(ctx); !there {
			return v.Proposals.Close()
		}
		return errors.Join(v.Run(ctx), v.Proposals.Close())
	})
	return v, nil
}

// await tries something again and again until it succeeds, and says why it does not; false when the context ends
// before.
func await[T any](ctx context.Context, log *slog.Logger, without string, try func() (T, error)) (got T, there bool) {
	for told := ""; ; {
		got, err := try()
		if err == nil {
			return got, true
		}
		if err.Error() != told {
			told = err.Error()
			log.Error(without, "err", err)
		}
		select {
		case <-ctx.Done():
			return got, false
		case <-time.After(5 * time.Second):
		}
	}
}

func openProposals(conf desired.ServedSite, client *remote.Client) (*repo.Proposals, error) {
	return repo.OpenProposals(filepath.Join(conf.Root, durable.Private, "proposals"), repo.MirrorOptions{
		URL: conf.Repository.URL, Client: client, KnownHosts: conf.KnownHosts,
	}, conf.Repository.Size())
}

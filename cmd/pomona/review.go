package main

import (
	"context"
	"errors"
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

// review has the pull requests of a site looked at while it is served, and what is published compared with their checks. It
// is nil for a site without a forge.
func (s *servedRoot) review(site string, conf desired.ServedSite, r *reconciler.Reconciler, client *remote.Client) (*reconciler.Reviewer, error) {
	if conf.Forge == nil {
		return nil, nil
	}
	f, err := openForge(site, conf)
	if err != nil {
		return nil, err
	}
	proposals, err := repo.OpenProposals(filepath.Join(s.path, durable.Private, "proposals"), repo.MirrorOptions{
		URL: conf.Repository.URL, Client: client, KnownHosts: conf.KnownHosts,
	}, conf.Repository.Size())
	if err != nil {
		return nil, err
	}
	by := *r
	// One loader serves one commit at a time: a merge does not wait for a review.
	if by.Loader, err = newLoader(cacheFolder("", conf.Root, true), r.Log); err != nil {
		return nil, errors.Join(err, proposals.Close())
	}
	by.Records = reconciler.ReadRecords(s.path, r.Log)
	r.Records = reconciler.NewRecords(s.path, r.Log)
	r.Checks = reconciler.Checks{Made: true, Require: conf.Forge.RequireChecked}
	v := reconciler.NewReviewer(&reconciler.Reviewer{
		By: &by, Site: site, Forge: f, Proposals: proposals, Enter: r.Records, Forks: conf.Forge.Forks, Poll: max(conf.Interval(), pullPoll), Link: conf.Forge.Link,
	})
	r.Observers = append(r.Observers, v)
	s.beside = append(s.beside, func(ctx context.Context) error {
		return errors.Join(v.Run(ctx), proposals.Close())
	})
	return v, nil
}

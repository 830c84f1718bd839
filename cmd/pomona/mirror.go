package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// elsewhere says whether a repository is another host's.
func elsewhere(address string) bool {
	return strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "ssh://")
}

// openMirror opens the mirror of a repository of another host in the private part of a root, which must be there.
func openMirror(root, knownHosts string, r desired.Repository, client *remote.Client) (*repo.Mirror, error) {
	o := repo.MirrorOptions{
		Dir: filepath.Join(root, durable.Private, "mirror"), URL: r.URL, Branch: r.TheBranch(), Client: client, KnownHosts: knownHosts,
		Limits: repo.Limits{Mirror: r.Size()},
	}
	if s := r.Signatures; s != nil {
		var err error
		if o.Signers, err = repo.OpenSigners(repo.SignerFiles{SSH: s.AllowedSigners, GPG: s.Keyring}, time.Now); err != nil {
			return nil, err
		}
	}
	return repo.OpenMirror(o)
}

// fetchOf updates a mirror.
func fetchOf(m *repo.Mirror, log *slog.Logger) reconciler.Fetch {
	return func(ctx context.Context) (bool, error) {
		u, err := m.Update(ctx)
		if u.Untidy != nil {
			log.Warn("mirror not packed anew", "err", u.Untidy)
		}
		return u.Moved, err
	}
}

// followMirror is a loop over a mirror.
func followMirror(r *reconciler.Reconciler, m *repo.Mirror, poll time.Duration) func(context.Context) *reconciler.Loop {
	return func(context.Context) *reconciler.Loop {
		l := reconciler.NewLoop(r, poll, nil)
		l.Follow(fetchOf(m, r.Log))
		l.Name = m.Accept
		return l
	}
}

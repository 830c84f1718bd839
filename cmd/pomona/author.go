package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// unsigned is what --sign is given where nobody signs.
const unsigned = "none"

// authorFlags say where a command writes into a site, and by which way. To and root are blob stores, of which most have none.
type authorFlags struct {
	site, branch string
	to, root     string
	clear, pull  bool
	payloads     *payloadFlags
	change       *changeFlags
}

// author makes what writes into the site. Cache may be empty: then there is none.
func (f authorFlags) author(cmd *cobra.Command) (a reconciler.Author, cache string, err error) {
	if f.root != "" {
		if err := reconciler.CheckRoot(f.root); err != nil {
			return a, "", err
		}
	}
	client, err := f.payloads.client(f.root)
	if err != nil {
		return a, "", err
	}
	log := slog.New(slog.NewTextHandler(secrets.Writer(cmd.ErrOrStderr()), &slog.HandlerOptions{Level: slog.LevelWarn}))
	cache = cacheFolder(f.payloads.cache, "", false)
	loader, err := newLoader(cache, log)
	if err != nil {
		return a, "", err
	}
	a = reconciler.Author{
		Site: f.site, Branch: f.branch, Remote: repo.Remote{URL: f.site, Client: client, KnownHosts: f.payloads.knownHosts, OneHost: true},
		Loader: loader, Verdicts: build.NewVerdicts(cache, log), Log: log, Now: time.Now,
		Put: func(ctx context.Context, b remote.Blob) error { return client.Upload(ctx, f.to, b, f.clear) },
	}
	if f.root != "" {
		a.Put = reconciler.PutInto(f.root)
	}
	if f.pull {
		a.OpenChange, err = f.change.openChange(f.site, client)
	}
	return a, cache, err
}

// personFlags say who says something, and how they sign it.
type personFlags struct{ by, sign string }

// person finds out who says it, has them sign, and says why it may not count.
func (f personFlags) person(ctx context.Context, a *reconciler.Author) (by, doubt string, err error) {
	dir := a.Site
	if repo.IsAddress(dir) {
		dir = ""
	}
	p := repo.Configured(ctx, dir)
	by = cmp.Or(f.by, p.Email)
	switch {
	case f.sign == unsigned:
	case f.sign != "":
		if a.Sign, err = repo.SignSSH(ctx, f.sign, p.SSHProgram); err != nil {
			err = fmt.Errorf("--sign: %w; name the file of an ssh key, or none", err)
		}
	case p.Key != "" || p.Sign:
		a.Sign, err = p.Signer(ctx)
	}
	switch {
	case err != nil:
	case a.Sign == nil && a.OpenChange != nil:
		doubt = fmt.Sprintf("the commit is not signed: it counts once the forge says that %s has approved the pull request", by)
	case a.Sign == nil:
		doubt = "the commit is not signed, and no forge says who approved it: it will not count; sign it with --sign KEY, or give --pull-request"
	case f.by != "" && p.Email != "" && !desired.SamePerson(f.by, p.Email):
		doubt = fmt.Sprintf("it counts only if the service knows the key that signs it as %s's", f.by)
	}
	return by, doubt, err
}

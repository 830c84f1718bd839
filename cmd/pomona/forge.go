package main

import (
	"fmt"
	"strconv"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// openForge opens the forge where a configured site is reviewed. Nothing is asked yet, but its secrets must be readable.
func openForge(site string, conf desired.ServedSite) (forge.Forge, error) {
	f := conf.Forge
	o := forge.Options{API: f.API, Repository: f.Repository, Branch: conf.Repository.TheBranch(), Site: site, Hook: f.Hook, Link: f.Link}
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
		o.Token, err = forge.TokenFile(f.Token)
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

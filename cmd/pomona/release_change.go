package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// changeFlags say where a release asks for its merge.
type changeFlags struct{ kind, api, token string }

const gitHubHost, gitHubAPI = "github.com", "https://api.github.com"

// openChange opens pull requests at the forge that has the site. What can be told to be missing is told now.
func (f changeFlags) openChange(site string, client *remote.Client) (func(context.Context, reconciler.Change) (string, error), error) {
	if !repo.IsAddress(site) {
		return nil, errors.New("open pull request: the site is a folder on this machine: name its address with --site")
	}
	o, kind, err := f.forgeOf(site)
	if err != nil {
		return nil, err
	}
	if o.Token, err = f.tokens(o.API, client); err != nil {
		return nil, err
	}
	at, err := forge.New(kind, o)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, c reconciler.Change) (string, error) {
		return at.OpenChange(ctx, forge.Change{Branch: c.Branch, Base: c.Base, Title: c.Title, Body: c.Body})
	}, nil
}

// forgeOf is the forge of a site's address, as far as that tells.
func (f changeFlags) forgeOf(site string) (o forge.Options, kind string, err error) {
	at, err := url.Parse(site)
	if err != nil {
		return o, "", fmt.Errorf("malformed address of a site %q", site)
	}
	o.Repository = strings.TrimSuffix(strings.Trim(at.Path, "/"), ".git")
	kind, o.API = f.kind, f.api
	if at.Hostname() == gitHubHost {
		kind, o.API = cmp.Or(kind, "github"), cmp.Or(o.API, gitHubAPI)
	}
	if o.API == "" {
		o.API = "https://" + at.Hostname()
		if at.Scheme == "https" {
			o.API = "https://" + at.Host
		}
	}
	if kind == "" {
		return o, "", fmt.Errorf("%s may be any forge: give --forge, one of %s", at.Hostname(), strings.Join(forge.Kinds, ", "))
	}
	return o, kind, nil
}

// tokens are those of a file, or the credential of the API's own host.
func (f changeFlags) tokens(api string, client *remote.Client) (forge.TokenSource, error) {
	if f.token != "" {
		return forge.TokenFile(f.token, conceal)
	}
	at, err := url.Parse(api)
	if err != nil {
		return nil, fmt.Errorf("malformed address of an API %q", api)
	}
	if api == gitHubAPI {
		at = &url.URL{Scheme: "https", Host: gitHubHost} // one forge, two names
	}
	source := forge.TokenFunc(func(ctx context.Context) (string, error) {
		c, _, err := client.Credential(ctx, at)
		if err != nil {
			return "", err
		}
		_, password, _ := c.User()
		token, _ := c.Token()
		if token = cmp.Or(token, password); token == "" {
			return "", fmt.Errorf("no token for %[1]s: give --forge-token FILE, or --credential %[1]s=FILE", remote.HostOf(at))
		}
		return token, nil
	})
	_, err = source.Token(context.Background())
	return source, err
}

package forge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-github/v60/github"
)

const (
	pageSize = 100
	maxPages = 100 // of anything: ten thousand comments
)

// GitHub is a repository on GitHub or GitHub Enterprise.
type GitHub struct {
	options     Options
	owner, name string
	http        client
	api         *github.Client
	app         *github.Client // proves the App itself; nil without one
	mu          sync.Mutex
	login       string         // our own, once it was asked for
	id          int64          // of the repository, once it was asked for
	repeated    map[string]int // deliveries by guid, how often
}

// NewGitHub is a repository on GitHub. Nothing is asked yet.
func NewGitHub(o Options) (*GitHub, error) {
	address, err := parseAPI(cmp.Or(o.API, "https://api.github.com"))
	if err != nil {
		return nil, err
	}
	g := &GitHub{options: o}
	if g.owner, g.name, err = splitRepository(o.Repository); err != nil {
		return nil, err
	}
	if o.Token == nil {
		return nil, errors.New("no token")
	}
	g.http = newClient(address, "Bearer", o.Token, o)
	if g.api, err = github.NewClient(g.http.Client).WithEnterpriseURLs(address.String(), address.String()); err != nil {
		return nil, err
	}
	if o.App != nil && o.App.Proof != nil {
		g.app, err = github.NewClient(newClient(address, "Bearer", o.App.Proof, o).Client).WithEnterpriseURLs(address.String(), address.String())
	}
	return g, err
}

// GitHubAPI is the address of the API of a GitHub Enterprise, of which its own address is enough; empty: of public GitHub.
func GitHubAPI(address string) (string, error) {
	at, err := parseAPI(cmp.Or(address, "https://api.github.com"))
	if err != nil {
		return "", err
	}
	api, err := github.NewClient(nil).WithEnterpriseURLs(at.String(), at.String())
	if err != nil {
		return "", err
	}
	return api.BaseURL.String(), nil
}

// failed tells what an error of go-github means.
func (g *GitHub) failed(ctx context.Context, what string, err error) error {
	var refused *github.ErrorResponse
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &refused):
		err = &refusal{refused.Response.StatusCode, textOf(refused)}
	case errors.As(err, &syntax), errors.As(err, &kind):
		err = errMalformed
	}
	return g.http.failed(ctx, what, err)
}

func textOf(r *github.ErrorResponse) string {
	texts := []string{r.Message}
	for _, e := range r.Errors {
		texts = append(texts, cmp.Or(e.Message, strings.TrimSpace(e.Resource+" "+e.Field+" "+e.Code)))
	}
	return strings.Join(texts, "; ")
}

// pages asks for one page after the other until there is no next, or each has seen enough.
func pages[T any](ask func(page int) ([]T, *github.Response, error), each func(T) (enough bool)) error {
	page := 1
	for range maxPages {
		found, res, err := ask(page)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(found, each) || res.NextPage <= page {
			return nil
		}
		page = res.NextPage
	}
	return fmt.Errorf("more than %d pages", maxPages)
}

// me is our own login, as it stands at comments.
func (g *GitHub) me(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.login != "" {
		return g.login, nil
	}
	login, err := g.askLogin(ctx)
	if err == nil && login == "" {
		err = errors.New("it does not say who we are")
	}
	if err != nil {
		return "", g.failed(ctx, "ask who we are", err)
	}
	g.login = login
	return login, nil
}

func (g *GitHub) askLogin(ctx context.Context) (string, error) {
	if g.options.App == nil {
		user, _, err := g.api.Users.Get(ctx, "")
		return user.GetLogin(), err
	}
	if g.app == nil {
		return "", errors.New("no proof of the App")
	}
	app, _, err := g.app.Apps.Get(ctx, "")
	if err != nil || app.GetSlug() == "" {
		return "", err
	}
	return app.GetSlug() + "[bot]", nil
}

// repositoryID is the number of the repository.
func (g *GitHub) repositoryID(ctx context.Context) (int64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.id != 0 {
		return g.id, nil
	}
	r, _, err := g.api.Repositories.Get(ctx, g.owner, g.name)
	if err != nil {
		return 0, g.failed(ctx, "ask for repository", err)
	}
	g.id = r.GetID()
	return g.id, nil
}

// optional is a text that is left out when empty.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

package forge

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// giteaPage is what Gitea gives at once at most, unless it is configured otherwise.
const giteaPage = 50

// Gitea is a repository on Gitea or Forgejo. It has no check runs, deployments or list of deliveries.
type Gitea struct {
	options Options
	base    *url.URL // of the repository
	user    *url.URL
	http    client
	mu      sync.Mutex
	login   string // our own, once it was asked for
}

// NewGitea is a repository on Gitea or Forgejo. Nothing is asked yet.
func NewGitea(o Options) (*Gitea, error) {
	address, err := parseAPI(o.API)
	if err != nil {
		return nil, err
	}
	owner, name, err := splitRepository(o.Repository)
	if err != nil {
		return nil, err
	}
	if o.Token == nil {
		return nil, errors.New("no token")
	}
	if !strings.HasSuffix(address.Path, "/api/v1/") {
		address = address.JoinPath("api/v1/")
	}
	return &Gitea{options: o, base: address.JoinPath("repos", owner, name), user: address.JoinPath("user"), http: newClient(address, "token", o.Token, o)}, nil
}

// What Gitea sends, as far as it is used.
type (
	giteaUser struct {
		Login string `json:"login"`
	}
	giteaEnd struct {
		Ref  string `json:"ref"`
		SHA  string `json:"sha"`
		Repo int64  `json:"repo_id"`
	}
	giteaPull struct {
		Number  int       `json:"number"`
		Title   string    `json:"title"`
		Body    string    `json:"body"`
		User    giteaUser `json:"user"`
		Draft   bool      `json:"draft"`
		Head    giteaEnd  `json:"head"`
		Base    giteaEnd  `json:"base"`
		URL     string    `json:"html_url"`
		Updated time.Time `json:"updated_at"`
	}
	giteaComment struct {
		ID   int64     `json:"id"`
		User giteaUser `json:"user"`
		Body string    `json:"body"`
	}
	giteaStatus struct {
		State   State  `json:"status"`
		Context string `json:"context"`
		Text    string `json:"description"`
		Link    string `json:"target_url"`
	}
)

// fork says whether a pull request comes from another repository or, which is as much, from nobody's branch: whoever may only
// read can push to refs/for/ (AGit), and Gitea says then that the head is in the repository itself.
func (p giteaPull) fork() bool {
	return p.Head.Repo != p.Base.Repo || strings.HasPrefix(p.Head.Ref, "refs/")
}

// call sends a request with a JSON body, or none, and reads the answer into a value. It says whether there is a next page.
func (g *Gitea) call(ctx context.Context, method string, address *url.URL, body, into any) (next bool, err error) {
	var b []byte
	if body != nil {
		if b, err = json.Marshal(body); err != nil {
			return false, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, address.String(), bytes.NewReader(b))
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := g.http.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close() // read whole or reported below
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated {
		var said struct {
			Message string `json:"message"`
		}
		_ = json.NewDecoder(res.Body).Decode(&said) // the status says enough
		return false, &refusal{res.StatusCode, said.Message}
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return false, errMalformed
	}
	return strings.Contains(res.Header.Get("Link"), `rel="next"`), nil
}

// giteaPages reads lists, one page after the other, until there is no next, or each has seen enough. Not every list of Gitea's
// has pages, and not every list with pages says that there is a next one.
func giteaPages[T comparable](ctx context.Context, g *Gitea, address *url.URL, query url.Values, read func(*json.RawMessage) ([]T, error), each func(T) (enough bool)) error {
	var before []T
	for page := 1; page <= maxPages; page++ {
		query.Set("page", strconv.Itoa(page))
		query.Set("limit", strconv.Itoa(giteaPage))
		at := *address
		at.RawQuery = query.Encode()
		var raw json.RawMessage
		next, err := g.call(ctx, http.MethodGet, &at, nil, &raw)
		if err != nil {
			return err
		}
		found, err := read(&raw)
		if err != nil {
			return errMalformed
		}
		if slices.Equal(found, before) || slices.ContainsFunc(found, each) || len(found) < giteaPage && !next {
			return nil
		}
		before = found
	}
	return fmt.Errorf("more than %d pages", maxPages)
}

// plainList reads a list that is nothing else.
func plainList[T any](raw *json.RawMessage) (list []T, err error) {
	err = json.Unmarshal(*raw, &list)
	return list, err
}

// statusList reads the newest status of each context.
func statusList(raw *json.RawMessage) ([]giteaStatus, error) {
	var combined struct {
		Statuses []giteaStatus `json:"statuses"`
	}
	err := json.Unmarshal(*raw, &combined)
	return combined.Statuses, err
}

// Open implements Forge. Gitea keeps no merge result.
func (g *Gitea) Open(ctx context.Context) ([]Pull, error) {
	found := map[int]Pull{}
	err := giteaPages(ctx, g, g.base.JoinPath("pulls"), url.Values{"state": {"open"}, "sort": {"oldest"}}, plainList[giteaPull], func(p giteaPull) bool {
		if p.Base.Ref == g.options.Branch && p.Number > 0 && checkCommit(p.Head.SHA) == nil {
			found[p.Number] = Pull{
				Number: p.Number, Title: p.Title, Author: p.User.Login, Draft: p.Draft, URL: p.URL, Updated: p.Updated,
				Head: p.Head.SHA, HeadBranch: p.Head.Ref, Base: p.Base.SHA, Branch: p.Base.Ref, Fork: p.fork(),
			}
		}
		return false
	})
	if err != nil {
		return nil, g.http.failed(ctx, "list pull requests", err)
	}
	return byNumber(found), nil
}

// Status implements Forge.
func (g *Gitea) Status(ctx context.Context, commit string, s Status) error {
	if err := checkCommit(commit); err != nil {
		return err
	}
	s = statusOf(s)
	what := "set status of commit " + commit[:12]
	said := false
	err := giteaPages(ctx, g, g.base.JoinPath("commits", commit, "status"), url.Values{}, statusList, func(newest giteaStatus) bool {
		said = newest == giteaStatus{s.State, s.Context, s.Text, s.Link}
		return newest.Context == s.Context
	})
	if err != nil || said {
		return g.http.failed(ctx, what, err)
	}
	body := map[string]string{"state": string(s.State), "context": s.Context, "description": s.Text, "target_url": s.Link}
	_, err = g.call(ctx, http.MethodPost, g.base.JoinPath("statuses", commit), body, &giteaStatus{})
	return g.http.failed(ctx, what, err)
}

// Check implements Forge: Gitea has statuses only.
func (g *Gitea) Check(ctx context.Context, commit string, c Check) error {
	return g.Status(ctx, commit, Status{c.Name, c.State, c.Title, c.Link})
}

// me is our own login, as it stands at comments.
func (g *Gitea) me(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.login != "" {
		return g.login, nil
	}
	var u giteaUser
	_, err := g.call(ctx, http.MethodGet, g.user, nil, &u)
	if err == nil && u.Login == "" {
		err = errors.New("it does not say who we are")
	}
	if err != nil {
		return "", g.http.failed(ctx, "ask who we are", err)
	}
	g.login = u.Login
	return g.login, nil
}

// Comment implements Forge.
func (g *Gitea) Comment(ctx context.Context, number int, body string) error {
	me, err := g.me(ctx)
	if err != nil {
		return err
	}
	var own *giteaComment
	comments := g.base.JoinPath("issues", strconv.Itoa(number), "comments")
	err = giteaPages(ctx, g, comments, url.Values{}, plainList[giteaComment], func(c giteaComment) bool {
		if !strings.EqualFold(c.User.Login, me) || !strings.HasPrefix(c.Body, marker(g.options.Site)) {
			return false // anybody can write the marker
		}
		own = &c
		return true
	})
	text := map[string]string{"body": commentOf(g.options, body)}
	switch {
	case err != nil:
	case own == nil:
		_, err = g.call(ctx, http.MethodPost, comments, text, &giteaComment{})
	case normal(own.Body) != normal(text["body"]):
		_, err = g.call(ctx, http.MethodPatch, g.base.JoinPath("issues", "comments", strconv.FormatInt(own.ID, 10)), text, &giteaComment{})
	}
	return g.http.failed(ctx, fmt.Sprintf("comment on pull request %d", number), err)
}

// Deployment implements Forge: Gitea has none.
func (g *Gitea) Deployment(context.Context, Deployment) error { return ErrNotOffered }

// Redeliver implements Forge: Gitea does not list deliveries.
func (g *Gitea) Redeliver(context.Context, time.Time) (int, error) { return 0, ErrNotOffered }

// OpenChange implements Forge.
func (g *Gitea) OpenChange(ctx context.Context, c Change) (string, error) {
	base, pulls := cmp.Or(c.Base, g.options.Branch), g.base.JoinPath("pulls")
	var open *giteaPull
	err := giteaPages(ctx, g, pulls, url.Values{"state": {"open"}}, plainList[giteaPull], func(p giteaPull) bool {
		if p.Head.Ref != c.Branch || p.Base.Ref != base || p.Head.Repo != p.Base.Repo {
			return false
		}
		open = &p
		return true
	})
	title, body := cutLine(c.Title, maxTitle), cutText(c.Body, maxComment, g.options.Link)
	var done giteaPull
	switch {
	case err != nil:
	case open == nil:
		_, err = g.call(ctx, http.MethodPost, pulls, map[string]string{"head": c.Branch, "base": base, "title": title, "body": body}, &done)
	case open.Title != title || normal(open.Body) != normal(body):
		_, err = g.call(ctx, http.MethodPatch, pulls.JoinPath(strconv.Itoa(open.Number)), map[string]string{"title": title, "body": body}, &done)
	default:
		done = *open
	}
	return done.URL, g.http.failed(ctx, "open pull request", err)
}

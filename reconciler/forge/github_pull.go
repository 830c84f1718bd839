package forge

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"
)

// Open implements Forge.
func (g *GitHub) Open(ctx context.Context) ([]Pull, error) {
	found := map[int]Pull{}
	err := pages(func(page int) ([]*github.PullRequest, *github.Response, error) {
		return g.api.PullRequests.List(ctx, g.owner, g.name, &github.PullRequestListOptions{
			State: "open", Base: g.options.Branch, Sort: "created", Direction: "asc",
			ListOptions: github.ListOptions{Page: page, PerPage: pageSize},
		})
	}, func(p *github.PullRequest) bool {
		if pull := pullOf(p); pull.Number > 0 && checkCommit(pull.Head) == nil {
			found[pull.Number] = pull // a page may repeat one
		}
		return false
	})
	if err != nil {
		return nil, g.failed(ctx, "list pull requests", err)
	}
	return byNumber(found), nil
}

func byNumber(found map[int]Pull) []Pull {
	out := make([]Pull, 0, len(found))
	for _, p := range found {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Pull) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// pullOf reads a pull request. A fork that is gone has no repository any more.
func pullOf(p *github.PullRequest) Pull {
	head, base := p.GetHead(), p.GetBase()
	return Pull{
		Number: p.GetNumber(), Title: p.GetTitle(), Author: p.GetUser().GetLogin(), Draft: p.GetDraft(), URL: p.GetHTMLURL(), Updated: p.GetUpdatedAt().Time,
		Head: head.GetSHA(), HeadBranch: head.GetRef(), Base: base.GetSHA(), Branch: base.GetRef(),
		MergeRef: fmt.Sprintf("refs/pull/%d/merge", p.GetNumber()),
		Fork:     head.GetRepo() == nil || head.GetRepo().GetID() != base.GetRepo().GetID(),
	}
}

// Comment implements Forge.
func (g *GitHub) Comment(ctx context.Context, number int, body string) error {
	me, err := g.me(ctx)
	if err != nil {
		return err
	}
	var own *github.IssueComment
	err = pages(func(page int) ([]*github.IssueComment, *github.Response, error) {
		return g.api.Issues.ListComments(ctx, g.owner, g.name, number, &github.IssueListCommentsOptions{
			ListOptions: github.ListOptions{Page: page, PerPage: pageSize},
		})
	}, func(c *github.IssueComment) bool {
		if !strings.EqualFold(c.GetUser().GetLogin(), me) || !strings.HasPrefix(c.GetBody(), marker(g.options.Site)) {
			return false // anybody can write the marker
		}
		own = c
		return true
	})
	if err != nil {
		return g.failed(ctx, fmt.Sprintf("list comments of pull request %d", number), err)
	}
	text := commentOf(g.options, body)
	switch {
	case own == nil:
		_, _, err = g.api.Issues.CreateComment(ctx, g.owner, g.name, number, &github.IssueComment{Body: &text})
	case normal(own.GetBody()) != normal(text):
		_, _, err = g.api.Issues.EditComment(ctx, g.owner, g.name, own.GetID(), &github.IssueComment{Body: &text})
	}
	return g.failed(ctx, fmt.Sprintf("comment on pull request %d", number), err)
}

// normal is a text as forges give it back.
func normal(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }

// OpenChange implements Forge.
func (g *GitHub) OpenChange(ctx context.Context, c Change) (string, error) {
	base := cmp.Or(c.Base, g.options.Branch)
	open, _, err := g.api.PullRequests.List(ctx, g.owner, g.name, &github.PullRequestListOptions{State: "open", Base: base, Head: g.owner + ":" + c.Branch})
	if err != nil {
		return "", g.failed(ctx, "list pull requests", err)
	}
	title, body := cutLine(c.Title, maxTitle), cutText(c.Body, maxComment, g.options.Link)
	for _, p := range open {
		if p.GetHead().GetRef() != c.Branch || p.GetBase().GetRef() != base {
			continue // an unknown filter gives all
		}
		if p.GetTitle() != title || normal(p.GetBody()) != normal(body) {
			p, _, err = g.api.PullRequests.Edit(ctx, g.owner, g.name, p.GetNumber(), &github.PullRequest{Title: &title, Body: &body})
		}
		return p.GetHTMLURL(), g.failed(ctx, "change pull request", err)
	}
	p, _, err := g.api.PullRequests.Create(ctx, g.owner, g.name, &github.NewPullRequest{Title: &title, Body: &body, Head: &c.Branch, Base: &base})
	return p.GetHTMLURL(), g.failed(ctx, "open pull request", err)
}

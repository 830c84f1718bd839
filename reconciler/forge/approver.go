package forge

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-github/v60/github"
)

// opinions are what people think of a pull request, the last of each.
type opinions struct {
	head  string // commit that was merged
	names []string
	last  map[string]bool // by login: approves of head
}

// says notes a review. Comments change no opinion.
func (o *opinions) says(login, state, commit string, counts bool) {
	switch state {
	case "APPROVED", "CHANGES_REQUESTED", "REQUEST_CHANGES", "DISMISSED":
	default:
		return
	}
	if o.last == nil {
		o.last = map[string]bool{}
	}
	if _, known := o.last[login]; !known {
		o.names = append(o.names, login)
	}
	o.last[login] = state == "APPROVED" && commit == o.head && counts && login != ""
}

func (o *opinions) approvers() []string {
	return slices.DeleteFunc(o.names, func(login string) bool { return !o.last[login] })
}

// Unknown is that some who have approved a pull request count for nobody, since Options.People does not name them: each may be somebody who is known
// by an address too.
type Unknown struct {
	Number int
	Logins []string // each LOGIN@KIND
}

// Error implements error.
func (u *Unknown) Error() string {
	return fmt.Sprintf("pull request %d is approved by %s, and nobody knows who that is: add the login to forge: people of the service, or to --forge-person",
		u.Number, strings.Join(u.Logins, ", "))
}

// people are logins as people. Where people have addresses, a login without counts for nobody.
func (o Options) people(number int, logins []string, kind string) (people []string, err error) {
	unknown := Unknown{Number: number}
	for _, login := range logins {
		address := ""
		for known, of := range o.People {
			if strings.EqualFold(known, login) { // as forges compare them
				address = of
			}
		}
		switch {
		case address != "":
			people = append(people, address)
		case len(o.People) > 0 || o.Addresses:
			unknown.Logins = append(unknown.Logins, login+"@"+kind)
		default:
			people = append(people, login+"@"+kind)
		}
	}
	if len(unknown.Logins) > 0 {
		return people, &unknown
	}
	return people, nil
}

// mayWrite says whether somebody may write to the repository now. Whoever is a member of its organization need not.
func (g *GitHub) mayWrite(ctx context.Context, login string) (bool, error) {
	if !nameForm.MatchString(login) || strings.Trim(login, ".") == "" { // a program's ends with [bot]
		return false, nil
	}
	level, _, err := g.api.Repositories.GetPermissionLevel(ctx, g.owner, g.name, login)
	if refused := (*github.ErrorResponse)(nil); errors.As(err, &refused) && refused.Response.StatusCode == 404 {
		return false, nil
	}
	return slices.Contains([]string{"admin", "write"}, level.GetPermission()), err
}

// Approvers implements Forge.
func (g *GitHub) Approvers(ctx context.Context, commit string) (number int, people []string, err error) {
	if err := checkCommit(commit); err != nil {
		return 0, nil, err
	}
	what := "ask who approved commit " + commit[:12]
	var merged *github.PullRequest
	err = pages(func(page int) ([]*github.PullRequest, *github.Response, error) {
		return g.api.PullRequests.ListPullRequestsWithCommit(ctx, g.owner, g.name, commit, &github.ListOptions{Page: page, PerPage: pageSize})
	}, func(p *github.PullRequest) bool {
		if p.MergedAt != nil && p.GetBase().GetRef() == g.options.Branch && (merged == nil || p.GetNumber() < merged.GetNumber()) {
			merged = p
		}
		return false
	})
	if err != nil || merged == nil {
		return 0, nil, g.failed(ctx, what, err)
	}
	o := opinions{head: merged.GetHead().GetSHA()}
	err = pages(func(page int) ([]*github.PullRequestReview, *github.Response, error) {
		return g.api.PullRequests.ListReviews(ctx, g.owner, g.name, merged.GetNumber(), &github.ListOptions{Page: page, PerPage: pageSize})
	}, func(r *github.PullRequestReview) bool {
		o.says(r.GetUser().GetLogin(), r.GetState(), r.GetCommitID(), true)
		return false
	})
	var logins []string
	for _, login := range o.approvers() {
		if err != nil {
			break
		}
		var may bool
		if may, err = g.mayWrite(ctx, login); may {
			logins = append(logins, login)
		}
	}
	if err != nil {
		return 0, nil, g.failed(ctx, what, err)
	}
	people, err = g.options.people(merged.GetNumber(), logins, "github")
	return merged.GetNumber(), people, err
}

// giteaReview is a review as Gitea sends it. Official is one of somebody who may write.
type giteaReview struct {
	User      giteaUser `json:"user"`
	State     string    `json:"state"`
	Commit    string    `json:"commit_id"`
	Official  bool      `json:"official"`
	Stale     bool      `json:"stale"`
	Dismissed bool      `json:"dismissed"`
}

// Approvers implements Forge. Gitea knows at most one pull request that brought a commit: the one that was merged.
func (g *Gitea) Approvers(ctx context.Context, commit string) (number int, people []string, err error) {
	if err := checkCommit(commit); err != nil {
		return 0, nil, err
	}
	what := "ask who approved commit " + commit[:12]
	var p struct {
		giteaPull
		Merged bool `json:"merged"`
	}
	_, err = g.call(ctx, "GET", g.base.JoinPath("commits", commit, "pull"), nil, &p)
	if r := (*refusal)(nil); errors.As(err, &r) && r.code == 404 {
		return 0, nil, nil
	}
	if err != nil || !p.Merged || p.Base.Ref != g.options.Branch || p.Number <= 0 {
		return 0, nil, g.http.failed(ctx, what, err)
	}
	o := opinions{head: p.Head.SHA}
	err = giteaPages(ctx, g, g.base.JoinPath("pulls", strconv.Itoa(p.Number), "reviews"), url.Values{}, plainList[giteaReview], func(r giteaReview) bool {
		if r.Dismissed {
			r.State = "DISMISSED"
		}
		o.says(r.User.Login, r.State, r.Commit, r.Official && !r.Stale)
		return false
	})
	if err != nil {
		return 0, nil, fmt.Errorf("pull request %d: %w", p.Number, g.http.failed(ctx, what, err))
	}
	people, err = g.options.people(p.Number, o.approvers(), "gitea")
	return p.Number, people, err
}

package forge

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-github/v60/github"
)

// maxStatuses is how many statuses GitHub takes for one commit and context.
const maxStatuses = 1000

// Status implements Forge.
func (g *GitHub) Status(ctx context.Context, commit string, s Status) error {
	if err := checkCommit(commit); err != nil {
		return err
	}
	what := "set status of commit " + commit[:12]
	s = statusOf(s)
	newest, err := g.newestStatus(ctx, commit, s.Context)
	if err != nil {
		return g.failed(ctx, what, err)
	}
	if newest == s {
		return nil
	}
	_, res, err := g.api.Repositories.CreateStatus(ctx, g.owner, g.name, commit, &github.RepoStatus{
		State: github.String(string(s.State)), Description: &s.Text, Context: &s.Context, TargetURL: optional(s.Link),
	})
	if err != nil && res != nil && res.StatusCode == http.StatusUnprocessableEntity && strings.Contains(err.Error(), "maximum number of statuses") {
		return fmt.Errorf("%s: it has %d already, and takes no more", what, maxStatuses)
	}
	return g.failed(ctx, what, err)
}

// statusOf is a status as forges take it.
func statusOf(s Status) Status {
	if s.State == Neutral {
		s.State = Success
	}
	s.Text = cutLine(s.Text, maxLine)
	return s
}

// newestStatus is what the commit's status says now. The combined status has the newest one of each context.
func (g *GitHub) newestStatus(ctx context.Context, commit, name string) (found Status, err error) {
	err = pages(func(page int) ([]*github.RepoStatus, *github.Response, error) {
		all, res, err := g.api.Repositories.GetCombinedStatus(ctx, g.owner, g.name, commit, &github.ListOptions{Page: page, PerPage: pageSize})
		if err != nil || all == nil { // null is an answer too
			return nil, res, err
		}
		return all.Statuses, res, nil
	}, func(s *github.RepoStatus) bool {
		if s.GetContext() != name {
			return false
		}
		found = Status{name, State(s.GetState()), s.GetDescription(), s.GetTargetURL()}
		return true
	})
	return found, err
}

// Deployment implements Forge. The newest deployment of the environment gets the status, if it is of this commit; a commit that
// is published again, by a rollback, is deployed again.
func (g *GitHub) Deployment(ctx context.Context, d Deployment) error {
	if err := checkCommit(d.Commit); err != nil {
		return err
	}
	what := fmt.Sprintf("record deployment of commit %.12s to %s", d.Commit, d.Environment)
	newest, _, err := g.api.Repositories.ListDeployments(ctx, g.owner, g.name, &github.DeploymentsListOptions{
		Environment: d.Environment, ListOptions: github.ListOptions{PerPage: 1},
	})
	if err != nil {
		return g.failed(ctx, what, err)
	}
	var id int64
	if len(newest) > 0 && newest[0].GetSHA() == d.Commit {
		id = newest[0].GetID()
	} else if id, err = g.deploy(ctx, d); err != nil {
		return g.failed(ctx, what, err)
	}
	return g.failed(ctx, what, g.deploymentStatus(ctx, id, d))
}

// deploy makes a deployment. Without auto_merge false GitHub would merge the default branch into an older commit, and without
// empty required_contexts it would refuse because of checks, our own among them.
func (g *GitHub) deploy(ctx context.Context, d Deployment) (int64, error) {
	made, _, err := g.api.Repositories.CreateDeployment(ctx, g.owner, g.name, &github.DeploymentRequest{
		Ref: &d.Commit, AutoMerge: github.Bool(false), RequiredContexts: &[]string{},
		Environment: &d.Environment, ProductionEnvironment: &d.Production, Description: github.String(cutLine(d.Text, maxLine)),
	})
	return made.GetID(), err
}

// deploymentStates are GitHub's names.
var deploymentStates = map[State]string{Pending: "in_progress", Success: "success", Neutral: "success", Failure: "failure", Error: "error"}

func (g *GitHub) deploymentStatus(ctx context.Context, id int64, d Deployment) error {
	state, text := deploymentStates[d.State], cutLine(d.Text, maxLine)
	newest, _, err := g.api.Repositories.ListDeploymentStatuses(ctx, g.owner, g.name, id, &github.ListOptions{PerPage: 1})
	if err != nil {
		return err
	}
	if len(newest) > 0 && newest[0].GetState() == state && newest[0].GetDescription() == text {
		return nil
	}
	_, _, err = g.api.Repositories.CreateDeploymentStatus(ctx, g.owner, g.name, id, &github.DeploymentStatusRequest{
		State: &state, Description: &text, EnvironmentURL: optional(d.Link), LogURL: optional(d.Log),
	})
	return err
}

package forge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/go-github/v60/github"
)

const (
	perRequest     = 50   // annotations that GitHub takes at once
	maxAnnotations = 1000 // that are worth their requests
	maxMessage     = 64 << 10
)

// Check implements Forge. Only a GitHub App may make check runs.
func (g *GitHub) Check(ctx context.Context, commit string, c Check) error {
	if g.options.App == nil {
		return g.Status(ctx, commit, Status{c.Name, c.State, c.Title, c.Link})
	}
	if err := checkCommit(commit); err != nil {
		return err
	}
	return g.failed(ctx, fmt.Sprintf("check commit %.12s", commit), g.check(ctx, commit, c))
}

func (g *GitHub) check(ctx context.Context, commit string, c Check) error {
	digest := digestOf(c)
	newest, err := g.newestCheck(ctx, commit, c.Name)
	if err != nil {
		return err
	}
	done := newest.GetStatus() == "completed"
	if newest != nil && newest.GetExternalID() == digest && done == (c.State != Pending) {
		return nil
	}
	// What is said once stays: annotations are only ever added, so that a run that has some is followed by another.
	rest := annotationsOf(c.Annotations)
	if c.State == Pending {
		rest = nil
	}
	id := newest.GetID()
	if newest == nil || done || newest.GetOutput().GetAnnotationsCount() > 0 {
		if id, err = g.startCheck(ctx, commit, digest, c); err != nil {
			return err
		}
		if c.State == Pending {
			return nil
		}
	}
	for len(rest) > perRequest {
		if err := g.updateCheck(ctx, id, c, github.UpdateCheckRunOptions{}, rest[:perRequest]); err != nil {
			return err
		}
		rest = rest[perRequest:]
	}
	last := github.UpdateCheckRunOptions{ExternalID: &digest}
	if c.State != Pending { // a run that broke off before this never looks complete
		last.Status, last.Conclusion = github.String("completed"), github.String(conclusionOf(c.State))
	}
	return g.updateCheck(ctx, id, c, last, rest)
}

// digestOf tells a check from another.
func digestOf(c Check) string {
	b, err := json.Marshal(c)
	if err != nil {
		return "" // it has no such fields
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func conclusionOf(s State) string {
	if s == Error {
		return string(Failure)
	}
	return string(s)
}

// newestCheck is our newest run of this name, or nil.
func (g *GitHub) newestCheck(ctx context.Context, commit, name string) (*github.CheckRun, error) {
	all, _, err := g.api.Checks.ListCheckRunsForRef(ctx, g.owner, g.name, commit, &github.ListCheckRunsOptions{
		CheckName: &name, AppID: &g.options.App.ID, Filter: github.String("latest"), ListOptions: github.ListOptions{PerPage: pageSize},
	})
	if err != nil || all == nil { // null is an answer too
		return nil, err
	}
	var newest *github.CheckRun
	for _, r := range all.CheckRuns {
		if r.GetName() == name && r.GetApp().GetID() == g.options.App.ID && r.GetID() > newest.GetID() {
			newest = r
		}
	}
	return newest, nil
}

func (g *GitHub) startCheck(ctx context.Context, commit, digest string, c Check) (int64, error) {
	o := github.CreateCheckRunOptions{Name: c.Name, HeadSHA: commit, DetailsURL: optional(c.Link), Status: github.String("in_progress"), Output: g.output(c, nil)}
	if c.State == Pending {
		o.ExternalID = &digest
	}
	run, _, err := g.api.Checks.CreateCheckRun(ctx, g.owner, g.name, o)
	return run.GetID(), err
}

func (g *GitHub) updateCheck(ctx context.Context, id int64, c Check, o github.UpdateCheckRunOptions, as []*github.CheckRunAnnotation) error {
	o.Name, o.DetailsURL, o.Output = c.Name, optional(c.Link), g.output(c, as)
	_, _, err := g.api.Checks.UpdateCheckRun(ctx, g.owner, g.name, id, o)
	return err
}

// output is what a run says, which each request says in whole but for the annotations.
func (g *GitHub) output(c Check, as []*github.CheckRunAnnotation) *github.CheckRunOutput {
	const most = maxComment - 1
	summary := c.Summary
	if more := len(c.Annotations) - maxAnnotations; more > 0 {
		note := fmt.Sprintf("\n\n%d more remarks are not shown at their lines.", more)
		summary = cutText(summary, most-len(note), g.options.Link) + note
	}
	return &github.CheckRunOutput{
		Title: github.String(cutLine(c.Title, maxTitle)), Summary: github.String(cutText(summary, most, g.options.Link)),
		Text: optional(cutText(c.Text, most, g.options.Link)), Annotations: as,
	}
}

// annotationsOf are annotations as GitHub takes them: at a line, with a column only within it.
func annotationsOf(as []Annotation) []*github.CheckRunAnnotation {
	var out []*github.CheckRunAnnotation
	for _, a := range as[:min(len(as), maxAnnotations)] {
		level := "failure"
		if a.Warning {
			level = "warning"
		}
		one := &github.CheckRunAnnotation{
			Path: &a.File, StartLine: github.Int(max(a.Line, 1)), EndLine: github.Int(max(a.Line, 1)), AnnotationLevel: &level,
			Message: github.String(cutText(a.Text, maxMessage-1, "")), Title: optional(cutLine(a.Title, maxTitle)),
		}
		if a.Line > 0 && a.Column > 0 {
			one.StartColumn, one.EndColumn = github.Int(a.Column), github.Int(a.Column)
		}
		out = append(out, one)
	}
	return slices.DeleteFunc(out, func(a *github.CheckRunAnnotation) bool { return a.GetPath() == "" })
}

package forge

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/forge/forgetest"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// fakeGitea is a Gitea.
type fakeGitea struct{ *forgetest.Gitea }

func newFakeGitea(t testing.TB) fakeGitea {
	t.Helper()
	return fakeGitea{forgetest.NewGitea(t, forgetest.Options{Head: func(branch string) string {
		if branch == "main" {
			return otherCommit
		}
		return headCommit
	}})}
}

func (f fakeGitea) gitea(t testing.TB) Forge {
	t.Helper()
	g, err := New("gitea", Options{
		API: f.URL, Repository: "o/r", Branch: "main", Site: "demo", People: map[string]string{"zoe": "zoe@example.org"}, TLS: trust(f.Server),
		Token: TokenFunc(func(context.Context) (string, error) { return theToken, nil }),
	})
	must(t, err)
	return g
}

func TestGiteaListsPullRequests(t *testing.T) {
	f := newFakeGitea(t)
	for n := 1; n <= 120; n++ {
		f.AddPull(n, fmt.Sprint("topic/", n), "main")
	}
	f.Pulls[1]["base"].(object)["ref"] = "other"
	f.Pulls[2]["head"].(object)["repo_id"] = 8
	f.Pulls[3]["head"].(object)["sha"] = ""
	f.Pulls[4]["head"].(object)["ref"] = "refs/pull/5/head" // pushed to refs/for/main by somebody who may read
	pulls, err := f.gitea(t).Open(t.Context())
	must(t, err)
	if len(pulls) != 118 || !pulls[1].Fork || !pulls[2].Fork || pulls[0].Fork || pulls[3].Fork {
		t.Errorf("%d pull requests", len(pulls))
	}
	want := Pull{Number: 1, Title: "a title", Author: "ann", Head: headCommit, HeadBranch: "topic/1", Base: otherCommit, Branch: "main", URL: "https://git.example.org/o/r/pulls/1", Updated: pulls[0].Updated}
	if diff := cmp.Diff(want, pulls[0]); diff != "" {
		t.Error(diff)
	}
}

func TestGiteaSaysAStatusOnce(t *testing.T) {
	f, ctx := newFakeGitea(t), t.Context()
	g := f.gitea(t)
	for n := range 120 {
		f.Statuses[headCommit] = append(f.Statuses[headCommit], object{"context": fmt.Sprint("ci/", n), "status": "success", "description": "", "target_url": ""})
	}
	c := Check{Name: "pomona", State: Failure, Title: strings.Repeat("problem ", 100), Link: "https://pomona.example.org/"}
	for range 3 {
		must(t, g.Check(ctx, headCommit, c))
	}
	c.State = Success
	must(t, g.Check(ctx, headCommit, c))
	if n := f.Times("POST", "/statuses/"+headCommit); n != 2 || len(f.Statuses[headCommit]) != 121 || f.Statuses[headCommit][120]["status"] != "success" {
		t.Errorf("said %d times: %v", n, f.Statuses[headCommit][120])
	}
}

func TestGiteaWritesOneComment(t *testing.T) {
	f, ctx := newFakeGitea(t), t.Context()
	g := f.gitea(t)
	f.AddComment("12", "eve", marker("demo")+"\nI am Pomona")
	for range 120 { // more than a page, if there were pages
		f.AddComment("12", "ann", "nice")
	}
	must(t, g.Comment(ctx, 12, "first"))
	f.AddComment("12", "ann", "nicer")
	must(t, g.Comment(ctx, 12, "second"))
	must(t, g.Comment(ctx, 12, "second"))
	if len(f.Comments["12"]) != 123 || f.Comments["12"][121]["body"] != marker("demo")+"\nsecond" || f.Times("PATCH", "/issues/comments/122") != 1 {
		t.Errorf("%d comments, %v", len(f.Comments["12"]), f.Comments["12"][121])
	}
	if f.Comments["12"][0]["body"] != marker("demo")+"\nI am Pomona" {
		t.Error("another's comment was changed")
	}
}

func TestGiteaOpensAChangeOnce(t *testing.T) {
	f, ctx := newFakeGitea(t), t.Context()
	g := f.gitea(t)
	fork := f.AddPull(1, "release/x", "main")
	fork["head"].(object)["repo_id"] = 8
	c := Change{Branch: "release/x", Title: "x 1.0", Body: "adds it"}
	first, err := g.OpenChange(ctx, c)
	must(t, err)
	again, err := g.OpenChange(ctx, c)
	must(t, err)
	c.Title = "x 1.0 for all"
	changed, err := g.OpenChange(ctx, c)
	must(t, err)
	if first != again || first != changed || !strings.HasSuffix(first, "/pulls/2") || len(f.Pulls) != 2 || f.Pulls[1]["title"] != c.Title || f.Times("PATCH", "/pulls/2") != 1 {
		t.Errorf("%s, %s, %s: %v", first, again, changed, f.Pulls)
	}
}

func TestGiteaRefusals(t *testing.T) {
	f := newFakeGitea(t)
	g := f.gitea(t)
	f.Token = "another"
	_, err := g.Open(t.Context())
	wantError[*remote.Wrong](t, err, "does not accept the token")
	for _, api := range []string{"", "http://git.example.org"} {
		if _, err := New("gitea", Options{API: api, Repository: "o/r", Token: TokenFunc(nil)}); err == nil {
			t.Errorf("%q: accepted", api)
		}
	}
	if _, err := New("svn", Options{}); err == nil {
		t.Error("an unknown kind: accepted")
	}
}

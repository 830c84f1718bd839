package forge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

func TestOpenPullRequestsOverAllPages(t *testing.T) {
	f := newFake(t)
	for n := 1; n <= 250; n++ {
		f.AddPull(n, object{"draft": n == 3}, fmt.Sprintf("topic/%d", n), "main")
	}
	f.AddPull(251, object{}, "topic/251", "other")
	f.Pulls[5]["head"].(object)["repo"].(object)["id"] = 99
	f.Pulls[6]["head"].(object)["sha"] = "../../../etc"
	pulls, err := f.github().Open(t.Context())
	must(t, err)
	if len(pulls) != 249 || f.Times("GET", "/pulls") != 3 {
		t.Errorf("%d pull requests on %d pages", len(pulls), f.Times("GET", "/pulls"))
	}
	want := Pull{
		Number: 1, Title: "Amazing new feature", Author: "octocat", Head: headCommit, HeadBranch: "topic/1", Base: headCommit, Branch: "main",
		MergeRef: "refs/pull/1/merge", URL: "https://github.com/octocat/Hello-World/pull/1", Updated: time.Date(2011, 1, 26, 19, 1, 12, 0, time.UTC),
	}
	if diff := cmp.Diff(want, pulls[0]); diff != "" {
		t.Error(diff)
	}
	for i, p := range pulls[:6] {
		if p.Draft != (p.Number == 3) || p.Fork != (p.Number == 6) {
			t.Errorf("%d: %+v", i, p)
		}
	}
}

func TestAForkThatIsGoneIsAFork(t *testing.T) {
	f := newFake(t)
	f.Held = false // it happens, but is not described
	f.AddPull(1, object{}, "topic", "main")["head"].(object)["repo"] = nil
	pulls, err := f.github().Open(t.Context())
	must(t, err)
	if len(pulls) != 1 || !pulls[0].Fork {
		t.Errorf("%+v", pulls)
	}
}

func TestAStatusIsSaidOnce(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	g := f.github()
	for n := range 150 { // others say much
		f.AddStatus(headCommit, object{"context": fmt.Sprintf("ci/%d", n), "state": "success", "description": "x"})
	}
	pending := Status{"pomona", Pending, "planning", "https://pomona.example.org/plans/1"}
	must(t, g.Status(ctx, headCommit, pending))
	must(t, g.Status(ctx, headCommit, pending))
	for n := range 150 {
		f.AddStatus(headCommit, object{"context": fmt.Sprintf("cd/%d", n), "state": "success", "description": "x"})
	}
	must(t, g.Status(ctx, headCommit, pending))
	if n := f.Times("POST", headCommit); n != 1 {
		t.Errorf("said %d times", n)
	}
	failed := pending
	failed.State = Failure
	must(t, g.Status(ctx, headCommit, failed))
	must(t, g.Status(ctx, headCommit, pending)) // again, after another
	if n := f.Times("POST", headCommit); n != 3 {
		t.Errorf("said %d times", n)
	}
	newest := f.Statuses[headCommit][0]
	if newest["state"] != "pending" || newest["context"] != "pomona" || newest["description"] != "planning" || newest["target_url"] != pending.Link {
		t.Errorf("%v", newest)
	}
}

func TestALongStatusIsCutAndStillSaidOnce(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	long := Status{Context: "pomona", State: Neutral, Text: strings.Repeat("größer\n", 100)}
	for range 3 {
		must(t, f.github().Status(ctx, headCommit, long))
	}
	text := f.Statuses[headCommit][0]["description"].(string)
	if n := len([]rune(text)); n > 140 || n < 130 || !strings.HasSuffix(text, "…") || strings.Contains(text, "\n") {
		t.Errorf("%d characters: %q", n, text)
	}
	if n := f.Times("POST", headCommit); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestACommitThatTakesNoMoreStatusesIsToldOf(t *testing.T) {
	f := newFake(t)
	for n := range maxStatuses {
		f.AddStatus(headCommit, object{"context": "pomona", "state": "pending", "description": fmt.Sprint(n)})
	}
	f.Held = false // the 422 of a status is not described
	err := f.github().Status(t.Context(), headCommit, Status{Context: "pomona", State: Success})
	if err == nil || !strings.Contains(err.Error(), "1000 already") {
		t.Errorf("error %v", err)
	}
	if n := f.Times("POST", headCommit); n != 1 {
		t.Errorf("tried %d times", n)
	}
}

func annotations(n int) []Annotation {
	var as []Annotation
	for i := range n {
		as = append(as, Annotation{File: "fecs.cue", Line: i + 1, Column: 2, Title: "fecs.bpm", Text: fmt.Sprintf("problem %d", i), Warning: i%2 == 1})
	}
	return as
}

func TestACheckRunCarriesAllItsAnnotations(t *testing.T) {
	for _, n := range []int{0, 1, 49, 50, 51, 100, 173, 1200} {
		f, ctx := newFake(t), t.Context()
		g := f.github(asApp)
		must(t, g.Check(ctx, headCommit, Check{Name: "pomona", State: Pending, Title: "Planning", Summary: "wait"}))
		if f.Checks[0]["status"] != "in_progress" {
			t.Errorf("%v", f.Checks[0])
		}
		c := Check{Name: "pomona", State: Failure, Title: "2 problems", Summary: "# Problems", Text: "more", Link: "https://pomona.example.org/1", Annotations: annotations(n)}
		for range 2 { // the second is not said
			must(t, g.Check(ctx, headCommit, c))
		}
		run := f.Checks[0]
		got := f.AnnotationsOf(run)
		if len(f.Checks) != 1 || run["status"] != "completed" || run["conclusion"] != "failure" || len(got) != min(n, maxAnnotations) {
			t.Errorf("%d annotations: %d runs, %v, %v, %d annotations", n, len(f.Checks), run["status"], run["conclusion"], len(got))
		}
		if requests := f.Times("PATCH", fmt.Sprint(run["id"])); requests != max(1, (min(n, maxAnnotations)+49)/50) {
			t.Errorf("%d annotations in %d requests", n, requests)
		}
		for i, a := range got {
			a := a.(object)
			level := []string{"failure", "warning"}[i%2]
			want := object{"path": "fecs.cue", "start_line": float64(i + 1), "end_line": float64(i + 1), "start_column": 2.0, "end_column": 2.0, "annotation_level": level, "message": fmt.Sprintf("problem %d", i), "title": "fecs.bpm"}
			if diff := cmp.Diff(want, a); diff != "" {
				t.Fatal(diff)
			}
		}
		if more := strings.Contains(run["output"].(object)["summary"].(string), "200 more remarks"); more != (n == 1200) {
			t.Errorf("summary %q", run["output"].(object)["summary"])
		}
	}
}

func TestACheckThatBrokeOffIsFollowedByAnother(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	g := f.github(asApp)
	patches := 0
	f.Before = brokenAt(&patches, "PATCH", 3)
	c := Check{Name: "pomona", State: Failure, Title: "many problems", Summary: "x", Annotations: annotations(170)}
	if err := g.Check(ctx, headCommit, c); err == nil {
		t.Fatal("no error")
	}
	if f.Checks[0]["status"] == "completed" {
		t.Error("a part looks complete")
	}
	f.Before = nil
	must(t, g.Check(ctx, headCommit, c))
	got := f.AnnotationsOf(f.Checks[1])
	if len(f.Checks) != 2 || f.Checks[1]["status"] != "completed" || len(got) != 170 {
		t.Errorf("%d runs, %v, %d annotations", len(f.Checks), f.Checks[1]["status"], len(got))
	}
}

func TestACheckThatSaysSomethingElseIsANewRun(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	g := f.github(asApp)
	c := Check{Name: "pomona", State: Failure, Title: "a problem", Summary: "x", Annotations: annotations(1)}
	must(t, g.Check(ctx, headCommit, c))
	c.State, c.Annotations = Success, nil
	must(t, g.Check(ctx, headCommit, c))
	must(t, g.Check(ctx, headCommit, c))
	if len(f.Checks) != 2 || f.Checks[1]["conclusion"] != "success" {
		t.Errorf("%d runs, %v", len(f.Checks), f.Checks)
	}
}

func TestACheckOfAnotherAppIsLeftAlone(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	g := f.github(asApp)
	c := Check{Name: "pomona", State: Pending, Title: "x", Summary: "x"}
	must(t, g.Check(ctx, headCommit, c))
	f.Checks[0]["app"].(object)["id"] = 1
	c.State = Success
	must(t, g.Check(ctx, headCommit, c))
	if len(f.Checks) != 2 || f.Checks[0]["status"] != "in_progress" || f.Checks[1]["status"] != "completed" {
		t.Errorf("%v", f.Checks)
	}
}

func TestWithoutAnAppACheckIsAStatus(t *testing.T) {
	f := newFake(t)
	must(t, f.github().Check(t.Context(), headCommit, Check{Name: "pomona", State: Failure, Title: "2 problems", Annotations: annotations(2)}))
	if s := f.Statuses[headCommit][0]; s["state"] != "failure" || s["description"] != "2 problems" || len(f.Checks) != 0 {
		t.Errorf("%v", s)
	}
}

func TestOneCommentIsWrittenAnewInItsPlace(t *testing.T) {
	for name, app := range map[string]bool{"user": false, "app": true} {
		t.Run(name, func(t *testing.T) {
			f, ctx := newFake(t), t.Context()
			g := f.github(func(o *Options) {
				if app {
					asApp(o)
				}
			})
			f.AddComment("12", "eve", marker("demo")+"\nI am Pomona")
			for range 250 {
				f.AddComment("12", "ann", "nice")
			}
			must(t, g.Comment(ctx, 12, "first plan"))
			for range 150 {
				f.AddComment("12", "ann", "nicer")
			}
			must(t, g.Comment(ctx, 12, "second plan"))
			must(t, g.Comment(ctx, 12, "second plan"))
			if f.Times("POST", "/comments") != 1 || f.Times("PATCH", fmt.Sprint(f.Comments["12"][251]["id"])) != 1 {
				t.Errorf("asked %v", f.Asked)
			}
			if got := f.Comments["12"][251]["body"]; got != marker("demo")+"\nsecond plan" || len(f.Comments["12"]) != 402 {
				t.Errorf("comment %q of %d", got, len(f.Comments["12"]))
			}
			if f.Comments["12"][0]["body"] != marker("demo")+"\nI am Pomona" {
				t.Error("another's comment was changed")
			}
			must(t, f.github(func(o *Options) {
				o.Site = "demo2"
				if app {
					asApp(o)
				}
			}).Comment(ctx, 12, "of another site"))
			if len(f.Comments["12"]) != 403 {
				t.Error("two sites share a comment")
			}
		})
	}
}

func TestALongCommentIsCutWithALink(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	link := "https://pomona.example.org/plans/12"
	g := f.github(func(o *Options) { o.Link = link })
	body := "<details>\n<summary>all</summary>\n\n```diff\n" + strings.Repeat("+ größer\n", 20000)
	must(t, g.Comment(ctx, 12, body))
	must(t, g.Comment(ctx, 12, body))
	got := f.Comments["12"][0]["body"].(string)
	if len(got) > 65536 || len(got) < 64000 || !strings.HasPrefix(got, marker("demo")) || !strings.HasSuffix(got, link) {
		t.Errorf("%d bytes, %q … %q", len(got), got[:50], got[len(got)-100:])
	}
	if strings.Count(got, "```") != 2 || strings.Count(got, "</details>") != 1 || f.Times("PATCH", "") != 0 {
		t.Errorf("ends with %q", got[len(got)-150:])
	}
}

func TestADeploymentWithItsStatuses(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	g := f.github()
	d := Deployment{Commit: headCommit, Environment: "accelerator", State: Pending, Text: "publishing", Production: true}
	steps := []struct {
		commit      string
		state       State
		deployments int
		statuses    int // of the newest
	}{
		{headCommit, Pending, 1, 1}, {headCommit, Pending, 1, 1}, {headCommit, Success, 1, 2}, {headCommit, Success, 1, 2},
		{otherCommit, Pending, 2, 1}, {otherCommit, Failure, 2, 2},
		{headCommit, Success, 3, 1}, // rolled back
	}
	for i, s := range steps {
		d.Commit, d.State = s.commit, s.state
		must(t, g.Deployment(ctx, d))
		statuses := f.DeploymentStatuses[fmt.Sprint(f.Deployments[0]["id"])]
		if len(f.Deployments) != s.deployments || len(statuses) != s.statuses || statuses[0]["state"] != deploymentStates[s.state] || f.Deployments[0]["sha"] != s.commit {
			t.Errorf("step %d: %d deployments, newest %v with %v", i, len(f.Deployments), f.Deployments[0]["sha"], statuses)
		}
	}
}

func TestAChangeIsOpenedOnce(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	g := f.github()
	f.AddPull(1, object{}, "release/other", "main")
	c := Change{Branch: "release/bpm-1.2.0", Title: "bpm 1.2.0", Body: "adds a version"}
	first, err := g.OpenChange(ctx, c)
	must(t, err)
	again, err := g.OpenChange(ctx, c)
	must(t, err)
	if first != again || !strings.HasSuffix(first, "/pull/2") || len(f.Pulls) != 2 {
		t.Errorf("%s, %s, %d pull requests", first, again, len(f.Pulls))
	}
	c.Title = "bpm 1.2.0 for all"
	_, err = g.OpenChange(ctx, c)
	must(t, err)
	if f.Pulls[1]["title"] != c.Title || f.Times("PATCH", "/pulls/2") != 1 {
		t.Errorf("%v", f.Pulls[1]["title"])
	}
}

func TestMissedDeliveriesAreRepeated(t *testing.T) {
	for name, app := range map[string]bool{"repository": false, "app": true} {
		t.Run(name, func(t *testing.T) {
			f, ctx := newFake(t), t.Context()
			since := f.now.Add(-time.Hour)
			f.AddHook("https://other.example.org/")
			f.AddHook(theHook)
			f.AddDelivery("old", "push", 502, since.Add(-time.Minute), nil)
			var want []string
			id := func(d object) string { return fmt.Sprint(d["id"]) }
			want = append(want, id(f.AddDelivery("down", "push", 502, since.Add(time.Minute), nil)))
			f.AddDelivery("came at last", "push", 502, since.Add(2*time.Minute), nil)
			f.AddDelivery("came at last", "push", 202, since.Add(3*time.Minute), nil)
			f.AddDelivery("hopeless", "push", 500, since.Add(3*time.Minute), nil)
			f.AddDelivery("hopeless", "push", 500, since.Add(4*time.Minute), nil)
			f.AddDelivery("hopeless", "push", 500, since.Add(5*time.Minute), nil)
			f.AddDelivery("of no interest", "star", 500, since.Add(5*time.Minute), nil)
			f.AddDelivery("of another repository", "push", 500, since.Add(5*time.Minute), 7)
			f.AddDelivery("twice", "pull_request", 0, since.Add(6*time.Minute), 1296269)
			want = append(want, id(f.AddDelivery("twice", "pull_request", 0, since.Add(7*time.Minute), 1296269)))
			for i := range 250 {
				f.AddDelivery(fmt.Sprint(i), "push", 202, since.Add(8*time.Minute), nil)
			}
			n, err := f.github(func(o *Options) {
				if app {
					asApp(o)
				}
			}).Redeliver(ctx, since)
			must(t, err)
			if diff := cmp.Diff(want, f.Again); diff != "" || n != 2 {
				t.Errorf("%d repeated (-want +got):\n%s", n, diff)
			}
		})
	}
}

// TestAHopelessDeliveryIsGivenUp although the list that is asked for never shows all of its attempts.
func TestAHopelessDeliveryIsGivenUp(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	f.AddHook(theHook)
	g := f.github()
	at := f.now
	for range 10 {
		f.AddDelivery("hopeless", "push", 500, at, nil)
		_, err := g.Redeliver(ctx, at.Add(-time.Minute))
		must(t, err)
		at = at.Add(5 * time.Minute)
	}
	if len(f.Again) != maxAttempts-1 {
		t.Errorf("repeated %d times", len(f.Again))
	}
}

// TestADeliveryThatCannotBeRepeatedHoldsUpNoOther has GitHub refuse to repeat the oldest.
func TestADeliveryThatCannotBeRepeatedHoldsUpNoOther(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	f.AddHook(theHook)
	gone := fmt.Sprint(f.AddDelivery("gone", "push", 502, f.now, nil)["id"])
	other := fmt.Sprint(f.AddDelivery("other", "push", 502, f.now, nil)["id"])
	f.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/"+gone+"/attempts") {
			return false
		}
		refuse(w, 422, "cannot be repeated")
		return true
	}
	n, err := f.github().Redeliver(ctx, f.now.Add(-time.Minute))
	wantError[*remote.Wrong](t, err, "cannot be repeated")
	if n != 1 || len(f.Again) != 1 || f.Again[0] != other {
		t.Errorf("%d repeated: %v, want %s", n, f.Again, other)
	}
}

func TestOurWebhookIsFoundOrNamed(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	redeliver := func(hook, want string) {
		t.Helper()
		_, err := f.github(func(o *Options) { o.Hook = hook }).Redeliver(ctx, f.now)
		if fmt.Sprint(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	redeliver(theHook, "octocat/Hello-World has no webhook to us: add one")
	f.AddHook(theHook + "-of-somebody-else")
	redeliver(theHook, "octocat/Hello-World has no webhook to us: add one")
	redeliver("", "<nil>")
	f.AddHook(theHook)
	redeliver(theHook+"/", "<nil>")
	redeliver("", "octocat/Hello-World has 2 webhooks that could be ours: name its address")
}

package forge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// fakeGitea answers as Gitea does: pull requests have pages with links, statuses have pages without, comments have none.
type fakeGitea struct {
	server   *httptest.Server
	mu       sync.Mutex
	pulls    []object
	comments []object
	statuses []object // newest of each context
	asked    []string
	token    string
}

func newFakeGitea(t testing.TB) *fakeGitea {
	t.Helper()
	f := &fakeGitea{token: theToken}
	mux := http.NewServeMux()
	on := func(pattern string, h http.HandlerFunc) {
		mux.HandleFunc(strings.Replace(pattern, "REPO", "/api/v1/repos/o/r", 1), h)
	}
	on("GET /api/v1/user", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, object{"id": 1, "login": "pomona"}) })
	on("GET REPO/pulls", func(w http.ResponseWriter, r *http.Request) {
		page := part(r, f.pulls)
		if n, _ := strconv.Atoi(r.URL.Query().Get("page")); n*giteaPage < len(f.pulls) {
			w.Header().Set("Link", fmt.Sprintf(`<https://%s/x?page=%d>; rel="next",<https://x/x?page=9>; rel="last"`, r.Host, n+1))
		}
		answer(w, 200, page)
	})
	on("POST REPO/pulls", func(w http.ResponseWriter, r *http.Request) {
		b := read(r)
		p := giteaPullOf(len(f.pulls)+1, b["head"].(string), b["base"].(string))
		p["title"], p["body"] = b["title"], b["body"]
		f.pulls = append(f.pulls, p)
		answer(w, 201, p)
	})
	on("PATCH REPO/pulls/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		f.pulls[n-1]["title"] = read(r)["title"]
		answer(w, 201, f.pulls[n-1])
	})
	on("GET REPO/commits/{sha}/status", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, object{"state": "pending", "statuses": part(r, f.statuses)})
	})
	on("POST REPO/statuses/{sha}", func(w http.ResponseWriter, r *http.Request) {
		b := read(r)
		b["status"] = b["state"]
		delete(b, "state")
		for i, s := range f.statuses {
			if s["context"] == b["context"] {
				f.statuses[i] = b
				answer(w, 201, b)
				return
			}
		}
		f.statuses = append(f.statuses, b)
		answer(w, 201, b)
	})
	on("GET REPO/issues/12/comments", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, f.comments) })
	on("POST REPO/issues/12/comments", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 201, f.add("pomona", read(r)["body"].(string)))
	})
	on("PATCH REPO/issues/comments/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, _ := strconv.Atoi(r.PathValue("id"))
		f.comments[id-1]["body"] = read(r)["body"]
		answer(w, 200, f.comments[id-1])
	})
	f.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked = append(f.asked, r.Method+" "+r.URL.Path)
		if r.Header.Get("Authorization") != "token "+f.token {
			answer(w, 401, object{"message": "invalid " + r.Header.Get("Authorization")})
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.server.Close)
	return f
}

func part(r *http.Request, all []object) []object {
	n, _ := strconv.Atoi(r.URL.Query().Get("page"))
	return append([]object{}, all[min((n-1)*giteaPage, len(all)):min(n*giteaPage, len(all))]...)
}

func giteaPullOf(number int, head, base string) object {
	return object{
		"number": number, "title": "a title", "body": "", "state": "open", "draft": false, "user": object{"login": "ann"}, "updated_at": "2026-05-04T12:00:00Z",
		"html_url": fmt.Sprintf("https://git.example.org/o/r/pulls/%d", number),
		"head":     object{"ref": head, "sha": headCommit, "repo_id": 7}, "base": object{"ref": base, "sha": otherCommit, "repo_id": 7},
	}
}

func (f *fakeGitea) add(login, body string) object {
	c := object{"id": len(f.comments) + 1, "user": object{"login": login}, "body": body}
	f.comments = append(f.comments, c)
	return c
}

func (f *fakeGitea) gitea(t testing.TB) Forge {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(f.server.Certificate())
	g, err := New("gitea", Options{
		API: f.server.URL, Repository: "o/r", Branch: "main", Site: "demo", TLS: &tls.Config{RootCAs: pool},
		Token: TokenFunc(func(context.Context) (string, error) { return theToken, nil }),
	})
	must(t, err)
	return g
}

func (f *fakeGitea) times(method, path string) int {
	n := 0
	for _, a := range f.asked {
		if a == method+" /api/v1/repos/o/r"+path {
			n++
		}
	}
	return n
}

func TestGiteaListsPullRequests(t *testing.T) {
	f := newFakeGitea(t)
	for n := 1; n <= 120; n++ {
		f.pulls = append(f.pulls, giteaPullOf(n, fmt.Sprint("topic/", n), "main"))
	}
	f.pulls[1]["base"].(object)["ref"] = "other"
	f.pulls[2]["head"].(object)["repo_id"] = 8
	f.pulls[3]["head"].(object)["sha"] = ""
	pulls, err := f.gitea(t).Open(t.Context())
	must(t, err)
	if len(pulls) != 118 || !pulls[1].Fork || pulls[0].Fork {
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
		f.statuses = append(f.statuses, object{"context": fmt.Sprint("ci/", n), "status": "success", "description": "", "target_url": ""})
	}
	c := Check{Name: "pomona", State: Failure, Title: strings.Repeat("problem ", 100), Link: "https://pomona.example.org/"}
	for range 3 {
		must(t, g.Check(ctx, headCommit, c))
	}
	c.State = Success
	must(t, g.Check(ctx, headCommit, c))
	if n := f.times("POST", "/statuses/"+headCommit); n != 2 || len(f.statuses) != 121 || f.statuses[120]["status"] != "success" {
		t.Errorf("said %d times: %v", n, f.statuses[120])
	}
}

func TestGiteaWritesOneComment(t *testing.T) {
	f, ctx := newFakeGitea(t), t.Context()
	g := f.gitea(t)
	f.add("eve", marker("demo")+"\nI am Pomona")
	for range 120 { // more than a page, if there were pages
		f.add("ann", "nice")
	}
	must(t, g.Comment(ctx, 12, "first"))
	f.add("ann", "nicer")
	must(t, g.Comment(ctx, 12, "second"))
	must(t, g.Comment(ctx, 12, "second"))
	if len(f.comments) != 123 || f.comments[121]["body"] != marker("demo")+"\nsecond" || f.times("PATCH", "/issues/comments/122") != 1 {
		t.Errorf("%d comments, %v", len(f.comments), f.comments[121])
	}
	if f.comments[0]["body"] != marker("demo")+"\nI am Pomona" {
		t.Error("another's comment was changed")
	}
}

func TestGiteaOpensAChangeOnce(t *testing.T) {
	f, ctx := newFakeGitea(t), t.Context()
	g := f.gitea(t)
	fork := giteaPullOf(1, "release/x", "main")
	fork["head"].(object)["repo_id"] = 8
	f.pulls = append(f.pulls, fork)
	c := Change{Branch: "release/x", Title: "x 1.0", Body: "adds it"}
	first, err := g.OpenChange(ctx, c)
	must(t, err)
	again, err := g.OpenChange(ctx, c)
	must(t, err)
	c.Title = "x 1.0 for all"
	changed, err := g.OpenChange(ctx, c)
	must(t, err)
	if first != again || first != changed || !strings.HasSuffix(first, "/pulls/2") || len(f.pulls) != 2 || f.pulls[1]["title"] != c.Title || f.times("PATCH", "/pulls/2") != 1 {
		t.Errorf("%s, %s, %s: %v", first, again, changed, f.pulls)
	}
}

func TestGiteaRefusals(t *testing.T) {
	f := newFakeGitea(t)
	g := f.gitea(t)
	f.token = "another"
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

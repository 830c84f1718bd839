package forgetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// giteaPage is how much Gitea gives at once.
const giteaPage = 50

// Gitea answers as Gitea does: pull requests have pages with links, statuses have pages without, comments have none. Its fields
// are read and changed while nobody asks it.
type Gitea struct {
	*httptest.Server
	Pulls    []Object
	Comments map[string][]Object // by number
	Reviews  map[int][]Object    // likewise, oldest first
	Brought  map[string]int      // pull request by commit that it brought
	Statuses map[string][]Object // by commit: the newest of each context
	Asked    []string            // method and path of each request, below the repository
	Token    string

	options Options
	mu      sync.Mutex
}

// NewGitea is a Gitea until the test ends. Its repository is o/r unless the options say another.
func NewGitea(t testing.TB, o Options) *Gitea {
	t.Helper()
	if o.Repository == "" {
		o.Repository = "o/r"
	}
	f := &Gitea{Token: Token, options: defaults(o), Comments: map[string][]Object{}, Reviews: map[int][]Object{}, Brought: map[string]int{}, Statuses: map[string][]Object{}}
	mux, top := http.NewServeMux(), "/api/v1/repos/"+o.Repository
	on := func(pattern string, h http.HandlerFunc) { mux.HandleFunc(strings.Replace(pattern, "REPO", top, 1), h) }
	on("GET /api/v1/user", func(w http.ResponseWriter, _ *http.Request) { Answer(w, 200, Object{"id": 1, "login": "pomona"}) })
	f.pullRoutes(on)
	f.reviewRoutes(on)
	f.statusRoutes(on)
	f.Server = serve(t, f.options, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.Asked = append(f.Asked, r.Method+" "+strings.TrimPrefix(r.URL.Path, top))
		if r.Header.Get("Authorization") != "token "+f.Token {
			Answer(w, 401, Object{"message": "invalid " + r.Header.Get("Authorization")})
			return
		}
		mux.ServeHTTP(w, r)
	}))
	return f
}

func part(r *http.Request, all []Object) []Object {
	n, _ := strconv.Atoi(r.URL.Query().Get("page"))
	return append([]Object{}, all[min((n-1)*giteaPage, len(all)):min(n*giteaPage, len(all))]...)
}

func (f *Gitea) pullRoutes(on func(string, http.HandlerFunc)) {
	on("GET REPO/pulls", func(w http.ResponseWriter, r *http.Request) {
		var open []Object
		for _, p := range f.Pulls {
			if p["state"] == "open" {
				open = append(open, p)
			}
		}
		if n, _ := strconv.Atoi(r.URL.Query().Get("page")); n*giteaPage < len(open) {
			w.Header().Set("Link", fmt.Sprintf(`<https://%s/x?page=%d>; rel="next",<https://x/x?page=9>; rel="last"`, r.Host, n+1))
		}
		Answer(w, 200, part(r, open))
	})
	on("POST REPO/pulls", func(w http.ResponseWriter, r *http.Request) {
		b := read(r)
		p := f.AddPull(len(f.Pulls)+1, text(b["head"]), text(b["base"]))
		p["title"], p["body"] = b["title"], b["body"]
		Answer(w, 201, p)
	})
	on("PATCH REPO/pulls/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		b := read(r)
		f.Pulls[n-1]["title"], f.Pulls[n-1]["body"] = b["title"], b["body"]
		Answer(w, 201, f.Pulls[n-1])
	})
	on("GET REPO/issues/{n}/comments", func(w http.ResponseWriter, r *http.Request) {
		Answer(w, 200, append([]Object{}, f.Comments[r.PathValue("n")]...))
	})
	on("POST REPO/issues/{n}/comments", func(w http.ResponseWriter, r *http.Request) {
		Answer(w, 201, f.AddComment(r.PathValue("n"), "pomona", text(read(r)["body"])))
	})
	on("PATCH REPO/issues/comments/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, cs := range f.Comments {
			for _, c := range cs {
				if fmt.Sprint(c["id"]) == r.PathValue("id") {
					c["body"] = read(r)["body"]
					Answer(w, 200, c)
					return
				}
			}
		}
		Answer(w, 404, Object{"message": "not found"})
	})
}

func (f *Gitea) statusRoutes(on func(string, http.HandlerFunc)) {
	on("GET REPO/commits/{sha}/status", func(w http.ResponseWriter, r *http.Request) {
		Answer(w, 200, Object{"state": "pending", "statuses": part(r, f.Statuses[r.PathValue("sha")])})
	})
	on("POST REPO/statuses/{sha}", func(w http.ResponseWriter, r *http.Request) {
		b, sha := read(r), r.PathValue("sha")
		b["status"] = b["state"]
		delete(b, "state")
		for i, s := range f.Statuses[sha] {
			if s["context"] == b["context"] {
				f.Statuses[sha][i] = b
				Answer(w, 201, b)
				return
			}
		}
		f.Statuses[sha] = append(f.Statuses[sha], b)
		Answer(w, 201, b)
	})
}

// AddPull opens a pull request. It does not lock.
func (f *Gitea) AddPull(number int, head, base string) Object {
	p := Object{
		"number": number, "title": "a title", "body": "", "state": "open", "draft": false, "user": Object{"login": "ann"}, "updated_at": "2026-05-04T12:00:00Z",
		"html_url": fmt.Sprintf("https://git.example.org/%s/pulls/%d", f.options.Repository, number),
		"head":     Object{"ref": head, "sha": f.options.Head(head), "repo_id": 7}, "base": Object{"ref": base, "sha": f.options.Head(base), "repo_id": 7},
	}
	f.Pulls = append(f.Pulls, p)
	return p
}

// AddComment comments on a pull request. It does not lock.
func (f *Gitea) AddComment(number, login, body string) Object {
	n := 1
	for _, cs := range f.Comments {
		n += len(cs)
	}
	c := Object{"id": n, "user": Object{"login": login}, "body": body}
	f.Comments[number] = append(f.Comments[number], c)
	return c
}

// Do reads or changes fields while others ask.
func (f *Gitea) Do(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// StatusesOf are the newest status of each context of a commit.
func (f *Gitea) StatusesOf(commit string) (out []Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.Statuses[commit] {
		out = append(out, Status{text(s["context"]), text(s["status"]), text(s["description"]), text(s["target_url"])})
	}
	return out
}

// CommentsOn are the comments on a pull request, oldest first.
func (f *Gitea) CommentsOn(number int) (out []Comment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.Comments[fmt.Sprint(number)] {
		out = append(out, Comment{text(c["user"].(Object)["login"]), text(c["body"])})
	}
	return out
}

// Times counts requests of a method to a path below the repository.
func (f *Gitea) Times(method, path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, a := range f.Asked {
		if a == method+" "+path {
			n++
		}
	}
	return n
}

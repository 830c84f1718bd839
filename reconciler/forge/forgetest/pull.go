package forgetest

import (
	"fmt"
	"net/http"
)

// Pull is a pull request of the repository itself, or of a fork.
type Pull struct {
	Number      int    // 0: the next
	Title, Body string // default: those of GitHub's example
	Head        string // commit
	HeadBranch  string
	Base        string // commit
	Branch      string // that it goes into; default main
	Fork, Draft bool
	Author      string
	Merged      bool // once it is closed
}

// OpenPull opens a pull request and gives its number.
func (f *GitHub) OpenPull(p Pull) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.Number == 0 {
		p.Number = len(f.Pulls) + 1
	}
	changes := Object{"draft": p.Draft}
	if p.Title != "" {
		changes["title"] = p.Title
	}
	if p.Body != "" {
		changes["body"] = p.Body
	}
	if p.Branch == "" {
		p.Branch = "main"
	}
	o := f.AddPull(p.Number, changes, p.HeadBranch, p.Branch)
	if p.Head != "" {
		o["head"].(Object)["sha"] = p.Head
	}
	if p.Base != "" {
		o["base"].(Object)["sha"] = p.Base
	}
	if p.Fork {
		o["head"].(Object)["repo"].(Object)["id"] = RepositoryID + 1
	}
	if p.Author != "" {
		o["user"].(Object)["login"] = p.Author
	}
	return p.Number
}

// PushPull gives a pull request another head.
func (f *GitHub) PushPull(number int, head string) {
	f.Do(func() { f.pull(number)["head"].(Object)["sha"] = head })
}

// ClosePull closes a pull request.
func (f *GitHub) ClosePull(number int, merged bool) {
	f.Do(func() {
		p := f.pull(number)
		p["state"] = "closed"
		if merged {
			p["merged_at"] = "2026-05-04T12:00:00Z"
		}
	})
}

func (f *GitHub) pull(number int) Object {
	for _, p := range f.Pulls {
		if p["number"] == number {
			return p
		}
	}
	f.t.Fatalf("no pull request %d", number)
	return nil
}

// OpenPulls are the open pull requests, by branch: their titles and texts.
func (f *GitHub) OpenPulls() map[string]Pull {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]Pull{}
	for _, p := range f.Pulls {
		if head, base := p["head"].(Object), p["base"].(Object); p["state"] == "open" {
			out[text(head["ref"])] = Pull{
				Number: p["number"].(int), Title: text(p["title"]), Body: text(p["body"]), Head: text(head["sha"]), HeadBranch: text(head["ref"]),
				Base: text(base["sha"]), Branch: text(base["ref"]),
			}
		}
	}
	return out
}

// Comment is a comment on a pull request.
type Comment struct{ Author, Body string }

// CommentsOn are the comments on a pull request, oldest first.
func (f *GitHub) CommentsOn(number int) (out []Comment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.Comments[fmt.Sprint(number)] {
		out = append(out, Comment{text(c["user"].(Object)["login"]), text(c["body"])})
	}
	return out
}

// AddPull opens a pull request with other members than GitHub's example. It does not lock.
func (f *GitHub) AddPull(number int, changes Object, head, base string) Object {
	changes["number"], changes["state"], changes["requested_teams"] = number, "open", []any{}
	changes["html_url"] = fmt.Sprintf("https://github.com/%s/pull/%d", f.options.Repository, number)
	p := f.d.like("pull-request-simple-items", changes)
	p["head"].(Object)["ref"], p["head"].(Object)["sha"] = head, f.options.Head(head)
	p["base"].(Object)["ref"] = base
	f.Pulls = append(f.Pulls, p)
	return p
}

// AddComment comments on a pull request. It does not lock.
func (f *GitHub) AddComment(number, login, body string) Object {
	c := f.d.like("issue-comment-items", Object{"id": f.id(), "body": body})
	c["user"].(Object)["login"] = login
	f.Comments[number] = append(f.Comments[number], c)
	return c
}

func (f *GitHub) pullRoutes(on on) {
	f.reviewRoutes(on)
	on("GET REPO/pulls", func(w http.ResponseWriter, r *http.Request) {
		q, found := r.URL.Query(), []Object{}
		owner, _, _ := cutLast(f.options.Repository, "/")
		for _, p := range f.Pulls {
			head := p["head"].(Object)
			if q.Get("state") == p["state"] && q.Get("base") == p["base"].(Object)["ref"] && (q.Get("head") == "" || q.Get("head") == owner+":"+text(head["ref"])) {
				found = append(found, p)
			}
		}
		f.page(w, r, nil, found)
	})
	on("POST REPO/pulls", func(w http.ResponseWriter, r *http.Request) {
		b := read(r)
		p := f.AddPull(len(f.Pulls)+1, Object{"title": b["title"], "body": b["body"]}, text(b["head"]), text(b["base"]))
		Answer(w, 201, f.d.like("pull-request", Object{"requested_teams": []any{}, "title": b["title"], "html_url": p["html_url"]}))
	})
	on("PATCH REPO/pulls/{n}", func(w http.ResponseWriter, r *http.Request) {
		b := read(r)
		for _, p := range f.Pulls {
			if fmt.Sprint(p["number"]) == r.PathValue("n") {
				p["title"], p["body"] = b["title"], b["body"]
				Answer(w, 200, f.d.like("pull-request", Object{"requested_teams": []any{}, "title": b["title"], "html_url": p["html_url"]}))
				return
			}
		}
		Refuse(w, 404, "Not Found")
	})
	on("GET REPO/issues/{n}/comments", func(w http.ResponseWriter, r *http.Request) {
		f.page(w, r, nil, f.Comments[r.PathValue("n")])
	})
	on("POST REPO/issues/{n}/comments", func(w http.ResponseWriter, r *http.Request) {
		Answer(w, 201, f.AddComment(r.PathValue("n"), f.me(), text(read(r)["body"])))
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
		Refuse(w, 404, "Not Found")
	})
}

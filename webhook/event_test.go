package webhook

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// example is what GitHub publishes about one event.
type example struct {
	Name     string            `json:"name"`
	Examples []json.RawMessage `json:"examples"`
}

// examples are all payloads that GitHub publishes.
func examples(t testing.TB) []example {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "build", "octokit", "webhooks.json"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no examples: run .ci/setup test: %v", err)
		}
		t.Skip("NOT TESTED: no examples: run .ci/setup test")
	}
	var es []example
	if err := json.Unmarshal(b, &es); err != nil {
		t.Fatal(err)
	}
	return es
}

func TestEveryExampleOfGitHubsIsAnswered(t *testing.T) {
	got := map[string]int{}
	all := 0
	for _, e := range examples(t) {
		for _, payload := range e.Examples {
			var about struct {
				Repository repository `json:"repository"`
			}
			if err := json.Unmarshal(payload, &about); err != nil {
				t.Fatal(err)
			}
			h := hear(t, "github", func(o *Options) {
				o.Sources[0].Repositories = []Repository{{Name: about.Repository.Name, ID: about.Repository.ID}}
			})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, delivery(e.Name, string(payload)))
			if w.Code != 202 {
				t.Errorf("%s: answer %d %s\n%.200s", e.Name, w.Code, w.Body, payload)
			}
			if h.counted[Accepted]+h.counted[Ignored] != 1 {
				t.Errorf("%s: counted %v", e.Name, h.counted)
			}
			for _, event := range h.events {
				got[event.Kind+" "+event.Action]++
				checkEvent(t, e.Name, event)
			}
			all++
		}
	}
	want := map[string]int{"merge-group ": 2, "ping ": 4, "pull closed": 2, "pull opened": 9, "pull updated": 4, "push ": 2}
	if diff := cmp.Diff(want, got); diff != "" || all < 300 {
		t.Errorf("%d payloads, events (-want +got):\n%s", all, diff)
	}
}

func checkEvent(t *testing.T, name string, e Event) {
	t.Helper()
	if e.Kind == Ping {
		return
	}
	if e.Repository == "" || e.Branch == "" || e.Commit == "" && !e.Deleted || e.Kind == Pull && (e.Number == 0 || e.Author == "") {
		t.Errorf("%s: %+v", name, e)
	}
}

// TestNullAnywhereIsNoCrash sets each member of each example that matters to null, and to what it never is.
func TestNullAnywhereIsNoCrash(t *testing.T) {
	n := 0
	for _, e := range examples(t) {
		if e.Name != "push" && e.Name != "pull_request" && e.Name != "merge_group" && e.Name != "ping" && e.Name != "delete" {
			continue
		}
		var payload any
		if err := json.Unmarshal(e.Examples[0], &payload); err != nil {
			t.Fatal(err)
		}
		for _, spoilt := range []any{nil, -1.5, "", []any{}, map[string]any{}} {
			spoil(payload, spoilt, func() {
				n++
				b, err := json.Marshal(payload)
				if err != nil {
					t.Fatal(err)
				}
				s, err := parseHub(e.Name, b)
				if err == nil {
					checkFields(t, s.Event)
				}
			})
		}
	}
	if n < 1000 {
		t.Errorf("only %d payloads", n)
	}
}

// spoil sets each member below v in turn to another value, and tries each.
func spoil(v, value any, try func()) {
	switch v := v.(type) {
	case map[string]any:
		for name, was := range v {
			v[name] = value
			try()
			v[name] = was
			spoil(was, value, try)
		}
	case []any:
		for i, was := range v {
			v[i] = value
			try()
			v[i] = was
			spoil(was, value, try)
		}
	}
}

// checkFields holds an event to what its fields promise.
func checkFields(t *testing.T, e Event) {
	t.Helper()
	for _, id := range []string{e.Commit, e.Before} {
		if id != "" && len(id) != 40 && len(id) != 64 {
			t.Errorf("commit %q", id)
		}
	}
	if e.Kind != Ping && checkBranch(e.Branch) != nil {
		t.Errorf("branch %q", e.Branch)
	}
	if e.Commit == "" && (e.Kind == MergeGroup || e.Kind == Pull && e.Action != Closed) {
		t.Errorf("no commit: %+v", e)
	}
	if e.Kind == Pull && e.Number <= 0 {
		t.Errorf("number %d", e.Number)
	}
	if e.Kind == "" {
		t.Errorf("no kind: %+v", e)
	}
}

func pull(action, more string) string {
	return fmt.Sprintf(`{"action": %q, "number": 12, "repository": {"id": 7, "full_name": "o/r"}, "pull_request": {"user": {"login": "ann"}, %s
		"head": {"ref": "fix", "sha": %q, "repo": {"id": 7, "full_name": "o/r"}}, "base": {"ref": "main", "repo": {"id": 7, "full_name": "o/r"}}}}`, action, more, someCommit)
}

func TestEventsOfGitHub(t *testing.T) {
	is := func(e Event) []Event { e.Source, e.Forge, e.Repository = "github", "github", "o/r"; return []Event{e} }
	proposed := Event{Kind: Pull, Branch: "main", Commit: someCommit, Number: 12, Author: "ann"}
	as := func(action string, change func(*Event)) []Event {
		e := proposed
		e.Action = action
		if change != nil {
			change(&e)
		}
		return is(e)
	}
	about := `"repository": {"id": 7, "full_name": "o/r"}`
	for name, c := range map[string]struct {
		event, body string
		code        int
		want        []Event
	}{
		"branch deleted by push": {"push", `{"ref": "refs/heads/a/b", "before": "` + someCommit + `", "after": "` + noCommit + `", "deleted": true, ` + about + `}`, 202, is(Event{Kind: Push, Branch: "a/b", Before: someCommit, Deleted: true})},
		"branch deleted":         {"delete", `{"ref": "a/b", "ref_type": "branch", ` + about + `}`, 202, is(Event{Kind: Push, Branch: "a/b", Deleted: true})},
		"tag deleted":            {"delete", `{"ref": "v1", "ref_type": "tag", ` + about + `}`, 202, nil},
		"tag":                    {"push", `{"ref": "refs/tags/v1", "after": "` + someCommit + `", ` + about + `}`, 202, nil},
		"ping":                   {"ping", `{"zen": "Design for failure.", ` + about + `}`, 202, is(Event{Kind: Ping})},
		"ping of another":        {"ping", `{"zen": "Design for failure.", "repository": {"id": 8, "full_name": "o/x"}}`, 202, nil},
		"unknown event":          {"astonishment", `{` + about + `}`, 202, nil},
		"no event":               {"", `{` + about + `}`, 202, nil},
		"opened":                 {"pull_request", pull("opened", ""), 202, as(Opened, nil)},
		"draft":                  {"pull_request", pull("opened", `"draft": true,`), 202, as(Opened, func(e *Event) { e.Draft = true })},
		"synchronized":           {"pull_request", pull("synchronize", ""), 202, as(Updated, nil)},
		"merged":                 {"pull_request", pull("closed", `"merged": true,`), 202, as(Closed, func(e *Event) { e.Merged = true })},
		"labelled":               {"pull_request", pull("labeled", ""), 202, nil},
		"fork":                   {"pull_request", strings.Replace(pull("opened", ""), `"id": 7, "full_name": "o/r"}}, "base"`, `"id": 9, "full_name": "eve/r"}}, "base"`, 1), 202, as(Opened, func(e *Event) { e.Fork = true })},
		"fork that is gone":      {"pull_request", strings.Replace(pull("opened", ""), `{"id": 7, "full_name": "o/r"}}, "base"`, `null}, "base"`, 1), 202, as(Opened, func(e *Event) { e.Fork = true })},
		"merge group":            {"merge_group", `{"action": "checks_requested", "merge_group": {"head_sha": "` + someCommit + `", "base_ref": "refs/heads/main"}, ` + about + `}`, 202, is(Event{Kind: MergeGroup, Branch: "main", Commit: someCommit})},
		"merge group over":       {"merge_group", `{"action": "destroyed", "merge_group": {"head_sha": "` + someCommit + `", "base_ref": "refs/heads/main"}, ` + about + `}`, 202, nil},
		"no JSON":                {"push", `ref=refs/heads/main`, 400, nil},
		"empty":                  {"push", ``, 400, nil},
		"two values":             {"push", push("o/r") + push("o/r"), 400, nil},
		"deep":                   {"push", strings.Repeat("[", 100000), 400, nil},
		"branch like an option":  {"push", strings.Replace(push("o/r"), "heads/main", "heads/--upload-pack=x", 1), 400, nil},
		"branch that climbs":     {"push", strings.Replace(push("o/r"), "heads/main", "heads/../../x", 1), 400, nil},
		"commit that is none":    {"push", strings.Replace(push("o/r"), someCommit, "HEAD", 1), 400, nil},
		"number out of range":    {"pull_request", strings.Replace(pull("opened", ""), `"number": 12`, `"number": -12`, 1), 400, nil},
	} {
		t.Run(name, func(t *testing.T) {
			hear(t, "github").want(delivery(c.event, c.body), c.code, c.want...)
		})
	}
}

func TestEventsOfOthers(t *testing.T) {
	hub := func(kind, event, action, body string) (http.Header, string) {
		h := http.Header{}
		h.Set("X-"+kind+"-Event", event)
		h.Set("X-"+kind+"-Delivery", "f6266f16-1bf3-46a5-9ea4-602e06ead473")
		h.Set("X-"+kind+"-Signature", digest(sha256.New, theSecret, body))
		return h, body
	}
	lab := func(event, body string) (http.Header, string) {
		return http.Header{"X-Gitlab-Event": {event}, "X-Gitlab-Token": {theSecret}, "X-Gitlab-Event-Uuid": {"13792a34-cac6-4fda-95a8-c58e00a3954e"}}, body
	}
	generic := func(body string) (http.Header, string) {
		return http.Header{"X-Signature": {sign(theSecret, body)}}, body
	}
	project := `"project": {"id": 7, "path_with_namespace": "o/r"}`
	merge := `{"object_kind": "merge_request", "user": {"username": "ann"}, ` + project + `, "object_attributes": {"iid": 12, "action": "%s",
		"target_branch": "main", "source_project_id": %d, "target_project_id": 7, "draft": false, "last_commit": {"id": "` + someCommit + `"}}}`
	for name, c := range map[string]struct {
		kind string
		make func() (http.Header, string)
		code int
		want []Event
	}{
		"Gitea push":   {"gitea", func() (http.Header, string) { return hub("Gitea", "push", "", push("o/r")) }, 202, []Event{{Kind: Push, Branch: "main", Commit: someCommit, Before: otherCommit}}},
		"Forgejo push": {"gitea", func() (http.Header, string) { return hub("Forgejo", "push", "", push("o/r")) }, 202, []Event{{Kind: Push, Branch: "main", Commit: someCommit, Before: otherCommit}}},
		"Gitea pull":   {"gitea", func() (http.Header, string) { return hub("Gitea", "pull_request", "", pull("synchronized", "")) }, 202, []Event{{Kind: Pull, Branch: "main", Commit: someCommit, Number: 12, Author: "ann", Action: Updated}}},
		"Gitea delete": {"gitea", func() (http.Header, string) {
			return hub("Gitea", "delete", "", `{"ref": "fix", "ref_type": "branch", "repository": {"full_name": "o/r"}}`)
		}, 202, []Event{{Kind: Push, Branch: "fix", Deleted: true}}},
		"Gitea forged": {"gitea", func() (http.Header, string) { h, b := hub("Gitea", "push", "", push("o/r")); return h, b + " " }, 401, nil},
		"Gitea by GitHub's": {"gitea", func() (http.Header, string) {
			h, b := hub("Gitea", "push", "", push("o/r"))
			h.Del("X-Gitea-Signature")
			h.Set("X-Hub-Signature", "x")
			return h, b
		}, 401, nil},

		"GitLab push": {"gitlab", func() (http.Header, string) {
			return lab("Push Hook", `{"ref": "refs/heads/main", "before": "`+otherCommit+`", "after": "`+someCommit+`", `+project+`}`)
		}, 202, []Event{{Kind: Push, Branch: "main", Commit: someCommit, Before: otherCommit}}},
		"GitLab delete": {"gitlab", func() (http.Header, string) {
			return lab("Push Hook", `{"ref": "refs/heads/fix", "before": "`+otherCommit+`", "after": "`+noCommit+`", `+project+`}`)
		}, 202, []Event{{Kind: Push, Branch: "fix", Before: otherCommit, Deleted: true}}},
		"GitLab merge": {"gitlab", func() (http.Header, string) { return lab("Merge Request Hook", fmt.Sprintf(merge, "merge", 7)) }, 202, []Event{{Kind: Pull, Branch: "main", Commit: someCommit, Number: 12, Author: "ann", Action: Closed, Merged: true}}},
		"GitLab fork":  {"gitlab", func() (http.Header, string) { return lab("Merge Request Hook", fmt.Sprintf(merge, "open", 8)) }, 202, []Event{{Kind: Pull, Branch: "main", Commit: someCommit, Number: 12, Author: "ann", Action: Opened, Fork: true}}},
		"GitLab tag":   {"gitlab", func() (http.Header, string) { return lab("Tag Push Hook", `{`+project+`}`) }, 202, nil},
		"GitLab other token": {"gitlab", func() (http.Header, string) {
			h, b := lab("Push Hook", `{}`)
			h.Set("X-Gitlab-Token", otherSecret)
			return h, b
		}, 401, nil},
		"GitLab part of it": {"gitlab", func() (http.Header, string) {
			h, b := lab("Push Hook", `{}`)
			h.Set("X-Gitlab-Token", theSecret[:20])
			return h, b
		}, 401, nil},
		"GitLab no token": {"gitlab", func() (http.Header, string) { h, b := lab("Push Hook", `{}`); h.Del("X-Gitlab-Token"); return h, b }, 401, nil},
		"GitLab other project": {"gitlab", func() (http.Header, string) {
			return lab("Push Hook", `{"ref": "refs/heads/main", "after": "`+someCommit+`", "project": {"path_with_namespace": "o/x"}}`)
		}, 202, nil},

		"generic push": {"generic", func() (http.Header, string) {
			return generic(`{"event": "push", "delivery": "1", "repository": "o/r", "branch": "main"}`)
		}, 202, []Event{{Kind: Push, Branch: "main"}}},
		"generic ping": {"generic", func() (http.Header, string) {
			return generic(`{"event": "ping", "delivery": "2", "repository": "o/r"}`)
		}, 202, []Event{{Kind: Ping}}},
		"generic delivery": {"generic", func() (http.Header, string) {
			return generic(`{"event": "push", "repository": "o/r", "branch": "main"}`)
		}, 400, nil},
		"generic unknown": {"generic", func() (http.Header, string) {
			return generic(`{"event": "dance", "delivery": "3", "repository": "o/r"}`)
		}, 202, nil},
		"generic no branch": {"generic", func() (http.Header, string) {
			return generic(`{"event": "push", "delivery": "4", "repository": "o/r"}`)
		}, 400, nil},
		"generic bad commit": {"generic", func() (http.Header, string) {
			return generic(`{"event": "push", "delivery": "5", "repository": "o/r", "branch": "main", "commit": "main"}`)
		}, 400, nil},
		"generic forged": {"generic", func() (http.Header, string) { h, b := generic(`{}`); return h, b + " " }, 401, nil},
	} {
		t.Run(name, func(t *testing.T) {
			header, body := c.make()
			header.Set("Content-Type", "application/json; charset=utf-8")
			req := httptest.NewRequest(http.MethodPost, "/"+c.kind, strings.NewReader(body))
			req.Header = header
			for i := range c.want {
				c.want[i].Source, c.want[i].Forge, c.want[i].Repository = c.kind, c.kind, "o/r"
			}
			h := hear(t, c.kind)
			h.want(req, c.code, c.want...)
			again := httptest.NewRequest(http.MethodPost, "/"+c.kind, strings.NewReader(body))
			again.Header = header
			h.want(again, c.code) // at most once
		})
	}
}

func TestTheSenderBehindProxies(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/24")}
	for _, c := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:99", "", "192.0.2.1"},
		{"192.0.2.1:99", "198.51.100.7", "192.0.2.1"}, // nobody asked it
		{"127.0.0.1:99", "198.51.100.7", "198.51.100.7"},
		{"127.0.0.1:99", "203.0.113.9, 198.51.100.7", "198.51.100.7"},
		{"127.0.0.1:99", "203.0.113.9, 198.51.100.7, 10.0.0.3", "198.51.100.7"},
		{"127.0.0.1:99", "x, ;", "127.0.0.1"},
		{"127.0.0.1:99", "", "127.0.0.1"},
		{"[::ffff:192.0.2.1]:99", "", "192.0.2.1"},
		{"[2001:db8:1:2:3:4:5:6]:99", "", "2001:db8:1:2::"},
		{"@", "", "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := sender(r, trusted).String(); got != c.want {
			t.Errorf("%s forwarded for %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

func fuzz(f *testing.F, parse func(http.Header, []byte) (said, error), header string, events ...string) {
	for _, event := range events {
		f.Add(event, []byte(push("o/r")))
		f.Add(event, []byte(pull("opened", "")))
		f.Add(event, []byte(`{"event": "push", "delivery": "1", "repository": "o/r", "branch": "main"}`))
		f.Add(event, []byte(`{"object_attributes": {"iid": 1, "action": "open", "target_branch": "main", "last_commit": null}, "project": null}`))
	}
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		h := http.Header{}
		h.Set(header, event)
		if s, err := parse(h, body); err == nil {
			checkFields(t, s.Event)
		}
	})
}

func FuzzGitHub(f *testing.F) {
	fuzz(f, parseGitHub, "X-GitHub-Event", "push", "pull_request", "merge_group", "delete", "ping")
}
func FuzzGitea(f *testing.F) { fuzz(f, parseGitea, "X-Gitea-Event", "push", "pull_request", "delete") }
func FuzzGitLab(f *testing.F) {
	fuzz(f, parseGitLab, "X-Gitlab-Event", "Push Hook", "Merge Request Hook")
}
func FuzzGeneric(f *testing.F) { fuzz(f, parseGeneric, "X-A", "") }

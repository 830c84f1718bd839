package forge

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	headCommit  = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
	otherCommit = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
	theToken    = "ghs_thisIsTheTokenOfTheTest"
	appID       = 4711
	theHook     = "https://pomona.example.org/-/webhooks/github"
)

type object = map[string]any

// fake is a GitHub: small, but each of its answers is as GitHub describes its own.
type fake struct {
	t       testing.TB
	d       *description
	server  *httptest.Server
	before  func(w http.ResponseWriter, r *http.Request) bool // may answer in GitHub's place
	held    bool                                              // requests and answers are held to the description
	mu      sync.Mutex
	asked   []string // method and path of each request
	reads   int      // answers that were not 304
	token   string
	nextID  int64
	pulls   []object
	comment map[string][]object // by number
	status  map[string][]object // by commit, newest first
	checks  []object
	deploys []object // newest first
	deploy  map[string][]object
	hooks   []object
	sent    []object // deliveries, newest first
	again   []string
	now     time.Time
	slept   []time.Duration
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{t: t, d: describe(t), held: true, token: theToken, nextID: 1000, comment: map[string][]object{}, status: map[string][]object{}, deploy: map[string][]object{}, now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
	held := f.d.hold(f.routes(), func(format string, args ...any) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.held {
			t.Errorf(format, args...)
		}
	})
	f.server = httptest.NewUnstartedServer(http.StripPrefix("/api/v3", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // as GitHub Enterprise
		f.mu.Lock()
		f.asked = append(f.asked, r.Method+" "+r.URL.Path)
		before, token := f.before, f.token
		f.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		if r.Header.Get("Authorization") != "Bearer "+token {
			answer(w, 401, object{"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"})
			return
		}
		held.ServeHTTP(w, r)
	})))
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	return f
}

// options reach the fake, with a clock that only sleeping moves.
func (f *fake) options() Options {
	return Options{
		API: f.server.URL, Repository: "octocat/Hello-World", Branch: "main", Site: "demo", Hook: theHook,
		Token: TokenFunc(func(context.Context) (string, error) { return theToken, nil }), TLS: f.trust(),
		Now: func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.now },
		Sleep: func(ctx context.Context, d time.Duration) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.now, f.slept = f.now.Add(d), append(f.slept, d)
			return ctx.Err()
		},
	}
}

func (f *fake) trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(f.server.Certificate())
	return &tls.Config{RootCAs: pool, ServerName: "example.com"}
}

// github is a GitHub that talks to the fake, as an App or with a user's token.
func (f *fake) github(change ...func(*Options)) *GitHub {
	f.t.Helper()
	o := f.options()
	for _, c := range change {
		c(&o)
	}
	g, err := NewGitHub(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return g
}

func asApp(o *Options) { o.App = &App{ID: appID, Proof: o.Token} }

func answer(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(b) // the client may have gone
}

func refuse(w http.ResponseWriter, code int, message string) {
	answer(w, code, object{"message": message, "documentation_url": "https://docs.github.com/rest"})
}

// page answers one page of a list, with links to the next as GitHub writes them.
func (f *fake) page(w http.ResponseWriter, r *http.Request, wrap func([]object) any, all []object) {
	q := r.URL.Query()
	size, _ := strconv.Atoi(q.Get("per_page"))
	if size == 0 {
		size = 30
	}
	size = min(size, 100)
	page, _ := strconv.Atoi(q.Get("page"))
	page = max(page, 1)
	from, to := min((page-1)*size, len(all)), min(page*size, len(all))
	if to < len(all) {
		q.Set("page", strconv.Itoa(page+1))
		w.Header().Set("Link", fmt.Sprintf(`<https://%s%s?%s>; rel="next"`, r.Host, r.URL.Path, q.Encode()))
	}
	var v any = append([]object{}, all[from:to]...)
	if wrap != nil {
		v = wrap(append([]object{}, all[from:to]...))
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(b)
	etag := `W/"` + hex.EncodeToString(sum[:]) + `"`
	w.Header().Set("ETag", etag)
	w.Header().Set("X-RateLimit-Remaining", "4999")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(304)
		return
	}
	f.reads++
	answer(w, 200, v)
}

// read is the body of a request.
func read(r *http.Request) object {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	var v object
	if err := json.Unmarshal(b, &v); err != nil {
		panic(err)
	}
	return v
}

func (f *fake) id() int64 { f.nextID++; return f.nextID }

func (f *fake) routes() http.Handler {
	mux := http.NewServeMux()
	on := func(pattern string, h func(w http.ResponseWriter, r *http.Request)) {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.Replace(path, "REPO", "/repos/octocat/Hello-World", 1)
		mux.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			h(w, r)
		})
	}
	on("GET /user", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, f.d.like("private-user-response-with-public-and-private-profile-information", object{"login": "pomona", "user_view_type": "private"}))
	})
	on("GET /app", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, f.d.like("integration", object{"id": appID, "slug": "pomona-app"}))
	})
	on("GET REPO", func(w http.ResponseWriter, _ *http.Request) {
		repository := f.d.like("full-repository-default-response", object{"language": "CUE"})
		delete(repository, "source") // not as GitHub describes it itself
		delete(repository, "parent")
		answer(w, 200, repository)
	})
	f.pullRoutes(on)
	f.statusRoutes(on)
	f.checkRoutes(on)
	f.deploymentRoutes(on)
	f.hookRoutes(on)
	return mux
}

type on = func(string, func(http.ResponseWriter, *http.Request))

func (f *fake) pullRoutes(on on) {
	on("GET REPO/pulls", func(w http.ResponseWriter, r *http.Request) {
		q, found := r.URL.Query(), []object{}
		for _, p := range f.pulls {
			head := p["head"].(object)
			if q.Get("state") == p["state"] && q.Get("base") == p["base"].(object)["ref"] && (q.Get("head") == "" || q.Get("head") == "octocat:"+head["ref"].(string)) {
				found = append(found, p)
			}
		}
		f.page(w, r, nil, found)
	})
	on("POST REPO/pulls", func(w http.ResponseWriter, r *http.Request) {
		b := read(r)
		f.addPull(len(f.pulls)+1, object{"title": b["title"], "body": b["body"]}, b["head"].(string), b["base"].(string))
		answer(w, 201, f.d.like("pull-request", object{"requested_teams": []any{}, "title": b["title"], "html_url": f.pulls[len(f.pulls)-1]["html_url"]}))
	})
	on("PATCH REPO/pulls/{n}", func(w http.ResponseWriter, r *http.Request) {
		b := read(r)
		for _, p := range f.pulls {
			if fmt.Sprint(p["number"]) == r.PathValue("n") {
				p["title"], p["body"] = b["title"], b["body"]
				answer(w, 200, f.d.like("pull-request", object{"requested_teams": []any{}, "title": b["title"], "html_url": p["html_url"]}))
				return
			}
		}
		refuse(w, 404, "Not Found")
	})
	on("GET REPO/issues/{n}/comments", func(w http.ResponseWriter, r *http.Request) {
		f.page(w, r, nil, f.comment[r.PathValue("n")])
	})
	on("POST REPO/issues/{n}/comments", func(w http.ResponseWriter, r *http.Request) {
		c := f.addComment(r.PathValue("n"), f.me(), read(r)["body"].(string))
		answer(w, 201, c)
	})
	on("PATCH REPO/issues/comments/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, cs := range f.comment {
			for _, c := range cs {
				if fmt.Sprint(c["id"]) == r.PathValue("id") {
					c["body"] = read(r)["body"]
					answer(w, 200, c)
					return
				}
			}
		}
		refuse(w, 404, "Not Found")
	})
}

// me is who writes comments: the App if it has asked for itself.
func (f *fake) me() string {
	for _, a := range f.asked {
		if a == "GET /app" {
			return "pomona-app[bot]"
		}
	}
	return "pomona"
}

func (f *fake) addPull(number int, changes object, head, base string) object {
	changes["number"], changes["state"], changes["requested_teams"] = number, "open", []any{}
	changes["html_url"] = fmt.Sprintf("https://github.com/octocat/Hello-World/pull/%d", number)
	p := f.d.like("pull-request-simple-items", changes)
	p["head"].(object)["ref"], p["head"].(object)["sha"] = head, headCommit
	p["base"].(object)["ref"] = base
	f.pulls = append(f.pulls, p)
	return p
}

func (f *fake) addComment(number, login, body string) object {
	c := f.d.like("issue-comment-items", object{"id": f.id(), "body": body})
	c["user"].(object)["login"] = login
	f.comment[number] = append(f.comment[number], c)
	return c
}

func (f *fake) statusRoutes(on on) {
	on("GET REPO/commits/{sha}/status", func(w http.ResponseWriter, r *http.Request) {
		seen, newest := map[any]bool{}, []object{}
		for _, s := range f.status[r.PathValue("sha")] {
			if !seen[s["context"]] {
				newest = append(newest, s)
			}
			seen[s["context"]] = true
		}
		f.page(w, r, func(s []object) any {
			return f.d.like("combined-commit-status", object{"sha": r.PathValue("sha"), "statuses": s, "total_count": len(newest)})
		}, newest)
	})
	on("POST REPO/statuses/{sha}", func(w http.ResponseWriter, r *http.Request) {
		b, sha := read(r), r.PathValue("sha")
		same := 0
		for _, s := range f.status[sha] {
			if s["context"] == b["context"] {
				same++
			}
		}
		if text, _ := b["description"].(string); len([]rune(text)) > 140 {
			refuse(w, 422, "Validation Failed: description is too long")
			return
		}
		if same >= maxStatuses {
			answer(w, 422, object{"message": "Validation Failed", "errors": []object{{"resource": "Status", "code": "custom", "message": "This SHA and context has reached the maximum number of statuses."}}})
			return
		}
		answer(w, 201, f.addStatus(sha, b))
	})
}

func (f *fake) addStatus(sha string, changes object) object {
	if _, ok := changes["target_url"]; !ok {
		changes["target_url"] = nil
	}
	s := f.d.like("status", changes)
	s["id"] = f.id()
	simple := f.d.like("combined-commit-status", nil)["statuses"].([]any)[0].(object)
	for _, k := range []string{"state", "description", "context", "target_url", "id"} {
		simple[k] = s[k]
	}
	f.status[sha] = append([]object{simple}, f.status[sha]...)
	return s
}

func (f *fake) checkRoutes(on on) {
	on("GET REPO/commits/{sha}/check-runs", func(w http.ResponseWriter, r *http.Request) {
		found := []object{}
		for _, c := range f.checks {
			if c["head_sha"] == r.PathValue("sha") && c["name"] == r.URL.Query().Get("check_name") {
				found = append(found, c)
			}
		}
		f.page(w, r, func(cs []object) any { return object{"total_count": len(found), "check_runs": cs} }, found)
	})
	on("POST REPO/check-runs", func(w http.ResponseWriter, r *http.Request) {
		b := read(r)
		c := f.d.like("check-run-example-of-in-progress-conclusion", object{"id": f.id(), "name": b["name"], "head_sha": b["head_sha"], "conclusion": nil, "external_id": ""})
		c["app"].(object)["id"] = appID
		c["output"] = object{"title": nil, "summary": nil, "text": nil, "annotations_count": 0, "annotations_url": "https://api.github.com/annotations"}
		f.checks = append(f.checks, c)
		f.change(w, c, b, 201)
	})
	on("PATCH REPO/check-runs/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, c := range f.checks {
			if fmt.Sprint(c["id"]) == r.PathValue("id") {
				f.change(w, c, read(r), 200)
				return
			}
		}
		refuse(w, 404, "Not Found")
	})
}

// annotations of each run, by its id.
var annotationsKey = "annotations of the fake"

func (f *fake) change(w http.ResponseWriter, run, b object, code int) {
	for _, k := range []string{"status", "conclusion", "external_id", "details_url"} {
		if v, ok := b[k]; ok {
			run[k] = v
		}
	}
	if out, ok := b["output"].(object); ok {
		all, _ := run[annotationsKey].([]any)
		more, _ := out["annotations"].([]any)
		if len(more) > 50 {
			refuse(w, 422, "No more than 50 annotations")
			return
		}
		all = append(all, more...)
		run[annotationsKey] = all
		run["output"] = object{"title": out["title"], "summary": out["summary"], "text": out["text"], "annotations_count": len(all), "annotations_url": "https://api.github.com/annotations"}
	}
	answer(w, code, run)
}

func (f *fake) deploymentRoutes(on on) {
	on("GET REPO/deployments", func(w http.ResponseWriter, r *http.Request) {
		found := []object{}
		for _, d := range f.deploys {
			if d["environment"] == r.URL.Query().Get("environment") {
				found = append(found, d)
			}
		}
		f.page(w, r, nil, found)
	})
	on("POST REPO/deployments", func(w http.ResponseWriter, r *http.Request) {
		b := read(r)
		if b["auto_merge"] != false {
			answer(w, 202, object{"message": "Auto-merged master into topic-branch on deployment."})
			return
		}
		if contexts, ok := b["required_contexts"].([]any); !ok || len(contexts) > 0 {
			answer(w, 409, object{"message": "Conflict: Commit status checks failed."})
			return
		}
		d := f.d.like("deployment-simple-example", object{"id": f.id(), "sha": b["ref"], "environment": b["environment"], "production_environment": b["production_environment"]})
		f.deploys = append([]object{d}, f.deploys...)
		answer(w, 201, d)
	})
	on("GET REPO/deployments/{id}/statuses", func(w http.ResponseWriter, r *http.Request) {
		f.page(w, r, nil, f.deploy[r.PathValue("id")])
	})
	on("POST REPO/deployments/{id}/statuses", func(w http.ResponseWriter, r *http.Request) {
		s := f.d.like("deployment-status", read(r))
		f.deploy[r.PathValue("id")] = append([]object{s}, f.deploy[r.PathValue("id")]...)
		answer(w, 201, s)
	})
}

func (f *fake) hookRoutes(on on) {
	on("GET REPO/hooks", func(w http.ResponseWriter, r *http.Request) { f.page(w, r, nil, f.hooks) })
	list := func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		from, _ := strconv.Atoi(strings.TrimPrefix(q.Get("cursor"), "v1_"))
		to := min(from+100, len(f.sent))
		if to < len(f.sent) {
			q.Set("cursor", fmt.Sprintf("v1_%d", to))
			w.Header().Set("Link", fmt.Sprintf(`<https://%s%s?%s>; rel="next"`, r.Host, r.URL.Path, q.Encode()))
		}
		answer(w, 200, append([]object{}, f.sent[from:to]...))
	}
	again := func(w http.ResponseWriter, r *http.Request) {
		f.again = append(f.again, r.PathValue("d"))
		answer(w, 202, object{})
	}
	on("GET REPO/hooks/{id}/deliveries", list)
	on("POST REPO/hooks/{id}/deliveries/{d}/attempts", again)
	on("GET /app/hook/deliveries", list)
	on("POST /app/hook/deliveries/{d}/attempts", again)
}

func (f *fake) addHook(url string) {
	h := f.d.like("hook-items", object{"id": f.id()})
	h["config"].(object)["url"] = url
	f.hooks = append(f.hooks, h)
}

// times counts requests of a method to paths that end so.
func (f *fake) times(method, suffix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, a := range f.asked {
		if strings.HasPrefix(a, method+" ") && strings.HasSuffix(a, suffix) {
			n++
		}
	}
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError holds an error to a kind.
func wantError[E error](t testing.TB, err error, text string) {
	t.Helper()
	var kind E
	if !errors.As(err, &kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v (%T), want one with %q", err, err, text)
	}
	if err != nil && strings.Contains(err.Error(), theToken) {
		t.Errorf("the error tells the token: %v", err)
	}
}

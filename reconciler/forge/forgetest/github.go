// Package forgetest has forges to test against, with everything that they were told for a test to read.
package forgetest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// What a forge of this package knows.
const (
	HeadCommit   = "6dcb09b5b57875f334f61aebed695e2e4193db5e" // of every branch, unless Options.Head says another
	Token        = "ghs_thisIsTheTokenOfTheTest"
	AppID        = 4711
	RepositoryID = 1296269
	MaxStatuses  = 1000 // of one commit and context
)

// Object is a JSON object.
type Object = map[string]any

// Options say which repository a forge has. The zero value is octocat/Hello-World, served with a certificate for example.com.
type Options struct {
	Repository  string // OWNER/NAME
	Certificate *tls.Certificate
	Head        func(branch string) string // commit of a branch that a pull request is opened for
	AppKey      *rsa.PublicKey             // whose other half the App proves itself with; nil: by Token
}

// GitHub is a GitHub Enterprise: small, but each of its answers is as GitHub describes its own, and each request is held to
// that description too. Its fields are read and changed while nobody asks it; the methods lock.
type GitHub struct {
	*httptest.Server
	Before func(w http.ResponseWriter, r *http.Request) bool // may answer in GitHub's place
	Held   bool                                              // requests and answers are held to the description
	Asked  []string                                          // method and path of each request
	Reads  int                                               // lists that were sent, because they had changed
	Token  string

	Pulls              []Object
	Comments           map[string][]Object // by number
	Reviews            map[int][]Object    // likewise, oldest first
	Permissions        map[string]string   // by login: admin, write, read, none
	Brought            map[string][]int    // pull requests by commit that they brought
	Statuses           map[string][]Object // by commit, newest first
	Checks             []Object
	Deployments        []Object // newest first
	DeploymentStatuses map[string][]Object
	Hooks              []Object
	Sent               []Object // deliveries, newest first
	Again              []string // deliveries that were asked for again

	t       testing.TB
	options Options
	d       *description
	mu      sync.Mutex
	nextID  int64
	annots  map[string][]any // of check runs, by id
	secrets map[string]string
	bodies  map[string][]byte // of deliveries, by guid
}

// NewGitHub is a GitHub until the test ends. Without its description the test is skipped, or fails in CI.
func NewGitHub(t testing.TB, o Options) *GitHub {
	t.Helper()
	f := &GitHub{
		t: t, options: defaults(o), d: describe(t), Held: true, Token: Token, nextID: 1000,
		Comments: map[string][]Object{}, Reviews: map[int][]Object{}, Brought: map[string][]int{}, Permissions: map[string]string{}, Statuses: map[string][]Object{}, DeploymentStatuses: map[string][]Object{},
		annots: map[string][]any{}, secrets: map[string]string{}, bodies: map[string][]byte{},
	}
	held := f.d.hold(f.routes(), func(format string, args ...any) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.Held {
			t.Errorf(format, args...)
		}
	})
	f.Server = serve(t, f.options, http.StripPrefix("/api/v3", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.Asked = append(f.Asked, r.Method+" "+r.URL.Path)
		before, known := f.Before, f.knows(r)
		f.mu.Unlock()
		switch {
		case before != nil && before(w, r):
		case !known:
			Answer(w, 401, Object{"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"})
		default:
			held.ServeHTTP(w, r)
		}
	})))
	return f
}

func defaults(o Options) Options {
	if o.Repository == "" {
		o.Repository = "octocat/Hello-World"
	}
	if o.Head == nil {
		o.Head = func(string) string { return HeadCommit }
	}
	return o
}

func serve(t testing.TB, o Options, h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if o.Certificate != nil {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*o.Certificate}}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// knows says whether a request proves who asks: what is the App's own, the App by its key, everything else a token.
func (f *GitHub) knows(r *http.Request) bool {
	said := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if own := strings.HasPrefix(r.URL.Path, "/app") || strings.HasSuffix(r.URL.Path, "/installation"); own && f.options.AppKey != nil {
		return provenBy(f.options.AppKey, said)
	}
	return said == f.Token
}

// provenBy says whether an App's key has signed a JSON web token of that App.
func provenBy(key *rsa.PublicKey, token string) bool {
	text, signature, _ := cutLast(token, ".")
	_, claims, _ := strings.Cut(text, ".")
	raw, err1 := base64.RawURLEncoding.DecodeString(signature)
	body, err2 := base64.RawURLEncoding.DecodeString(claims)
	var said struct {
		Issuer string `json:"iss"`
	}
	sum := sha256.Sum256([]byte(text))
	return err1 == nil && err2 == nil && json.Unmarshal(body, &said) == nil && said.Issuer == strconv.Itoa(AppID) &&
		rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], raw) == nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Answer sends JSON.
func Answer(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(b) // the client may have gone
}

// Refuse sends an error as GitHub does.
func Refuse(w http.ResponseWriter, code int, message string) {
	Answer(w, code, Object{"message": message, "documentation_url": "https://docs.github.com/rest"})
}

// page answers one page of a list, with links to the next as GitHub writes them.
func (f *GitHub) page(w http.ResponseWriter, r *http.Request, wrap func([]Object) any, all []Object) {
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
	part := append([]Object{}, all[from:to]...)
	var v any = part
	if wrap != nil {
		v = wrap(part)
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
	f.Reads++
	Answer(w, 200, v)
}

// read is the body of a request.
func read(r *http.Request) Object {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	var v Object
	if err := json.Unmarshal(b, &v); err != nil {
		panic(err)
	}
	return v
}

func (f *GitHub) id() int64 { f.nextID++; return f.nextID }

type on = func(string, func(http.ResponseWriter, *http.Request))

func (f *GitHub) routes() http.Handler {
	mux := http.NewServeMux()
	on := func(pattern string, h func(w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc(strings.Replace(pattern, "REPO", "/repos/"+f.options.Repository, 1), func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			h(w, r)
		})
	}
	on("GET /user", func(w http.ResponseWriter, _ *http.Request) {
		Answer(w, 200, f.d.like("private-user-response-with-public-and-private-profile-information", Object{"login": "pomona", "user_view_type": "private"}))
	})
	on("GET REPO", func(w http.ResponseWriter, _ *http.Request) {
		repository := f.d.like("full-repository-default-response", Object{"language": "CUE", "id": RepositoryID})
		delete(repository, "source") // not as GitHub describes it itself
		delete(repository, "parent")
		Answer(w, 200, repository)
	})
	f.appRoutes(on)
	f.pullRoutes(on)
	f.statusRoutes(on)
	f.checkRoutes(on)
	f.deploymentRoutes(on)
	f.hookRoutes(on)
	return mux
}

func (f *GitHub) appRoutes(on on) {
	on("GET /app", func(w http.ResponseWriter, _ *http.Request) {
		Answer(w, 200, f.d.like("integration", Object{"id": AppID, "slug": "pomona-app"}))
	})
	on("GET REPO/installation", func(w http.ResponseWriter, _ *http.Request) {
		Answer(w, 200, f.d.like("installation", Object{"id": 42, "app_id": AppID}))
	})
	on("POST /app/installations/{id}/access_tokens", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "42" {
			Refuse(w, 404, "Not Found")
			return
		}
		Answer(w, 201, f.d.like("installation-token", Object{"token": f.Token, "expires_at": "2099-07-11T22:14:10Z"}))
	})
}

// me is who writes comments: the App if it has asked for itself.
func (f *GitHub) me() string {
	if slices.Contains(f.Asked, "GET /app") {
		return "pomona-app[bot]"
	}
	return "pomona"
}

// Times counts requests of a method to paths that end so.
func (f *GitHub) Times(method, suffix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, a := range f.Asked {
		if strings.HasPrefix(a, method+" ") && strings.HasSuffix(a, suffix) {
			n++
		}
	}
	return n
}

// Do changes fields while others ask.
func (f *GitHub) Do(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func text(v any) string { s, _ := v.(string); return s }

package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/forge/forgetest"
)

// reviewed is a world whose repository lies at a forge: bare, served by git's own program, with pull requests and a webhook.
type reviewed struct {
	world
	bare   string // the repository at the forge
	remote string // its address
	hub    *forgetest.GitHub
	app    bool // Pomona is a GitHub App there
	file   string
	listen string
	hears  string
	admin  string
	pages  string          // where people look; empty: nowhere
	key    *rsa.PrivateKey // of the App
	*service
}

// newReviewed has the repository of a new world at a GitHub. Nothing is served yet.
func newReviewed(t *testing.T, app bool) *reviewed {
	t.Helper()
	a, w := trusted, newWorld(t)
	r := &reviewed{world: w, app: app, bare: filepath.Join(w.dir, "git", "controls", "site.git"), file: filepath.Join(w.dir, "pomona.cue"), listen: freeAddress(t), hears: freeAddress(t), admin: freeAddress(t)}
	git(t, w.dir, "clone", "-q", "--bare", w.site, r.bare)
	h := gitBackend(t, filepath.Join(w.dir, "git"))
	if app { // its token is good for git too
		h = onlyApp(h)
	}
	r.remote = a.server(t, h.ServeHTTP).URL + "/controls/site.git"
	o := forgetest.Options{Repository: "controls/site", Certificate: &a.tls, Head: func(branch string) string { return git(t, r.bare, "rev-parse", branch) }}
	key := []byte(forgetest.Token)
	if app {
		var err error
		if r.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			t.Fatal(err)
		}
		o.AppKey = &r.key.PublicKey
		key = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(r.key)})
	}
	r.hub = forgetest.NewGitHub(t, o)
	r.hub.AddHook("http://"+r.hears+"/acc/forge", hookSecret)
	r.secret("forge", string(key))
	r.secret("hook", hookSecret)
	return r
}

// onlyApp lets those in who have a token of the App's installation, as GitHub does.
func onlyApp(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if user, password, ok := req.BasicAuth(); !ok || user != "x-access-token" || password != forgetest.Token {
			w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, req)
	}
}

func (r *reviewed) path(name string) string { return filepath.Join(r.world.dir, name) }

func (r *reviewed) secret(name, content string) {
	r.world.t.Helper()
	if err := os.WriteFile(r.path(name), []byte(content), 0o600); err != nil {
		r.world.t.Fatal(err)
	}
}

// serve starts the service, with more in the configuration of its site and of its forge. It ends with the test.
func (r *reviewed) serve(site, forge string) {
	t := r.world.t
	t.Helper()
	by := fmt.Sprintf("token: %q", r.path("forge"))
	if r.app {
		by = fmt.Sprintf("app: {id: %d, key: %q}", forgetest.AppID, r.path("forge"))
	}
	pages := ""
	if r.pages != "" {
		pages = fmt.Sprintf("pages: {listen: %q, url: %q}\n", r.pages, "http://"+r.pages+"/")
	}
	content := pages + fmt.Sprintf(`admin: %q
webhooks: %q
sites: acc: {
	root: %q
	listen: %q
	repository: url: %q
	keys: [%q]
	webhooks: forge: {kind: "github", secrets: [%q]}
	forge: {kind: "github", repository: "controls/site", api: %q, %s
%s
	}
%s
}
`, r.admin, r.hears, r.root, r.listen, r.remote, r.path("key.sec"), r.path("hook"), r.hub.URL, by, forge, site)
	if err := os.WriteFile(r.file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	r.service = serveFile(t, r.file)
	eventually(t, "the service hears webhooks and is watched", func() bool {
		return get("http://"+r.admin+"/healthz") == 200 && get("http://"+r.hears+"/acc/forge") == http.StatusMethodNotAllowed
	})
	t.Cleanup(func() {
		if r.service != nil {
			r.stop(syscall.SIGTERM)
		}
	})
}

// stop ends the service.
func (r *reviewed) stop(signal syscall.Signal) {
	r.world.t.Helper()
	err := r.service.end(signal)
	if signal == syscall.SIGTERM && err != nil {
		r.world.t.Errorf("pomona serve ends with %v:\n%s", err, r.service.log())
	}
	r.service = nil
}

// push brings the world's commit to the forge's main branch, and says which it is. The webhook is not told.
func (r *reviewed) push() (commit string) {
	r.world.t.Helper()
	git(r.world.t, r.site, "push", "-q", r.bare, "HEAD:main")
	return git(r.world.t, r.site, "rev-parse", "HEAD")
}

// merge commits a note and pushes it; the webhook is told.
func (r *reviewed) merge(text string) (commit string) {
	r.world.t.Helper()
	before := git(r.world.t, r.site, "rev-parse", "HEAD")
	r.note(text)
	commit = r.push()
	if code := r.hub.Push("main", before, commit); code != http.StatusAccepted {
		r.world.t.Errorf("the webhook answers %d", code)
	}
	return commit
}

// statuses are the texts of a commit's statuses of the site, the newest first.
func (r *reviewed) statuses(commit string) (texts []string) {
	for _, s := range r.hub.StatusesOf(commit) {
		if s.Context == "pomona/acc" {
			texts = append(texts, s.State+": "+s.Text)
		}
	}
	return texts
}

// says waits until the newest status of a commit starts so.
func (r *reviewed) says(commit, want string) {
	r.world.t.Helper()
	eventually(r.world.t, fmt.Sprintf("commit %.12s gets a status %q", commit, want), func() bool {
		texts := r.statuses(commit)
		return len(texts) > 0 && strings.HasPrefix(texts[0], want)
	})
}

// metric is the value of a metric of the site acc, as it is written.
func (r *reviewed) metric(name string) string {
	r.world.t.Helper()
	for line := range strings.Lines(string(download(r.world.t, "http://"+r.admin+"/metrics"))) {
		if rest, ok := strings.CutPrefix(line, name); ok && strings.Contains(rest, `site="acc"`) {
			return rest[strings.LastIndexByte(rest, ' ')+1 : len(rest)-1]
		}
	}
	return ""
}

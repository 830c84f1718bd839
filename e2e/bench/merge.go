package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/e2e/bench/site"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const (
	mergeFECs = 2000
	merges    = 100
	hookFile  = "hook"
	hookToken = "the secret of the benchmark"
)

// forge is a git server with one bare repository, a service that follows it, and what the service's configuration names.
type forge struct {
	url     string // of the repository, over HTTPS
	bare    string // the same as a folder
	ca      string // file of the server's certificate
	root    string // of the service
	serves  string // address for FECs
	hears   string // address for webhooks
	log     string // file
	n       int    // FECs of the site
	commits int    // made so far
	server  *httptest.Server
	service *exec.Cmd
}

// merge measures a service that follows a git server over smart HTTP: what a look at a branch that has not moved takes beside
// git ls-remote, and how long a merge of one FEC is on its way, from the webhook's delivery until the FEC's new manifest is
// served.
func (b *bench) merge(ctx context.Context) error {
	f, err := b.forge(ctx, mergeFECs)
	if f != nil {
		defer f.close()
	}
	if err != nil {
		return err
	}
	if err := b.looks(ctx, f); err != nil {
		return err
	}
	var took []float64
	for range merges {
		ms, err := f.merge(ctx)
		if err != nil {
			return err
		}
		took = append(took, ms)
		time.Sleep(200 * time.Millisecond) // what comes after a publication is done
	}
	slices.Sort(took)
	b.table.count(fmt.Sprintf("merge to served, one FEC of %d, git over HTTPS, median of %d", f.n, merges), median(took), "ms", 300)
	b.table.count("98 of 100 of those", took[merges*98/100-1], "ms", 1000)
	return nil
}

// looks compares a pass that finds nothing to do, of a service whose repository is another host's, with git ls-remote.
func (b *bench) looks(ctx context.Context, f *forge) error {
	served, err := os.OpenRoot(f.root)
	if err != nil {
		return err
	}
	defer served.Close() // only read
	ours, peer, err := b.both(4*b.runs, func() (usage, error) { return kick(ctx, served) }, func() (usage, error) {
		c := exec.CommandContext(ctx, "git", "ls-remote", f.url, "refs/heads/main")
		c.Env = append(os.Environ(), "GIT_SSL_CAINFO="+f.ca)
		return measure(c)
	})
	if err != nil {
		return err
	}
	b.table.ratio(fmt.Sprintf("pass with nothing to do, git over HTTPS, %d FECs", f.n), ours.seconds*1000, peer.seconds*1000, "ms", "git ls-remote", 3, false)
	return nil
}

// forge starts a git server and a service that has published what it holds.
func (b *bench) forge(ctx context.Context, n int) (*forge, error) {
	from, err := b.site(n)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, "forge")
	f := &forge{
		bare: filepath.Join(dir, "git", "site.git"), ca: filepath.Join(dir, "ca.pem"), root: filepath.Join(dir, "root"),
		serves: "127.0.0.1:18083", hears: "127.0.0.1:18084", log: filepath.Join(dir, "log"), n: n,
	}
	if err := command("git", "clone", "-q", "--bare", from, f.bare).Run(); err != nil {
		return nil, fmt.Errorf("clone site: %w", err)
	}
	if err := f.serveGit(); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`admin: "127.0.0.1:18085"
webhooks: %q
sites: bench: {
	root:   %q
	listen: %q
	poll:   "1d"
	repository: url: %q
	keys: [%q]
	webhooks: forge: {kind: "github", secrets: [%q], repositories: ["controls/site"]}
}
`, f.hears, f.root, f.serves, f.url, filepath.Join(dir, "key.sec"), filepath.Join(dir, hookFile))
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, hookFile), []byte(hookToken), 0o600),
		os.WriteFile(filepath.Join(dir, "pomona.cue"), []byte(config), 0o644),
		command(b.pomona, "keygen", filepath.Join(dir, "key")).Run())
	if err != nil {
		return f, err
	}
	f.service = exec.CommandContext(ctx, b.pomona, "serve", "--config", filepath.Join(dir, "pomona.cue"))
	f.service.Env = append(os.Environ(), "SSL_CERT_FILE="+f.ca)
	logged, err := os.Create(f.log)
	if err != nil {
		return f, err
	}
	defer logged.Close() // the service has its own
	f.service.Stderr = logged
	if err := f.service.Start(); err != nil {
		return f, err
	}
	return f, f.published(ctx)
}

// serveGit serves the folder of the repository over smart HTTP with git's own program.
func (f *forge) serveGit() error {
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return fmt.Errorf("find git's programs: %w", err)
	}
	f.server = httptest.NewTLSServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(f.bare), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null"},
	})
	f.url = f.server.URL + "/site.git"
	return os.WriteFile(f.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw}), 0o644)
}

func (f *forge) close() {
	if f.service != nil && f.service.Process != nil {
		stop(f.service)
	}
	if f.server != nil {
		f.server.Close()
	}
}

// published waits until a first generation is served.
func (f *forge) published(ctx context.Context) error {
	for range 600 {
		if _, err := get(http.DefaultClient, "http://"+f.serves+"/index"); err == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("nothing is published within a minute")
}

// merge commits another release for one FEC, delivers the webhook and waits for the FEC's new manifest. It returns the
// milliseconds from the delivery on.
func (f *forge) merge(ctx context.Context) (ms float64, err error) {
	f.commits++
	i, revision := f.commits*37%f.n, 1+f.commits*37/f.n
	manifest := "http://" + f.serves + "/fecs/" + site.Name(i) + "/" + tree.ManifestName
	before, err := get(http.DefaultClient, manifest)
	if err != nil {
		return 0, err
	}
	from, to, err := f.commit(site.FEC(i), site.Content(f.n, i, revision))
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := f.deliver(ctx, from, to); err != nil {
		return 0, err
	}
	for time.Since(start) < 20*time.Second {
		if now, err := get(http.DefaultClient, manifest); err != nil {
			return 0, err
		} else if !bytes.Equal(now, before) {
			return float64(time.Since(start).Microseconds()) / 1000, nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	said, _ := os.ReadFile(f.log) // none says nothing
	return 0, fmt.Errorf("merge %d is not served after %s; the service says:\n%s", f.commits, time.Since(start).Round(time.Second), said[max(0, len(said)-2000):])
}

// commit adds a commit that changes one file to the repository's branch, which was at one commit and is then at the other.
func (f *forge) commit(name, content string) (from, to string, err error) {
	from, err1 := f.head()
	in := fmt.Sprintf("commit refs/heads/main\ncommitter bench <bench@example.org> %d +0000\ndata 5\nmerge\nfrom %s\nM 100644 inline %s\ndata %d\n%s\n",
		1_780_000_000+f.commits, from, name, len(content), content)
	c := command("git", "fast-import", "--quiet")
	c.Dir, c.Stdin = f.bare, strings.NewReader(in)
	err2 := c.Run()
	to, err3 := f.head()
	if err := errors.Join(err1, err2, err3); err != nil {
		return "", "", fmt.Errorf("commit: %w", err)
	}
	return from, to, nil
}

func (f *forge) head() (string, error) {
	c := command("git", "rev-parse", "refs/heads/main")
	c.Dir = f.bare
	id, err := c.Output()
	return strings.TrimSpace(string(id)), err
}

// deliver says that the branch was pushed, as GitHub does.
func (f *forge) deliver(ctx context.Context, before, after string) error {
	body := fmt.Appendf(nil, `{"ref": "refs/heads/main", "before": %q, "after": %q, "repository": {"id": 1, "full_name": "controls/site"}}`, before, after)
	mac := hmac.New(sha256.New, []byte(hookToken))
	mac.Write(body) // never fails (hash.Hash)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.hears+"/bench/forge", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Github-Event", "push")
	req.Header.Set("X-Github-Delivery", fmt.Sprint("bench-", f.commits))
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("delivery: %s", resp.Status)
	}
	return nil
}

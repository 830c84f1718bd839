package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const (
	goodToken  = "the-token-of-the-build-machine"
	otherToken = "the-token-of-somebody-else-xx"
)

// releases is a world with a build folder and a service that takes uploads.
type releases struct {
	world
	folder, tokens string // of the build; of the service
	token          string // of the client
	address        string
}

func newReleases(t *testing.T) releases {
	t.Helper()
	w := newWorld(t)
	w.mkdir(w.root)
	r := releases{world: w, folder: filepath.Join(w.dir, "out"), tokens: filepath.Join(w.dir, "tokens"), token: filepath.Join(w.dir, "token")}
	r.build("first")
	r.secret(r.tokens, "# build machines\n"+otherToken+"x\n"+goodToken+"\n")
	r.secret(r.token, goodToken+"\n")
	return r
}

func (r releases) build(content string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Join(r.folder, "bin"), 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.put(filepath.Join(r.folder, "bin/bpm-fesa"), []byte(content))
}

// large makes the build folder so large that an upload of it can be caught in the middle.
func (r releases) large(bytes int) {
	b := make([]byte, bytes)
	rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	r.build(string(b))
}

func (r releases) secret(file, content string) {
	r.t.Helper()
	if err := errors.Join(os.WriteFile(file, []byte(content), 0o600), os.Chmod(file, 0o600)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *releases) serveUploads(more ...string) (log func() string) {
	r.t.Helper()
	r.address, log = r.serve(append([]string{"--poll", never, "--upload-tokens", r.tokens}, more...)...)
	return log
}

// release runs pomona release against an address.
func (r releases) release(version, to string, more ...string) (out, errs string, code int) {
	r.t.Helper()
	args := []string{"release", "bpm-fesa", version, r.folder, "--site", r.site, "--to", "http://" + to, "--credential", to + "=" + r.token, "--cache", filepath.Join(r.dir, "cache")}
	return pomona(r.t, append(args, more...)...)
}

// refusedRelease checks that a release ends with a code and says something, and that nothing was committed.
func (r releases) refusedRelease(code int, says string, version, to string, more ...string) {
	r.t.Helper()
	before := git(r.t, r.site, "rev-parse", "HEAD")
	_, errs, got := r.release(version, to, more...)
	if got != code || !strings.Contains(errs, says) {
		r.t.Errorf("exit code %d, want %d and %q:\n%s", got, code, says, errs)
	}
	if strings.Contains(errs, goodToken) || strings.Contains(errs, otherToken) {
		r.t.Errorf("a token is shown:\n%s", errs)
	}
	if after := git(r.t, r.site, "rev-parse", "HEAD"); after != before || git(r.t, r.site, "status", "--porcelain") != "" {
		r.t.Error("the site changed")
	}
}

// blobs are the files of the blob store, and what is being written there.
func (r releases) blobs() (stored, staged []string) {
	stored, _ = filepath.Glob(filepath.Join(r.root, ".pomona/blobs/objects/sha256/*/*"))
	staged, _ = filepath.Glob(filepath.Join(r.root, ".pomona/blobs/.pomona/staging/*"))
	return stored, staged
}

// put sends a request of one's own.
func request(t *testing.T, method, url, token string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() // read whole or reported below
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// TestReleaseOverHTTP releases to a running service, which publishes it.
func TestReleaseOverHTTP(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	log := r.serveUploads()
	out, errs, code := r.release("3.2.0", r.address, "--pin", "kgp1bp01")
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	r.follows("the release is published")
	tgz := filepath.Join(r.root, "current/software/bpm-fesa/3.2.0/bpm-fesa-3.2.0.tar.gz")
	if got, err := exec.Command("tar", "-xzOf", tgz, "opt/fesa/bpm/3.2.0/bin/bpm-fesa").Output(); err != nil || string(got) != "first" {
		t.Errorf("%q is served, %v", got, err)
	}
	manifest, err := os.ReadFile(filepath.Join(r.root, "current/fecs/kgp1bp01/boot.manifest"))
	if err != nil || !bytes.Contains(manifest, []byte("3.2.0")) {
		t.Errorf("the FEC boots %s, %v", manifest, err)
	}
	if stored, staged := r.blobs(); len(stored) != 2 || len(staged) != 0 {
		t.Errorf("stored %v, staged %v", stored, staged)
	}
	if out, _, code := r.release("3.2.0", r.address); code != 0 || !strings.Contains(out, "nothing to do") {
		t.Errorf("again: exit code %d, %s", code, out)
	}
	if strings.Contains(log(), goodToken) {
		t.Error("the log holds a token")
	}
}

// TestReleaseTokens tries tokens, right and wrong, while the service's file changes.
func TestReleaseTokens(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	r.serveUploads()
	r.secret(r.token, otherToken)
	r.refusedRelease(2, "does not accept the token", "3.2.0", r.address)
	r.secret(r.tokens, otherToken+"\n")
	if _, errs, code := r.release("3.2.0", r.address); code != 0 {
		t.Errorf("a new token: exit code %d\n%s", code, errs)
	}
	r.secret(r.token, goodToken)
	r.refusedRelease(2, "does not accept the token", "3.3.0", r.address)
	r.secret(r.tokens, goodToken)
	if err := os.Chmod(r.tokens, 0o644); err != nil {
		t.Fatal(err)
	}
	r.build("second")
	r.refusedRelease(2, "does not accept the token", "3.3.0", r.address)
	r.refusedRelease(2, "there is no token for", "3.3.0", r.address, "--to", "http://localhost:1")
	r.refusedRelease(2, "in the clear", "3.3.0", "192.0.2.1:80")
	r.refusedRelease(3, "is unavailable", "3.3.0", freeAddress(t))
	// Nobody is told which blobs there are.
	stored, _ := r.blobs()
	for _, token := range []string{"", "Bearer ", "Bearer x", "Basic " + goodToken, goodToken} {
		for _, method := range []string{"PUT", "HEAD"} {
			if status, _ := request(t, method, "http://"+r.address+"/-/blobs/sha256/"+filepath.Base(stored[0]), token, nil); status != 401 {
				t.Errorf("%s with token %q: status %d", method, token, status)
			}
		}
	}
}

func TestUploadsAreOffWithoutTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address, _ := w.serve("--poll", never)
	if status, _ := request(t, "PUT", "http://"+address+"/-/blobs/sha256/"+strings.Repeat("a", 64), "Bearer x", nil); status != 404 {
		t.Errorf("status %d", status)
	}
	for content, says := range map[string]string{"": "holds no token", "short\n": "less than 16 characters"} {
		file := filepath.Join(w.dir, "tokens")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		other := filepath.Join(w.dir, "root2")
		if _, errs, code := pomona(t, "serve", w.site, "--root", other, "--upload-tokens", file, "--listen", freeAddress(t)); code != 2 || !strings.Contains(errs, says) {
			t.Errorf("exit code %d, %s", code, errs)
		}
	}
}

// TestUploadsThatAreRefused sends what must not be stored.
func TestUploadsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	log := r.serveUploads("--max-upload", "1000")
	at := "http://" + r.address + "/-/blobs/sha256/"
	name := func(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
	body := []byte("something")
	for what, c := range map[string]struct {
		name string
		body []byte
		want int
	}{
		"forged": {name([]byte("else")), body, 400}, "empty": {name([]byte("else")), nil, 400}, "malformed": {"xyz", body, 400},
		"too large": {name(bytes.Repeat(body, 200)), bytes.Repeat(body, 200), 413}, "upper case": {strings.ToUpper(name(body)), body, 400},
	} {
		if status, said := request(t, "PUT", at+c.name, "Bearer "+goodToken, c.body); status != c.want {
			t.Errorf("%s: status %d, %s", what, status, said)
		}
	}
	if status, _ := request(t, "POST", at+name(body), "Bearer "+goodToken, body); status != 405 {
		t.Errorf("POST: status %d", status)
	}
	if stored, staged := r.blobs(); len(stored)+len(staged) != 0 {
		t.Errorf("stored %v, staged %v\n%s", stored, staged, log())
	}
	for range 2 {
		if status, _ := request(t, "PUT", at+name(body), "Bearer "+goodToken, body); status/100 != 2 {
			t.Errorf("a good one: status %d", status)
		}
	}
	if status, _ := request(t, "HEAD", at+name(body), "Bearer "+goodToken, nil); status != 200 {
		t.Errorf("HEAD: status %d", status)
	}
	// A damaged one is taken anew.
	stored, _ := r.blobs()
	if err := errors.Join(os.Remove(stored[0]), os.WriteFile(stored[0], []byte("damaged!!"), 0o444)); err != nil {
		t.Fatal(err)
	}
	if status, _ := request(t, "PUT", at+name(body), "Bearer "+goodToken, body); status != 201 {
		t.Errorf("in place of a damaged one: status %d", status)
	}
	if b, err := os.ReadFile(stored[0]); !bytes.Equal(b, body) || err != nil {
		t.Errorf("stored %q, %v", b, err)
	}
}

// TestReleaseOnAFullDisk uploads to a service whose disk has no room, and then has.
func TestReleaseOnAFullDisk(t *testing.T) {
	r := newReleases(t)
	small := mounted(t, "size=12m")
	r.root = filepath.Join(small, "root")
	r.serveUploads()
	fill := filepath.Join(small, "fill")
	if out, err := exec.Command("sh", "-c", `dd if=/dev/zero of="$0" bs=64k 2>/dev/null; truncate -s -3M "$0"`, fill).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r.large(4 << 20)
	r.refusedRelease(3, "no space left", "3.2.0", r.address)
	if stored, staged := r.blobs(); len(stored)+len(staged) != 0 {
		t.Errorf("stored %v, staged %v", stored, staged)
	}
	if status := get("http://" + r.address + "/-/readyz"); status != 200 {
		t.Errorf("the service answers %d", status)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := r.release("3.2.0", r.address); code != 0 {
		t.Errorf("with room: exit code %d\n%s", code, errs)
	}
}

// TestServiceKilledDuringUpload leaves half a blob behind, which the next upload removes.
func TestServiceKilledDuringUpload(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	p := r.start("--poll", never, "--upload-tokens", r.tokens)
	eventually(t, "pomona serve is ready", func() bool { return get("http://"+p.address+"/-/readyz") == 200 })
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() // its other end is killed
	fmt.Fprintf(c, "PUT /-/blobs/sha256/%064d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000000\r\n\r\n%s", 1, goodToken, strings.Repeat("x", 300_000))
	eventually(t, "half a blob is there", func() bool { _, staged := r.blobs(); return len(staged) == 1 })
	_ = p.end(syscall.SIGKILL) // it was killed
	if stored, staged := r.blobs(); len(stored) != 0 || len(staged) != 1 {
		t.Errorf("stored %v, staged %v", stored, staged)
	}
	r.serveUploads()
	if _, errs, code := r.release("3.2.0", r.address, "--pin", "kgp1bp01"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	if stored, staged := r.blobs(); len(stored) != 2 || len(staged) != 0 {
		t.Errorf("stored %v, staged %v", stored, staged)
	}
	r.follows("the release is published")
}

// TestClientKilledDuringUpload catches the client in the middle, and releases again.
func TestClientKilledDuringUpload(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	r.serveUploads()
	r.large(8 << 20)
	caught := make(chan struct{})
	var once sync.Once
	between := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		to, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close() // the service sees its client go
		fmt.Fprintf(to, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n", req.URL.Path, req.Header.Get("Authorization"), req.ContentLength)
		if _, err := io.CopyN(to, req.Body, 1<<20); err != nil {
			t.Error(err)
		}
		once.Do(func() { close(caught) })
		_, _ = io.Copy(io.Discard, req.Body) // nobody answers
		<-req.Context().Done()               // until the client has gone
	}))
	defer between.Close()
	to := strings.TrimPrefix(between.URL, "http://")
	cmd := exec.Command(binary, "release", "bpm-fesa", "3.2.0", r.folder, "--site", r.site, "--to", between.URL, "--credential", to+"="+r.token, "--cache", filepath.Join(r.dir, "cache"))
	before := git(t, r.site, "rev-parse", "HEAD")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-caught
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if git(t, r.site, "rev-parse", "HEAD") != before || git(t, r.site, "status", "--porcelain") != "" {
		t.Error("the site changed")
	}
	eventually(t, "the service has dropped the half", func() bool { stored, staged := r.blobs(); return len(stored)+len(staged) == 0 })
	if _, errs, code := r.release("3.2.0", r.address); code != 0 {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

// TestReleasesSideBySide makes many releases at once: each gets its commit, none gets lost.
func TestReleasesSideBySide(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	var wait sync.WaitGroup
	errs, codes := make([]string, 5), make([]int, 5)
	for i := range codes {
		cmd := exec.Command(binary, "release", "diag-tools", fmt.Sprintf("3.%d", i), r.folder, "--site", r.site, "--root", r.root, "--cache", filepath.Join(r.dir, "cache"))
		wait.Go(func() {
			var said bytes.Buffer
			cmd.Stderr = &said
			_ = cmd.Run() // its exit code is looked at below
			codes[i], errs[i] = cmd.ProcessState.ExitCode(), said.String()
		})
	}
	wait.Wait()
	for i, code := range codes {
		if code != 0 {
			t.Errorf("exit code %d: %s", code, errs[i])
		}
	}
	if n := git(t, r.site, "rev-list", "--count", "HEAD"); n != fmt.Sprint(len(codes)+1) {
		t.Errorf("there are %s commits", n)
	}
	if s := git(t, r.site, "status", "--porcelain"); s != "" {
		t.Errorf("the work tree is not clean:\n%s", s)
	}
	must(t, "validate", r.site, "--root", r.root)
}

// TestReleaseToARemoteBranch pushes to git's own server over https, with a password; also while others push.
func TestReleaseToARemoteBranch(t *testing.T) {
	t.Parallel()
	a, r := trusted, newReleases(t)
	bare := filepath.Join(r.dir, "git", "site.git")
	git(t, r.dir, "clone", "-q", "--bare", r.site, bare)
	git(t, bare, "config", "http.receivepack", "true")
	server := pushServer(t, a, filepath.Join(r.dir, "git"), nil)
	credential := filepath.Join(r.dir, "git-password")
	r.secret(credential, "robot:hush-hush")
	host := strings.TrimPrefix(server.URL, "https://")
	release := func(version string, more ...string) (string, string, int) {
		return pomona(t, append([]string{"release", "bpm-fesa", version, r.folder, "--site", server.URL + "/site.git", "--root", r.root,
			"--credential", host + "=" + credential, "--cache", filepath.Join(r.dir, "cache")}, more...)...)
	}
	out, errs, code := release("3.2.0", "--pin-group", "ring")
	if code != 0 || !strings.Contains(out, "on branch main") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	git(t, r.dir, "clone", "-q", bare, "clone")
	git(t, bare, "fsck", "--strict")
	clone := filepath.Join(r.dir, "clone")
	must(t, "validate", clone, "--root", r.root)
	if said := git(t, clone, "show", "--stat", "--format=%s"); !strings.Contains(said, "Release bpm-fesa 3.2.0") || !strings.Contains(said, "2 files changed") {
		t.Errorf("the commit is\n%s", said)
	}
	if out, _, code := release("3.2.0"); code != 0 || !strings.Contains(out, "nothing to do") {
		t.Errorf("again: exit code %d, %s", code, out)
	}
	// Somebody else pushes between reading and pushing: the release is made once more, on top.
	raced := false
	racing := pushServer(t, a, filepath.Join(r.dir, "git"), func(req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "git-receive-pack") && req.Method == "POST" && !raced {
			raced = true
			git(t, clone, "commit", "-q", "--allow-empty", "-m", "meanwhile")
			git(t, clone, "push", "-q", "origin", "HEAD")
		}
	})
	racingHost := strings.TrimPrefix(racing.URL, "https://")
	out, errs, code = release("3.3.0", "--site", racing.URL+"/site.git", "--credential", racingHost+"="+credential)
	if code != 0 || !raced {
		t.Errorf("raced %v: exit code %d\n%s%s", raced, code, out, errs)
	}
	if log := git(t, bare, "log", "--format=%s", "-3"); log != "Release bpm-fesa 3.3.0\nmeanwhile\nRelease bpm-fesa 3.2.0" {
		t.Errorf("log is\n%s", log)
	}
	// A server that does not want it says so; a wrong password, and a branch that is not there.
	before := git(t, bare, "rev-parse", "main")
	r.put(filepath.Join(bare, "hooks/update"), []byte("#!/bin/sh\necho protected >&2\nexit 1\n"))
	if _, errs, code := release("3.4.0"); code != 2 || !strings.Contains(errs, "the server does not take the commit") {
		t.Errorf("a hook: exit code %d\n%s", code, errs)
	}
	if err := os.Remove(filepath.Join(bare, "hooks/update")); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := release("3.4.0", "--branch", "nowhere"); code != 2 || !strings.Contains(errs, `no branch "nowhere"`) {
		t.Errorf("no branch: exit code %d\n%s", code, errs)
	}
	r.secret(credential, "robot:wrong")
	if _, errs, code := release("3.4.0"); code != 3 || !strings.Contains(errs, "asks for another credential") || strings.Contains(errs, "wrong") {
		t.Errorf("wrong password: exit code %d\n%s", code, errs)
	}
	if git(t, bare, "rev-parse", "main") != before {
		t.Error("the branch has moved")
	}
}

// pushServer is gitServer for whoever has the password. Before looks at each request.
func pushServer(t *testing.T, a authority, dir string, before func(*http.Request)) *httptest.Server {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	h := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), Stderr: io.Discard, Env: []string{
		"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null", "REMOTE_USER=robot",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	return a.server(t, func(w http.ResponseWriter, req *http.Request) {
		if user, password, ok := req.BasicAuth(); !ok || user != "robot" || password != "hush-hush" {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		if before != nil {
			before(req)
		}
		h.ServeHTTP(w, req)
	})
}

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// authority is a certificate for this machine that the binary trusts as an operator would make it: by SSL_CERT_FILE.
type authority struct {
	cert, key string // files
	tls       tls.Certificate
	client    *http.Client
}

// trusted is the one that all tests share.
var trusted authority

func newAuthority(dir string) (authority, error) {
	key, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err2 := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	keyDER, err3 := x509.MarshalPKCS8PrivateKey(key)
	a := authority{cert: filepath.Join(dir, "ca.pem"), key: filepath.Join(dir, "ca.key")}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	err4 := os.WriteFile(a.cert, certPEM, 0o644)
	err5 := os.WriteFile(a.key, keyPEM, 0o600)
	var err6 error
	a.tls, err6 = tls.X509KeyPair(certPEM, keyPEM)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return a, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	a.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	return a, os.Setenv("SSL_CERT_FILE", a.cert)
}

// server serves h over HTTPS until the test ends, at an address that stays its own when it goes away.
func (a authority) server(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	l, err := net.Listen("tcp", freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.tls}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// archive is a finished archive with one file below /opt/remote.
func archive(t *testing.T, content string) (b []byte, digest string) {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	err1 := w.WriteHeader(&tar.Header{Name: "opt/remote/data", Mode: 0o644, Size: int64(len(content))})
	_, err2 := w.Write([]byte(content))
	if err := errors.Join(err1, err2, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), fmt.Sprintf("%x", sha256.Sum256(out.Bytes()))
}

// remote declares a release of software remote whose payload comes from source, and a FEC that gets it.
func (w world) remote(source string) {
	w.t.Helper()
	w.write("remote.cue", fmt.Sprintf(`package site

software: remote: versions: "1.0.0": payload: any: {install: "/opt/remote", %s}
fecs: remote1: {host: "remote1.example.org", platform: "yocto-ppc", software: remote: version: "1.0.0"}
`, source), 0o644)
	w.commit("remote from " + source)
}

// try makes a pass.
func (w world) try(more ...string) (errs string, code int) {
	w.t.Helper()
	_, errs, code = pomona(w.t, append([]string{"reconcile", w.site, "--root", w.root, "--key", filepath.Join(w.dir, "key.sec")}, more...)...)
	return errs, code
}

// refused checks that a pass ends with a code and says something, and that the served tree is as it was.
func (w world) refused(code int, says string, more ...string) {
	w.t.Helper()
	before, _ := os.Readlink(filepath.Join(w.root, "current"))
	errs, got := w.try(more...)
	if got != code || !strings.Contains(errs, says) {
		w.t.Errorf("exit code %d, want %d and %q:\n%s", got, code, says, errs)
	}
	if after, _ := os.Readlink(filepath.Join(w.root, "current")); after != before {
		w.t.Errorf("current has turned from %q to %q", before, after)
	}
	if left, _ := filepath.Glob(filepath.Join(w.root, ".pomona/cache/.pomona/staging/*")); len(left) > 0 {
		w.t.Errorf("left in the cache: %v", left)
	}
}

// unpacked is a file of the payload that is served for software remote.
func (w world) unpacked(name string) string {
	w.t.Helper()
	tgz := filepath.Join(w.root, "current/software/remote/1.0.0/remote-1.0.0.tar.gz")
	out, err := exec.Command("tar", "-xzOf", tgz, name).Output()
	if err != nil {
		w.t.Fatalf("unpack %s: %v", name, err)
	}
	return string(out)
}

// unchanged checks that a payload that is built already needs its host no more: for passes, for plans, and for validation
// and verification with what was fetched.
func (w world) unchanged() {
	w.t.Helper()
	w.edit("remote.cue", "remote1", "remote2")
	w.reconcile()
	if out, _, code := pomona(w.t, "plan", w.site, "--root", w.root, "--exit-code"); code != 0 {
		w.t.Errorf("planning again yields\n%s", out)
	}
	must(w.t, "validate", w.site, "--cache", filepath.Join(w.root, ".pomona/cache"), "--root", w.root)
	must(w.t, "verify", w.site, "--cache", filepath.Join(w.root, ".pomona/cache"), "--root", w.root)
	for _, name := range []string{"units", "verdicts"} {
		if packs, _ := filepath.Glob(filepath.Join(w.root, ".pomona/cache", name, "*.pack")); len(packs) == 0 {
			w.t.Errorf("no %s beside what was fetched", name)
		}
	}
}

// gitServer serves the bare repositories below dir with git's own program.
func gitServer(t *testing.T, a authority, dir string) *httptest.Server {
	t.Helper()
	return a.server(t, gitBackend(t, dir).ServeHTTP)
}

func gitBackend(t *testing.T, dir string) http.Handler {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := filepath.Join(strings.TrimSpace(string(path)), "git-http-backend")
	return &cgi.Handler{Path: backend, Stderr: io.Discard, Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
}

func TestPayloadOfAnotherRepository(t *testing.T) {
	t.Parallel()
	a, w := trusted, newWorld(t)
	w.reconcile()
	work := filepath.Join(w.dir, "work")
	bare := filepath.Join(w.dir, "git", "bpm.git")
	git(t, w.dir, "init", "-q", "-b", "main", work)
	commit := func(content string) string {
		if err := errors.Join(os.MkdirAll(filepath.Join(work, "out"), 0o755), os.WriteFile(filepath.Join(work, "out/data"), []byte(content), 0o755)); err != nil {
			t.Fatal(err)
		}
		git(t, work, "add", "-A")
		git(t, work, "commit", "-qm", content)
		return git(t, work, "rev-parse", "HEAD")
	}
	old, first, second := commit("old"), commit("first"), commit("second")
	git(t, work, "tag", "-a", "-m", "v1", "v1", first)
	git(t, w.dir, "clone", "-q", "--bare", work, bare)
	server := gitServer(t, a, filepath.Join(w.dir, "git"))
	url := server.URL + "/bpm.git"
	source := func(commit, tag, rest string) string {
		if tag != "" {
			tag = fmt.Sprintf(", tag: %q", tag)
		}
		return fmt.Sprintf("git: {url: %q, commit: %q%s}, %s", url, commit, tag, rest)
	}

	// A tag, a branch, and a commit that the server gives only with everything else.
	for i, c := range []struct{ commit, tag, want string }{{first, "v1", "first"}, {second, "", "second"}, {old, "", "old"}} {
		w.remote(source(c.commit, c.tag, `folder: "out"`))
		w.reconcile()
		if got := w.unpacked("opt/remote/data"); got != c.want {
			t.Errorf("%d: %q is served, want %q", i, got, c.want)
		}
	}
	// A server that gives any commit by its name.
	git(t, bare, "config", "uploadpack.allowReachableSHA1InWant", "true")
	w.remote(source(old, "", `folder: "out", install: "/opt/remote"`))
	w.reconcile("--cache", filepath.Join(w.dir, "other-cache"))
	must(t, "validate", w.site, "--cache", filepath.Join(w.dir, "third-cache"))

	nowhere := strings.Repeat("0123456789", 4)
	w.remote(source(nowhere, "", `folder: "out"`))
	w.refused(1, `remote.cue:3:`)
	w.refused(1, `git.commit: the repository has no such commit`)
	git(t, bare, "config", "uploadpack.allowReachableSHA1InWant", "false")
	w.refused(1, `git.commit: the repository has no such commit`)
	w.remote(source(second, "v1", `folder: "out"`))
	w.refused(1, `git.tag: tag "v1" has moved: it leads to `+first)
	w.remote(source(second, "v2", `folder: "out"`))
	w.refused(1, `git.tag: the repository has no tag "v2"`)
	w.remote(source(second, "", `folder: "ouch"`))
	w.refused(1, `folder: that commit has no folder "ouch"`)
	w.remote(source(second, "", `archive: "out.tar.gz"`))
	w.refused(1, `archive: that commit has no file "out.tar.gz"`)
	w.remote(strings.Replace(source(second, "", `folder: "out"`), "bpm.git", "gone.git", 1))
	w.refused(1, `git.url: `+server.Listener.Addr().String()+` has no such repository`)

	evil := attack{world: w}
	evil.site = bare
	odd := evil.of(evil.tree(entry{"100644", "..", evil.blob("x")}))
	git(t, bare, "update-ref", "refs/heads/odd", odd)
	w.remote(source(odd, "", `folder: "out"`))
	w.refused(1, `git.commit: malformed name "..": it would lead elsewhere; rename it`)

	w.remote(source(first, "v1", `folder: "out"`))
	w.reconcile()
	server.Close()
	w.unchanged()
	w.remote(source(second, "", `folder: "out", format: "gzip"`))
	if err := os.RemoveAll(filepath.Join(w.root, ".pomona/cache")); err != nil {
		t.Fatal(err)
	}
	w.refused(2, server.Listener.Addr().String()+" is unavailable")
}

// TestCredentialsStayWithTheirHost follows a redirect from a host with a credential to one without, for downloads and git.
func TestCredentialsStayWithTheirHost(t *testing.T) {
	t.Parallel()
	a, w := trusted, newWorld(t)
	content, digest := archive(t, "private")
	var leaked atomic.Bool
	other := a.server(t, func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		out.Write(content)
	})
	var asked atomic.Int64
	own := a.server(t, func(out http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hush-hush" {
			out.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(out, r, other.URL+r.URL.Path+"?signature=secret", http.StatusFound)
	})
	file := filepath.Join(w.dir, "credential")
	w.put(file, []byte("me:hush-hush\n"))
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	flag := own.Listener.Addr().String() + "=" + file
	w.remote(fmt.Sprintf("https: {url: %q, sha256: %q}", own.URL+"/a.tar.gz", digest))
	w.refused(2, "status 401")
	w.refused(2, "status 401", "--credential", other.Listener.Addr().String()+"="+file)
	w.reconcile("--credential", flag)
	if w.unpacked("opt/remote/data") != "private" {
		t.Error("another payload is served")
	}
	w.remote(fmt.Sprintf("git: {url: %q, commit: %q}, folder: \"a\"", own.URL+"/a.git", strings.Repeat("01234567", 5)))
	before := asked.Load()
	w.refused(2, "is unavailable", "--credential", flag)
	if asked.Load() == before {
		t.Error("git did not ask")
	}
	other.Close()
	w.remote(fmt.Sprintf("https: {url: %q, sha256: %q}", own.URL+"/b.tar.gz", strings.Repeat("ab", 32)))
	errs, code := w.try("--credential", flag)
	if code != 2 || strings.Contains(errs, "hush") || strings.Contains(errs, "secret") {
		t.Errorf("exit code %d, or a secret is printed:\n%s", code, errs)
	}
	if leaked.Load() {
		t.Error("the credential went to another host")
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	w.refused(2, "others may read", "--credential", flag)
}

// registry runs Debian's docker-registry with a password and returns its address.
func registry(t *testing.T, a authority, user, password string) string {
	t.Helper()
	program := debian(t, "docker-registry", "docker-registry")
	dir, address := t.TempDir(), freeAddress(t)
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`version: 0.1
storage: {filesystem: {rootdirectory: %[1]q}, delete: {enabled: true}}
auth: {htpasswd: {realm: test, path: %[2]q}}
http: {addr: %[3]q, tls: {certificate: %[4]q, key: %[5]q}}
`, filepath.Join(dir, "data"), filepath.Join(dir, "htpasswd"), address, a.cert, a.key)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "htpasswd"), fmt.Appendf(nil, "%s:%s\n", user, hash), 0o600),
		os.WriteFile(filepath.Join(dir, "config.yml"), []byte(config), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", filepath.Join(dir, "config.yml"))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	eventually(t, "the registry answers", func() bool {
		res, err := a.client.Get("https://" + address + "/v2/")
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusUnauthorized
	})
	return address
}

// pusher pushes to a registry.
type pusher struct {
	t              *testing.T
	a              authority
	base           string
	user, password string
}

func (p pusher) do(method, url, kind string, body []byte, want int) *http.Response {
	p.t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.SetBasicAuth(p.user, p.password)
	req.Header.Set("Content-Type", kind)
	res, err := p.a.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, err := io.ReadAll(res.Body); err != nil || res.StatusCode != want {
		p.t.Fatalf("%s %s: status %d, %v\n%s", method, url, res.StatusCode, err, answer)
	}
	return res
}

func (p pusher) blob(b []byte) (digest string) {
	p.t.Helper()
	digest = fmt.Sprintf("sha256:%x", sha256.Sum256(b))
	to := p.do("POST", p.base+"/blobs/uploads/", "", nil, http.StatusAccepted).Header.Get("Location")
	sign := "?"
	if strings.Contains(to, "?") {
		sign = "&"
	}
	p.do("PUT", to+sign+"digest="+digest, "application/octet-stream", b, http.StatusCreated)
	return digest
}

// manifest pushes an artifact of layers, by title, under a tag.
func (p pusher) manifest(tag string, layers map[string][]byte) (digest string) {
	p.t.Helper()
	empty := p.blob([]byte("{}"))
	var list []string
	for title, b := range layers {
		list = append(list, fmt.Sprintf(`{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": %q, "size": %d,
	"annotations": {"org.opencontainers.image.title": %q}}`, p.blob(b), len(b), title))
	}
	const kind = "application/vnd.oci.image.manifest.v1+json"
	m := fmt.Sprintf(`{"schemaVersion": 2, "mediaType": %q, "artifactType": "application/vnd.pomona.payload",
"config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": %q, "size": 2}, "layers": [%s]}`, kind, empty, strings.Join(list, ","))
	p.do("PUT", p.base+"/manifests/"+tag, kind, []byte(m), http.StatusCreated)
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(m)))
}

func TestPayloadOfARegistry(t *testing.T) {
	t.Parallel()
	a, w := trusted, newWorld(t)
	w.reconcile()
	address := registry(t, a, "puller", "hush-hush")
	p := pusher{t, a, "https://" + address + "/v2/controls/bpm", "puller", "hush-hush"}
	first, _ := archive(t, "first")
	second, _ := archive(t, "second")
	one := p.manifest("1.0", map[string][]byte{"bpm.tar.gz": first})
	two := p.manifest("2.0", map[string][]byte{"a.tar.gz": first, "b.tar.gz": second})
	file := filepath.Join(w.dir, "credential")
	w.put(file, []byte("puller:hush-hush"))
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	image := func(ref, rest string) {
		w.remote(fmt.Sprintf("oci: {image: %q%s}", address+"/controls/bpm"+ref, rest))
	}
	login := []string{"--credential", address + "=" + file}

	image("@"+one, "")
	w.refused(2, address+" is unavailable")
	w.reconcile(login...)
	if got := w.unpacked("opt/remote/data"); got != "first" {
		t.Errorf("%q is served", got)
	}
	image(":2.0@"+two, `, title: "b.tar.gz"`)
	w.reconcile(login...)
	if got := w.unpacked("opt/remote/data"); got != "second" {
		t.Errorf("%q is served", got)
	}
	w.unchanged()
	image("@"+two, "")
	w.refused(1, "oci.image: it has 2 layers; choose one with title: one of a.tar.gz, b.tar.gz", login...)
	image("@"+two, `, title: "c.tar.gz"`)
	w.refused(1, "oci.title: 0 layers have this title", login...)
	image(":2.0@"+one, "")
	w.refused(1, "oci.image: tag 2.0 has moved: it leads to "+two, login...)
	image("@sha256:"+strings.Repeat("01", 32), "")
	w.refused(1, "oci.image: "+address+" has no artifact sha256:0101", login...)
	image(":3.0@"+one, "")
	w.refused(1, "has no tag 3.0", login...)
	w.put(file, []byte("puller:wrong"))
	image("@"+two, `, title: "a.tar.gz"`) // what was built before is still in the store, and needs no host
	w.refused(2, address+" is unavailable", append(login, "--cache", filepath.Join(w.dir, "empty-cache"))...)
}

// TestKilledWhileFetching kills a pass in the middle of a download; the next one needs no help.
func TestKilledWhileFetching(t *testing.T) {
	t.Parallel()
	a, w := trusted, newWorld(t)
	w.reconcile()
	content, digest := archive(t, strings.Repeat("0123456789abcdef", 1<<16))
	var hold atomic.Bool
	hold.Store(true)
	half := make(chan bool)
	server := a.server(t, func(out http.ResponseWriter, r *http.Request) {
		if !hold.Load() {
			out.Write(content)
			return
		}
		out.Write(content[:len(content)/2])
		out.(http.Flusher).Flush()
		half <- true
		<-r.Context().Done()
	})
	w.remote(fmt.Sprintf("https: {url: %q, sha256: %q}", server.URL+"/a.tar.gz", digest))
	cmd := exec.Command(binary, "reconcile", w.site, "--root", w.root, "--key", filepath.Join(w.dir, "key.sec"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-half
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("it was not killed")
	}
	w.whole()
	if kept, _ := filepath.Glob(filepath.Join(w.root, ".pomona/cache/objects/sha256/*/*")); len(kept) > 0 {
		t.Errorf("half a download is kept: %v", kept)
	}
	hold.Store(false)
	w.reconcile()
	w.whole()
	if w.unpacked("opt/remote/data") == "" {
		t.Error("nothing is served")
	}
	server.Close()
	w.unchanged()
}

// TestPayloadOfTheBlobStore is validated without the store, refused without the blob, and served with it; no pass sweeps
// it.
func TestPayloadOfTheBlobStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reconcile()
	content, digest := archive(t, "a blob")
	w.remote(fmt.Sprintf("blob: sha256: %q", digest))
	out, _, code := pomona(t, "validate", w.site)
	if code != 0 || !strings.Contains(out, "remote.cue:3:") || !strings.Contains(out, "this payload was not checked: the blob store is not known; give --root") {
		t.Errorf("validate without a root: exit code %d\n%s", code, out)
	}
	w.refused(1, "blob.sha256: the blob store has no such file; put it there with pomona blob add")
	file := filepath.Join(w.dir, "a.tgz")
	w.put(file, content)
	says := must(t, "blob", "add", file, "--root", w.root)
	if want := fmt.Sprintf("blob: sha256: %q\nformat: \"gzip\"\n", digest); says != want {
		t.Errorf("pomona blob add says\n%swant\n%s", says, want)
	}
	if said, _, code := pomona(t, "plan", w.site, "--base", "HEAD~1", "--root", w.root); code != 0 || !strings.Contains(said, "remote1: remote + 1.0.0") {
		t.Errorf("plan against a revision, with the root: exit code %d\n%s", code, said)
	}
	if _, errs, code := pomona(t, "plan", w.site, "--base", "HEAD~1", "--cache", filepath.Join(w.dir, "empty")); code != 2 || !strings.Contains(errs, "no served directory whose blob store") {
		t.Errorf("plan against a revision, without: exit code %d\n%s", code, errs)
	}
	if out := must(t, "validate", w.site, "--root", w.root); out != "" {
		t.Errorf("validate with the root says\n%s", out)
	}
	w.reconcile()
	if got := w.unpacked("opt/remote/data"); got != "a blob" {
		t.Errorf("%q is served", got)
	}
	w.unchanged()
	blob := filepath.Join(w.root, ".pomona/blobs/objects/sha256", digest[:2], digest)
	if kept, err := os.ReadFile(blob); err != nil || !bytes.Equal(kept, content) {
		t.Errorf("the blob is gone: %v", err)
	}
	if info, err := os.Stat(filepath.Join(w.root, ".pomona/blobs")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may read the blob store: %v, %v", info, err)
	}

	// A blob that is damaged counts as none.
	fresh := filepath.Join(w.dir, "fresh")
	if _, why, code := pomona(t, "blob", "add", file, "--root", fresh); code != 2 || !strings.Contains(why, "is not there: correct --root, or make it first") {
		t.Errorf("a root that is not there: exit code %d\n%s", code, why)
	}
	if err := os.Mkdir(fresh, 0o755); err != nil { // which the refusal has not made
		t.Fatal(err)
	}
	must(t, "blob", "add", file, "--root", fresh)
	damaged := filepath.Join(fresh, ".pomona/blobs/objects/sha256", digest[:2], digest)
	if err := errors.Join(os.Chmod(damaged, 0o600), os.WriteFile(damaged, content[1:], 0o600)); err != nil {
		t.Fatal(err)
	}
	w.root = fresh
	w.refused(1, "the blob store has no such file")
	must(t, "blob", "add", file, "--root", fresh)
	w.reconcile()
	if got := w.unpacked("opt/remote/data"); got != "a blob" {
		t.Errorf("%q is served", got)
	}
}

// TestValidateOffline fetches nothing, and says so.
func TestValidateOffline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.remote(fmt.Sprintf("https: {url: %q, sha256: %q}", "https://127.0.0.1:1/a.tar.gz", strings.Repeat("ab", 32)))
	out, _, code := pomona(t, "validate", w.site, "--offline")
	if code != 0 || !strings.Contains(out, "warning: ") || !strings.Contains(out, "this payload was not checked: Pomona is offline") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	out, errs, code := pomona(t, "validate", w.site, "--cache", filepath.Join(w.dir, "cache"))
	if code != 2 || !strings.Contains(errs, "127.0.0.1:1 is unavailable: dial tcp") || !strings.Contains(errs, "another try may succeed") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	w.edit("remote.cue", "yocto-ppc", "yocto-pcp")
	out, errs, code = pomona(t, "validate", w.site, "--cache", filepath.Join(w.dir, "cache"))
	if code != 1 || !strings.Contains(out, "yocto-pcp") || !strings.Contains(out, "127.0.0.1:1 is unavailable") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// TestPayloadOfARepositoryBySSH reaches a repository as people do: with a private key, and a known key of the host.
func TestPayloadOfARepositoryBySSH(t *testing.T) {
	t.Parallel()
	sshd := debian(t, "openssh-server", "sshd")
	w := newWorld(t)
	w.reconcile()
	work := filepath.Join(w.dir, "work")
	git(t, w.dir, "init", "-q", work)
	w.put(filepath.Join(work, "data"), []byte("by ssh"))
	git(t, work, "add", "-A")
	git(t, work, "commit", "-qm", "first")
	commit := git(t, work, "rev-parse", "HEAD")
	for _, name := range []string{"host", "other", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(w.dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // what Debian's own start of sshd makes
			t.Fatal(err)
		}
	}
	address := freeAddress(t)
	host, port, _ := strings.Cut(address, ":")
	w.put(filepath.Join(w.dir, "sshd_config"), fmt.Appendf(nil, `Port %s
ListenAddress %s
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
`, port, host, filepath.Join(w.dir, "host"), filepath.Join(w.dir, "user.pub")))
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(w.dir, "sshd_config"))
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	eventually(t, "sshd answers", func() bool {
		c, err := net.Dial("tcp", address)
		return err == nil && c.Close() == nil
	})
	known := func(key string) string {
		b, err := os.ReadFile(filepath.Join(w.dir, key+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(w.dir, "known-"+key)
		w.put(file, fmt.Appendf(nil, "[%s]:%s %s", host, port, b))
		return file
	}
	who, err := exec.Command("id", "-un").Output()
	if err != nil {
		t.Fatal(err)
	}
	w.remote(fmt.Sprintf("git: {url: \"ssh://%s@%s%s\", commit: %q}, folder: \".\"", strings.TrimSpace(string(who)), address, work, commit))
	w.refused(1, "malformed repo path") // the top of a repository holds its history too
	w.edit("remote.cue", `folder: "."`, `archive: "data.tar.gz"`)
	key := "--credential=" + address + "=" + filepath.Join(w.dir, "user")
	w.refused(2, "there is no private key for it: give one with --credential HOST=FILE")
	w.refused(2, "nothing says which key it has: give --known-hosts FILE", key)
	w.refused(2, address+" is unavailable", key, "--known-hosts", known("other"))
	w.refused(2, address+" is unavailable", "--credential="+address+"="+filepath.Join(w.dir, "other"), "--known-hosts", known("host"))
	w.refused(1, `that commit has no file "data.tar.gz"`, key, "--known-hosts", known("host"))
	git(t, work, "mv", "data", "out")
	if err := os.MkdirAll(filepath.Join(work, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	git(t, work, "mv", "out", "sub/data")
	git(t, work, "commit", "-qm", "second")
	w.edit("remote.cue", `commit: "[0-9a-f]*"`, fmt.Sprintf("commit: %q", git(t, work, "rev-parse", "HEAD")))
	w.edit("remote.cue", `archive: "data.tar.gz"`, `folder: "sub"`)
	w.reconcile(key, "--known-hosts", known("host"))
	if got := w.unpacked("opt/remote/data"); got != "by ssh" {
		t.Errorf("%q is served", got)
	}
}

package serve_test

import (
	"bufio"
	"bytes"
	"fmt"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

// nginx runs the shipped configuration and returns how to reach it, and the log of reports.
func (f *fixture) nginx(t *testing.T) (dial func() (net.Conn, error), reports string) {
	t.Helper()
	program := need(t, "nginx", "nginx-light")
	shipped, err := os.ReadFile("../../docs/nginx/pomona.conf")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nginx") // a socket's path has little room
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "http")
	site := strings.NewReplacer("/srv/pomona", f.dir, "listen 80;", "listen unix:"+socket+";", "/var/log/nginx/", dir+"/").Replace(string(shipped))
	if strings.Contains(site, "/srv/") || !strings.Contains(site, socket) || !strings.Contains(site, dir+"/pomona-reports.log") {
		t.Fatal("the shipped configuration has other paths than this test replaces")
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	conf := fmt.Sprintf(`daemon off;
%spid %[2]s/pid;
error_log %[2]s/error.log;
events { }
http {
    client_body_temp_path %[2]s; proxy_temp_path %[2]s; fastcgi_temp_path %[2]s; uwsgi_temp_path %[2]s; scgi_temp_path %[2]s;
    access_log %[2]s/access.log;
    gzip on;
    types { text/html html; }
    include %[2]s/pomona.conf;
}
`, user, dir)
	for name, text := range map[string]string{"pomona.conf": site, "nginx.conf": conf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	start(t, exec.Command(program, "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", filepath.Join(dir, "nginx.conf")))
	dial = func() (net.Conn, error) { return net.Dial("unix", socket) }
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if c, err := dial(); err == nil {
			c.Close()
			return dial, filepath.Join(dir, "pomona-reports.log")
		}
	}
	log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
	t.Fatalf("nginx does not listen:\n%s", log)
	return nil, ""
}

func start(t *testing.T, c *exec.Cmd) {
	t.Helper()
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Signal(os.Interrupt) // nginx stops its workers
		c.Wait()
	})
}

// answer is what a client may rely on, whoever serves.
type answer struct {
	Status       int
	Type         string
	Length       int64
	ContentRange string
	AcceptRanges string
	Cache        string
	Location     string // resolved
	Allow        string
	NoSniff      bool
	Modified     string
	Tagged       bool
	Body         string
	Names        []string // of a listing
	Parts        []string // of several ranges
}

// ask sends a request as it is written and reads the answer.
func ask(t *testing.T, dial func() (net.Conn, error), method, target string, header ...string) (answer, http.Header) {
	t.Helper()
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: pomona.example", "Connection: close"}, header...)
	if _, err := io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return read(t, target, r, body), r.Header
}

var linked = regexp.MustCompile(`<a href="([^"]*)"`)

func read(t *testing.T, target string, r *http.Response, body []byte) answer {
	t.Helper()
	a := answer{
		Status: r.StatusCode, Allow: r.Header.Get("Allow"), Cache: r.Header.Get("Cache-Control"),
		NoSniff: r.Header.Get("X-Content-Type-Options") == "nosniff", ContentRange: r.Header.Get("Content-Range"),
	}
	if l := r.Header.Get("Location"); l != "" {
		at, err := url.Parse("http://pomona.example" + target)
		if err != nil {
			t.Fatal(err)
		}
		to, err := at.Parse(l)
		if err != nil {
			t.Fatal(err)
		}
		a.Location = to.String()
	}
	if a.Status >= 300 && a.Status != http.StatusNotModified {
		return a // the text of an error is for people
	}
	a.Tagged, a.Type = r.Header.Get("Etag") != "", r.Header.Get("Content-Type")
	if a.Status == http.StatusOK { // elsewhere they say nothing new, and each server leaves out another one
		a.Modified, a.AcceptRanges = r.Header.Get("Last-Modified"), r.Header.Get("Accept-Ranges")
	}
	kind, parameters, _ := mime.ParseMediaType(a.Type)
	switch {
	case kind == "multipart/byteranges":
		a.Type, a.Parts = kind, parts(t, body, parameters["boundary"])
	case kind == "text/html":
		a.Names = names(t, string(body))
	default:
		a.Body, a.Length = string(body), r.ContentLength
	}
	return a
}

// names are the entries of a listing. The way up and the slashes behind folders are left out.
func names(t *testing.T, page string) (out []string) {
	t.Helper()
	for _, m := range linked.FindAllStringSubmatch(page, -1) {
		name, err := url.PathUnescape(html.UnescapeString(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		if name != "../" {
			out = append(out, strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/"))
		}
	}
	slices.Sort(out)
	return out
}

func parts(t *testing.T, body []byte, boundary string) (out []string) {
	t.Helper()
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p.Header.Get("Content-Type")+" "+p.Header.Get("Content-Range")+"\n"+string(b))
	}
}

// TestNginx asks both servers the same. The shipped configuration is right when nobody can tell them apart.
func TestNginx(t *testing.T) {
	f := newFixture(t)
	f.link("generations/42/dangling", "nowhere")
	f.link("generations/42/loop", "loop")
	theirs, _ := f.nginx(t)
	s := f.serve(serve.Options{})
	ours := func() (net.Conn, error) { return net.Dial("tcp", s.addr) }
	object, folder := "/"+store.Path(f.archive), "/"+store.Path(f.folder)
	demo := "/fecs/kgp2cu02/software/demo-1.0.0.tar.gz"
	for _, q := range []struct {
		status int
		method string
		target string
		header []string
	}{
		{200, "GET", "/", nil},
		{200, "HEAD", "/", nil},
		{200, "GET", "/generation.json", nil},
		{200, "HEAD", "/generation.json", nil},
		{200, "GET", "/index", nil},
		{200, "GET", "/index.sig", nil},
		{200, "GET", "/empty", nil},
		{200, "GET", "/page.html", nil},
		{200, "GET", "/index?query=1", nil},
		{200, "GET", "/fecs/", nil},
		{301, "GET", "/fecs", nil},
		{301, "GET", "/fecs?a=b", nil},
		{301, "HEAD", "/fecs/host-1.example.org", nil},
		{200, "GET", "/fecs/host-1.example.org/boot.manifest", nil},
		{200, "GET", "/fecs/kgp2cu02/", nil},
		{200, "GET", "/fecs/kgp2cu02/boot.manifest", nil},
		{200, "GET", "/fecs/%6bgp2cu02/boot%2emanifest", nil},
		{200, "GET", "/fecs/kgp2cu02/init/10-env", nil},
		{200, "GET", "/fecs/kgp2cu02/init/", nil},
		{200, "GET", "/fecs/global/pomona-boot", nil},
		{200, "GET", "/fecs/kgp2cu02/persistent-data/data.manifest", nil},
		{200, "GET", "/software/demo/1.0.0/demo-1.0.0.tar.gz.sha256", nil},
		{200, "GET", "/odd/", nil},
		{200, "GET", "/odd/a%20b%2541%3fc%23d.txt", nil},
		{200, "GET", "/odd/%3Cb%3E&%22'.txt", nil},
		{200, "GET", demo, nil},
		{200, "HEAD", demo, nil},
		{200, "GET", object, nil},
		{200, "HEAD", object, nil},
		{404, "GET", object + "/", nil},
		{301, "GET", folder, nil},
		{200, "GET", folder + "/", nil},
		{200, "GET", folder + "/boot.manifest", nil},
		{200, "GET", folder + "/persistent-data/data.manifest", nil},
		{200, "GET", "/objects/", nil},
		{301, "GET", "/objects", nil},
		{301, "GET", "/objects/sha256", nil},
		{200, "GET", "/by-commit/", nil},
		{301, "GET", "/by-commit/" + sha1, nil},
		{200, "GET", "/by-commit/" + sha1 + "/", nil},
		{200, "GET", "/by-commit/" + sha1 + "/index", nil},
		{200, "GET", "/by-commit/" + sha1 + "/fecs/kgp2cu02/init/10-env", nil},
		{200, "GET", "/previews/7/index", nil},
		{200, "GET", "/previews/7/fecs/kgp2cu02/init/10-env", nil},
		{404, "GET", "/previews/8/index", nil},
		{200, "GET", "/data/kgp2cu02/data.manifest", nil},

		{206, "GET", demo, []string{"Range: bytes=100-199"}},
		{206, "GET", demo, []string{"Range: bytes=-10"}},
		{206, "GET", object, []string{"Range: bytes=199000-"}},
		{206, "GET", object, []string{"Range: bytes=199000-999999"}},
		{206, "GET", demo, []string{"Range: bytes=0-9,100-109"}},
		{206, "HEAD", demo, []string{"Range: bytes=0-9"}},
		{416, "GET", demo, []string{"Range: bytes=200000-"}},
		{200, "GET", demo, []string{"Range: lines=1-2"}},
		{200, "GET", demo, []string{"Range: bytes=0-9", `If-Range: "other"`}},
		{200, "GET", demo, []string{"Range: bytes=0-9", "If-Range: Thu, 01 Jan 2015 00:00:00 GMT"}},
		{200, "GET", demo, []string{`If-None-Match: "other"`}},
		{304, "GET", demo, []string{"If-None-Match: *"}},
		{412, "GET", demo, []string{`If-Match: "other"`}},
		{200, "GET", demo, []string{"If-Modified-Since: Thu, 01 Jan 2015 00:00:00 GMT"}},
		{200, "GET", demo, []string{"If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT"}},
		{200, "GET", demo, []string{"If-Modified-Since: yesterday"}},
		{200, "GET", demo, []string{"Accept-Encoding: gzip"}},
		{200, "GET", "/generation.json", []string{"Accept-Encoding: gzip"}},

		{404, "GET", "/nothing", nil},
		{404, "GET", "/index/", nil},
		{404, "GET", "/index/below", nil},
		{404, "GET", "/dangling", nil},
		{404, "GET", "/loop", nil},
		{404, "GET", "/unpublished", nil},
		{404, "GET", "/current/index", nil},
		{404, "GET", "/generations/42/index", nil},
		{404, "GET", "/.pomona/secret", nil},
		{404, "GET", "/%2epomona/secret", nil},
		{404, "GET", "/fecs/.hidden", nil},
		{404, "GET", "/objects/../.pomona/secret", nil},
		{404, "GET", "/fecs/../index", nil},
		{404, "GET", "/./index", nil},
		{404, "GET", "//index", nil},
		{404, "GET", "/fecs//kgp2cu02/boot.manifest", nil},
		{404, "GET", "/fecs%2Fkgp2cu02/boot.manifest", nil},
		{404, "GET", `/odd/back\slash`, nil},
		{404, "GET", "/odd/back%5cslash", nil},
		{404, "GET", "/fecs/%252e%252e/index", nil},
		{404, "GET", "/" + strings.Repeat("a", 300), nil},
		{404, "GET", "/-/", nil},
		{404, "GET", "/-/other", nil},

		{405, "POST", "/index", nil},
		{405, "PUT", "/index", nil},
		{405, "DELETE", "/fecs/", nil},
		{405, "OPTIONS", "/index", nil},
		{405, "POST", "/nothing", nil},
		{405, "PROPFIND", "/fecs/", nil},
		{405, "HEAD", "/-/report", nil},

		{200, "GET", "/-/healthz", nil},
		{200, "GET", "/-/readyz", nil},
		{204, "GET", "/-/report?fec=kgp2cu02&state=running", nil},
	} {
		want, _ := ask(t, theirs, q.method, q.target, q.header...)
		have, _ := ask(t, ours, q.method, q.target, q.header...)
		if q.status == http.StatusRequestedRangeNotSatisfiable {
			want.Cache, have.Cache = "", "" // not cacheable anyway
		}
		if have.Status != q.status {
			t.Errorf("%s %s %q: status %d, want %d", q.method, q.target, q.header, have.Status, q.status)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s %s %q: (-nginx +ours)\n%s", q.method, q.target, q.header, diff)
		}
		if strings.Contains(have.Body+want.Body, secret) {
			t.Errorf("%s %s: served a secret", q.method, q.target)
		}
	}
}

// TestNginxValidators asks each server again with what it said the first time.
func TestNginxValidators(t *testing.T) {
	f := newFixture(t)
	theirs, _ := f.nginx(t)
	s := f.serve(serve.Options{})
	for name, dial := range map[string]func() (net.Conn, error){
		"ours":  func() (net.Conn, error) { return net.Dial("tcp", s.addr) },
		"nginx": theirs,
	} {
		for _, target := range []string{"/index", "/fecs/kgp2cu02/boot.manifest", "/" + store.Path(f.archive)} {
			_, h := ask(t, dial, "GET", target)
			tag, date := h.Get("Etag"), h.Get("Last-Modified")
			for _, q := range []struct {
				status int
				header []string
			}{
				{304, []string{"If-None-Match: " + tag}},
				{304, []string{`If-None-Match: "other", ` + tag}},
				{304, []string{"If-Modified-Since: " + date}},
				{206, []string{"Range: bytes=0-3", "If-Range: " + tag}},
				{206, []string{"Range: bytes=0-3", "If-Range: " + date}},
			} {
				a, again := ask(t, dial, "GET", target, q.header...)
				if a.Status != q.status || again.Get("Etag") != tag || again.Get("Cache-Control") != h.Get("Cache-Control") {
					t.Errorf("%s: %s %q: status %d, want %d; headers %v", name, target, q.header, a.Status, q.status, again)
				}
			}
		}
	}
}

// TestNginxReports finds a report in the log that a site reads instead.
func TestNginxReports(t *testing.T) {
	dial, log := newFixture(t).nginx(t)
	const report = "/-/report?fec=kgp2cu02&serial=29000000&state=running"
	ask(t, dial, "GET", report)
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) { // nginx logs after it has answered
		if b, err := os.ReadFile(log); err == nil && strings.Contains(string(b), report) {
			return
		}
	}
	t.Error("the report is not in the log")
}

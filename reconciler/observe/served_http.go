package observe

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"html"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// ServedByURL is the generation of a commit as an HTTP server gives it: /by-commit/SHA/ or, on a server without that, /
// if it is of that commit. The server is not trusted: answers are limited in size and time, and redirects to another
// host are refused. The error is a NotServed when there is no such generation.
func ServedByURL(ctx context.Context, base, commit string) (*Served, error) {
	at, err := url.Parse(base)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
		return nil, fmt.Errorf("malformed URL %q: want http://HOST or https://HOST", base)
	}
	at.Path = strings.TrimSuffix(at.Path, "/") + "/"
	at.RawPath, at.RawQuery, at.Fragment = "", "", ""
	client := newClient()
	current := &Served{view: &webView{client: client, base: at}}
	if err := current.open(ctx); err != nil {
		return nil, fmt.Errorf("read %s: %w", at.Redacted(), err)
	}
	s := &Served{view: &webView{client: client, base: at, at: tree.CommitsFolder + "/" + commit + "/"}}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("read %s: %w", at.Redacted(), err)
	}
	switch same := current.commit() == commit; {
	case s.there() && same && !bytes.Equal(s.index, current.index):
		s.early = append(s.early, observed.Difference{Path: tree.CommitsFolder + "/" + commit, What: "is not the current generation",
			Want: fmt.Sprintf("generation %d", current.Index.Generation), Got: fmt.Sprintf("generation %d", s.Index.Generation)})
	case s.there() && !same:
		s.beside(current.commit())
	case !s.there() && same:
		current.Notes = append(current.Notes, "the server has no /"+tree.CommitsFolder+"/: two requests may have seen two generations")
		s = current
	case !s.there():
		return nil, NotServed{commit, current.commit()}
	}
	v := s.view.(*webView)
	v.lists = v.listed(ctx, "")
	if !v.lists {
		s.Notes = append(s.Notes, "the server lists no folders: paths that the commit does not have cannot be seen")
	}
	s.Notes = append(s.Notes, "modes and links cannot be seen over HTTP: compared is what a client gets")
	return s, nil
}

// there says whether there is anything of a generation.
func (s *Served) there() bool { return s.index != nil || s.Generation.Number > 0 }

// Limits of an exchange with a server.
const (
	answerTime = 30 * time.Second
	slowest    = 32 << 10 // bytes per second that a long answer must have
	maxListing = 16 << 20 // bytes
	tailSize   = 4 << 10  // bytes at the end of an object that tell whether a path leads to it
	requests   = 8        // at once
)

func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  answerTime,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConnsPerHost:    requests,
			MaxConnsPerHost:        requests,
			DisableCompression:     true, // bytes are compared as they are served
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			first := via[0].URL
			switch {
			case r.URL.Scheme != first.Scheme || r.URL.Host != first.Host:
				return fmt.Errorf("refused a redirect to another host, %s", r.URL.Host)
			case len(via) > 3:
				return errors.New("refused a fourth redirect")
			}
			return nil
		},
	}
}

// webView reads a generation over HTTP. Its folders and links are seen as their content only.
type webView struct {
	client *http.Client
	base   *url.URL // of the root, with a slash at its end
	at     string   // the generation below it: by-commit/SHA/ or nothing
	lists  bool     // it lists folders
}

func (v *webView) workers() int { return requests }

// answer is what a server sent.
type answer struct {
	status int
	size   int64 // of the whole file; -1 when the server sends a part and does not say
	html   bool
}

// get writes the body of an answer to w. A size above limit is an error. want is about how long the body should be,
// in bytes: it decides how long the server may take.
func (v *webView) get(ctx context.Context, name, bytesRange string, limit, want int64, w io.Writer) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime+time.Duration(want/slowest)*time.Second)
	defer cancel()
	to := *v.base
	to.Path += name
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return a, err
	}
	r.Header.Set("User-Agent", "pomona-verify")
	if bytesRange != "" {
		r.Header.Set("Range", bytesRange)
	}
	resp, err := v.client.Do(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close() // read, or not wanted
	a = answer{resp.StatusCode, -1, strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")}
	switch a.status {
	case http.StatusOK:
	case http.StatusPartialContent:
		a.size = rangeOf(resp.Header.Get("Content-Range"))
	case http.StatusNotFound, http.StatusGone:
		return a, fs.ErrNotExist
	default:
		return a, fmt.Errorf("the server answers %d", a.status)
	}
	n, err := io.Copy(w, io.LimitReader(resp.Body, limit+1))
	if a.status == http.StatusOK {
		a.size = n
	}
	if err == nil && n > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return a, err
}

// rangeOf is the whole length in "bytes 0-9/100".
func rangeOf(header string) int64 {
	_, whole, _ := strings.Cut(header, "/")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (v *webView) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	var b bytes.Buffer
	_, err := v.get(ctx, v.at+name, "", limit, limit/8, &b)
	if err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// sum hashes what passes through, and its end.
type sum struct {
	whole hash.Hash
	size  int64
	last  []byte
}

func newSum() *sum { return &sum{whole: sha256.New()} }

func (s *sum) Write(p []byte) (int, error) {
	s.whole.Write(p) // never fails (hash.Hash)
	s.size += int64(len(p))
	s.last = append(s.last, p...)
	if len(s.last) > 16*tailSize {
		s.last = append([]byte{}, s.tail()...)
	}
	return len(p), nil
}

func (s *sum) tail() []byte { return s.last[max(0, len(s.last)-tailSize):] }

func (s *sum) digest() artifact.Digest { return artifact.Digest(s.whole.Sum(nil)) }

func (v *webView) object(ctx context.Context, d artifact.Digest, size int64) (content, error) {
	s := newSum()
	if _, err := v.get(ctx, objectPath(d), "", size, size, s); err != nil && s.size <= size {
		return content{}, err
	}
	got := content{size: s.size, tail: artifact.Sum(s.tail())}
	switch {
	case got.size > size:
		got.wrong = fmt.Sprintf("object has more than its %d bytes", size)
	case got.size < size:
		got.wrong = fmt.Sprintf("object has %d bytes instead of %d", got.size, size)
	default:
		if got.digest = s.digest(); got.digest != d {
			got.wrong = "object differs"
		}
	}
	return got, nil
}

func (v *webView) unchanged(ctx context.Context, index []byte) error {
	now, err := v.read(ctx, tree.IndexFile, maxIndex)
	if err != nil && !absent(err) {
		return fmt.Errorf("read index again: %w", err)
	}
	if !bytes.Equal(now, index) {
		return errors.New("the server published or pruned meanwhile: verify again")
	}
	return nil
}

func (v *webView) folder(ctx context.Context, f expectedFolder, objects map[artifact.Digest]content, found func(observed.Difference)) error {
	for _, n := range f.nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := f.path + "/" + n.Path
		var d *observed.Difference
		switch {
		case n.Path == tree.ManifestName, n.Target != "":
			// The one is compared line by line; behind the other lies data, which changes.
		case n.Object.IsZero():
			d = v.file(ctx, name, n.Data)
		default:
			if objects[n.Object].wrong == "" { // else it is named already
				d = v.leadsTo(ctx, name, n.Object, objects[n.Object])
			}
		}
		if d != nil {
			d.Path = name
			found(*d)
		}
	}
	paths := make([]string, len(f.nodes))
	for i, n := range f.nodes {
		paths[i] = n.Path
	}
	v.extra(ctx, f.path, paths, found)
	return nil
}

// file compares a small file.
func (v *webView) file(ctx context.Context, name string, want []byte) *observed.Difference {
	s := newSum()
	_, err := v.get(ctx, v.at+name, "", max(maxManifest, int64(len(want))), 0, s)
	switch {
	case absent(err):
		return &observed.Difference{What: "missing"}
	case err != nil:
		return &observed.Difference{What: unreadable, Got: err.Error()}
	case s.digest() != artifact.Sum(want):
		return &observed.Difference{What: "file differs", Want: observed.Named(artifact.Sum(want)), Got: observed.Named(s.digest())}
	}
	return nil
}

// leadsTo says whether a path leads to an object: its length and its end are those of the object, which has been read
// whole. A server without ranges sends all of it.
func (v *webView) leadsTo(ctx context.Context, name string, want artifact.Digest, object content) *observed.Difference {
	s := newSum()
	a, err := v.get(ctx, v.at+name, fmt.Sprintf("bytes=-%d", tailSize), max(object.size, tailSize), object.size, s)
	switch {
	case absent(err):
		return &observed.Difference{What: "missing"}
	case a.status == http.StatusRequestedRangeNotSatisfiable && object.size == 0:
		return nil // an empty file has no last byte
	case err != nil && s.size <= object.size:
		return &observed.Difference{What: unreadable, Got: err.Error()}
	case object.tail == artifact.Sum(s.tail()) && (a.size == object.size || a.size < 0):
		return nil
	}
	return &observed.Difference{What: "leads to another object", Want: observed.Named(want), Got: fmt.Sprintf("%d bytes that end otherwise", a.size)}
}

func (v *webView) around(ctx context.Context, x expectedTop, found func(observed.Difference)) error {
	for _, l := range x.tree.Links {
		if err := ctx.Err(); err != nil {
			return err
		}
		v.link(ctx, l, found)
	}
	paths := []string{tree.IndexFile, tree.GenerationFile, tree.SignatureFile}
	for _, f := range x.tree.Folders {
		paths = append(paths, f.Path)
	}
	for _, l := range x.tree.Links {
		paths = append(paths, l.Path)
	}
	v.extra(ctx, "", paths, found)
	return nil
}

// link compares what is served at a FEC's host name with what is served at its nomenclature.
func (v *webView) link(ctx context.Context, l tree.Link, found func(observed.Difference)) {
	file := "/" + tree.ManifestName
	want, err := v.read(ctx, path.Join(path.Dir(l.Path), l.Target)+file, maxManifest)
	if err != nil {
		return // named at the FEC itself
	}
	got, err := v.read(ctx, l.Path+file, maxManifest)
	switch {
	case absent(err):
		found(observed.Difference{Path: l.Path, What: "missing"})
	case err != nil:
		found(observed.Difference{Path: l.Path, What: unreadable, Got: err.Error()})
	case !bytes.Equal(want, got):
		found(observed.Difference{Path: l.Path, What: "leads elsewhere", Want: l.Target})
	}
}

// extra names what a listing shows below dir and paths do not have.
func (v *webView) extra(ctx context.Context, dir string, paths []string, found func(observed.Difference)) {
	if !v.lists {
		return
	}
	known := map[string]map[string]bool{".": {}}
	for _, p := range paths {
		for at := p; at != "."; at = path.Dir(at) {
			up := path.Dir(at)
			if known[up] == nil {
				known[up] = map[string]bool{}
			}
			known[up][path.Base(at)] = true
		}
	}
	for folder, names := range known {
		listed, err := v.list(ctx, path.Join(dir, folder))
		if err != nil {
			continue // what should be there is asked for by its name
		}
		for _, name := range listed {
			if !names[name] {
				found(observed.Difference{Path: strings.TrimPrefix(path.Join(dir, folder, name), "/"), What: extraPath})
			}
		}
	}
}

const extraPath = "extra: the commit has nothing here"

func (v *webView) listed(ctx context.Context, dir string) bool {
	names, err := v.list(ctx, dir)
	return err == nil && len(names) > 0
}

var linked = regexp.MustCompile(`(?i)<a\s[^>]*href="([^"]*)"`)

// list are the names that the listing of a folder links to.
func (v *webView) list(ctx context.Context, dir string) (names []string, err error) {
	name := v.at
	if dir != "" && dir != "." {
		name += dir + "/"
	}
	var page bytes.Buffer
	a, err := v.get(ctx, name, "", maxListing, 0, &page)
	if err != nil || !a.html {
		return nil, errors.Join(err, errors.New("no listing"))
	}
	for _, m := range linked.FindAllSubmatch(page.Bytes(), -1) {
		to, err := url.Parse(html.UnescapeString(string(m[1])))
		if err != nil || to.IsAbs() || to.RawQuery != "" {
			continue // columns of a listing are sorted by queries
		}
		// "./NAME", "NAME/"; not "../", "/" or a path
		if base := strings.TrimSuffix(strings.TrimPrefix(to.Path, "./"), "/"); base != "" && base != ".." && base != "." && !strings.Contains(base, "/") {
			names = append(names, base)
		}
	}
	return names, nil
}

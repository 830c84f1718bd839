package boot_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// server serves files from memory, remembers who asked for what, and fails as it is told.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	files    map[string][]byte
	requests []request
	reports  []url.Values
	forms    []string // the same as they came
	// reportStatus answers reports; nil: 204
	reportStatus func(*http.Request) int

	fault fault // of the next requests; nil: none
}

type request struct{ Path, Range string }

// fault answers a request wrongly, or leaves it alone and returns false. n counts the requests for this path from 1.
type fault func(w http.ResponseWriter, r *http.Request, content []byte, n int) bool

func newServer(t *testing.T) *server {
	s := &server{files: map[string][]byte{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) put(path string, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = b
}

// fail makes f answer from now on, and forgets the requests so far.
func (s *server) fail(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.requests, s.reports, s.forms = f, nil, nil, nil
}

// asked are the requests since fail, without reports.
func (s *server) asked() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// told are the reports since fail.
func (s *server) told() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/-/report" {
		s.report(w, r)
		return
	}
	s.mu.Lock()
	n := 1
	for _, q := range s.requests {
		if q.Path == r.URL.Path {
			n++
		}
	}
	s.requests = append(s.requests, request{r.URL.Path, r.Header.Get("Range")})
	content, ok := s.files[r.URL.Path]
	f := s.fault
	s.mu.Unlock()
	if f != nil && f(w, r, content, n) {
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func (s *server) report(w http.ResponseWriter, r *http.Request) {
	form := r.URL.RawQuery
	if r.Method == http.MethodPost {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		form = string(b)
	}
	v, err := url.ParseQuery(form)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports, s.forms = append(s.reports, v), append(s.forms, form)
	status := http.StatusNoContent
	if s.reportStatus != nil {
		status = s.reportStatus(r)
	}
	w.WriteHeader(status)
}

// only lets a fault have requests whose path contains part.
func only(part string, f fault) fault {
	return func(w http.ResponseWriter, r *http.Request, content []byte, n int) bool {
		return strings.Contains(r.URL.Path, part) && f(w, r, content, n)
	}
}

// first lets a fault have the first k requests of a path.
func first(k int, f fault) fault {
	return func(w http.ResponseWriter, r *http.Request, content []byte, n int) bool {
		return n <= k && f(w, r, content, n)
	}
}

func status(code int) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte, _ int) bool {
		http.Error(w, http.StatusText(code), code)
		return true
	}
}

// cut promises the whole length, and closes the connection after k bytes.
func cut(k int) fault {
	return func(w http.ResponseWriter, _ *http.Request, content []byte, _ int) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:k]) // the client sees less if it has gone
		panic(http.ErrAbortHandler)
	}
}

// cutSilently promises no length, so that the end of the connection looks like the end of the file.
func cutSilently(k int) fault {
	return func(w http.ResponseWriter, _ *http.Request, content []byte, _ int) bool {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n%s", content[:k])
		_ = c.Close()
		return true
	}
}

// stall sends k bytes and then nothing.
func stall(k int) fault {
	return func(w http.ResponseWriter, r *http.Request, content []byte, _ int) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:k])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
}

// flip changes one byte.
func flip(w http.ResponseWriter, r *http.Request, content []byte, _ int) bool {
	b := bytes.Clone(content)
	b[len(b)/2] ^= 1
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	return true
}

package forge

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// Sizes of the cache.
const (
	maxCached = 256     // answers
	maxKept   = 4 << 20 // bytes of one answer
	maxCache  = 16 << 20
)

// cache keeps answers with their ETags: an answer that has not changed costs nothing of GitHub's limit. The zero value is
// ready. Safe for concurrent use.
type cache struct {
	mu    sync.Mutex
	kept  map[string]*cached
	order []string // oldest first
	bytes int
}

type cached struct {
	etag   string
	header http.Header
	body   []byte
}

func keyOf(req *http.Request) string { return req.Header.Get("Accept") + " " + req.URL.String() }

// ask makes a request conditional on the answer that is known, if there is one.
func (c *cache) ask(req *http.Request) *cached {
	if req.Method != http.MethodGet {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kept[keyOf(req)]
	if k != nil {
		req.Header.Set("If-None-Match", k.etag)
	}
	return k
}

// answer keeps an answer, or gives the known one if it still holds.
func (c *cache) answer(req *http.Request, res *http.Response, known *cached) (*http.Response, error) {
	if known != nil && res.StatusCode == http.StatusNotModified {
		res.Body.Close() // empty
		res.StatusCode, res.Status = http.StatusOK, "200 OK"
		res.Header = known.header.Clone()
		res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(known.body)), int64(len(known.body))
		return res, nil
	}
	etag := res.Header.Get("ETag")
	if req.Method != http.MethodGet || res.StatusCode != http.StatusOK || etag == "" {
		return res, nil
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		res.Body.Close()
		return nil, err
	}
	res.Body = &reread{bytes.NewReader(body), res.Body}
	c.keep(keyOf(req), &cached{etag, res.Header.Clone(), body})
	return res, nil
}

// reread is a body that was read.
type reread struct {
	io.Reader
	io.Closer
}

func (c *cache) keep(key string, k *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(key)
	if len(k.body) > maxKept {
		return
	}
	for len(c.order) > 0 && (len(c.order) >= maxCached || c.bytes+len(k.body) > maxCache) {
		c.drop(c.order[0])
	}
	if c.kept == nil {
		c.kept = map[string]*cached{}
	}
	c.kept[key] = k
	c.order = append(c.order, key)
	c.bytes += len(k.body)
}

func (c *cache) drop(key string) {
	k, ok := c.kept[key]
	if !ok {
		return
	}
	delete(c.kept, key)
	c.bytes -= len(k.body)
	for i, o := range c.order {
		if o == key {
			c.order = append(c.order[:i:i], c.order[i+1:]...)
			return
		}
	}
}

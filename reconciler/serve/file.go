package serve

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

// immutable lets any cache keep an answer for a year without asking again (RFC 8246).
const immutable = "public, max-age=31536000, immutable"

// sendFile sends a regular file, or the ranges of it that were asked for. The body goes from the file to the
// connection in the kernel: what wraps w hands that on, and nothing wraps f.
func sendFile(w http.ResponseWriter, r *http.Request, f *opened) {
	h := w.Header()
	h["Etag"] = []string{entityTag(f)}
	h["Content-Type"] = []string{contentType(r.URL.Path)}
	if isObject(r.URL.Path[1:]) {
		h["Cache-Control"] = []string{immutable}
	}
	dropStaleDate(r, f.info.ModTime())
	if unit, _, _ := strings.Cut(r.Header.Get("Range"), "="); unit != "bytes" {
		r.Header.Del("Range") // RFC 9110 14.2: ignore a unit that is not understood; the library answers 416
	}
	http.ServeContent(w, r, "", f.info.ModTime(), f.File)
}

// dropStaleDate ignores If-Modified-Since unless it is exactly the date of the file. A rollback publishes an older
// file, and the usual rule, not later than, would call that not modified.
func dropStaleDate(r *http.Request, modified time.Time) {
	if since := r.Header.Get("If-Modified-Since"); since != "" {
		t, err := http.ParseTime(since)
		if err != nil || t.Unix() != modified.Unix() {
			r.Header.Del("If-Modified-Since")
		}
	}
}

// entityTag is strong: an object's digest, or else a tag that changes when the path with all links resolved, the
// inode, the size or the time does. Files are replaced, never rewritten.
func entityTag(f *opened) string {
	if isObject(f.real) {
		return `"` + path.Base(f.real) + `"`
	}
	hash := fnv.New64a()
	hash.Write([]byte(f.real)) // never fails (hash.Hash)
	var inode uint64
	if s, ok := f.info.Sys().(*syscall.Stat_t); ok {
		inode = s.Ino
	}
	return fmt.Sprintf(`"%x-%x-%x-%x"`, hash.Sum64(), inode, f.info.Size(), f.info.ModTime().UnixNano())
}

// isObject says whether a path below the root is that of an object. Paths below a folder object are not: its links may
// lead to collected data, which changes.
func isObject(name string) bool {
	d, err := artifact.ParseDigest(path.Base(name))
	return err == nil && name == store.Path(d)
}

// redirectToSlash sends a client to the folder's own URL, so that the relative links of its listing work.
func redirectToSlash(w http.ResponseWriter, r *http.Request) {
	to := url.URL{Path: r.URL.Path + "/", RawQuery: r.URL.RawQuery}
	w.Header().Set("Location", to.String())
	refuse(w, http.StatusMovedPermanently)
}

// Package serve hands a published root to FECs over plain HTTP: the tree, its objects, and the reports that FECs send
// back. Integrity is the business of digests and signatures; this room sees to it that nothing outside the root and
// nothing private is ever sent, and that one bad client cannot keep others from booting.
package serve

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Options say how to serve. The zero value is ready for use; every default is the number in parentheses.
type Options struct {
	Log               *slog.Logger  // nil discards
	MaxConnections    int           // open at once; more wait in the kernel's queue (4096)
	ReadHeaderTimeout time.Duration // to send a whole request header, and to send a body (10 s)
	IdleTimeout       time.Duration // between two requests of one connection (30 s)
	// StallTimeout ends a connection whose client has taken nothing for this long (30 s). A slow client is welcome:
	// 100 MB at 56 kbit/s are four honest hours.
	StallTimeout    time.Duration
	ShutdownTimeout time.Duration // for running transfers when the server stops (60 s)
	// Reports takes what FECs report, from many goroutines at once; it must return soon. It may be nil.
	Reports func(Report)
	// Known says whether the tree has a FEC of that name; nil: it has all. All others share what one FEC may report.
	Known  func(fec string) bool
	Proofs Proofs
	// Served is told the status of each answer and the bytes of its body, likewise. It may be nil.
	Served  func(status int, bytes int64)
	Uploads Uploads
	// Pull is the plan of a pull request as text, by number; nil: there are none
	Pull func(number int) (text string, ok bool)
	// Check says in a line for monitoring whether a FEC runs what is published for it, by nomenclature; nil: nobody knows
	Check func(fec string) (text string, ok bool)
	// Pilots is how far the pilots are, for everybody to read below /-/pilots/; nil: there are none
	Pilots func(context.Context) (report.Pilots, error)
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 4096
	}
	for _, d := range []struct {
		set     *time.Duration
		seconds time.Duration
	}{{&o.ReadHeaderTimeout, 10}, {&o.IdleTimeout, 30}, {&o.StallTimeout, 30}, {&o.ShutdownTimeout, 60}} {
		if *d.set <= 0 {
			*d.set = d.seconds * time.Second
		}
	}
	return o
}

// published answers requests from one root.
type published struct {
	root    *os.Root
	dir     *os.File // the root itself, to know its path on disk whenever it is asked
	log     *slog.Logger
	body    time.Duration
	reports reports
	served  func(status int, bytes int64)
	uploads *uploads
	pull    func(number int) (text string, ok bool)
	check   func(fec string) (text string, ok bool)
	pilots  shownPilots
}

// Tree serves the root: the current generation at /, and /by-commit/, /previews/, /objects/ and /data/ as they lie on
// disk. Everything else below the root is not found. The root stays open as long as the handler is used.
//
// Paths are taken as they are spelled: put the handler beside a ServeMux rather than below one, or // and .. are
// redirected before they get here.
func Tree(root *os.Root, o Options) http.Handler {
	o = o.withDefaults()
	p := &published{root: root, log: o.Log, body: o.ReadHeaderTimeout, served: o.Served, pull: o.Pull, check: o.Check, pilots: shownPilots{o.Pilots, o.Log}, reports: reports{log: o.Log, take: o.Reports, known: o.Known, proofs: newProofs(o.Proofs, o.Log)}}
	p.uploads = newUploads(o.Uploads, o.Log, o.StallTimeout)
	dir, err := root.Open(".")
	if err != nil {
		// Every request opens below the same folder and will say so again; readyz says it first.
		o.Log.Error("opened no root", "err", err)
	}
	p.dir = dir
	return p
}

// ServeHTTP answers one request.
func (p *published) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	if blob, ok := strings.CutPrefix(r.URL.Path, "/-/blobs/sha256/"); ok {
		p.uploads.ServeHTTP(w, r, blob)
		return
	}
	p.limitBody(w, r)
	if p.served != nil {
		c := &counted{ResponseWriter: w}
		defer c.tell(p.served)
		w = c
	}
	p.answer(w, r)
}

func (p *published) answer(w http.ResponseWriter, r *http.Request) {
	if name, own := strings.CutPrefix(r.URL.Path, "/-/"); own {
		p.serveOwn(w, r, name)
		return
	}
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	name, ok := locate(r.URL)
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	f, err := p.open(name)
	if err != nil {
		refuse(w, p.statusOf(name, err))
		return
	}
	defer f.Close() // only read
	p.send(w, r, f)
}

func (p *published) send(w http.ResponseWriter, r *http.Request, f *opened) {
	slash := strings.HasSuffix(r.URL.Path, "/")
	switch {
	case f.info.IsDir() && slash:
		p.sendListing(w, r, f)
	case f.info.IsDir():
		redirectToSlash(w, r)
	case slash:
		refuse(w, http.StatusNotFound)
	default:
		sendFile(w, r, f)
	}
}

// limitBody bounds the time that a request body may take. The server reads what a handler leaves over, and would wait
// for it for ever.
func (p *published) limitBody(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	// Only a ResponseWriter without a connection refuses, and that has nothing to wait for.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(p.body))
	r.Body = http.MaxBytesReader(w, r.Body, maxReport)
}

// serveOwn answers what is not part of any tree.
func (p *published) serveOwn(w http.ResponseWriter, r *http.Request, name string) {
	switch about, what, _ := strings.Cut(name, "/"); {
	case about == pilotsFolder && p.pilots.see != nil:
		p.pilots.serve(w, r, what)
		return
	case about == "pulls" && p.pull != nil:
		n, err := strconv.Atoi(what)
		sendKnown(w, r, func() (string, bool) { return p.pull(n) }, err == nil)
		return
	case about == "fecs" && p.check != nil:
		fec, ok := strings.CutSuffix(what, "/check")
		sendKnown(w, r, func() (string, bool) { return p.check(fec) }, ok && fecName.MatchString(fec))
		return
	}
	switch name {
	case "report":
		p.reports.ServeHTTP(w, r)
	case "healthz":
		if allow(w, r, http.MethodGet, http.MethodHead) {
			sendText(w, http.StatusOK, "ok\n")
		}
	case "readyz":
		if allow(w, r, http.MethodGet, http.MethodHead) {
			p.sendReady(w)
		}
	default:
		refuse(w, http.StatusNotFound)
	}
}

// sendKnown sends a text if there is one.
func sendKnown(w http.ResponseWriter, r *http.Request, find func() (text string, ok bool), wellFormed bool) {
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	if wellFormed {
		if text, ok := find(); ok {
			sendText(w, http.StatusOK, text)
			return
		}
	}
	refuse(w, http.StatusNotFound)
}

func (p *published) sendReady(w http.ResponseWriter) {
	f, err := p.open(tree.CurrentLink + "/" + tree.GenerationFile)
	if err == nil {
		err = f.Close()
	}
	switch {
	case err == nil:
		sendText(w, http.StatusOK, "ok\n")
	case errors.Is(err, fs.ErrNotExist):
		sendText(w, http.StatusServiceUnavailable, "nothing is published\n")
	default:
		p.log.Error("read no current generation", "err", err)
		sendText(w, http.StatusServiceUnavailable, "the current generation is unreadable\n")
	}
}

// allow says whether the method is one of these, and answers if it is not.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	refuse(w, http.StatusMethodNotAllowed)
	return false
}

// refuse answers with a status and its name, and nothing that tells more about the disk.
func refuse(w http.ResponseWriter, status int) {
	sendText(w, status, strings.ToLower(http.StatusText(status))+"\n")
}

func sendText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", plainText)
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client has gone, and the server closes the connection
}

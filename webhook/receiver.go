package webhook

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	bodyTimeout  = 10 * time.Second // until a body must have come
	maxDelivery  = 200              // bytes of a delivery's id
	remembered   = 1 << 16          // deliveries and bodies, without a Replay
	logInterval  = 10 * time.Second // between two lines about refused deliveries
	retrySeconds = "30"
)

// Outcomes of a delivery, for Options.Count. Accepted, Repeated and Ignored ones are genuine.
const (
	Accepted  = "accepted"
	Repeated  = "repeated"
	Ignored   = "ignored"
	Forged    = "forged"
	Malformed = "malformed"
	Refused   = "refused" // too large, too many, too slow, or no delivery at all
)

// Source is a sender: its deliveries go to /NAME.
type Source struct {
	Name         string
	Kind         string   // one of Kinds
	Secrets      []string // files; two while one replaces the other
	Repositories []Repository
}

// Repository is one that a source may speak of. Its full name must be exactly this one, and its id too, unless that is 0.
type Repository struct {
	Name string
	ID   int64
}

// Options say whom a Receiver hears.
type Options struct {
	Sources []Source
	Seen    Replay                       // nil: a Memory
	Act     func(Event)                  // it must not block
	Count   func(source, outcome string) // may be nil
	Senders []netip.Prefix               // networks that forges send from: they share nothing with strangers
	Proxies []netip.Prefix               // whose X-Forwarded-For is believed
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Receiver is an http.Handler for deliveries. Its server should read MaxHeader bytes of headers, for a few seconds.
type Receiver struct {
	options Options
	sources map[string]*source
	limits  limits
	bodies  bodies
	quiet   quiet
}

type source struct {
	Source
	kind
	secrets *secrets
}

// New is a Receiver. It refuses a source without a secret, or without repositories.
func New(o Options) (*Receiver, error) {
	if o.Seen == nil {
		o.Seen = NewMemory(remembered)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Count == nil {
		o.Count = func(string, string) {}
	}
	r := &Receiver{options: o, sources: map[string]*source{}, limits: limits{senders: o.Senders}}
	for _, s := range o.Sources {
		k, ok := kinds[s.Kind]
		switch {
		case !ok:
			return nil, fmt.Errorf("webhook %q: unknown kind %q: want one of %s", s.Name, s.Kind, strings.Join(Kinds, ", "))
		case s.Name == "" || strings.Contains(s.Name, "/") || r.sources[s.Name] != nil:
			return nil, fmt.Errorf("webhook %q: want another name", s.Name)
		case len(s.Repositories) == 0:
			return nil, fmt.Errorf("webhook %q: no repository", s.Name)
		}
		ss, err := openSecrets(s.Secrets)
		if err != nil {
			return nil, fmt.Errorf("webhook %q: %w", s.Name, err)
		}
		r.sources[s.Name] = &source{s, k, ss}
	}
	return r, nil
}

// answer is what a sender is told.
type answer struct {
	code    int
	outcome string
	text    string
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s := r.sources[strings.TrimPrefix(req.URL.Path, "/")]
	from := sender(req, r.options.Proxies)
	a := r.receive(w, req, s, from)
	name := ""
	if s != nil {
		name = s.Name
	}
	r.options.Count(name, a.outcome)
	r.log(name, from, a)
	if a.code == http.StatusTooManyRequests || a.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retrySeconds)
	}
	if a.code == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	if a.outcome == Refused {
		w.Header().Set("Connection", "close") // what was not read stays unread
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.code)
	fmt.Fprintln(w, a.text) // the sender may have gone
}

// receive limits, reads, verifies and parses one delivery, in this order.
func (r *Receiver) receive(w http.ResponseWriter, req *http.Request, s *source, from netip.Addr) answer {
	if a, ok := check(req, s); !ok {
		return a
	}
	now := r.options.Now()
	known, ok := r.limits.allow(from, now)
	if !ok {
		return answer{http.StatusTooManyRequests, Refused, "too many deliveries"}
	}
	// A server that cannot do this has a deadline of its own.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	body, done, err := r.bodies.read(req.Body, known)
	defer done()
	switch {
	case errors.Is(err, errTooLarge):
		return answer{http.StatusRequestEntityTooLarge, Refused, err.Error()}
	case errors.Is(err, errBusy):
		return answer{http.StatusServiceUnavailable, Refused, err.Error()}
	case err != nil:
		return answer{http.StatusRequestTimeout, Refused, "the body did not come"}
	}
	ss, err := s.secrets.now()
	if err != nil && r.quiet.may("secret", now) {
		r.options.Log.Error("secret of webhook not read", "source", s.Name, "err", err)
	}
	if len(ss) == 0 {
		return answer{http.StatusServiceUnavailable, Refused, "no secret"}
	}
	if !s.prove(ss, req.Header, body) {
		return answer{http.StatusUnauthorized, Forged, "no signature of this source"}
	}
	r.limits.proved(from, now)
	return r.act(req.Context(), s, req.Header, body, now)
}

// check refuses what is no delivery by what is known before its body.
func check(req *http.Request, s *source) (answer, bool) {
	kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	switch {
	case req.ContentLength > maxBody:
		return answer{http.StatusRequestEntityTooLarge, Refused, errTooLarge.Error()}, false
	case headerSize(req.Header) > MaxHeader:
		return answer{http.StatusRequestHeaderFieldsTooLarge, Refused, "more than 256 KiB of headers"}, false
	case s == nil:
		return answer{http.StatusNotFound, Refused, "no such webhook"}, false
	case req.Method != http.MethodPost:
		return answer{http.StatusMethodNotAllowed, Refused, "want POST"}, false
	case err != nil || kind != "application/json" || req.Header.Get("Content-Encoding") != "":
		return answer{http.StatusUnsupportedMediaType, Refused, "want application/json"}, false
	}
	return answer{}, true
}

func headerSize(h http.Header) int {
	n := 0
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// act hands on what a genuine delivery says, once.
func (r *Receiver) act(ctx context.Context, s *source, h http.Header, body []byte, now time.Time) answer {
	said, err := s.parse(h, body)
	if errors.Is(err, errIgnore) {
		return answer{http.StatusAccepted, Ignored, "ignored: " + err.Error()}
	}
	if err != nil {
		return answer{http.StatusBadRequest, Malformed, err.Error()}
	}
	e := said.Event
	e.Source, e.Forge, e.Repository, e.Delivery = s.Name, s.Kind, said.about.Name, cmp.Or(e.Delivery, s.id(h))
	if !isID(e.Delivery) {
		return answer{http.StatusBadRequest, Malformed, "malformed id of delivery"}
	}
	if !s.mayTell(e, said.about) {
		return answer{http.StatusAccepted, Ignored, "ignored: not one of the repositories of this webhook"}
	}
	if !r.fresh(ctx, s, e.Delivery, body, now) {
		return answer{http.StatusAccepted, Repeated, "ignored: delivered before"}
	}
	r.options.Act(e)
	return answer{http.StatusAccepted, Accepted, "accepted"}
}

// mayTell says whether a source may speak of a repository. A ping may come from the account above it.
func (s *source) mayTell(e Event, about repository) bool {
	if e.Kind == Ping && about == (repository{}) {
		return true
	}
	return slices.ContainsFunc(s.Repositories, func(want Repository) bool {
		return want.Name == about.Name && (want.ID == 0 || want.ID == about.ID)
	})
}

// fresh says whether a delivery is new: neither its id nor its body was seen, because no signature covers the id. A replay
// does no harm, so that one which cannot be looked up counts as new.
func (r *Receiver) fresh(ctx context.Context, s *source, id string, body []byte, now time.Time) bool {
	sum := sha256.Sum256(body)
	for _, key := range []string{"body " + hex.EncodeToString(sum[:]), "id " + id} {
		fresh, err := r.options.Seen.Deliver(context.WithoutCancel(ctx), s.Name, key, now)
		if err != nil {
			if r.quiet.may("replay", now) {
				r.options.Log.Warn("delivery not remembered", "source", s.Name, "err", err)
			}
			continue
		}
		if !fresh {
			return false
		}
	}
	return true
}

// isID says whether a delivery's id may be kept and shown.
func isID(id string) bool {
	return id != "" && len(id) <= maxDelivery && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

// log says what became of a delivery: little of a flood.
func (r *Receiver) log(name string, from netip.Addr, a answer) {
	genuine := a.outcome == Accepted || a.outcome == Repeated || a.outcome == Ignored
	if genuine {
		r.options.Log.Debug("delivery", "source", name, "outcome", a.outcome)
		return
	}
	if r.quiet.may(a.outcome, r.options.Now()) {
		r.options.Log.Warn("delivery refused", "source", name, "from", from, "outcome", a.outcome, "because", a.text, "before", r.quiet.kept(a.outcome))
	}
}

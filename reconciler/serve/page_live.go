package serve

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Changes tell those who look at a site that something is otherwise. The zero value is ready; it is safe for concurrent use.
type Changes struct {
	Before func() // is called before anybody is told; may be nil

	mu    sync.Mutex
	next  chan struct{} // closed at the next change
	since int64         // how many there were
}

// Tell says that something is otherwise.
func (c *Changes) Tell() {
	if c.Before != nil {
		c.Before()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since++; c.next != nil {
		close(c.next)
		c.next = nil
	}
}

// after is how many changes there were, and what is closed at the next.
func (c *Changes) after() (int64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.since, c.next
}

const (
	eventText = "text/event-stream"
	eventRest = time.Second      // between two events: many FECs may boot at once
	eventBeat = 15 * time.Second // without one: whoever has gone is noticed
)

// changes tells a browser by server-sent events (HTML, section 9.2) when the page that it shows is to be asked for again.
func (p Pages) changes(w http.ResponseWriter, r *http.Request) {
	s, ok := p.Site(r.PathValue("site"))
	switch {
	case !ok:
		refuse(w, http.StatusNotFound)
		return
	case s == nil || s.Changes == nil:
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable)
		return
	}
	to := http.NewResponseController(w)
	w.Header().Set("Content-Type", eventText)
	w.Header().Set("X-Accel-Buffering", "no") // of nginx
	_, next := s.Changes.after()
	say := func(format string, args ...any) bool {
		_, err := fmt.Fprintf(w, format, args...)
		return err == nil && to.Flush() == nil
	}
	if r.Method == http.MethodHead || !say("retry: 2000\n\n") {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case <-time.After(eventBeat):
			if now, _ := p.Site(r.PathValue("site")); now == nil || now.Changes != s.Changes || !say(": still there\n\n") {
				return // another has taken its place: the browser asks again
			}
		case <-next:
			var n int64
			if n, next = s.Changes.after(); !say("id: %d\nevent: changed\ndata:\n\n", n) {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(eventRest):
			}
		}
	}
}

package webhook

import (
	"sync"
	"time"
)

// quiet lets one line of a kind into the log in so much time. The zero value is ready.
type quiet struct {
	mu    sync.Mutex
	lines map[string]*line
}

type line struct {
	last time.Time
	kept int // back since
}

// may says whether a line may be written now.
func (q *quiet) may(what string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lines == nil {
		q.lines = map[string]*line{}
	}
	l := q.lines[what]
	if l == nil {
		q.lines[what] = &line{last: now}
		return true
	}
	if since := now.Sub(l.last); since >= 0 && since < logInterval {
		l.kept++
		return false
	}
	l.last = now
	return true
}

// kept is how many lines of a kind were kept back, and starts to count again.
func (q *quiet) kept(what string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.lines[what].kept
	q.lines[what].kept = 0
	return n
}

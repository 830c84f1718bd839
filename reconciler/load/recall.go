package load

import (
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/memo"
)

// recall is what one pass remembers: from earlier passes of this process, and from the shelf, which is read at most once
// and only when it may save more than it costs.
type recall struct {
	*Loader
	pass   int64
	missed int
	open   sync.Once
	stored memo.Entries
	fresh  memo.Entries
}

func (l *Loader) recall() *recall {
	return &recall{Loader: l, pass: l.passes.Add(1), fresh: memo.Entries{}}
}

// Kinds of entries on the shelf; keys begin with one.
const (
	unitEntry   = "unit "
	headerEntry = "file "
)

// recallAfter is how much a later pass of a process misses before it looks at the shelf.
const recallAfter = 25

// shelved is what the shelf holds by a key. Each call says that something is missing in memory.
func (m *recall) shelved(kind, key string) ([]byte, bool) {
	if m.missed++; m.pass > 1 && m.missed <= recallAfter {
		return nil, false
	}
	m.open.Do(func() { m.stored = m.shelf.Load() })
	b, ok := m.stored[m.version+kind+key]
	return b, ok
}

func (m *recall) shelve(kind, key string, b []byte) {
	if m.shelf != (memo.Shelf{}) {
		m.fresh[m.version+kind+key] = b
	}
}

func (m *recall) header(id string) (header, bool) {
	if h, ok := m.headers.Get(id, m.pass); ok {
		return h, true
	}
	b, ok := m.shelved(headerEntry, id)
	if !ok {
		return header{}, false
	}
	h, ok := decodeHeader(b)
	if ok {
		m.headers.Put(id, h, m.pass)
	}
	return h, ok
}

func (m *recall) keepHeader(id string, h header) {
	m.headers.Put(id, h, m.pass)
	m.shelve(headerEntry, id, encodeHeader(h))
}

// fragments sets the fragments of units that are remembered; the others are to be evaluated.
func (m *recall) fragments(units []*unit) (todo []*unit) {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, u := range units {
		if u.fragment != nil {
			continue // a limit forbids evaluation
		}
		if f, ok := m.values.Get(u.key, m.pass); ok {
			u.fragment = f
			continue
		}
		todo = append(todo, u)
		if b, ok := m.shelved(unitEntry, u.key); ok {
			g.Go(func() error {
				u.recite(b)
				return nil
			})
		}
	}
	_ = g.Wait() // what cannot be decoded is not there
	left := todo[:0]
	for _, u := range todo {
		if u.fragment == nil {
			left = append(left, u)
		} else {
			m.values.Put(u.key, u.fragment, m.pass)
		}
	}
	return left
}

// recite takes what a child said in another process.
func (u *unit) recite(b []byte) {
	if f, ok := decodeFrame(b); ok {
		u.fragment, _ = newFragment(f)
	}
}

// keep remembers what a unit was evaluated to.
func (m *recall) keep(u *unit) {
	if u.fragment.killed {
		return
	}
	m.values.Put(u.key, u.fragment, m.pass)
	m.shelve(unitEntry, u.key, u.said)
	u.said = nil
}

// done saves what is new and forgets what is old. That nothing can be saved harms only the next process.
func (m *recall) done() {
	m.headers.Sweep(m.pass)
	m.values.Sweep(m.pass)
	if err := m.shelf.Save(m.fresh, m.used); err != nil {
		m.options.Log.Warn("evaluated folders not remembered", "err", err)
	}
}

// used says whether an entry of the shelf was of use lately.
func (m *recall) used(key string) bool {
	n := len(m.version)
	if len(key) < n+len(unitEntry) || key[:n] != m.version {
		return false
	}
	kind, rest := key[n:n+len(unitEntry)], key[n+len(unitEntry):]
	return kind == unitEntry && m.values.Has(rest) || kind == headerEntry && m.headers.Has(rest)
}


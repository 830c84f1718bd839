package load

import (
	"runtime"
	"strings"
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

// Kinds of entries on the shelf, all of one length; keys begin with one, after the version.
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
	var h header
	if memo.Decode(b, &h) != nil {
		return header{}, false
	}
	m.headers.Put(id, h, m.pass)
	return h, true
}

func (m *recall) keepHeader(id string, h header) {
	m.headers.Put(id, h, m.pass)
	if b, err := memo.Encode(h); err == nil {
		m.shelve(headerEntry, id, b)
	}
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
				u.fragment = decodeFragment(b)
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

// keep remembers what units were evaluated to.
func (m *recall) keep(units []*unit) {
	stored := make([][]byte, len(units))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, u := range units {
		if u.fragment.killed {
			continue
		}
		m.values.Put(u.key, u.fragment, m.pass)
		if m.shelf != (memo.Shelf{}) {
			g.Go(func() (err error) {
				stored[i], err = encodeFragment(u.fragment)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		m.options.Log.Warn("evaluated folders not remembered", "err", err)
		return
	}
	for i, u := range units {
		if stored[i] != nil {
			m.shelve(unitEntry, u.key, stored[i])
		}
	}
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
func (l *Loader) used(key string) bool {
	rest, ok := strings.CutPrefix(key, l.version)
	if !ok || len(rest) < len(unitEntry) {
		return false
	}
	kind, rest := rest[:len(unitEntry)], rest[len(unitEntry):]
	switch kind {
	case unitEntry:
		return l.values.Has(rest)
	case headerEntry:
		return l.headers.Has(rest)
	case soundEntry:
		return l.sound.Has(rest)
	}
	return false
}

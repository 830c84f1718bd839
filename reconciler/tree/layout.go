package tree

import (
	"maps"
	"reflect"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Layout lays out one tree after the other, as Of does, and takes over from the last one the folders of FECs for which nothing
// has changed: a commit changes few of many. A nil Layout remembers nothing. It is safe for concurrent use.
type Layout struct {
	mu   sync.Mutex
	last Wanted
	fecs map[string]Folder // of the last tree
}

// Of lays out the whole tree, like the function of that name.
func (l *Layout) Of(w Wanted) (Tree, error) {
	if l == nil {
		return Of(w)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t, err := of(w, l.unchanged(w))
	if err != nil {
		return t, err
	}
	l.last, l.fecs = w, make(map[string]Folder, len(w.Site.FECs))
	for _, f := range t.Folders {
		if f.Manifest != nil {
			l.fecs[f.Manifest.FEC] = f
		}
	}
	return t, nil
}

// unchanged gives the last folder of a FEC if the next would be the same. Whatever several FECs may share must not have changed
// at all, so that each needs to be compared with itself alone.
func (l *Layout) unchanged(w Wanted) func(fec string) (Folder, bool) {
	none := func(string) (Folder, bool) { return Folder{}, false }
	if l.fecs == nil || !maps.Equal(l.last.Expired, w.Expired) || !reflect.DeepEqual(shared(l.last.Site), shared(w.Site)) {
		return none
	}
	changed := changedParts(l.last.Parts, w.Parts)
	for p := range changed {
		if p.Kind != ScriptsPart { // that is one FEC's
			return none
		}
	}
	return func(fec string) (Folder, bool) {
		f, ok := l.fecs[fec]
		ok = ok && !changed[Part{Kind: ScriptsPart, Name: fec}] && reflect.DeepEqual(l.last.Site.FECs[fec], w.Site.FECs[fec])
		return f, ok
	}
}

// shared is a site without its FECs, and without pilots: what those have put on a FEC is one of its pins.
func shared(s desired.Site) desired.Site {
	s.FECs, s.Pilots = nil, nil
	return s
}

// changedParts are those that are another artifact now, or none.
func changedParts(was, now map[Part]artifact.Artifact) map[Part]bool {
	out := map[Part]bool{}
	for p, a := range was {
		if b, ok := now[p]; !ok || a != b {
			out[p] = true
		}
	}
	return out
}

// Package load reads desired state: it evaluates the CUE files of a commit in limited child processes and returns a site
// as Go values, with every problem that a person must fix.
//
// The unit of evaluation is one folder with files of package site, together with the same package's files in the folders
// above and the packages that they import. CUE evaluates such units in linear time and small memory, where one value for
// the whole site would need gigabytes; and since a unit depends on nothing else, it is evaluated again only when one of its
// files changes. Evaluation cannot be cancelled and a file of a hundred bytes can take all memory, hence the children.
package load

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/memo"
)

// Options say how a site is evaluated. The zero value of each but Worker has a default.
type Options struct {
	Worker   []string      // command of an evaluation child: the binary's hidden command
	Children int           // how many at once; default 4, at most one per processor
	Deadline time.Duration // for loading a batch, and again for each unit; default 10s
	Batch    int           // units that share a context; default 25
	Cache    string        // folder in which units are remembered for later processes; "": none
	Log      *slog.Logger  // default: none
}

func (o Options) withDefaults() Options {
	if o.Children <= 0 {
		o.Children = min(runtime.NumCPU(), 4)
	}
	if o.Deadline <= 0 {
		o.Deadline = 10 * time.Second
	}
	if o.Batch <= 0 {
		o.Batch = 25
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Limits that are checked before evaluation.
const (
	maxFile   = 256 << 10 // bytes of one file that a unit sees
	maxFiles  = 2000      // files that one unit sees
	maxOutput = 64 << 20  // bytes of JSON of one unit
)

// largeSite is the number of units from which on the collector runs earlier: most of what the process then holds is one
// site, which need not be held twice.
const largeSite = 1000

// Loader remembers the values of units that it has evaluated. It is safe for concurrent use.
type Loader struct {
	options Options
	shelf   memo.Shelf
	version string // of everything that decides about values, besides a unit's files
	passes  atomic.Int64
	headers memo.Recent[header]    // by blob id
	values  memo.Recent[*fragment] // by unit key
	sound   memo.Recent[struct{}]  // by what Proof.base and unit keys name
}

// New is a Loader that remembers nothing yet.
func New(o Options) *Loader {
	l := &Loader{options: o.withDefaults()}
	if len(o.Worker) == 0 || o.Cache == "" {
		return l
	}
	version, err := memo.Programs(o.Worker[0])
	if err == nil {
		l.shelf, l.version = memo.NewShelf(o.Cache, "units"), version
	} // else the first evaluation says what is wrong with the command
	return l
}

// Site evaluates every unit of a commit. Loaded.Problems lists everything that a person must change; err is a failure of
// this machine.
func Site(ctx context.Context, src artifact.Source, o Options) (*Loaded, error) {
	return New(o).Site(ctx, src)
}

// Loaded is an evaluated site. With problems that are not warnings, Site is good only for finding more: it holds
// what has none, and of the rest what the files say, as far as that can be read.
type Loaded struct {
	Site     desired.Site
	Problems desired.Problems
	Broken   map[string]bool // CUE paths of objects that have problems, for instance software.bpm; site itself too
	Lost     bool            // some folder could not be evaluated: what it declares is not known

	commit *commit
	owners map[object]*unit
	loader *Loader
	pass   int64
	units  []*unit
	around []object // all that are no FECs
	proofs memo.Entries
}

// Site evaluates those units of a commit that l does not remember.
func (l *Loader) Site(ctx context.Context, src artifact.Source) (*Loaded, error) {
	m := l.recall()
	c, problems, err := m.scan(src)
	if err != nil || c == nil {
		return &Loaded{Problems: problems.Sorted()}, err
	}
	units := c.units()
	if err := m.fill(ctx, c, units); err != nil {
		return nil, err
	}
	loaded := &Loaded{commit: c, loader: l, pass: m.pass, units: units, proofs: m.proofsOf()}
	more, err := loaded.merge(ctx, units)
	if err != nil {
		return nil, err
	}
	loaded.Problems = append(problems, more...).Sorted()
	return loaded, nil
}

// fill sets the fragments of units: from memory, else by evaluation.
func (m *recall) fill(ctx context.Context, c *commit, units []*unit) error {
	if len(units) > largeSite && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	todo := m.fragments(units)
	if err := m.evaluate(ctx, c, todo); err != nil {
		return err
	}
	c.forgetContent()
	m.options.Log.Debug("evaluated folders", "folders", len(units), "evaluated", len(todo))
	m.keep(todo)
	m.done()
	return nil
}

// object names one value of a site.
type object struct{ section, name string }

// fragment is what one unit contributes.
type fragment struct {
	failed   bool           // it has no value at all
	killed   bool           // its evaluation was ended; another machine may do better
	values   map[object]any // nil for an object with problems
	drafts   map[object]any // of objects with problems, as far as they can be read
	problems desired.Problems

	names []object                   // the keys of values, sorted
	sums  map[object]artifact.Digest // of values that other units see or look at: all but FECs
}

// index completes a fragment that has its values.
func (f *fragment) index() *fragment {
	f.names = slices.SortedFunc(maps.Keys(f.values), compareObjects)
	f.sums = map[object]artifact.Digest{}
	for _, o := range f.names {
		if v := f.values[o]; v != nil && o.section != "fecs" {
			if b, err := memo.Encode(v); err == nil { // else it is compared as it is
				f.sums[o] = artifact.Sum(b)
			}
		}
	}
	return f
}

// agrees says whether two fragments have the same value of an object.
func (f *fragment) agrees(g *fragment, o object) bool {
	a, ok := f.sums[o]
	b, both := g.sums[o]
	if ok && both {
		return a == b
	}
	return reflect.DeepEqual(f.values[o], g.values[o])
}

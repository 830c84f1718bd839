package reconciler_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// outage cuts the power of passes at each of their changes, in many ways, and checks each different state once.
type outage struct {
	t      *testing.T
	r      func(root string) *reconciler.Reconciler
	random *rand.Rand
	picks  int // states picked at random after each change
	seen   map[string]bool
	failed int
}

// enough states with failures say where to look.
const enough = 3

func newOutage(t *testing.T, r func(root string) *reconciler.Reconciler) *outage {
	o := &outage{t: t, r: r, random: rand.New(rand.NewPCG(1, 0)), picks: 4, seen: map[string]bool{}}
	if text := os.Getenv("POMONA_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("POMONA_KILLS: %v", err)
		}
		o.picks = n
	}
	return o
}

// replay applies recorded changes to a disk and cuts the power after each, from the first'th on.
func (o *outage) replay(d *disk, changes []change, first int) {
	o.t.Helper()
	for i, c := range changes {
		d.apply(o.t, c)
		if i+1 < first {
			continue
		}
		last := i == len(changes)-1
		for _, cut := range d.cuts(o.random, o.picks) {
			key := fmt.Sprint(last, d.key(cut))
			if o.seen[key] || o.failed >= enough {
				continue
			}
			o.seen[key] = true
			name := fmt.Sprintf("after change %d, %s: %s", i+1, c, cut.what)
			if !o.t.Run(name, func(t *testing.T) { o.check(t, d.write(t, cut), last) }) {
				o.failed++
			}
		}
	}
}

// check looks at one state as it is found, then after one pass.
func (o *outage) check(t *testing.T, root string, ended bool) {
	complete(t, root)
	if ended {
		nothingLost(t, o.r(root))
	}
	pass(t, o.r(root))
	complete(t, root)
	readable(t, root)
	clean(t, root)
}

// nothingLost checks that what a pass has said to be done is done.
func nothingLost(t *testing.T, r *reconciler.Reconciler) {
	t.Helper()
	rep, err := r.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p := rep.Plan; p.Publish != nil || rep.Built > 0 || len(p.Prune.Remove()) > 0 || len(p.Prune.Commits) > 0 {
		t.Errorf("the pass had ended, and is to do again: build %d, publish %+v, prune %+v", rep.Built, p.Publish, p.Prune)
	}
	have := observeRoot(t, r.Root)
	if g, ok := have.Published(); !ok || have.Commits[g.Commit] != g.Number {
		t.Errorf("the pass had ended, and by-commit links %v, not %d", have.Commits, g.Number)
	}
}

// complete checks that what is published is whole, and with it every generation and every object that has a name.
func complete(t *testing.T, root string) {
	t.Helper()
	whole(t, root)
	have := observeRoot(t, root)
	if target, err := os.Readlink(filepath.Join(root, tree.CurrentLink)); err == nil && have.Current == 0 {
		t.Errorf("current -> %s dangles", target)
	}
	for _, g := range have.Generations {
		listing(t, root, tree.GenerationPath(g.Number)) // follows every link
	}
	for commit := range have.Commits {
		if _, err := os.Stat(filepath.Join(root, tree.CommitsFolder, commit, tree.IndexFile)); err != nil {
			t.Errorf("link of commit %s dangles: %v", commit, err)
		}
	}
	honest(t, root)
	accounted(t, root, have)
}

// accounted checks that objects that nothing names are known of: a pass has died, or they wait for their time.
func accounted(t *testing.T, root string, have observed.Root) {
	t.Helper()
	if have.Interrupted || !have.SweepDue.IsZero() {
		return
	}
	dir, err := durable.Open(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	var numbers []int64
	for _, g := range have.Generations {
		numbers = append(numbers, g.Number)
	}
	objects, err := observe.Objects(dir.Root(), store.New(dir))
	if err != nil {
		t.Fatal(err)
	}
	reachable, err := observe.Reachable(dir.Root(), numbers, have.Pins)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if !reachable[o.Digest] {
			t.Errorf("nothing names object %s, and nothing says that a pass died", o.Digest)
		}
	}
}

// readable checks that a web server may read every folder that is served.
func readable(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		if e.Name() == durable.Private {
			return fs.SkipDir
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm() != 0o755 {
			t.Errorf("folder %s has mode %v", name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// honest checks that every object is what its name says.
func honest(t *testing.T, root string) {
	t.Helper()
	objects, err := filepath.Glob(filepath.Join(root, store.Folder, "sha256/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range objects {
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		var is artifact.Digest
		if info.IsDir() {
			is = folderDigest(t, name)
		} else {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			is = artifact.Sum(b)
			if info.Mode().Perm() != 0o444 {
				t.Errorf("object %s has mode %v", name, info.Mode())
			}
		}
		if is.String() != filepath.Base(name) {
			t.Errorf("object %s holds %s", name, is)
		}
	}
}

// folderDigest is the digest of a folder's listing, read from the disk.
func folderDigest(t *testing.T, folder string) artifact.Digest {
	t.Helper()
	nodes := []tree.Node{}
	err := filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		n := tree.Node{Path: name[len(folder)+1:]}
		mode, data, err := look(name)
		switch {
		case mode.Type() == fs.ModeSymlink:
			up := strings.Repeat("../", strings.Count(n.Path, "/"))
			if target, ok := strings.CutPrefix(data, up+"../../../../"); ok {
				n.Target = target
			} else if n.Object, err = artifact.ParseDigest(filepath.Base(data)); err != nil || n.LinkTarget() != data {
				return fmt.Errorf("%s links to %q: %w", name, data, err)
			}
		case mode.Perm() == 0o555:
			n.Mode, n.Data = artifact.Executable, []byte(data)
		case mode.Perm() == 0o444:
			n.Data = []byte(data)
		default:
			return fmt.Errorf("%s has mode %v", name, mode)
		}
		nodes = append(nodes, n)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	slices.SortFunc(nodes, func(a, b tree.Node) int { return strings.Compare(a.Path, b.Path) })
	_, d := tree.Folder{Nodes: nodes}.Sealed(nil)
	return d
}

// survivesPowerCuts records a pass and cuts its power.
func survivesPowerCuts(t *testing.T, from string, r func(root string) *reconciler.Reconciler) []change {
	t.Helper()
	o := newOutage(t, r)
	root := copyRoot(t, from)
	d, rec := readDisk(t, root), &recorder{root: root}
	o.run(rec, rec.hook)
	o.replay(d, rec.changes, 0)
	o.report(10)
	return rec.changes
}

func (o *outage) run(rec *recorder, hook durable.Hook) {
	o.t.Helper()
	r := o.r(rec.root)
	r.Hook = hook
	if _, err := r.Reconcile(o.t.Context()); err != nil && !errors.Is(err, errKilled) {
		o.t.Fatal(err)
	}
}

func (o *outage) report(least int) {
	o.t.Helper()
	o.t.Logf("%d different states after a power cut, %d of them not survived", len(o.seen), o.failed)
	if len(o.seen) < least {
		o.t.Errorf("only %d states", len(o.seen))
	}
}

func TestPowerCutInFirstPass(t *testing.T) {
	s := newSite(t)
	survivesPowerCuts(t, t.TempDir(), s.reconciler)
}

// updated is a root and a site that differ in one payload and one FEC.
func updated(t *testing.T) (site, string) {
	t.Helper()
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	s.commit("payload/bpm/1.1.0/bin/bpm", "echo 1.1.0", "echo 1.1.0, rebuilt")
	s.commit("fecs/fecs.cue", `version: "1.0.0"`, `version: "1.1.0"`)
	return s, root
}

func TestPowerCutInUpdate(t *testing.T) {
	s, root := updated(t)
	survivesPowerCuts(t, root, s.reconciler)
}

// TestPowerCutInLargeUpdate writes so much that it syncs all of the file system instead of one file after the other.
func TestPowerCutInLargeUpdate(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	services := ""
	for n := range 80 {
		services += fmt.Sprintf("s%d: {check: \"tcp\", port: 5000}\n", n)
	}
	s.write("fecs/more.cue", "package site\nfecs: kgp2cu01: monitoring: services: {\n"+services+"}\n")
	s.commit("payload/bpm/1.1.0/bin/bpm", "echo 1.1.0", "echo 1.1.0, rebuilt")
	changes := survivesPowerCuts(t, root, s.reconciler)
	if !slices.ContainsFunc(changes, func(c change) bool { return c.Kind == "syncfs" }) {
		t.Error("the pass did not sync the file system")
	}
}

// TestPowerCutUnderANarrowUmask needs folders to be readable whatever became of their modes.
func TestPowerCutUnderANarrowUmask(t *testing.T) {
	s, root := updated(t)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	survivesPowerCuts(t, root, s.reconciler)
}

func TestPowerCutInPrune(t *testing.T) {
	_, root, late := prunable(t)
	survivesPowerCuts(t, root, late)
}

func TestPowerCutInUpdateThatPrunes(t *testing.T) {
	s, root, late := prunable(t)
	s.commit("payload/bpm/dev/bin/bpm", "echo", "echo four;echo")
	survivesPowerCuts(t, root, late)
}

// TestPowerCutAfterAKill kills a pass before it syncs, lets the next one heal the root and cuts its power: what the first
// one has written is seen, but may be on the disk or not.
func TestPowerCutAfterAKill(t *testing.T) {
	some := func(n int) int {
		if os.Getenv("POMONA_KILLS") != "" {
			return 1 // all of them
		}
		return n
	}
	s, root := updated(t)
	t.Run("first pass", func(t *testing.T) { healsBeforePowerCuts(t, t.TempDir(), s.reconciler, some(25)) })
	t.Run("update", func(t *testing.T) { healsBeforePowerCuts(t, root, s.reconciler, some(3)) })
	_, root, late := prunable(t)
	t.Run("prune", func(t *testing.T) { healsBeforePowerCuts(t, root, late, 1) })
}

// healsBeforePowerCuts kills passes at every n'th of their syncs.
func healsBeforePowerCuts(t *testing.T, from string, r func(root string) *reconciler.Reconciler, every int) {
	t.Helper()
	o := newOutage(t, r)
	for at := 1; ; at += every {
		root := copyRoot(t, from)
		d, rec := readDisk(t, root), &recorder{root: root}
		k := &killer{at: at, among: visibleSync}
		o.run(rec, func(op durable.Op, do func() error) error {
			return k.hook(op, func() error { return rec.hook(op, do) })
		})
		if !k.died {
			break
		}
		first := len(rec.changes)
		o.run(rec, rec.hook)
		o.replay(d, rec.changes, first)
	}
	o.report(10)
}

// visibleSync says whether a change makes something survive that a later pass may see.
func visibleSync(op durable.Op) bool {
	return op.Kind == "syncfs" || op.Kind == "sync" && !strings.HasPrefix(op.Path, durable.Staging)
}

// tearer dies within its at'th removal of a folder, when a part of what is in it has gone.
type tearer struct {
	root string
	at   int
	part float64 // 0 to 1
	n    int
	died bool
}

func (k *tearer) hook(op durable.Op, do func() error) error {
	if k.died {
		return errKilled
	}
	if op.Kind != "remove" {
		return do()
	}
	names, err := inside(filepath.Join(k.root, op.Path))
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return do()
	}
	if k.n++; k.n < k.at {
		return do()
	}
	k.died = true
	for _, name := range names[:max(1, int(k.part*float64(len(names))))] {
		err = errors.Join(err, os.Remove(name))
	}
	return errors.Join(errKilled, err)
}

// inside is everything below a folder, each folder after what it holds; nothing of what is no folder.
func inside(folder string) (names []string, err error) {
	err = filepath.WalkDir(folder, func(name string, _ fs.DirEntry, err error) error {
		if name == folder && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if name != folder {
			names = append(names, name)
		}
		return err
	})
	slices.Reverse(names)
	return names, err
}

// TestKilledWithinARemoval dies while a leftover, a generation or an object is half removed.
func TestKilledWithinARemoval(t *testing.T) {
	_, from, late := prunable(t)
	leftover := filepath.Join(from, durable.Staging, "pruned-LEFT")
	if err := os.CopyFS(leftover, os.DirFS(filepath.Join(from, "generations/1"))); err != nil {
		t.Fatal(err)
	}
	torn := map[string]bool{}
	for _, part := range []float64{0, 0.5, 1} {
		for at := 1; ; at++ {
			root := copyRoot(t, from)
			k := &tearer{root: root, at: at, part: part}
			dying := late(root)
			what := ""
			dying.Hook = func(op durable.Op, do func() error) error {
				if op.Kind == "rename" && !k.died {
					what, _, _ = strings.Cut(op.From, "/")
				}
				return k.hook(op, do)
			}
			_, err := dying.Reconcile(t.Context())
			if !k.died {
				break
			}
			torn[what] = true
			t.Run(fmt.Sprintf("removal %d, after %v of it", at, part), func(t *testing.T) {
				if !errors.Is(err, errKilled) {
					t.Errorf("error is %v", err)
				}
				complete(t, root)
				pass(t, late(root))
				complete(t, root)
				clean(t, root)
			})
		}
	}
	for _, what := range []string{"", "generations", "objects"} {
		if !torn[what] {
			t.Errorf("nothing from %q was half removed, only %v", what, torn)
		}
	}
}

package reconciler_test

import (
	"fmt"
	"hash/maphash"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// recorder is a hook that notes every change that is applied, with what is needed to apply it again.
type recorder struct {
	mu      sync.Mutex
	root    string
	changes []change
}

// change is an Op and what lay at its path once it was applied.
type change struct {
	durable.Op
	mode fs.FileMode
	data string // of a file, its content; of a link, its target
}

func (c change) String() string { return strings.TrimSpace(c.Kind + " " + c.From + " " + c.Path) }

func (r *recorder) hook(op durable.Op, do func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	c := change{Op: op}
	if op.Kind != "remove" {
		var err error
		if c.mode, c.data, err = look(filepath.Join(r.root, op.Path)); err != nil {
			return fmt.Errorf("record %s: %w", c, err)
		}
	}
	r.changes = append(r.changes, c)
	return nil
}

// look reads what lies at a path: a file's content, a link's target, of a folder only its mode.
func look(name string) (mode fs.FileMode, data string, err error) {
	info, err := os.Lstat(name)
	if err != nil {
		return 0, "", err
	}
	switch mode = info.Mode(); mode.Type() {
	case fs.ModeSymlink:
		data, err = os.Readlink(name)
	case 0:
		var b []byte
		b, err = os.ReadFile(name)
		data = string(b)
	}
	return mode, data, err
}

// disk models what POSIX promises of a root when the power goes, and nothing more: a file's content and mode are there
// if the file was synced since, a name if its folder was. Of the rest, any part may be there, in any order: of a rename,
// the new name, the old one, both or neither.
type disk struct {
	top     *inode
	pending []naming // in order; none that a sync has covered
}

// inode is a file, link or folder, whatever its name.
type inode struct {
	mode, kept fs.FileMode // type and permissions; kept are those on the disk
	data       string      // of a file, its content; of a link, its target
	torn       bool        // the content is not on the disk
	names      map[string]*inode
	synced     map[string]*inode // the names on the disk
}

// naming is one change of one name of a folder.
type naming struct {
	folder *inode
	name   string
	to     *inode // nil: the name goes
	by     change
}

func newInode(mode fs.FileMode, data string) *inode {
	n := &inode{mode: mode, kept: mode, data: data}
	if mode.IsDir() {
		n.names, n.synced = map[string]*inode{}, map[string]*inode{}
	}
	return n
}

// readDisk is a root that lies on the disk, all of it.
func readDisk(t *testing.T, root string) *disk {
	t.Helper()
	d := &disk{}
	err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode, data, err := look(name)
		n, rel := newInode(mode, data), strings.TrimPrefix(name[len(root):], "/")
		if rel == "" {
			d.top = n
			return err
		}
		folder := d.find(path.Dir(rel))
		folder.names[path.Base(rel)], folder.synced[path.Base(rel)] = n, n
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *disk) find(name string) *inode {
	n := d.top
	for _, word := range strings.Split(name, "/") {
		if word != "." && n != nil {
			n = n.names[word]
		}
	}
	return n
}

func (d *disk) name(c change, at string, to *inode) {
	folder, base := d.find(path.Dir(at)), path.Base(at)
	if folder.names[base] = to; to == nil {
		delete(folder.names, base)
	}
	d.pending = append(d.pending, naming{folder, base, to, c})
}

func (d *disk) apply(t *testing.T, c change) {
	t.Helper()
	n := d.find(c.Path)
	switch c.Kind {
	case "mkdir", "write", "symlink":
		n = newInode(c.mode, c.data)
		// What cannot be synced by itself comes with its name: a link's target, the mode that a folder is made with.
		if c.Kind == "write" {
			n.kept, n.torn = c.mode&^0o077, true
		}
		d.name(c, c.Path, n)
	case "chmod":
		n.mode, n.data = c.mode, c.data // a streamed file is complete when something is done with it
	case "rename":
		n = d.find(c.From)
		n.data = c.data
		d.name(c, c.Path, n)
		d.name(c, c.From, nil)
	case "exchange":
		other := d.find(c.From)
		d.name(c, c.Path, other)
		d.name(c, c.From, n)
	case "remove":
		if n != nil {
			d.remove(c, c.Path)
		}
	case "sync":
		n.data = c.data
		n.sync()
		d.pending = slices.DeleteFunc(d.pending, func(p naming) bool { return p.folder == n })
	case "syncfs":
		for n := range d.reached(nil) {
			n.sync()
		}
		d.pending = nil
	default:
		t.Fatalf("the model knows no change %q", c)
	}
}

func (n *inode) sync() { n.kept, n.torn, n.synced = n.mode, false, maps.Clone(n.names) }

func (d *disk) remove(c change, name string) {
	for child := range maps.Clone(d.find(name).names) {
		d.remove(c, name+"/"+child)
	}
	d.name(c, name, nil)
}

// reached is everything that may have a name after a power cut, except what only lies below but.
func (d *disk) reached(but *inode) map[*inode]bool {
	pending := map[*inode][]*inode{}
	for _, p := range d.pending {
		pending[p.folder] = append(pending[p.folder], p.to)
	}
	seen := map[*inode]bool{}
	var reach func(n *inode)
	reach = func(n *inode) {
		if n == nil || n == but || seen[n] {
			return
		}
		seen[n] = true
		for _, names := range []map[string]*inode{n.names, n.synced} {
			for _, child := range names {
				reach(child)
			}
		}
		for _, child := range pending[n] {
			reach(child)
		}
	}
	reach(d.top)
	return seen
}

// damage is what becomes of content or a mode that is not on the disk.
type damage int

const (
	intact   damage = iota // it was there in time
	modeless               // the content was, the mode was not
	emptied
	halved
	zeroed // the length was there, the content was not
	damages
)

func (d damage) String() string {
	return []string{"whole", "without modes", "empty", "half", "zeros"}[d]
}

// cut is one state that a power cut may leave.
type cut struct {
	what    string
	lost    []bool                // which pending names are not there
	unsaved func(n *inode) damage // what is left of what is not on the disk
}

// cuts are states that a power cut may leave now: every name there, none, each one missing, each one alone, and some
// picked at random.
func (d *disk) cuts(random *rand.Rand, picks int) []cut {
	var out []cut
	add := func(what string, lost func(i int) bool, ways ...damage) {
		all := make([]bool, len(d.pending))
		for i := range all {
			all[i] = lost(i)
		}
		for _, way := range ways {
			out = append(out, cut{fmt.Sprintf("%s, unsynced content is %s", what, way), all, func(*inode) damage { return way }})
		}
	}
	add("every name is there", func(int) bool { return false }, intact, modeless, emptied, halved, zeroed)
	add("no name is there", func(int) bool { return true }, intact, zeroed)
	seen := d.reached(d.find(durable.Staging))
	for one, p := range d.pending {
		if seen[p.folder] { // what lies in staging matters to no one
			add(fmt.Sprintf("only %s in %q is lost", p.name, p.by), func(i int) bool { return i == one }, intact, zeroed)
			add(fmt.Sprintf("only %s in %q is there", p.name, p.by), func(i int) bool { return i != one }, intact, zeroed)
		}
	}
	for range picks {
		ways := map[*inode]damage{}
		add("some names are there", func(int) bool { return random.IntN(2) == 0 }, intact)
		out[len(out)-1].unsaved = func(n *inode) damage {
			if _, ok := ways[n]; !ok {
				ways[n] = damage(random.IntN(int(damages)))
			}
			return ways[n]
		}
	}
	return out
}

// after visits what is there after a power cut, folders first, names in order, except what lies below skip.
func (d *disk) after(c cut, skip string, visit func(name string, mode fs.FileMode, data string)) {
	pending := map[*inode][]int{}
	for i, p := range d.pending {
		if !c.lost[i] {
			pending[p.folder] = append(pending[p.folder], i)
		}
	}
	var walk func(name string, n *inode)
	walk = func(name string, n *inode) {
		mode, data := n.after(c)
		visit(name, mode, data)
		if name == skip {
			return
		}
		names := maps.Clone(n.synced)
		for _, i := range pending[n] {
			if names[d.pending[i].name] = d.pending[i].to; d.pending[i].to == nil {
				delete(names, d.pending[i].name)
			}
		}
		for _, child := range slices.Sorted(maps.Keys(names)) {
			walk(path.Join(name, child), names[child])
		}
	}
	walk(".", d.top)
}

func (n *inode) after(c cut) (fs.FileMode, string) {
	if !n.torn && n.kept == n.mode {
		return n.mode, n.data
	}
	way := c.unsaved(n)
	if way == intact {
		return n.mode, n.data
	}
	if !n.torn {
		return n.kept, n.data
	}
	switch way {
	case emptied:
		return n.kept, ""
	case halved:
		return n.kept, n.data[:len(n.data)/2]
	case zeroed:
		return n.kept, strings.Repeat("\x00", len(n.data))
	}
	return n.kept, n.data
}

var seed = maphash.MakeSeed()

// key is equal for states that differ in staging only: every pass begins by emptying it.
func (d *disk) key(c cut) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	d.after(c, durable.Staging, func(name string, mode fs.FileMode, data string) {
		fmt.Fprintf(&h, "%s\x00%v\x00%d\x00", name, mode, len(data))
		h.WriteString(data)
	})
	return h.Sum64()
}

// write makes a root as a power cut leaves it.
func (d *disk) write(t *testing.T, c cut) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	d.after(c, "", func(name string, mode fs.FileMode, data string) {
		name = filepath.Join(root, name)
		var err error
		switch mode.Type() {
		case fs.ModeDir:
			err = os.Mkdir(name, 0o755)
		case fs.ModeSymlink:
			err = os.Symlink(data, name)
		default:
			err = os.WriteFile(name, []byte(data), 0o644)
		}
		if err == nil && mode.Type() != fs.ModeSymlink {
			err = os.Chmod(name, mode.Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	return root
}

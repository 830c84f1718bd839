package observe

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// ServedByRoot is the generation of a commit in a root: the current one if it is of that commit, else the one that
// by-commit names. Nothing in the root is trusted; it stays open as long as the result is used. The error is a NotServed
// when there is no such generation.
func ServedByRoot(ctx context.Context, root *os.Root, commit string) (*Served, error) {
	link := tree.CommitsFolder + "/" + commit
	current, linked := numbered(root, tree.CurrentLink, ""), numbered(root, link, "../")
	s, err := openGeneration(ctx, root, current)
	if err != nil {
		return nil, err
	}
	if s != nil && s.commit() == commit {
		if linked != current {
			s.early = append(s.early, observed.Difference{Path: link, What: "does not lead to the current generation",
				Want: "../" + tree.GenerationPath(current), Got: target(root, link)})
		}
		return s, nil
	}
	e := NotServed{Commit: commit}
	if s != nil {
		e.Current = s.commit()
	}
	if s, err = openGeneration(ctx, root, linked); err != nil || s == nil {
		return nil, errors.Join(err, e)
	}
	s.beside(e.Current)
	return s, nil
}

// openGeneration is nil for a generation that is not there.
func openGeneration(ctx context.Context, root *os.Root, n int64) (*Served, error) {
	s := &Served{view: &rootView{root: root, number: n, at: tree.GenerationPath(n)}}
	if info, err := root.Lstat(tree.GenerationPath(n)); n == 0 || err != nil || !info.IsDir() {
		return nil, nil
	}
	return s, s.open(ctx)
}

// numbered is the generation that a link leads to; 0 for none.
func numbered(root *os.Root, link, up string) int64 {
	to := strings.TrimPrefix(target(root, link), up)
	n, err := strconv.ParseInt(path.Base(to), 10, 32)
	if err != nil || to != tree.GenerationPath(n) {
		return 0
	}
	return n
}

// target is where a link leads; empty when there is none.
func target(root *os.Root, link string) string {
	to, err := root.Readlink(link)
	if err != nil {
		return ""
	}
	return to
}

// rootView reads a generation from the disk.
type rootView struct {
	root   *os.Root
	number int64
	at     string
}

func (v *rootView) workers() int { return runtime.GOMAXPROCS(0) }

func (v *rootView) unchanged(context.Context, []byte) error {
	if _, err := v.root.Lstat(v.at); err != nil {
		return fmt.Errorf("generation %d was pruned meanwhile: %w", v.number, err)
	}
	return nil
}

func (v *rootView) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	f, _, err := v.open(v.at + "/" + name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	b, err := io.ReadAll(io.LimitReader(reader{ctx, f}, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return b, err
}

// open opens a regular file. What is something else counts as unreadable; a FIFO is not waited for.
func (v *rootView) open(name string) (*os.File, fs.FileInfo, error) {
	f, err := v.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is %s", kind(info))
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

func (v *rootView) object(ctx context.Context, d artifact.Digest, size int64) (content, error) {
	name := objectPath(d)
	info, err := v.root.Lstat(name)
	if err != nil {
		return content{}, err
	}
	if !info.Mode().IsRegular() {
		return content{wrong: "object is " + kind(info)}, nil
	}
	f, info, err := v.open(name)
	if err != nil {
		return content{}, err
	}
	defer f.Close() // only read
	got := content{size: info.Size()}
	if got.size != size {
		got.wrong = fmt.Sprintf("object has %d bytes instead of %d", got.size, size)
		return got, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(reader{ctx, f}, size)); err != nil {
		return got, err
	}
	got.digest = artifact.Digest(h.Sum(nil))
	switch {
	case got.digest != d:
		got.wrong = "object differs"
	case info.Mode() != 0o444:
		got.wrong = fmt.Sprintf("object has mode %v instead of %v", info.Mode(), fs.FileMode(0o444))
	}
	return got, nil
}

func kind(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return "a file"
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a link"
	}
	return "neither file, folder nor link"
}

// walk compares what lies below a folder with what should.
type walk struct {
	*rootView
	ctx   context.Context
	at    string // folder on the disk
	shown string // what its path is called in differences
	want  map[string]expected
	found func(observed.Difference)
}

// expected is what should be at a path: a link to target, or a file or folder of a mode.
type expected struct {
	target    string
	mode      fs.FileMode
	data      []byte
	unchecked bool // compared elsewhere: only its kind and mode count
}

func newWalk(ctx context.Context, v *rootView, at, shown string, found func(observed.Difference)) *walk {
	return &walk{rootView: v, ctx: ctx, at: at, shown: shown, want: map[string]expected{}, found: found}
}

// expect adds a path and the folders above it.
func (w *walk) expect(rel string, x expected) {
	w.want[rel] = x
	for up := path.Dir(rel); up != "."; up = path.Dir(up) {
		w.want[up] = expected{mode: fs.ModeDir | 0o755}
	}
}

func (w *walk) expectNode(n tree.Node) {
	x := expected{target: n.LinkTarget(), mode: 0o444, data: n.Data}
	if n.Mode == artifact.Executable {
		x.mode = 0o555
	}
	x.unchecked = n.Path == tree.ManifestName // compared line by line
	w.expect(n.Path, x)
}

func (w *walk) differs(rel, what, want, got string) {
	w.found(observed.Difference{Path: strings.TrimPrefix(path.Join(w.shown, rel), "/"), What: what, Want: want, Got: got})
}

func (w *walk) run() error {
	if !w.folder(".") {
		return nil
	}
	if err := w.list("."); err != nil {
		return err
	}
	for rel := range w.want {
		// What is left has not been met; below a missing folder only the folder is named.
		if _, missing := w.want[path.Dir(rel)]; !missing {
			w.differs(rel, "missing", "", "")
		}
	}
	return nil
}

// folder says whether there is a folder at rel, and compares its mode.
func (w *walk) folder(rel string) bool {
	info, err := w.root.Lstat(path.Join(w.at, rel))
	switch {
	case absent(err) && rel == ".":
		w.differs(rel, "missing", "", "")
	case err != nil:
		w.differs(rel, unreadable, "", err.Error())
	case !info.IsDir():
		w.differs(rel, "another kind", "a folder", kind(info))
	default:
		w.mode(rel, info, fs.ModeDir|0o755)
		return true
	}
	return false
}

func (w *walk) mode(rel string, info fs.FileInfo, want fs.FileMode) {
	if info.Mode() != want {
		w.differs(rel, "mode differs", fmt.Sprintf("%#o", want.Perm()), permissions(info.Mode()))
	}
}

// permissions are a mode in octal, with setuid, setgid and sticky bits as chmod(1) writes them.
func permissions(m fs.FileMode) string {
	n := uint32(m.Perm())
	for i, bit := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if m&bit != 0 {
			n |= 1 << (9 + i)
		}
	}
	return fmt.Sprintf("%#o", n)
}

func (w *walk) list(rel string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	f, err := w.root.Open(path.Join(w.at, rel))
	if err != nil {
		w.differs(rel, unreadable, "", err.Error())
		return nil
	}
	defer f.Close() // only read
	entries, err := f.ReadDir(-1)
	if err != nil {
		w.differs(rel, unreadable, "", err.Error())
	}
	for _, e := range entries {
		if err := w.entry(path.Join(rel, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(rel string) error {
	x, known := w.want[rel]
	delete(w.want, rel)
	switch {
	case !known:
		w.differs(rel, extraPath, "", "")
	case x.mode.IsDir():
		if w.folder(rel) {
			return w.list(rel)
		}
		w.skip(rel)
	case x.target != "":
		w.link(rel, x)
	default:
		w.file(rel, x)
	}
	return nil
}

// skip forgets what should lie below something that is no folder: it is named already.
func (w *walk) skip(rel string) {
	for below := range w.want {
		if strings.HasPrefix(below, rel+"/") {
			delete(w.want, below)
		}
	}
}

func (w *walk) link(rel string, want expected) {
	got, err := w.root.Readlink(path.Join(w.at, rel))
	switch {
	case err != nil:
		w.differs(rel, "another kind", "a link", "")
	case got != want.target && !want.unchecked:
		w.differs(rel, "link leads elsewhere", want.target, got)
	}
}

func (w *walk) file(rel string, want expected) {
	name := path.Join(w.at, rel)
	info, err := w.root.Lstat(name)
	switch {
	case err != nil:
		w.differs(rel, unreadable, "", err.Error())
		return
	case !info.Mode().IsRegular():
		w.differs(rel, "another kind", "a file", kind(info))
		return
	}
	w.mode(rel, info, want.mode)
	switch {
	case want.unchecked:
	case info.Size() != int64(len(want.data)):
		w.differs(rel, "file differs", fmt.Sprintf("%d bytes", len(want.data)), fmt.Sprintf("%d bytes", info.Size()))
	default:
		w.content(rel, name, want.data)
	}
}

func (w *walk) content(rel, name string, want []byte) {
	f, _, err := w.open(name)
	if err != nil {
		w.differs(rel, unreadable, "", err.Error())
		return
	}
	defer f.Close() // only read
	b, err := io.ReadAll(io.LimitReader(f, int64(len(want))+1))
	switch {
	case err != nil:
		w.differs(rel, unreadable, "", err.Error())
	case !bytes.Equal(b, want):
		w.differs(rel, "file differs", observed.Named(artifact.Sum(want)), observed.Named(artifact.Sum(b)))
	}
}

// folder compares the folder that the generation's link leads to.
func (v *rootView) folder(ctx context.Context, f expectedFolder, _ map[artifact.Digest]content, found func(observed.Difference)) error {
	differs := func(what, want, got string) {
		found(observed.Difference{Path: f.path, What: what, Want: want, Got: got})
	}
	to, err := v.root.Readlink(v.at + "/" + f.path)
	switch {
	case absent(err):
		differs("missing", "", "")
		return nil
	case err != nil:
		differs("another kind", "a link to a folder object", "")
		return nil
	}
	up := tree.UpFrom(f.path)
	want := up + objectPath(f.object)
	if !f.object.IsZero() && to != want {
		differs("link leads elsewhere", want, to)
	}
	d, err := artifact.ParseDigest(path.Base(to))
	if err != nil || to != up+objectPath(d) {
		return nil // said, unless nobody knows the folder, and then its manifest cannot be read
	}
	w := newWalk(ctx, v, objectPath(d), f.path, found)
	for _, n := range f.nodes {
		w.expectNode(n)
	}
	return w.run()
}

// around lists the generation. Links to folder objects are compared with their folders.
func (v *rootView) around(ctx context.Context, x expectedTop, found func(observed.Difference)) error {
	w := newWalk(ctx, v, v.at, "", found)
	files := []string{tree.IndexFile, tree.GenerationFile}
	if x.signed {
		files = append(files, tree.SignatureFile)
	}
	for _, name := range files {
		w.expect(name, expected{mode: 0o444, unchecked: true})
	}
	for _, f := range x.tree.Folders {
		w.expect(f.Path, expected{target: f.Path, unchecked: true})
	}
	for _, l := range x.tree.Links {
		w.expect(l.Path, expected{target: l.Target})
	}
	for _, fec := range x.tree.Data {
		if info, err := v.root.Lstat(tree.DataFolder + "/" + fec); err != nil || !info.IsDir() {
			found(observed.Difference{Path: tree.DataFolder + "/" + fec, What: "no folder"})
		}
	}
	return w.run()
}

func objectPath(d artifact.Digest) string { return store.Path(d) }

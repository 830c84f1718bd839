package repo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// ErrMoved says that a branch has moved since it was read: whoever wanted to change it starts again.
var ErrMoved = errors.New("the branch has moved meanwhile")

// Changed are the files of a commit, some with other content. It is an artifact.Source.
type Changed struct {
	of      *Files
	files   artifact.Files
	content map[string][]byte // by path
}

// With gives files other content; those that are not there are added. Nothing is written.
func (s *Files) With(content map[string][]byte) *Changed {
	c := &Changed{s, slices.Clone(s.files), content}
	for _, name := range slices.Sorted(maps.Keys(content)) {
		b := content[name]
		i := slices.IndexFunc(c.files, func(f artifact.File) bool { return f.Path == name })
		if i < 0 {
			i, c.files = len(c.files), append(c.files, artifact.File{Path: name})
		}
		c.files[i].Size, c.files[i].ID = int64(len(b)), plumbing.ComputeHash(plumbing.BlobObject, b).String()
	}
	c.files = c.files.Sorted()
	return c
}

// Files lists them by path.
func (c *Changed) Files() artifact.Files { return c.files }

// Open reads one file's content.
func (c *Changed) Open(f artifact.File) (io.ReadCloser, error) {
	if b, ok := c.content[f.Path]; ok {
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	return c.of.Open(f)
}

// Draft is a commit that no branch names yet.
type Draft struct {
	Base, Commit Commit
	content      map[string][]byte
	objects      []plumbing.Hash // that the base does not have
}

// Draft writes a commit on top of another, in which some files have other content or are new. A nil sign leaves it unsigned.
func (r *Repo) Draft(base Commit, content map[string][]byte, message string, now time.Time, sign Sign) (Draft, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := Draft{Base: base, content: content}
	tree, err := r.retree(&d, plumbing.NewHash(base.Tree), "")
	if err != nil {
		return d, fmt.Errorf("write commit: %w", err)
	}
	by := *identity(r.git, now)
	c := &object.Commit{Author: by, Committer: by, Message: message, TreeHash: tree, ParentHashes: []plumbing.Hash{plumbing.NewHash(base.ID)}}
	if sign != nil {
		if err := signCommit(c, sign); err != nil {
			return d, fmt.Errorf("sign commit: %w", err)
		}
	}
	id, err := r.encode(&d, plumbing.CommitObject, c.Encode)
	if err != nil {
		return d, fmt.Errorf("write commit: %w", err)
	}
	c.Hash = id
	d.Commit = describe(c)
	return d, nil
}

// retree writes a folder anew with the files of d, and the folders below that hold some. The zero id is a folder that is not there yet.
func (r *Repo) retree(d *Draft, id plumbing.Hash, prefix string) (plumbing.Hash, error) {
	var entries []object.TreeEntry
	if !id.IsZero() {
		have, err := readTree(r.git.Storer, id)
		if err != nil {
			return id, fmt.Errorf("read folder %q: %w", prefix, err)
		}
		entries = slices.Clone(have)
	}
	for name, content := range d.in(prefix) {
		i := slices.IndexFunc(entries, func(e object.TreeEntry) bool { return e.Name == name })
		if i < 0 {
			i, entries = len(entries), append(entries, object.TreeEntry{Name: name, Mode: filemode.Regular})
			if content == nil {
				entries[i].Mode = filemode.Dir
			}
		}
		e := &entries[i]
		var err error
		switch {
		case (content == nil) != (e.Mode == filemode.Dir):
			return id, fmt.Errorf("%q is both a file and a folder", prefix+name)
		case content == nil:
			e.Hash, err = r.retree(d, e.Hash, prefix+name+"/")
		default:
			e.Hash, err = r.encode(d, plumbing.BlobObject, func(o plumbing.EncodedObject) error { return fill(o, *content) })
		}
		if err != nil {
			return id, err
		}
	}
	slices.SortFunc(entries, func(a, b object.TreeEntry) int { return strings.Compare(sortedAs(a), sortedAs(b)) })
	return r.encode(d, plumbing.TreeObject, (&object.Tree{Entries: entries}).Encode)
}

// sortedAs is a name as git sorts it: that of a folder with a slash.
func sortedAs(e object.TreeEntry) string {
	if e.Mode == filemode.Dir {
		return e.Name + "/"
	}
	return e.Name
}

// in are the names right below a folder that a draft has something in: of a file its content, of a folder nil.
func (d *Draft) in(prefix string) map[string]*[]byte {
	below := map[string]*[]byte{}
	for path, content := range d.content {
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		if name, _, deeper := strings.Cut(rest, "/"); deeper {
			below[name] = nil
		} else {
			below[name] = &content
		}
	}
	return below
}

// encode writes an object and notes that the draft needs it.
func (r *Repo) encode(d *Draft, kind plumbing.ObjectType, write func(plumbing.EncodedObject) error) (plumbing.Hash, error) {
	o := r.git.Storer.NewEncodedObject()
	o.SetType(kind)
	if err := write(o); err != nil {
		return plumbing.ZeroHash, err
	}
	id, err := r.git.Storer.SetEncodedObject(o)
	d.objects = append(d.objects, id)
	return id, err
}

func fill(o plumbing.EncodedObject, content []byte) error {
	w, err := o.Writer()
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return errors.Join(err, w.Close())
}

// Branch is the branch that is checked out, or that a bare repository's HEAD names.
func (r *Repo) Branch() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name, err := r.checkedOut()
	return name.Short(), err
}

func (r *Repo) checkedOut() (plumbing.ReferenceName, error) {
	if name := r.own("HEAD"); name != "HEAD" {
		if strings.HasPrefix(name, "refs/heads/") {
			return plumbing.ReferenceName(name), nil
		}
		return "", errors.New("no branch is checked out")
	}
	ref, err := r.git.Storer.Reference(plumbing.HEAD)
	if err != nil {
		return "", err
	}
	if ref.Type() != plumbing.SymbolicReference {
		return "", errors.New("no branch is checked out")
	}
	return ref.Target(), nil
}

// Advance makes a branch name a draft. If that branch is checked out, its work tree and index follow; a file there that
// somebody has changed is refused, and then nothing is done. ErrMoved says that the branch names another commit by now.
func (r *Repo) Advance(branch string, d Draft) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := plumbing.NewBranchReferenceName(branch)
	dir, ok := r.workFolder()
	if out, err := r.checkedOut(); !ok || err != nil || out != name {
		return r.move(name, d)
	}
	unlock, err := r.lockIndex()
	if err != nil {
		return fmt.Errorf("change work tree %q: %w", dir, err)
	}
	defer unlock()
	if err := r.still(name, d); err != nil {
		return err
	}
	if err := r.workFollows(dir, d, name); err != nil {
		return fmt.Errorf("change work tree %q: %w", dir, err)
	}
	return nil
}

// still says whether a branch is where the draft was made.
func (r *Repo) still(name plumbing.ReferenceName, d Draft) error {
	at, err := r.reference(name)
	switch {
	case err != nil:
		return fmt.Errorf("read branch %q: %w", name.Short(), err)
	case at.String() != d.Base.ID:
		return ErrMoved
	}
	return nil
}

// move writes a branch's file as git does: whoever reads meanwhile has the old commit or the new one. go-git empties the file first, and
// readers then take what packed-refs says of the branch.
func (r *Repo) move(name plumbing.ReferenceName, d Draft) error {
	file := filepath.Join(r.dir, filepath.FromSlash(name.String()))
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err != nil {
		return fmt.Errorf("move branch %q: %w", name.Short(), err)
	}
	unlock, err := lock(file)
	if err != nil {
		return fmt.Errorf("move branch %q: %w", name.Short(), err)
	}
	defer unlock()
	if err := r.still(name, d); err != nil {
		return err
	}
	err = r.settle(d)
	if err == nil {
		err = writeLock(file, func(w io.Writer) error { _, err := fmt.Fprintln(w, d.Commit.ID); return err })
	}
	if err == nil {
		err = os.Rename(file+".lock", file)
	}
	if err == nil {
		err = durable.SyncFolder(filepath.Dir(file))
	}
	if err != nil {
		return fmt.Errorf("move branch %q: %w", name.Short(), err)
	}
	return nil
}

// settle makes a draft's objects survive a power cut, before a branch names them: go-git does not.
func (r *Repo) settle(d Draft) error {
	for _, id := range d.objects {
		folder := filepath.Join(r.dir, "objects", id.String()[:2])
		err := errors.Join(durable.SyncFolder(filepath.Join(folder, id.String()[2:])), durable.SyncFolder(folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // those that are in a pack were there before
			return err
		}
	}
	return durable.SyncFolder(filepath.Join(r.dir, "objects"))
}

package observe

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// store looks at every object.
func (w *scrubber) store() error {
	const hashes = store.Folder + "/sha256"
	if info, err := w.root.Lstat(store.Folder); err == nil && !info.IsDir() {
		return nil // layout has noted it
	}
	if err := w.strangers(store.Folder, func(name string) bool { return name == "sha256" }); err != nil {
		return err
	}
	if ok, err := w.folder(hashes, 0o755); !ok {
		return err
	}
	names, err := durable.Names(w.root, hashes)
	for _, name := range names {
		err = errors.Join(err, w.shelf(hashes+"/"+name))
	}
	return err
}

// shelf looks at the objects whose digests begin alike.
func (w *scrubber) shelf(dir string) error {
	if ok, err := w.folder(dir, 0o755); !ok {
		return err
	}
	shelf, err := w.root.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer shelf.Close() // only read
	entries, err := entriesOf(shelf)
	if err != nil {
		return err
	}
	for _, e := range entries {
		d, err := artifact.ParseDigest(e.Name())
		if err != nil || store.Path(d) != dir+"/"+e.Name() {
			w.note(observed.Foreign, dir+"/"+e.Name(), "does not belong there")
			continue
		}
		if err := errors.Join(w.ctx.Err(), w.object(shelf, d)); err != nil {
			return err
		}
	}
	return nil
}

func (w *scrubber) object(shelf *os.Root, d artifact.Digest) error {
	info, err := shelf.Lstat(d.String())
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return w.folderObject(d, info)
	case !info.Mode().IsRegular():
		w.note(observed.Edited, store.Path(d), "is neither file nor folder")
		return nil
	}
	if size, known := w.sizes[d]; known && info.Size() != size {
		w.note(observed.Edited, store.Path(d), "has %d bytes instead of %d", info.Size(), size)
		return nil
	}
	if !w.mode(store.Path(d), info.Mode(), 0o444) && info.Mode()&0o400 == 0 {
		return nil
	}
	if w.Reads(d) {
		got, err := w.sum(shelf, d)
		if IsFault(err) {
			return err
		}
		if err != nil || got != d {
			w.note(observed.Edited, store.Path(d), "does not hold what its digest says")
			return nil
		}
	}
	w.objects[d] = true
	return nil
}

func (w *scrubber) sum(shelf *os.Root, d artifact.Digest) (artifact.Digest, error) {
	f, err := shelf.Open(d.String())
	if err != nil {
		return artifact.Digest{}, err
	}
	defer f.Close() // only read
	h := sha256.New()
	for {
		n, err := io.CopyN(h, f, 1<<18)
		if n > 0 && err == nil {
			err = w.Rate.WaitN(w.ctx, int(n))
		}
		if errors.Is(err, io.EOF) {
			return artifact.Digest(h.Sum(nil)), nil
		}
		if err = errors.Join(err, w.ctx.Err()); err != nil {
			return artifact.Digest{}, err
		}
	}
}

func (w *scrubber) folderObject(d artifact.Digest, info fs.FileInfo) error {
	at := store.Path(d)
	if !w.mode(at, info.Mode(), 0o755) && info.Mode()&0o500 != 0o500 {
		return nil
	}
	f, err := readFolder(w.root, d)
	wrong := 0
	for _, n := range f.names {
		want := fs.FileMode(0o444)
		switch {
		case n.mode.IsDir():
			want = 0o755
		case n.mode&0o111 != 0:
			want = 0o555
		}
		if !w.mode(at+"/"+n.path, n.mode, want) {
			wrong++
		}
	}
	switch {
	case IsFault(err):
		return err
	case errors.Is(err, fs.ErrPermission) && wrong > 0:
		return nil // looked at again when the modes are right
	case err != nil:
		w.note(observed.Edited, at, "%v", err)
		return nil
	case f.empty != "":
		w.note(observed.Edited, at, "folder %q in it is empty", f.empty)
		return nil
	case tree.FolderDigest(f.nodes) != d:
		w.note(observed.Edited, at, "does not hold what its digest says")
		return nil
	}
	for _, n := range f.nodes {
		if n.Target == "" {
			continue
		}
		if ok, err := w.folder(n.Target, 0o755); IsFault(err) {
			return err
		} else if err == nil && !ok {
			return nil // the folder for data is gone: restoring this object makes both
		}
	}
	if w.leads[d], err = f.references(); err != nil {
		w.note(observed.Edited, at, "%v", err)
		return nil
	}
	w.objects[d] = true
	return nil
}

// Package render writes a sealed tree below .pomona/staging and into the object store. Nothing that it writes is visible
// at a path that a FEC starts from: publish does that.
package render

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Tree writes a tree and says where its generation is staged. All of it is on the disk when it returns.
func Tree(ctx context.Context, dir *durable.Dir, t tree.Sealed) (staged string, err error) {
	w := &writer{ctx: ctx, dir: dir}
	if err := w.objects(t); err != nil {
		return "", err
	}
	if staged, err = w.generation(t); err != nil {
		return "", fmt.Errorf("render generation: %w", err)
	}
	return staged, nil
}

// Objects writes a tree's folders, and no generation. All of it is on the disk when it returns.
func Objects(ctx context.Context, dir *durable.Dir, t tree.Sealed) error {
	return (&writer{ctx: ctx, dir: dir}).objects(t)
}

type writer struct {
	ctx     context.Context
	dir     *durable.Dir
	written []string // files and folders to sync
}

func (w *writer) objects(t tree.Sealed) error {
	if err := w.folders(t.Folders); err != nil {
		return fmt.Errorf("render folders: %w", err)
	}
	if err := w.dataFolders(t.Data); err != nil {
		return fmt.Errorf("render data folders: %w", err)
	}
	return nil
}

func (w *writer) dataFolders(fecs []string) error {
	there, err := w.dir.Infos(tree.DataFolder, fecs)
	if err != nil {
		return err
	}
	for _, fec := range fecs {
		if info := there[fec]; info != nil && info.Mode() == fs.ModeDir|0o755 {
			continue
		}
		if err := w.dir.MkdirAll(tree.DataFolder + "/" + fec); err != nil {
			return err
		}
	}
	return nil
}

// folders stores every folder that is not there yet: all are written and synced in staging, then named.
func (w *writer) folders(folders []tree.SealedFolder) error {
	staged := map[artifact.Digest]string{}
	names := make([]string, len(folders))
	for i, f := range folders {
		names[i] = f.Object.Path()
	}
	there, err := w.dir.Infos(store.Folder, names)
	if err != nil {
		return err
	}
	for i, f := range folders {
		if staged[f.Object] != "" || there[names[i]] != nil {
			continue
		}
		if f.Nodes == nil {
			return fmt.Errorf("%s: its folder object %s is gone", f.Path, f.Object)
		}
		temp := w.dir.Temp("folder")
		if err := w.folder(temp, f.Nodes); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		staged[f.Object] = temp
	}
	if err := w.sync(); err != nil {
		return err
	}
	for object, temp := range staged {
		to := store.Path(object)
		if err := w.dir.MkdirAll(path.Dir(to)); err != nil {
			return err
		}
		if err := w.dir.Rename(temp, to); err != nil && !w.dir.Exists(to) { // else a preview, or a pass beside it, was first
			return err
		}
		w.written = append(w.written, path.Dir(to))
	}
	return w.sync()
}

func (w *writer) folder(temp string, nodes []tree.Node) error {
	if err := w.mkdir(temp); err != nil {
		return err
	}
	made := map[string]bool{".": true}
	for _, n := range nodes {
		if err := w.parents(temp, path.Dir(n.Path), made); err != nil {
			return err
		}
		if err := w.node(temp+"/"+n.Path, n); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) parents(temp, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := w.parents(temp, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	return w.mkdir(temp + "/" + dir)
}

func (w *writer) node(name string, n tree.Node) error {
	if target := n.LinkTarget(); target != "" {
		return w.dir.Symlink(target, name)
	}
	mode := fs.FileMode(0o444)
	if n.Mode == artifact.Executable {
		mode = 0o555
	}
	return w.file(name, n.Data, mode)
}

// generation stages generation.json, the index and a link for each folder.
func (w *writer) generation(t tree.Sealed) (string, error) {
	temp := w.dir.Temp("generation")
	if err := w.mkdir(temp); err != nil {
		return "", err
	}
	made := map[string]bool{".": true}
	links := map[string][]durable.Link{} // by folder
	add := func(at, target string) {
		folder := path.Dir(at)
		links[folder] = append(links[folder], durable.Link{Name: path.Base(at), Target: target})
	}
	for _, f := range t.Folders {
		add(f.Path, tree.UpFrom(f.Path)+store.Path(f.Object))
	}
	for _, l := range t.Links {
		add(l.Path, l.Target)
	}
	for _, folder := range slices.Sorted(maps.Keys(links)) {
		if err := w.parents(temp, folder, made); err != nil {
			return "", err
		}
		if err := w.dir.Symlinks(path.Join(temp, folder), links[folder]); err != nil {
			return "", err
		}
	}
	files := map[string][]byte{tree.GenerationFile: t.Generation, tree.IndexFile: t.Index}
	if t.Signature != nil {
		files[tree.SignatureFile] = t.Signature
	}
	for name, data := range files {
		if err := w.file(temp+"/"+name, data, 0o444); err != nil {
			return "", err
		}
	}
	return temp, w.sync()
}

func (w *writer) mkdir(name string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	w.written = append(w.written, name)
	return w.dir.Mkdir(name, 0o755)
}

func (w *writer) file(name string, data []byte, mode fs.FileMode) error {
	w.written = append(w.written, name)
	return w.dir.Write(name, data, mode)
}

func (w *writer) sync() error {
	names := w.written
	w.written = nil
	return w.dir.SyncAll(names)
}

// Package store keeps bytes by their digest: put if absent, open, list, delete. Objects are read-only and never change.
package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// Folder is where objects lie below a root.
const Folder = "objects"

// Path is where an object lies below a root.
func Path(d artifact.Digest) string { return Folder + "/" + d.Path() }

// Store is the objects of one root: files, and folders whose name is the digest of their listing.
type Store struct{ dir *durable.Dir }

// New is the store of a root.
func New(dir *durable.Dir) *Store { return &Store{dir: dir} }

// Has says whether an object is there.
func (s *Store) Has(d artifact.Digest) bool { return s.dir.Exists(Path(d)) }

// Open reads an object.
func (s *Store) Open(d artifact.Digest) (*os.File, error) { return s.dir.Root().Open(Path(d)) }

// Put stores what write produces and says what it was. If write fails or the process dies, nothing is stored.
func (s *Store) Put(ctx context.Context, write func(io.Writer) error) (artifact.Digest, int64, error) {
	return s.put(ctx, write, s.Has)
}

// Replace is Put that takes the place of a file of that digest, which may be damaged.
func (s *Store) Replace(ctx context.Context, write func(io.Writer) error) (artifact.Digest, int64, error) {
	return s.put(ctx, write, func(artifact.Digest) bool { return false })
}

func (s *Store) put(ctx context.Context, write func(io.Writer) error, has func(artifact.Digest) bool) (artifact.Digest, int64, error) {
	temp := s.dir.Temp("object")
	d, size, err := s.stage(ctx, temp, write)
	if err == nil && has(d) {
		err = s.dir.Remove(temp)
	} else if err == nil {
		err = s.adopt(temp, d)
	}
	if err != nil {
		// What is left in staging is removed at the next start; a second error would hide the first.
		_ = s.dir.Remove(temp)
		return artifact.Digest{}, 0, fmt.Errorf("store object: %w", err)
	}
	return d, size, nil
}

func (s *Store) stage(ctx context.Context, temp string, write func(io.Writer) error) (artifact.Digest, int64, error) {
	f, err := s.dir.Create(temp)
	if err != nil {
		return artifact.Digest{}, 0, err
	}
	w := &sum{ctx: ctx, to: f, hash: sha256.New()}
	err = errors.Join(write(w), f.Close())
	return artifact.Digest(w.hash.Sum(nil)), w.size, err
}

// adopt gives a staged file its name. Order: content and mode reach the disk before the name does.
func (s *Store) adopt(temp string, d artifact.Digest) error {
	if err := s.dir.Chmod(temp, 0o444); err != nil {
		return err
	}
	if err := s.dir.Sync(temp); err != nil {
		return err
	}
	to := Path(d)
	if err := s.dir.MkdirAll(path.Dir(to)); err != nil {
		return err
	}
	if err := s.dir.Rename(temp, to); err != nil {
		return err
	}
	return s.dir.Sync(path.Dir(to))
}

// Delete removes objects; removing what is not there is no error.
func (s *Store) Delete(objects ...artifact.Digest) error {
	temps, err := s.Withdraw(objects...)
	for _, temp := range temps {
		if err == nil {
			err = s.dir.Remove(temp)
		}
	}
	return err
}

// Withdraw moves objects into staging, for the caller to remove. Each leaves its name in one step: half a folder must never be
// found under a digest.
func (s *Store) Withdraw(objects ...artifact.Digest) (temps []string, err error) {
	var shelves []string
	for _, d := range objects {
		if !s.Has(d) {
			continue
		}
		temp := s.dir.Temp("pruned")
		if err := s.dir.Rename(Path(d), temp); err != nil {
			return temps, fmt.Errorf("withdraw object %s: %w", d, err)
		}
		temps, shelves = append(temps, temp), append(shelves, path.Dir(Path(d)))
	}
	if err := s.dir.SyncAll(shelves); err != nil {
		return temps, fmt.Errorf("withdraw objects: %w", err)
	}
	return temps, nil
}

// List are all objects, in no order. Names that are no digest are left out.
func (s *Store) List() ([]artifact.Digest, error) {
	var out []artifact.Digest
	root := s.dir.Root().FS()
	err := fs.WalkDir(root, Folder, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p == Folder {
			return fs.SkipAll // nothing has been stored yet
		}
		if err != nil || strings.Count(p, "/") < 3 {
			return err
		}
		if d, err := artifact.ParseDigest(e.Name()); err == nil {
			out = append(out, d)
		}
		if e.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	return out, nil
}

// sum counts and hashes what passes through, and stops when the context ends.
type sum struct {
	ctx  context.Context
	to   io.Writer
	hash interface {
		io.Writer
		Sum([]byte) []byte
	}
	size int64
}

func (w *sum) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.to.Write(p)
	w.hash.Write(p[:n]) // never fails (hash.Hash)
	w.size += int64(n)
	return n, err
}

// Measure is a sink that keeps nothing: it tells what would be stored.
type Measure struct{}

// Put hashes and counts what write produces.
func (Measure) Put(ctx context.Context, write func(io.Writer) error) (artifact.Digest, int64, error) {
	w := &sum{ctx: ctx, to: io.Discard, hash: sha256.New()}
	err := write(w)
	return artifact.Digest(w.hash.Sum(nil)), w.size, err
}

package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/memo"
	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

// Packages remember what is in package files, by their digest, so that each is read once. They are safe for concurrent use; nil remembers
// nothing.
type Packages struct {
	log     *slog.Logger
	shelf   memo.Shelf
	version string
	recent  memo.Recent[ReadPackage]
	judged  memo.Recent[[]string]

	mu     sync.Mutex
	pass   int64
	stored memo.Entries
	fresh  memo.Entries
}

// ReadPackage is what a package file says of itself.
type ReadPackage struct {
	Package rpm.Package
	Size    int64
	Wrong   string // why it is no package; empty: it is one
}

// NewPackages remember for later processes in folder cache; "" is none.
func NewPackages(cache string, log *slog.Logger) *Packages {
	p := &Packages{log: log}
	if version, err := memo.Programs(); err == nil && cache != "" {
		p.shelf, p.version = memo.NewShelf(cache, "packages"), version
	}
	return p
}

// Opener brings a package file.
type Opener func(ctx context.Context) (artifact.Source, error)

// Begin begins a pass.
func (p *Packages) Begin() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pass++; p.stored == nil {
		p.stored = p.shelf.Load()
	}
}

// End saves what is new, and forgets what has not been asked for in a while. That nothing can be saved harms only the next process.
func (p *Packages) End() {
	if p == nil {
		return
	}
	p.mu.Lock()
	pass, fresh := p.pass, p.fresh
	p.fresh = nil
	p.mu.Unlock()
	p.recent.Sweep(pass)
	p.judged.Sweep(pass)
	err := p.shelf.Save(fresh, func(key string) bool {
		n := len(p.version)
		return len(key) > n && key[:n] == p.version && (p.recent.Has(key[n:]) || p.judged.Has(key[n:]))
	})
	if err != nil && p.log != nil {
		p.log.Warn("packages not remembered", "err", err)
	}
}

// Read is what the package file with a digest says of itself. The error is that of open or of the machine, never the package's.
func (p *Packages) Read(ctx context.Context, d artifact.Digest, open Opener) (ReadPackage, error) {
	key := "package " + d.String()
	if p != nil {
		var found ReadPackage
		if found, ok := p.recent.Get(key, p.now()); ok {
			return found, nil
		}
		if p.recall(key, &found) {
			p.recent.Put(key, found, p.now())
			return found, nil
		}
	}
	found, err := readPackage(ctx, open)
	if err == nil && p != nil {
		p.recent.Put(key, found, p.now())
		p.keep(key, found)
	}
	return found, err
}

// Judge remembers what some judgement came to, by everything that it depends on.
func (p *Packages) Judge(key string, judge func() ([]string, error)) ([]string, error) {
	if p == nil {
		return judge()
	}
	var found []string
	if found, ok := p.judged.Get(key, p.now()); ok {
		return found, nil
	}
	if p.recall(key, &found) {
		p.judged.Put(key, found, p.now())
		return found, nil
	}
	found, err := judge()
	if err == nil {
		p.judged.Put(key, found, p.now())
		p.keep(key, found)
	}
	return found, err
}

func (p *Packages) now() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pass
}

func (p *Packages) recall(key string, into any) bool {
	p.mu.Lock()
	b, ok := p.stored[p.version+key]
	p.mu.Unlock()
	return ok && memo.Decode(b, into) == nil
}

func (p *Packages) keep(key string, v any) {
	b, err := memo.Encode(v)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fresh == nil {
		p.fresh = memo.Entries{}
	}
	p.fresh[p.version+key] = b
}

// readPackage reads the headers of a package, nothing of what it installs.
func readPackage(ctx context.Context, open Opener) (ReadPackage, error) {
	src, err := open(ctx)
	if err != nil {
		return ReadPackage{}, err
	}
	f := src.Files()[0]
	found := ReadPackage{Size: f.Size}
	err = reading(src, f, func(r io.Reader) error {
		in := &input{ctx: ctx, r: r}
		read, err := rpm.Read(in)
		if in.err != nil {
			return in.err
		}
		if err != nil {
			found.Wrong = err.Error()
			return nil
		}
		found.Package = read
		return nil
	})
	return found, err
}

// VerifyPackage says why a package is not to be believed; empty: one of the keys has signed it. It reads all of it.
func VerifyPackage(ctx context.Context, ring rpm.Keyring, open Opener) (why string, err error) {
	src, err := open(ctx)
	if err != nil {
		return "", err
	}
	err = reading(src, src.Files()[0], func(r io.Reader) error {
		in := &input{ctx: ctx, r: r}
		if _, err := rpm.VerifyPackage(in, ring); in.err != nil {
			return in.err
		} else if err != nil {
			why = err.Error()
		}
		return nil
	})
	return why, err
}

// PackageKey names what Package would store.
func PackageKey(d artifact.Digest) artifact.Digest {
	return artifact.Sum(fmt.Appendf(nil, "pomona package\x00%s", d))
}

// Package stores a package file as it is: its digest is the one that the site states.
func Package(ctx context.Context, want artifact.Digest, open Opener, sink Sink) (artifact.Artifact, error) {
	src, err := open(ctx)
	if err != nil {
		return artifact.Artifact{}, err
	}
	var a artifact.Artifact
	a.Digest, a.Size, err = sink.Put(ctx, func(w io.Writer) error {
		h := sha256.New()
		err := reading(src, src.Files()[0], func(r io.Reader) error {
			_, err := io.Copy(io.MultiWriter(w, h), &input{ctx: ctx, r: r})
			return err
		})
		if err == nil && artifact.Digest(h.Sum(nil)) != want {
			err = errors.New("it has another digest now")
		}
		return err
	})
	return a, err
}

// repodataWriter is the version of everything that decides about the bytes of repodata. Raise it whenever they change for the same packages.
const repodataWriter = "1"

// RepodataKey names one file of what Repodata would store of a listing.
func RepodataKey(listing artifact.Digest, file string) artifact.Digest {
	return artifact.Sum(fmt.Appendf(nil, "pomona repodata %s\x00%s\x00%s", repodataWriter, listing, file))
}

// Repodata stores the files that clients read first of a repository, by name. Its date is that of the newest package, so that the same packages
// give the same bytes.
func Repodata(ctx context.Context, entries []rpm.Entry, sink Sink) (map[string]artifact.Artifact, error) {
	newest := int64(0)
	for i, e := range entries {
		entries[i].Time = e.Package.BuildTime
		newest = max(newest, e.Package.BuildTime)
	}
	files, err := rpm.Repodata(entries, newest)
	if err != nil {
		return nil, fmt.Errorf("write repodata: %w", err)
	}
	out := map[string]artifact.Artifact{}
	for name, b := range files {
		var a artifact.Artifact
		a.Digest, a.Size, err = sink.Put(ctx, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("store %s: %w", name, err)
		}
		out[name] = a
	}
	return out, nil
}

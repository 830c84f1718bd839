package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/rpmpack"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

const (
	repodataPackages = 5000
	repodataFiles    = 30
	repodataKiB      = 64 // of each package's payload, which does not compress
	repodataTime     = 1_700_000_000
)

// repodata writes the repodata of 5,000 packages beside createrepo_c: of packages that nobody has seen, with one that is new among known ones, and
// of the same as before.
func (b *bench) repodata(ctx context.Context) error {
	pool := filepath.Join(b.dir, "pool")
	if err := packPool(ctx, pool); err != nil {
		return err
	}
	runs := min(b.runs, 3)
	var cpu [2][]float64 // seconds of processor time
	ours, peer, err := b.both(runs, func() (usage, error) {
		before, err1 := processor(os.Getpid())
		u, err2 := freshRepodata(pool, filepath.Join(b.dir, "repodata"))
		after, err3 := processor(os.Getpid())
		cpu[0] = append(cpu[0], after-before)
		return u, errors.Join(err1, err2, err3)
	}, func() (usage, error) {
		if err := os.RemoveAll(filepath.Join(pool, "repodata")); err != nil {
			return usage{}, err
		}
		c := exec.CommandContext(ctx, "createrepo_c", "-q", "--no-database", "--simple-md-filenames", "--revision=1700000000", "--set-timestamp-to-revision",
			"--general-compress-type=gz", pool)
		start := time.Now()
		said, err := c.CombinedOutput()
		if err != nil {
			return usage{}, fmt.Errorf("createrepo_c: %w: %s", err, said)
		}
		cpu[1] = append(cpu[1], (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds())
		return usage{seconds: time.Since(start).Seconds()}, nil
	})
	if err != nil {
		return err
	}
	b.table.ratio(fmt.Sprintf("repodata of %d packages of %d KiB, fresh", repodataPackages, repodataKiB), ours.seconds, peer.seconds, "s", "createrepo_c", 1, false)
	b.table.ratio("processor time of that", median(cpu[0]), median(cpu[1]), "s", "createrepo_c", 1, false)
	known, err := keepHeaders(pool, filepath.Join(b.dir, "headers"))
	if err != nil {
		return err
	}
	var one, none []float64
	for range runs {
		start := time.Now()
		if err := known.write(filepath.Join(b.dir, "repodata")); err != nil {
			return err
		}
		one = append(one, time.Since(start).Seconds())
		start = time.Now()
		if err := known.unchanged(); err != nil {
			return err
		}
		none = append(none, time.Since(start).Seconds())
	}
	b.table.ratio("that, one package new, what is known of the others read from files", median(one), peer.seconds, "s", "createrepo_c", 0, false)
	b.table.ratio("that, unchanged: every file looked at, none read", median(none), peer.seconds, "s", "createrepo_c", 0.05, false)
	return nil
}

// packPool makes packages as pilots have them.
func packPool(ctx context.Context, pool string) error {
	if err := os.MkdirAll(pool, 0o755); err != nil {
		return err
	}
	g, _ := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for i := range repodataPackages {
		g.Go(func() error {
			r, err := rpmpack.NewRPM(rpmpack.RPMMetaData{
				Name: fmt.Sprintf("pilot-part%04d", i), Version: "1.0", Release: "1", Arch: "x86_64", OS: "linux", Summary: "A part of a pilot",
				Description: "It does what parts of pilots do, and is described in a sentence or two.", BuildTime: time.Unix(repodataTime, 0), Compressor: "gzip:0",
			})
			if err != nil {
				return err
			}
			r.AddCustomTag(1044, rpmpack.EntryString("pilot.src.rpm"))
			content := make([]byte, repodataKiB<<10/repodataFiles)
			random := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})
			for n := range repodataFiles {
				if _, err := random.Read(content); err != nil {
					return err
				}
				dir := []string{"/usr/bin", "/etc/pilot", "/usr/share/pilot"}[n%3]
				r.AddFile(rpmpack.RPMFile{Name: fmt.Sprintf("%s/part%04d-%d", dir, i, n), Body: bytes.Clone(content), Mode: 0o644, MTime: repodataTime})
			}
			for n := range 10 {
				if err := errors.Join(r.Requires.Set(fmt.Sprintf("pilot-part%04d >= 1.0", (i+n)%repodataPackages)), r.Provides.Set(fmt.Sprintf("part%d(%d) = 1", i, n))); err != nil {
					return err
				}
			}
			file := filepath.Join(pool, fmt.Sprintf("pilot-part%04d-1.0-1.x86_64.rpm", i))
			var out bytes.Buffer
			if err := r.Write(&out); err != nil {
				return err
			}
			return errors.Join(os.WriteFile(file, out.Bytes(), 0o644), os.Chtimes(file, time.Unix(repodataTime, 0), time.Unix(repodataTime, 0)))
		})
	}
	return g.Wait()
}

// readPool reads all packages, on all processors.
func readPool(pool string) ([]rpm.Entry, error) {
	files, err := os.ReadDir(pool)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		if filepath.Ext(f.Name()) == ".rpm" {
			names = append(names, f.Name())
		}
	}
	all := make([]rpm.Entry, len(names))
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for i, name := range names {
		g.Go(func() (err error) {
			all[i], err = readEntry(pool, name)
			return err
		})
	}
	return all, g.Wait()
}

func readEntry(pool, name string) (rpm.Entry, error) {
	f, err := os.Open(filepath.Join(pool, name))
	if err != nil {
		return rpm.Entry{}, err
	}
	defer f.Close() // only read
	p, digest, size, err := rpm.Scan(f)
	if err != nil {
		return rpm.Entry{}, fmt.Errorf("%s: %w", name, err)
	}
	return rpm.Entry{Location: name, Digest: digest, Size: size, Time: repodataTime, Package: &p}, nil
}

func freshRepodata(pool, to string) (usage, error) {
	start := time.Now()
	entries, err := readPool(pool)
	if err != nil {
		return usage{}, err
	}
	files, err := rpm.Repodata(entries, repodataTime)
	if err != nil {
		return usage{}, err
	}
	err = writeRepodata(to, files)
	return usage{seconds: time.Since(start).Seconds()}, err
}

func writeRepodata(to string, files map[string][]byte) error {
	err := os.MkdirAll(to, 0o755)
	for name, b := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(to, name), b, 0o644))
	}
	return err
}

// knownPool is a pool whose packages were read before.
type knownPool struct {
	pool, kept string // folders
	entries    []rpm.Entry
	key        artifact.Digest
}

// keepHeaders writes what each package adds to repodata to a file of its own.
func keepHeaders(pool, kept string) (*knownPool, error) {
	entries, err := readPool(pool)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return nil, err
	}
	k := &knownPool{pool: pool, kept: kept, key: rpm.RepodataKey(entries, repodataTime)}
	for _, e := range entries {
		b, err := json.Marshal(e.Fragments())
		if err := errors.Join(err, os.WriteFile(filepath.Join(kept, e.Digest.String()), b, 0o644)); err != nil {
			return nil, err
		}
		e.Package = nil
		k.entries = append(k.entries, e)
	}
	return k, nil
}

// write reads one package, and of the others what is known.
func (k *knownPool) write(to string) error {
	e, err := readEntry(k.pool, k.entries[0].Location)
	if err != nil {
		return err
	}
	all := make([]rpm.Fragments, len(k.entries))
	all[0] = e.Fragments()
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for i, e := range k.entries[1:] {
		g.Go(func() error {
			b, err := os.ReadFile(filepath.Join(k.kept, e.Digest.String()))
			if err != nil {
				return err
			}
			return json.Unmarshal(b, &all[i+1])
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	files, err := rpm.Assemble(all, repodataTime)
	if err != nil {
		return err
	}
	return writeRepodata(to, files)
}

// unchanged looks whether each file is the one that was read, and whether all together are those of before.
func (k *knownPool) unchanged() error {
	for _, e := range k.entries {
		info, err := os.Lstat(filepath.Join(k.pool, e.Location))
		if err != nil {
			return err
		}
		if info.Size() != e.Size || info.ModTime().Unix() != e.Time {
			return fmt.Errorf("%s has changed", e.Location)
		}
	}
	if rpm.RepodataKey(k.entries, repodataTime) != k.key {
		return errors.New("the pool has changed")
	}
	return nil
}

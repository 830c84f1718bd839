package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pomona-gitops/pomona/e2e/bench/site"
	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// site makes a site of n FECs, once.
func (b *bench) site(n int) (string, error) {
	dir := filepath.Join(b.dir, "site-"+strconv.Itoa(n))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, site.Write(dir, n)
}

// validate compares pomona validate with stock cue vet: from nothing, with a warm cache, and in a running service.
func (b *bench) validate(ctx context.Context) error {
	for _, n := range b.sizes {
		if err := b.validateOne(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) validateOne(ctx context.Context, n int) error {
	dir, err := b.site(n)
	if err != nil {
		return err
	}
	runs, name := b.runs, fmt.Sprintf("%d FECs", n)
	if n > 5000 {
		runs = min(runs, 2)
	}
	ours := func(cache string) func() (usage, error) {
		return func() (usage, error) {
			if cache == "" {
				fresh, err := os.MkdirTemp(b.dir, "cache-")
				if err != nil {
					return usage{}, err
				}
				defer os.RemoveAll(fresh)
				return measure(exec.CommandContext(ctx, b.pomona, "validate", "--cache", fresh, "--rev", "HEAD", dir))
			}
			return measure(exec.CommandContext(ctx, b.pomona, "validate", "--cache", cache, "--rev", "HEAD", dir))
		}
	}
	stock := func() (usage, error) {
		c := exec.CommandContext(ctx, b.cue, "vet", "-c", "./...")
		c.Dir = dir
		return measure(c)
	}
	cold, vet, err := b.both(runs, ours(""), stock)
	if err != nil {
		return err
	}
	target := 0.6
	if n > 5000 {
		target = 0.45
	}
	b.table.ratio("validate, cold, "+name, cold.seconds, vet.seconds, "s", "cue vet -c", target, false)
	b.table.ratio("memory of that, all processes", cold.peak, vet.peak, "MiB", "cue vet -c", large(n, 0.15), false)
	cache := filepath.Join(b.dir, "warm")
	warm := ours(cache)
	if _, err := warm(); err != nil {
		return err
	}
	u, err := b.some(runs+1, func(i int) (usage, error) {
		if err := b.change(dir, n, i); err != nil {
			return usage{}, err
		}
		return warm()
	})
	if err != nil {
		return err
	}
	b.table.ratio("one FEC changed, fresh process with disk cache, "+name, u.seconds, vet.seconds, "s", "cue vet -c", large(n, 0.05), false)
	return b.running(ctx, dir, n, vet)
}

// some is the median of several runs of one side.
func (b *bench) some(runs int, run func(int) (usage, error)) (usage, error) {
	var seconds, peaks []float64
	for i := range runs {
		u, err := run(i)
		if err != nil {
			return u, err
		}
		seconds, peaks = append(seconds, u.seconds), append(peaks, u.peak)
	}
	return usage{median(seconds), median(peaks)}, nil
}

func (b *bench) change(dir string, n, revision int) error {
	if err := site.Change(dir, n, revision*7919%n, revision+1+int(time.Now().UnixNano()%1e6)); err != nil {
		return err
	}
	return site.Commit(dir, "change one FEC")
}

// running measures, in one process as a service is, how long a commit takes that changes one FEC.
func (b *bench) running(ctx context.Context, dir string, n int, vet usage) error {
	r, err := repo.Open(dir)
	if err != nil {
		return err
	}
	verdicts := build.NewVerdicts("", nil)
	loader := load.New(load.Options{Worker: []string{b.pomona, "eval-worker"}})
	validate := func() (usage, error) {
		start := time.Now()
		c, err := r.Resolve("HEAD")
		if err != nil {
			return usage{}, err
		}
		files, err := r.Files(ctx, c)
		if err != nil {
			return usage{}, err
		}
		_, ps, err := reconciler.Validate(ctx, files, loader, verdicts, nil, time.Now())
		if err == nil && len(ps) > 0 {
			err = ps
		}
		return usage{seconds: time.Since(start).Seconds()}, err
	}
	if _, err := validate(); err != nil {
		return err
	}
	u, err := b.some(15, func(i int) (usage, error) {
		if err := b.change(dir, n, i+100); err != nil {
			return usage{}, err
		}
		return validate()
	})
	if err != nil {
		return err
	}
	b.table.ratio(fmt.Sprintf("one FEC changed, running service, %d FECs", n), u.seconds, vet.seconds, "s", "cue vet -c", large(n, 0.01), false)
	if b.small == 0 {
		b.small = u.seconds
	} else {
		b.table.ratio(fmt.Sprintf("that, beside %d FECs", b.sizes[0]), u.seconds, b.small, "s", "Pomona", 2, false)
	}
	return nil
}

// large is a target that counts for large sites only.
func large(n int, target float64) float64 {
	if n > 5000 {
		return target
	}
	return 0
}

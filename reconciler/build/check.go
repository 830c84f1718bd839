package build

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// lints run side by side; each may hold a window of up to 64 MiB.
const lints = 4

// Check lints the content of every payload and script of a site without writing anything. What the commit's listing
// alone tells, such as a missing folder, desired checks: Check passes over it. An error is the machine's, not the
// site's. What verdicts know is not read again.
func Check(ctx context.Context, src artifact.Source, site desired.Site, verdicts *Verdicts) (desired.Problems, error) {
	cs := append(softwareCases(site), configurationCases(site)...)
	problems := make([]desired.Problems, len(cs))
	known := verdicts.recall(src.Files())
	scripts, err := known.scripts(ctx, src, site)
	if err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(runtime.GOMAXPROCS(0), lints))
	for n, c := range cs {
		group.Go(func() error {
			found, err := known.lint(ctx, src, c)
			if err != nil {
				return fmt.Errorf("check %s: %w", c.at, err)
			}
			problems[n] = found.Problems(c.at)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	known.done()
	return append(slices.Concat(problems...), scripts...).Sorted(), nil
}

// lintCase is one thing to lint: a payload or a plain file.
type lintCase struct {
	at      string // CUE path of its folder, archive or file
	payload desired.Payload
	file    string
	fits    []desired.Platform // those that unpack the payload
}

func softwareCases(site desired.Site) (out []lintCase) {
	for name, software := range site.Software {
		for v, release := range software.Versions {
			for key, p := range release.Payload {
				c := newCase(p, "software", name, "versions", v, "payload", key)
				for platform, pl := range site.Settings.Platforms {
					if _, used, _ := release.For(platform); used == key {
						c.fits = append(c.fits, pl)
					}
				}
				out = append(out, c)
			}
		}
	}
	return out
}

func configurationCases(site desired.Site) (out []lintCase) {
	for name, item := range site.Configuration {
		for v, version := range item.Versions {
			c := newCase(version.Payload, "configuration", name, "versions", v, "payload")
			c.fits = slices.Collect(maps.Values(site.Settings.Platforms))
			if pl, ok := site.Settings.Platforms[site.FECs[item.FEC].Platform]; ok {
				c.fits = []desired.Platform{pl}
			}
			out = append(out, c)
		}
	}
	return out
}

func newCase(p desired.Payload, at ...any) lintCase {
	field := "folder"
	if p.Archive != "" {
		field = "archive"
	}
	return lintCase{at: desired.CUEPath(append(at, field)...), payload: p}
}

func (c lintCase) lint(ctx context.Context, src artifact.Source) (Findings, error) {
	switch {
	case c.file != "":
		return c.lintFile(ctx, src)
	case c.payload.Archive != "":
		return c.lintArchive(ctx, src)
	}
	s := Spec{Folder: c.payload.Folder, Install: c.payload.Install}
	if len(below(src.Files(), s.Folder)) == 0 {
		return nil, nil
	}
	_, found, err := folderItems(ctx, src, s)
	return append(found, c.windows()...), err
}

func (c lintCase) lintFile(ctx context.Context, src artifact.Source) (Findings, error) {
	f, ok := src.Files().Find(c.file)
	if !ok || notAFile(f) != nil {
		return nil, nil
	}
	reason, err := plainFile(ctx, src, f)
	if reason == nil {
		return nil, err
	}
	return Findings{*reason}, err
}

func (c lintCase) lintArchive(ctx context.Context, src artifact.Source) (found Findings, err error) {
	format, err := artifact.FormatOf(c.payload.Archive)
	if err != nil {
		return nil, nil
	}
	f, reason := archiveFile(src.Files(), Spec{Archive: c.payload.Archive, Format: format})
	if len(reason) > 0 {
		return nil, nil
	}
	err = reading(src, f, func(r io.Reader) error {
		found, _, err = lint(ctx, r, format, Limits{Install: c.payload.Install, Memory: c.memory()})
		return err
	})
	return found, err
}

// memory is what the smallest platform has to unpack with; 0 when there is none.
func (c lintCase) memory() (least int64) {
	for _, pl := range c.fits {
		if m := pl.Memory(); least == 0 || m < least {
			least = m
		}
	}
	return least
}

// windows are the platforms that cannot unpack the folder in the format that they get.
func (c lintCase) windows() (found Findings) {
	for _, pl := range c.fits {
		f := c.payload.FormatFor(pl)
		if need := window[f]; need > pl.Memory() {
			found.add("", "choose gzip, or raise unpackMemory", "takes %d KiB to unpack as %s, more than the %d KiB of a platform", need>>10, f, pl.Memory()>>10)
		}
	}
	slices.SortFunc(found, func(a, b Finding) int { return cmp.Compare(a.Text, b.Text) })
	return slices.Compact(found)
}

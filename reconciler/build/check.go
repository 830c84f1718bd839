package build

import (
	"cmp"
	"context"
	"errors"
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

// Check lints the content of every payload and script of a site's own repository without writing anything. What the
// commit's listing alone tells, such as a missing folder, desired checks: Check passes over it. An error is the machine's,
// not the site's. What verdicts know is not read again.
func Check(ctx context.Context, src artifact.Source, site desired.Site, verdicts *Verdicts) (desired.Problems, error) {
	cs := slices.DeleteFunc(payloadCases(site), func(c lintCase) bool { return !c.payload.Local() })
	warnings, err := attributes(ctx, src, slices.Concat(cs, scriptCases(site)))
	if err != nil {
		return nil, fmt.Errorf("check .gitattributes: %w", err)
	}
	known := verdicts.recall(src.Files())
	scripts, err := known.scripts(ctx, src, site)
	if err != nil {
		return nil, err
	}
	payloads, err := checkAll(ctx, cs, func(ctx context.Context, c lintCase) (desired.Problems, error) {
		found, err := known.lint(ctx, src, c)
		return found.Problems(c.at()), err
	})
	if err != nil {
		return nil, err
	}
	known.done()
	keys, err := checkPackageKeys(src, site)
	if err != nil {
		return nil, err
	}
	return slices.Concat(warnings, scripts, payloads, keys).Sorted(), nil
}

// Elsewhere brings the payload at a CUE path from outside the site's repository, and says what it is in the source that it
// came to. Without a source it is passed over. What is wrong comes back as desired.Problems below that path.
type Elsewhere func(ctx context.Context, at string, p desired.Payload) (artifact.Source, desired.Payload, error)

// CheckElsewhere is Check for the payloads that do not lie in the site's own repository.
func CheckElsewhere(ctx context.Context, site desired.Site, bring Elsewhere) (desired.Problems, error) {
	cs := slices.DeleteFunc(payloadCases(site), func(c lintCase) bool { return c.payload.Local() })
	return checkAll(ctx, cs, func(ctx context.Context, c lintCase) (desired.Problems, error) {
		at := c.at()
		src, local, err := bring(ctx, c.path, c.payload)
		var wrong desired.Problems
		if errors.As(err, &wrong) {
			return wrong.Below(c.path), nil
		}
		if err != nil || src == nil {
			return nil, err
		}
		c.payload = local
		found, err := c.lintWhole(ctx, src)
		return found.Problems(at), err
	})
}

// checkAll makes each check, some side by side.
func checkAll(ctx context.Context, cs []lintCase, check func(context.Context, lintCase) (desired.Problems, error)) (desired.Problems, error) {
	problems := make([]desired.Problems, len(cs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(runtime.GOMAXPROCS(0), lints))
	for n, c := range cs {
		group.Go(func() (err error) {
			if problems[n], err = check(ctx, c); err != nil {
				return fmt.Errorf("check %s: %w", c.at(), err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(problems...).Sorted(), nil
}

// lintCase is one thing to lint: a payload or a plain file.
type lintCase struct {
	path    string // CUE path of the payload or file
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

// scriptCases are the files of scripts, each once, however many FECs run it.
func scriptCases(site desired.Site) (out []lintCase) {
	seen := map[string]bool{"": true}
	add := func(file string) {
		if !seen[file] {
			seen[file] = true
			out = append(out, lintCase{file: file})
		}
	}
	for _, s := range site.Settings.Scripts {
		add(s.File)
	}
	for _, fec := range site.FECs {
		for _, i := range fec.Init {
			add(i.File)
		}
	}
	return out
}

func newCase(p desired.Payload, at ...any) lintCase {
	return lintCase{path: desired.CUEPath(at...), payload: p}
}

func payloadCases(site desired.Site) []lintCase {
	return append(softwareCases(site), configurationCases(site)...)
}

// at is the CUE path of what names the content.
func (c lintCase) at() string {
	p := c.payload
	switch {
	case c.file != "":
		return c.path
	case p.Folder != "":
		return c.path + ".folder"
	case p.Archive != "":
		return c.path + ".archive"
	case p.HTTPS != desired.Download{}:
		return c.path + ".https"
	case p.Blob != desired.Blob{}:
		return c.path + ".blob"
	case p.OCI != desired.Image{}:
		return c.path + ".oci"
	}
	return c.path
}

// lintWhole is lint for a source of which nobody has checked yet that it has the folder or archive.
func (c lintCase) lintWhole(ctx context.Context, src artifact.Source) (Findings, error) {
	p := c.payload
	f, isFile := src.Files().Find(p.Archive)
	switch {
	case p.Archive != "" && (!isFile || notAFile(f) != nil):
		return Findings{{Text: fmt.Sprintf("that commit has no file %q", p.Archive), Advice: "correct the path, or the commit"}}, nil
	case p.Archive == "" && len(src.Files().Under(p.Folder)) == 0:
		return Findings{{Text: fmt.Sprintf("that commit has no folder %q, or nothing is in it", p.Folder), Advice: "correct the path, or the commit"}}, nil
	}
	return c.lint(ctx, src)
}

func (c lintCase) lint(ctx context.Context, src artifact.Source) (Findings, error) {
	switch {
	case c.file != "":
		return c.lintFile(ctx, src)
	case c.payload.Archive != "":
		return c.lintArchive(ctx, src)
	}
	s := Spec{Folder: c.payload.Folder, Install: c.payload.Install}
	if len(src.Files().Under(s.Folder)) == 0 {
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
		found, _, err = lint(ctx, r, format, Limits{Install: c.payload.Install, Memory: c.memory()}, nil)
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

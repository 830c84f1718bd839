package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

// PackageSource brings the package at a CUE path. Without a source it is passed over. What is wrong comes back as desired.Problems below
// that path.
type PackageSource func(ctx context.Context, at string, p desired.RPM) (artifact.Source, error)

// CheckPackages reads the packages of a site's pilots: whether they are what their names say, and fit their branches. Those of pilots that have
// ended may be gone.
func CheckPackages(ctx context.Context, site desired.Site, bring PackageSource) (desired.Problems, error) {
	cases := packageCases(site)
	problems := make([]desired.Problems, len(cases))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(min(runtime.GOMAXPROCS(0), lints))
	for i, c := range cases {
		group.Go(func() (err error) {
			problems[i], err = c.check(within, bring)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(problems...).Sorted(), nil
}

// PackagePaths are the CUE paths of the packages that CheckPackages reads.
func PackagePaths(site desired.Site) (paths []string) {
	for _, c := range packageCases(site) {
		paths = append(paths, c.at)
	}
	return paths
}

// packageCase is one package of a pilot.
type packageCase struct {
	at     string // CUE path
	branch string
	rpm    desired.RPM
}

func packageCases(site desired.Site) (out []packageCase) {
	for _, name := range slices.Sorted(maps.Keys(site.Pilots)) {
		p := site.Pilots[name]
		if p.Scope != desired.PilotOfSites || p.Ended() {
			continue
		}
		for _, branch := range slices.Sorted(maps.Keys(p.Branches)) {
			for _, directory := range desired.RPMDirectories {
				for i, r := range p.Branches[branch][directory] {
					out = append(out, packageCase{desired.CUEPath("pilots", name, "branches", branch, directory, i), branch, r})
				}
			}
		}
		for _, update := range slices.Sorted(maps.Keys(p.Updates)) {
			packages := p.Updates[update].Packages
			for _, branch := range slices.Sorted(maps.Keys(packages)) {
				for i, r := range packages[branch] {
					out = append(out, packageCase{desired.CUEPath("pilots", name, "updates", update, "packages", branch, i), branch, r})
				}
			}
		}
	}
	return out
}

func (c packageCase) check(ctx context.Context, bring PackageSource) (desired.Problems, error) {
	src, err := bring(ctx, c.at, c.rpm)
	var wrong desired.Problems
	if errors.As(err, &wrong) {
		return wrong.Below(c.at), nil
	}
	if err != nil || src == nil {
		return nil, err
	}
	read, err := readPackage(ctx, func(context.Context) (artifact.Source, error) { return src, nil })
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.at, err)
	}
	problem := func(field, text, advice string) {
		wrong = append(wrong, desired.Problem{Path: c.at + field, Text: text, Advice: advice})
	}
	switch p := &read.Package; {
	case read.Wrong != "":
		problem(".sha256", fmt.Sprintf("%s is no RPM package: %s", c.rpm.File, read.Wrong), "give the digest of the package itself")
	case p.Arch == "src":
		problem(".file", fmt.Sprintf("%s is a source package, which nobody installs", p), "take the package that was built from it")
	case p.FileName() != c.rpm.File:
		problem(".file", fmt.Sprintf("the package with this digest is %s", p), "call it "+p.FileName()+", or correct the digest")
	default:
		_, arch, _ := strings.Cut(c.branch, "/")
		if !slices.Contains(fits[arch], p.Arch) {
			problem(".file", fmt.Sprintf("a package for %s cannot be installed on %s", p.Arch, c.branch), "move it to its own branch")
		}
	}
	return wrong, nil
}

// fits are the architectures of packages that nodes of an architecture install.
var fits = map[string][]string{
	"x86_64":  {"x86_64", "noarch", "i386", "i486", "i586", "i686", "athlon"},
	"i386":    {"i386", "i486", "i586", "i686", "athlon", "noarch"},
	"aarch64": {"aarch64", "noarch"},
	"ppc":     {"ppc", "noarch"},
	"ppc64le": {"ppc64le", "noarch"},
	"noarch":  {"noarch"},
}

// checkPackageKeys finds files of public keys that are none.
func checkPackageKeys(src artifact.Source, site desired.Site) (ps desired.Problems, err error) {
	keys := site.Settings.Packages.Keys
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		f, ok := src.Files().Find(keys[name].File)
		if !ok || notAFile(f) != nil {
			continue // desired has said so
		}
		var b []byte
		if err := reading(src, f, func(r io.Reader) (err error) {
			b, err = io.ReadAll(io.LimitReader(r, maxKeys))
			return err
		}); err != nil {
			return nil, err
		}
		if _, err := rpm.ParseKeyring(b); err != nil {
			ps = append(ps, desired.Problem{Path: desired.CUEPath("site", "packages", "keys", name, "file"), Text: fmt.Sprintf("%s: %v", f.Path, err),
				Advice: "export it with gpg --armor --export"})
		}
	}
	return ps, nil
}

// maxKeys bounds a file of public keys.
const maxKeys = 1 << 20

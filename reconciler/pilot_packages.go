package reconciler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/rpm"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// judges is the version of everything that decides what is said of packages. Raise it whenever another answer comes of the same packages.
const judges = "1"

// repositoryFacts adds to what is known of a pilot of sites what its packages say: what they lack, who signed them, and which production updates
// nodes would never see. What has been judged before is not read again. The error is trouble with this pilot alone.
func (r *Reconciler) repositoryFacts(ctx context.Context, w wanted, name string, f *plan.PilotFacts) error {
	p := f.Deployed.Of(w.site.Pilots[name])
	if p.Scope != desired.PilotOfSites {
		return nil
	}
	ctx = fetch.Waits(ctx, pilotWaits)
	f.Unmet, f.Signed, f.Masked = map[string][]string{}, map[string]string{}, map[string][]string{}
	j := packageJudge{r: r, w: w, p: p}
	stated := tree.PilotSnapshots(p)
	for _, subject := range slices.Sorted(maps.Keys(stated)) {
		unmet, known, err := j.unmet(ctx, subject, stated[subject])
		if err != nil {
			return err
		}
		if known {
			f.Unmet[subject] = unmet
		}
		if f.Signed[subject], err = j.signed(ctx, stated[subject]); err != nil {
			return err
		}
	}
	for _, update := range slices.Sorted(maps.Keys(p.Updates)) {
		u := p.Updates[update]
		base, ok := stated[u.Base]
		if u.Kind != desired.ProductionUpdate || !ok {
			continue
		}
		masked, err := j.masked(ctx, base, u)
		if err != nil {
			return err
		}
		f.Masked[update] = masked
	}
	return nil
}

// packageJudge judges packages of one pilot.
type packageJudge struct {
	r *Reconciler
	w wanted
	p desired.Pilot
}

// of are packages as they describe themselves.
func (j packageJudge) of(ctx context.Context, all []desired.RPM) (out []*rpm.Package, err error) {
	for _, p := range all {
		got, err := j.r.readRPM(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("%s%w", j.place(p), err)
		}
		out = append(out, &got.Package)
	}
	return out, nil
}

// place is where the site has a package, with what follows.
func (j packageJudge) place(p desired.RPM) string {
	for _, s := range tree.PilotSnapshots(j.p) {
		for _, d := range tree.Directories(j.p, s) {
			if slices.Contains(d.Packages, p) {
				return d.Path() + ": "
			}
		}
	}
	return ""
}

// unmet is what packages of a snapshot require and nobody provides, by branch. It is not known of a branch of which the site does not say what its
// nodes have already, unless nothing is missing anyway.
func (j packageJudge) unmet(ctx context.Context, subject string, s desired.Snapshot) (all []string, known bool, err error) {
	all, known = []string{}, true
	by := map[string][]desired.RPM{}
	for _, d := range tree.Directories(j.p, s) {
		by[d.Branch] = append(by[d.Branch], d.Packages...)
	}
	for _, branch := range slices.Sorted(maps.Keys(by)) {
		base := j.w.site.Settings.Packages.Base[branch]
		found, err := j.r.Packages.Judge(fmt.Sprintf("unmet %s %s %s %v", judges, subject, branch, base), func() ([]string, error) {
			return j.unmetOf(ctx, branch, by[branch], base)
		})
		if err != nil {
			return nil, false, err
		}
		all, known = append(all, found...), known && (len(base) > 0 || len(found) == 0)
	}
	return all, known, nil
}

func (j packageJudge) unmetOf(ctx context.Context, branch string, packages []desired.RPM, base []desired.PackageList) ([]string, error) {
	wanted, err := j.of(ctx, packages)
	if err != nil {
		return nil, err
	}
	var available []*rpm.Package
	for _, list := range base {
		src, err := opener(j.r.Payloads, desired.RPM{File: "primary.xml", SHA256: list.SHA256, URL: list.URL})(ctx)
		if err != nil {
			return nil, fmt.Errorf("packages of %s: %w", branch, err)
		}
		in, err := src.Open(src.Files()[0])
		if err != nil {
			return nil, err
		}
		all, err := rpm.ParseBase(in)
		if err := errors.Join(err, in.Close()); err != nil {
			return nil, fmt.Errorf("packages of %s: %w", branch, err)
		}
		available = append(available, all...)
	}
	found := []string{}
	for _, u := range rpm.Closure(available, wanted) {
		found = append(found, fmt.Sprintf("%s of %s requires %s", u.Package, branch, u.Requirement))
	}
	return found, nil
}

// signed is why a package of a snapshot is not to be believed; empty: each is signed by a key that the site names.
func (j packageJudge) signed(ctx context.Context, s desired.Snapshot) (string, error) {
	ring, id, err := j.ring()
	if err != nil {
		return "", err
	}
	var wrong []string
	for _, at := range slices.Sorted(maps.Keys(s)) {
		p := s[at]
		found, err := j.r.Packages.Judge(fmt.Sprintf("signed %s %s %s", judges, p.SHA256, id), func() ([]string, error) {
			why, err := build.VerifyPackage(ctx, ring, opener(j.r.Payloads, p))
			return []string{why}, err
		})
		if err != nil {
			return "", fmt.Errorf("package %s: %w", p.File, err)
		}
		if why := strings.Join(found, ""); why != "" {
			wrong = append(wrong, at+": "+why)
		}
	}
	return desired.Few(wrong), nil
}

// ring are the keys of those who may sign packages, and what stands for all of them.
func (j packageJudge) ring() (rpm.Keyring, string, error) {
	var armored []byte
	for _, name := range slices.Sorted(maps.Keys(j.w.site.Settings.Packages.Keys)) {
		b, err := readKeyFile(j.w.files, j.w.site.Settings.Packages.Keys[name].File)
		if err != nil {
			return rpm.Keyring{}, "", err
		}
		armored = append(append(armored, b...), '\n')
	}
	if len(armored) == 0 {
		return rpm.Keyring{}, "none", nil
	}
	ring, err := rpm.ParseKeyring(armored)
	sum := sha256.Sum256(armored)
	return ring, hex.EncodeToString(sum[:]), err
}

// maxKeyFile bounds a file of public keys.
const maxKeyFile = 1 << 20

func readKeyFile(src artifact.Source, path string) ([]byte, error) {
	f, ok := src.Files().Find(path)
	if !ok {
		return nil, fmt.Errorf("this commit has no file %q", path)
	}
	in, err := src.Open(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	b, err := io.ReadAll(io.LimitReader(in, maxKeyFile))
	return b, errors.Join(err, in.Close())
}

// masked are the packages of a production update that nodes of the pilot would never be offered.
func (j packageJudge) masked(ctx context.Context, base desired.Snapshot, u desired.PilotUpdate) ([]string, error) {
	out := []string{}
	for _, branch := range slices.Sorted(maps.Keys(u.Packages)) {
		production, err := j.of(ctx, u.Packages[branch])
		if err != nil {
			return nil, err
		}
		var own []desired.RPM
		for _, d := range tree.Directories(j.p, base) {
			if d.Branch == branch && d.Directory != desired.ProductionUpdatesRPMs {
				own = append(own, d.Packages...)
			}
		}
		pilot, err := j.of(ctx, own)
		if err != nil {
			return nil, err
		}
		for _, m := range rpm.Masking(production, pilot) {
			out = append(out, fmt.Sprintf("%s of %s behind %s", m.Package, branch, m.By))
		}
	}
	return out, nil
}

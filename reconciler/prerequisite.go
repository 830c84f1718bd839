package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Prerequisites are how far the prerequisites of the branch are, each after what it needs. Who wrote what is found out now.
func (r *Reconciler) Prerequisites(ctx context.Context, approvers Approvers) ([]plan.Prerequisite, error) {
	w, err := r.read(ctx, r.Branch)
	if err != nil {
		return nil, err
	}
	here := *r
	if _, err := NewProver(&Prover{Reconciler: &here, Approvers: approvers}).find(ctx, w, nil); err != nil {
		return nil, err
	}
	return here.judgePrerequisites(ctx, w)
}

// SeePrerequisites is how far those of the published site are, by what its service knows of who wrote what.
func (r *Reconciler) SeePrerequisites(ctx context.Context) ([]plan.Prerequisite, error) {
	_, judged, err := r.judgePublished(ctx)
	return judged, err
}

// RenderPrerequisites writes the files that the prerequisites of the branch are rendered into into a folder, and gives their paths. A folder that has
// files of the site is refused.
func (r *Reconciler) RenderPrerequisites(ctx context.Context, dir string) ([]string, error) {
	w, err := r.read(ctx, r.Branch)
	if err != nil {
		return nil, err
	}
	nodes, err := tree.Prerequisites(w.site)
	if err != nil {
		return nil, err
	}
	if err := r.foreign(dir); err != nil {
		return nil, err
	}
	paths := make([]string, len(nodes))
	for i, n := range nodes {
		paths[i] = n.Path
	}
	return paths, WriteNodes(dir, nodes)
}

// foreign says why nothing may be rendered into a folder: it has files of the site.
func (r *Reconciler) foreign(dir string) error {
	file, err := r.Repo.Tracked(dir)
	if file == "" && err == nil {
		err = filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && filepath.Ext(at) == ".cue" {
				file, err = at, fs.SkipAll
			}
			return err
		})
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("render into %q: %w", dir, err)
	}
	if file != "" {
		return fmt.Errorf("render into %q: the site has %s there: name a folder of its own with --to", dir, file)
	}
	return nil
}

// judgePrerequisites judges all of a commit, each after what it needs.
func (r *Reconciler) judgePrerequisites(ctx context.Context, w wanted) ([]plan.Prerequisite, error) {
	site := w.stated
	nodes, unfit := tree.Prerequisites(site)
	known, _ := r.provenRecords(ctx) // a ledger that cannot be read knows nothing
	states := map[string]string{}
	out := make([]plan.Prerequisite, 0, len(site.Prerequisites))
	for _, name := range tree.PrerequisitesInOrder(site) {
		p := site.Prerequisites[name]
		f := plan.PrerequisiteFacts{Name: name, Spec: p, Systems: site.Settings.Systems, Needs: map[string]string{}}
		d, err := tree.PrerequisiteDigest(site, name)
		if err = errors.Join(err, unfit); err != nil {
			f.Unfit = err.Error()
		} else {
			f.Digest = "sha256:" + d.String()
			f.PagesSame = tree.PrerequisitePagesSame(nodes, site, name, d)
		}
		r.prerequisiteProofs(known, &f)
		r.prerequisiteAnswers(known, w, &f)
		if err := r.prerequisiteAuthors(ctx, w, known, &f); err != nil {
			return nil, err
		}
		for _, need := range p.Needs {
			f.Needs[need] = states[need]
		}
		judged := plan.PrerequisiteOf(f, r.Now())
		states[name] = judged.State
		out = append(out, judged)
	}
	return out, ctx.Err()
}

// prerequisiteProofs adds to what is known of a prerequisite who wrote its records. What no ledger has remembered yet is known since now.
func (r *Reconciler) prerequisiteProofs(known provenRecords, f *plan.PrerequisiteFacts) {
	f.Proofs, f.ProvenAt = map[string]plan.RecordProof{}, map[string]time.Time{}
	back := usurps(known, prerequisiteSection, f.Name, f.Spec.Records)
	for name, record := range f.Spec.Records {
		if back != "" {
			f.Proofs[name] = plan.RecordProof{Doubt: back}
			continue
		}
		k := recordKeyOf(prerequisiteSection, f.Name, name, record)
		if proof, ok := known.proofs[k]; ok {
			f.Proofs[name], f.ProvenAt[name] = plan.RecordProof{Who: proof.By, Source: proof.Source}, known.proven[k]
			continue
		}
		proof, ok, doubt := r.Proofs.of(k)
		if !ok {
			f.Proofs[name] = plan.RecordProof{Doubt: doubt.why, Later: !doubt.sure}
			continue
		}
		f.Proofs[name] = plan.RecordProof{Who: proof.By, Source: proof.Source}
		if r.Records != nil {
			f.ProvenAt[name] = r.Now()
		}
	}
}

func unknownPrerequisite(site desired.Site, name string) error {
	return UnknownPrerequisite(name, present(site.Prerequisites))
}

// UnknownPrerequisite says that there is none of a name.
func UnknownPrerequisite(name string, known map[string]bool) error {
	if near := didYouMean(name, known); near != "" {
		return fmt.Errorf("the site has no prerequisite %q: %s", name, near)
	}
	return fmt.Errorf("the site has no prerequisite %q", name)
}

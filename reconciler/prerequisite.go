package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Prerequisites are how far the prerequisites of the branch are, each after what it needs.
func (r *Reconciler) Prerequisites(ctx context.Context, approvers Approvers) ([]plan.Prerequisite, error) {
	w, err := r.read(ctx, r.Branch)
	if err != nil {
		return nil, err
	}
	proofs, err := r.prerequisiteProofs(ctx, w, approvers)
	if err != nil {
		return nil, err
	}
	return prerequisitesOf(w.site, proofs, r.Now)
}

// RenderPrerequisites are the files that the prerequisites of the branch are rendered into.
func (r *Reconciler) RenderPrerequisites(ctx context.Context) ([]tree.Node, error) {
	w, err := r.read(ctx, r.Branch)
	if err != nil {
		return nil, err
	}
	return tree.Prerequisites(w.site)
}

// prerequisitesOf judges all, each after what it needs.
func prerequisitesOf(site desired.Site, proofs map[string]plan.RecordProof, now func() time.Time) ([]plan.Prerequisite, error) {
	nodes, unfit := tree.Prerequisites(site)
	states := map[string]string{}
	out := make([]plan.Prerequisite, 0, len(site.Prerequisites))
	for _, name := range tree.PrerequisitesInOrder(site) {
		p := site.Prerequisites[name]
		f := plan.PrerequisiteFacts{Name: name, Spec: p, Systems: site.Settings.Systems, Proofs: map[string]plan.RecordProof{}, Needs: map[string]string{}}
		d, err := tree.PrerequisiteDigest(site, name)
		if err = errors.Join(err, unfit); err != nil {
			f.Unfit = err.Error()
		} else {
			f.Digest = "sha256:" + d.String()
			f.PagesSame = tree.PrerequisitePagesSame(nodes, site, name, d)
		}
		for record := range p.Records {
			if proof, ok := proofs[desired.CUEPath("prerequisites", name, "records", record)]; ok {
				f.Proofs[record] = proof
			}
		}
		f.Author = proofs[desired.CUEPath("prerequisites", name)].Who
		for _, need := range p.Needs {
			f.Needs[need] = states[need]
		}
		judged := plan.PrerequisiteOf(f, now())
		states[name] = judged.State
		out = append(out, judged)
	}
	return out, nil
}

// prerequisiteProofs find who wrote each record, and under the path of each prerequisite who wrote who answers for it.
func (r *Reconciler) prerequisiteProofs(ctx context.Context, w wanted, approvers Approvers) (map[string]plan.RecordProof, error) {
	var claims []claim
	for _, name := range slices.Sorted(maps.Keys(w.site.Prerequisites)) {
		p := w.site.Prerequisites[name]
		claims = append(claims, claim{path: desired.CUEPath("prerequisites", name), by: p.Responsible, fields: []string{"responsible"}})
		for _, record := range slices.Sorted(maps.Keys(p.Records)) {
			claims = append(claims, claim{path: desired.CUEPath("prerequisites", name, "records", record), by: p.Records[record].By, fields: pathsOf(p.Records[record])})
		}
	}
	return approvers.wrote(ctx, r, w, claims)
}

// pathsOf are the paths of everything that a record says.
func pathsOf(record any) []string {
	b, err := json.Marshal(record)
	var v any
	if err != nil || json.Unmarshal(b, &v) != nil {
		return nil // nothing is known of it, and it does not count
	}
	var out []string
	var look func(at []any, v any)
	look = func(at []any, v any) {
		if m, ok := v.(map[string]any); ok {
			for _, name := range slices.Sorted(maps.Keys(m)) {
				look(append(slices.Clone(at), name), m[name])
			}
			return
		}
		out = append(out, desired.CUEPath(at...))
	}
	look(nil, v)
	return out
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

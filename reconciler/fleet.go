package reconciler

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// Fleet is how every FEC is for which something is published; nothing is counted (report.Fleet.Only). It only reads.
func (r *Reconciler) Fleet(ctx context.Context) (report.Fleet, error) {
	status, err := r.Status(ctx)
	if err != nil {
		return report.Fleet{}, err
	}
	out := report.Fleet{Site: status.Site, At: r.Now().UTC(), Wanted: status.Wanted, Published: status.Published, Holds: status.Holds, Trouble: status.Trouble, FECs: []report.FleetFEC{}}
	if a := status.Attempted; a != nil && a.Commit == status.Wanted && a.Reason != "" && (status.Published == nil || status.Published.Commit != status.Wanted) {
		out.Differs = fmt.Sprintf("%s: %s", a.Outcome, a.Reason)
	}
	if status.FECs == nil {
		return out, nil
	}
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return out, fmt.Errorf("open root: %w", err)
	}
	defer root.Close() // only read
	s, err := r.publishedBy(ctx, root)
	if err != nil {
		out.Trouble = err.Error()
	}
	for _, line := range status.FECs.All {
		f := s.site.FECs[line.FEC]
		x := report.FleetFEC{FECLine: line, Groups: f.Groups, Location: f.Location, Held: keptBy(status.Holds, s.generation, line.FEC, f.Groups), Software: map[string]string{}}
		for name, pin := range f.Software {
			x.Software[name] = pin.Version
		}
		out.FECs = append(out.FECs, x)
	}
	return out, nil
}

// keptBy is the hold that keeps a FEC as it is; empty: none does.
func keptBy(holds []observed.Hold, g observed.Generation, fec string, groups []string) string {
	i := slices.IndexFunc(holds, func(h observed.Hold) bool { return h.Kind == desired.Stay && plan.Covers(h.Scope, fec, groups) })
	if i < 0 {
		k, held := slices.BinarySearchFunc(g.Givens.Held, fec, func(h observed.Held, fec string) int { return strings.Compare(h.FEC, fec) })
		if !held {
			return ""
		}
		if i = slices.IndexFunc(holds, func(h observed.Hold) bool { return slices.Contains(g.Givens.Held[k].By, h.ID) }); i < 0 {
			return ""
		}
	}
	return holds[i].String()
}

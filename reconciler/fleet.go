package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// Fleet is how every FEC is for which something is published; nothing is counted (report.Fleet.Only). It only reads.
func (r *Reconciler) Fleet(ctx context.Context) (report.Fleet, error) {
	status, err := r.status(ctx, true)
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
	wants, err := r.wantedOf(ctx, status.Wanted, s)
	if err != nil {
		out.Unread = err.Error()
	}
	since, err := r.staleSince(ctx, status.FECs.Count[plan.Stale])
	if err != nil {
		out.Trouble = err.Error()
	}
	for _, line := range status.FECs.All {
		f := s.site.FECs[line.FEC]
		x := report.FleetFEC{FECLine: line, Groups: f.Groups, Location: f.Location, Wanted: wants(line.FEC, f), Since: line.At, Software: map[string]string{}}
		hold := keptBy(status.Holds, s.generation, line.FEC, f.Groups)
		if hold != nil {
			x.Held = hold.String()
		}
		switch {
		case line.Condition == plan.Stale && since[line.FEC].After(line.At):
			x.Since = since[line.FEC] // it ran what was published until then
		case line.Condition == plan.Runs && hold != nil:
			x.Since = hold.Since
		case line.Condition == plan.Runs:
			x.Since = time.Time{}
		}
		for name, pin := range f.Software {
			x.Software[name] = pin.Version
		}
		out.FECs = append(out.FECs, x)
	}
	return out, nil
}

// staleSince is when what is published now for each FEC was published; nobody asks for it where no FEC is stale.
func (r *Reconciler) staleSince(ctx context.Context, stale int) (since map[string]time.Time, err error) {
	if stale == 0 || r.Records == nil {
		return nil, nil
	}
	err = r.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		since, err = l.PublishedSince(ctx)
		return err
	})
	if errors.Is(err, ledger.ErrNone) {
		err = nil
	}
	return since, err
}

// wantedOf says what a commit wants of a FEC that is not published. What cannot be read wants nothing: the fleet says why.
func (r *Reconciler) wantedOf(ctx context.Context, commit string, s servedSite) (func(fec string, published desired.FEC) string, error) {
	nothing := func(string, desired.FEC) string { return "" }
	if r.Repo == nil || r.Loader == nil || s.generation.Commit == "" || commit == s.generation.Commit && len(s.generation.Givens.Held) == 0 {
		return nothing, nil
	}
	w, err := r.seen(ctx, commit)
	if err != nil {
		return nothing, err
	}
	w.place(s.generation.Givens.Pilots)
	return func(fec string, published desired.FEC) string {
		f, there := w.site.FECs[fec]
		switch {
		case !there:
			return "to be removed"
		case reflect.DeepEqual(f, published):
			return ""
		}
		var changes []string
		for _, name := range slices.Sorted(maps.Keys(f.Software)) {
			if was, is := published.Software[name].Version, f.Software[name].Version; was != is {
				changes = append(changes, name+" "+is)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(published.Software)) {
			if _, there := f.Software[name]; !there {
				changes = append(changes, "no "+name)
			}
		}
		return cmp.Or(strings.Join(changes, ", "), "other settings")
	}, nil
}

// keptBy is the hold that keeps a FEC as it is; nil: none does.
func keptBy(holds []observed.Hold, g observed.Generation, fec string, groups []string) *observed.Hold {
	i := slices.IndexFunc(holds, func(h observed.Hold) bool { return h.Kind == desired.Stay && plan.Covers(h.Scope, fec, groups) })
	if i < 0 {
		k, held := slices.BinarySearchFunc(g.Givens.Held, fec, func(h observed.Held, fec string) int { return strings.Compare(h.FEC, fec) })
		if !held {
			return nil
		}
		if i = slices.IndexFunc(holds, func(h observed.Hold) bool { return slices.Contains(g.Givens.Held[k].By, h.ID) }); i < 0 {
			return nil
		}
	}
	return &holds[i]
}

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// shownReports are as many as are shown of one FEC.
const shownReports = 20

// ErrNoFEC says that neither the site nor the root has a FEC of a name.
var ErrNoFEC error = refused{errors.New("there is no FEC"), serve.ErrNoSuch}

// FEC is how one FEC is: by what its branch wants, with a Repo and a Loader; by what the root serves; and by what it said.
// It only reads. A FEC may be named by its host.
func (r *Reconciler) FEC(ctx context.Context, name string) (report.FEC, error) {
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return report.FEC{}, fmt.Errorf("open root: %w", err)
	}
	defer root.Close() // only read
	x, err := r.lookAtFEC(ctx, root, name)
	return x.FEC, err
}

func (r *Reconciler) lookAtFEC(ctx context.Context, root *os.Root, name string) (fecSeen, error) {
	if alias, err := root.Readlink(tree.CurrentLink + "/fecs/" + name); err == nil && !strings.Contains(alias, "/") {
		name = alias
	}
	past, current, err := observe.PastOf(root, name)
	if err != nil {
		return fecSeen{}, err
	}
	x := fecSeen{Reconciler: r, root: root, past: past, FEC: report.FEC{Name: name, Differs: []string{}, Holds: []observed.Hold{}, Reports: []observed.FECReport{}}}
	for _, p := range past {
		if p.Number == current {
			x.current = p
		}
	}
	if x.status, err = r.status(ctx, false); err != nil {
		return x, err
	}
	x.wanted(ctx)
	if x.indexed(x.current, x.Name) == nil && x.Wanted == nil {
		return x, x.unknown()
	}
	unread := x.said(ctx)
	x.published(ctx)
	if unread == nil || errors.Is(unread, ledger.ErrNone) {
		x.running(ctx)
	} else {
		x.Differs = append(x.Differs, "it is not known what it runs: "+unread.Error())
	}
	x.held()
	return x, nil
}

// fecSeen is a FEC as far as it has been looked at.
type fecSeen struct {
	*Reconciler
	report.FEC
	root     *os.Root
	past     []observed.Past // newest first
	current  observed.Past
	status   report.Status
	troubled string // why it is not known what is wanted
	site     desired.Site
}

func (x *fecSeen) indexed(p observed.Past, fec string) *tree.IndexedFEC {
	for i, f := range p.Index.FECs {
		if f.Name == fec {
			return &p.Index.FECs[i]
		}
	}
	return nil
}

func (x *fecSeen) unknown() error {
	var known []string
	index, _ := observe.Index(x.root, x.current.Number) // then nobody knows
	for _, f := range index.FECs {
		known = append(known, f.Name)
	}
	return NoFEC(x.Name, append(known, slices.Collect(maps.Keys(x.site.FECs))...))
}

// NoFEC says that there is no FEC of a name, and which of those that are known was probably meant.
func NoFEC(name string, known []string) error {
	if near := desired.Suggest(name, known); near != "" {
		return fmt.Errorf("%w %s: did you mean %s?", ErrNoFEC, name, near)
	}
	return fmt.Errorf("%w %s: pomona status --fecs lists them", ErrNoFEC, name)
}

// wanted is what the branch says.
func (x *fecSeen) wanted(ctx context.Context) {
	if x.Repo == nil || x.Loader == nil {
		return
	}
	w, err := x.seen(ctx, x.Branch)
	if err != nil {
		x.troubled = err.Error()
		return
	}
	published := x.Reconciler.published()
	w.place(published.Givens.Pilots)
	x.site = w.site
	x.FEC.Pilots = x.pilotPins(ctx, w, published, x.Name)
	f, ok := w.site.FECs[x.Name]
	if !ok {
		return
	}
	x.Host, x.Platform, x.Inhibit = f.Host, f.Platform, f.Inhibit
	x.Wanted = &report.Release{Commit: w.commit.ID, Known: true, Software: map[string]string{}, Configuration: f.Configuration}
	for name, pin := range f.Software {
		x.Wanted.Software[name] = pin.Version
	}
}

func (x *fecSeen) said(ctx context.Context) error {
	if x.Records == nil {
		return nil
	}
	return x.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		x.Said, err = observe.SaidBy(ctx, l, x.Name)
		if err == nil {
			x.Reports, err = observe.ReportsOf(ctx, l, x.Name, shownReports)
		}
		if err == nil {
			err = x.restart(ctx, l)
		}
		return err
	})
}

// restart is how far the service has come with restarting it for what is published.
func (x *fecSeen) restart(ctx context.Context, l *ledger.Ledger) error {
	all, pause, err := l.Rollouts(ctx)
	r, f := all[x.Name], x.indexed(x.current, x.Name)
	if err != nil || f == nil || r.State == "" || r.Wanted != f.Serial {
		return err
	}
	x.Restart = &report.Restart{State: r.State, Need: r.Need, Wave: r.Wave, Group: r.Group, Detail: r.Detail, Since: r.At, Paused: pause.Reason}
	return nil
}

// published is what the root serves, and why that is not what is wanted.
func (x *fecSeen) published(ctx context.Context) {
	f := x.indexed(x.current, x.Name)
	if f != nil {
		release := x.release(ctx, f.Serial)
		x.Published = &release
	}
	add := func(format string, args ...any) { x.Differs = append(x.Differs, fmt.Sprintf(format, args...)) }
	for _, b := range x.status.Blocked {
		if b.Scope == desired.FECScope+"."+x.Name || b.Scope == desired.SiteScope {
			add("%s", b)
		}
	}
	head := x.status.Wanted
	switch a := x.status.Attempted; {
	case len(x.Differs) > 0:
	case x.troubled != "":
		add("what the branch wants cannot be read: %s", x.troubled)
	case head == "" || x.status.Published != nil && x.status.Published.Commit == head:
	case a == nil || a.Commit != head:
		add("commit %.12s has not been tried yet", head)
	case a.Reason != "":
		add("commit %.12s is not published: %s: %s", head, a.Outcome, a.Reason)
	}
	if f != nil && x.site.FECs != nil && x.Wanted == nil {
		add("commit %.12s does not have it any more", head)
	}
}

// release is what was published with a serial, as the ledger has it or else the oldest generation that is still there.
func (x *fecSeen) release(ctx context.Context, serial int64) report.Release {
	out := report.Release{Serial: serial}
	var manifest []byte
	for _, p := range x.past {
		f := x.indexed(p, x.Name)
		if p.Number > x.current.Number || f == nil || f.Serial != serial {
			continue
		}
		out.Commit, out.Generation, out.Since = p.Commit, p.Number, p.Published
		if b, err := x.root.ReadFile(tree.GenerationPath(p.Number) + "/fecs/" + x.Name + "/" + tree.ManifestName); err == nil { // else the ledger may know
			manifest = b
		}
	}
	if x.Records != nil {
		_ = x.Records.Use(ctx, func(l *ledger.Ledger) error { // what the root tells stands
			p, known, err := l.PublishedFEC(ctx, x.Name, serial)
			if known && err == nil {
				out.Commit, out.Generation, out.Since, manifest = p.Commit, p.Generation, p.At, p.Manifest
			}
			return err
		})
	}
	m, _, _, err := tree.ParseManifest(manifest)
	if err != nil {
		return out
	}
	if x.Host == "" {
		x.Host, x.Platform = m.Host, m.Platform
	}
	out.Known, out.Software, out.Configuration = true, versionsOf(m.Software), versionsOf(m.Configuration)
	return out
}

func versionsOf(items []tree.Item) map[string]string {
	out := map[string]string{}
	for _, i := range items {
		out[i.Name] = i.Version
	}
	return out
}

// running is what the FEC says, and why that is not what is published.
func (x *fecSeen) running(ctx context.Context) {
	counts := x.Said.Counts()
	if x.Published != nil {
		var why string
		if x.Condition, why = plan.ConditionOf(x.Published.Serial, counts, x.Now()); x.Condition != plan.Runs {
			x.Differs = append(x.Differs, why+x.since(counts))
		}
	}
	if counts != nil && !counts.Proven() && len(x.FEC.Pilots) > 0 {
		x.Differs = append(x.Differs, report.NotProven+", so that pilots count what it runs")
	}
	if doubt := x.Said.Doubtful(); doubt != nil {
		x.Differs = append(x.Differs, fmt.Sprintf("somebody reported for it, without its token: %s with serial %d at %s", doubt.State, doubt.Serial, observed.Minute(doubt.At)))
	}
	last := counts
	if last == nil || last.State != "running" && last.State != "fallback" {
		last = x.lastRunning(counts)
	}
	if last == nil {
		return
	}
	release := x.release(ctx, last.Serial)
	release.Since, release.Source, release.From, release.Dev = last.At, last.Source, last.From, last.Dev
	for _, r := range x.Reports { // it may have booted the same several times
		if r.Preview == 0 && r.Source == last.Source && (r.State == "running" || r.State == "fallback") && !r.At.After(last.At) {
			if r.Serial != last.Serial {
				break
			}
			release.Since = r.At
		}
	}
	x.Running = &release
}

// since says what has happened since a FEC reported something else than what is published.
func (x *fecSeen) since(said *observed.FECReport) string {
	if x.Condition != plan.Stale || said.Serial == x.Published.Serial {
		return ""
	}
	if x.Published.Since.After(said.At) {
		return fmt.Sprintf(", and has not booted since serial %d was published", x.Published.Serial)
	}
	return fmt.Sprintf(", although serial %d was published before", x.Published.Serial)
}

// lastRunning is the last that a FEC ran before a boot that has not ended or failed: after that it runs nothing for certain,
// unless the boot has only begun.
func (x *fecSeen) lastRunning(counts *observed.FECReport) *observed.FECReport {
	if counts == nil || x.Condition != plan.Boots {
		return nil
	}
	for i, r := range x.Reports {
		if r.Preview == 0 && (r.Proven() || !counts.Proven()) && (r.State == "running" || r.State == "fallback") {
			return &x.Reports[i]
		}
	}
	return nil
}

// held are the holds that keep the FEC as it is.
func (x *fecSeen) held() {
	by := map[string]bool{}
	for _, h := range x.current.Givens.Held {
		if h.FEC == x.Name {
			for _, id := range h.By {
				by[id] = true
			}
		}
	}
	for _, h := range x.status.Holds {
		if h.Scope == desired.SiteScope || h.Scope == desired.FECScope+"."+x.Name || by[h.ID] {
			x.Holds = append(x.Holds, h)
		}
	}
}

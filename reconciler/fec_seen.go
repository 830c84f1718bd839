package reconciler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const (
	keptReports = 100  // and more than the ledger keeps
	keptSerials = 100  // likewise
	mostWhys    = 1000 // FECs whose explanation is remembered
	someOthers  = 5    // FECs that are named beside their number
)

// FECSeen is all that is known of a FEC: what FEC tells and Explain, what was published for it before, and whom else it touches what decides about it.
// With a time, also what was so then; one in the future is refused. It only reads.
func (r *Reconciler) FECSeen(ctx context.Context, name string, at time.Time) (report.FECSeen, error) {
	if now := r.Now(); at.After(now) {
		return report.FECSeen{}, refused{fmt.Errorf("time %s lies in the future: it is %s now", at.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)), serve.ErrMalformed}
	}
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return report.FECSeen{}, fmt.Errorf("open root: %w", err)
	}
	defer root.Close() // only read
	seen, err := r.lookAtFEC(ctx, root, name)
	if err != nil {
		return report.FECSeen{}, err
	}
	x := fecWhole{fecSeen: seen, out: report.FECSeen{FEC: seen.FEC, Ran: []report.Ran{}, Boot: []observed.FECReport{}, Touches: []report.Touch{}}}
	x.declared(ctx)
	x.why(ctx)
	x.touches()
	x.ran(ctx, at)
	return x.out, ctx.Err()
}

// fecWhole is a FEC as far as all of it has been looked at.
type fecWhole struct {
	fecSeen
	out    report.FECSeen
	served servedSite
}

func (x *fecWhole) trouble(what string, err error) {
	x.out.Trouble = append(x.out.Trouble, what+": "+err.Error())
}

// declared is how the FEC is published, and what monitoring systems are told of that.
func (x *fecWhole) declared(ctx context.Context) {
	var err error
	if x.served, err = x.publishedBy(ctx, x.root); err != nil {
		x.trouble("what is published is not known", err)
		return
	}
	f, ok := x.served.site.FECs[x.Name]
	if !ok {
		return
	}
	x.out.Declared = &f
	icinga, targets, probes := tree.MonitoringOf(x.served.site.Settings.Name, x.Name, f)
	m := &report.Monitoring{Groups: f.Monitoring.Groups, Icinga: string(icinga)}
	if err := errors.Join(json.Unmarshal(targets, &m.Targets), json.Unmarshal(probes, &m.Probes)); err != nil {
		x.trouble("what Prometheus is told of it is not known", err)
	}
	if icinga != nil {
		x.out.Monitoring = m
	}
}

// why is where what is published comes from. That of a generation does not change, and is remembered.
func (x *fecWhole) why(ctx context.Context) {
	if x.indexed(x.current, x.Name) == nil || x.Repo == nil || x.Loader == nil {
		return
	}
	link := tree.GenerationPath(x.current.Number)
	if e, ok := x.Served.why1(link, x.Name); ok {
		x.out.Why = &e
		return
	}
	r := *x.Reconciler
	r.Branch = x.current.Commit
	for _, h := range x.current.Givens.Held {
		if h.FEC == x.Name {
			r.Branch = h.Commit
		}
	}
	e, err := r.Explain(ctx, desired.FECScope+"/"+x.Name+"/"+tree.ManifestName)
	if err != nil {
		x.trouble("where it comes from is not known", err)
		return
	}
	x.out.Why = &e
	x.Served.setWhy(link, x.Name, e)
}

// why1 is what is remembered of why a FEC is as a generation has it.
func (p *PublishedSite) why1(link, fec string) (e report.Explanation, ok bool) {
	if p == nil {
		return e, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok = p.why[fec]
	return e, ok && link == p.link
}

func (p *PublishedSite) setWhy(link, fec string, e report.Explanation) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link != link {
		return // something else is published meanwhile
	}
	if p.why == nil || len(p.why) >= mostWhys {
		p.why = map[string]report.Explanation{}
	}
	p.why[fec] = e
}

// touches are what decides about the FEC, and which others that touches too.
func (x *fecWhole) touches() {
	f := x.out.Declared
	if f == nil {
		return
	}
	site, all := x.served.site, x.Served.alikeOf(x.served)
	for _, group := range slices.Sorted(slices.Values(f.Groups)) {
		x.touch(report.Touch{Kind: "group", Name: group}, all.with[trait{kind: "group", name: group}])
	}
	for _, name := range slices.Sorted(maps.Keys(f.Software)) {
		version := f.Software[name].Version
		payload, key, _ := site.Software[name].Versions[version].For(f.Platform)
		x.touch(report.Touch{Kind: "software", Name: name, Version: version, File: fileOf(payload)}, all.with[trait{"software", name, version, key}])
	}
	for _, name := range slices.Sorted(maps.Keys(f.Configuration)) {
		version := f.Configuration[name]
		x.touch(report.Touch{Kind: "configuration", Name: name, Version: version, File: fileOf(site.Configuration[name].Versions[version].Payload)},
			all.with[trait{kind: "configuration", name: name, version: version}])
	}
	for _, name := range slices.Sorted(maps.Keys(f.Init)) {
		file := tree.ScriptFile(site, f.Init[name])
		x.touch(report.Touch{Kind: "script", Name: name, File: file}, all.with[trait{kind: "script", name: file}])
	}
	x.files(all)
}

// fileOf is the file or folder of the repository that a payload is; empty: it lies elsewhere.
func fileOf(p desired.Payload) string {
	if !p.Local() {
		return ""
	}
	return cmp.Or(p.Archive, p.Folder)
}

// files are the CUE files that state something about the FEC.
func (x *fecWhole) files(all *alikeFECs) {
	if x.out.Why == nil || x.served.commit.loaded == nil {
		return
	}
	done := map[string]bool{}
	for _, s := range x.out.Why.Sources {
		if s.Line == 0 || done[s.File] {
			continue
		}
		done[s.File] = true
		x.touch(report.Touch{Kind: "file", Name: s.File, File: s.File, AtMost: true}, all.see(x.served.commit.loaded.Seers(s.File)))
	}
}

// touch says of FECs that something touches how many they are, and names some others.
func (x *fecWhole) touch(t report.Touch, fecs []string) {
	t.FECs, t.Some, t.Groups = len(fecs), []string{}, map[string]int{}
	for _, fec := range fecs {
		for _, g := range x.served.site.FECs[fec].Groups {
			t.Groups[g]++
		}
		if fec != x.Name && len(t.Some) < someOthers {
			t.Some = append(t.Some, fec)
		}
	}
	x.out.Touches = append(x.out.Touches, t)
}

// ran is what was published for the FEC and what it said, all that is kept; and what was so at a time, unless that is zero.
func (x *fecWhole) ran(ctx context.Context, at time.Time) {
	if x.Records == nil {
		return
	}
	var published []ledger.PublishedFEC
	var pass *observed.Pass
	var holds []ledger.Hold
	err := x.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		if published, err = l.PublishedOf(ctx, x.Name, keptSerials); err != nil {
			return err
		}
		if x.out.Reports, err = observe.ReportsOf(ctx, l, x.Name, keptReports); err != nil || at.IsZero() {
			return err
		}
		if pass, err = observe.PassAt(ctx, l, at); err == nil {
			holds, err = l.HoldsAt(ctx, at)
		}
		return err
	})
	if err != nil && !errors.Is(err, ledger.ErrNone) {
		x.trouble("what it ran is not known", err)
		return
	}
	for i, p := range published {
		ran := x.ranOne(p)
		if i > 0 {
			ran.Until = published[i-1].At
		} else if x.Published == nil {
			ran.Until = x.gone(p.Generation)
		}
		x.out.Ran = append(x.out.Ran, ran)
	}
	x.out.Boot = report.LastBoot(x.out.Reports)
	if at.IsZero() {
		return
	}
	x.out.Then = report.ThenOf(at, x.out.Ran, x.out.Reports)
	for _, h := range holds {
		if x.out.Declared == nil || plan.Covers(h.Scope, x.Name, x.out.Declared.Groups) {
			x.out.Then.Holds = append(x.out.Then.Holds, observed.Hold(h))
		}
	}
	x.then(pass)
}

// gone is when a generation came that has the FEC no more, of those that are kept.
func (x *fecWhole) gone(since int64) (at time.Time) {
	for _, p := range x.past { // the newest first
		if p.Number <= since || x.indexed(p, x.Name) != nil {
			break
		}
		if p.Number <= x.current.Number {
			at = p.Published
		}
	}
	return at
}

// then completes what is known of a time by the last pass before.
func (x *fecWhole) then(pass *observed.Pass) {
	t := x.out.Then
	if pass == nil {
		t.Unknown = append(t.Unknown, "what the branch wanted: no pass before is on record")
	} else {
		t.Pass, t.Wanted = pass, pass.Wanted
	}
	if p := t.Published; p != nil && !p.Until.IsZero() && !p.Until.After(t.At) {
		t.Published = nil // nothing was
	}
	t.Unknown = append(t.Unknown, "which holds of the site, of the calendar and of the machine were in force: only those of operators and after failures are on record")
}

// ranOne is what was published once, and what became of it.
func (x *fecWhole) ranOne(p ledger.PublishedFEC) report.Ran {
	ran := report.Ran{Release: report.Release{Commit: p.Commit, Generation: p.Generation, Serial: p.Serial, Since: p.At}}
	if m, _, _, err := tree.ParseManifest(p.Manifest); err == nil {
		ran.Known, ran.Software, ran.Configuration = true, versionsOf(m.Software), versionsOf(m.Configuration)
	}
	if x.Repo != nil {
		if c, err := x.Repo.Commit(p.Commit); err == nil { // else it is gone from the repository
			ran.Author, ran.Subject = c.Author, c.Subject
		}
	}
	for _, r := range slices.Backward(x.out.Reports) {
		if r.Serial != p.Serial || r.Preview > 0 {
			continue
		}
		switch r.State {
		case "running", "fallback":
			if ran.First.IsZero() {
				ran.First = r.At
			}
			if ran.Last = r.At; r.Source != observed.FromSSH {
				ran.Boots++
			}
		case "failed", "init-failed":
			ran.Failed = cmp.Or(r.Detail, r.State)
		}
	}
	return ran
}

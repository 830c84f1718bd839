package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// ErrNoPrerequisite says that the published site has no prerequisite of a name.
var ErrNoPrerequisite error = refused{errors.New("there is no prerequisite"), serve.ErrNoSuch}

// SeenPrerequisites are those of the published site with what provides them, what was found out, and how far they are: as SeePrerequisites says. It only
// reads.
func (r *Reconciler) SeenPrerequisites(ctx context.Context) (report.Prerequisites, error) {
	out := report.Prerequisites{Systems: []string{}, All: []report.PrerequisiteShown{}}
	s, judged, err := r.judgePublished(ctx)
	if err != nil || s.generation.Commit == "" {
		return out, err
	}
	out.Commit = s.generation.Commit
	site := s.commit.stated
	needed := neededBy(site)
	for _, p := range judged {
		out.All = append(out.All, prerequisiteShown(site, p, needed[p.Name], r.Now()))
		for _, v := range out.All[len(out.All)-1].Provided {
			out.Systems = append(out.Systems, v.System)
		}
	}
	slices.Sort(out.Systems)
	out.Systems = slices.Compact(out.Systems)
	return out, nil
}

// judgePublished judges the prerequisites of the published site.
func (r *Reconciler) judgePublished(ctx context.Context) (servedSite, []plan.Prerequisite, error) {
	if r.Repo == nil {
		return servedSite{}, nil, errNoRepository
	}
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return servedSite{}, nil, err
	}
	defer root.Close() // only read
	s, err := r.publishedBy(ctx, root)
	if err != nil || s.generation.Commit == "" {
		return s, []plan.Prerequisite{}, err
	}
	judged, err := r.judgePrerequisites(ctx, s.commit)
	return s, judged, err
}

// neededBy is what needs each prerequisite by itself.
func neededBy(site desired.Site) map[string][]string {
	out := map[string][]string{}
	for name, p := range site.Prerequisites {
		for _, need := range p.Needs {
			out[need] = append(out[need], name)
		}
	}
	for name, sw := range site.Software {
		for v, release := range sw.Versions {
			for _, need := range release.Needs {
				out[need] = append(out[need], "software "+name+" "+v)
			}
		}
	}
	for need := range out {
		slices.Sort(out[need])
		out[need] = slices.Compact(out[need])
	}
	return out
}

func prerequisiteShown(site desired.Site, judged plan.Prerequisite, needed []string, now time.Time) report.PrerequisiteShown {
	p := site.Prerequisites[judged.Name]
	out := report.PrerequisiteShown{Prerequisite: judged, Description: p.Description, Ecosystem: p.Ecosystem, Purpose: p.ThePurpose(), Needs: p.Needs, NeededBy: needed,
		Provided: []report.PrerequisiteProvided{}, Evidence: []report.PrerequisiteEvidence{}}
	gates := map[string]plan.Gate{}
	decides := map[string][]string{}
	for _, g := range judged.Gates {
		gates[g.Name] = g
		for _, record := range g.Records {
			decides[record] = append(decides[record], g.Name)
		}
	}
	for _, system := range slices.Sorted(maps.Keys(p.Systems)) {
		for i, v := range p.Versions(system) {
			out.Provided = append(out.Provided, provided(p, system, v, i > 0, gates[plan.TrialGate(v, system)], now))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Records)) {
		e := report.PrerequisiteEvidence{Name: name, PrerequisiteRecord: p.Records[name], Void: slices.Contains(judged.Void, name), Gates: strings.Join(decides[name], ", ")}
		if e.Says, e.Why = e.Verdict, e.Reason; e.Kind == desired.TrialRecord {
			from := ""
			if e.Version == p.Systems[e.System].TheVersion(p) {
				from = p.UpgradeFrom(e.System)
			}
			verdict, why := plan.TrialVerdict(e.Jobs, from)
			e.Says, e.Why = string(verdict), cmp.Or(why, e.Reason)
		}
		out.Evidence = append(out.Evidence, e)
	}
	slices.SortStableFunc(out.Evidence, func(a, b report.PrerequisiteEvidence) int { return cmp.Compare(b.At, a.At) })
	return out
}

// provided is what a system gets of a version.
func provided(p desired.Prerequisite, system, version string, other bool, trial plan.Gate, now time.Time) report.PrerequisiteProvided {
	source, provider, _ := p.Source(system, version)
	out := report.PrerequisiteProvided{System: system, Version: version, Other: other, Provider: provider, Package: tree.PackageOf(source, provider), Verdict: trial.Verdict, Why: trial.Why}
	if trial.Verdict == plan.GatePass && len(trial.Records) > 0 {
		out.Record = trial.Records[0]
		out.Verified = p.Records[out.Record].At
	}
	if e := p.Systems[system].Exception; e != nil && e.Provider == provider {
		out.Deviation, out.Ended = e, desired.Expired(e.Expires, now)
	}
	return out
}

// SeenPrerequisite is one of them.
func (r *Reconciler) SeenPrerequisite(ctx context.Context, name string) (report.PrerequisiteShown, error) {
	all, err := r.SeenPrerequisites(ctx)
	if err != nil {
		return report.PrerequisiteShown{}, err
	}
	i := slices.IndexFunc(all.All, func(p report.PrerequisiteShown) bool { return p.Name == name })
	if i < 0 {
		return report.PrerequisiteShown{}, fmt.Errorf("%w of name %q", ErrNoPrerequisite, name)
	}
	return all.All[i], nil
}

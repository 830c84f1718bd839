package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// DeployedSubjects are the packages that sites may have by a published place: those that were mirrored, once a wave has been given any. What the records of
// the pilot do not know of nobody has by them: it is set back to what was before.
func DeployedSubjects(p desired.Pilot, was tree.PilotPlace) (subjects []string) {
	if p.Scope != desired.PilotOfSites || !opened(was) && !slices.Contains([]string{PilotHalted, PilotClosed, PilotDenied, PilotExpired}, was.State) {
		return nil
	}
	for _, r := range p.Records {
		if r.Kind == desired.RecordMirror && slices.Contains(was.Snapshots, r.Subject) && !slices.Contains(subjects, r.Subject) {
			subjects = append(subjects, r.Subject)
		}
	}
	slices.Sort(subjects)
	return subjects
}

// StatesDeployed says whether a pilot states packages that sites have, and of updates what was approved when they were mirrored. It looks at nothing else, so
// that nobody need know what the pilot stated then.
func StatesDeployed(p desired.Pilot, subjects []string) bool {
	stated, trees := tree.PilotSnapshots(p), p.Trees()
	if slices.ContainsFunc(subjects, func(s string) bool { return stated[s] == nil }) {
		return false
	}
	for _, r := range p.Records {
		if r.Kind != desired.RecordMirror || r.Update == "" || !slices.Contains(subjects, r.Subject) {
			continue
		}
		if trees[r.Update].Subject() != r.Subject || !approvedAsStated(p, r) {
			return false
		}
	}
	return true
}

// approvedAsStated says whether an update says of itself what its last approval before a mirror names.
func approvedAsStated(p desired.Pilot, mirror desired.PilotRecord) bool {
	terms := ""
	for _, name := range p.RecordsInOrder() {
		r := p.Records[name]
		if r.Kind == desired.RecordApproval && r.Update == mirror.Update && r.Subject == mirror.Subject && (terms == "" || r.At <= mirror.At) {
			terms = r.Terms
		}
	}
	return terms == p.Updates[mirror.Update].Terms()
}

// Deployed is what a pilot stated of packages that sites have.
func Deployed(then desired.Pilot, subjects []string) *tree.PilotDeployed {
	d := &tree.PilotDeployed{Branches: then.Branches, Updates: map[string]desired.PilotUpdate{}}
	for name, packages := range then.Trees() {
		if slices.Contains(subjects, packages.Subject()) {
			d.Updates[name] = then.Updates[name]
		}
	}
	return d
}

// Strays are what a pilot states otherwise than it is deployed, with what to do; none: it states what is.
func Strays(name string, p desired.Pilot, d *tree.PilotDeployed) (why []string) {
	if d == nil {
		return nil
	}
	was := d.Of(p)
	if p.Snapshot().Subject() != was.Snapshot().Subject() {
		return []string{fmt.Sprintf("its branches are not what is deployed, which stays: put them back, or make an update of what is new: pomona pilot %s update UPDATE add", name)}
	}
	now, then := p.Trees(), was.Trees()
	for _, update := range sortedKeys(d.Updates) {
		switch {
		case now[update].Subject() != then[update].Subject():
			why = append(why, fmt.Sprintf("update %[2]s is not what is deployed, which stays: put it back, or make another update of what is new: pomona pilot %[1]s update UPDATE add", name, update))
		case p.Updates[update].Terms() != d.Updates[update].Terms():
			why = append(why, fmt.Sprintf("what update %[2]s says of itself is not what was approved; what is deployed stays: put it back, or have it approved again: pomona pilot %[1]s update %[2]s approve",
				name, update))
		}
	}
	return why
}

// deployed is a pilot that states something else than is deployed: it goes on with that, unless everybody who has to has let through what it states now,
// and nobody gets anything else by it.
func deployed(name string, p desired.Pilot, f PilotFacts, judge func(desired.Pilot, PilotFacts) PilotNow) PilotNow {
	was, here, stated := f.Deployed.Of(p), f, f
	here.Subject, stated.Deployed = was.Snapshot().Subject(), nil
	kept := judge(was, here)
	if f.Subject == here.Subject && kept.Unagreed == "" {
		if now := judge(p, stated); reflect.DeepEqual(now.Place, kept.Place) {
			return now
		}
	}
	kept.Place.Deployed, kept.Place.Withheld = f.Deployed, strings.Join(Strays(name, p, f.Deployed), "; ")
	return kept
}

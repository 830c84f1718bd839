package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Deployed is what sites have of a pilot that states something else now, by its published place and by what the published commit stated, then. Nil: it
// states what they have, or they have nothing.
func Deployed(name string, p, then desired.Pilot, was tree.PilotPlace) *tree.PilotDeployed {
	subjects := DeployedSubjects(p, then, was)
	if len(subjects) == 0 {
		return nil
	}
	then = was.Deployed.Of(then)
	d := &tree.PilotDeployed{Branches: then.Branches, Updates: map[string]desired.PilotUpdate{}}
	for update, packages := range then.Trees() {
		if slices.Contains(subjects, packages.Subject()) {
			d.Updates[update] = then.Updates[update]
		}
	}
	if len(Strays(name, p, d)) == 0 {
		return nil
	}
	return d
}

// DeployedSubjects are the packages that sites may have by a published place: those that were mirrored, once a wave has been given any. What the records of
// the pilot do not know of nobody has by them: it is set back to what was before. What only they know of nobody has yet.
func DeployedSubjects(p, then desired.Pilot, was tree.PilotPlace) (subjects []string) {
	if p.Scope != desired.PilotOfSites || !opened(was) && was.State != PilotHalted && !PilotIsOver(was.State) {
		return nil
	}
	for name, r := range p.Records {
		if _, known := then.Records[name]; known && r.Kind == desired.RecordMirror && slices.Contains(was.Snapshots, r.Subject) {
			subjects = append(subjects, r.Subject)
		}
	}
	slices.Sort(subjects)
	return slices.Compact(subjects)
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

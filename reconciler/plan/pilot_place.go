package plan

import (
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// states are those of a pilot that follow one another.
var states = []string{PilotRequested, PilotStaffed, PilotFrozen, PilotChecked, PilotMirrored, PilotCalled, PilotDeployed, PilotPublished}

func stateNumber(state string) int { return slices.Index(states, state) }

// place works out what the tree is to have of a pilot. Who has to give it up goes back to what was mirrored before the trouble, or to nothing.
func (j *pilotJudge) place() {
	p := &j.now.Place
	*p = tree.PilotPlace{Name: p.Name, State: j.now.State, Waves: []string{}}
	if j.ofSites() && j.serves() {
		p.Snapshots = j.snapshots()
		p.Notes = j.notes(p.Snapshots)
	}
	for i := range j.courses {
		subject := ""
		if step := j.given(i); step >= 0 {
			subject = j.steps[step].subject
		}
		p.Waves = append(p.Waves, subject)
		if i < len(j.now.Waves) {
			w := &j.now.Waves[i]
			w.Open, w.Subject = subject != "", subject
		}
	}
	p.Published = j.ofSites() && j.p.InfoSys != nil &&
		(p.State == PilotDeployed || p.State == PilotPublished || p.State == PilotClosed && j.outcome == "promoted")
	if p.Published {
		p.Sites = j.installed()
	}
}

// notes are the last release notes of each snapshot that count; nil: there are none.
func (j *pilotJudge) notes(snapshots []string) map[string]tree.PilotNotes {
	var notes map[string]tree.PilotNotes
	for _, r := range j.made {
		if r.Kind != desired.RecordNotes || r.void || r.doubt != "" || strings.TrimSpace(r.Text) == "" || !slices.Contains(snapshots, r.Subject) {
			continue
		}
		if notes == nil {
			notes = map[string]tree.PilotNotes{}
		}
		notes[r.Subject] = tree.NotesOf(r.name, r.PilotRecord)
	}
	return notes
}

// installed are the sites that have installed it, and what they give, by name.
func (j *pilotJudge) installed() (sites []tree.PilotSite) {
	for _, s := range j.now.Sites {
		if s.State == "installed" {
			sites = append(sites, tree.PilotSite{Site: s.Site, Resources: s.Resources})
		}
	}
	return sites
}

// serves says whether packages of a pilot are served: also those of one that is over, since nodes that have its repositories must find them, empty, or
// dnf would do nothing more for them. They go with the pilot's file.
func (j *pilotJudge) serves() bool {
	least := PilotFrozen
	if j.now.State == PilotDenied {
		least = PilotMirrored // before, no node can have them
	}
	return stateNumber(j.far) >= stateNumber(least)
}

// given is the step that a wave gets; -1: nothing.
func (j *pilotJudge) given(wave int) int {
	level := j.courses[wave].level()
	switch j.now.State {
	case PilotDenied, PilotExpired:
		return -1
	case PilotClosed:
		if j.outcome != "promoted" {
			return -1
		}
		return len(j.steps) - 1 // until the site wants that, or something else
	case PilotHalted:
		level = min(level, j.trouble.step-1)
	}
	for level >= 0 && isBad(level, j.bad) {
		level--
	}
	return level
}

// snapshots are packages that are served, the oldest first: those that were mirrored, and those that are frozen to be looked at.
func (j *pilotJudge) snapshots() []string {
	out := []string{j.f.Subject}
	for _, s := range j.steps {
		if !slices.Contains(out, s.subject) {
			out = append(out, s.subject)
		}
	}
	for _, u := range j.now.Updates {
		if slices.Contains([]string{UpdateFrozen, UpdateChecked, UpdateNoted}, u.State) && !slices.Contains(out, u.Subject) {
			out = append(out, u.Subject)
		}
	}
	return out
}

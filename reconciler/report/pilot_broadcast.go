package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// back is what brings nodes back to what was before: that a repository offers an older package again makes no node take it.
const back = "Nodes that have it: run dnf distro-sync. dnf upgrade alone keeps the newer packages."

// Broadcast is the title and the text of what people are told of a pilot.
func (p Pilot) Broadcast(b observed.PilotBroadcast) (title, text string) {
	var lines []string
	line := func(format string, args ...any) {
		if l := fmt.Sprintf(format, args...); strings.TrimSpace(l) != "" {
			lines = append(lines, l)
		}
	}
	about := "pilot " + p.Name
	sites := p.Scope == desired.PilotOfSites
	switch b.Kind {
	case observed.BroadcastCall:
		r := p.record(b.About)
		title = about + ": sites are asked to take part in " + cmp.Or(p.Offers, "it")
		line("%s", p.Description)
		if r.Closes != "" {
			line("Answer until %s: pomona pilot %s join SITE --answer interested (or declined)", r.Closes, p.Name)
		}
		p.impact(line)
		if r.Text != "" {
			line("%s", r.Text)
		}
		for _, s := range p.Sites {
			line("%s is in wave %d", s.Site, s.Wave)
		}
		line("Repositories of wave N: repo/pilots/%s/wave-N/OS/ARCH/pilot-node.repo of the served tree", p.Name)
	case observed.BroadcastResources:
		title = fmt.Sprintf("%s: resources of %s are published", about, b.About)
		line("They are found in the information system by GLUE2EntityOtherInfo=PilotID=%s.", p.ID)
		if i := slices.IndexFunc(p.Sites, func(s plan.SiteNow) bool { return s.Site == b.About }); i >= 0 && p.Sites[i].Resources != nil {
			line("%s: %s", b.About, resourcesText(p.Sites[i]))
		}
	case observed.BroadcastPublished:
		listed := slices.ContainsFunc(p.Sites, func(s plan.SiteNow) bool { return s.Published == plan.GatePass })
		title = about + ": every site that takes part runs it"
		if listed {
			title = about + ": the resources of every site are published"
		}
		for _, s := range p.Sites {
			if s.State == "installed" {
				line("%s: %s", s.Site, cmp.Or(resourcesText(s), "no accounting"))
			}
		}
		if listed {
			line("They are found in the information system by GLUE2EntityOtherInfo=PilotID=%s.", p.ID)
		}
		line("What you find: pomona pilot %s feedback", p.Name)
	case observed.BroadcastUpdate:
		name, _, _ := strings.Cut(b.About, " ")
		title = fmt.Sprintf("%s: update %s is there", about, name)
		if i := slices.IndexFunc(p.Updates, func(u plan.UpdateNow) bool { return u.Name == name }); i >= 0 {
			line("It is a %s update: nodes get it by dnf upgrade.", p.Updates[i].Kind)
		}
		for _, n := range p.Notes() {
			if n.Update == name {
				line("%s", strings.TrimSpace(n.Text+"\n"+n.Migration))
				break
			}
		}
	case observed.BroadcastHalt:
		title = about + " is halted"
		line("%s", cmp.Or(p.Why, "nobody has said why"))
		switch {
		case !sites:
			line("FECs that had it get the release before at their next start: their pins went back.")
		case slices.ContainsFunc(p.Waves, func(w plan.PilotWave) bool { return w.Subject != "" }):
			line("Its repositories offer what was before. %s", back)
		default:
			line("Its repositories offer nothing until it goes on: nodes that have it keep what they have.")
		}
	case observed.BroadcastResume:
		title = about + " goes on"
		for _, r := range slices.Backward(p.Records) {
			if r.Kind == desired.RecordResume && p.counts(r) {
				line("%s", r.Reason)
				if r.Update != "" {
					line("Update %s is to help.", r.Update)
				}
				break
			}
		}
		line("It is %s.", p.State)
	case observed.BroadcastExpired:
		title = fmt.Sprintf("%s has expired: its last day was %s", about, cmp.Or(b.About, p.Expires))
		if sites {
			line("Its repositories are disabled. %s", back)
		} else {
			line("FECs that had it get the release before at their next start: their pins went back.")
		}
	case observed.BroadcastOverdue:
		title = fmt.Sprintf("%s is %s for too long", about, p.State)
		if p.Overdue > 0 {
			line("It is overdue for %s.", days(p.Overdue))
		}
		for _, n := range p.Next {
			line("%s", n.text())
		}
	case observed.BroadcastClosed:
		p.closed(&title, line)
	}
	return title, strings.Join(lines, "\n")
}

func (p Pilot) closed(title *string, line func(string, ...any)) {
	if p.State == plan.PilotDenied {
		*title = "pilot " + p.Name + " is denied"
		line("%s", cmp.Or(p.Why, "nobody has said why"))
		return
	}
	*title = "pilot " + p.Name + " is closed"
	for _, r := range slices.Backward(p.Records) {
		if r.Kind == desired.RecordClosure && p.counts(r) {
			*title += ": " + r.Outcome
			if r.Outcome == "promoted" {
				line("Every criterion is met: whoever has it keeps it.")
				line("%s", r.Reason)
				if p.State == plan.PilotClosed && len(p.Next) > 0 {
					line("%s: %s.", p.Next[0].text(), p.Next[0].Why)
				}
				return
			}
			line("%s", cmp.Or(r.Reason, "nobody has said why"))
			if r.Outcome == "withdrawn" && p.Scope == desired.PilotOfSites {
				line("%s", back)
			}
			return
		}
	}
}

// counts says whether a record is about what is there, and it is known that the right person wrote it: nobody is told anything in his name before.
func (p Pilot) counts(r PilotRecord) bool {
	return !r.Void && r.Doubt == "" && !slices.Contains(p.Doubted, r.Record)
}

// record is a record of a pilot; the zero one if there is none of that name.
func (p Pilot) record(name string) PilotRecord {
	if i := slices.IndexFunc(p.Records, func(r PilotRecord) bool { return r.Record == name }); i >= 0 {
		return p.Records[i]
	}
	return PilotRecord{}
}

func (p Pilot) impact(line func(string, ...any)) {
	if p.Impact != nil {
		line("It affects: %s", strings.Join(p.Impact.Services, ", "))
		line("It needs: %s", p.Impact.Resources)
	}
}

package plan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// PilotBroadcasts are what people are to be told of a pilot now and were not told yet, without titles and texts. Told is everything that they were
// told of it, the oldest first. Nothing is told twice, whatever becomes of the pilot: what is about a record, an update or a site is told once of
// each, of an update whose packages have changed once more; a halt once for each time that it begins.
func PilotBroadcasts(now PilotNow, p desired.Pilot, told []observed.PilotBroadcast) (due []observed.PilotBroadcast) {
	add := func(k observed.PilotBroadcastKind, about string) {
		b := observed.PilotBroadcast{Pilot: now.Name, Kind: k, About: about}
		if !slices.ContainsFunc(told, b.Same) && !slices.ContainsFunc(due, b.Same) {
			due = append(due, b)
		}
	}
	agreed := now.Unagreed == "" // else nobody knows who is in it, and how far it is
	if agreed {
		for _, record := range calls(now, p) {
			add(observed.BroadcastCall, record)
		}
		for _, u := range now.Updates {
			if (u.State == "mirrored" || u.State == "announced") && now.holdsUpTo(PilotMirrored) {
				add(observed.BroadcastUpdate, u.About())
			}
		}
		for _, s := range now.Sites {
			if s.State == "installed" && s.Published == GatePass && now.holdsUpTo(PilotCalled) {
				add(observed.BroadcastResources, s.Site)
			}
		}
		if now.State == PilotPublished && p.Scope == desired.PilotOfSites {
			add(observed.BroadcastPublished, now.Frozen)
		}
	}
	halts, resumes := 0, 0
	for _, b := range told {
		switch {
		case b.Pilot != now.Name:
		case b.Kind == observed.BroadcastHalt:
			halts++
		case b.Kind == observed.BroadcastResume:
			resumes++
		}
	}
	switch {
	case now.State == PilotHalted && halts <= resumes:
		add(observed.BroadcastHalt, strconv.Itoa(halts+1))
	case stateNumber(now.State) >= stateNumber(PilotMirrored) && halts > resumes && agreed: // before, nobody can say that it goes on
		add(observed.BroadcastResume, strconv.Itoa(halts))
	case now.State == PilotExpired:
		add(observed.BroadcastExpired, cmp.Or(now.LastDay, p.Expires))
	case now.State == PilotClosed, now.State == PilotDenied:
		add(observed.BroadcastClosed, strings.TrimSpace(now.State+" "+now.Record))
	}
	if now.Overdue > 0 && slices.Contains(states, now.State) {
		about := now.State
		if !now.Since.IsZero() {
			about += " since " + now.Since.UTC().Format(time.RFC3339)
		}
		add(observed.BroadcastOverdue, about)
	}
	return due
}

// About is what participants are told of when they are told of an update: it, with the packages that it leads to now.
func (u UpdateNow) About() string { return aboutUpdate(u.Name, u.Subject) }

func aboutUpdate(name, subject string) string {
	return strings.TrimSpace(name + " " + short(strings.TrimPrefix(subject, "sha256:")))
}

// calls are the records by which sites are asked to take part, once all holds that must before.
func calls(now PilotNow, p desired.Pilot) (records []string) {
	if p.Scope != desired.PilotOfSites || !now.holdsUpTo(PilotCalled) {
		return nil
	}
	for _, g := range now.Gates {
		if g.State != PilotCalled {
			continue
		}
		for _, r := range g.Records {
			if p.Records[r].Kind == desired.RecordCall && !slices.Contains(now.Void, r) {
				records = append(records, r)
			}
		}
	}
	slices.SortFunc(records, func(a, b string) int { return cmp.Or(cmp.Compare(p.Records[a].At, p.Records[b].At), cmp.Compare(a, b)) })
	return slices.Compact(records)
}

// holdsUpTo says whether every gate of a state, and of those before it, holds: that of a record may although one before it does not.
func (n PilotNow) holdsUpTo(state string) bool {
	return !slices.ContainsFunc(n.Gates, func(g Gate) bool {
		at := stateNumber(g.State)
		return at >= 0 && at <= stateNumber(state) && !g.Verdict.Holds()
	})
}

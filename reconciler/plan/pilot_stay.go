package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Stay is the place of a pilot of which something is not known, why: nobody who takes part loses it for that, as long as it is still offered. What
// is known to end or to halt it does.
func Stay(now tree.PilotPlace, published *tree.PilotPlace, offered []string, why string) tree.PilotPlace {
	if why == "" {
		return now
	}
	switch now.State {
	case PilotClosed, PilotDenied, PilotHalted, PilotExpired:
		return now
	}
	if published == nil || !takesBack(now, *published, offered) {
		now.Withheld = why
		return now
	}
	stay := *published
	stay.Withheld, stay.Deployed = why, now.Deployed
	return stay
}

// takesBack says whether a place gives somebody less than another one that is still offered.
func takesBack(now, was tree.PilotPlace, offered []string) bool {
	if was.State == PilotHalted {
		return true // it would go on, and nobody has said so
	}
	for i, subject := range was.Waves {
		if subject == "" || !slices.Contains(offered, subject) {
			continue
		}
		gets := ""
		if i < len(now.Waves) {
			gets = now.Waves[i]
		}
		if gets == "" || slices.Index(now.Snapshots, gets) < slices.Index(now.Snapshots, subject) {
			return true
		}
	}
	return slices.ContainsFunc(was.Snapshots, func(s string) bool { return slices.Contains(offered, s) && !slices.Contains(now.Snapshots, s) })
}

// Runnable are places that give no FEC what it cannot run. A pilot that would, for instance because of what another one has put there, stays as it
// was published or, if that does not help either, gives nothing.
func Runnable(s desired.Site, files artifact.Files, subjects map[string]string, places, published []tree.PilotPlace, now time.Time) []tree.PilotPlace {
	var out []tree.PilotPlace
	subjects = KeptSubjects(s, files, subjects, slices.Concat(places, published))
	for _, place := range places {
		if s.Pilots[place.Name].Scope != desired.PilotOfFECs || !opened(place) {
			out = append(out, place)
			continue
		}
		tried := []tree.PilotPlace{place}
		if i := slices.IndexFunc(published, func(p tree.PilotPlace) bool { return p.Name == place.Name }); i >= 0 {
			tried = append(tried, published[i])
		}
		nothing := place
		nothing.Waves = make([]string, len(place.Waves))
		why := ""
		for _, try := range append(tried, nothing) {
			wrong := misfits(s, files, Offered(s, subjects, append(slices.Clone(out), try)), now)
			if len(wrong) == 0 || !opened(try) {
				if why != "" {
					try.Withheld = why
				}
				out = append(out, try)
				break
			}
			if why == "" {
				why = fmt.Sprintf("%s: %s", wrong[0].Path, wrong[0].Text)
			}
		}
	}
	return out
}

// misfits are problems of FECs that they have only with what pilots have put on them.
func misfits(s desired.Site, files artifact.Files, offered map[string][]observed.HeldPilot, now time.Time) (ps desired.Problems) {
	if len(offered) == 0 {
		return nil
	}
	before := map[desired.Problem]bool{}
	for _, p := range desired.Check(alone(s, offered), files, now) {
		before[p] = true
	}
	for _, p := range desired.Check(alone(Piloted(s, offered), offered), files, now).Blocking() {
		if !before[p] {
			ps = append(ps, p)
		}
	}
	return ps
}

// alone is what a site says of some FECs, by themselves.
func alone(s desired.Site, fecs map[string][]observed.HeldPilot) desired.Site {
	all := s.FECs
	s.Campaigns, s.Prerequisites, s.Holds, s.Pilots, s.FECs = nil, nil, nil, nil, map[string]desired.FEC{}
	s.Settings.Retention.ExtraNamed = "warning"
	for fec := range fecs {
		s.FECs[fec] = all[fec]
	}
	return s
}

// PilotLater says whether a state is one that a pilot gets to only after another one: those in which it ends or stops are after all others.
func PilotLater(state, than string) bool {
	at := func(s string) int {
		if i := slices.Index(states, s); i >= 0 {
			return i
		}
		return len(states)
	}
	return at(state) > at(than)
}

// PilotTurn is when the clock alone may bring a pilot further, or end it; zero: not soon. Whoever looks earlier finds nothing, unless somebody has
// done something.
func PilotTurn(p desired.Pilot, now PilotNow, at time.Time) (next time.Time) {
	soon := func(t time.Time) {
		if t.After(at) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	day := func(d string) { // that is its last
		if t, err := time.Parse(time.DateOnly, d); err == nil {
			soon(t.AddDate(0, 0, 1))
		}
	}
	day(p.Expires)
	for _, w := range now.Waves {
		soon(w.SoakEnds)
	}
	for _, r := range p.Records {
		day(r.Closes)
		day(r.Expires)
		if t, err := time.Parse(time.RFC3339, r.At); err == nil {
			soon(t) // clocks differ: it counts from then on
		}
	}
	return next
}

package plan

import (
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// PilotHad are the FECs that have been given what a pilot offers, by a place of it and the site that this was published of: each in the first wave in
// which it was. Of a pilot that was over by then, nobody asks.
func PilotHad(then desired.Site, was tree.PilotPlace) (had []tree.PilotPin) {
	if PilotIsOver(was.State) {
		return nil
	}
	pins := was.Kept
	if pins == nil {
		pins = PinsOf(then, was)
	}
	for _, pin := range slices.Concat(was.Had, pins) {
		if i := slices.IndexFunc(had, func(h tree.PilotPin) bool { return h.FEC == pin.FEC }); i < 0 {
			had = append(had, pin)
		} else if had[i].Wave > pin.Wave {
			had[i] = pin
		}
	}
	return had
}

// PilotIsOver says whether a pilot in a state has ended, one way or another.
func PilotIsOver(state string) bool {
	return state == PilotClosed || state == PilotDenied || state == PilotExpired
}

// PilotTakes are the FECs that count in each wave of a pilot, sorted: those that belong to it and, whatever groups and lists say now, those that were
// given the release in it. Left are those of them that belong to no wave up to that any more, unless the pilot names them in a later one.
func PilotTakes(s desired.Site, p desired.Pilot, had []tree.PilotPin) (members [][]string, left []string) {
	members = PilotMembers(s, p)
	for _, pin := range had {
		wave := min(pin.Wave, len(members)) - 1
		in := slices.IndexFunc(members, func(fecs []string) bool { return slices.Contains(fecs, pin.FEC) })
		_, there := s.FECs[pin.FEC]
		switch {
		case !there || wave < 0 || pin.Software != p.Software || pin.Version != p.Version:
		case in >= 0 && (in <= wave || slices.Contains(p.Rollout.Waves[in].FECs, pin.FEC)):
		default:
			if in >= 0 {
				members[in] = slices.DeleteFunc(members[in], func(fec string) bool { return fec == pin.FEC })
			}
			members[wave] = append(members[wave], pin.FEC)
			slices.Sort(members[wave])
			left = append(left, pin.FEC)
		}
	}
	return members, left
}

// Had are those FECs of a site that were given what a pilot offers of which its place does not tell otherwise.
func Had(s desired.Site, place tree.PilotPlace, had []tree.PilotPin) (rest []tree.PilotPin) {
	if PilotIsOver(place.State) {
		return nil
	}
	pins := place.Kept
	if pins == nil {
		pins = PinsOf(s, place)
	}
	for _, pin := range had {
		if _, there := s.FECs[pin.FEC]; there && !slices.Contains(pins, pin) {
			rest = append(rest, pin)
		}
	}
	return rest
}

package plan

import (
	"cmp"
	"maps"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// PilotSubjects are the digests of what pilots offer, as a site states it, by pilot; one whose software or version is not there has none.
func PilotSubjects(s desired.Site, files artifact.Files) map[string]string {
	out := map[string]string{}
	for name, p := range s.Pilots {
		if p.Scope != desired.PilotOfFECs {
			out[name] = p.Snapshot().Subject()
		} else if subject, ok := desired.ReleaseSubject(s, files, p.Software, p.Version); ok {
			out[name] = subject
		}
	}
	return out
}

// PilotMembers are the FECs of each wave of a pilot, sorted: a wave without any has an empty list.
func PilotMembers(s desired.Site, p desired.Pilot) [][]string {
	out := s.PilotMembers(p)
	for i := range out {
		out[i] = append([]string{}, out[i]...)
	}
	return out
}

// Given are the places of pilots that give anything to anybody, or did, and of those that are halted: a tree depends on no others.
func Given(places []tree.PilotPlace) (given []tree.PilotPlace) {
	for _, p := range places {
		if p.Published || len(p.Snapshots) > 0 || opened(p) || p.State == PilotHalted || len(p.Had) > 0 {
			given = append(given, p)
		}
	}
	return given
}

func opened(p tree.PilotPlace) bool {
	return slices.ContainsFunc(p.Waves, func(w string) bool { return w != "" })
}

// Offered is what pilots put on the FECs of their open waves, by FEC. A wave that was given something else than what the site offers now, by
// subjects, gets nothing; without subjects that is not looked at. Of two pilots of one software, a FEC gets that of the first by name.
func Offered(s desired.Site, subjects map[string]string, places []tree.PilotPlace) map[string][]observed.HeldPilot {
	out := map[string][]observed.HeldPilot{}
	for _, place := range places {
		p, there := s.Pilots[place.Name]
		if !there || p.Scope != desired.PilotOfFECs || !opened(place) {
			continue
		}
		pins := place.Kept
		if pins == nil {
			pins = PinsOf(s, place)
		}
		for _, pin := range pins {
			own, runs := s.FECs[pin.FEC].Software[pin.Software]
			if pin.Wave < 1 || pin.Wave > len(place.Waves) || place.Waves[pin.Wave-1] == "" || !runs || !isSubject(subjects, p, place, pin) {
				continue
			}
			// What was promoted stays until the site itself pins something newer.
			if place.State == PilotClosed && desired.CompareVersions(own.Version, pin.Version) > 0 {
				continue
			}
			if !slices.ContainsFunc(out[pin.FEC], func(h observed.HeldPilot) bool { return h.Software == pin.Software }) {
				out[pin.FEC] = append(out[pin.FEC], observed.HeldPilot{Software: pin.Software, Version: pin.Version, Pilot: place.Name, Wave: pin.Wave})
			}
		}
	}
	for _, offered := range out {
		slices.SortFunc(offered, func(a, b observed.HeldPilot) int { return cmp.Compare(a.Software, b.Software) })
	}
	return out
}

// PinsOf are what a pilot puts on FECs of its open waves, as a site states it; nil: nothing.
func PinsOf(s desired.Site, place tree.PilotPlace) (pins []tree.PilotPin) {
	p := s.Pilots[place.Name]
	if p.Scope != desired.PilotOfFECs {
		return nil
	}
	for i, fecs := range PilotMembers(s, p) {
		for _, fec := range fecs {
			if i < len(place.Waves) && place.Waves[i] != "" {
				pins = append(pins, tree.PilotPin{FEC: fec, Wave: i + 1, Software: p.Software, Version: p.Version})
			}
		}
	}
	return pins
}

// isSubject says whether what a pin names is still what its wave was given; without subjects that is not looked at.
func isSubject(subjects map[string]string, p desired.Pilot, place tree.PilotPlace, pin tree.PilotPin) bool {
	about := place.Name
	if pin.Software != p.Software || pin.Version != p.Version {
		about = releaseKey(pin)
	}
	return subjects == nil || subjects[about] == place.Waves[pin.Wave-1]
}

// releaseKey is what a release is found by among the subjects of pilots, no name of which has a space.
func releaseKey(pin tree.PilotPin) string { return pin.Software + " " + pin.Version }

// KeptSubjects adds to the subjects of pilots those of releases that FECs keep, though the pilot now offers another one.
func KeptSubjects(s desired.Site, files artifact.Files, subjects map[string]string, places []tree.PilotPlace) map[string]string {
	out := subjects
	if subjects == nil {
		return nil
	}
	for _, place := range places {
		for _, pin := range place.Kept {
			p := s.Pilots[place.Name]
			if pin.Software == p.Software && pin.Version == p.Version {
				continue
			}
			if _, known := out[releaseKey(pin)]; known {
				continue
			}
			if len(out) == len(subjects) {
				out = maps.Clone(subjects)
			}
			out[releaseKey(pin)], _ = desired.ReleaseSubject(s, files, pin.Software, pin.Version)
		}
	}
	return out
}

// Piloted is a site in which FECs have what pilots put on them, in the place of their own pins.
func Piloted(s desired.Site, offered map[string][]observed.HeldPilot) desired.Site {
	if len(offered) == 0 {
		return s
	}
	was := s.FECs
	s = With(s, desired.Site{})
	for fec, pilots := range offered {
		f, there := was[fec]
		if !there {
			continue
		}
		f.Software = maps.Clone(f.Software)
		for _, h := range pilots {
			if own, runs := f.Software[h.Software]; runs {
				f.Software[h.Software] = piloted(s, own, h)
			}
		}
		s.FECs[fec] = f
	}
	return s
}

// piloted is a FEC's pin with the version of a pilot. It is started if the FEC's own is.
func piloted(s desired.Site, own desired.Pin, h observed.HeldPilot) desired.Pin {
	if own.Version == h.Version {
		return own
	}
	versions := s.Software[h.Software].Versions
	pin := desired.Pin{Version: h.Version, Piloted: desired.Piloted{Pilot: h.Pilot, Wave: h.Wave, Own: own.Version}}
	starts := own.Starts(versions[own.Version].IsDev(own.Version), false)
	if !starts {
		pin.Start = &starts
	}
	return pin
}

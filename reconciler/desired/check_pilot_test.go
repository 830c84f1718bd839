package desired_test

import (
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// requestedPilot offers a release to FECs, and nobody has done anything about it yet.
func requestedPilot() desired.Pilot {
	return desired.Pilot{
		Scope: desired.PilotOfFECs, Description: "the averaging of before, on one FEC and then on the ring", Owner: "ann@example.org",
		Software: "bpm", Version: "3.0.0", Expires: "2026-05-04", Success: map[string]desired.Criterion{"noise": {Description: "scatters by less than 20 micrometres"}},
		Rollout: &desired.Rollout{Waves: []desired.PilotWave{{FECs: []string{"kgp2cu01"}}, {Groups: []string{"ring"}}}},
	}
}

func TestPilotReferences(t *testing.T) {
	pilot := func(change func(*desired.Pilot)) func(*state) {
		return func(s *state) {
			p := requestedPilot()
			change(&p)
			s.Pilots["orbit-display"] = p
		}
	}
	runCheckCases(t, []checkCase{
		{"names", pilot(func(p *desired.Pilot) {
			p.Software, p.Expires = "bpn", "2026-05-03"
			p.Rollout.Waves = []desired.PilotWave{{FECs: []string{"kgp2cu01", "kgp2cu01", "kgp2cu09"}, Groups: []string{"booster"}}}
		}), `warning: pilots."orbit-display".expires: this pilot ended with 2026-05-03; conclude it and remove it, or give a later day
			pilots."orbit-display".rollout.waves[0].fecs[1]: FEC "kgp2cu01" comes twice; remove one of them
			pilots."orbit-display".rollout.waves[0].fecs[2]: unknown FEC "kgp2cu09"; did you mean "kgp2cu01"?
			pilots."orbit-display".rollout.waves[0].groups[0]: unknown group "booster"; declare it in site.groups
			pilots."orbit-display".software: unknown software "bpn"; did you mean "bpm"?`},
		{"version", pilot(func(p *desired.Pilot) { p.Version = "4.0.0" }),
			`pilots."orbit-display".version: unknown version "4.0.0" of "bpm"; did you mean "3.0.0"?`},
	})
}

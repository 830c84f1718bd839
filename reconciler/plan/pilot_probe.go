package plan

import "github.com/pomona-gitops/pomona/reconciler/desired"

// Probed are the sites whose resources the information system is to be asked for: those that run a pilot that is deployed and not over. While its
// terms are not agreed, no server is asked that they name.
func Probed(now PilotNow, p desired.Pilot) (sites []string) {
	if now.Unagreed != "" || p.Scope != desired.PilotOfSites || p.InfoSys == nil || p.InfoSys.Server == "" {
		return nil
	}
	switch now.State {
	case PilotCalled, PilotDeployed, PilotPublished, PilotHalted:
	default:
		return nil
	}
	for _, s := range now.Sites {
		if s.State == "installed" {
			sites = append(sites, s.Site)
		}
	}
	return sites
}

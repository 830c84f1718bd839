package plan

import (
	"encoding/json"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// MarshalJSON writes a list that is empty as a list.
func (p Plan) MarshalJSON() ([]byte, error) {
	type plain Plan // without this method
	p.FECs = append([]FEC{}, p.FECs...)
	p.Shared = append([]Shared{}, p.Shared...)
	p.Changes = append([]Change{}, p.Changes...)
	p.Builds = append([]Build{}, p.Builds...)
	p.Refused = append(desired.Problems{}, p.Refused...)
	p.Blocked = append([]Blocked{}, p.Blocked...)
	p.Campaigns = append([]CampaignChange{}, p.Campaigns...)
	p.Releases = append([]Retained{}, p.Releases...)
	p.Prune.Generations = append([]Pruned{}, p.Prune.Generations...)
	p.Prune.Commits = append([]string{}, p.Prune.Commits...)
	p.Repair.Damage = append([]observed.Damage{}, p.Repair.Damage...)
	return json.Marshal(plain(p))
}

package desired

// Campaign is batch work with a reason.
type Campaign struct {
	Reason    string            `json:"reason"`
	Requester string            `json:"requester"`
	Software  map[string]string `json:"software,omitempty"` // name to version
	Stages    map[string]Stage  `json:"stages"`
}

// Stage is one kind of work in a campaign.
type Stage struct {
	Description string   `json:"description,omitempty"`
	Needs       []string `json:"needs,omitempty"`
}

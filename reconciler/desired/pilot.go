package desired

// Pilot is a release offered to named participants first.
type Pilot struct {
	Description string   `json:"description"`
	Owner       string   `json:"owner"`
	Software    string   `json:"software"`
	Version     string   `json:"version"`
	FECs        []string `json:"fecs,omitempty"`
	Groups      []string `json:"groups,omitempty"`
	Expires     string   `json:"expires"`
}

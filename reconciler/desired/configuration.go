package desired

// Configuration is a versioned configuration item, shared or of one FEC.
type Configuration struct {
	Description string                          `json:"description,omitempty"`
	Responsible string                          `json:"responsible,omitempty"`
	FEC         string                          `json:"fec,omitempty"`
	Versions    map[string]ConfigurationVersion `json:"versions"`
}

// ConfigurationVersion says which software versions it fits.
type ConfigurationVersion struct {
	Released string            `json:"released,omitempty"`
	Notes    string            `json:"notes,omitempty"`
	For      map[string]string `json:"for"` // software name to constraint
	Payload  Payload           `json:"payload"`
}

package desired

// Prerequisite is something a platform must provide before software runs.
type Prerequisite struct {
	Description string            `json:"description"`
	Packages    map[string]string `json:"packages"` // platform to package
	Needs       []string          `json:"needs,omitempty"`
}

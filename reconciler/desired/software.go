package desired

// Dev is the version that labels a development release.
const Dev = "dev"

// AnyPlatform is the payload key that serves every platform that is not named.
const AnyPlatform = "any"

// Software is a named product.
type Software struct {
	Description string             `json:"description,omitempty"`
	Responsible string             `json:"responsible,omitempty"`
	OnUpdate    string             `json:"onUpdate,omitempty"` // reboot, restart or none
	OnFail      string             `json:"onFail,omitempty"`   // stay or previous
	Versions    map[string]Release `json:"versions"`
}

// What a running FEC needs before a change takes effect, from the least to the most.
const (
	Nothing = "none"
	Restart = "restart"
	Reboot  = "reboot"
)

// OnFailPrevious publishes the release before for a FEC that does not run.
const OnFailPrevious = "previous"

// Needs is what a running FEC needs before a change of this software takes effect.
func (s Software) Needs() string { return or(s.OnUpdate, Reboot) }

// Release is one version with its payload.
type Release struct {
	Channel  string             `json:"channel,omitempty"`
	Released string             `json:"released,omitempty"`
	Notes    string             `json:"notes,omitempty"`
	Needs    []string           `json:"needs,omitempty"`
	Payload  map[string]Payload `json:"payload"`
}

// IsDev says whether version v of r is a development release.
func (r Release) IsDev(v string) bool { return r.Channel == Dev || r.Channel == "" && v == Dev }

// For is the payload that serves a platform, with its key.
func (r Release) For(platform string) (Payload, string, bool) {
	if p, ok := r.Payload[platform]; ok {
		return p, platform, true
	}
	p, ok := r.Payload[AnyPlatform]
	return p, AnyPlatform, ok
}

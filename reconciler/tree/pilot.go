package tree

// PilotPlace is how far a pilot has got, as far as a tree depends on it: a given.
type PilotPlace struct {
	Name  string `json:"name"`
	State string `json:"state"` // as plan.PilotNow has it
	// Snapshots are the digests whose packages are served, the oldest first; only of sites.
	Snapshots []string `json:"snapshots,omitempty"`
	// Waves are what each wave gets, in their order: a snapshot, or of FECs the release's digest; empty: nothing from this pilot.
	Waves []string `json:"waves"`
	// Published says that its resources are, or are to be, found in the information system.
	Published bool `json:"published,omitempty"`
	// Withheld is why a pilot that stays as it was, or is not served at all, is not brought further: another's fault is not every pilot's.
	Withheld string `json:"withheld,omitempty"`
}

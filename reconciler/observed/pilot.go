package observed

import (
	"strings"
	"time"
)

// Proof is how it is known who wrote a record.
type Proof struct {
	By     string `json:"by"`
	Source string `json:"source"` // "signature of commit …", "pull request 17", "operator ann: why"
}

// vouches begins the source of what an operator vouches for.
const vouches = "operator "

// VouchedBy is the source of what an operator vouches for, why.
func VouchedBy(operator, why string) string { return vouches + operator + ": " + why }

// Vouched says whether an operator vouches for it.
func (p Proof) Vouched() bool { return strings.HasPrefix(p.Source, vouches) }

// Agreed is an agreement to the terms of a pilot that counted when a generation was made: whoever agrees to others goes on from the last of them, also
// if the ledger does not know any more in which order agreements became known.
type Agreed struct {
	Pilot  string    `json:"pilot"`
	Record string    `json:"record"`
	Digest string    `json:"digest"` // of what it says
	Known  time.Time `json:"known"`  // since when it has counted
	// Expires is the last day that it agrees to; empty: that is not known.
	Expires string `json:"expires,omitempty"`
}

// PilotFEC is what a FEC that takes part runs of the pilot's software, as far as that is proven: by its token or over pinned ssh.
type PilotFEC struct {
	FEC     string    `json:"fec"`
	State   string    `json:"state"` // as it reported last: running, init-failed, …
	Version string    `json:"version"`
	Since   time.Time `json:"since,omitzero"` // it runs that
}

// Failed says whether it could not run what it was given.
func (f PilotFEC) Failed() bool {
	return f.State == "init-failed" || f.State == "fallback" || f.State == "failed"
}

// PilotProbe is what the information system said of a site's resources, as it was asked last.
type PilotProbe struct {
	Pilot string    `json:"pilot"`
	Site  string    `json:"site"`
	Seen  bool      `json:"seen"`
	Right bool      `json:"right"`         // with the attributes that the pilot's are marked by
	Why   string    `json:"why,omitempty"` // it is not, or nobody knows
	At    time.Time `json:"at"`
	Since time.Time `json:"since,omitzero"` // it has said so; zero: nobody knows
}

package observed

import "time"

// FECReport is what a FEC said of itself.
type FECReport struct {
	FEC     string    `json:"fec"`
	Serial  int64     `json:"serial"` // that it is about; 0 for none
	State   string    `json:"state"`  // as the boot client names it
	Slot    string    `json:"slot,omitempty"`
	Detail  string    `json:"detail,omitempty"`
	Client  string    `json:"client,omitempty"`  // version of who reports
	Source  string    `json:"source"`            // FromReport, FromToken or FromSSH
	From    string    `json:"from,omitempty"`    // address
	Preview int       `json:"preview,omitempty"` // pull request whose preview it is about; 0: what is published
	Dev     string    `json:"dev,omitempty"`     // software that pomona dev has put there
	Clock   time.Time `json:"clock,omitzero"`    // of the FEC
	At      time.Time `json:"at"`
}

// Sources of reports.
const (
	FromReport = "report" // anybody can have sent it
	FromToken  = "token"  // only who has the FEC's token
	FromSSH    = "ssh"    // the FEC's answer to the service
)

// Proven says whether it is certain who said it.
func (r FECReport) Proven() bool { return r.Source == FromToken || r.Source == FromSSH }

// HasToken says whether the FEC has proven by a token what it reports: of the last that it proved, also if that is an answer over ssh.
func (r FECReport) HasToken() bool { return r.Source == FromToken || !r.Clock.IsZero() }

// Said is the last that a FEC said, and the last that it proved; nil for nothing.
type Said struct {
	Last   *FECReport `json:"last,omitempty"`
	Proven *FECReport `json:"proven,omitempty"`
}

// Counts is the report that tells how the FEC is: of one that has a token, nothing that it does not prove. One that only answers over
// ssh cannot prove what it reports of a boot since. It is nil for none.
func (s Said) Counts() *FECReport {
	if s.Last == nil || s.hasToken() {
		return s.Proven
	}
	return s.Last
}

func (s Said) hasToken() bool { return s.Proven != nil && s.Proven.HasToken() }

// Doubtful is a report that is newer than the one that counts and is not proven; nil: there is none.
func (s Said) Doubtful() *FECReport {
	if s.hasToken() && s.Last != nil && !s.Last.Proven() && !s.Last.At.Before(s.Proven.At) {
		return s.Last
	}
	return nil
}

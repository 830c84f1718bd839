package observed

import "time"

// PilotBroadcast is what people were told of a pilot, once: its pilot, kind and what it is about tell it from every other.
type PilotBroadcast struct {
	Pilot string             `json:"pilot"`
	Kind  PilotBroadcastKind `json:"kind"`
	About string             `json:"about,omitempty"` // a record, an update, a site, or which of several
	Title string             `json:"title"`           // one line
	Text  string             `json:"text"`            // lines
	At    time.Time          `json:"at"`              // it was decided
	// Past says that it was so when broadcasts began: nobody was told.
	Past bool `json:"past,omitempty"`
}

// Same says whether both are the same broadcast.
func (b PilotBroadcast) Same(other PilotBroadcast) bool {
	return b.Pilot == other.Pilot && b.Kind == other.Kind && b.About == other.About
}

// PilotBroadcastKind is what a broadcast says.
type PilotBroadcastKind string

// Kinds of broadcasts.
const (
	BroadcastCall      PilotBroadcastKind = "call"      // sites are asked to take part
	BroadcastResources PilotBroadcastKind = "resources" // a site's are found in the information system
	BroadcastUpdate    PilotBroadcastKind = "update"    // there is one to install
	BroadcastPublished PilotBroadcastKind = "published" // the resources of every site are found
	BroadcastHalt      PilotBroadcastKind = "halt"
	BroadcastResume    PilotBroadcastKind = "resume"
	BroadcastExpired   PilotBroadcastKind = "expired"
	BroadcastOverdue   PilotBroadcastKind = "overdue" // somebody must do something; participants are not told
	BroadcastClosed    PilotBroadcastKind = "closed"
)

// PilotBroadcastKinds are all.
var PilotBroadcastKinds = []PilotBroadcastKind{BroadcastCall, BroadcastResources, BroadcastUpdate, BroadcastPublished, BroadcastHalt, BroadcastResume, BroadcastExpired,
	BroadcastOverdue, BroadcastClosed}

package announce

import (
	"net/mail"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Kinds of events about pilots. Each happens once.
const (
	PilotCall      Kind = "pilot-call"      // sites are asked to take part
	PilotResources Kind = "pilot-resources" // a site's are found in the information system
	PilotUpdate    Kind = "pilot-update"    // there is one to install
	PilotPublished Kind = "pilot-published" // the resources of every site are found
	PilotHalted    Kind = "pilot-halted"
	PilotResumed   Kind = "pilot-resumed"
	PilotExpired   Kind = "pilot-expired"
	PilotOverdue   Kind = "pilot-overdue" // somebody must do something
	PilotClosed    Kind = "pilot-closed"
)

// pilotKinds are the kinds of broadcasts as events, and how much they matter.
var pilotKinds = map[observed.PilotBroadcastKind]struct {
	kind     Kind
	severity Severity
}{
	observed.BroadcastCall: {PilotCall, Info}, observed.BroadcastResources: {PilotResources, Info}, observed.BroadcastUpdate: {PilotUpdate, Info},
	observed.BroadcastPublished: {PilotPublished, Info}, observed.BroadcastHalt: {PilotHalted, Error}, observed.BroadcastResume: {PilotResumed, Info},
	observed.BroadcastExpired: {PilotExpired, Warning}, observed.BroadcastOverdue: {PilotOverdue, Warning}, observed.BroadcastClosed: {PilotClosed, Info},
}

// isPilot says whether a kind is about pilots.
func (k Kind) isPilot() bool { return strings.HasPrefix(string(k), "pilot-") }

// OfPilot is the event of a broadcast.
func OfPilot(site string, b observed.PilotBroadcast) Event {
	k := pilotKinds[b.Kind]
	return Event{Site: site, Severity: k.severity, Kind: k.kind, Pilot: b.Pilot, Title: b.Title, Text: b.Text, At: b.At}
}

// Takes are the names of the channels that lead an event to people.
func Takes(channels []Channel, e Event) (names []string) {
	for _, c := range channels {
		if c.Route.takes(e) {
			names = append(names, c.Name)
		}
	}
	return names
}

// Audience are the addresses of people who are to get an event by e-mail, and do not get it by a channel that takes it anyway; none if nothing
// sends e-mails.
func Audience(channels []Channel, e Event, people []string) (addresses []string) {
	if _, sends := Mailer(channels); !sends {
		return nil
	}
	var known []string
	for _, c := range channels {
		if m, sends := c.Sender.(Mail); sends && c.Route.takes(e) {
			known = append(known, m.To...)
		}
	}
	for _, p := range people {
		a, err := mail.ParseAddress(p)
		if err != nil || slices.ContainsFunc(append(known, addresses...), func(k string) bool { return sameAddress(k, a.Address) }) {
			continue
		}
		addresses = append(addresses, a.Address)
	}
	return addresses
}

// Mailer is the first of the channels that sends e-mails; false: none does.
func Mailer(channels []Channel) (m Mail, ok bool) {
	for _, c := range channels {
		if m, ok = c.Sender.(Mail); ok {
			return m, true
		}
	}
	return m, false
}

func sameAddress(known, address string) bool {
	if a, err := mail.ParseAddress(known); err == nil {
		known = a.Address
	}
	return strings.EqualFold(known, address)
}

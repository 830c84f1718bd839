package announce

import (
	"cmp"
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

// Audience is a channel by which an event gets to some people by e-mail: as the first notifier sends it that sends e-mails. Who gets it by one that
// takes the event anyway is left out, and who has no address. False: nobody is left, or nothing sends e-mails.
func Audience(channels []Channel, e Event, people []string) (to Mail, ok bool) {
	var first *Mail
	var known []string
	for _, c := range channels {
		m, sends := c.Sender.(Mail)
		if !sends {
			continue
		}
		first = cmp.Or(first, &m)
		if c.Route.takes(e) {
			known = append(known, m.To...)
		}
	}
	if first == nil {
		return Mail{}, false
	}
	to = *first
	to.To = nil
	for _, p := range people {
		a, err := mail.ParseAddress(p)
		if err != nil || slices.ContainsFunc(append(known, to.To...), func(k string) bool { return sameAddress(k, a.Address) }) {
			continue
		}
		to.To = append(to.To, a.Address)
	}
	return to, len(to.To) > 0
}

func sameAddress(known, address string) bool {
	if a, err := mail.ParseAddress(known); err == nil {
		known = a.Address
	}
	return strings.EqualFold(known, address)
}

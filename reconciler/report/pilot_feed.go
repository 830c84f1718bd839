package report

import (
	"encoding/xml"
	"io"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// atomFeed is a feed as RFC 4287 has it.
type atomFeed struct {
	XMLName xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	ID      string      `xml:"id"`
	Title   string      `xml:"title"`
	Updated string      `xml:"updated"`
	Author  string      `xml:"author>name"`
	Entries []atomEntry `xml:"entry"`
}

type atomEntry struct {
	ID       string       `xml:"id"`
	Title    string       `xml:"title"`
	Updated  string       `xml:"updated"`
	Category atomCategory `xml:"category"`
	Content  atomText     `xml:"content"`
}

type atomCategory struct {
	Term string `xml:"term,attr"`
}

type atomText struct {
	Type string `xml:"type,attr"`
	Text string `xml:",chardata"`
}

// mostEntries is how many broadcasts a feed has, the last ones.
const mostEntries = 100

// Feed writes what people were told of pilots as an Atom feed, the newest first: of one pilot, or of all with an empty name. An entry keeps its id
// and its time for good, so that a reader shows it once.
func (p Pilots) Feed(w io.Writer, name string) error {
	f := atomFeed{ID: feedID(p.Site, name), Title: strings.TrimSpace("Pilots of " + p.Site), Author: "Pomona"}
	if name != "" {
		f.Title = "Pilot " + name
	}
	var all []observed.PilotBroadcast
	for _, each := range p.Pilots {
		all = append(all, each.Broadcasts...)
	}
	slices.SortStableFunc(all, func(a, b observed.PilotBroadcast) int { return b.At.Compare(a.At) })
	var updated time.Time
	if len(all) == 0 {
		updated = p.begun()
	}
	for _, b := range all[:min(len(all), mostEntries)] {
		if b.At.After(updated) {
			updated = b.At
		}
		f.Entries = append(f.Entries, atomEntry{ID: feedID(p.Site, b.Pilot, string(b.Kind), b.About), Title: b.Title, Updated: b.At.UTC().Format(time.RFC3339Nano),
			Category: atomCategory{string(b.Kind)}, Content: atomText{"text", b.Text}})
	}
	f.Updated = updated.UTC().Format(time.RFC3339Nano)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(f); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// begun is when a feed without any broadcast became so: when the last pilot got into its state or, if nobody knows that, now.
func (p Pilots) begun() (at time.Time) {
	for _, each := range p.Pilots {
		if each.Since.After(at) {
			at = each.Since
		}
	}
	if at.IsZero() {
		return p.At
	}
	return at
}

// feedID is a name that nothing else has.
func feedID(parts ...string) string {
	id := "urn:pomona:pilots"
	for _, p := range parts {
		id += ":" + url.QueryEscape(p)
	}
	return id
}

// MailTo is a link that begins an e-mail to whoever coordinates a pilot, or else its owner; empty if neither has an address.
func (p Pilot) MailTo() string {
	people := []string{p.Owner}
	if p.Roles != nil {
		people = []string{p.Roles.Coordinator, p.Owner}
	}
	for _, who := range people {
		if a, err := mail.ParseAddress(who); err == nil {
			return "mailto:" + url.PathEscape(a.Address) + "?subject=" + url.PathEscape("Feedback on pilot "+p.Name)
		}
	}
	return ""
}

// Feedback is what users have said of a pilot, the oldest first.
func (p Pilot) Feedback() (said []PilotRecord) {
	for _, r := range p.Records {
		if r.Kind == desired.RecordFeedback {
			said = append(said, r)
		}
	}
	return said
}

// Late says that somebody should have brought it further.
func (p Pilot) Late() bool { return p.Overdue > 0 && !p.Ended() }

package publish

import (
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Document is what a hook is told, in JSON. It mirrors schema/hook.cue.
type Document struct {
	Version    int           `json:"version"` // of this form
	When       string        `json:"when"`    // Before or After
	Hook       string        `json:"hook"`
	Site       string        `json:"site"`
	Generation int64         `json:"generation"`
	Commit     string        `json:"commit"` // 40 hex digits
	Tree       string        `json:"tree"`   // digest, 64 hex digits
	Published  time.Time     `json:"published"`
	Since      *Since        `json:"since"`
	FECs       []DocumentFEC `json:"fecs"`
	Gone       []string      `json:"gone"`
}

// When a hook runs.
const (
	Before = "before"
	After  = "after"
)

// Since is the generation whose difference a document tells.
type Since struct {
	Generation int64  `json:"generation"`
	Commit     string `json:"commit"`
}

// DocumentFEC is what a generation publishes to a FEC.
type DocumentFEC struct {
	Name          string            `json:"name"`
	Host          string            `json:"host"`
	Platform      string            `json:"platform"`
	Serial        int64             `json:"serial"`
	Software      map[string]string `json:"software"`      // name to version
	Configuration map[string]string `json:"configuration"` // likewise
}

// NewDocument tells what a generation changes since another; a zero one is none, and then it changes every FEC.
func NewDocument(when string, g, since observed.Generation, fecs []tree.Manifest, gone []string) Document {
	d := Document{Version: 1, When: when, Site: g.Site, Generation: g.Number, Commit: g.Commit, Tree: g.Tree.String(), Published: g.Published.UTC(),
		FECs: make([]DocumentFEC, 0, len(fecs)), Gone: append([]string{}, gone...)}
	if since.Number > 0 {
		d.Since = &Since{since.Number, since.Commit}
	}
	for _, m := range fecs {
		d.FECs = append(d.FECs, DocumentFEC{m.FEC, m.Host, m.Platform, m.Serial, versions(m.Software), versions(m.Configuration)})
	}
	slices.SortFunc(d.FECs, func(a, b DocumentFEC) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(d.Gone)
	return d
}

func versions(items []tree.Item) map[string]string {
	out := map[string]string{}
	for _, i := range items {
		out[i.Name] = i.Version
	}
	return out
}

// Foretold is the document of a generation that is about to be published, in place of another.
func Foretold(t tree.Tree, p *plan.Publish, now observed.Generation, index tree.Index) Document {
	serials := map[string]int64{}
	for _, f := range index.FECs {
		serials[f.Name] = f.Serial
	}
	var fecs []tree.Manifest
	for _, f := range t.Folders {
		if f.Manifest == nil {
			continue
		}
		m := *f.Manifest
		m.Serial = p.Seals[m.FEC].Serial
		if serials[m.FEC] != m.Serial {
			fecs = append(fecs, m)
		}
		delete(serials, m.FEC)
	}
	gone := make([]string, 0, len(serials))
	for fec := range serials {
		gone = append(gone, fec)
	}
	return NewDocument(Before, p.Generation, now, fecs, gone)
}

package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/report"
)

// shownRows is how many rows of a long table a page has.
const shownRows = 200

// softwareShown is what the page of all software shows.
type softwareShown struct {
	report.AllSoftware
	State, Text string // that are asked for
	States      []string
	Rows        leaf[softwareRow]
	Forge       report.Forge
}

// softwareRow is a version of a software.
type softwareRow struct {
	Software string
	report.SoftwareVersion
}

func allSoftwarePage(r *http.Request, s *SeenSite) (shown, error) {
	all, err := s.AllSoftware(r.Context())
	if err != nil {
		return shown{}, err
	}
	q := r.URL.Query()
	only := all.Only(q.Get("state"), q.Get("q"))
	var rows []softwareRow
	for _, line := range only.Software {
		for _, v := range line.Versions {
			rows = append(rows, softwareRow{line.Name, v})
		}
	}
	x := softwareShown{AllSoftware: only, State: q.Get("state"), Text: q.Get("q"), States: report.VersionStates, Rows: leafOf(rows, q, shownRows), Forge: s.Forge}
	return shown{"software", "software", x, only}, nil
}

// oneShown is what the page of one software shows.
type oneShown struct {
	report.Software
	Filter report.SoftwareFilter
	Groups []string // of all its FECs
	Stages []string
	Rows   leaf[report.SoftwareFEC]
	Forge  report.Forge
}

// Archives are those of all versions.
func (x oneShown) Archives() (rows []archiveRow) {
	for _, v := range x.Versions {
		for _, a := range v.Artifacts {
			rows = append(rows, archiveRow{v.Version, a})
		}
	}
	return rows
}

type archiveRow struct {
	Version string
	report.SoftwareArtifact
}

func softwareFilter(q url.Values) report.SoftwareFilter {
	return report.SoftwareFilter{Version: q.Get("version"), Stage: q.Get("stage"), Group: q.Get("group"), Differs: q.Get("differs") != "", Text: q.Get("q")}
}

func softwarePage(r *http.Request, s *SeenSite) (shown, error) {
	all, err := s.Software(r.Context(), r.PathValue("name"))
	if err != nil {
		return shown{}, err
	}
	filter := softwareFilter(r.URL.Query())
	only := all.Only(filter)
	return shown{"software_one", all.Name, oneShown{only, filter, all.Groups(), report.Stages, leafOf(only.FECs, r.URL.Query(), shownRows), s.Forge}, only}, nil
}

// matrixShown is what the page of a matrix shows.
type matrixShown struct {
	report.Software
	Columns []string // versions
	Rows    leaf[report.MatrixRow]
}

// matrixPage is of the software that is asked for or, without one, of the first.
func matrixPage(r *http.Request, s *SeenSite) (shown, error) {
	q := r.URL.Query()
	one, err := s.Software(r.Context(), q.Get("software"))
	if err != nil {
		return shown{}, err
	}
	m := one.Matrix()
	return shown{"matrix", "matrix", matrixShown{one, m.Versions, leafOf(m.Rows, q, shownRows)}, m}, nil
}

// versionShown is what the page of a version shows: its archives, and what is in one of them.
type versionShown struct {
	Seen report.SoftwareSeen
	Name string
	report.SoftwareVersion
	Archive string // whose bill is shown; empty: there is none
	Bill    report.Bill
	Files   leaf[report.BillComponent]
	Forge   report.Forge
}

func versionPage(r *http.Request, s *SeenSite) (shown, error) {
	name, version := r.PathValue("name"), r.PathValue("version")
	all, err := s.Software(r.Context(), name)
	if err != nil {
		return shown{}, err
	}
	i := slices.IndexFunc(all.Versions, func(v report.SoftwareVersion) bool { return v.Version == version })
	if i < 0 {
		return shown{}, ErrNoSuch
	}
	x := versionShown{Seen: all.SoftwareSeen, Name: name, SoftwareVersion: all.Versions[i], Forge: s.Forge}
	asked := r.URL.Query().Get("archive")
	for _, a := range x.Artifacts {
		if a.Bill == "" || asked != "" && asked != a.File {
			continue
		}
		b, err := s.Bill(r.Context(), name, version, a.File)
		if err == nil {
			err = json.Unmarshal(b, &x.Bill)
		}
		if err != nil && !errors.Is(err, ErrNoSuch) { // else it has just gone
			return shown{}, fmt.Errorf("show bill of materials of %s: %w", a.Path, err)
		}
		x.Archive = a.File
		break
	}
	x.Files = leafOf(x.Bill.Components, r.URL.Query(), shownRows)
	return shown{"version", name + " " + version, x, x.SoftwareVersion}, nil
}

// billPage is a bill of materials as it lies in the tree.
func billPage(r *http.Request, s *SeenSite) (shown, error) {
	b, err := s.Bill(r.Context(), r.PathValue("name"), r.PathValue("version"), r.URL.Query().Get("archive"))
	return shown{json: verbatim(b)}, err
}

package serve

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// shownCards is how many pilots a column has, unless only its state is asked for.
const shownCards = 12

// boardShown is what the page of all pilots shows: a column for each state.
type boardShown struct {
	report.Pilots
	Filter  report.PilotFilter
	States  []string
	Owners  []string // of all pilots
	Of      int      // pilots there are, shown or not
	Columns []boardColumn
}

// boardColumn are the pilots in one state.
type boardColumn struct {
	State string
	leaf[report.Pilot]
	More int // that are not shown here
}

func pilotsPage(r *http.Request, s *SeenSite) (shown, error) {
	all, err := s.Pilots(r.Context())
	if err != nil {
		return shown{}, err
	}
	q := r.URL.Query()
	filter := report.PilotFilter{State: q.Get("state"), Owner: q.Get("owner"), Text: q.Get("q")}
	x := boardShown{Pilots: all.Only(filter), Filter: filter, States: append(slices.Clone(report.PilotStates), report.PilotLook), Owners: all.Owners(), Of: len(all.Pilots)}
	for _, state := range report.PilotStates {
		in := x.In(state)
		if filter.State == state {
			x.Columns = append(x.Columns, boardColumn{state, leafOf(in, q, shownRows), 0})
		} else if len(in) > 0 || filter == (report.PilotFilter{}) {
			few := in[:min(len(in), shownCards)]
			x.Columns = append(x.Columns, boardColumn{state, leaf[report.Pilot]{Items: few, All: len(in)}, len(in) - len(few)})
		}
	}
	return shown{"pilots", "pilots", x, x.Pilots}, nil
}

// Left is how long a pilot may go on, in words; empty: nobody knows.
func (x boardShown) Left(p report.Pilot) string { return left(p, x.Pilots) }

func left(p report.Pilot, all report.Pilots) string {
	switch days, known := p.Left(all.At); {
	case !known:
		return ""
	case days < 0:
		return "its last day is over"
	case days == 0:
		return "its last day is today"
	case days == 1:
		return "1 day left"
	default:
		return fmt.Sprintf("%d days left", days)
	}
}

// pilotShown is what the page of a pilot shows.
type pilotShown struct {
	report.Pilot
	Trouble    string
	Left       string
	Taking     report.Participation
	Members    leaf[plan.SiteNow]
	Evidence   leaf[report.PilotRecord]
	Told       leaf[observed.PilotBroadcast] // the newest first
	Software   string                        // that it offers to FECs
	Version    string
	NotesShown []report.PilotRecord
}

// shownNotes is how many release notes a page has, the last ones.
const shownNotes = 5

func pilotPage(r *http.Request, s *SeenSite) (shown, error) {
	all, err := s.Pilots(r.Context())
	if err != nil {
		return shown{}, err
	}
	p, ok := all.Find(r.PathValue("pilot"))
	if !ok {
		return shown{}, ErrNoSuch
	}
	q := r.URL.Query()
	x := pilotShown{Pilot: p, Trouble: all.Trouble, Left: left(p, all), Taking: p.Participation(all.At), Evidence: leafOf(p.Records, q, shownRows)}
	x.Software, x.Version = p.Release()
	x.Members = leafBy("sites", p.Sites, q, shownRows)
	told := slices.Clone(p.Broadcasts)
	slices.Reverse(told)
	x.Told = leafBy("told", told, q, 20)
	x.NotesShown = p.Notes()
	x.NotesShown = x.NotesShown[:min(len(x.NotesShown), shownNotes)]
	return shown{"pilot", "pilot " + p.Name, x, p}, nil
}

// Few are the first of many names, and how many more there are.
func (pilotShown) Few(names []string) string {
	const most = 10
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// IsCommand says whether what somebody must do is a command to copy.
func (pilotShown) IsCommand(do string) bool { return strings.HasPrefix(do, "pomona ") }

// IsCommand says likewise.
func (boardShown) IsCommand(do string) bool { return strings.HasPrefix(do, "pomona ") }

// Hex is the beginning of a digest.
func (pilotShown) Hex(subject string) string {
	hex := strings.TrimPrefix(subject, "sha256:")
	return hex[:min(12, len(hex))]
}

package serve

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// ranShown are as many releases as a page of a FEC's history has.
const ranShown = 10

// fecShown is what the page of a FEC shows.
type fecShown struct {
	report.FECSeen
	Forge report.Forge
	Asked url.Values
	BadAt string // a time that nobody can read
	Rans  leaf[report.Ran]
}

func fecPage(r *http.Request, s *SeenSite) (shown, error) {
	q := r.URL.Query()
	x := fecShown{Forge: s.Forge, Asked: q}
	at, err := report.ReadTime(q.Get("at"))
	if x.BadAt, err = badTime(r, err); err != nil {
		return shown{}, err
	}
	x.FECSeen, err = s.FEC(r.Context(), r.PathValue("fec"), at)
	if errors.Is(err, ErrMalformed) && !at.IsZero() {
		if x.BadAt, err = badTime(r, err); err == nil {
			x.FECSeen, err = s.FEC(r.Context(), r.PathValue("fec"), time.Time{})
		}
	}
	if err != nil {
		return shown{}, err
	}
	if other := q.Get("beside"); other != "" {
		beside, err := s.FEC(r.Context(), other, time.Time{})
		switch {
		case errors.Is(err, ErrNoSuch):
			x.Beside = &report.FECBeside{Name: other, Trouble: err.Error()}
		case err != nil:
			return shown{}, err
		default:
			x.Beside = report.BesideOf(x.FECSeen, beside)
		}
	}
	x.Rans = leafOf(x.Ran, q, ranShown)
	return shown{"fec", x.Name, x, x.FECSeen}, nil
}

// badTime is what a page says of a time that makes no sense. A program, which takes what it gets for what it asked for, gets nothing but that.
func badTime(r *http.Request, err error) (why string, _ error) {
	switch {
	case err == nil:
		return "", nil
	case wantsJSON(r):
		return "", unread{err}
	}
	return err.Error(), nil
}

// unread is an error that says itself what is malformed.
type unread struct{ error }

// Is implements what errors.Is asks for.
func (unread) Is(target error) bool { return target == ErrMalformed }

// To is this page with another value in its URL; an empty one takes it out.
func (x fecShown) To(key string, value any) string {
	q := url.Values{}
	for k, v := range x.Asked {
		if slices.Contains([]string{"at", "beside", "page"}, k) && len(v) > 0 && v[0] != "" {
			q.Set(k, v[0])
		}
	}
	if text := fmt.Sprint(value); text != "" {
		q.Set(key, text)
	} else {
		q.Del(key)
	}
	return "?" + q.Encode()
}

// Local is a time as a form for a local time has it.
func (fecShown) Local(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05")
}

// By says who has said something.
func (fecShown) By(r observed.FECReport) string {
	return map[string]string{observed.FromToken: "token, proven", observed.FromSSH: "ssh, proven", observed.FromReport: "report, not proven"}[r.Source]
}

// Fleet leads to the FECs that something touches.
func (x fecShown) Fleet(t report.Touch) string {
	q := url.Values{}
	switch t.Kind {
	case "group":
		q.Set("group", t.Name)
	case "software":
		q.Set("software", t.Name)
		q.Set("version", t.Version)
	default:
		return ""
	}
	return "?" + q.Encode()
}

// stageRow is a release at one stage.
type stageRow struct {
	Stage   string
	Release *report.Release
	None    string // why there is none
	Commit  commitLink
}

// Row is one stage of the FEC's release.
func (x fecShown) Row(stage string, r *report.Release) stageRow {
	row := stageRow{Stage: stage, Release: r}
	if r != nil {
		row.Commit = x.Commit(r.Commit)
		return row
	}
	row.None = map[string]string{"wanted": "the branch does not have it, or cannot be read", "published": "nothing", "running": "not known"}[stage]
	return row
}

// commitLink is a commit, and where the forge shows it.
type commitLink struct{ ID, Address string }

// Commit leads to a commit.
func (x fecShown) Commit(id string) commitLink { return commitLink{id, x.Forge.Commit(id)} }

// reportList is some reports under a title.
type reportList struct {
	Title   string
	Reports []observed.FECReport
	X       fecShown
}

// List is some reports under a title.
func (x fecShown) List(title string, reports []observed.FECReport) reportList {
	return reportList{title, reports, x}
}

// targetList is some targets of Prometheus under a title.
type targetList struct {
	Title   string
	Targets []report.PrometheusTarget
}

// Prometheus are some targets under a title.
func (fecShown) Prometheus(title string, targets []report.PrometheusTarget) targetList {
	return targetList{title, targets}
}

// snapshotsShown are as many as are shown of data of one name.
const snapshotsShown = 50

// Few are the first of some snapshots.
func (fecShown) Few(s []report.Snapshot) []report.Snapshot { return s[:min(len(s), snapshotsShown)] }

// InGroups says of which groups the FECs are that something touches: the three that have most of them.
func (fecShown) InGroups(t report.Touch) string {
	names := slices.SortedFunc(maps.Keys(t.Groups), func(a, b string) int { return cmp.Or(cmp.Compare(t.Groups[b], t.Groups[a]), cmp.Compare(a, b)) })
	words := []string{}
	for _, g := range names[:min(len(names), 3)] {
		words = append(words, fmt.Sprintf("%s %d", g, t.Groups[g]))
	}
	if n := len(names) - len(words); n > 0 {
		words = append(words, fmt.Sprintf("%d more", n))
	}
	return strings.Join(words, ", ")
}

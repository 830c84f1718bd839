package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/report"
)

// pilotsFolder is where pilots are shown, below /-/: live, and never in a tree.
const pilotsFolder = "pilots"

// pilotPages are the pages about pilots. Whatever they show is escaped: names and texts of a site are others'.
//
//go:embed pilot.tmpl
var pilotPages string

// pageStyle is how pages look. They have nothing in them that a browser runs or fetches.
const pageStyle = `body{font-family:sans-serif;margin:2em;max-width:80em}table{border-collapse:collapse;margin:1em 0}th,td{border:1px solid #bbb;padding:.25em .6em;text-align:left;vertical-align:top}pre{white-space:pre-wrap;background:#f4f4f4;padding:1em}.pass,.pass_waived,.not_applicable{color:#060}.fail,.blocked,.halted,.denied,.expired{color:#a00}`

// pagePolicy lets a page have its own style, and nothing else.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// shownPilots answers what people ask for about pilots. Everything of it is read.
type shownPilots struct {
	see func(context.Context) (report.Pilots, error)
	log *slog.Logger
}

// pilotFile is a file about one pilot: its type, and who writes it.
type pilotFile struct {
	kind  string
	write func(io.Writer, report.Pilots, report.Pilot) error
}

// pilotFiles are those of each pilot by name; the empty name is its page.
var pilotFiles = map[string]pilotFile{
	"":         {htmlText, pageOf("pilot")},
	"feedback": {htmlText, pageOf("feedback")},
	"notes":    {htmlText, pageOf("notes")},
	"notes.md": {plainText, func(w io.Writer, _ report.Pilots, p report.Pilot) error {
		_, err := io.WriteString(w, p.NotesText())
		return err
	}},
	"state.json": {jsonText, func(w io.Writer, _ report.Pilots, p report.Pilot) error { return indented(w, p) }},
	"excuses.json": {jsonText, func(w io.Writer, all report.Pilots, p report.Pilot) error {
		return indented(w, report.Excuses{Generated: all.At, Sources: p.Excuses()})
	}},
	"sites.json": {jsonText, func(w io.Writer, all report.Pilots, p report.Pilot) error {
		return indented(w, p.Participation(all.At))
	}},
	"accounting.csv": {"text/csv; charset=utf-8; header=present", func(w io.Writer, _ report.Pilots, p report.Pilot) error { return p.Accounting(w) }},
	"problems.json": {jsonText, func(w io.Writer, _ report.Pilots, p report.Pilot) error {
		return indented(w, map[string]any{"pilot": p.Name, "problems": p.Problems})
	}},
	"ledger.jsonl": {"application/jsonl; charset=utf-8", func(w io.Writer, _ report.Pilots, p report.Pilot) error { return p.Ledger(w) }},
	"feed.atom": {atomText, func(w io.Writer, all report.Pilots, p report.Pilot) error {
		return report.Pilots{Site: all.Site, At: all.At, Pilots: []report.Pilot{p}}.Feed(w, p.Name)
	}},
}

const (
	htmlText = "text/html; charset=utf-8"
	jsonText = "application/json"
	atomText = "application/atom+xml; charset=utf-8"
)

// serve answers what is asked for below /-/pilots: "" and index.json, excuses.json and feed.atom of all, or PILOT/FILE.
func (s shownPilots) serve(w http.ResponseWriter, r *http.Request, name string) {
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	if r.URL.Path == "/-/"+pilotsFolder {
		redirectToSlash(w, r)
		return
	}
	all, err := s.see(r.Context())
	if err != nil {
		s.log.Error("showed no pilots", "err", err)
		refuse(w, http.StatusServiceUnavailable)
		return
	}
	var b bytes.Buffer
	kind := htmlText
	switch id, file, inPilot := strings.Cut(name, "/"); {
	case name == "":
		err = pages.ExecuteTemplate(&b, "index", pageData{All: all})
	case name == "index.json":
		kind, err = jsonText, indented(&b, all)
	case name == "excuses.json":
		kind, err = jsonText, indented(&b, all.Excuses())
	case name == "feed.atom":
		kind, err = atomText, all.Feed(&b, "")
	default:
		p, ok := all.Find(id)
		f, there := pilotFiles[file]
		switch {
		case !ok, inPilot && !there:
			refuse(w, http.StatusNotFound)
			return
		case !inPilot:
			redirectToSlash(w, r)
			return
		}
		kind, err = f.kind, f.write(&b, all, p)
	}
	if err != nil {
		s.log.Error("showed no pilots", "path", name, "err", err)
		refuse(w, http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Length", fmt.Sprint(b.Len()))
	_, _ = b.WriteTo(w) // the client has gone, and the server closes the connection
}

func indented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// pageData is what a page shows: all pilots, or one of them.
type pageData struct {
	All   report.Pilots
	Pilot report.Pilot
}

func pageOf(name string) func(io.Writer, report.Pilots, report.Pilot) error {
	return func(w io.Writer, all report.Pilots, p report.Pilot) error {
		return pages.ExecuteTemplate(w, name, pageData{all, p})
	}
}

// pages are the templates by name.
var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"style": func() template.CSS { return pageStyle }, // Pomona's own
	"join":  strings.Join,
	"text": func(p report.Pilot) (string, error) {
		var b strings.Builder
		err := p.Text(&b)
		return b.String(), err
	},
}).Parse(pilotPages))

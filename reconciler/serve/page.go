package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// pageFiles are the templates of pages, and what browsers fetch beside them.
//
//go:embed page/*.tmpl page/*.css page/*.js page/*.svg
var pageFiles embed.FS

// pagesPolicy lets pages have what this server gives them, and nothing else: nothing that is written in a page is ever run.
const pagesPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// SeenSite is what pages show of a site. It is asked from many goroutines.
type SeenSite struct {
	Fleet func(context.Context) (report.Fleet, error)
	// FEC is all that is known of a FEC; ErrNoSuch: there is none of that name. With a time, also what was so then; ErrMalformed: it makes no sense.
	FEC     func(ctx context.Context, name string, at time.Time) (report.FECSeen, error)
	Forge   report.Forge // where its commits can be looked at
	Passes  func(ctx context.Context, outcome string, page int) (report.Passes, error)
	Pass    func(ctx context.Context, which string) (report.Pass, error) // number or commit, that in full or its first digits; ErrNoSuch: there is none
	Plans   func(context.Context) (report.Proposals, error)
	Plan    func(ctx context.Context, which string) (report.Proposal, error) // number of a pull request, or commit; ErrNoSuch: nothing is known of it
	Changes *Changes

	Campaigns   SeenCampaigns // nil: the site carries none out
	AllSoftware func(context.Context) (report.AllSoftware, error)
	Software    func(ctx context.Context, name string) (report.Software, error)              // likewise; an empty name: the first, if there is one
	Bill        func(ctx context.Context, software, version, archive string) ([]byte, error) // likewise; an empty archive: the first
	Pilots      func(context.Context) (report.Pilots, error)

	// Restarts is how restarts go; RestartWave is one wave, by its name, and ErrNoSuch if there is none.
	Restarts      func(context.Context) (report.RestartWaves, error)
	RestartWave   func(ctx context.Context, id string) (report.RestartWaveFECs, error)
	Prerequisites func(context.Context) (report.Prerequisites, error)
	Prerequisite  func(ctx context.Context, name string) (report.PrerequisiteShown, error) // ErrNoSuch: there is none
}

// Login is how people are known: by what a proxy before the pages says.
type Login struct {
	Header string         // with the name of whoever asks
	From   []netip.Prefix // of the proxies; nobody else is believed
}

// Pages are for people who would rather look than read. They change nothing that anybody states: every answer is to a GET, and each page of a site has its JSON at the same
// path, for whoever asks for application/json.
type Pages struct {
	Log   *slog.Logger
	Login *Login // nil: everybody may look who reaches the address
	// Sites are those of the service, in order; Site is one of them, nil while it does not run.
	Sites func() []string
	Site  func(name string) (*SeenSite, bool)
}

// sitePages are the pages of a site, by their paths below it.
var sitePages = map[string]func(*http.Request, *SeenSite) (shown, error){
	"{$}":        fleetPage,
	"fecs/{fec}": fecPage,

	"campaigns":                                           ofCampaigns(campaignsPage),
	"campaigns/{campaign}":                                ofCampaigns(campaignPage),
	"campaigns/{campaign}/sheet":                          ofCampaigns(campaignSheetPage),
	"campaigns/{campaign}/submissions":                    ofCampaigns(campaignSubmissionsPage),
	"campaigns/{campaign}/efficiency":                     ofCampaigns(campaignEfficiencyPage),
	"campaigns/{campaign}/slices":                         ofCampaigns(campaignSlicesPage),
	"campaigns/{campaign}/slices/{stage}/{epoch}/{slice}": ofCampaigns(campaignSlicePage),
	"software":                       allSoftwarePage,
	"software/{name}":                softwarePage,
	"software/{name}/{version}":      versionPage,
	"software/{name}/{version}/sbom": billPage,
	"matrix":                         matrixPage,
	"restarts":                       restartsPage,
	"restarts/{wave}":                wavePage,
	"passes":                         passesPage,
	"passes/{pass}":                  passPage,
	"plans":                          plansPage,
	"plans/{plan}":                   planPage,

	"pilots":               pilotsPage,
	"pilots/{pilot}":       pilotPage,
	"prerequisites":        prerequisitesPage,
	"prerequisites/{name}": prerequisitePage,
}

// navigation are the pages of a site that lead to all others, in order.
var navigation = []struct{ Title, Path string }{
	{"fleet", ""},
	{"software", "software"},
	{"restarts", "restarts"},
	{"passes", "passes"},
	{"pull requests", "plans"},
	{"campaigns", "campaigns"},
	{"pilots", "pilots"},
	{"prerequisites", "prerequisites"},
}

// Handler answers those who look.
func (p Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.index)
	mux.HandleFunc("GET /-/assets/{name}", asset)
	mux.Handle("GET /favicon.ico", http.RedirectHandler("/-/assets/"+assetNames["icon.svg"], http.StatusFound)) // for what has no page around it
	mux.HandleFunc("GET /{site}/changes", p.changes)
	for at, see := range sitePages {
		mux.HandleFunc("GET /{site}/"+at, p.of(see))
	}
	small, err := gzhttp.NewWrapper(gzhttp.MinSize(1024), gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.ExceptContentTypes([]string{eventText}))
	if err != nil {
		panic(err) // the options are constants
	}
	return p.known(small(mux))
}

// shown is a page: its template, and the value that is its JSON too.
type shown struct {
	template string // the name of its file
	title    string
	value    any // of the template
	json     any
}

// verbatim is JSON that is answered as it is, whatever was asked for.
type verbatim []byte

// page is what a template gets.
type page struct {
	Title, Site, Who string
	Path             string // below the site
	Value            any
}

type whoKey struct{}

// known lets in whom the proxy names.
func (p Pages) known(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Content-Security-Policy", pagesPolicy)
		header.Set("Referrer-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Cache-Control", "no-cache")
		if p.Login != nil {
			who, why := p.Login.who(r)
			if why != "" {
				p.Log.Warn("nobody is let in to the pages", "from", r.RemoteAddr, "because", why)
				refuse(w, http.StatusForbidden)
				return
			}
			r = r.WithContext(context.WithValue(r.Context(), whoKey{}, who))
		}
		h.ServeHTTP(w, r)
	})
}

// who is whom a proxy names, or why nobody is believed to be asking.
func (l Login) who(r *http.Request) (who, why string) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case err != nil || !slices.ContainsFunc(l.From, func(p netip.Prefix) bool { return p.Contains(from.Addr().Unmap()) }):
		return "", "it is no proxy's address"
	case len(r.Header.Values(l.Header)) != 1 || r.Header.Get(l.Header) == "":
		return "", "the proxy names nobody in " + l.Header
	}
	return r.Header.Get(l.Header), ""
}

func (p Pages) index(w http.ResponseWriter, r *http.Request) {
	names := p.Sites()
	if len(names) == 1 && !wantsJSON(r) {
		http.Redirect(w, r, "/"+names[0]+"/", http.StatusFound)
		return
	}
	p.show(w, r, "", shown{"sites", "sites", names, map[string]any{"sites": names}})
}

// of answers with a page of a site.
func (p Pages) of(see func(*http.Request, *SeenSite) (shown, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		site := r.PathValue("site")
		s, ok := p.Site(site)
		switch {
		case !ok:
			refuse(w, http.StatusNotFound)
			return
		case s == nil:
			w.Header().Set("Retry-After", "5")
			refuse(w, http.StatusServiceUnavailable)
			return
		}
		x, err := see(r, s)
		switch {
		case errors.Is(err, ErrNoSuch):
			refuse(w, http.StatusNotFound)
			return
		case errors.Is(err, ErrMalformed):
			sendText(w, http.StatusBadRequest, err.Error()+"\n")
			return
		case r.Context().Err() != nil:
			return
		case err != nil:
			p.Log.Error("showed no page", "site", site, "path", r.URL.Path, "err", err)
			refuse(w, http.StatusServiceUnavailable)
			return
		}
		p.show(w, r, site, x)
	}
}

func (p Pages) show(w http.ResponseWriter, r *http.Request, site string, x shown) {
	var b bytes.Buffer
	kind, err := htmlText, error(nil)
	if sheet, ok := x.json.(interface{ CSV(io.Writer) error }); ok && wantsCSV(r) {
		kind, err = csvText, sheet.CSV(&b)
	} else if as, ok := x.json.(verbatim); ok {
		kind = jsonText
		b.Write(as)
	} else if wantsJSON(r) {
		kind, err = jsonText, indented(&b, x.json)
	} else {
		who, _ := r.Context().Value(whoKey{}).(string)
		err = pageTemplates[x.template].ExecuteTemplate(&b, "page", page{x.title, site, who, strings.TrimPrefix(r.URL.Path, "/"+site+"/"), x.value})
	}
	if err != nil {
		p.Log.Error("showed no page", "path", r.URL.Path, "err", err)
		refuse(w, http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Add("Vary", "Accept")
	_, _ = b.WriteTo(w) // the client has gone, and the server closes the connection
}

// csvText is the kind of a table for spreadsheets, which some pages have besides.
const csvText = "text/csv; charset=utf-8; header=present"

// wantsCSV says whether whoever asks wants that.
func wantsCSV(r *http.Request) bool {
	return r.URL.Query().Get("format") == "csv" || strings.Contains(r.Header.Get("Accept"), "text/csv") && !strings.Contains(r.Header.Get("Accept"), "text/html")
}

// wantsJSON says whether whoever asks is a program. Browsers never name JSON.
func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), jsonText) && !strings.Contains(r.Header.Get("Accept"), "text/html")
}

// assets are what browsers fetch beside pages, by names that change with what they say.
var assets, assetNames = func() (map[string][]byte, map[string]string) {
	all, names := map[string][]byte{}, map[string]string{}
	for _, file := range []string{"style.css", "live.js", "icon.svg"} {
		b, err := pageFiles.ReadFile("page/" + file)
		if err != nil {
			panic(err) // it is embedded
		}
		sum := sha256.Sum256(b)
		ext := path.Ext(file)
		name := strings.TrimSuffix(file, ext) + "-" + hex.EncodeToString(sum[:6]) + ext
		all[name], names[file] = b, name
	}
	return all, names
}()

func asset(w http.ResponseWriter, r *http.Request) {
	b, ok := assets[r.PathValue("name")]
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(r.PathValue("name"))])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(b) // the client has gone
}

// second is a time, UTC, as people read it who look closely.
func second(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format(time.DateTime)
}

// pageTemplates are the pages by name: each has the frame of all, and its own middle.
var pageTemplates = func() map[string]*template.Template {
	frame := template.Must(template.New("frame").Funcs(template.FuncMap{
		"asset":  func(file string) string { return "/-/assets/" + assetNames[file] },
		"minute": observed.Minute,
		"pages":  func() any { return navigation },
		"second": second,
		"short":  func(commit string) string { return commit[:min(12, len(commit))] },
	}).ParseFS(pageFiles, "page/frame.tmpl", "page/part_*.tmpl"))
	all := map[string]*template.Template{}
	files, err := fs.Glob(pageFiles, "page/*.tmpl")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for _, file := range files {
		all[strings.TrimSuffix(path.Base(file), ".tmpl")] = template.Must(template.Must(frame.Clone()).ParseFS(pageFiles, file))
	}
	return all
}()

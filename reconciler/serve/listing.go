package serve

import (
	"bytes"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// listing is a page for people and for wget -r.
var listing = template.Must(template.New("listing").Parse(`<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{{.Path}}</title></head><body><h1>{{.Path}}</h1><pre>
{{if ne .Path "/"}}<a href="../">../</a>
{{end}}{{range .Names}}<a href="./{{.URL}}">{{.Name}}</a>
{{end}}</pre></body></html>
`))

type entry struct{ Name, URL string }

// sendListing lists a folder, byte-wise, with a slash behind folders. A link has none, even to a folder: to follow
// 20,000 links costs more than the redirects of those who click on one.
func (p *published) sendListing(w http.ResponseWriter, r *http.Request, f *opened) {
	names, err := listed(f)
	if err != nil {
		p.log.Error("listed no folder", "path", f.real, "err", err)
		refuse(w, http.StatusInternalServerError)
		return
	}
	var page bytes.Buffer
	if err := listing.Execute(&page, struct {
		Path  string
		Names []entry
	}{r.URL.Path, names}); err != nil {
		p.log.Error("wrote no listing", "path", f.real, "err", err)
		refuse(w, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(page.Len()))
	_, _ = page.WriteTo(w) // the client has gone, and the server closes the connection
}

func listed(f *opened) ([]entry, error) {
	found, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var out []entry
	for _, e := range found {
		name := e.Name()
		if name[0] == '.' {
			continue
		}
		if e.IsDir() {
			name += "/"
		}
		out = append(out, entry{Name: name, URL: (&url.URL{Path: name}).EscapedPath()})
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

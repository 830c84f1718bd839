package rpm

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Entry is a package file of a repository.
type Entry struct {
	Location string          `json:"location"` // relative to the folder that holds repodata/
	Digest   artifact.Digest `json:"digest"`
	Size     int64           `json:"size"`
	Time     int64           `json:"time"` // of the file, seconds since 1970: fixed, so that the same packages give the same bytes
	Package  *Package        `json:"package,omitempty"`
}

// Fragments are what an entry adds to each of the three XML files: a function of the entry, to be kept beside its digest.
type Fragments struct {
	Location  string `json:"location"`
	Primary   string `json:"primary"`
	Filelists string `json:"filelists"`
	Other     string `json:"other"`
}

// Fragments writes what createrepo_c writes of a package, to the byte.
func (e Entry) Fragments() Fragments {
	var x markup
	f := Fragments{Location: e.Location}
	e.primary(&x)
	f.Primary, x = string(x), x[:0]
	e.filelists(&x)
	f.Filelists, x = string(x), x[:0]
	e.other(&x)
	f.Other = string(x)
	return f
}

func (e Entry) primary(x *markup) {
	p := e.Package
	x.raw("<package type=\"rpm\">\n")
	x.element("  ", "name", p.Name)
	x.element("  ", "arch", p.Arch)
	x.version(p.EVR)
	x.raw("  <checksum type=\"sha256\" pkgid=\"YES\">", e.Digest.String(), "</checksum>\n")
	x.element("  ", "summary", p.Summary)
	x.element("  ", "description", p.Description)
	x.element("  ", "packager", p.Packager)
	x.element("  ", "url", p.URL)
	x.raw("  <time file=\"", number(e.Time), "\" build=\"", number(p.BuildTime), "\"/>\n")
	x.raw("  <size package=\"", number(e.Size), "\" installed=\"", number(p.InstalledSize), "\" archive=\"", number(p.ArchiveSize), "\"/>\n")
	x.raw("  <location href=\"")
	x.attribute(e.Location)
	x.raw("\"/>\n  <format>\n")
	x.element("    ", "rpm:license", p.License)
	x.element("    ", "rpm:vendor", p.Vendor)
	x.element("    ", "rpm:group", p.Group)
	x.element("    ", "rpm:buildhost", p.BuildHost)
	x.element("    ", "rpm:sourcerpm", p.SourceRPM)
	x.raw("    <rpm:header-range start=\"", number(p.HeaderStart), "\" end=\"", number(p.HeaderEnd), "\"/>\n")
	x.dependencies("provides", p.Provides)
	x.dependencies("requires", p.Requires)
	x.dependencies("conflicts", p.Conflicts)
	x.dependencies("obsoletes", p.Obsoletes)
	x.dependencies("suggests", p.Suggests)
	x.dependencies("enhances", p.Enhances)
	x.dependencies("recommends", p.Recommends)
	x.dependencies("supplements", p.Supplements)
	for _, f := range p.Files {
		if primary(f.Path) {
			x.raw("    ")
			x.file(f)
		}
	}
	x.raw("  </format>\n</package>\n")
}

func (e Entry) filelists(x *markup) {
	e.heading(x)
	for _, f := range e.Package.Files {
		x.raw("  ")
		x.file(f)
	}
	x.raw("</package>\n")
}

func (e Entry) other(x *markup) {
	e.heading(x)
	for _, c := range e.Package.Changelog {
		x.raw("  <changelog author=\"")
		x.attribute(c.Author)
		x.raw("\" date=\"", number(c.Time), "\">")
		x.text(c.Text)
		x.raw("</changelog>\n")
	}
	x.raw("</package>\n")
}

func (e Entry) heading(x *markup) {
	x.raw("<package pkgid=\"", e.Digest.String(), "\" name=\"")
	x.attribute(e.Package.Name)
	x.raw("\" arch=\"")
	x.attribute(e.Package.Arch)
	x.raw("\">\n")
	x.version(e.Package.EVR)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// markup is XML as libxml2 would print it.
type markup []byte

func (x *markup) raw(parts ...string) {
	for _, s := range parts {
		*x = append(*x, s...)
	}
}

func (x *markup) element(indent, name, text string) {
	x.raw(indent, "<", name, ">")
	x.text(text)
	x.raw("</", name, ">\n")
}

func (x *markup) version(e EVR) {
	x.raw("  <version epoch=\"", number(int64(e.Epoch)), "\" ver=\"")
	x.attribute(e.Version)
	x.raw("\" rel=\"")
	x.attribute(e.Release)
	x.raw("\"/>\n")
}

func (x *markup) file(f File) {
	switch f.Kind {
	case Folder:
		x.raw("<file type=\"dir\">")
	case Ghost:
		x.raw("<file type=\"ghost\">")
	default:
		x.raw("<file>")
	}
	x.text(f.Path)
	x.raw("</file>\n")
}

func (x *markup) dependencies(kind string, list []Dependency) {
	if len(list) == 0 {
		return
	}
	x.raw("    <rpm:", kind, ">\n")
	for _, d := range list {
		if d.Name == "" {
			continue
		}
		x.raw("      <rpm:entry name=\"")
		x.attribute(d.Name)
		if d.Flags != "" {
			x.raw("\" flags=\"", string(d.Flags))
		}
		if d.Flags != "" && d.EVR != (EVR{}) {
			x.raw("\" epoch=\"", number(int64(d.EVR.Epoch)))
			if d.EVR.Version != "" {
				x.raw("\" ver=\"")
				x.attribute(d.EVR.Version)
			}
			if d.EVR.Release != "" {
				x.raw("\" rel=\"")
				x.attribute(d.EVR.Release)
			}
		}
		if d.Pre {
			x.raw("\" pre=\"1")
		}
		x.raw("\"/>\n")
	}
	x.raw("    </rpm:", kind, ">\n")
}

// text appends what stands between tags.
func (x *markup) text(s string) {
	from := 0
	for i := range len(s) {
		var escaped string
		switch s[i] {
		case '<':
			escaped = "&lt;"
		case '>':
			escaped = "&gt;"
		case '&':
			escaped = "&amp;"
		case '\r':
			escaped = "&#13;"
		default:
			continue
		}
		*x = append(append(*x, s[from:i]...), escaped...)
		from = i + 1
	}
	*x = append(*x, s[from:]...)
}

// attribute appends the value of an attribute; what is not ASCII is written as its number, as libxml2 does without a document.
func (x *markup) attribute(s string) {
	from := 0
	for i, r := range s {
		var escaped string
		switch {
		case r == '"':
			escaped = "&quot;"
		case r == '\n':
			escaped = "&#10;"
		case r == '\t':
			escaped = "&#9;"
		case r >= utf8.RuneSelf:
			escaped = fmt.Sprintf("&#x%X;", r)
		default:
			continue
		}
		x.text(s[from:i])
		x.raw(escaped)
		from = i + utf8.RuneLen(r)
	}
	x.text(s[from:])
}

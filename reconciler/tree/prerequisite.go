package tree

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// PrerequisitesFolder holds what prerequisites are rendered into: scripts and a Containerfile for each system, roles, jobs, pages and
// a list of everything with its digests.
const PrerequisitesFolder = "prerequisites"

// Files of prerequisites: of each system, and of all.
const (
	InstallScript = "install.sh"
	VerifyScript  = "verify.sh"
	Containerfile = "Containerfile"
	LockFile      = "lock.json"
)

// Prerequisites are the files that a site's prerequisites are rendered into, by path. There are none when the site has none. An empty
// section is an error: nothing that a table says may be lost on the way to a script or a page.
func Prerequisites(s desired.Site) ([]Node, error) {
	if len(s.Prerequisites) == 0 {
		return nil, nil
	}
	t := tableOf(s)
	t.stamps = map[string]artifact.Digest{}
	for _, name := range t.order {
		d, err := PrerequisiteDigest(s, name)
		if err != nil {
			return nil, err
		}
		t.stamps[name] = d
	}
	nodes := t.scripts()
	nodes = append(nodes, t.ansible()...)
	nodes = append(nodes, t.jobs()...)
	nodes = append(nodes, t.pages()...)
	if err := t.complete(nodes); err != nil {
		return nil, err
	}
	return sortNodes(append(nodes, t.lock(nodes))), nil
}

// PrerequisiteDigest names what is rendered of one prerequisite: its scripts, role and page, with all that it needs. Evidence is bound to it:
// it changes with everything that could make a difference, and not with days on which an index was asked or an exception ends.
func PrerequisiteDigest(s desired.Site, name string) (artifact.Digest, error) {
	t := tableOf(s)
	only := t.closure(name)
	prerequisites := map[string]desired.Prerequisite{}
	for _, each := range only {
		prerequisites[each] = s.Prerequisites[each]
	}
	s.Prerequisites = prerequisites
	t = tableOf(s)
	nodes := t.scripts()
	for _, each := range only {
		nodes = append(nodes, t.role(each)...)
		nodes = append(nodes, t.page(each))
	}
	if err := t.complete(nodes); err != nil {
		return artifact.Digest{}, err
	}
	return digestNodes(sortNodes(nodes)), nil
}

// table is what is rendered: one for all outputs.
type table struct {
	site   desired.Site
	order  []string                   // prerequisites, each after what it needs
	stamps map[string]artifact.Digest // written into what is rendered; nil while they are found out
}

func tableOf(s desired.Site) table {
	t := table{site: s}
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(s.Prerequisites)) {
		t.order = t.after(name, seen, t.order)
	}
	return t
}

// after appends a prerequisite behind what it needs.
func (t table) after(name string, seen map[string]bool, order []string) []string {
	p, ok := t.site.Prerequisites[name]
	if seen[name] || !ok {
		return order
	}
	seen[name] = true
	for _, need := range slices.Sorted(slices.Values(p.Needs)) {
		order = t.after(need, seen, order)
	}
	return append(order, name)
}

// closure is a prerequisite behind all that it needs.
func (t table) closure(name string) []string { return t.after(name, map[string]bool{}, nil) }

// systems are those on which there is a prerequisite at least.
func (t table) systems() (names []string) {
	for name := range t.site.Settings.Systems {
		if len(t.on(name)) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// on are the prerequisites of a system, each after what it needs.
func (t table) on(system string) []string {
	return slices.DeleteFunc(slices.Clone(t.order), func(name string) bool {
		_, ok := t.site.Prerequisites[name].Systems[system]
		return !ok
	})
}

// row is a version of a prerequisite that a system can get.
type row struct {
	name, version string
	source        desired.Source
	provider      string
}

// rows are all versions that a system can get, those that it gets by itself first.
func (t table) rows(system string) (own, others []row) {
	for _, name := range t.on(system) {
		p := t.site.Prerequisites[name]
		for i, v := range p.Versions(system) {
			source, provider, _ := p.Source(system, v)
			r := row{name, v, source, provider}
			if i == 0 {
				own = append(own, r)
			} else {
				others = append(others, r)
			}
		}
	}
	return own, others
}

// want is what scripts call a version.
func (r row) want() string { return r.name + "=" + r.version }

// stamp is a comment with the digest of a prerequisite, once it is known.
func (t table) stamp(comment, name string) string {
	d, ok := t.stamps[name]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s %s sha256:%s\n", comment, name, d)
}

// Stamped says whether a rendered file carries the digest of a prerequisite.
func Stamped(n Node, name string, d artifact.Digest) bool {
	return bytes.Contains(n.Data, fmt.Appendf(nil, " %s sha256:%s\n", name, d))
}

// complete finds what has been lost on the way from the table.
func (t table) complete(nodes []Node) error {
	files := map[string][]byte{}
	for _, n := range nodes {
		files[n.Path] = n.Data
	}
	missing := func(what, system, file string) error {
		return fmt.Errorf("render prerequisites: %s of system %s is missing in %s", what, system, file)
	}
	for _, system := range t.systems() {
		own, others := t.rows(system)
		for _, r := range slices.Concat(own, others) {
			for _, file := range []string{InstallScript, VerifyScript} {
				section := caseOf(r.want())
				_, body, ok := bytes.Cut(files[system+"/"+file], []byte(section))
				if body, _, _ = bytes.Cut(body, []byte(";;")); !ok || len(bytes.TrimSpace(body)) == 0 {
					return missing(r.want(), system, system+"/"+file)
				}
			}
			page := pagePath(r.name)
			if !bytes.Contains(files[page], []byte(installLine(system, r))) {
				return missing(r.want(), system, page)
			}
			if role := rolePath(r.name, "tasks"); !bytes.Contains(files[role], []byte(quoted(system))) {
				return missing(r.want(), system, role)
			}
		}
	}
	return nil
}

// locked is what a lock file says: all that was decided, with its digests.
type locked struct {
	Site          string                                  `json:"site"`
	Prerequisites map[string]lockedPrerequisite           `json:"prerequisites"`
	Systems       map[string]map[string][]lockedProvision `json:"systems"` // by prerequisite
	Files         map[string]artifact.Digest              `json:"files"`
}

type lockedPrerequisite struct {
	Digest      string   `json:"digest"`
	Recommended string   `json:"recommended"`
	Supported   []string `json:"supported"`
	Purpose     string   `json:"purpose"`
	Needs       []string `json:"needs,omitempty"`
}

type lockedProvision struct {
	Version   string             `json:"version"`
	Provider  string             `json:"provider"`
	Source    desired.Source     `json:"source"`
	Exception *desired.Exception `json:"exception,omitempty"`
}

func (t table) lock(nodes []Node) Node {
	l := locked{
		Site: t.site.Settings.Name, Prerequisites: map[string]lockedPrerequisite{},
		Systems: map[string]map[string][]lockedProvision{}, Files: map[string]artifact.Digest{},
	}
	for name, p := range t.site.Prerequisites {
		l.Prerequisites[name] = lockedPrerequisite{"sha256:" + t.stamps[name].String(), p.Recommended, p.Supported, p.ThePurpose(), p.Needs}
	}
	for _, system := range t.systems() {
		l.Systems[system] = map[string][]lockedProvision{}
		own, others := t.rows(system)
		for _, r := range slices.Concat(own, others) {
			got := lockedProvision{Version: r.version, Provider: r.provider, Source: r.source}
			if e := t.site.Prerequisites[r.name].Systems[system].Exception; e != nil && e.Provider == r.provider {
				got.Exception = e
			}
			l.Systems[system][r.name] = append(l.Systems[system][r.name], got)
		}
	}
	for _, n := range nodes {
		l.Files[n.Path] = artifact.Sum(n.Data)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(l) // strings and lists of them
	return Node{Path: LockFile, Data: b.Bytes()}
}

// prerequisitesFolder is the folder of what prerequisites are rendered into; none when there are none.
func (b *builder) prerequisitesFolder() []Folder {
	nodes, err := Prerequisites(b.want.Site)
	if err != nil && b.err == nil {
		b.err = err
	}
	if len(nodes) == 0 {
		return nil
	}
	return []Folder{{Path: PrerequisitesFolder, Nodes: nodes}}
}

// prerequisites are the paths of what prerequisites are rendered into.
func (o origins) prerequisites() {
	nodes, err := Prerequisites(o.site)
	if err != nil {
		return // of a valid site it is none
	}
	var all []Source
	for _, name := range slices.Sorted(maps.Keys(o.site.Prerequisites)) {
		all = append(all, value("prerequisite", "prerequisites", name))
	}
	t := tableOf(o.site)
	if len(nodes) > 0 {
		o.add(PrerequisitesFolder, "prerequisites as scripts, roles, containers, jobs and pages", all...)
	}
	for _, n := range nodes {
		top, rest, _ := strings.Cut(n.Path, "/")
		what, sources := "part of the prerequisites", all
		switch on := t.on(top); {
		case len(on) > 0:
			what, sources = rest+" of system "+top, []Source{value("system", "site", "systems", top)}
			for _, name := range on {
				sources = append(sources, value("prerequisite", "prerequisites", name, "systems", top))
			}
		case top == LockFile:
			what = "list of all prerequisites with their digests"
		}
		for _, name := range t.order {
			if n.Path == pagePath(name) || n.Path == rolePath(name, "tasks") || n.Path == rolePath(name, "meta") {
				what, sources = "prerequisite "+name, []Source{value("prerequisite", "prerequisites", name)}
			}
		}
		o.add(PrerequisitesFolder+"/"+n.Path, what, sources...)
	}
}

// quoted is a string as YAML and JSON have it.
func quoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string
	return strings.TrimSuffix(b.String(), "\n")
}

// generated is the first line of every file: what it is of.
func (t table) generated(comment, of string) string {
	return fmt.Sprintf("%s %s. Rendered by Pomona from the prerequisites of site %s: change those instead.\n", comment, of, t.site.Settings.Name)
}

// PrerequisitesInOrder are the names of all prerequisites, each after what it needs.
func PrerequisitesInOrder(s desired.Site) []string { return tableOf(s).order }

// PrerequisitePagesSame says whether the pages, the scripts and the role of a prerequisite are of one digest.
func PrerequisitePagesSame(nodes []Node, s desired.Site, name string, d artifact.Digest) bool {
	files := []string{pagePath(name), rolePath(name, "tasks")}
	for system := range s.Prerequisites[name].Systems {
		files = append(files, system+"/"+InstallScript, system+"/"+VerifyScript)
	}
	for _, file := range files {
		i := slices.IndexFunc(nodes, func(n Node) bool { return n.Path == file })
		if i < 0 || !Stamped(nodes[i], name, d) {
			return false
		}
	}
	return true
}

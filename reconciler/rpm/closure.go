package rpm

import (
	"cmp"
	"slices"
	"strings"
)

// Unmet is a requirement that nobody provides.
type Unmet struct {
	Package     *Package
	Requirement Dependency
}

// Closure says which requirements of the wanted packages nobody provides among them and the available ones, in the order of names. Each
// requirement is judged for itself, as dnf repoclosure judges it: that all can be installed together it does not say. Requirements of rpm itself are
// always fulfilled.
func Closure(available, wanted []*Package) []Unmet {
	o := newOffer(available, wanted)
	var all []Unmet
	for _, p := range wanted {
		for _, d := range p.Requires {
			if !o.meets(d) {
				all = append(all, Unmet{p, d})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Unmet) int {
		return cmp.Or(cmp.Compare(a.Package.Name, b.Package.Name), a.Package.EVR.Compare(b.Package.EVR), cmp.Compare(a.Package.Arch, b.Package.Arch),
			cmp.Compare(a.Requirement.Name, b.Requirement.Name))
	})
	return all
}

// offer is who provides what.
type offer struct {
	provides map[string][]provided
	files    map[string][]*Package
}

// provided is what a package provides under a name.
type provided struct {
	by   *Package
	what Dependency
}

// newOffer knows what packages provide, and of files only those that somebody asks for.
func newOffer(sets ...[]*Package) offer {
	o := offer{map[string][]provided{}, map[string][]*Package{}}
	asked := map[string]bool{}
	each := func(do func(*Package)) {
		for _, set := range sets {
			for _, p := range set {
				if p.Arch != "src" {
					do(p)
				}
			}
		}
	}
	for _, set := range sets { // source packages ask too
		for _, p := range set {
			for _, d := range p.Requires {
				for _, name := range names(d.Name) {
					asked[name] = true
				}
			}
		}
	}
	each(func(p *Package) {
		itself := Dependency{Name: p.Name, Flags: "EQ", EVR: p.EVR} // whether it says so or not
		o.provides[p.Name] = append(o.provides[p.Name], provided{p, itself})
		for _, d := range p.Provides {
			o.provides[d.Name] = append(o.provides[d.Name], provided{p, d})
		}
		for _, f := range p.Files {
			if path := strings.TrimSuffix(f.Path, "/"); asked[path] {
				o.files[path] = append(o.files[path], p)
			}
		}
	})
	return o
}

// names are those of all words in a requirement that could be files.
func names(requirement string) []string {
	if strings.HasPrefix(requirement, "/") {
		return []string{requirement}
	}
	if !strings.HasPrefix(requirement, "(") {
		return nil
	}
	return strings.FieldsFunc(requirement, func(r rune) bool { return r == ' ' || r == '(' || r == ')' })
}

// meets says whether somebody fulfils a requirement.
func (o offer) meets(d Dependency) bool {
	if strings.HasPrefix(d.Name, "rpmlib(") {
		return true
	}
	if strings.HasPrefix(d.Name, "(") {
		rich, err := parseRich(d.Name)
		if err != nil {
			return false
		}
		return o.rich(rich)
	}
	return len(o.providers(d)) > 0
}

// providers are the packages that provide d.
func (o offer) providers(d Dependency) (all []*Package) {
	for _, p := range o.provides[d.Name] {
		if overlap(p.what, d) {
			all = append(all, p.by)
		}
	}
	if d.Flags == "" {
		all = append(all, o.files[d.Name]...)
	}
	return all
}

// overlap says whether a version that is provided fulfils one that is required. A side without version means all of them, and so does
// one without release.
func overlap(provided, required Dependency) bool {
	p, r := provided.Flags, required.Flags
	switch {
	case p == "", r == "":
		return true
	case p.upwards() && r.upwards(), p.downwards() && r.downwards():
		return true
	}
	order := cmp.Or(cmp.Compare(provided.EVR.Epoch, required.EVR.Epoch), compareVersions(provided.EVR.Version, required.EVR.Version))
	if order == 0 {
		switch {
		case provided.EVR.Release == "" && required.EVR.Release != "":
			return p.same()
		case provided.EVR.Release != "" && required.EVR.Release == "":
			return r.same()
		}
		order = compareVersions(provided.EVR.Release, required.EVR.Release)
	}
	switch {
	case order < 0:
		return p.upwards() || r.downwards()
	case order > 0:
		return p.downwards() || r.upwards()
	}
	return p.same() && r.same()
}

func (f Flags) upwards() bool   { return f == "GT" || f == "GE" }
func (f Flags) downwards() bool { return f == "LT" || f == "LE" }
func (f Flags) same() bool      { return f == "EQ" || f == "GE" || f == "LE" }

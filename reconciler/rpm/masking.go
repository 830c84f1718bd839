package rpm

import (
	"cmp"
	"slices"
)

// Masked is a package that no client is offered which also sees the repository of By.
type Masked struct {
	Package *Package
	By      *Package
	// Obsoleted says that By obsoletes the package; else By is a newer version of it.
	Obsoleted bool
}

// Masking says which packages of production updates nodes are never offered, since the pilot ships a newer version of the same package for the
// same architecture, or one that obsoletes it. Of several in the pilot it names the newest.
func Masking(production, pilot []*Package) []Masked {
	var all []Masked
	for _, p := range production {
		if by := newest(pilot, p, hides); by != nil {
			all = append(all, Masked{Package: p, By: by})
		} else if by := newest(pilot, p, obsoletes); by != nil {
			all = append(all, Masked{Package: p, By: by, Obsoleted: true})
		}
	}
	slices.SortStableFunc(all, func(a, b Masked) int {
		return cmp.Or(cmp.Compare(a.Package.Name, b.Package.Name), cmp.Compare(a.Package.Arch, b.Package.Arch), a.Package.EVR.Compare(b.Package.EVR))
	})
	return all
}

// newest is the newest of some packages that does something to p.
func newest(from []*Package, p *Package, does func(q, p *Package) bool) (found *Package) {
	for _, q := range from {
		if does(q, p) && (found == nil || q.EVR.Compare(found.EVR) > 0) {
			found = q
		}
	}
	return found
}

// hides says whether q is what a client that is offered both takes instead of p.
func hides(q, p *Package) bool {
	if p.Arch == "src" || q.Arch == "src" {
		return false
	}
	return q.Name == p.Name && (q.Arch == p.Arch || q.Arch == "noarch" || p.Arch == "noarch") && q.EVR.Compare(p.EVR) > 0
}

// obsoletes says whether q obsoletes p. Only names count, never what p provides, and a package does not obsolete its own name.
func obsoletes(q, p *Package) bool {
	return q.Name != p.Name && q.Arch != "src" && p.Arch != "src" && slices.ContainsFunc(q.Obsoletes, func(d Dependency) bool {
		return d.Name == p.Name && overlap(Dependency{Name: p.Name, Flags: "EQ", EVR: p.EVR}, d)
	})
}

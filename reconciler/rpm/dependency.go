package rpm

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Bits of a dependency's flags in a header.
const (
	sensePrerequisite = 1 << 6
	senseScriptPre    = 1 << 9
	senseScriptPost   = 1 << 10
	senseMissingOK    = 1 << 19
	senseStrong       = 1 << 27
)

// maxDependency bounds the name and the version of a dependency: a rich one is a whole expression.
const maxDependency = 16 << 10

// tooLong says which dependency is longer than any that somebody would write.
func tooLong(name, version string) error {
	if len(name)+len(version) > maxDependency {
		return fmt.Errorf("dependency %.80q takes more than %d bytes", name, maxDependency)
	}
	return nil
}

// stated is a dependency as a header states it.
type stated struct {
	name, version string
	bits          uint64
}

func (s stated) flags() Flags { return flagsOf(s.bits) }

// key is equal for those that say the same.
func (s stated) key() string { return s.name + string(s.flags()) + s.version }

func (s stated) pre() bool { return s.bits&(sensePrerequisite|senseScriptPre|senseScriptPost) != 0 }

// dependency is nothing if the epoch is no number: no client can compare that.
func (s stated) dependency() (Dependency, bool) {
	evr, err := ParseEVR(s.version)
	return Dependency{Name: s.name, Flags: s.flags(), EVR: evr}, err == nil
}

// dependencies reads all kinds of them.
func (h header) dependencies(p *Package) error {
	var all [10][]stated
	var errs []error
	for i, tags := range [10][3]uint32{
		{1047, 1112, 1113},                                                             // provides: names, flags, versions
		{1049, 1048, 1050},                                                             // requires
		{1054, 1053, 1055},                                                             // conflicts
		{1090, 1114, 1115},                                                             // obsoletes
		{5049, 5051, 5050}, {5055, 5057, 5056}, {5046, 5048, 5047}, {5052, 5054, 5053}, // suggests, enhances, recommends, supplements
		{1156, 1158, 1157}, {1159, 1161, 1160}, // suggests and enhances of old distributions
	} {
		list, err := h.stated(tags[0], tags[1], tags[2])
		all[i], errs = list, append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	p.Provides = known(all[0])
	p.require(all[1], all[0])
	p.Conflicts, p.Obsoletes = known(all[2]), known(all[3])
	p.Suggests, p.Enhances = known(all[4]), known(all[5])
	p.Recommends, p.Supplements = append(p.Recommends, known(all[6])...), known(all[7])
	old := func(list []stated, strong, weak *[]Dependency) {
		for _, s := range list {
			if d, ok := s.dependency(); ok && s.bits&senseStrong != 0 {
				*strong = append(*strong, d)
			} else if ok {
				*weak = append(*weak, d)
			}
		}
	}
	old(all[8], &p.Recommends, &p.Suggests)
	old(all[9], &p.Supplements, &p.Enhances)
	return nil
}

func (h header) stated(names, flags, versions uint32) ([]stated, error) {
	n, err1 := h.strings(names)
	f, err2 := h.numbers(flags)
	v, err3 := h.strings(versions)
	if err := errors.Join(err1, err2, err3); err != nil || f == nil || v == nil {
		return nil, err
	}
	if len(n) != len(f) || len(n) != len(v) {
		return nil, fmt.Errorf("%d names, %d flags, %d versions", len(n), len(f), len(v))
	}
	list := make([]stated, len(n))
	for i := range n {
		if err := tooLong(n[i], v[i]); err != nil {
			return nil, err
		}
		list[i] = stated{n[i], v[i], f[i]}
	}
	return list, nil
}

func known(list []stated) []Dependency {
	if len(list) == 0 {
		return nil
	}
	all := make([]Dependency, 0, len(list))
	for _, s := range list {
		if d, ok := s.dependency(); ok {
			all = append(all, d)
		}
	}
	return all
}

// require keeps the requirements that repodata tells: not what rpm itself or the package provides, nothing twice, of libc.so.6 the
// newest version alone. What may be missing is recommended.
func (p *Package) require(list, provides []stated) {
	if len(list) == 0 {
		return
	}
	// Few packages need either; a hostile one must not ask for time beyond its size.
	provided := sync.OnceValue(func() map[string]bool {
		keys := map[string]bool{}
		for _, q := range provides {
			keys[q.key()] = true
		}
		return keys
	})
	brought := sync.OnceValue(func() map[string]bool {
		paths := map[string]bool{}
		for _, f := range p.Files {
			paths[f.Path] = true
		}
		return paths
	})
	own := map[string]bool{}
	for _, q := range provides {
		own[q.name] = true
	}
	seen := map[string]stated{}
	var libc *Dependency
	for _, s := range list {
		if strings.HasPrefix(s.name, "rpmlib(") || primary(s.name) && brought()[s.name] || own[s.name] && provided()[s.key()] {
			continue
		}
		if before, ok := seen[s.name]; ok && before.key() == s.key() && before.pre() == s.pre() {
			continue
		}
		d, ok := s.dependency()
		switch d.Pre = s.pre(); {
		case !ok:
		case s.bits&senseMissingOK != 0:
			d.Pre = false
			p.Recommends = append(p.Recommends, d)
		case strings.HasPrefix(s.name, "libc.so.6"):
			if libc == nil || newerSymbols(libc.Name, d.Name) {
				libc = &d
			}
		default:
			p.Requires = append(p.Requires, d)
			seen[s.name] = s
		}
	}
	if libc != nil {
		p.Requires = append(p.Requires, *libc)
	}
}

// primary says which paths primary.xml tells, so that they can be required without filelists.xml.
func primary(path string) bool {
	return strings.HasPrefix(path, "/etc/") || strings.Contains(path, "bin/") || path == "/usr/lib/sendmail"
}

// newerSymbols says whether name asks for a newer version than than: libc.so.6 < libc.so.6(GLIBC_2.3.4)(64bit) < libc.so.6(GLIBC_2.4).
func newerSymbols(than, name string) bool {
	v1, ok1 := symbols(than)
	v2, ok2 := symbols(name)
	return ok2 && (!ok1 || compareVersions(v1, v2) < 0)
}

// symbols is the version between a library's first parentheses, from its first digit on.
func symbols(name string) (string, bool) {
	_, rest, _ := strings.Cut(name, "(")
	inner, _, ok := strings.Cut(rest, ")")
	i := strings.IndexFunc(inner, isDigit)
	if !ok || i < 0 {
		return "", false
	}
	return inner[i:], true
}

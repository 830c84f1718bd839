package desired

import (
	"cmp"
	"fmt"
	"path"
	"slices"
)

// place is a path of a FEC that belongs to one entry of the site.
type place struct {
	path          string
	section, name string
	folder        string // of the repository that is unpacked there, if any
}

// places checks that the paths of a FEC do not lie in each other: a payload that is unpacked into another's folder may
// replace its files, and a new release would take persistent data away with the old one's folder.
//
// One thing may lie in another: configuration strictly below software, as instance files beside their binary, as long
// as the software's folder has nothing at that path itself.
func (c *checker) places(fec string, f FEC, parts []part) {
	places, around := c.placed[:0], c.around[:0]
	for _, p := range parts {
		places = append(places, place{p.payload.Install, p.section, p.name, p.payload.Folder})
	}
	for _, name := range sortedKeys(f.Persistence) {
		p := f.Persistence[name]
		c.allowed(p.Path, func() string { return CUEPath("fecs", fec, "persistence", name, "path") })
		places = append(places, place{path: p.Path, section: "persistence", name: name})
	}
	// A folder comes directly before what lies in it, and software before the rest at one path.
	slices.SortStableFunc(places, func(a, b place) int { return comparePaths(a.path, b.path) })
	for _, p := range places {
		for len(around) > 0 && p.path != around[len(around)-1].path && !within(p.path, around[len(around)-1].path) {
			around = around[:len(around)-1]
		}
		if len(around) > 0 {
			c.inside(fec, p, around[len(around)-1])
		}
		around = append(around, p)
	}
	c.placed, c.around = places, around
}

func (c *checker) inside(fec string, p, outer place) {
	at := CUEPath("fecs", fec, p.section, p.name)
	if p.path == outer.path {
		c.problem(at, fmt.Sprintf("%s and %s are both at %s", p, outer, p.path), "give each a path of its own")
		return
	}
	advice := "choose paths that do not lie in each other"
	if p.section == "configuration" && outer.section == "software" {
		source := outer.folder + p.path[len(outer.path):]
		if outer.folder == "" || !c.occupied(source) {
			return
		}
		advice = fmt.Sprintf("choose a path below it that %s itself leaves free", outer.folder)
	}
	c.problem(at, fmt.Sprintf("%s at %s lies in %s at %s", p, p.path, outer, outer.path), advice)
}

// occupied says whether a path of the repository exists or lies below a file.
func (c *checker) occupied(source string) bool {
	for dir := path.Dir(source); dir != "."; dir = path.Dir(dir) {
		if _, isFile := c.files.Find(dir); isFile {
			return true
		}
	}
	return c.exists(source)
}

// String names the place for people.
func (p place) String() string { return p.section + " " + p.name }

// comparePaths is the order of paths part by part: a folder, then what lies in it, then its neighbours.
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == b[i]:
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		default:
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b))
}

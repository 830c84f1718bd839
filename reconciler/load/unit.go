package load

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/wire"
	"github.com/pomona-gitops/pomona/schema"
)

// unit is one folder with files of package site.
type unit struct {
	dir      string             // "." for the root
	files    map[string]*source // everything that its evaluation sees, by path, without the module file
	key      string             // names everything that its value depends on
	fragment *fragment          // nil until it is evaluated, and when a limit forbids that
}

// first is the unit's first own file, for problems of the unit as a whole.
func (u *unit) first() string {
	first := ""
	for p := range u.files {
		if path.Dir(p) == u.dir && strings.HasSuffix(p, ".cue") && (first == "" || p < first) {
			first = p
		}
	}
	return first
}

// size is how many bytes the files in the unit's own folder have.
func (u *unit) size() (n int64) {
	for p, s := range u.files {
		if path.Dir(p) == u.dir {
			n += s.Size
		}
	}
	return n
}

// problem is one of the unit as a whole.
func (u *unit) problem(text, advice string) desired.Problems {
	return desired.Problems{{File: u.first(), Line: 1, Column: 1, Text: text, Advice: advice}}
}

// within says whether u sees all own files of v, since it lies in the same folder or below.
func (u *unit) within(v *unit) bool {
	return v.dir == "." || u.dir == v.dir || strings.HasPrefix(u.dir, v.dir+"/")
}

// units are the units of a commit, parents first. A unit that exceeds a limit has no key and is not evaluated.
func (c *commit) units() (all []*unit) {
	for _, dir := range slices.Sorted(maps.Keys(c.folders)) {
		if !slices.ContainsFunc(c.folders[dir], func(s *source) bool { return s.Package == wire.Package }) {
			continue
		}
		u := &unit{dir: dir, files: map[string]*source{}}
		c.collect(u, dir, wire.Package, map[string]bool{})
		all = append(all, u)
		if p, ok := oversize(u); ok {
			u.fragment = &fragment{failed: true, killed: true, problems: p}
			continue
		}
		u.key = c.keyOf(u)
	}
	slices.SortStableFunc(all, func(a, b *unit) int { return depth(a.dir) - depth(b.dir) })
	return all
}

func depth(dir string) int {
	if dir == "." {
		return 0
	}
	return 1 + strings.Count(dir, "/")
}

// oversize says whether a unit must not be evaluated. A file that is too large has a problem of its own already.
func oversize(u *unit) (desired.Problems, bool) {
	if len(u.files) > maxFiles {
		return u.problem(fmt.Sprintf("evaluation would read %d files, more than %d", len(u.files), maxFiles), "split the folder"), true
	}
	for _, s := range u.files {
		if s.Size > maxFile {
			return nil, true
		}
	}
	return nil, false
}

// collect adds to u the files of a package: those of its folder and of the folders above, and of what they import.
func (c *commit) collect(u *unit, dir, pkg string, visited map[string]bool) {
	if visited[dir+":"+pkg] {
		return
	}
	visited[dir+":"+pkg] = true
	for at := dir; ; at = path.Dir(at) {
		for _, s := range c.folders[at] {
			u.files[s.Path] = s
			if s.Package == pkg {
				c.follow(u, s, visited)
			}
		}
		if at == "." {
			return
		}
	}
}

// follow adds what one file imports and may embed.
func (c *commit) follow(u *unit, s *source, visited map[string]bool) {
	for _, imp := range s.Imports {
		if dir, pkg, ok := c.resolve(imp); ok {
			c.collect(u, dir, pkg, visited)
		}
	}
	if !s.Embeds {
		return
	}
	under := path.Dir(s.Path)
	for _, f := range c.src.Files().Under(under) {
		if loadable(f) && f.Size <= maxFile && u.files[f.Path] == nil && f.Path != moduleFile {
			u.files[f.Path] = &source{File: f}
		}
	}
}

// resolve is the folder and the package of an import path of the site's own module.
func (c *commit) resolve(imp string) (dir, pkg string, ok bool) {
	imp, pkg, _ = strings.Cut(imp, ":")
	imp, _, _ = strings.Cut(imp, "@")
	rest, ok := strings.CutPrefix(imp+"/", c.module+"/")
	if pkg == "" {
		pkg = path.Base(imp)
	}
	return path.Clean(rest), pkg, ok
}

// keyOf names everything that a unit's value depends on. A child sees only the unit's files, so nothing else can matter.
func (c *commit) keyOf(u *unit) string {
	module, _ := c.src.Files().Find(moduleFile)
	b := fmt.Appendf(nil, "%s\n%s\n%s\n", schemaDigest(), module.ID, u.dir)
	for _, p := range slices.Sorted(maps.Keys(u.files)) {
		b = append(append(append(append(b, u.files[p].ID...), ' '), p...), '\n')
	}
	return artifact.Sum(b).String()
}

// schemaDigest is the digest of the embedded schema.
var schemaDigest = sync.OnceValue(func() artifact.Digest {
	var all []byte
	// The file system is part of the binary: reading it cannot fail.
	_ = fs.WalkDir(schema.FS, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			b, _ := schema.FS.ReadFile(p)
			all = fmt.Appendf(all, "%s %d\n%s", p, len(b), b)
		}
		return err
	})
	return artifact.Sum(all)
})

package desired

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// payload checks where a payload comes from and where it goes.
func (c *checker) payload(p Payload, at ...any) {
	field := func(names ...any) func() string {
		return func() string { return CUEPath(append(slices.Clone(at), names...)...) }
	}
	c.sources(p, CUEPath(at...))
	c.allowed(p.Install, field("install"))
	if p.Local() && p.Folder != "" {
		c.folder(p.Folder, field("folder"))
	}
	if p.Local() && p.Archive != "" {
		c.file(p.Archive, field("archive"))
	}
	named := field("archive")
	if p.Archive == "" {
		named = field("https", "url")
	}
	c.archiveName(p, named, field("format"))
}

// sources checks that a payload comes from exactly one place.
func (c *checker) sources(p Payload, at string) {
	places := []struct {
		name string
		set  bool
	}{
		{"folder", p.Folder != ""}, {"archive", p.Archive != ""},
		{"https", p.HTTPS != Download{}}, {"blob", p.Blob != Blob{}}, {"oci", p.OCI != Image{}},
	}
	var set []string
	for _, place := range places {
		if place.set {
			set = append(set, place.name)
		}
	}
	fromGit := p.Git != GitCommit{}
	switch {
	case len(set) > 1:
		c.problem(at, "comes from more than one place: "+strings.Join(set, " and "), "keep one of them")
	case fromGit && (len(set) == 0 || set[0] != "folder" && set[0] != "archive"):
		c.problem(at, "names a repository, but nothing in it", "add folder or archive: a path in that repository")
	case len(set) == 0:
		c.problem(at, "comes from nowhere", "set folder or archive, https, blob or oci")
	}
}

// archiveName checks that the name of a finished archive says its format, and that nothing contradicts it.
func (c *checker) archiveName(p Payload, at, formatAt func() string) {
	name := p.named()
	if name == "" {
		return
	}
	f, err := artifact.FormatOf(name)
	switch {
	case err != nil && p.Archive == "" && p.Format != "":
	case err != nil && p.Archive == "":
		c.problem(at(), "the address does not say how the archive is compressed", "add format: gzip, xz or zstd")
	case err != nil:
		c.problem(at(), err.Error(), "rename it, or give its content as a folder")
	case p.Format != "" && p.Format != f:
		c.problem(formatAt(), fmt.Sprintf("%q is a %s archive by its name, not %s", name, f, p.Format), "remove format: the name says it")
	}
}

// oneOf checks that exactly one of two fields is set.
func (c *checker) oneOf(at, first, a, second, b string) {
	switch {
	case a == "" && b == "":
		c.problem(at, fmt.Sprintf("neither %s nor %s is set", first, second), "set one of them")
	case a != "" && b != "":
		c.problem(at, fmt.Sprintf("both %s and %s are set", first, second), "remove one of them")
	}
}

// allowed checks that a path on a FEC lies below one of the site's prefixes.
func (c *checker) allowed(path string, at func() string) {
	prefixes := c.site.Settings.Prefixes()
	if slices.ContainsFunc(prefixes, func(p string) bool { return within(path, p) }) {
		return
	}
	c.problem(at(), fmt.Sprintf("%q does not lie below %s", path, strings.Join(prefixes, " or ")),
		"choose a path below that, or add its first parts to site.installPrefixes")
}

// within says whether path lies strictly below folder dir.
func within(path, dir string) bool {
	return len(path) > len(dir)+1 && path[:len(dir)] == dir && path[len(dir)] == '/'
}

// folder checks a reference to a folder of the repository.
func (c *checker) folder(path string, at func() string) {
	f, isFile := c.files.Find(path)
	switch {
	case isFile:
		c.problem(at(),
			fmt.Sprintf("%q is a %s, not a folder", path, kind(f)), "name the folder that holds what is to be packed")
	case len(c.files.Under(path)) == 0:
		c.problem(at(),
			fmt.Sprintf("this commit has no folder %q, or nothing is in it", path),
			c.nearPath(path, "commit its files"))
	}
}

// file checks a reference to a plain file of the repository.
func (c *checker) file(path string, at func() string) {
	f, isFile := c.files.Find(path)
	switch {
	case isFile && (f.Mode == artifact.Link || f.Mode == artifact.Module):
		c.problem(at(), fmt.Sprintf("%q is a %s, not a file", path, kind(f)), "commit the file itself")
	case isFile:
	case len(c.files.Under(path)) > 0:
		c.problem(at(), fmt.Sprintf("%q is a folder, not a file", path), "name a file in it")
	default:
		c.problem(at(), fmt.Sprintf("this commit has no file %q", path), c.nearPath(path, "commit it"))
	}
}

func kind(f artifact.File) string {
	switch f.Mode {
	case artifact.Link:
		return "symbolic link"
	case artifact.Module:
		return "submodule"
	}
	return "file"
}

// exists says whether a path of the repository is a file or a folder.
func (c *checker) exists(path string) bool {
	_, isFile := c.files.Find(path)
	return isFile || len(c.files.Under(path)) > 0
}

// nearPath is the advice for a path of the repository that does not exist: the path with the first part that does not
// exist replaced by what it was meant to be.
func (c *checker) nearPath(path, otherwise string) string {
	if !c.maySuggest() {
		return otherwise
	}
	parts := strings.Split(path, "/")
	depth := 0
	for depth < len(parts)-1 && c.exists(strings.Join(parts[:depth+1], "/")) {
		depth++
	}
	parent := strings.Join(parts[:depth], "/")
	var near []string
	for _, name := range c.entries(parent) {
		meant := strings.Join(slices.Concat(parts[:depth], []string{name}, parts[depth+1:]), "/")
		if c.exists(meant) {
			near = append(near, meant)
		}
	}
	return didYouMean(path, near, otherwise)
}

// entries are the names in a folder of the repository.
func (c *checker) entries(dir string) (names []string) {
	files := c.files.Under(dir)
	skip := len(dir)
	if dir != "" {
		skip++
	}
	for _, f := range files {
		name, _, _ := strings.Cut(f.Path[skip:], "/")
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return names
}

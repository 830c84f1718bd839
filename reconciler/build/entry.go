package build

import (
	"archive/tar"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Longest names, in bytes: NAME_MAX of Linux, and a quarter of PATH_MAX, which leaves room for the slot before it.
const (
	maxName = 255
	maxPath = 1024
)

// special are the mode bits that give rights away or do nothing: setuid, setgid and sticky.
const special = 0o7000

// kind is what lies at a path of an archive.
type kind uint8

const (
	implied kind = iota + 1 // a folder that unpacking makes because something lies in it
	folder
	file
	link
)

// entries judges the entries of one archive, in order: each must be safe to unpack with a tar that checks nothing.
type entries struct {
	install string // relative, as entries have it; empty when entries lie at the top
	limit   int
	kinds   map[string]kind
	found   Findings
}

func newEntries(l Limits) *entries {
	l = l.orDefaults()
	return &entries{install: strings.TrimPrefix(l.Install, "/"), limit: l.Entries, kinds: map[string]kind{}}
}

// full says whether the archive has more entries, or makes more folders, than a payload has.
func (e *entries) full() bool { return len(e.kinds) > e.limit }

func (e *entries) add(h *tar.Header) {
	if text, advice := badName(h.Name); text != "" {
		e.found.add(shown(h.Name), advice, "%s", text)
		return
	}
	p := path.Clean(h.Name)
	k, what := kindOf(h)
	if what != "" {
		e.found.add(p, "leave it out", "is %s", what)
		return
	}
	e.attributes(p, k, h)
	if p == "." && k == folder {
		return // tar -C DIR . begins with it
	}
	if k != folder && strings.HasSuffix(h.Name, "/") {
		e.found.add(p, "pack it with GNU tar", "is no folder, but its name ends in a slash")
		return
	}
	if !e.place(p, k) {
		return
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		e.symlink(p, h.Linkname)
	case tar.TypeLink:
		e.hardlink(p, h.Linkname)
	}
}

// kindOf is the kind of an entry, or what it is when a payload must not hold it.
func kindOf(h *tar.Header) (kind, string) {
	switch h.Typeflag {
	case tar.TypeReg:
		return file, ""
	case tar.TypeLink:
		return file, ""
	case tar.TypeDir:
		return folder, ""
	case tar.TypeSymlink:
		return link, ""
	case tar.TypeChar, tar.TypeBlock:
		return 0, "a device"
	case tar.TypeFifo:
		return 0, "a fifo"
	case tar.TypeGNUSparse:
		return 0, "a sparse file, which busybox cannot unpack"
	}
	return 0, "of an unknown type"
}

// attributes judges everything that is not about names.
func (e *entries) attributes(p string, k kind, h *tar.Header) {
	if k != link && h.Mode&special != 0 {
		e.found.add(p, "take the setuid, setgid and sticky bits off", "has mode %04o", h.Mode&0o7777)
	}
	if h.Typeflag != tar.TypeReg && h.Size != 0 {
		e.found.add(p, "pack it with GNU tar", "has a size, though it has no content")
	}
	for key := range h.PAXRecords {
		if !harmless[key] {
			e.found.add(p, "pack with tar --format=gnu --no-xattrs", "has a PAX record %q, which busybox ignores", key)
		}
	}
}

// harmless are the PAX records whose loss changes nothing that is unpacked. busybox reads none but path and ignores the
// others, so that it would unpack something else than what is linted here.
var harmless = map[string]bool{"atime": true, "ctime": true, "mtime": true, "comment": true, "uid": true, "gid": true,
	"uname": true, "gname": true, "LIBARCHIVE.creationtime": true}

// place notes what lies at p, or says why it must not lie there.
func (e *entries) place(p string, k kind) bool {
	if !e.belongs(p, k) {
		e.found.add(p, "pack below "+e.install, "lies outside the install location")
		return false
	}
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		switch e.kinds[dir] {
		case 0:
			e.kinds[dir] = implied
		case file, link:
			e.found.add(p, "pack the folder itself", "lies below %q, which is no folder", dir)
			return false
		}
	}
	switch before := e.kinds[p]; {
	case before == implied && k == folder, before == 0:
		e.kinds[p] = k
		return true
	default:
		e.found.add(p, "pack it once", "is there twice")
		return false
	}
}

// belongs says whether an entry may lie at p: below the install location, or a folder on the way to it.
func (e *entries) belongs(p string, k kind) bool {
	if e.install == "" || within(p, e.install) && p != e.install {
		return true
	}
	return k == folder && within(e.install, p)
}

// symlink judges a link's target. ".." may only lead it: behind a name, which may be a link itself, it would not mean
// what it says.
func (e *entries) symlink(p, target string) {
	text, advice := badText(target)
	switch {
	case text != "":
	case path.IsAbs(target):
		text, advice = "is a link to the absolute path "+target, "make the target relative"
		if within(target[1:], e.install) {
			if rel, err := filepath.Rel(path.Dir("/"+p), path.Clean(target)); err == nil {
				advice += ": " + rel
			}
		}
	case strings.Contains(strings.TrimLeft(target, "./")+"/", "/../"):
		text, advice = "is a link to "+target+", which goes up after it went down", "write the target without detours"
	case !within(path.Join(path.Dir(p), target), e.install):
		text, advice = "is a link to "+target+", which leads out of the install location", "pack what it needs, too"
	}
	if text != "" {
		e.found.add(p, advice, "%s", text)
	}
}

func (e *entries) hardlink(p, target string) {
	if text, _ := badName(target); text != "" || e.kinds[path.Clean(target)] != file || path.Clean(target) == p {
		e.found.add(p, "pack the file itself", "is a hard link to %q, which is no file before it", shown(target))
	}
}

// within says whether p is dir or lies below it; both are clean and relative.
func within(p, dir string) bool {
	if dir == "" {
		return p != ".." && !strings.HasPrefix(p, "../")
	}
	return p == dir || strings.HasPrefix(p, dir+"/")
}

// badName says why an entry must not have a name.
func badName(name string) (text, advice string) {
	if text, advice = badText(name); text != "" {
		return text, advice
	}
	if path.IsAbs(name) {
		return "has an absolute name", "pack with names relative to the root"
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "has a name with ..", "pack with names relative to the root"
		}
		if len(part) > maxName {
			return "has a name part of more than 255 bytes", "shorten it"
		}
	}
	return "", ""
}

// badText says why neither a name nor a target may be s.
func badText(s string) (text, advice string) {
	switch {
	case s == "":
		return "has an empty name or target", ""
	case len(s) > maxPath:
		return "has a name or target of more than 1024 bytes", "shorten it"
	case !utf8.ValidString(s):
		return "has a name or target that is not UTF-8", "rename it"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "has a name or target with control characters", "rename it"
	}
	return "", ""
}

// shown is a name cut to what people can read.
func shown(name string) string {
	if len(name) > maxName {
		return name[:maxName] + "…"
	}
	return name
}

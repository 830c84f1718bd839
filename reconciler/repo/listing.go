package repo

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// Limits of a site repository's commit. A real site stays far below; what exceeds them is a mistake or an attack.
const (
	maxEntries = 1_000_000 // files and folders
	maxDepth   = 64        // folders
	maxPath    = 4096      // bytes
	maxName    = 255       // bytes of one part of a path, as file systems have it
	maxTree    = 64 << 20  // bytes of one folder's tree object
)

// listing is what was found so far, within limits.
type listing struct {
	files   artifact.Files
	entries int
}

func (l *listing) count(n int) error {
	if l.entries += n; l.entries > maxEntries {
		return malformed("remove some", "more than %d files and folders", maxEntries)
	}
	return nil
}

// enter counts a file or a folder before anything else is done with it.
func (l *listing) enter(path string) error {
	if err := l.count(1); err != nil {
		return err
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case len(name) > maxName:
		return malformed("rename it", "name of %d bytes, more than %d: %q…", len(name), maxName, name[:80])
	case len(path) > maxPath:
		return malformed("rename it", "path of %d bytes, more than %d: %q…", len(path), maxPath, path[:80])
	case strings.Count(path, "/") > maxDepth:
		return malformed("move it", "%.80q… lies deeper than %d folders", path, maxDepth)
	}
	if what := badName(name); what != "" {
		return malformed("rename it", "malformed name %q: %s", path, what)
	}
	return nil
}

// malformed is the error for a commit or a folder that holds what none may: a person must change it, and no other try helps.
func malformed(advice, format string, args ...any) error {
	return &remote.Wrong{Field: "commit", Text: fmt.Sprintf(format, args...), Advice: advice}
}

// badName says what is wrong with a name that git itself would never write, but that a crafted tree may hold, or that no
// line of text can show.
func badName(name string) string {
	switch {
	case name == "" || name == "." || name == "..":
		return "it would lead elsewhere"
	case isDotGit(name):
		return "some system takes it for .git"
	case !utf8.ValidString(name):
		return "it is not UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "it has control characters"
	}
	return ""
}

// isDotGit says whether a work tree of some system would take a name for .git, as git itself judges: NTFS ignores case,
// what follows a colon, and dots and spaces at the end, and knows .git as git~1 too; HFS+ ignores some characters.
func isDotGit(name string) bool {
	name = strings.Map(func(r rune) rune {
		if ignoredByHFS(r) {
			return -1
		}
		return r
	}, name)
	for part := range strings.SplitSeq(name, `\`) {
		part, _, _ = strings.Cut(part, ":")
		part = strings.TrimRight(part, ". ")
		if strings.EqualFold(part, ".git") || strings.EqualFold(part, "git~1") {
			return true
		}
	}
	return false
}

// ignoredByHFS has the characters of git's next_hfs_char (utf8.c).
func ignoredByHFS(r rune) bool {
	return r >= 0x200c && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x206a && r <= 0x206f || r == 0xfeff
}

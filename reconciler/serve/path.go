package serve

import (
	"net/url"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// locate is where below the root the thing at a URL lies. It is false for what is never served, whatever is on disk:
// parts that start with a dot, empty parts, and every way to spell a slash but a slash.
func locate(u *url.URL) (name string, ok bool) {
	path, ok := strings.CutPrefix(u.Path, "/")
	if !ok || strings.ContainsAny(path, "\\\x00") || hidesSlash(u.RawPath) {
		return "", false
	}
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return tree.CurrentLink, u.Path == "/"
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part[0] == '.' {
			return "", false
		}
	}
	switch top, _, _ := strings.Cut(path, "/"); top {
	case store.Folder, tree.CommitsFolder, tree.DataFolder, tree.PreviewsFolder:
		return path, true
	}
	return tree.CurrentLink + "/" + path, true
}

// hidesSlash finds %2F, which decoding has turned into a slash that was no separator.
func hidesSlash(raw string) bool {
	return strings.Contains(raw, "%2f") || strings.Contains(raw, "%2F")
}

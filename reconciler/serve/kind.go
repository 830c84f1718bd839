package serve

import (
	"path"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const (
	plainText = "text/plain; charset=utf-8"
	anyBytes  = "application/octet-stream"
)

// kinds are content types by the end of a name. HTML and everything else that a browser runs is left out on purpose:
// payloads come from a repository, and their pages would run beside Pomona's own.
var kinds = map[string]string{
	".json": "application/json",
	".xml":  "application/xml",
	".gz":   "application/gzip",
	".tgz":  "application/gzip",
	".xz":   "application/x-xz",
	".zst":  "application/zstd",
	".rpm":  "application/x-rpm",

	".asc":        plainText,
	".cfg":        plainText,
	".conf":       plainText,
	".ldif":       plainText,
	".manifest":   plainText,
	".md":         plainText,
	".mirrorlist": plainText,
	".repo":       plainText,
	".sh":         plainText,
	".sha256":     plainText,
	".sig":        plainText,
	".txt":        plainText,
	".yaml":       plainText,
}

// contentType is a file's type by its URL. Scripts have no extension; they are known by their folder.
func contentType(url string) string {
	name := url[1:]
	if strings.HasPrefix(name, store.Folder+"/") {
		return anyBytes
	}
	if t, ok := kinds[strings.ToLower(path.Ext(name))]; ok {
		return t
	}
	if isText(withinTree(name)) {
		return plainText
	}
	return anyBytes
}

// isText says whether a file without a known extension is a script of a FEC or the index of a tree.
func isText(name string) bool {
	if name == tree.IndexFile {
		return true
	}
	below, ok := strings.CutPrefix(name, "fecs/")
	if !ok {
		return false
	}
	fec, rest, _ := strings.Cut(below, "/")
	return fec == "global" || strings.HasPrefix(rest, "init/")
}

// withinTree cuts off by-commit/SHA/ or previews/N/.
func withinTree(name string) string {
	top, rest, _ := strings.Cut(name, "/")
	if top == tree.CommitsFolder || top == tree.PreviewsFolder {
		_, rest, _ = strings.Cut(rest, "/")
		return rest
	}
	return name
}

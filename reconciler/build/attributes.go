package build

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

const attributesFile = ".gitattributes"

// Limits of what is only a help: bytes of one .gitattributes file, and rules that are held against all packed files.
const (
	maxAttributes = 256 << 10
	maxRules      = 200
)

// attributes warns of rules that make git change packed files at checkout. Pomona makes no checkout: it packs what is
// committed, which is then not what engineers have on their disks.
func attributes(ctx context.Context, src artifact.Source, cs []lintCase) (desired.Problems, error) {
	var ps desired.Problems
	rules := 0
	for _, f := range src.Files() {
		if path.Base(f.Path) != attributesFile || f.Mode == artifact.Link || f.Mode == artifact.Module || f.Size > maxAttributes {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var b []byte
		err := reading(src, f, func(r io.Reader) (err error) {
			b, err = io.ReadAll(io.LimitReader(r, maxAttributes))
			return err
		})
		if err != nil {
			return nil, err
		}
		dir := strings.TrimSuffix(strings.TrimSuffix(f.Path, attributesFile), "/")
		n := 0
		for line := range strings.Lines(string(b)) {
			n++
			pattern, attribute := changing(line)
			if attribute == "" {
				continue
			}
			if rules++; rules > maxRules {
				return ps, nil
			}
			if packed := match(src.Files(), cs, dir, pattern); packed != "" {
				ps = append(ps, desired.Problem{
					File: f.Path, Line: n, Column: 1, Warning: true,
					Text:   fmt.Sprintf("%s makes git change %s at checkout, but Pomona packs it as it is committed", attribute, packed),
					Advice: "commit the file as the FEC needs it, or take the attribute away",
				})
			}
		}
	}
	return ps, nil
}

// changing is the pattern of a rule and its attribute that changes content, if it has one. LF for line ends changes
// nothing that is committed so.
func changing(line string) (pattern, attribute string) {
	words := strings.Fields(line)
	if len(words) < 2 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], "[attr]") {
		return "", ""
	}
	for _, w := range words[1:] {
		if w == "ident" || w == "eol=crlf" || strings.HasPrefix(w, "filter=") || strings.HasPrefix(w, "working-tree-encoding=") {
			return words[0], w
		}
	}
	return "", ""
}

// match is the first packed file below dir that a pattern means; a pattern with ** means everything behind what stands
// before it.
func match(files artifact.Files, cs []lintCase, dir, pattern string) string {
	for _, c := range cs {
		packed := files.Under(c.payload.Folder)
		if c.payload.Folder == "" {
			packed = nil
			for _, name := range []string{c.payload.Archive, c.file} {
				if f, ok := files.Find(name); ok {
					packed = append(packed, f)
				}
			}
		}
		for _, f := range packed {
			if rel, ok := strings.CutPrefix(f.Path, dir); ok && means(pattern, strings.TrimPrefix(rel, "/")) {
				return f.Path
			}
		}
	}
	return ""
}

// means says whether a pattern of .gitattributes matches a path. One that is malformed matches nothing.
func means(pattern, p string) bool {
	if before, _, ok := strings.Cut(pattern, "**"); ok {
		return strings.HasPrefix(p, strings.TrimPrefix(before, "/"))
	}
	if !strings.Contains(pattern, "/") {
		p = path.Base(p)
	}
	ok, err := path.Match(strings.TrimPrefix(pattern, "/"), p)
	return ok && err == nil
}

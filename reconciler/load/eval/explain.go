package eval

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// maxProblems is how many problems one unit reports.
const maxProblems = 200

// explainer turns errors of CUE into sentences with places in the site's own files.
type explainer struct {
	batch *batch
	unit  int
	index func() index
	raw   cue.Value // the unit without the schema
}

// findings are problems in the order in which they were found, with the paths that they explain.
type findings struct {
	problems desired.Problems
	paths    map[string]bool
}

func (f *findings) add(p desired.Problem) {
	if f.paths == nil {
		f.paths = map[string]bool{}
	}
	f.paths[p.Path] = true
	f.problems = append(f.problems, p)
}

// explained says whether a path or a parent of it already has a problem.
func (f *findings) explained(path string) bool {
	for p := range f.paths {
		rest, ok := strings.CutPrefix(path, p)
		if ok && p != "" && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

func (f *findings) with(ps desired.Problems) desired.Problems {
	all := append(f.problems, ps...).Sorted()
	return all[:min(len(all), maxProblems)]
}

// judge finds everything that is wrong with a unit: what its errors say, and the unknown and missing fields that CUE
// does not report while other errors stand.
func (x *explainer) judge(v cue.Value, errs []errors.Error) *findings {
	f := &findings{}
	later := map[string][]errors.Error{}
	for _, g := range grouped(errs) {
		switch format, _ := g[0].Msg(); format {
		case "field not allowed", "field is required but not present":
			later[errorPath(g[0])] = g
		default:
			f.add(x.group(g))
		}
	}
	x.walker(f).walk(x.batch.site, v, "")
	for _, path := range slices.Sorted(maps.Keys(later)) { // parents first
		if !f.explained(path) {
			f.add(x.group(later[path]))
		}
	}
	return f
}

// explain rewrites errors alone, for a unit without a value.
func (x *explainer) explain(errs []errors.Error) desired.Problems {
	f := &findings{}
	for _, g := range grouped(errs) {
		f.add(x.group(g))
	}
	return f.with(nil)
}

// grouped collects errors by path, in the order of their first ones; errors without a path stand alone.
func grouped(errs []errors.Error) (groups [][]errors.Error) {
	at := map[string]int{}
	for _, e := range errs {
		path := errorPath(e)
		i, known := at[path]
		if !known || path == "" {
			at[path] = len(groups)
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], e)
	}
	return groups
}

// group explains the errors of one path by the most telling one.
func (x *explainer) group(g []errors.Error) desired.Problem {
	if p, ok := x.enum(g); ok {
		return p
	}
	e := g[0]
	format, args := e.Msg()
	switch {
	case format == "conflicting values %s and %s" && len(places(e)) > 1:
		return x.twice(e, args)
	case format == "conflicting values %s and %s (mismatched types %s and %s)":
		return x.mistyped(e, args)
	case format == "invalid value %v (out of bound %s)", format == "invalid value %s (does not satisfy %s)":
		return x.refused(e, args)
	case format == "incompatible list lengths (%d and %d)":
		return x.length(e, args)
	case format == "incomplete value %v":
		return x.at(e, "has no concrete value", "give it one")
	case format == "reference %q not found":
		return x.at(e, fmt.Sprintf("unknown reference %q", args...), "a text stands in quotes")
	case format == "import failed":
		return x.imported(e)
	}
	return x.at(e, clip(fmt.Sprintf(format, args...)), "")
}

// imported explains a failed import by its cause, without what CUE wraps around it at every step.
func (x *explainer) imported(e errors.Error) desired.Problem {
	text := e.Error()
	if i := strings.LastIndex(text, "import failed: "); i >= 0 {
		text = text[i+len("import failed: "):]
	}
	if i := strings.Index(text, "cannot find package"); i >= 0 {
		text, _, _ = strings.Cut(text[i:], ": ")
		return x.at(e, clip(text), "a site imports packages of its own repository, of the schema and of CUE")
	}
	return x.at(e, clip(text), "")
}

// at is a problem at an error's first place in the site, or that of its path.
func (x *explainer) at(e errors.Error, text, advice string) desired.Problem {
	p := desired.Problem{Path: errorPath(e), Text: text, Advice: advice}
	if own := places(e); len(own) > 0 {
		return put(p, position(own[0]))
	}
	return x.place(p)
}

// place puts a problem where its path comes from.
func (x *explainer) place(p desired.Problem) desired.Problem {
	pos := locate(x.index(), x.raw, p.Path)
	if pos.File == "" {
		pos = wire.Position{File: x.batch.firstFile(x.unit), Line: 1, Column: 1}
	}
	return put(p, pos)
}

func put(p desired.Problem, pos wire.Position) desired.Problem {
	p.File, p.Line, p.Column = pos.File, pos.Line, pos.Column
	return p
}

// places are an error's places in files of the site, each once.
func places(e errors.Error) (own []token.Pos) {
	for _, p := range append([]token.Pos{e.Position()}, e.InputPositions()...) {
		if mine(p) && !slices.ContainsFunc(own, func(q token.Pos) bool { return position(q) == position(p) }) {
			own = append(own, p)
		}
	}
	return own
}

// clip shortens what came out of the evaluator.
func clip(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

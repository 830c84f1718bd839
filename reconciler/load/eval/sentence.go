package eval

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// enum explains a value that is none of some words: CUE counts the errors, then says for each word that it conflicts with
// the value. The order of both sides differs, but not the value.
func (x *explainer) enum(g []errors.Error) (desired.Problem, bool) {
	if format, _ := g[0].Msg(); format != "%d errors in empty disjunction:" {
		return desired.Problem{}, false
	}
	var pairs [][2]string
	var last errors.Error
	for _, e := range g[1:] {
		if format, args := e.Msg(); strings.HasPrefix(format, "conflicting values %s and %s") && len(e.InputPositions()) > 1 {
			pairs = append(pairs, [2]string{fmt.Sprint(args[0]), fmt.Sprint(args[1])})
			last = e
		}
	}
	if len(pairs) < 2 {
		return desired.Problem{}, false
	}
	side := 0
	if first := pairs[0][0]; first != pairs[1][0] && first != pairs[1][1] {
		side = 1
	}
	value := pairs[0][side]
	var words []string
	for _, p := range pairs {
		for _, w := range p {
			if w = strings.Trim(w, `"`); w != strings.Trim(value, `"`) && !slices.Contains(words, w) {
				words = append(words, w)
			}
		}
	}
	slices.Sort(words)
	p := desired.Problem{Path: errorPath(last), Text: clip(value) + " is not one of " + strings.Join(words, ", ")}
	if s := desired.Suggest(strings.Trim(value, `"`), words); s != "" {
		p.Advice = fmt.Sprintf("did you mean %q?", s)
	} else if i := slices.IndexFunc(last.InputPositions(), func(at token.Pos) bool { return !mine(at) }); i >= 0 {
		if d, ok := definitionAt(last.InputPositions()[i]); ok && d.scalar {
			p.Advice = d.advice()
		}
	}
	for i, arg := range pairs[len(pairs)-1] {
		if pos := last.InputPositions()[i]; arg == value && mine(pos) {
			return put(p, position(pos)), true
		}
	}
	return x.place(p), true
}

func fromSchema(e errors.Error) bool {
	return slices.ContainsFunc(e.InputPositions(), func(p token.Pos) bool { return strings.HasPrefix(p.Filename(), schemaName) })
}

// twice explains two values for one field; the later place in the unit's own folder is the one to look at.
func (x *explainer) twice(e errors.Error, args []any) desired.Problem {
	own := places(e)[:2]
	a, b := args[0], args[1]
	if x.rank(own[0]) < x.rank(own[1]) || x.rank(own[0]) == x.rank(own[1]) && own[0].Compare(own[1]) < 0 {
		own[0], own[1], a, b = own[1], own[0], b, a
	}
	p := desired.Problem{Path: errorPath(e), Advice: "keep one of them",
		Text: fmt.Sprintf("set twice: %s here and %s at %s", clip(fmt.Sprint(a)), clip(fmt.Sprint(b)), position(own[1]))}
	return put(p, position(own[0]))
}

// rank is higher for the unit's own files than for its ancestors' and imports'.
func (x *explainer) rank(p token.Pos) int {
	dir := x.batch.Units[x.unit].Dir
	if dir == "." && !strings.Contains(p.Filename(), "/") || strings.HasPrefix(p.Filename(), dir+"/") {
		return 1
	}
	return 0
}

// mistyped explains a value of the wrong type.
func (x *explainer) mistyped(e errors.Error, args []any) desired.Problem {
	if len(places(e)) > 1 && !fromSchema(e) {
		return x.twice(e, args)
	}
	// One side is the schema's: the one whose place comes second, since the site's is the first place of its own.
	got, want := args[0], args[3]
	if ps := e.InputPositions(); len(ps) > 0 && !mine(ps[0]) {
		got, want = args[1], args[2]
	}
	words := map[string]string{"bool": "true or false", "int": "a whole number"}
	return x.at(e, fmt.Sprintf("want %s, got %s", cmp.Or(words[fmt.Sprint(want)], "a "+fmt.Sprint(want)), clip(fmt.Sprint(got))), "")
}

// refused explains a value that a bound or a validator does not accept.
func (x *explainer) refused(e errors.Error, args []any) desired.Problem {
	value, bound := clip(fmt.Sprint(args[0])), fmt.Sprint(args[1])
	if mine(e.Position()) {
		own := places(e)
		p := x.at(e, fmt.Sprintf("%s does not satisfy %s at %s", value, clip(bound), position(e.Position())), "")
		return put(p, position(own[len(own)-1]))
	}
	d, ok := definitionAt(e.Position())
	switch {
	case ok && d.scalar:
		return x.at(e, fmt.Sprintf("malformed %s %s", d.noun(), value), d.advice())
	case bound == `!=""`:
		return x.at(e, "must not be empty", "")
	}
	for sign, words := range map[string]string{">=": "at least ", "<=": "at most "} {
		if limit, ok := strings.CutPrefix(bound, sign); ok {
			return x.at(e, value+" is out of range", "want "+words+limit)
		}
	}
	return x.at(e, fmt.Sprintf("%s does not satisfy %s", value, clip(bound)), "")
}

// length explains a list with too few or too many elements.
func (x *explainer) length(e errors.Error, args []any) desired.Problem {
	if slices.Contains(args, any(0)) {
		return x.at(e, "the list must not be empty", "")
	}
	return x.at(e, "the list has the wrong number of elements", "")
}

// walker reports unknown and missing fields into f, except where something else already explains them.
func (x *explainer) walker(f *findings) walker {
	add := func(p desired.Problem) {
		if f.explained(p.Path) {
			return
		}
		at := x.place(p)
		if s, ok := x.index()[p.Path]; ok {
			at = put(at, position(s.label)) // it is the name that is wrong
		}
		f.add(at)
	}
	return walker{
		ctx: x.batch.ctx,
		unknown: func(path, name string, s shape) {
			advice := "known here: " + strings.Join(s.names(), ", ")
			if near := desired.Suggest(name, s.names()); near != "" {
				advice = fmt.Sprintf("did you mean %q?", near)
			}
			add(desired.Problem{Path: path, Text: fmt.Sprintf("unknown field %q", name), Advice: advice})
		},
		malformed: func(path, name string, p cue.Value) {
			d, _ := definitionAt(p.Pos())
			if words := wordsOf(p); len(words) > 0 {
				said := desired.Problem{Path: path, Text: fmt.Sprintf("%q is no %s", name, d.noun()), Advice: "use one of " + strings.Join(words, ", ")}
				if near := desired.Suggest(name, words); near != "" {
					said.Advice = fmt.Sprintf("did you mean %q?", near)
				}
				add(said)
				return
			}
			add(desired.Problem{Path: path, Text: fmt.Sprintf("malformed %s %q", d.noun(), name), Advice: d.advice()})
		},
		missing: func(path, name string, field cue.Value) {
			advice := "add " + name
			for _, doc := range fieldDocs(field) {
				advice += ": " + doc
			}
			add(desired.Problem{Path: path, Text: "required field is missing", Advice: advice})
		},
	}
}

// wordsOf are the words that a value of the schema is one of; none: it is something else.
func wordsOf(v cue.Value) (words []string) {
	op, args := v.Eval().Expr()
	if op != cue.OrOp {
		return nil
	}
	for _, arg := range args {
		word, err := arg.String()
		if err != nil {
			return nil
		}
		words = append(words, word)
	}
	return words
}

// fieldDocs is the comment of a field of the schema, none or one.
func fieldDocs(field cue.Value) []string {
	if f, ok := field.Source().(*ast.Field); ok && comment(f) != "" {
		return []string{comment(f)}
	}
	return nil
}

// loading explains why a unit's files do not load: syntax, imports, package clauses.
func (x *explainer) loading(err errors.Error) desired.Problems {
	ps := x.explain(errors.Errors(err))
	for i := range ps {
		ps[i].Path = ""
	}
	return ps
}

// moduleProblems explains why cue.mod/module.cue does not load.
func moduleProblems(err error) (ps desired.Problems) {
	for _, e := range errors.Errors(err) {
		p := desired.Problem{File: moduleFile, Line: 1, Column: 1, Text: clip(e.Error()), Advice: "pomona init writes a fitting one"}
		if strings.Contains(p.Text, "language version") {
			p.Text, p.Advice = "Pomona reads another language version", `write language: version: "v0.17.0"`
		}
		for _, own := range places(e) {
			if pos := position(own); displayName(pos.File) == moduleFile {
				p.Line, p.Column = pos.Line, pos.Column
			}
		}
		ps = append(ps, p)
	}
	return ps
}

package eval

import (
	"cmp"
	"path"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/token"

	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// index says where a unit's files spell a path out. What comes from templates and patterns is not in it.
type index map[string]spot

// spot is where a path is spelt out. value is the place of a text, number or reference, else the label's: nobody looks for
// the opening brace of a long struct.
type spot struct{ label, value token.Pos }

// indexOf prefers the files of the unit's own folder to those above it.
func indexOf(inst *build.Instance) index {
	x := index{}
	for _, own := range []bool{true, false} {
		for _, f := range inst.Files {
			if own == (path.Dir(f.Filename) == cmp.Or(inst.Dir, ".")) {
				x.decls("", f.Decls)
			}
		}
	}
	return x
}

func (x index) decls(at string, decls []ast.Decl) {
	for _, d := range decls {
		switch d := d.(type) {
		case *ast.Field:
			x.field(at, d)
		case *ast.EmbedDecl:
			x.value(at, d.Expr)
		case *ast.Comprehension:
			x.value(at, d.Value)
		}
	}
}

func (x index) field(at string, f *ast.Field) {
	label := f.Label
	if a, ok := label.(*ast.Alias); ok {
		if label, ok = a.Expr.(ast.Label); !ok {
			return
		}
	}
	name, ident, err := ast.LabelName(label)
	if err != nil {
		return // a pattern or an interpolation
	}
	if !ident {
		name = cue.Str(name).String()
	}
	p := join(at, name)
	x.add(p, f.Value, label.Pos())
	x.value(p, f.Value)
}

func (x index) add(at string, v ast.Expr, label token.Pos) {
	if _, known := x[at]; known {
		return
	}
	x[at] = newSpot(label, v)
}

func newSpot(label token.Pos, v ast.Expr) spot {
	switch v.(type) {
	case *ast.BasicLit, *ast.UnaryExpr, *ast.Interpolation, *ast.Ident, *ast.SelectorExpr:
		return spot{label, v.Pos()}
	}
	return spot{label, label}
}

func (x index) value(at string, v ast.Expr) {
	switch v := v.(type) {
	case *ast.StructLit:
		x.decls(at, v.Elts)
	case *ast.BinaryExpr:
		if v.Op == token.AND {
			x.value(at, v.X)
			x.value(at, v.Y)
		}
	case *ast.ParenExpr:
		x.value(at, v.X)
	case *ast.ListLit:
		for i, e := range v.Elts {
			p := at + "[" + strconv.Itoa(i) + "]"
			x.add(p, e, e.Pos())
			x.value(p, e)
		}
	}
}

// locate is where the value of a path comes from, or that of its nearest parent which comes from a file of the site.
func locate(x index, raw cue.Value, path string) wire.Position {
	sels := cue.ParsePath(path).Selectors()
	for n := len(sels); n > 0; n-- {
		p := cue.MakePath(sels[:n]...)
		if s, ok := x[p.String()]; ok {
			return position(s.value)
		}
		v := raw.LookupPath(p)
		if f, ok := v.Source().(*ast.Field); ok && mine(f.Pos()) {
			return position(newSpot(f.Label.Pos(), f.Value).value)
		}
		if v.Exists() && mine(v.Pos()) {
			return position(v.Pos())
		}
	}
	return wire.Position{}
}

// stated is where the value of a path is written down, when the line that locate finds only refers to it.
func stated(x index, raw cue.Value, path string) wire.Position {
	v := raw.LookupPath(cue.ParsePath(path))
	if !v.Exists() {
		return wire.Position{}
	}
	candidates := []token.Pos{cue.Dereference(v).Pos()}
	if v.IncompleteKind()&(cue.StructKind|cue.ListKind) == 0 {
		candidates = append(candidates, v.Pos())
	}
	here := locate(x, raw, path)
	for _, p := range candidates {
		if at := position(p); mine(p) && (at.File != here.File || at.Line != here.Line) {
			return at
		}
	}
	return wire.Position{}
}

// mine says whether a place is in a file of the site.
func mine(p token.Pos) bool {
	return p.IsValid() && p.Filename() != "" && !strings.HasPrefix(p.Filename(), schemaName)
}

func position(p token.Pos) wire.Position {
	return wire.Position{File: p.Filename(), Line: p.Line(), Column: p.Column()}
}

// locate answers a unit's paths with their positions.
func (b *batch) locate(i int) wire.Frame {
	u := b.units[i]
	out := wire.Frame{Positions: make([]wire.Position, len(u.Paths))}
	if u.inst == nil || u.inst.Err != nil {
		return out
	}
	x, raw := indexOf(u.inst), b.ctx.BuildInstance(u.inst)
	where := locate
	if u.Stated {
		where = stated
	}
	for j, path := range u.Paths {
		out.Positions[j] = where(x, raw, path)
	}
	return out
}

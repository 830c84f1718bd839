package eval

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
)

// definition is one definition of the schema.
type definition struct {
	name       string // with #
	doc        string
	scalar     bool // its value is no struct
	file       string
	first, end int // lines
}

var definitions = sync.OnceValue(func() []definition {
	var ds []definition
	all := schemaFiles()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f, err := parser.ParseFile(schemaName+name, all[name], parser.ParseComments)
		if err != nil {
			continue // every test of this package shows it
		}
		for _, d := range f.Decls {
			if field, ok := d.(*ast.Field); ok {
				ds = append(ds, define(field))
			}
		}
	}
	return ds
})

func define(f *ast.Field) definition {
	name, _, _ := ast.LabelName(f.Label)
	_, structural := f.Value.(*ast.StructLit)
	d := definition{name: name, doc: comment(f), scalar: !structural,
		file: f.Pos().Filename(), first: f.Pos().Line(), end: f.End().Line()}
	return d
}

// comment is a node's doc comment on one line, without its last full stop.
func comment(n ast.Node) string {
	for _, c := range ast.Comments(n) {
		if c.Doc {
			return strings.TrimSuffix(strings.Join(strings.Fields(c.Text()), " "), ".")
		}
	}
	return ""
}

// definitionAt is the definition that a place of the schema belongs to.
func definitionAt(p token.Pos) (definition, bool) {
	for _, d := range definitions() {
		if d.file == p.Filename() && d.first <= p.Line() && p.Line() <= d.end {
			return d, true
		}
	}
	return definition{}, false
}

// advice is the definition's comment with its name, for instance "#Version: a concrete version: …".
func (d definition) advice() string {
	if rest, ok := strings.CutPrefix(d.doc, d.name+" is "); ok {
		return d.name + ": " + rest
	}
	return d.doc
}

// noun is the definition's name as people say it: install path for #InstallPath, URL for #URL.
func (d definition) noun() string {
	name := strings.TrimPrefix(d.name, "#")
	if strings.ToUpper(name) == name {
		return name
	}
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

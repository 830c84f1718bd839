package eval

import (
	"maps"
	"slices"

	"cuelang.org/go/cue"
)

// shape is what the schema says about the fields of one struct.
type shape struct {
	fields   map[string]cue.Value
	required map[string]bool
	patterns []pattern
}

type pattern struct{ label, value cue.Value }

// shapeOf is the shape of a schema value; false when it is no struct.
func shapeOf(schema cue.Value) (shape, bool) {
	s := shape{fields: map[string]cue.Value{}, required: map[string]bool{}}
	if schema.IncompleteKind() != cue.StructKind {
		return s, false
	}
	it, err := schema.Fields(cue.Optional(true), cue.Patterns(true))
	if err != nil {
		return s, false
	}
	for it.Next() {
		sel := it.Selector()
		if sel.ConstraintType() == cue.PatternConstraint {
			s.patterns = append(s.patterns, pattern{label: sel.Pattern(), value: it.Value()})
			continue
		}
		s.fields[sel.Unquoted()] = it.Value()
		s.required[sel.Unquoted()] = sel.ConstraintType() == cue.RequiredConstraint
	}
	return s, true
}

// find is the schema of the field called name.
func (s shape) find(ctx *cue.Context, name string) (cue.Value, bool) {
	if v, ok := s.fields[name]; ok {
		return v, true
	}
	for _, p := range s.patterns {
		if p.label.Unify(ctx.Encode(name)).Validate() == nil {
			return p.value, true
		}
	}
	return cue.Value{}, false
}

func (s shape) names() []string { return slices.Sorted(maps.Keys(s.fields)) }

// walker compares a value with the schema, field by field. CUE itself reports unknown fields only in structs without
// other errors, and missing ones only where nothing else is wrong; people want to see all of them at once.
type walker struct {
	ctx       *cue.Context
	unknown   func(path, name string, s shape)
	malformed func(path, name string, p cue.Value)
	missing   func(path, name string, field cue.Value)
}

func (w walker) walk(schema, v cue.Value, path string) {
	s, ok := shapeOf(schema)
	it, err := v.Fields(cue.Optional(true)) // without the option, missing fields would be among the others
	if !ok || err != nil {
		return
	}
	present := map[string]bool{}
	for it.Next() {
		if it.Selector().ConstraintType() != 0 {
			continue
		}
		name := it.Selector().Unquoted()
		present[name] = true
		at := join(path, cue.Str(name).String())
		field, ok := s.find(w.ctx, name)
		switch {
		case ok:
			w.walk(field, it.Value(), at)
		case len(s.patterns) > 0:
			w.malformed(at, name, s.patterns[0].label)
		default:
			w.unknown(at, name, s)
		}
	}
	for _, name := range s.names() {
		if s.required[name] && !present[name] {
			w.missing(join(path, cue.Str(name).String()), name, s.fields[name])
		}
	}
}

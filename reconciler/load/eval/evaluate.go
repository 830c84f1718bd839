package eval

import (
	"fmt"
	"strings"
	"sync"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// evaluate unifies a unit with #Site and exports its named objects. The problems of one object leave the others alone.
func (b *batch) evaluate(i int) wire.Frame {
	u := b.units[i]
	if u.inst == nil {
		return wire.Frame{Failed: true, Problems: desired.Problems{{File: b.firstFile(i), Line: 1, Column: 1,
			Text: "CUE does not find a folder of this name", Advice: "rename the folder"}}}
	}
	if u.excluded() {
		return wire.Frame{}
	}
	x := &explainer{batch: b, unit: i, index: sync.OnceValue(func() index { return indexOf(u.inst) })}
	if u.inst.Err != nil {
		return wire.Frame{Failed: true, Problems: x.loading(u.inst.Err)}
	}
	x.raw = b.ctx.BuildInstance(u.inst)
	v := b.site.Unify(x.raw)
	if _, err := v.Fields(); err != nil {
		if x.raw.Err() != nil {
			err = x.raw.Err()
		}
		return wire.Frame{Failed: true, Problems: x.explain(errors.Errors(err))}
	}
	e := exporter{x: x, left: b.Output, plain: plainOf(u.inst)}
	if err := v.Validate(cue.Concrete(true), cue.Final()); err != nil {
		e.broken = true
		e.errs = errors.Errors(err)
	}
	e.site(v)
	if !e.broken {
		return wire.Frame{Objects: e.objects, Problems: e.problems}
	}
	return wire.Frame{Objects: e.objects, Problems: x.judge(v, e.errs).with(e.problems)}
}

// exporter collects the objects of one unit.
type exporter struct {
	x        *explainer
	plain    plain
	broken   bool // something in the unit is wrong: look at every object by itself
	left     int  // bytes of JSON that the unit may still have
	objects  []wire.Object
	errs     []errors.Error
	problems desired.Problems
}

// site exports every section; a section holds objects by name, except site, which is one.
func (e *exporter) site(v cue.Value) {
	sections, _ := v.Fields()
	for sections.Next() {
		section := sections.Selector().Unquoted()
		if section == wire.Settings {
			e.object(section, "", sections.Value())
			continue
		}
		names, err := sections.Value().Fields()
		if err != nil {
			e.errs = append(e.errs, errors.Errors(err)...)
			continue
		}
		for names.Next() {
			e.object(section, names.Selector().Unquoted(), names.Value())
		}
	}
}

// object exports one object when it has no problem, else remembers what is wrong with it.
func (e *exporter) object(section, name string, v cue.Value) {
	o := wire.Object{Section: section, Name: name}
	if e.broken {
		if err := v.Validate(cue.Concrete(true), cue.Final()); err != nil {
			e.errs = append(e.errs, errors.Errors(err)...)
			o.Draft = e.draft(section, name)
			e.objects = append(e.objects, o)
			return
		}
	}
	json, err := e.export(section, name, v)
	switch {
	case err != nil:
		e.broken = true
		e.errs = append(e.errs, errors.Errors(err)...)
	case len(json) > e.left && e.left >= 0:
		e.problems = append(e.problems, desired.Problem{
			File: e.x.batch.firstFile(e.x.unit), Line: 1, Column: 1,
			Text:   fmt.Sprintf("the folder's values exceed %d MiB as JSON", e.x.batch.Output>>20),
			Advice: "split the folder",
		})
		e.left = -1
	case e.left >= 0:
		e.left -= len(json)
		o.JSON = json
	}
	e.objects = append(e.objects, o)
}

// export is a valid object as JSON.
func (e *exporter) export(section, name string, v cue.Value) ([]byte, error) {
	if b := e.plain[objectName{section, name}]; b != nil {
		return b, nil
	}
	return v.MarshalJSON()
}

// draft is a broken object as its files have it: other checks find more problems in it.
func (e *exporter) draft(section, name string) []byte {
	selectors := []cue.Selector{cue.Str(section)}
	if name != "" {
		selectors = append(selectors, cue.Str(name))
	}
	json, err := e.x.raw.LookupPath(cue.MakePath(selectors...)).MarshalJSON()
	if err != nil || len(json) > e.left {
		return nil // its own problems are enough to say
	}
	e.left -= len(json)
	return json
}

// errorPath is an error's CUE path without the schema's own prefix.
func errorPath(e errors.Error) string {
	parts := e.Path()
	if len(parts) > 0 && strings.HasPrefix(parts[0], "#") {
		parts = parts[1:]
	}
	path := ""
	for _, p := range parts {
		path = join(path, p)
	}
	return path
}

// join appends a selector to a path; one of digits is an index.
func join(path, sel string) string {
	switch {
	case strings.Trim(sel, "0123456789") == "":
		return path + "[" + sel + "]"
	case path == "":
		return sel
	}
	return path + "." + sel
}

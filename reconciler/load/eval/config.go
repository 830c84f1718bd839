package eval

import (
	"path"
	"sync"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/parser"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// Config is one evaluated file that stands by itself.
type Config struct {
	JSON []byte
	x    *explainer
}

// EvaluateConfig unifies one file with a definition of the schema. It runs in the caller's process, without limits: the
// file is that of whoever started it.
func EvaluateConfig(name string, src []byte, definition string) (Config, desired.Problems) {
	ctx := cuecontext.New()
	dir := path.Dir(name)
	inst := build.NewContext().NewInstance(dir, nil)
	b := &batch{
		Batch: wire.Batch{Files: map[string][]byte{name: src}, Units: []wire.Unit{{Dir: dir}}},
		ctx:   ctx, site: definitionOf(ctx, definition),
	}
	x := &explainer{batch: b, index: sync.OnceValue(func() index { return indexOf(inst) })}
	f, err := parser.ParseFile(name, src, parser.ParseComments)
	if err == nil {
		err = inst.AddSyntax(f)
	}
	if err == nil {
		err = inst.Complete()
	}
	if err != nil {
		return Config{}, x.loading(errors.Promote(err, ""))
	}
	x.raw = ctx.BuildInstance(inst)
	v := b.site.Unify(x.raw)
	if err := x.raw.Err(); err != nil {
		return Config{}, x.explain(errors.Errors(err))
	}
	if err := v.Validate(cue.Concrete(true), cue.Final()); err != nil {
		return Config{}, x.judge(v, errors.Errors(err)).with(nil)
	}
	json, err := v.MarshalJSON()
	if err != nil {
		return Config{}, x.explain(errors.Errors(err))
	}
	return Config{json, x}, nil
}

// Place gives problems that have CUE paths their places in the file.
func (c Config) Place(ps desired.Problems) desired.Problems {
	out := make(desired.Problems, len(ps))
	for i, p := range ps {
		out[i] = c.x.place(p)
	}
	return out.Sorted()
}

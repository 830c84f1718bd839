package load

import (
	"cmp"
	"context"
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// merge puts the units' values together. A unit sees its parents' objects: those it leaves as they are belong to the
// parent. Any other object with two owners is a problem, since no unit saw both definitions.
func (l *Loaded) merge(ctx context.Context, units []*unit) (desired.Problems, error) {
	l.owners = make(map[object]*unit, mostObjects(units))
	l.Site.FECs = make(map[string]desired.FEC, mostObjects(units))
	var ps desired.Problems
	var clashes []clash
	l.Broken = map[string]bool{}
	for _, u := range units {
		ps = append(ps, u.fragment.problems...)
		l.Lost = l.Lost || u.fragment.failed
		for _, o := range u.fragment.names {
			v, owner := u.fragment.values[o], l.owners[o]
			if v == nil {
				l.Broken[o.section+dotted(o.name)] = true
			}
			switch {
			case owner == nil:
				l.owners[o] = u
				if v == nil {
					v = u.fragment.drafts[o]
				}
				l.put(o, v)
				if o.section != "fecs" {
					l.around = append(l.around, o)
				}
			case !u.within(owner):
				clashes = append(clashes, clash{o, owner, u, ""})
			case v != nil && owner.fragment.values[o] != nil && !u.fragment.agrees(owner.fragment, o):
				clashes = append(clashes, clash{o, owner, u, "changed in "})
			}
		}
	}
	if len(l.Site.FECs) == 0 {
		l.Site.FECs = nil
	}
	if l.owners[object{section: wire.Settings}] == nil && !l.Lost {
		ps = append(ps, desired.Problem{File: moduleFile, Line: 1, Column: 1, Path: wire.Settings, Text: "the site has no settings",
			Advice: `write "site: {name: …, platforms: …}" into a file of package site`})
	}
	more, err := l.explain(ctx, clashes)
	return append(ps, more...), err
}

// mostObjects is how many objects units have, those that several of them see counted as often.
func mostObjects(units []*unit) (n int) {
	for _, u := range units {
		n += len(u.fragment.values)
	}
	return n
}

// dotted is a name as the references of desired.Problem.Missing write it.
func dotted(name string) string {
	if name == "" {
		return ""
	}
	return "." + name
}

func compareObjects(a, b object) int {
	return cmp.Or(cmp.Compare(a.section, b.section), cmp.Compare(a.name, b.name))
}

// put enters an object into the site.
func (l *Loaded) put(o object, v any) {
	switch v := v.(type) {
	case desired.Settings:
		l.Site.Settings = v
	case desired.Software:
		enter(&l.Site.Software, o, v)
	case desired.Configuration:
		enter(&l.Site.Configuration, o, v)
	case desired.FEC:
		enter(&l.Site.FECs, o, v)
	case desired.Pilot:
		enter(&l.Site.Pilots, o, v)
	case desired.Campaign:
		enter(&l.Site.Campaigns, o, v)
	case desired.Prerequisite:
		enter(&l.Site.Prerequisites, o, v)
	case desired.Hold:
		enter(&l.Site.Holds, o, v)
	}
}

func enter[T any](m *map[string]T, o object, v T) {
	if *m == nil {
		*m = map[string]T{}
	}
	(*m)[o.name] = v
}

// clash is an object that two units define.
type clash struct {
	object
	first, second *unit
	verb          string // what second does, when it is no definition
}

func (l *Loaded) explain(ctx context.Context, clashes []clash) (desired.Problems, error) {
	var ps desired.Problems
	paths := map[*unit][]string{}
	for _, c := range clashes {
		p := objectPath(c.object)
		paths[c.first] = append(paths[c.first], p)
		paths[c.second] = append(paths[c.second], p)
	}
	at, err := l.loader.positions(ctx, l.commit, paths, false)
	if err != nil {
		return nil, err
	}
	places := placesOf(paths, at)
	for _, c := range clashes {
		path := objectPath(c.object)
		a, b := places.of(c.first, path), places.of(c.second, path)
		p := desired.Problem{File: b.File, Line: b.Line, Column: b.Column, Path: path, Advice: "move both into one folder to overlay them"}
		p.Text = fmt.Sprintf("defined in %s:%d:%d and %s%s:%d:%d", a.File, a.Line, a.Column, c.verb, b.File, b.Line, b.Column)
		ps = append(ps, p)
	}
	return ps, nil
}

// objectPath is the CUE path of an object.
func objectPath(o object) string {
	if o.name == "" {
		return o.section
	}
	return desired.CUEPath(o.section, o.name)
}

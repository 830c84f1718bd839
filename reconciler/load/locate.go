package load

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// Locate fills in File, Line and Column of problems that have only a CUE path, by loading their units once more: places
// are worked out only when there is something to say. A path that does not exist gets the place of its nearest parent.
func (l *Loaded) Locate(ctx context.Context, ps desired.Problems) (desired.Problems, error) {
	paths := l.byUnit(ps)
	if len(paths) == 0 {
		return ps, nil
	}
	at, err := l.loader.positions(ctx, l.commit, paths, false)
	if err != nil {
		return nil, err
	}
	out, places := slices.Clone(ps), placesOf(paths, at)
	for i, p := range ps {
		if u := l.owner(p); u != nil {
			pos := places.of(u, p.Path)
			out[i].File, out[i].Line, out[i].Column = pos.File, pos.Line, pos.Column
		}
	}
	return out, nil
}

// Stated finds where the values of some CUE paths are stated, if that is not where Locate finds the paths: behind a
// reference or the variable of a comprehension. Elsewhere File is empty.
func (l *Loaded) Stated(ctx context.Context, ps desired.Problems) (desired.Problems, error) {
	paths := l.byUnit(ps)
	at, err := l.loader.positions(ctx, l.commit, paths, true)
	if err != nil {
		return nil, err
	}
	out, places := slices.Clone(ps), placesOf(paths, at)
	for i, p := range ps {
		if pos, ok := places[l.owner(p)][p.Path]; ok {
			out[i].File, out[i].Line, out[i].Column = pos.File, pos.Line, pos.Column
		}
	}
	return out, nil
}

// byUnit are the paths of problems without a place, by the unit that defines their object.
func (l *Loaded) byUnit(ps desired.Problems) map[*unit][]string {
	paths, seen := map[*unit][]string{}, map[string]bool{}
	for _, p := range ps {
		if u := l.owner(p); u != nil && !seen[p.Path] {
			seen[p.Path] = true
			paths[u] = append(paths[u], p.Path)
		}
	}
	return paths
}

// Folder is the folder whose files define an object, by its CUE path, for instance pilots."grid-1": what another file says of it must lie
// there too. False: nothing defines it.
func (l *Loaded) Folder(path string) (string, bool) {
	u := l.owner(desired.Problem{Path: path})
	if u == nil {
		return "", false
	}
	return u.dir, true
}

// Seers are the objects whose folders see a CUE file of the site, by section and name: a change of it can make no others otherwise.
func (l *Loaded) Seers(file string) map[string]map[string]bool {
	seers := map[string]map[string]bool{}
	for o, u := range l.owners {
		if u.files[file] == nil {
			continue
		}
		if seers[o.section] == nil {
			seers[o.section] = map[string]bool{}
		}
		seers[o.section][o.name] = true
	}
	return seers
}

// places are the known places of paths, by the unit that says them: two may say one.
type places map[*unit]map[string]wire.Position

func placesOf(paths map[*unit][]string, at map[*unit][]wire.Position) places {
	all := places{}
	for u, of := range paths {
		all[u] = make(map[string]wire.Position, len(of))
		for i, pos := range at[u] {
			if i < len(of) && pos.File != "" {
				all[u][of[i]] = pos
			}
		}
	}
	return all
}

// of is the place of a path; the unit's first file when it is unknown.
func (p places) of(u *unit, path string) wire.Position {
	if pos, ok := p[u][path]; ok {
		return pos
	}
	return wire.Position{File: u.first(), Line: 1, Column: 1}
}

// owner is the unit that defines the object of a problem without a place; nil when there is none.
func (l *Loaded) owner(p desired.Problem) *unit {
	if p.Line > 0 || p.Path == "" {
		return nil
	}
	section, rest, _ := strings.Cut(p.Path, ".")
	if section == wire.Settings {
		return l.owners[object{section: section}]
	}
	name, err := strconv.QuotedPrefix(rest)
	if err != nil {
		name = rest[:strings.IndexAny(rest+".", ".[")]
	} else if name, err = strconv.Unquote(name); err != nil {
		return nil
	}
	return l.owners[object{section, name}]
}

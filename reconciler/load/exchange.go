package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// exchange sends a job to a child and takes its answers. When the child died, alive is false and started is the unit that
// it was evaluating, nil while it was loading; err is a failure of this machine.
func (p *pool) exchange(ctx context.Context, c *child, j job) (started *unit, alive bool, err error) {
	o := p.loader.options
	b, err := p.batch(j)
	if err != nil {
		return nil, true, err
	}
	c.batches++
	if c.send(ctx, j.deadline, b) != nil {
		return nil, false, nil
	}
	deadline := j.deadline
	for {
		var f wire.Frame
		if c.receive(ctx, deadline, &f) != nil || f.Unit < wire.Whole || f.Unit >= len(j.units) {
			return started, false, nil
		}
		switch {
		case f.Done:
			return nil, true, nil
		case f.Unit == wire.Whole:
			p.failAll(j, f)
		case f.Started:
			started, deadline = j.units[f.Unit], o.Deadline
		default:
			if err := p.accept(j.units[f.Unit], f); err != nil {
				return nil, true, err
			}
			started = nil
		}
	}
}

// batch is what a child needs to know for a job.
func (p *pool) batch(j job) (wire.Batch, error) {
	b := wire.Batch{Files: map[string][]byte{}, CPU: uint64(3*p.loader.options.Deadline.Seconds()) + 1, Output: maxOutput}
	module, _ := p.commit.src.Files().Find(moduleFile)
	content, err := p.commit.read(module)
	if err != nil {
		return b, err
	}
	b.Files[moduleFile] = content
	for _, u := range j.units {
		b.Units = append(b.Units, wire.Unit{Dir: u.dir, Paths: p.paths[u], Stated: p.stated})
		for path, s := range u.files {
			if b.Files[path] != nil {
				continue
			}
			if b.Files[path], err = p.commit.content(s); err != nil {
				return b, err
			}
		}
	}
	return b, nil
}

// content is a source's content, perhaps still known from reading its header.
func (c *commit) content(s *source) ([]byte, error) {
	if s.content != nil {
		return s.content, nil
	}
	return c.read(s.File)
}

// failAll gives every unit of a job the same problems; they are shown once.
func (p *pool) failAll(j job, f wire.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range j.units {
		if p.paths == nil {
			u.fragment = &fragment{failed: true, problems: f.Problems}
		}
	}
}

// accept takes a unit's answer.
func (p *pool) accept(u *unit, f wire.Frame) error {
	if p.paths != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.positions[u] = f.Positions
		return nil
	}
	made, err := newFragment(f)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	u.fragment = made
	return nil
}

// newFragment is an answer as Go values.
func newFragment(f wire.Frame) (*fragment, error) {
	out := &fragment{failed: f.Failed, problems: f.Problems, values: map[object]any{}, drafts: map[object]any{}}
	for _, o := range f.Objects {
		name := object{o.Section, o.Name}
		v, err := decode(o)
		switch {
		case o.JSON == nil && err == nil && drafted[o.Section]:
			out.values[name], out.drafts[name] = nil, v
		case o.JSON == nil:
			out.values[name] = nil // a draft that has not even the right types: its problems are known
		case err != nil:
			return nil, fmt.Errorf("decode %s: %w", objectPath(name), err)
		default:
			out.values[name] = v
		}
	}
	return out.index(), nil
}

// drafted are the sections whose broken objects are looked at further. Of the others, on which the rest is built, half a
// value would give problems that are none.
var drafted = map[string]bool{"fecs": true, "pilots": true, "campaigns": true, "prerequisites": true, "holds": true}

// decode is an object as Go, from its draft when it has problems; nil without one. That the schema lets pass what Go
// does not know is an error of Pomona's.
func decode(o wire.Object) (any, error) {
	if o.JSON == nil && o.Draft == nil {
		return nil, nil
	}
	return fromSection(o.Section, exported(o))
}

// exported reads an object as a child said it.
type exported wire.Object

func (o exported) into(v any) error {
	if o.JSON == nil {
		return json.Unmarshal(o.Draft, v)
	}
	d := json.NewDecoder(bytes.NewReader(o.JSON))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// fromSection is an object of a section as Go.
func fromSection(section string, from interface{ into(any) error }) (any, error) {
	switch section {
	case wire.Settings:
		return as[desired.Settings](from)
	case "software":
		return as[desired.Software](from)
	case "configuration":
		return as[desired.Configuration](from)
	case "fecs":
		return as[desired.FEC](from)
	case "pilots":
		return as[desired.Pilot](from)
	case "campaigns":
		return as[desired.Campaign](from)
	case "prerequisites":
		return as[desired.Prerequisite](from)
	case "holds":
		return as[desired.Hold](from)
	}
	return nil, fmt.Errorf("unknown section %q", section)
}

func as[T any](from interface{ into(any) error }) (any, error) {
	var v T
	err := from.into(&v)
	return v, err
}

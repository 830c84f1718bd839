package reconciler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/propose"
)

// declare makes the pilot what it is to be: in a file of its own if it is new, else field by field where each is spelt out.
func (e *pilotEdit) declare(ctx context.Context) error {
	was, there := e.loaded.Site.Pilots[e.name]
	now := *e.change.Pilot
	now.Records = was.Records
	now, err := asLoaded(now)
	if err != nil {
		return err
	}
	e.want.Pilots[e.name] = now
	for _, a := range e.change.Apart {
		comment := "Made by pomona pilot, which makes it anew."
		file, err := propose.Written(e.fileOf(a.File), comment, propose.Statement{Path: append([]string{"pilots", e.name}, a.Path...), Value: a.Value})
		if err != nil {
			return err
		}
		if !e.has(file) {
			e.content[file.Path] = file.Content
		}
	}
	if !there {
		file, err := propose.Written(e.fileOf("pilot"), "", propose.Statement{Path: []string{"pilots", e.name}, Value: now})
		if err != nil {
			return err
		}
		if _, taken := e.src.Files().Find(file.Path); taken {
			return fmt.Errorf("the site has a file %q already, which does not declare pilot %s", file.Path, e.name)
		}
		e.content[file.Path] = file.Content
		return nil
	}
	before, after, err := bothAsJSON(was, now)
	if err != nil {
		return err
	}
	return e.restate(ctx, []string{"pilots", e.name}, before, after)
}

// has says whether the site has a file with this content.
func (e *pilotEdit) has(f propose.File) bool {
	old := f
	err := e.siteEdit.change(f.Path, func(there propose.File) (propose.File, error) {
		old = there
		return there, nil
	})
	return err == nil && bytes.Equal(old.Content, f.Content)
}

func bothAsJSON(a, b any) (before, after json.RawMessage, err error) {
	if before, err = json.Marshal(a); err != nil {
		return nil, nil, err
	}
	after, err = json.Marshal(b)
	return before, after, err
}

// restate edits what differs below a path.
func (e *pilotEdit) restate(ctx context.Context, path []string, before, after json.RawMessage) error {
	if bytes.Equal(before, after) || e.isApart(path) {
		return nil
	}
	had, has := fieldsOf(before), fieldsOf(after)
	if had == nil || has == nil {
		text, err := propose.Value(after)
		if err != nil {
			return err
		}
		return e.file(ctx, cuePath(path), func(f propose.File) (propose.File, error) { return propose.Replace(f, path, text) })
	}
	for _, field := range has {
		below := append(slices.Clone(path), field.name)
		i := slices.IndexFunc(had, func(f jsonField) bool { return f.name == field.name })
		var err error
		switch {
		case i >= 0:
			err = e.restate(ctx, below, had[i].value, field.value)
		case !e.isApart(below):
			err = e.add(ctx, below, field.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add states a new field in the file that says what the pilot is.
func (e *pilotEdit) add(ctx context.Context, path []string, value json.RawMessage) error {
	text, err := propose.Value(value)
	if err != nil {
		return err
	}
	return e.file(ctx, desired.CUEPath("pilots", e.name, "scope"), func(f propose.File) (propose.File, error) { return propose.Declare(f, path, text) })
}

// isApart says whether a file of its own states what is at a path, or all that is below it which differs.
func (e *pilotEdit) isApart(path []string) bool {
	return slices.ContainsFunc(e.change.Apart, func(a Apart) bool {
		own := append([]string{"pilots", e.name}, a.Path...)
		return len(path) == len(own) && slices.Equal(path, own) || len(path) == len(own)-1 && slices.Equal(path, own[:len(path)])
	})
}

func cuePath(path []string) string {
	parts := make([]any, len(path))
	for i, p := range path {
		parts[i] = p
	}
	return desired.CUEPath(parts...)
}

// jsonField is a field of an object.
type jsonField struct {
	name  string
	value json.RawMessage
}

// fieldsOf are the fields of an object in their order; nil for anything else.
func fieldsOf(b json.RawMessage) []jsonField {
	if !strings.HasPrefix(string(bytes.TrimSpace(b)), "{") {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	_, _ = d.Token() // what has been marshalled is well formed
	fields := []jsonField{}
	for d.More() {
		name, _ := d.Token()
		f := jsonField{name: fmt.Sprint(name)}
		if d.Decode(&f.value) != nil {
			return nil
		}
		fields = append(fields, f)
	}
	return fields
}

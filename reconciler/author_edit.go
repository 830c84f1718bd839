package reconciler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/propose"
)

// siteEdit is something new on its way into the files of a commit.
type siteEdit struct {
	src     artifact.Source
	loaded  *load.Loaded
	content map[string][]byte // files as they become, by path
	want    desired.Site      // what they then say
}

func newSiteEdit(src artifact.Source, loaded *load.Loaded) siteEdit {
	return siteEdit{src: src, loaded: loaded, content: map[string][]byte{}, want: loaded.Site}
}

// file edits the file that a CUE path comes from.
func (e *siteEdit) file(ctx context.Context, path string, change func(propose.File) (propose.File, error)) error {
	at, err := e.loaded.Locate(ctx, desired.Problems{{Path: path}})
	if err != nil {
		return fmt.Errorf("locate %s: %w", path, err)
	}
	err = e.change(at[0].File, change)
	var byHand desired.Problems
	if errors.As(err, &byHand) {
		byHand[0].Line, byHand[0].Column = at[0].Line, at[0].Column
	}
	return err
}

func (e *siteEdit) change(name string, change func(propose.File) (propose.File, error)) error {
	content, ok := e.content[name]
	if !ok {
		f, ok := e.src.Files().Find(name)
		if !ok {
			return fmt.Errorf("edit %q: the commit has no such file", name)
		}
		r, err := e.src.Open(f)
		if err != nil {
			return fmt.Errorf("edit %q: %w", name, err)
		}
		defer r.Close() // read whole or reported below
		if content, err = io.ReadAll(r); err != nil {
			return fmt.Errorf("edit %q: %w", name, err)
		}
	}
	edited, err := change(propose.File{Path: name, Content: content})
	if err != nil {
		return err
	}
	if !bytes.Equal(edited.Content, content) {
		e.content[name] = edited.Content
	}
	return nil
}

// beyond are the objects that the edited files make otherwise than is wanted.
func (e *siteEdit) beyond(got desired.Site) (more []string) {
	more = append(more, differing("software", e.want.Software, got.Software)...)
	more = append(more, differing("fecs", e.want.FECs, got.FECs)...)
	more = append(more, differing("pilots", e.want.Pilots, got.Pilots)...)
	want, rest := e.want, got
	want.Software, want.FECs, want.Pilots, rest.Software, rest.FECs, rest.Pilots = nil, nil, nil, nil, nil, nil
	if !reflect.DeepEqual(want, rest) {
		more = append(more, "what is neither software nor a FEC nor a pilot")
	}
	return more
}

// differing are the paths of objects that are not the same in two sites.
func differing[T any](section string, want, got map[string]T) (out []string) {
	for name, v := range want {
		if w, ok := got[name]; !ok || !reflect.DeepEqual(v, w) {
			out = append(out, desired.CUEPath(section, name))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			out = append(out, desired.CUEPath(section, name))
		}
	}
	slices.Sort(out)
	return out
}

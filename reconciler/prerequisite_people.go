package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// prerequisiteAuthors adds to what is known of a prerequisite who wrote what it says, once somebody has reviewed that: also whoever a commit only
// says its author is, as that takes a review away, and never gives one.
func (r *Reconciler) prerequisiteAuthors(ctx context.Context, w wanted, f *plan.PrerequisiteFacts) error {
	reviewed := false
	for _, record := range f.Spec.Records {
		reviewed = reviewed || record.Kind == desired.ReviewRecord && record.Subject == f.Digest
	}
	if !reviewed {
		return nil
	}
	people, err := r.wrote(ctx, w, f.Name)
	if err != nil && ctx.Err() == nil {
		f.Unsure = err.Error()
	}
	f.Authors = people
	return ctx.Err()
}

// wrote is who wrote what a commit says of a prerequisite, each with how that is known.
func (r *Reconciler) wrote(ctx context.Context, w wanted, name string) (map[string]string, error) {
	d := declared{Reconciler: r, name: name, then: map[string]wanted{}, people: map[string]string{}}
	if r.Proofs != nil {
		d.signers = r.Proofs.signers
	}
	return d.people, d.look(ctx, w, sayingsOf(w.stated.Prerequisites[name]))
}

// declared finds out who wrote what a prerequisite says. Whoever moves or formats it has not written it.
type declared struct {
	*Reconciler
	name    string
	signers *repo.Signers
	then    map[string]wanted // by commit
	people  map[string]string
}

// look finds out who wrote what a commit says under some paths.
func (d *declared) look(ctx context.Context, w wanted, says map[string]any) error {
	lines, err := d.lines(ctx, w, says)
	if err != nil {
		return err
	}
	wrote, err := d.wrote(ctx, w, lines)
	if err != nil {
		return err
	}
	for _, commit := range slices.Sorted(maps.Keys(wrote)) {
		parents, err := d.Repo.Parents(commit)
		if err != nil {
			return err
		}
		own := map[string]any{}
		for _, path := range wrote[commit] {
			own[path] = says[path]
		}
		for _, parent := range parents {
			before, err := d.at(ctx, parent)
			if err != nil {
				return err
			}
			if before.loaded == nil {
				continue
			}
			was, same := sayingsOf(before.stated.Prerequisites[d.name]), map[string]any{}
			for path, says := range own {
				if v, ok := was[path]; ok && reflect.DeepEqual(v, says) {
					same[path] = says
				}
			}
			if len(same) == 0 {
				continue
			}
			if err := d.look(ctx, before, same); err != nil {
				return err
			}
			maps.DeleteFunc(own, func(path string, _ any) bool { _, ok := same[path]; return ok })
		}
		if len(own) > 0 {
			if err := d.accuse(commit); err != nil {
				return err
			}
		}
	}
	return nil
}

// accuse enters whoever made a commit.
func (d *declared) accuse(commit string) error {
	c, err := d.Repo.Commit(commit)
	if err != nil {
		return err
	}
	d.people[c.Author] = fmt.Sprintf("wrote it, as commit %.12s says", commit)
	if d.signers != nil {
		if who, err := d.Repo.SignedBy(commit, d.signers); err == nil {
			d.people[who] = "wrote it"
		}
	}
	return nil
}

// at is what a commit says; nothing, if it is no site that can be read.
func (d *declared) at(ctx context.Context, commit string) (wanted, error) {
	if w, ok := d.then[commit]; ok {
		return w, nil
	}
	if len(d.then) == maxSayings {
		return wanted{}, fmt.Errorf("more than %d commits have changed it", maxSayings)
	}
	w, err := d.load(ctx, commit)
	if problems := (desired.Problems)(nil); errors.As(err, &problems) {
		w, err = wanted{}, nil
	}
	if err == nil {
		d.then[commit] = w
	}
	return w, err
}

// spot is a line of a file.
type spot struct {
	file string
	line int
}

// lines are the lines that say what stands under some paths, as far as they are known.
func (d *declared) lines(ctx context.Context, w wanted, says map[string]any) (map[spot][]string, error) {
	paths := slices.Sorted(maps.Keys(says))
	at := make(desired.Problems, len(paths))
	for i, path := range paths {
		at[i].Path = desired.CUEPath(prerequisiteSection, d.name) + "." + path
	}
	stated, err := w.loaded.Stated(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("find prerequisite %s: %w", d.name, err)
	}
	located, err := w.loaded.Locate(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("find prerequisite %s: %w", d.name, err)
	}
	lines := map[spot][]string{}
	for i, p := range stated {
		if p.File == "" {
			p = located[i]
		}
		if p.File != "" && p.Line > 0 {
			lines[spot{p.File, p.Line}] = append(lines[spot{p.File, p.Line}], paths[i])
		}
	}
	return lines, nil
}

// wrote are the commits that wrote lines, and the paths of each.
func (d *declared) wrote(ctx context.Context, w wanted, lines map[spot][]string) (map[string][]string, error) {
	changes, err := d.Repo.Changes(w.commit)
	if err != nil {
		return nil, err
	}
	files := map[string][]int{}
	for s := range lines {
		files[s.file] = append(files[s.file], s.line)
	}
	wrote := map[string][]string{}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		found, err := changes.Lines(ctx, file, files[file])
		if err != nil {
			return nil, err
		}
		for line, c := range found {
			wrote[c.ID] = append(wrote[c.ID], lines[spot{file, line}]...)
		}
	}
	return wrote, nil
}

// noSaying are fields that no evidence is about: whoever brings them up to date may have reviewed the rest.
var noSaying = []string{".asOf", ".expires", "soak"}

// sayingsOf is what a prerequisite says, by the paths of the values, without its records.
func sayingsOf(p desired.Prerequisite) map[string]any {
	p.Records = nil
	b, err := json.Marshal(p)
	var v any
	if err != nil || json.Unmarshal(b, &v) != nil {
		return nil // it has only what JSON has
	}
	says := map[string]any{}
	var look func(path string, v any)
	look = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, field := range v {
				look(strings.TrimPrefix(path+"."+desired.CUEPath(name), "."), field)
			}
		case []any:
			for i, element := range v {
				look(path+desired.CUEPath(i), element)
			}
		default:
			if !slices.ContainsFunc(noSaying, func(end string) bool { return strings.HasSuffix(path, end) }) {
				says[path] = v
			}
		}
	}
	look("", v)
	return says
}

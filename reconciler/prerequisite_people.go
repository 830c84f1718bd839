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

// hasReview says whether somebody has reviewed what a prerequisite is rendered into.
func hasReview(p desired.Prerequisite, digest string) bool {
	for _, record := range p.Records {
		if record.Kind == desired.ReviewRecord && record.Subject == digest {
			return true
		}
	}
	return false
}

// prerequisiteAuthors adds to what is known of a prerequisite who wrote what it says, once somebody has reviewed that: also whoever a commit only
// says its author is, as that takes a review away, and never gives one.
func (r *Reconciler) prerequisiteAuthors(ctx context.Context, w wanted, known provenRecords, f *plan.PrerequisiteFacts) error {
	if !hasReview(f.Spec, f.Digest) {
		return nil
	}
	d := r.declared(f.Name)
	commits, err := d.commits(ctx, w)
	if err == nil {
		f.Authors, f.Unproven, err = d.people(commits, known)
	}
	if err != nil && ctx.Err() == nil {
		f.Unsure = err.Error()
	}
	return ctx.Err()
}

// wrote is who wrote what a commit says of a prerequisite, each with how that is known.
func (r *Reconciler) wrote(ctx context.Context, w wanted, name string) (map[string]string, error) {
	d := r.declared(name)
	commits, err := d.commits(ctx, w)
	if err != nil {
		return nil, err
	}
	people, _, err := d.people(commits, provenRecords{})
	return people, err
}

// declared finds out who wrote what a prerequisite says. Whoever moves or formats it has not written it.
type declared struct {
	*Reconciler
	name    string
	signers *repo.Signers
	then    *pastSites
	moved   func() bool // whether something else is more urgent by now; may be nil
	reads   int
	looks   int
	found   map[string]bool // commits
}

// pastSites remember what commits say that were read last.
type pastSites struct {
	then  map[string]map[string]desired.Prerequisite // by commit
	order []string                                   // in which then has been filled
	last  wanted
}

// errMovedOn says that something is found out later.
var errMovedOn = errors.New("the branch has moved on meanwhile")

func (r *Reconciler) declared(name string) *declared {
	d := &declared{Reconciler: r, name: name, then: &pastSites{then: map[string]map[string]desired.Prerequisite{}}}
	if r.Proofs != nil {
		d.signers = r.Proofs.signers
	}
	return d
}

// commits are those that wrote what a commit says.
func (d *declared) commits(ctx context.Context, w wanted) ([]string, error) {
	return d.writers(ctx, w, sayingsOf(w.stated.Prerequisites[d.name]))
}

// writers are the commits that wrote what a commit says under some paths.
func (d *declared) writers(ctx context.Context, w wanted, says map[string]any) ([]string, error) {
	d.found, d.looks = map[string]bool{}, 0
	if err := d.look(ctx, w, says); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(d.found)), nil
}

// look finds the commits that wrote what a commit says under some paths.
func (d *declared) look(ctx context.Context, w wanted, says map[string]any) error {
	if d.looks++; d.looks > maxSayings {
		return fmt.Errorf("more than %d commits have moved it", maxSayings)
	}
	lines, err := d.lines(ctx, w, says)
	if err != nil {
		return err
	}
	wrote, err := d.wrote(ctx, w, lines)
	if err != nil {
		return err
	}
	moved := map[string]any{} // what commits wrote without saying it of this one
	for _, commit := range slices.Sorted(maps.Keys(wrote)) {
		then, err := d.at(ctx, commit)
		if err != nil {
			return err
		}
		own := map[string]any{}
		for _, path := range wrote[commit] {
			own[path] = says[path]
		}
		if same := d.saidBy(then, own); len(same) < len(own) {
			d.found[commit] = true
			maps.Copy(moved, without(own, same))
			own = same
		}
		if len(own) == 0 {
			continue
		}
		parents, err := d.Repo.Parents(commit)
		if err != nil {
			return err
		}
		for _, parent := range parents {
			before, err := d.at(ctx, parent)
			if err != nil {
				return err
			}
			same := d.saidBy(before, own)
			if len(same) == 0 {
				continue
			}
			was, err := d.whole(ctx, parent)
			if err != nil {
				return err
			}
			if err := d.look(ctx, was, same); err != nil {
				return err
			}
			own = without(own, same)
		}
		if len(own) > 0 {
			d.found[commit] = true
		}
	}
	return d.since(ctx, w, moved)
}

// since finds the commits since which a commit says what it says under some paths, whatever lines say so: whoever puts another's lines to another use has written that.
func (d *declared) since(ctx context.Context, w wanted, says map[string]any) error {
	if len(says) == 0 {
		return nil
	}
	changes, err := d.Repo.Changes(w.commit)
	if err != nil {
		return err
	}
	said, err := changes.Sayings(ctx, [][]string{{}}) // all that changed any file that may say anything
	if err != nil {
		return err
	}
	changed := map[string]bool{}
	for _, s := range said[0] {
		changed[s.Commit] = true
	}
	type step struct{ commit, path string }
	seen, left := map[step]bool{}, map[string]map[string]any{w.commit.ID: says}
	for len(left) > 0 {
		commit := slices.Min(slices.Collect(maps.Keys(left)))
		own := left[commit]
		delete(left, commit)
		parents, err := d.Repo.Parents(commit)
		if err != nil {
			return err
		}
		written := maps.Clone(own)
		for _, parent := range parents {
			same := own
			if len(parents) > 1 || changed[commit] {
				before, err := d.at(ctx, parent)
				if err != nil {
					return err
				}
				same = d.saidBy(before, own)
			}
			written = without(written, same)
			for path, v := range same {
				if seen[step{parent, path}] {
					continue
				}
				seen[step{parent, path}] = true
				if left[parent] == nil {
					left[parent] = map[string]any{}
				}
				left[parent][path] = v
			}
		}
		if len(written) > 0 {
			d.found[commit] = true
		}
	}
	return nil
}

// saidBy is what a commit says too of what stands under some paths.
func (d *declared) saidBy(then map[string]desired.Prerequisite, says map[string]any) map[string]any {
	was, same := sayingsOf(then[d.name]), map[string]any{}
	for path, v := range says {
		if old, ok := was[path]; ok && reflect.DeepEqual(old, v) {
			same[path] = v
		}
	}
	return same
}

// without is what stands under some paths and not under others.
func without(says, others map[string]any) map[string]any {
	left := maps.Clone(says)
	maps.DeleteFunc(left, func(path string, _ any) bool { _, ok := others[path]; return ok })
	return left
}

// people are whoever made commits, each with how that is known, and the commits that nobody is known to have signed, each with those who have approved
// what brought it: who a commit says its author is, anybody can write.
func (d *declared) people(commits []string, known provenRecords) (people map[string]string, unproven map[string][]string, err error) {
	people, unproven = map[string]string{}, map[string][]string{}
	for _, commit := range commits {
		c, err := d.Repo.Commit(commit)
		if err != nil {
			return nil, nil, err
		}
		people[c.Author] = fmt.Sprintf("wrote it, as commit %.12s says", commit)
		var signed, approved []string
		for _, s := range known.standFor(commit, d.Proofs) {
			if s.signed {
				signed = append(signed, s.who)
			} else {
				approved = append(approved, s.who)
			}
		}
		if d.signers != nil {
			if who, err := d.Repo.SignedBy(commit, d.signers); err == nil {
				signed = append(signed, who)
			}
		}
		for _, who := range signed {
			people[who] = "wrote it"
		}
		if len(signed) == 0 {
			unproven[commit] = approved
		}
	}
	return people, unproven, nil
}

// at are the prerequisites of a commit; none, if it is no site that can be read.
func (d *declared) at(ctx context.Context, commit string) (map[string]desired.Prerequisite, error) {
	if then, ok := d.then.then[commit]; ok {
		return then, nil
	}
	if d.reads++; d.reads > maxSayings {
		return nil, fmt.Errorf("more than %d commits have changed it", maxSayings)
	}
	if d.moved != nil && d.moved() {
		return nil, errMovedOn
	}
	w, err := d.whole(ctx, commit)
	if err != nil {
		return nil, err
	}
	t := d.then
	if t.order = append(t.order, commit); len(t.order) > maxThen {
		delete(t.then, t.order[0])
		t.order = t.order[1:]
	}
	t.then[commit] = w.stated.Prerequisites
	return t.then[commit], nil
}

// whole is all of what a commit says.
func (d *declared) whole(ctx context.Context, commit string) (wanted, error) {
	if d.then.last.commit.ID == commit {
		return d.then.last, nil
	}
	w, err := d.load(ctx, commit)
	if problems := (desired.Problems)(nil); errors.As(err, &problems) {
		return wanted{}, nil
	}
	if err == nil {
		d.then.last = w
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

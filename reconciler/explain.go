package reconciler

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Explain says what a path is and where it comes from: the values and files that it is made of, and who changed each last.
// The path is one of a tree, of an object, or a CUE path; it may be written below Root or as a URL. Without a Branch the
// commit is the one that the path or else Root serves, or HEAD. Nothing is written.
func (r *Reconciler) Explain(ctx context.Context, asked string) (report.Explanation, error) {
	a, err := r.ask(asked)
	if err != nil {
		return report.Explanation{}, err
	}
	x := explanation{Reconciler: *r, asked: a}
	if x.Records == nil && x.Root != "" { // else pilots were judged as if nobody had proven anything
		x.Records = ReadRecords(x.Root, x.Log)
	}
	x.Branch = a.rev
	if err := x.read(ctx); err != nil {
		return report.Explanation{}, err
	}
	out := report.Explanation{Path: a.path, Commit: x.commit.ID}
	origin, err := x.origin(ctx, &out)
	if err != nil {
		return out, err
	}
	out.What = origin.What
	if fec := fecOf(x.site, x.path); fec != "" {
		out.Pilots = x.pilotPins(ctx, x.w, x.beside, fec)
	}
	out.Sources, err = x.sources(ctx, origin.Sources)
	return out, err
}

// asked is a path and the revision to look at.
type asked struct{ path, rev string }

// sections are the fields of a site: CUE paths start with one.
var sections = []string{"site", "software", "configuration", "fecs", "pilots", "campaigns", "prerequisites", "holds"}

func isCUEPath(p string) bool {
	end := strings.IndexAny(p+".", ".[/")
	return slices.Contains(sections, p[:end]) && (end == len(p) || p[end] != '/')
}

// explanation is one commit as far as explaining needs it.
type explanation struct {
	Reconciler
	asked
	commit repo.Commit
	files  *repo.Files
	loaded *load.Loaded
	site   desired.Site // with what pilots put on FECs
	w      wanted
	beside observed.Generation // by which pilots are placed
	kept   []plan.Retained
	values map[string]any // the site as JSON has it, with one of its FECs, by that one
}

func (x *explanation) read(ctx context.Context) (err error) {
	if x.commit, err = x.Repo.Resolve(x.Branch); err != nil {
		return err
	}
	if x.files, err = x.Repo.Files(ctx, x.commit); err != nil {
		return err
	}
	if x.loaded, err = x.Loader.Site(ctx, x.files); err != nil {
		return fmt.Errorf("load site: %w", err)
	}
	if len(x.loaded.Problems.Blocking()) > 0 {
		return x.loaded.Problems
	}
	w := wanted{files: x.files}
	w.state(x.loaded)
	x.place(&w)
	x.site, x.w = w.site, w
	x.kept = plan.Retain(x.site)
	return nil
}

// asJSON is a site as JSON has it.
func asJSON(s desired.Site) (v any, err error) {
	b, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		return nil, fmt.Errorf("read site: %w", err)
	}
	return v, nil
}

// place gives FECs what pilots offer them as it is published: with the commit, or else now. One that is held at the commit has what it had.
func (x *explanation) place(w *wanted) {
	now, of := x.publishedOf(x.commit.ID)
	w.place(of.Givens.Pilots)
	x.beside = of
	for _, h := range now.Givens.Held {
		f, there := w.stated.FECs[h.FEC]
		if h.Commit == x.commit.ID && there {
			one := plan.Piloted(plan.With(w.stated, desired.Site{FECs: map[string]desired.FEC{h.FEC: f}}), map[string][]observed.HeldPilot{h.FEC: h.Pilots})
			w.site = plan.With(w.site, desired.Site{FECs: map[string]desired.FEC{h.FEC: one.FECs[h.FEC]}})
		}
	}
}

func (x *explanation) origin(ctx context.Context, out *report.Explanation) (tree.Origin, error) {
	if isCUEPath(x.path) {
		return x.value()
	}
	if rest, ok := strings.CutPrefix(x.path, store.Folder+"/sha256/"); ok {
		return x.object(ctx, rest, out)
	}
	return x.served(x.path)
}

// served is the origin of a path of the tree.
func (x *explanation) served(p string) (tree.Origin, error) {
	all := tree.Origins(x.site, plan.Releases(x.kept), p)
	o, ok := all[p]
	if !ok {
		return o, x.unknown(p, slices.Sorted(maps.Keys(all)))
	}
	if k, ok := x.retained(p); ok {
		o.What += ", served because it is " + k.Reason
	}
	return o, nil
}

// retained is what became of the release that a path below software/ belongs to.
func (x *explanation) retained(p string) (plan.Retained, bool) {
	parts := strings.Split(p, "/")
	if parts[0] != "software" || len(parts) < 3 {
		return plan.Retained{}, false
	}
	i := slices.IndexFunc(x.kept, func(k plan.Retained) bool { return k.Software == parts[1] && k.Version == parts[2] })
	if i < 0 {
		return plan.Retained{}, false
	}
	return x.kept[i], true
}

func (x *explanation) unknown(p string, near []string) error {
	if k, ok := x.retained(p); ok && !k.Keep {
		return fmt.Errorf("commit %.12s does not serve %q: %s %s is %s", x.commit.ID, p, k.Software, k.Version, k.Reason)
	}
	if name, ok := strings.CutPrefix(p, pilotSection+"/"); ok {
		if name, _, _ = strings.Cut(name, "/"); x.site.Pilots[name].Scope != "" {
			return fmt.Errorf("commit %.12s serves no %q: how far the pilot is says pomona pilot %s", x.commit.ID, p, name)
		}
	}
	if len(near) == 0 {
		near = tree.Tops(x.site)
	}
	// First what the same folder would hold: one wrong part among many right ones.
	word := p
	if parts := strings.SplitN(p, "/", 3); len(parts) == 3 && !slices.ContainsFunc(near, func(n string) bool { return strings.Count(n, "/") > 1 }) {
		word = parts[0] + "/" + parts[1]
	}
	return unknown(fmt.Sprintf("commit %.12s serves no %q", x.commit.ID, p), word, near)
}

func unknown(text, word string, known []string) error {
	if near := desired.Suggest(word, known); near != "" {
		return fmt.Errorf("%s: did you mean %q?", text, near)
	}
	return fmt.Errorf("%s", text)
}

// value is the origin of a CUE path: itself.
func (x *explanation) value() (tree.Origin, error) {
	parts, err := desired.ParseCUEPath(x.path)
	if err != nil {
		return tree.Origin{}, err
	}
	at, err := asJSON(x.loaded.Site)
	if err != nil {
		return tree.Origin{}, err
	}
	for i, part := range parts {
		next, ok := field(at, part)
		if !ok {
			return tree.Origin{}, x.noField(parts[:i], part, at)
		}
		at = next
	}
	if len(parts) == 1 && parts[0] != "site" {
		return tree.Origin{}, x.noField(parts, "", at)
	}
	x.path = desired.CUEPath(parts...)
	return tree.Origin{What: describe(at), Sources: []tree.Source{{Role: "value", Path: x.path}}}, nil
}

// field is one step below a JSON value.
func field(v, part any) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		name, ok := part.(string)
		next, there := v[name]
		return next, ok && there
	case []any:
		i, ok := part.(int)
		if !ok || i < 0 || i >= len(v) {
			return nil, false
		}
		return v[i], true
	}
	return nil, false
}

func (x *explanation) noField(at []any, part, v any) error {
	where := "the site"
	if len(at) > 0 {
		where = desired.CUEPath(at...)
	}
	m, _ := v.(map[string]any)
	names := slices.Sorted(maps.Keys(m))
	if part == "" && len(names) > 0 {
		return fmt.Errorf("name one of %s: %s", where, desired.Few(names))
	}
	return unknown(fmt.Sprintf("commit %.12s: %s has no %v", x.commit.ID, where, part), fmt.Sprint(part), names)
}

// describe shows a small value, and says of a large one what it is.
func describe(v any) string {
	b, err := json.Marshal(v)
	switch {
	case err == nil && len(b) <= 80:
		return "value " + string(b)
	case len(b) > 0 && b[0] == '[':
		return "list"
	}
	return "struct"
}

// scalar is the value at a CUE path, if it is no struct or list, as JSON. Of the site's FECs, most of what it has, only the one that the path names is looked at.
func (x *explanation) scalar(path string) string {
	parts, err := desired.ParseCUEPath(path)
	if err != nil {
		return ""
	}
	fec, _ := parts[min(1, len(parts)-1)].(string)
	f, ok := x.loaded.Site.FECs[fec]
	if parts[0] != desired.FECScope || !ok {
		fec = ""
	}
	at, known := x.values[fec]
	if !known {
		site := x.loaded.Site
		site.FECs = map[string]desired.FEC{fec: f}
		if at, err = asJSON(site); err != nil {
			return ""
		}
		if x.values == nil {
			x.values = map[string]any{}
		}
		x.values[fec] = at
	}
	ok = true
	for _, part := range parts {
		if ok {
			at, ok = field(at, part)
		}
	}
	switch at.(type) {
	case string, float64, bool:
		if b, err := json.Marshal(at); ok && err == nil {
			return string(b)
		}
	}
	return ""
}

// object is the origin of an object: that of a path which leads to it.
func (x *explanation) object(ctx context.Context, rest string, out *report.Explanation) (tree.Origin, error) {
	_, name, _ := strings.Cut(rest, "/")
	name, below, _ := strings.Cut(name, "/")
	d, err := artifact.ParseDigest(name)
	if err != nil {
		return tree.Origin{}, err
	}
	at, folder, err := x.leading(ctx, d)
	if err != nil {
		return tree.Origin{}, err
	}
	switch {
	case folder != "":
		o, err := x.served(path.Join(folder, below))
		o.What += ", here as " + path.Join("folder object of "+folder, below)
		return o, err
	case len(at) == 0 || below != "":
		return tree.Origin{}, fmt.Errorf("nothing of commit %.12s leads to %q: perhaps another commit does", x.commit.ID, x.path)
	}
	out.Paths = at
	o, err := x.served(at[0])
	o.What = "object: " + o.What
	return o, err
}

// leading are the paths that lead to an object, or the folder that it is.
func (x *explanation) leading(ctx context.Context, d artifact.Digest) (paths []string, folder string, err error) {
	var have observed.Root
	if root, err := os.OpenRoot(x.Root); x.Root != "" && err == nil {
		defer root.Close() // only read
		if have, err = observe.Root(root); err != nil {
			return nil, "", err
		}
	}
	x.Branch = x.commit.ID
	w, err := x.Reconciler.read(ctx, x.Branch)
	if err != nil {
		return nil, "", err
	}
	x.place(&w)
	w.expired = plan.Expired(w.site, x.Now())
	p, err := x.build(ctx, w, have, store.Measure{}, func() error { return nil })
	if err != nil {
		return nil, "", err
	}
	t, err := w.layOut(p)
	if err != nil {
		return nil, "", err
	}
	// Only the root knows the folders of FECs: their manifests are signed.
	for _, f := range have.Index.FECs {
		if f.Folder == d {
			return nil, "fecs/" + f.Name, nil
		}
	}
	for _, f := range have.Index.Folders {
		if f.Folder == d {
			return nil, f.Path, nil
		}
	}
	for _, f := range t.Folders {
		if _, own := f.Sealed(nil); f.Manifest == nil && own == d {
			return nil, f.Path, nil
		}
		for _, n := range f.Nodes {
			if n.Object == d {
				paths = append(paths, f.Path+"/"+n.Path)
			}
		}
		if f.Manifest != nil && f.Manifest.Scripts.Digest == d {
			paths = append(paths, f.Path+"/init")
		}
	}
	return paths, "", nil
}

// sources are where values and payloads lie and who changed them last, each place once.
func (x *explanation) sources(ctx context.Context, from []tree.Source) ([]report.Source, error) {
	problems := make(desired.Problems, len(from))
	for i, s := range from {
		problems[i].Path = s.Path
	}
	var located, stated desired.Problems
	g, both := errgroup.WithContext(ctx) // each evaluates the files anew
	g.Go(func() (err error) {
		located, err = x.loaded.Locate(both, problems)
		return err
	})
	g.Go(func() (err error) {
		stated, err = x.loaded.Stated(both, problems)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("locate values: %w", err)
	}
	out := []report.Source{}
	for i, s := range from {
		next := report.Source{Role: s.Role, Path: s.Path, File: s.File}
		if s.File == "" {
			at := located[i]
			next.Value = x.scalar(s.Path)
			next.File, next.Line, next.Column, next.Text = at.File, at.Line, at.Column, x.line(at.File, at.Line)
		} else if _, isFile := x.files.Files().Find(s.File); !isFile {
			next.File = strings.TrimSuffix(s.File, "/") + "/"
		}
		if slices.Contains(out, next) {
			continue
		}
		out = append(out, next)
		if at := stated[i]; at.File != "" {
			next.Role += ", stated in"
			next.File, next.Line, next.Column, next.Text = at.File, at.Line, at.Column, x.line(at.File, at.Line)
			out = append(out, next)
		}
	}
	return out, x.changed(ctx, out)
}

// changed fills in who changed sources last. What cannot be found is said, and hides nothing else.
func (x *explanation) changed(ctx context.Context, sources []report.Source) error {
	changes, err := x.Repo.Changes(x.commit)
	if err != nil {
		return err
	}
	lines := map[string][]int{}
	for _, s := range sources {
		if s.Line > 0 {
			lines[s.File] = append(lines[s.File], s.Line)
		}
	}
	found := map[string]map[int]repo.Commit{}
	for i := range sources {
		s := &sources[i]
		var c repo.Commit
		var err error
		if s.Line == 0 {
			c, err = changes.Path(ctx, s.File)
		} else {
			if found[s.File] == nil {
				found[s.File], err = changes.Lines(ctx, s.File, lines[s.File])
			}
			c = found[s.File][s.Line]
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || c.ID == "" {
			s.Why = fmt.Sprintf("unknown (%v)", err)
			continue
		}
		s.Changed = &report.Change{Commit: c.ID, Time: c.Time, Author: c.Author, Subject: c.Subject}
	}
	return pullsOf(ctx, changes, sources)
}

// pullsOf fills in which pull requests brought changes.
func pullsOf(ctx context.Context, changes *repo.Changes, sources []report.Source) error {
	var ids []string
	for _, s := range sources {
		if s.Changed != nil {
			ids = append(ids, s.Changed.Commit)
		}
	}
	messages, err := changes.Brought(ctx, ids)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, s := range sources {
		if s.Changed != nil && err == nil { // else nobody knows
			s.Changed.Pull = repo.PullOf(messages[s.Changed.Commit])
		}
	}
	return nil
}

// line is one line of a file, for people; empty when there is none.
func (x *explanation) line(file string, n int) string {
	f, ok := x.files.Files().Find(file)
	if !ok {
		return ""
	}
	r, err := x.files.Open(f)
	if err != nil {
		return ""
	}
	defer r.Close() // only read
	s := bufio.NewScanner(r)
	for i := 1; s.Scan(); i++ {
		if i == n {
			text := strings.TrimSpace(s.Text())
			return strings.ToValidUTF8(text[:min(len(text), 160)], "")
		}
	}
	return ""
}

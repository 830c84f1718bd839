package observe

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Expected is one commit, rendered anew.
type Expected struct {
	Commit  string // 40 hex digits
	GitTree string // 40 hex digits
	Tree    tree.Tree
	Sizes   map[artifact.Digest]int64 // of every object, bytes
	Keys    []tree.PublicKey          // none: signatures are not checked
}

// maxUnreadable is how many paths may be unreadable before a comparison ends: the disk or the server is broken then.
const maxUnreadable = 16

// Compare names every path of a generation that is not what the commit says. The error says that it could not be done.
func (s *Served) Compare(ctx context.Context, want Expected) (observed.Differences, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c := &comparison{served: s, want: want, differences: s.early, stop: stop}
	c.generation()
	for _, step := range []func(context.Context) error{c.manifests, c.index, c.objects, c.folders} {
		if err := step(ctx); err != nil {
			return nil, cmp.Or(context.Cause(ctx), err)
		}
	}
	top := expectedTop{tree: want.Tree, signed: s.signature != nil || len(s.Generation.Keys) > 0}
	if err := s.view.around(ctx, top, c.add); err != nil {
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	if err := s.view.unchanged(ctx, s.index); err != nil {
		return nil, err
	}
	return c.differences.Sorted(), nil
}

type comparison struct {
	served *Served
	want   Expected

	sealed []expectedFolder // with the manifests that are served
	seen   map[artifact.Digest]content

	mu          sync.Mutex
	differences observed.Differences
	unreadable  int
	stop        context.CancelCauseFunc
}

// add notes a difference. Too many paths that cannot be read end the comparison.

func (c *comparison) add(d observed.Difference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.differences = append(c.differences, d)
	if d.What != unreadable {
		return
	}
	if c.unreadable++; c.unreadable > maxUnreadable {
		c.stop(fmt.Errorf("read what is served: gave up after %d paths that cannot be read: %s", maxUnreadable, d))
	}
}

func (c *comparison) differs(path, what, want, got string) {
	c.add(observed.Difference{Path: path, What: what, Want: want, Got: got})
}

// unread notes a path that is missing or cannot be read.
func (c *comparison) unread(path string, err error) {
	if absent(err) {
		c.differs(path, "missing", "", "")
	} else {
		c.differs(path, unreadable, "", err.Error())
	}
}

// unreadable is what is wrong with a path whose content nobody knows.
const unreadable = "cannot be read"

// each runs do for n things, some at once.
func (c *comparison) each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(c.served.view.workers())
	for i := range n {
		if within.Err() != nil {
			break
		}
		g.Go(func() error { return do(within, i) })
	}
	return cmp.Or(g.Wait(), ctx.Err())
}

// generation compares generation.json.
func (c *comparison) generation() {
	g := c.served.Generation
	if g.Number == 0 {
		return // said already
	}
	number := g.Number
	if c.served.Index.Generation > 0 {
		number = c.served.Index.Generation
	}
	highest := g.Serial
	for _, f := range c.served.Index.FECs {
		highest = max(highest, f.Serial)
	}
	for _, w := range [][3]string{
		{"generation", fmt.Sprint(number), fmt.Sprint(g.Number)},
		{"site", c.want.Tree.Site, g.Site},
		{"commit", c.want.Commit, g.Commit},
		{"gitTree", c.want.GitTree, g.GitTree},
		{"tree", c.want.Tree.Digest().String(), g.Tree.String()},
		{"serial", fmt.Sprint(highest), fmt.Sprint(g.Serial)},
	} {
		if w[1] != w[2] {
			c.differs(tree.GenerationFile, w[0]+" differs", w[1], w[2])
		}
	}
}

// manifests reads every FEC's manifest: the folder that is expected holds it with the serial, expiry and signatures that
// are served.
func (c *comparison) manifests(ctx context.Context) error {
	indexed, added := map[string]tree.IndexedFEC{}, map[string]bool{}
	for _, f := range c.served.Index.FECs {
		indexed[f.Name] = f
	}
	for _, f := range c.served.Index.Folders {
		added[f.Path] = !f.Content.IsZero()
	}
	c.sealed = make([]expectedFolder, len(c.want.Tree.Folders))
	return c.each(ctx, len(c.sealed), func(ctx context.Context, i int) (err error) {
		f := c.want.Tree.Folders[i]
		if f.Manifest == nil && added[f.Path] {
			c.sealed[i] = c.signedFolder(ctx, f)
			return nil
		}
		if f.Manifest == nil {
			nodes, object := f.Sealed(nil)
			c.sealed[i] = expectedFolder{path: f.Path, object: object, nodes: nodes}
			return nil
		}
		at, known := indexed[f.Manifest.FEC]
		c.sealed[i], err = c.manifest(ctx, f, at, known)
		return err
	})
}

// signedFolder is a folder with the signatures of the pilot key that are served in it: clients of repositories verify them.
func (c *comparison) signedFolder(ctx context.Context, f tree.Folder) expectedFolder {
	var added []tree.Node
	for _, path := range f.Added() {
		b, err := c.served.view.read(ctx, f.Path+"/"+path, maxSignature)
		if err != nil {
			c.unread(f.Path+"/"+path, err)
			continue
		}
		added = append(added, tree.Node{Path: path, Data: b})
	}
	nodes, object := f.With(added)
	return expectedFolder{path: f.Path, object: object, nodes: nodes, content: f.Content()}
}

func (c *comparison) manifest(ctx context.Context, f tree.Folder, at tree.IndexedFEC, known bool) (expectedFolder, error) {
	path := f.Path + "/" + tree.ManifestName
	out := expectedFolder{path: f.Path, object: at.Folder}
	out.nodes, _ = f.Sealed([]byte{}) // until it is read
	got, err := c.served.view.read(ctx, path, maxManifest)
	if err != nil {
		c.unread(path, err)
		return out, nil
	}
	nodes, sealed := f.Sealed(got)
	out.nodes = nodes
	if !known {
		out.object = sealed
	}
	m, sigs, signed, err := tree.ParseManifest(got)
	if err != nil {
		c.differs(path, "malformed", "", err.Error())
		return out, nil
	}
	want := *f.Manifest
	want.Serial, want.Expires = m.Serial, m.Expires
	if known {
		want.Serial, want.Expires = at.Serial, at.Expires
	}
	body := want.Marshal()
	switch {
	case !bytes.Equal(body, signed):
		w, g := firstDifference(string(body), string(signed))
		c.differs(path, "manifest differs", w, g)
	case known && at.Folder != sealed:
		// The body is right: either the signatures or the index were changed.
		c.differs(path, "its folder is not the one that the index names", observed.Named(at.Folder), observed.Named(sealed))
	}
	c.signed(path, signed, sigs)
	return out, nil
}

func (c *comparison) signed(path string, message []byte, sigs []tree.Signature) {
	switch {
	case len(c.want.Keys) == 0 || tree.Verify(message, sigs, c.want.Keys):
	case len(sigs) == 0:
		c.differs(path, "not signed", "", "")
	default:
		c.differs(path, "no valid signature of a given key", "", "one of "+signers(sigs))
	}
}

func signers(sigs []tree.Signature) string {
	ids := make([]string, len(sigs))
	for i, s := range sigs {
		ids[i] = s.ID.String()
	}
	return "key " + strings.Join(ids, ", ")
}

// firstDifference are the first lines in which two texts differ, quoted.
func firstDifference(want, got string) (string, string) {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if a, b := line(w, i), line(g, i); a != b {
			return quoted(a), quoted(b)
		}
	}
	return "", ""
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

func quoted(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// index compares the index line by line, and its signature.
func (c *comparison) index(context.Context) error {
	s := c.served
	if len(c.want.Keys) > 0 {
		c.indexSignature()
	}
	if s.Index.Commit == "" {
		return nil // malformed, and said
	}
	want := string(c.expectedIndex().Marshal())
	if want == string(s.index) {
		return nil
	}
	w, g := byKey(want), byKey(string(s.index))
	n := 0
	for _, key := range append(w.keys, g.keys...) {
		if w.lines[key] == g.lines[key] || key == "end" {
			continue
		}
		n++
		c.lineDiffers(key, w.lines[key], g.lines[key])
	}
	if n == 0 {
		c.differs(tree.IndexFile, "lines stand in another order or twice", "", "")
	}
	return nil
}

func (c *comparison) lineDiffers(key, want, got string) {
	switch {
	case got == "":
		c.differs(tree.IndexFile, "line missing", quoted(key+" …"), "")
	case want == "":
		c.differs(tree.IndexFile, "line too many", "", quoted(got))
	default:
		c.differs(tree.IndexFile, "line differs", quoted(want), quoted(got))
	}
}

func (c *comparison) indexSignature() {
	if c.served.signature == nil {
		c.differs(tree.SignatureFile, "missing", "", "")
		return
	}
	sigs, rest, err := tree.ParseSignatures(c.served.signature)
	if err != nil || len(rest) > 0 {
		c.differs(tree.SignatureFile, "malformed", "", "")
		return
	}
	c.signed(tree.SignatureFile, c.served.index, sigs)
}

// expectedIndex has the serials and expiries that are served.
func (c *comparison) expectedIndex() tree.Index {
	t, s := c.want.Tree, c.served
	x := tree.Index{Site: t.Site, Channel: t.Channel, Generation: s.Index.Generation, Commit: c.want.Commit, Tree: t.Digest(), Links: t.Links}
	if s.Generation.Number > 0 {
		x.Generation = s.Generation.Number
	}
	at := map[string]tree.IndexedFEC{}
	for _, f := range s.Index.FECs {
		at[f.Name] = f
	}
	for i, f := range t.Folders {
		if f.Manifest == nil {
			x.Folders = append(x.Folders, tree.IndexedFolder{Path: f.Path, Folder: c.sealed[i].object, Content: c.sealed[i].content})
			continue
		}
		served := at[f.Manifest.FEC]
		// A folder that is not this one is named by its manifest already.
		x.FECs = append(x.FECs, tree.IndexedFEC{
			Name: f.Manifest.FEC, Content: f.Content(), Folder: served.Folder, Serial: served.Serial, Expires: served.Expires,
		})
	}
	return x
}

// keyed are lines by what they are about: their first word, and for FECs, folders and links the second.
type keyed struct {
	keys  []string
	lines map[string]string
}

func byKey(text string) keyed {
	k := keyed{lines: map[string]string{}}
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		words := strings.SplitN(l, " ", 3)
		key := words[0]
		if key == "fec" || key == "folder" || key == "signed" || key == "link" {
			key += " " + words[1] // a parsed index has it
		}
		if _, twice := k.lines[key]; !twice {
			k.keys = append(k.keys, key)
		}
		k.lines[key] = l
	}
	return k
}

// objects hashes each object once.
func (c *comparison) objects(ctx context.Context) error {
	c.seen = map[artifact.Digest]content{}
	var all []artifact.Digest
	linked := map[artifact.Digest]bool{}
	reach := func(d artifact.Digest) {
		if _, known := c.seen[d]; !known {
			c.seen[d] = content{}
			all = append(all, d)
		}
	}
	for _, f := range c.want.Tree.Folders {
		for _, n := range f.Nodes {
			if !n.Object.IsZero() {
				linked[n.Object] = true
				reach(n.Object)
			}
		}
		if f.Manifest != nil {
			for _, o := range f.Manifest.Objects() {
				reach(o.Digest)
			}
		}
	}
	var mu sync.Mutex
	return c.each(ctx, len(all), func(ctx context.Context, i int) error {
		d := all[i]
		got, err := c.served.view.object(ctx, d, c.want.Sizes[d])
		switch {
		case absent(err):
			got.wrong = "object is missing"
		case err != nil:
			got.wrong = "object cannot be read"
			c.unread(objectPath(d), err)
		}
		if got.wrong != "" && !linked[d] && (err == nil || absent(err)) {
			c.add(objectDifference(objectPath(d), d, got))
		}
		mu.Lock()
		defer mu.Unlock()
		c.seen[d] = got
		return nil
	})
}

// objectDifference names a path that leads to an object which is not what its name says.
func objectDifference(path string, want artifact.Digest, got content) observed.Difference {
	d := observed.Difference{Path: path, What: got.wrong, Want: observed.Named(want)}
	if !got.digest.IsZero() {
		d.Got = observed.Named(got.digest)
	}
	return d
}

func (c *comparison) folders(ctx context.Context) error {
	return c.each(ctx, len(c.sealed), func(ctx context.Context, i int) error {
		f := c.sealed[i]
		for _, n := range f.nodes {
			if seen := c.seen[n.Object]; !n.Object.IsZero() && seen.wrong != "" {
				c.add(objectDifference(f.path+"/"+n.Path, n.Object, seen))
			}
		}
		return c.served.view.folder(ctx, f, c.seen, c.add)
	})
}

package reconciler_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// previews are those of a root, made at a time that a test moves.
type previews struct {
	*reconciler.Previews
	t    *testing.T
	time time.Time
}

func newPreviews(t *testing.T, root string) *previews {
	t.Helper()
	p := &previews{t: t, time: now}
	p.Previews = &reconciler.Previews{Root: root, Key: signingKey(7), Most: 3, MaxSize: 1 << 30, Life: 14 * 24 * time.Hour,
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return p.time }}
	return p
}

// recorded keeps the ledger of the root too.
func (p *previews) recorded() *previews {
	p.Records = reconciler.NewRecords(p.Root, p.Log)
	p.t.Cleanup(func() { p.Records.Close() })
	return p
}

func head(n int) string { return fmt.Sprintf("%040d", n) }

func (p *previews) put(s site, number int, head string) observed.Preview {
	p.t.Helper()
	put, err := p.Put(p.t.Context(), s.reconciler(""), number, head)
	if err != nil {
		p.t.Fatal(err)
	}
	return put
}

func (p *previews) list() []observed.Preview {
	p.t.Helper()
	root, err := os.OpenRoot(p.Root)
	must(p.t, err)
	defer root.Close() // only read
	all, _, err := observe.Previews(root)
	must(p.t, err)
	return all
}

// drop is what the end of one pull request leads to.
func (p *previews) drop(number int) error {
	var open []int
	for _, one := range p.list() {
		if one.Number != number {
			open = append(open, one.Number)
		}
	}
	_, err := p.Keep(p.t.Context(), open)
	return err
}

func (p *previews) served() (numbers []int) {
	p.t.Helper()
	for _, one := range p.list() {
		numbers = append(numbers, one.Number)
		wholePreview(p.t, p.Root, one)
	}
	return numbers
}

func (p *previews) serves(want ...int) {
	p.t.Helper()
	if d := cmp.Diff(want, p.served()); d != "" {
		p.t.Errorf("previews (-want +got):\n%s", d)
	}
}

// wholePreview checks that a preview is complete, and that a preview key alone has signed it, for its own channel.
func wholePreview(t *testing.T, root string, p observed.Preview) {
	t.Helper()
	at := fmt.Sprintf("previews/%d", p.Number)
	for _, f := range p.Index.FECs {
		b, err := os.ReadFile(filepath.Join(root, at, "fecs", f.Name, tree.ManifestName))
		must(t, err)
		m, sigs, signed, err := tree.ParseManifest(b)
		must(t, err)
		if !tree.Verify(signed, sigs, []tree.PublicKey{signingKey(7).Public()}) || tree.Verify(signed, sigs, []tree.PublicKey{signingKey(1).Public()}) {
			t.Errorf("%s/%s is not signed by the preview key alone", at, f.Name)
		}
		if m.Channel != fmt.Sprintf("preview/%d", p.Number) || m.Serial != f.Serial {
			t.Errorf("%s/%s: manifest is for channel %s, serial %d; the index says %d", at, f.Name, m.Channel, m.Serial, f.Serial)
		}
		for _, o := range m.Objects() {
			if info, err := os.Stat(filepath.Join(root, "objects", o.Digest.Path())); err != nil || info.Size() != o.Size {
				t.Errorf("%s/%s: object %s: %v", at, f.Name, o.Digest, err)
			}
		}
	}
	b, err := os.ReadFile(filepath.Join(root, at, tree.IndexFile))
	must(t, err)
	sig, err := os.ReadFile(filepath.Join(root, at, tree.SignatureFile))
	must(t, err)
	sigs, _, err := tree.ParseSignatures(sig)
	if err != nil || !tree.Verify(b, sigs, []tree.PublicKey{signingKey(7).Public()}) {
		t.Errorf("index of preview %d does not verify: %v", p.Number, err)
	}
	listing(t, root, at) // follows every link
}

// tidy checks that nothing is left of the previews' temporaries, and that objects which nothing names are known of.
func tidy(t *testing.T, root string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(root, ".pomona/previews"))
	if len(left) > 0 || err != nil {
		t.Errorf("previews' staging holds %v, %v", left, err)
	}
	if _, err := os.Lstat(filepath.Join(root, durable.PreviewUnfinished)); err == nil {
		t.Error("previews are still marked as unfinished")
	}
	honest(t, root)
	accounted(t, root, observeRoot(t, root))
}

func TestPreviewShowsWhatAMergeWouldPublish(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	before := snapshot(t, root)
	change := s.grow("payload/bpm/1.1.0/bin/bpm", "echo 1.1.0", "echo 1.1.0, proposed")
	p := newPreviews(t, root)
	put := p.put(change, 7, head(1))
	p.serves(7)
	tidy(t, root)
	merged := t.TempDir()
	pass(t, change.reconciler(merged))
	if d := cmp.Diff(listing(t, merged, "current"), listing(t, root, "previews/7")); d != "" {
		t.Errorf("the preview is not what a merge publishes (-merge +preview):\n%s", d)
	}
	if put.Generation.Commit == "" || put.Head != head(1) || !put.Expires.Equal(now.Add(p.Life)) {
		t.Errorf("put says %+v", put)
	}
	after := snapshot(t, root)
	for name, is := range before {
		if after[name] != is && name != ".pomona/known" && !strings.HasPrefix(name, "objects") {
			t.Errorf("%s changed: %s to %s", name, is, after[name])
		}
	}
	// A pass finds nothing to do, and the next merge finds everything built.
	pass(t, s.reconciler(root))
	p.serves(7)
	rep, err := change.reconciler(root).Reconcile(t.Context())
	if err != nil || rep.Built != 0 {
		t.Errorf("the merge builds %d, %v", rep.Built, err)
	}
	p.serves(7)
	// Closed, it leaves nothing behind.
	must(t, p.drop(7))
	p.serves()
	tidy(t, root)
	if _, err := os.Stat(filepath.Join(root, "previews/7")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	must(t, p.drop(7))
}

func TestDroppedPreviewFreesWhatItAloneNeeded(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	before := objectsOf(t, root)
	p := newPreviews(t, root)
	p.put(s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo proposed;echo"), 7, head(1))
	p.put(s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo proposed;echo"), 8, head(2))
	shared := objectsOf(t, root)
	must(t, p.drop(7))
	p.serves(8)
	if left := objectsOf(t, root); len(left) >= len(shared) || len(left) <= len(before) {
		t.Errorf("%d objects before, %d with two previews, %d with one", len(before), len(shared), len(left))
	}
	must(t, p.drop(8))
	if d := cmp.Diff(before, objectsOf(t, root)); d != "" {
		t.Errorf("objects (-before +after):\n%s", d)
	}
	pass(t, s.reconciler(root))
}

func objectsOf(t *testing.T, root string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "objects/sha256/*/*"))
	must(t, err)
	return names
}

func TestPreviewGrowsWithWhatChanges(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	p := newPreviews(t, root)
	first := p.put(s, 7, head(1))
	before := objectsOf(t, root)
	p.time = now.Add(time.Hour)
	second := p.put(s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo proposed;echo"), 7, head(2))
	p.serves(7)
	tidy(t, root)
	for i, f := range second.Index.FECs {
		was := first.Index.FECs[i]
		if changed := f.Name == "kgp2cu02"; changed == (f.Folder == was.Folder) || changed != (f.Serial > was.Serial) {
			t.Errorf("%s: folder %v → %v, serial %d → %d", f.Name, was.Folder, f.Folder, was.Serial, f.Serial)
		}
	}
	// What only the first one needed is gone: its archive in two formats, its manifest, its shared folder.
	if after := objectsOf(t, root); len(after) > len(before)+6 {
		t.Errorf("%d objects, and %d after another push", len(before), len(after))
	}
	generation := second.Generation.Number
	if again := p.put(s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo proposed;echo"), 7, head(2)); again.Generation.Number > generation+1 {
		t.Errorf("generation %d after %d", again.Generation.Number, generation)
	}
}

func TestPreviewOfTheSameMergeIsNotMadeAgain(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	p := newPreviews(t, root)
	first := p.put(s, 7, head(1))
	before := snapshot(t, root)
	p.time = now.Add(time.Hour)
	if second := p.put(s, 7, head(1)); second.Generation.Number != first.Generation.Number {
		t.Errorf("it is made again: %+v", second)
	}
	if d := cmp.Diff(before, snapshot(t, root)); d != "" {
		t.Errorf("the root changed (-before +after):\n%s", d)
	}
	// Another version of Pomona, or another key, may render or sign otherwise.
	p.Key = signingKey(9)
	if third := p.put(s, 7, head(1)); third.Generation.Keys[0] == first.Generation.Keys[0] || third.Index.FECs[0].Folder == first.Index.FECs[0].Folder {
		t.Errorf("another key does not sign it: %+v", third)
	}
}

func TestPreviewExpiresSomeTimeAfterTheLastPush(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	p := newPreviews(t, root).recorded()
	p.put(s, 7, head(1))
	p.time = now.Add(p.Life - time.Hour)
	other := s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo base has moved;echo")
	if put := p.put(other, 7, head(1)); !put.Expires.Equal(now.Add(p.Life)) {
		t.Errorf("it lives on until %v because its base moved", put.Expires)
	}
	p.expire()
	p.serves(7)
	p.time = now.Add(p.Life)
	p.expire()
	p.serves()
	tidy(t, root)
	var none *reconciler.NoPreview
	if _, err := p.Put(t.Context(), s.reconciler(""), 7, head(1)); !errors.As(err, &none) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("error is %v", err)
	}
	p.put(s, 7, head(2))
	p.serves(7)
	// Closed and opened again, it has another life.
	must(t, p.drop(7))
	p.put(s, 7, head(1))
	p.serves(7)
}

func (p *previews) expire() (lost []int) {
	p.t.Helper()
	lost, err := p.Expire(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return lost
}

func TestOldestPreviewsMakeRoom(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	p := newPreviews(t, root).recorded()
	for n := range 5 {
		p.time = now.Add(time.Duration(n) * time.Hour)
		p.put(s, 10-n, head(n))
	}
	p.serves(6, 7, 8)
	tidy(t, root)
	var none *reconciler.NoPreview
	if _, err := p.Put(t.Context(), s.reconciler(""), 10, head(0)); !errors.As(err, &none) || !strings.Contains(err.Error(), "room for 3") {
		t.Errorf("the oldest comes back: %v", err)
	}
	p.serves(6, 7, 8)
	// A new push makes it the newest.
	p.put(s, 10, head(9))
	p.serves(6, 7, 10)
	p.Most = 1
	p.expire()
	p.serves(10)
	p.Most = 0
	if lost := p.expire(); len(lost) > 0 {
		t.Errorf("lost %v", lost)
	}
	p.serves()
	tidy(t, root)
}

func TestPreviewsTakeNoMoreThanTheirBytes(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	before := objectsOf(t, root)
	p := newPreviews(t, root)
	p.MaxSize = 3 << 20
	for n := range 3 {
		p.time = now.Add(time.Duration(n) * time.Hour)
		p.put(s.grow("payload/bpm/1.1.0/bin/bpm", "echo 1.1.0", incompressible(1 << 20)[n:]), 1+n, head(n))
	}
	p.serves(3)
	tidy(t, root)
	var none *reconciler.NoPreview
	huge := s.grow("payload/bpm/1.1.0/bin/bpm", "echo 1.1.0", incompressible(4<<20))
	p.time = now.Add(5 * time.Hour)
	if _, err := p.Put(t.Context(), huge.reconciler(""), 4, head(4)); !errors.As(err, &none) {
		t.Errorf("error is %v", err)
	}
	p.serves(3) // what can never fit takes nobody's place
	tidy(t, root)
	must(t, p.drop(3))
	if d := cmp.Diff(before, objectsOf(t, root)); d != "" {
		t.Errorf("objects (-before +after):\n%s", d)
	}
}

func TestInvalidMergeLeavesThePreviewAsItWas(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	p := newPreviews(t, root)
	p.put(s, 7, head(1))
	before := snapshot(t, root)
	var problems desired.Problems
	if _, err := p.Put(t.Context(), s.grow("fecs/fecs.cue", `version: "1.1.0"`, `version: "9.9.9"`).reconciler(""), 7, head(2)); !errors.As(err, &problems) {
		t.Errorf("error is %v", err)
	}
	other := s.grow("site.cue", `name: "test"`, `name: "other"`)
	if _, err := p.Put(t.Context(), other.reconciler(""), 8, head(3)); err == nil || !strings.Contains(err.Error(), `serves site "test"`) {
		t.Errorf("error is %v", err)
	}
	if d := cmp.Diff(before, snapshot(t, root)); d != "" {
		t.Errorf("the root changed (-before +after):\n%s", d)
	}
}

// TestDroppedPreviewLeavesWhatADamagedGenerationNeeds: who cannot read what is published cannot know what it needs.
func TestDroppedPreviewLeavesWhatADamagedGenerationNeeds(t *testing.T) {
	for _, file := range []string{tree.IndexFile, tree.GenerationFile} {
		t.Run(file, func(t *testing.T) {
			s, root := newSite(t), t.TempDir()
			pass(t, s.reconciler(root))
			before := objectsOf(t, root)
			p := newPreviews(t, root)
			p.put(s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo proposed;echo"), 7, head(1))
			edit(t, filepath.Join(root, "current", file), truncate)
			if _, err := p.Put(t.Context(), s.reconciler(""), 8, head(2)); err == nil {
				t.Error("a preview is weighed against what nobody can read")
			}
			must(t, p.drop(7))
			p.serves()
			left := objectsOf(t, root)
			for _, name := range before {
				if !slices.Contains(left, name) {
					t.Errorf("%s is gone", name)
				}
			}
			pass(t, s.reconciler(root))
			p.put(s, 8, head(2))
			must(t, p.drop(8))
			tidy(t, root)
		})
	}
}

// TestPassesKeepPreviews prunes and sweeps long after.
func TestPassesKeepPreviews(t *testing.T) {
	s, root, late := prunable(t)
	p := newPreviews(t, root)
	p.put(s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo proposed;echo"), 7, head(1))
	old := time.Now().Add(-100 * time.Hour)
	for _, name := range objectsOf(t, root) {
		must(t, os.Chtimes(name, old, old))
	}
	have := pass(t, late(root))
	if have.Generations[0].Number != 2 {
		t.Fatalf("nothing was pruned: %+v", have.Generations)
	}
	p.serves(7)
	tidy(t, root)
	must(t, p.drop(7))
	pass(t, late(root))
	tidy(t, root)
}

// TestPassRepairsPreviews does to a preview what a hand can do.
func TestPassRepairsPreviews(t *testing.T) {
	s, from := newSite(t), t.TempDir()
	change := s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo proposed;echo")
	pass(t, s.reconciler(from))
	newPreviews(t, from).put(change, 7, head(1))
	in := func(root, name string) string {
		path, err := filepath.EvalSymlinks(filepath.Join(root, "previews/7", name))
		must(t, err)
		return path
	}
	for _, v := range []struct {
		name  string
		stays bool
		do    func(t *testing.T, root string)
	}{
		{"previews gone", false, func(t *testing.T, root string) { must(t, os.RemoveAll(root+"/previews")) }},
		{"previews a file", false, func(t *testing.T, root string) {
			must(t, os.RemoveAll(root+"/previews"), os.WriteFile(root+"/previews", nil, 0o644))
		}},
		{"previews closed", true, func(t *testing.T, root string) { must(t, os.Chmod(root+"/previews", 0o700)) }},
		{"preview closed", true, func(t *testing.T, root string) { must(t, os.Chmod(root+"/previews/7", 0o700)) }},
		{"index writable", true, func(t *testing.T, root string) { must(t, os.Chmod(root+"/previews/7/index", 0o666)) }},
		{"stranger", true, func(t *testing.T, root string) { must(t, os.Mkdir(root+"/previews/07", 0o755)) }},
		{"stranger in it", false, func(t *testing.T, root string) { must(t, os.Mkdir(root+"/previews/7/stray", 0o755)) }},
		{"link", false, func(t *testing.T, root string) {
			must(t, os.RemoveAll(root+"/previews/7"), os.Symlink("../current", root+"/previews/7"))
		}},
		{"index cut", false, func(t *testing.T, root string) { edit(t, root+"/previews/7/index", truncate) }},
		{"generation.json edited", false, func(t *testing.T, root string) {
			edit(t, root+"/previews/7/generation.json", func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), `"number": 7`, `"number": 8`)) })
		}},
		{"FEC's link gone", false, func(t *testing.T, root string) { must(t, os.Remove(root+"/previews/7/fecs/kgp2cu01")) }},
		{"FEC's link turned", false, func(t *testing.T, root string) {
			must(t, os.Remove(root+"/previews/7/fecs/kgp2cu01"), os.Symlink("kgp2cu02", root+"/previews/7/fecs/kgp2cu01"))
		}},
		{"manifest edited", false, func(t *testing.T, root string) { edit(t, in(root, "fecs/kgp2cu01/boot.manifest"), flip) }},
		{"own archive cut", false, func(t *testing.T, root string) { edit(t, in(root, "software/bpm/1.1.0/bpm-1.1.0.tar.gz"), truncate) }},
		{"shared archive cut", true, func(t *testing.T, root string) { edit(t, in(root, "software/bpm/1.0.0/bpm-1.0.0.tar.gz"), truncate) }},
		{"shared folder gone", true, func(t *testing.T, root string) { must(t, os.RemoveAll(in(root, "fecs/global"))) }},
	} {
		t.Run(v.name, func(t *testing.T) {
			root := copyRoot(t, from)
			p := newPreviews(t, root).recorded()
			p.expire() // the ledger learns of it
			v.do(t, root)
			rep, err := s.reconciler(root).Reconcile(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(rep.Repaired) == 0 && v.name != "previews gone" {
				t.Error("nothing is said to be repaired")
			}
			whole(t, root)
			pass(t, s.reconciler(root))
			lost := p.expire()
			if v.stays {
				p.serves(7)
				return
			}
			p.serves()
			if !slices.Equal(lost, []int{7}) {
				t.Errorf("lost are %v", lost)
			}
			p.put(change, 7, head(1))
			p.serves(7)
			if lost := p.expire(); len(lost) > 0 {
				t.Errorf("lost are still %v", lost)
			}
		})
	}
}

// TestKilledPreview kills at each change what writes previews: a root has them whole or not at all, passes are not hindered,
// and whoever writes previews next needs no help.
func TestKilledPreview(t *testing.T) {
	s := newSite(t)
	change := s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo proposed;echo")
	further := change.grow("payload/bpm/1.1.0/bin/bpm", "echo proposed", "echo better")
	bare, one := t.TempDir(), t.TempDir()
	pass(t, s.reconciler(bare))
	pass(t, s.reconciler(one))
	newPreviews(t, one).put(change, 7, head(1))
	for name, job := range map[string]struct {
		from string
		do   func(p *previews) error
	}{
		"first": {bare, func(p *previews) error { return second(p.Put(t.Context(), change.reconciler(""), 7, head(1))) }},
		"next":  {one, func(p *previews) error { return second(p.Put(t.Context(), further.reconciler(""), 7, head(2))) }},
		"room": {one, func(p *previews) error {
			p.Most, p.time = 1, now.Add(time.Hour)
			return second(p.Put(t.Context(), further.reconciler(""), 8, head(2)))
		}},
		"too much": {one, func(p *previews) error {
			p.MaxSize = 1
			return noPreview(second(p.Put(t.Context(), further.reconciler(""), 7, head(2))))
		}},
		"drop": {one, func(p *previews) error { return p.drop(7) }},
	} {
		t.Run(name, func(t *testing.T) {
			every := 7
			if os.Getenv("POMONA_KILLS") != "" {
				every = 1
			}
			deaths := 0
			for first, applied := range []bool{false, true} {
				for at := 1 + 3*first; ; at += every {
					k := &killer{at: at, applied: applied}
					root := copyRoot(t, job.from)
					p := newPreviews(t, root)
					p.Hook = k.hook
					err := job.do(p)
					if !k.died {
						must(t, err)
						break
					}
					deaths++
					t.Run(fmt.Sprintf("change %d, applied %v", at, applied), func(t *testing.T) {
						if err == nil {
							t.Error("it did not notice that it was killed")
						}
						p := newPreviews(t, root)
						p.served() // each of them is whole
						pass(t, s.reconciler(root))
						p.served()
						must(t, job.do(p))
						p.served()
						tidy(t, root)
					})
				}
			}
			if t.Logf("%d deaths", deaths); deaths < 10 {
				t.Errorf("only %d deaths", deaths)
			}
		})
	}
}

// TestPowerCutInPreview cuts the power while a preview takes the place of another: one of them is there whole, or none.
func TestPowerCutInPreview(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	further := s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo proposed;echo")
	pass(t, s.reconciler(root))
	newPreviews(t, root).put(s, 7, head(1))
	d, rec := readDisk(t, root), &recorder{root: root}
	p := newPreviews(t, root)
	p.Hook = rec.hook
	p.put(further, 7, head(2))
	o, placed := newOutage(t, s.reconciler), false
	for i, c := range rec.changes {
		d.apply(t, c)
		if placed = placed || c.Kind == "exchange"; !placed && i%7 > 0 {
			continue
		}
		for _, cut := range d.cuts(o.random, 1) {
			if key := fmt.Sprint(d.key(cut)); !o.seen[key] && o.failed < enough {
				o.seen[key] = true
				if !t.Run(fmt.Sprintf("after change %d, %s: %s", i+1, c, cut.what), func(t *testing.T) {
					p := newPreviews(t, d.write(t, cut))
					pass(t, s.reconciler(p.Root))
					p.served()
					p.put(further, 7, head(2))
					p.serves(7)
					tidy(t, p.Root)
				}) {
					o.failed++
				}
			}
		}
	}
	if !placed {
		t.Error("nothing was exchanged")
	}
	o.report(10)
}

func second[T any](_ T, err error) error { return err }

func noPreview(err error) error {
	var none *reconciler.NoPreview
	if errors.As(err, &none) && !errors.Is(err, errKilled) {
		return nil
	}
	return errors.Join(err, errors.New("there is a preview"))
}

// TestPreviewThatFailsFreesItsRoom fails while it writes: objects that nobody needs would keep passes from publishing.
func TestPreviewThatFailsFreesItsRoom(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	before := objectsOf(t, root)
	change := s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo proposed;echo")
	for _, fails := range []string{"generation", "folder"} {
		p := newPreviews(t, root)
		full := errors.New("no space left")
		p.Hook = func(op durable.Op, do func() error) error {
			if op.Kind == "mkdir" && strings.HasPrefix(op.Path, ".pomona/previews/"+fails) {
				return full
			}
			return do()
		}
		if _, err := p.Put(t.Context(), change.reconciler(""), 7, head(1)); !errors.Is(err, full) {
			t.Errorf("error is %v", err)
		}
		if d := cmp.Diff(before, objectsOf(t, root)); d != "" {
			t.Errorf("objects (-before +after):\n%s", d)
		}
	}
	newPreviews(t, root).put(change, 7, head(1))
	tidy(t, root)
}

// TestPassesBesidePreviews publishes, prunes and sweeps while previews come and go.
func TestPassesBesidePreviews(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	s.commit("site.cue", "scripts:", "retention: generations: 2\n\tscripts:")
	p := newPreviews(t, root).recorded()
	changes := []site{s, s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo one;echo"), s.grow("payload/bpm/1.1.0/bin/bpm", "echo", "echo two;echo")}
	var wg sync.WaitGroup
	stop := make(chan struct{}, 1)
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			r := changes[n%3].reconciler(root)
			// What is not named yet is old enough to be swept.
			r.Now = func() time.Time { return now.Add(time.Duration(n) * 100 * time.Hour) }
			if _, err := r.Reconcile(t.Context()); err != nil {
				t.Errorf("pass: %v", err)
				return
			}
		}
	})
	defer wg.Wait()
	defer func() { close(stop) }()
	for n := range 12 {
		p.put(changes[(n+1)%3], 1+n%4, head(n))
		p.time = p.time.Add(time.Minute)
		p.served()
		if n%5 == 4 {
			must(t, p.drop(1+n%4))
		}
	}
	stop <- struct{}{}
	wg.Wait()
	whole(t, root)
	p.served()
	tidy(t, root)
}

func TestOnlyPreviewsOfOpenPullRequestsAreKept(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	p := newPreviews(t, root).recorded()
	for n := 1; n <= 3; n++ {
		p.put(s, n, head(n))
	}
	must(t, os.RemoveAll(filepath.Join(root, "previews/2")), os.RemoveAll(filepath.Join(root, "previews/1")))
	lost, err := p.Keep(t.Context(), []int{2, 4})
	if d := cmp.Diff([]int{2}, lost); err != nil || d != "" {
		t.Errorf("lost (-want +got), %v:\n%s", err, d)
	}
	p.serves()
	p.put(s, 2, head(2))
	if lost, err := p.Keep(t.Context(), []int{2, 4}); len(lost) > 0 || err != nil {
		t.Errorf("lost %v, %v", lost, err)
	}
	p.serves(2)
	must(t, second(p.Keep(t.Context(), nil)))
	p.serves()
	// Closed and opened again long after, a head is as good as new.
	p.time = now.Add(10 * p.Life)
	p.put(s, 2, head(2))
	pass(t, s.reconciler(root)) // somebody deleted previews, and what they led to goes with a sweep
}

func TestPreviewsAreRememberedByTheTreeToo(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	p := newPreviews(t, root).recorded()
	p.put(s, 7, head(1))
	must(t, p.Records.Close(), os.Remove(filepath.Join(root, ".pomona/ledger.db")))
	if lost := p.expire(); len(lost) > 0 {
		t.Errorf("lost %v", lost)
	}
	p.serves(7)
	p.time = now.Add(p.Life)
	p.expire()
	p.serves()
	if _, err := p.Put(t.Context(), s.reconciler(""), 7, head(1)); noPreview(err) != nil {
		t.Errorf("error is %v", err)
	}
}

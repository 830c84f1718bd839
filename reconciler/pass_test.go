package reconciler_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/load/eval"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// TestMain lets the test binary be its own evaluation child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "eval-worker" {
		if err := eval.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		return
	}
	os.Exit(inMemory(m))
}

// inMemory runs the tests with their roots in memory where there is such a file system: they sync thousands of times.
func inMemory(m *testing.M) int {
	dir, err := os.MkdirTemp("/dev/shm", "pomona-test-")
	if err != nil {
		return m.Run()
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("TMPDIR", dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return m.Run()
}

// now is the time of all passes that do not say otherwise.
var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// site is a repository whose commits a test makes.
type site struct {
	t   *testing.T
	dir string
}

func newSite(t *testing.T) site {
	t.Helper()
	a, err := txtar.ParseFile("testdata/site.txtar")
	if err != nil {
		t.Fatal(err)
	}
	s := site{t, t.TempDir()}
	for _, f := range a.Files {
		s.write(f.Name, string(f.Data))
	}
	if _, err := repo.Create(s.dir, "first", now); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s site) write(name, content string) {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// commit replaces old by new in a file and commits everything; with an empty old, the file is new.
func (s site) commit(name, old, new string) {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if old != "" && (err != nil || !bytes.Contains(b, []byte(old))) {
		s.t.Fatalf("%s does not hold %q: %v", name, old, err)
	}
	if old == "" {
		b = []byte(new)
	}
	s.write(name, strings.Replace(string(b), old, new, 1))
	// A new repository with one commit of the same files is as good as a second commit.
	if err := os.RemoveAll(filepath.Join(s.dir, ".git")); err != nil {
		s.t.Fatal(err)
	}
	if _, err := repo.Create(s.dir, "change "+name, now); err != nil {
		s.t.Fatal(err)
	}
}

// grow is a copy of the repository with one more commit, so that earlier ones are there too.
func (s site) grow(name, old, new string) site {
	s.t.Helper()
	more := site{s.t, copyRoot(s.t, s.dir)}
	b, err := os.ReadFile(filepath.Join(more.dir, name))
	if err != nil || !bytes.Contains(b, []byte(old)) {
		s.t.Fatalf("%s does not hold %q: %v", name, old, err)
	}
	more.write(name, strings.Replace(string(b), old, new, 1))
	git := exec.Command("git", "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-qam", "change "+name)
	git.Dir = more.dir
	if out, err := git.CombinedOutput(); err != nil {
		s.t.Fatalf("git commit: %v: %s", err, out)
	}
	return more
}

func signingKey(b byte) tree.SecretKey { return tree.NewSecretKey([32]byte{b}, tree.KeyID{b}) }

// loader is shared by all passes of the tests, as in a running service.
var loader = load.New(load.Options{Worker: []string{os.Args[0], "eval-worker"}})

func (s site) reconciler(root string) *reconciler.Reconciler {
	s.t.Helper()
	opened, err := repo.Open(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return &reconciler.Reconciler{
		Repo: opened, Branch: "HEAD", Root: root, Keys: []tree.SecretKey{signingKey(1)}, Loader: loader,
		Version: "test", Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
	}
}

// pass reconciles and checks law 1: planning again yields nothing.
func pass(t *testing.T, r *reconciler.Reconciler) observed.Root {
	t.Helper()
	if _, err := r.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := r.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !again.Plan.Empty() || again.Built > 0 {
		var text strings.Builder
		if err := again.Text(&text); err != nil {
			t.Error(err)
		}
		t.Errorf("planning again yields %s", &text)
	}
	return observeRoot(t, r.Root)
}

func observeRoot(t *testing.T, path string) observed.Root {
	t.Helper()
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	have, err := observe.Root(root)
	if err != nil {
		t.Fatal(err)
	}
	return have
}

// listing is every path of a generation as a client sees it, links followed, with mode and digest. What a pass gives a
// number or a date is left out.
func listing(t *testing.T, root, at string) []string {
	t.Helper()
	var out []string
	var walk func(dir, shown string)
	walk = func(dir, shown string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name, path := shown+e.Name(), filepath.Join(dir, e.Name())
			info, err := os.Stat(path)
			if err != nil {
				t.Fatalf("%s dangles: %v", name, err)
			}
			switch {
			case info.IsDir():
				out = append(out, name+"/")
				walk(path, name+"/")
			case e.Name() == tree.ManifestName, e.Name() == tree.IndexFile, shown == "":
				out = append(out, name)
			default:
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, fmt.Sprintf("%s %v %s", name, info.Mode().Perm(), artifact.Sum(b)))
			}
		}
	}
	walk(filepath.Join(root, at), "")
	return out
}

// whole checks that the published generation is complete: its index is signed, every line of it holds, and every
// manifest verifies and names objects that are there.
func whole(t *testing.T, path string) {
	t.Helper()
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	have, err := observe.Root(root)
	if err != nil {
		t.Fatal(err)
	}
	if have.Current == 0 {
		return
	}
	for _, f := range have.Index.FECs {
		b, err := root.ReadFile("current/fecs/" + f.Name + "/boot.manifest")
		if err != nil {
			t.Fatal(err)
		}
		m, sigs, signed, err := tree.ParseManifest(b)
		if err != nil || !tree.Verify(signed, sigs, []tree.PublicKey{signingKey(1).Public()}) {
			t.Fatalf("manifest of %s does not verify: %v", f.Name, err)
		}
		if m.Serial != f.Serial {
			t.Errorf("%s: serial %d, index says %d", f.Name, m.Serial, f.Serial)
		}
		for _, o := range m.Objects() {
			b, err := root.ReadFile("objects/" + o.Digest.Path())
			if err != nil || artifact.Sum(b) != o.Digest || int64(len(b)) != o.Size {
				t.Errorf("%s: object %s is not whole: %v", f.Name, o.Digest, err)
			}
		}
	}
	listing(t, path, "current") // follows every link
}

func TestFirstPassPublishesTheLayout(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	have := pass(t, s.reconciler(root))
	whole(t, root)
	if have.Current != 1 || len(have.Generations) != 1 {
		t.Fatalf("current is %d of %d", have.Current, len(have.Generations))
	}
	g := have.Generations[0]
	for name, want := range map[string]string{
		"current":                "generations/1",
		"by-commit/" + g.Commit:  "../generations/1",
		"current/fecs/scuxl0001": "kgp2cu01",
	} {
		if got, err := os.Readlink(filepath.Join(root, name)); got != want || err != nil {
			t.Errorf("%s -> %q, %v; want %q", name, got, err, want)
		}
	}
	shown := strings.Join(listing(t, root, "current"), "\n")
	for _, want := range []string{
		"generation.json", "index", "index.sig", "fecs/global/pomona-boot -r-xr-xr-x", "fecs/global/10-env",
		"fecs/kgp2cu01/boot.manifest", "fecs/kgp2cu01/init/10-env", "fecs/kgp2cu01/init/50-bpm",
		"fecs/kgp2cu01/software/bpm-1.0.0.tar.gz", "fecs/kgp2cu01/software/bpm-1.0.0.tar.gz.sha256",
		"fecs/kgp2cu01/configuration/table-1.0.tar.gz", "fecs/kgp2cu01/persistent-data/", "fecs/kgp2cu01/data/", "fecs/kgp2cu01/monitor/bpm",
		"fecs/kgp2cu02/software/bpm-1.1.0.tar.zst", "fecs/kgp2cu03/software/bpm-dev.tar.gz",
		"software/bpm/1.0.0/bpm-1.0.0.tar.gz", "software/bpm/1.0.0/bpm-1.0.0.tar.zst", "software/bpm/dev/bpm-dev.tar.gz.sha256",
		"configuration/table/1.0/table-1.0.tar.gz",
	} {
		if !strings.Contains("\n"+shown, "\n"+want) {
			t.Errorf("%s is not served; there is\n%s", want, shown)
		}
	}
	if info, err := os.Stat(filepath.Join(root, ".pomona")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("private folder has mode %v, %v", info.Mode(), err)
	}
}

var update = flag.Bool("update", false, "write golden files anew")

// TestGoldenTree guards every path, mode and byte of a tree: what changes here changes on every FEC.
func TestGoldenTree(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	r := s.reconciler(root)
	pass(t, r)
	manifest, err := os.ReadFile(filepath.Join(root, "current/fecs/kgp2cu01/boot.manifest"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(listing(t, root, "current"), "\n") + "\n\n" + string(manifest)
	// The boot client and what FECs answer over ssh with have tests of their own.
	got = regexp.MustCompile(`(pomona-(?:boot|fec) \S+) .*`).ReplaceAllString(got, "$1")
	const golden = "testdata/tree.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("tree differs from %s (-want +got):\n%s", golden, d)
	}
}

func TestUnchangedFECsKeepTheirFolders(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	first := pass(t, s.reconciler(root)).Index
	s.commit("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	r := s.reconciler(root)
	r.Now = func() time.Time { return now.Add(time.Hour) }
	have := pass(t, r)
	whole(t, root)
	if have.Current != 2 {
		t.Fatalf("current is %d", have.Current)
	}
	for i, f := range have.Index.FECs {
		was := first.FECs[i]
		if changed := f.Name == "kgp2cu02"; changed == (f.Folder == was.Folder) || changed == (f.Serial == was.Serial) {
			t.Errorf("%s: folder %v → %v, serial %d → %d", f.Name, was.Folder, f.Folder, was.Serial, f.Serial)
		}
	}
}

func TestSerialRisesWithoutAClock(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	first := pass(t, s.reconciler(root)).Index.FECs[1].Serial
	s.commit("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	r := s.reconciler(root)
	r.Now = func() time.Time { return now.Add(-48 * time.Hour) }
	if got := pass(t, r).Index.FECs[1].Serial; got != first+1 {
		t.Errorf("serial %d after %d with the clock put back", got, first)
	}
}

func TestInvalidCommitChangesNothing(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	before := snapshot(t, root)
	s.commit("fecs/fecs.cue", `version: "1.1.0"`, `version: "9.9.9"`)
	_, err := s.reconciler(root).Reconcile(t.Context())
	var problems desired.Problems
	if !errors.As(err, &problems) || len(problems) != 1 || problems[0].File != "fecs/fecs.cue" || problems[0].Line == 0 {
		t.Errorf("problems are %+v (%v)", problems, err)
	}
	if d := cmp.Diff(before, snapshot(t, root)); d != "" {
		t.Errorf("the root changed (-before +after):\n%s", d)
	}
}

func TestManifestsAreRenewedAtOneThirdOfTheirLife(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	first := pass(t, s.reconciler(root))
	for day, want := range map[int]int64{59: 1, 61: 2} {
		r := s.reconciler(root)
		r.Now = func() time.Time { return now.AddDate(0, 0, day) }
		if day == 59 {
			if have := pass(t, r); have.Current != want {
				t.Errorf("day %d: generation %d, want %d", day, have.Current, want)
			}
		}
	}
	r := s.reconciler(root)
	r.Now = func() time.Time { return now.AddDate(0, 0, 61) }
	have := pass(t, r)
	if have.Current != 2 || have.Generations[1].Tree != first.Generations[0].Tree {
		t.Errorf("renewal: generation %d, tree %v after %v", have.Current, have.Generations[1].Tree, first.Generations[0].Tree)
	}
	for i, f := range have.Index.FECs {
		if f.Serial != first.Index.FECs[i].Serial || f.Expires <= first.Index.FECs[i].Expires {
			t.Errorf("%s renewed: %+v after %+v", f.Name, f, first.Index.FECs[i])
		}
	}
}

func TestExpiredPermissionIsAGiven(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	start := func() bool {
		b, err := os.ReadFile(filepath.Join(root, "current/fecs/kgp2cu03/boot.manifest"))
		if err != nil {
			t.Fatal(err)
		}
		m, _, _, err := tree.ParseManifest(b)
		if err != nil {
			t.Fatal(err)
		}
		return m.Software[0].Start
	}
	if !start() {
		t.Error("a permitted dev release does not start")
	}
	r := s.reconciler(root)
	r.Now = func() time.Time { return time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC) }
	have := pass(t, r)
	if start() {
		t.Error("a dev release starts after its permission has passed")
	}
	if d := cmp.Diff([]string{"fecs.kgp2cu03.software.bpm.start"}, have.Generations[1].Givens.Expired); d != "" {
		t.Errorf("givens (-want +got):\n%s", d)
	}
}

func TestAnotherKeySignsEverythingAnew(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	r := s.reconciler(root)
	r.Keys = append(r.Keys, signingKey(2))
	have := pass(t, r)
	if have.Current != 2 {
		t.Fatalf("current is %d", have.Current)
	}
	for _, f := range have.Index.FECs {
		b, err := os.ReadFile(filepath.Join(root, "current/fecs", f.Name, "boot.manifest"))
		if err != nil {
			t.Fatal(err)
		}
		_, sigs, signed, err := tree.ParseManifest(b)
		for _, k := range r.Keys {
			if err != nil || !tree.Verify(signed, sigs, []tree.PublicKey{k.Public()}) {
				t.Errorf("%s: %v's signature is missing, %v", f.Name, k, err)
			}
		}
	}
}

func TestTheOrderOfKeysDoesNotMatter(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	r := s.reconciler(root)
	r.Keys = []tree.SecretKey{signingKey(1), signingKey(2)}
	pass(t, r)
	r.Keys = []tree.SecretKey{signingKey(2), signingKey(1), signingKey(2)}
	if have := pass(t, r); have.Current != 1 {
		t.Errorf("generation %d was published for the same keys", have.Current)
	}
}

// TestARepublishedCommitKeepsItsLink publishes a commit again in the pass that prunes its first generation.
func TestARepublishedCommitKeepsItsLink(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	s.commit("site.cue", "scripts:", "retention: generations: 3\n\tscripts:")
	first := site{t, copyRoot(t, s.dir)}
	hours := 0
	publish := func(s site) observed.Root {
		hours += 48
		r := s.reconciler(root)
		r.Now = func() time.Time { return now.Add(time.Duration(hours) * time.Hour) }
		return pass(t, r)
	}
	publish(first)
	for _, v := range []string{"two", "three"} {
		s.commit("payload/bpm/dev/bin/bpm", "echo", "echo "+v+";echo")
		publish(s)
	}
	if have := publish(first); have.Current != 4 || have.Generations[0].Number == 1 {
		t.Fatalf("generation %d is current, %d the oldest", have.Current, have.Generations[0].Number)
	}
	clean(t, root)
}

func TestARemovalMustBeAnnounced(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	must(t, os.Remove(filepath.Join(s.dir, "fecs/fecs.cue")))
	before := snapshot(t, root)
	commit := func(message string) {
		git := exec.Command("git", "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "--allow-empty", "-qam", message)
		git.Dir = s.dir
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git commit: %v: %s", err, out)
		}
	}
	commit("remove all FECs")
	_, err := s.reconciler(root).Reconcile(t.Context())
	var problems desired.Problems
	if !errors.As(err, &problems) || len(problems) != 1 || !strings.Contains(problems[0].Advice, `"Pomona-Allow-Removal: 3 fecs"`) {
		t.Fatalf("error is %v", err)
	}
	if d := cmp.Diff(before, snapshot(t, root)); d != "" {
		t.Errorf("the root changed (-before +after):\n%s", d)
	}
	// Nor is it published when damage hides what was there.
	edit(t, filepath.Join(root, "generations/1/index"), func(b []byte) []byte { return b[:len(b)/2] })
	if _, err := s.reconciler(root).Reconcile(t.Context()); !errors.As(err, &problems) {
		t.Errorf("beside a damaged index, the error is %v", err)
	}
	if have := observeRoot(t, root); len(have.Index.FECs) != 3 {
		t.Errorf("beside a damaged index, %v are left", have.Index.FECs)
	}
	commit("remove all FECs, really\n\nPomona-Allow-Removal: 3 fecs")
	commit("something else")
	if have := pass(t, s.reconciler(root)); have.Current != 3 || len(have.Index.FECs) != 0 {
		t.Errorf("generation %d serves %v", have.Current, have.Index.FECs)
	}
	pass(t, s.reconciler(root))
}

func TestUnsignedIsRefused(t *testing.T) {
	s := newSite(t)
	r := s.reconciler(t.TempDir())
	r.Keys = nil
	if _, err := r.Reconcile(t.Context()); !errors.Is(err, reconciler.ErrUnsigned) {
		t.Errorf("error is %v", err)
	}
}

// TestAnyMachineRendersTheSame is law 4 for two roots, at two times, with two keys.
func TestAnyMachineRendersTheSame(t *testing.T) {
	s := newSite(t)
	one, two := t.TempDir(), t.TempDir()
	pass(t, s.reconciler(one))
	r := s.reconciler(two)
	r.Keys = []tree.SecretKey{signingKey(7)}
	r.Now = func() time.Time { return now.AddDate(0, 1, 0) }
	pass(t, r)
	if d := cmp.Diff(listing(t, one, "current"), listing(t, two, "current")); d != "" {
		t.Errorf("trees differ (-one +two):\n%s", d)
	}
	if a, b := observeRoot(t, one).Index.Tree, observeRoot(t, two).Index.Tree; a != b {
		t.Errorf("tree digests differ: %v, %v", a, b)
	}
}

// snapshot is every file of a root with its content, for comparing before and after.
func snapshot(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			out[name], err = os.Readlink(path)
		case e.Type().IsRegular():
			var b []byte
			b, err = os.ReadFile(path)
			out[name] = string(b)
		default:
			out[name] = e.Type().String()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

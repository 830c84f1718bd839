package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a repository, a host or an attacker may do to a pass, and the tests that hold Pomona to surviving it. Those named
// TestHostile… carry the number of their case; here means this folder.
//
//	 1 symbolic links                 here TestHostile01Symlinks; build TestLintOfEntries (in archives); load case unit_link, embed_link
//	 2 names in trees                 here TestHostile02Names; repo TestMalformedNamesAreRefused
//	 3 sizes, counts, depths          here TestHostile03Sizes; repo TestListingStopsWithItsContext; load TestLimits
//	 4 submodules, LFS, attributes    here TestHostile04ContentElsewhere; build TestCheck, TestAttributesThatChangeContent
//	 5 malformed commits, tags        here TestHostile05Commits; repo TestRevisions, TestAncestors
//	 6 evaluation                     here TestHostile06Evaluation; load TestBombs, TestTooManyBombs, TestCancel, cases unit_import_cycle,
//	                                  unit_foreign_import, module_dependency, embed_outside
//	 7 outputs                        here TestHostile07Outputs; desired TestCheckPlaces, TestCheckNames
//	 8 nothing left                   here TestHostile08NothingLeft
//	 9 secrets in errors              here TestHostile09Secrets
//	15 killed at every step           reconciler TestKilledFirstPass, TestKilledUpdate, TestKilledPrune; here TestKilledAtRandom
//	16 no room                        reconciler TestFullDiskLeavesTheOldTree, TestReadOnlyRootIsAClearError; here TestHostile16InodesSpent,
//	                                  TestHostile16DescriptorsSpent. A quota gives EDQUOT where a full disk gives ENOSPC, and is treated alike.
//	17 clocks, two instances          reconciler TestHostile17ClockJumps, TestSerialRisesWithoutAClock, TestSecondWriterIsRefused;
//	                                  here TestHostile17TwoInstances
//	18 corrupt pack and state         here TestHostile18CorruptPack, TestHostile18CorruptKnown; store TestKnownSurvivesAndForgetsTornLines

// entry is one entry of a tree object as its bytes have it.
type entry struct{ mode, name, id string }

// attack is a site that was published once, and to whose repository a test adds commits that git itself would not make.
type attack struct {
	world
	before string // the root as it was published
}

func newAttack(t *testing.T) attack {
	t.Helper()
	w := newWorld(t)
	w.reconcile()
	a := attack{world: w}
	a.before = a.picture()
	return a
}

// in is the same attack inside a subtest.
func (a attack) in(t *testing.T) attack {
	a.t = t
	return a
}

// picture names everything in the root with its inode, so that even a rewritten file shows.
func (a attack) picture() string {
	a.t.Helper()
	out, err := exec.Command("find", a.root, "-not", "-path", "*/.pomona/*", "-printf", "%i %m %s %l %P\n").Output()
	if err != nil {
		a.t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (a attack) object(kind string, content []byte) string {
	a.t.Helper()
	cmd := exec.Command("git", "hash-object", "-t", kind, "-w", "--stdin", "--literally")
	cmd.Dir, cmd.Stdin = a.site, bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		a.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// large is a blob of a beginning and then mebibytes of content. It is streamed: a child counts what its parent holds at
// the start as its own memory.
func (a attack) large(beginning string, mebibytes int) string {
	a.t.Helper()
	readers := []io.Reader{strings.NewReader(beginning)}
	block := strings.Repeat(incompressible(4<<10), 256)
	for range mebibytes {
		readers = append(readers, strings.NewReader(block))
	}
	cmd := exec.Command("git", "hash-object", "-w", "--stdin")
	cmd.Dir, cmd.Stdin = a.site, io.MultiReader(readers...)
	out, err := cmd.Output()
	if err != nil {
		a.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func (a attack) blob(content string) string { return a.object("blob", []byte(content)) }

func (a attack) tree(entries ...entry) string {
	a.t.Helper()
	var b bytes.Buffer
	for _, e := range entries {
		id, err := hex.DecodeString(e.id)
		if err != nil {
			a.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s\x00%s", e.mode, e.name, id)
	}
	return a.object("tree", b.Bytes())
}

// of is a commit of a tree.
func (a attack) of(tree string) string {
	a.t.Helper()
	return git(a.t, a.site, "commit-tree", "-p", "HEAD", "-m", "attack", tree)
}

// with is a commit of the published site and these entries at its top.
func (a attack) with(entries ...entry) string {
	a.t.Helper()
	var all []entry
	for line := range strings.SplitSeq(git(a.t, a.site, "ls-tree", "HEAD"), "\n") {
		head, name, _ := strings.Cut(line, "\t")
		words := strings.Fields(head)
		if !slices.ContainsFunc(entries, func(e entry) bool { return e.name == name }) {
			all = append(all, entry{words[0], name, words[2]})
		}
	}
	return a.of(a.tree(append(all, entries...)...))
}

// edited is a commit of the published site with files changed in the ordinary way; files with content "->x" are links.
func (a attack) edited(files map[string]string) string {
	a.t.Helper()
	git(a.t, a.site, "reset", "-q", "--hard")
	git(a.t, a.site, "clean", "-qfdx")
	head := git(a.t, a.site, "rev-parse", "HEAD")
	for name, content := range files {
		file := filepath.Join(a.site, name)
		if err := os.RemoveAll(file); err != nil {
			a.t.Fatal(err)
		}
		target, isLink := strings.CutPrefix(content, "->")
		if !isLink {
			a.write(name, content, 0o644)
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			a.t.Fatal(err)
		}
		if err := os.Symlink(target, file); err != nil {
			a.t.Fatal(err)
		}
	}
	a.commit("attack")
	made := git(a.t, a.site, "rev-parse", "HEAD")
	git(a.t, a.site, "reset", "-q", "--hard", head)
	return made
}

// maxResident bounds the memory of the binary and of its children, in bytes. Evaluation alone may take 512 MiB.
const maxResident = 900 << 20

// bounded runs the binary until it ends by itself, and fails if it takes for ever or much memory, or panics.
func (a attack) bounded(most int64, args ...string) (said string, code int) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 3*time.Minute)
	defer cancel()
	file := filepath.Join(a.t.TempDir(), "taken")
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{binary}, args...)...)
	cmd.Env = append(os.Environ(), measureFile+"="+file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, errs, code := runCommand(a.t, cmd)
	said = out + errs
	if ctx.Err() != nil {
		a.t.Fatalf("pomona %v does not end:\n%.2000s", args, said)
	}
	b, err := os.ReadFile(file)
	used, err2 := strconv.ParseInt(string(b), 10, 64)
	if err := errors.Join(err, err2); err != nil {
		a.t.Fatal(err)
	}
	if used <<= 10; used < 10<<20 || used > most {
		a.t.Errorf("pomona %v takes %d MiB", args, used>>20)
	}
	if strings.Contains(said, "panic:") || strings.Contains(said, "goroutine 1") {
		a.t.Errorf("pomona %v panics:\n%.4000s", args, said)
	}
	return said, code
}

func (a attack) pass(rev string) []string {
	return []string{"reconcile", a.site, "--root", a.root, "--key", filepath.Join(a.dir, "key.sec"), "--branch", rev}
}

// refused says that a commit is neither valid nor published: validate and reconcile end with the code, say each of want
// once, and leave the root as it was.
func (a attack) refused(rev string, code int, want ...string) {
	a.t.Helper()
	for _, args := range [][]string{{"validate", a.site, "--rev", rev}, a.pass(rev)} {
		said, got := a.bounded(maxResident, args...)
		if got != code {
			a.t.Errorf("pomona %s: exit code %d, want %d", args[0], got, code)
		}
		for _, w := range want {
			if strings.Count(said, w) != 1 {
				a.t.Errorf("pomona %s does not say %q once:\n%.3000s", args[0], w, said)
			}
		}
		if tally := fmt.Sprintf("pomona: %d problem", len(want)); code == 1 && !strings.Contains(said, tally) {
			a.t.Errorf("pomona %s does not say %q:\n%.3000s", args[0], tally, said)
		}
		if len(said) > 20_000 {
			a.t.Errorf("pomona %s says %d bytes", args[0], len(said))
		}
	}
	if now := a.picture(); now != a.before {
		a.t.Errorf("the root changed:\n%s\nbefore:\n%s", now, a.before)
	}
}

// accepted says that a commit is valid and can be published, in a root of its own, which it returns.
func (a attack) accepted(rev string) string {
	a.t.Helper()
	a.root = a.t.TempDir()
	for _, args := range [][]string{{"validate", a.site, "--rev", rev}, a.pass(rev)} {
		if said, code := a.bounded(maxResident, args...); code != 0 {
			a.t.Fatalf("pomona %s: exit code %d\n%.3000s", args[0], code, said)
		}
	}
	a.whole()
	return a.root
}

// release declares software x with the payload folder x, and a FEC that is pinned to it.
const release = `package site

software: x: versions: "1.0.0": payload: any: {folder: "x", install: "/opt/x"}
fecs: x1: {host: "x1.example.org", platform: "yocto-ppc", software: x: version: "1.0.0"}
`

// unpacked lists the payload of x as GNU tar sees it, and unpacks it to a folder.
func (a attack) unpacked(root string) (names, dir string) {
	a.t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "current/software/x/1.0.0/x-1.0.0*.tar.gz"))
	if err != nil || len(found) != 1 {
		a.t.Fatalf("archives %v, %v", found, err)
	}
	archive := found[0]
	out, err := exec.Command("tar", "--quoting-style=literal", "-tf", archive).CombinedOutput()
	if err != nil {
		a.t.Fatalf("list %s: %v\n%s", archive, err, out)
	}
	dir = a.t.TempDir()
	if out, err := exec.Command("tar", "-xf", archive, "-C", dir).CombinedOutput(); err != nil {
		a.t.Fatalf("unpack %s: %v\n%s", archive, err, out)
	}
	return string(out), filepath.Join(dir, "opt/x")
}

func TestHostile01Symlinks(t *testing.T) {
	a := newAttack(t)
	const here = `x.cue:3:56: software.x.versions."1.0.0".payload.any.folder: "opt/x/l": is a link to `
	const module = "cue.mod/module.cue:1:1: the file is missing"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"payload to /etc/passwd":   {map[string]string{"x.cue": release, "x/l": "->/etc/passwd"}, here + "the absolute path /etc/passwd"},
		"payload to ../..":         {map[string]string{"x.cue": release, "x/l": "->../.."}, here + "../.., which leads out of the install location"},
		"payload to .git":          {map[string]string{"x.cue": release, "x/l": "->../.git/config"}, here + "../.git/config, which leads out"},
		"payload folder":           {map[string]string{"x.cue": release, "x": "->/etc"}, `"x" is a symbolic link, not a folder`},
		"payload folder to .git":   {map[string]string{"x.cue": release, "x": "->.git"}, `"x" is a symbolic link, not a folder`},
		"folder through a link":    {map[string]string{"x.cue": strings.Replace(release, `"x",`, `"y/control",`, 1), "y": "->fecs"}, `this commit has no folder "y/control"`},
		"script":                   {map[string]string{"fecs/control/diag1pc01/info": "->/etc/passwd"}, `"fecs/control/diag1pc01/info" is a symbolic link, not a file`},
		"script to .git":           {map[string]string{"scripts/env": "->../.git/config"}, `"scripts/env" is a symbolic link, not a file`},
		"CUE file":                 {map[string]string{"fecs/control/control.cue": "->/etc/passwd"}, "fecs/control/control.cue:1:1: the file is a symbolic link, which is not followed"},
		"CUE file to another":      {map[string]string{"fecs/ring/more.cue": "->../linac/linac.cue"}, "fecs/ring/more.cue:1:1: the file is a symbolic link, which is not followed"},
		"folder of CUE files":      {map[string]string{"fecs/more": "->ring"}, ""},
		"module file":              {map[string]string{"cue.mod/module.cue": "->/etc/passwd"}, module},
		"folder of the module":     {map[string]string{"cue.mod": "->/etc"}, module},
		"payload to a file beside": {map[string]string{"x.cue": release, "x/f": "data", "x/l": "->f"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := a.in(t)
			rev := a.edited(c.files)
			if c.want == "" {
				a.accepted(rev)
				return
			}
			a.refused(rev, 1, c.want)
		})
	}
	t.Run("named .git", func(t *testing.T) {
		a := a.in(t)
		a.refused(a.with(entry{"120000", ".git", a.blob("/etc")}), 1, `malformed name ".git"`)
	})
	t.Run("replaced by a folder, and back", func(t *testing.T) {
		a := a.in(t)
		link := map[string]string{"x.cue": release, "x/real/f": "data", "x/lib": "->real"}
		folder := map[string]string{"x.cue": release, "x/real/f": "data", "x/lib/f": "other"}
		a.root = t.TempDir()
		for i, want := range []string{"data", "other", "data"} {
			files := link
			if i == 1 {
				files = folder
			}
			if said, code := a.bounded(maxResident, a.pass(a.edited(files))...); code != 0 {
				t.Fatalf("pass %d: exit code %d\n%s", i, code, said)
			}
			_, dir := a.unpacked(a.root)
			if b, err := os.ReadFile(filepath.Join(dir, "lib/f")); string(b) != want || err != nil {
				t.Errorf("pass %d: lib/f holds %q, %v, want %q", i, b, err, want)
			}
			a.whole()
		}
	})
}

func TestHostile02Names(t *testing.T) {
	a := newAttack(t)
	file := a.blob("package site\n")
	long := strings.Repeat("n", 4096)
	for name, want := range map[string]string{
		"..": "malformed name", ".": "malformed name", "": "malformed tree: empty filename", ".git": "malformed name", ".GIT": "malformed name",
		"git~1": "malformed name", "GIT~1": "malformed name", ".git.": "malformed name", ".git  ": "malformed name", ".git::$INDEX_ALLOCATION": "malformed name",
		`a\.git`: "malformed name", ".g\u200cit": "malformed name", "\ufeff.git": "malformed name",
		"/etc/passwd": "malformed name", "a/b": "malformed name", "../x.cue": "malformed name",
		"evil\n::error::x.cue": `malformed name "evil\n::error::x.cue"`, "\x1b[2Jx.cue": `malformed name "\x1b[2Jx.cue"`, "x\xff.cue": `malformed name "x\xff.cue"`,
		long: "name of 4096 bytes", strings.Repeat("n", 256): "name of 256 bytes",
	} {
		t.Run(fmt.Sprintf("%.40q", name), func(t *testing.T) {
			a := a.in(t)
			a.refused(a.with(entry{"100644", name, file}), 1, want)
			if name != "" {
				a.refused(a.with(entry{"40000", name, a.tree(entry{"100644", "x.cue", file})}), 1, want)
			}
		})
	}
	t.Run("NUL", func(t *testing.T) {
		// What follows the NUL is read as the object's id, and the rest as no entry.
		a := a.in(t)
		a.refused(a.with(entry{"100644", "a\x00b.cue", file}), 1, "list files of commit ")
	})
	t.Run("twice", func(t *testing.T) {
		a := a.in(t)
		a.refused(a.of(a.tree(entry{"100644", "a", file}, entry{"100644", "a", a.blob("")})), 1, `name "a" is there twice`)
		a.refused(a.of(a.tree(entry{"100644", "a", file}, entry{"40000", "a", a.tree()})), 1, `name "a" is there twice`)
	})
	t.Run("long path", func(t *testing.T) {
		a := a.in(t)
		tree := a.tree(entry{"100644", "f", file})
		for range 17 {
			tree = a.tree(entry{"40000", strings.Repeat("d", 250), tree})
		}
		a.refused(a.of(tree), 1, "path of 4")
	})
	t.Run("missing object", func(t *testing.T) {
		a := a.in(t)
		a.refused(a.with(entry{"100644", "x.cue", strings.Repeat("1", 40)}), 2, `"x.cue"`, "object not found")
	})
	t.Run("object of another kind", func(t *testing.T) {
		a := a.in(t)
		a.refused(a.with(entry{"40000", "x", file}), 2, `"x/"`)
		a.refused(a.with(entry{"100644", "x.cue", a.tree()}), 2, `"x.cue"`)
	})
	t.Run("unknown mode", func(t *testing.T) {
		a := a.in(t)
		a.refused(a.with(entry{"junk", "x.cue", file}), 1, "malformed mode")
	})
	t.Run("case-fold clash", func(t *testing.T) {
		// FECs and the server tell them apart; only work trees of other systems do not.
		a := a.in(t)
		names, _ := a.unpacked(a.accepted(a.edited(map[string]string{
			"x.cue": release, "x/Readme": "1", "x/README": "2", "x/readme/f": "3", "X.cue": "package site\n\nsoftware: x: description: \"both\"\n",
		})))
		for _, name := range []string{"opt/x/Readme", "opt/x/README", "opt/x/readme/f"} {
			if !strings.Contains(names, name+"\n") {
				t.Errorf("the payload lacks %s:\n%s", name, names)
			}
		}
	})
	t.Run("names of a work tree", func(t *testing.T) {
		for name, want := range map[string]string{"new\nline.cue": `malformed name "new\nline.cue"`, "x/git~1": `malformed name "x/git~1"`, "x\xff.cue": `malformed name "x\xff.cue"`} {
			a := a.in(t)
			a.world.write(name, "package site\n", 0o644)
			if said, code := a.bounded(maxResident, "validate", a.site); code != 1 || !strings.Contains(said, want) {
				t.Errorf("exit code %d, want 1 and %q:\n%s", code, want, said)
			}
			git(t, a.site, "clean", "-qfd")
		}
	})
}

func TestHostile03Sizes(t *testing.T) {
	a := newAttack(t)
	const mebibytes, resident = 200, 160 << 20
	ppc := strings.Replace(release, "any:", `"yocto-ppc":`, 1) // packed once, not for each format
	with := func(id string) string {
		return a.with(entry{"100644", "x.cue", a.blob(ppc)}, entry{"40000", "x", a.tree(entry{"100644", "large", id})})
	}
	published := func(a attack, most int64, rev, id string) {
		a.t.Helper()
		a.root = a.t.TempDir()
		if said, code := a.bounded(most, a.pass(rev)...); code != 0 {
			a.t.Fatalf("exit code %d:\n%.2000s", code, said)
		}
		_, dir := a.unpacked(a.root)
		if got := git(a.t, a.site, "hash-object", filepath.Join(dir, "large")); got != id {
			a.t.Errorf("unpacked, the file is %s, want %s", got, id)
		}
	}
	t.Run("CUE file of 200 MB", func(t *testing.T) {
		a := a.in(t)
		rev := a.with(entry{"100644", "x.cue", a.large("package site\n//", mebibytes)})
		for _, args := range [][]string{{"validate", a.site, "--rev", rev}, a.pass(rev)} {
			if said, code := a.bounded(resident, args...); code != 1 || !strings.Contains(said, "x.cue:1:1: the file exceeds 256 KiB; split it") {
				t.Errorf("exit code %d:\n%.2000s", code, said)
			}
		}
	})
	t.Run("payload of 200 MB", func(t *testing.T) {
		id := a.in(t).large("", mebibytes)
		published(a.in(t), resident, with(id), id)
	})
	t.Run("large payload as a delta", func(t *testing.T) {
		// Git may store it as its difference from another version; go-git then holds that one in memory, five times, and what is not collected yet.
		const size = 64
		a := a.in(t)
		git(t, a.site, "config", "core.bigFileThreshold", "1g")
		ids := map[string]string{"one": a.large("one", size), "two": a.large("two and more", size)}
		for v, id := range ids {
			git(t, a.site, "branch", v, with(id))
		}
		git(t, a.site, "repack", "-qadf")
		for v, id := range ids {
			published(a, 6*size<<20, v, id)
		}
	})
	t.Run("many tiny files", func(t *testing.T) {
		a := a.in(t)
		n := 100_000
		if os.Getenv("POMONA_SOAK") != "" {
			n = 980_000 // and their folders
		}
		a.tiny(n)
		a.accepted("tiny")
	})
	t.Run("more files than a million", func(t *testing.T) {
		a := a.in(t)
		var files, folders []entry
		file := a.blob("")
		for i := range 1000 {
			files = append(files, entry{"100644", fmt.Sprintf("f%03d", i), file})
		}
		thousand := a.tree(files...)
		for i := range 1000 {
			folders = append(folders, entry{"40000", fmt.Sprintf("d%03d", i), thousand})
		}
		a.refused(a.with(entry{"40000", "docs", a.tree(folders...)}), 1, "more than 1000000 files and folders")
	})
	t.Run("payload of more files than a FEC unpacks", func(t *testing.T) {
		a := a.in(t)
		var files []entry
		file := a.blob("")
		for i := range 100_001 {
			files = append(files, entry{"100644", fmt.Sprintf("f%06d", i), file})
		}
		a.refused(a.with(entry{"100644", "x.cue", a.blob(release)}, entry{"40000", "x", a.tree(files...)}), 1, "has more than 100000 entries; pack fewer files")
	})
	t.Run("folders 500 deep", func(t *testing.T) {
		a := a.in(t)
		tree := a.tree(entry{"100644", "x.cue", a.blob("package site\n")})
		for range 500 {
			tree = a.tree(entry{"40000", "d", tree})
		}
		a.refused(a.with(entry{"40000", "d", tree}), 1, "lies deeper than 64 folders")
	})
	t.Run("folders 500 deep in a work tree", func(t *testing.T) {
		a := a.in(t)
		a.world.write(strings.Repeat("d/", 500)+"x.cue", "package site\n", 0o644)
		if said, code := a.bounded(maxResident, "validate", a.site); code != 1 || !strings.Contains(said, "lies deeper than 64 folders") {
			t.Errorf("exit code %d:\n%s", code, said)
		}
		git(t, a.site, "clean", "-qfd")
	})
	for name, leaf := range map[string][]entry{"tree bomb without files": nil, "tree bomb with files": {{"100644", "f", a.blob("")}}} {
		t.Run(name, func(t *testing.T) {
			a := a.in(t)
			tree := a.tree(leaf...)
			for range 40 {
				var wide []entry
				for i := range 16 {
					wide = append(wide, entry{"40000", fmt.Sprintf("d%02d", i), tree})
				}
				tree = a.tree(wide...)
			}
			a.refused(a.with(entry{"40000", "docs", tree}), 1, "more than 1000000 files and folders")
		})
	}
}

// tiny makes branch tiny: the published site and n distinct files, a thousand in a folder.
func (a attack) tiny(n int) {
	a.t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "commit refs/heads/tiny\ncommitter a <a@b> 1800000000 +0000\ndata 4\ntiny\nfrom %s\n", git(a.t, a.site, "rev-parse", "HEAD"))
	for i := range n {
		content := fmt.Sprintf("file %d\n", i)
		fmt.Fprintf(&b, "M 100644 inline docs/d%03d/f%03d\ndata %d\n%s\n", i/1000, i%1000, len(content), content)
	}
	cmd := exec.Command("git", "fast-import", "--quiet")
	cmd.Dir, cmd.Stdin = a.site, &b
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("git fast-import: %v\n%s", err, out)
	}
}

// incompressible is pseudo-random text.
func incompressible(n int) string {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

func TestHostile04ContentElsewhere(t *testing.T) {
	a := newAttack(t)
	module := entry{"160000", "sub", strings.Repeat("1", 40)}
	declared := entry{"100644", "x.cue", a.blob(release)}
	t.Run("submodule in a payload", func(t *testing.T) {
		a := a.in(t)
		a.refused(a.with(declared, entry{"40000", "x", a.tree(module)}), 1, `"opt/x/sub": is a submodule; add its files to this repository`)
	})
	t.Run("submodule as a payload", func(t *testing.T) {
		a := a.in(t)
		a.refused(a.with(declared, entry{"160000", "x", module.id}), 1, `"x" is a submodule, not a folder`)
	})
	t.Run("submodule beside", func(t *testing.T) {
		a := a.in(t)
		rev := a.with(module)
		if said, code := a.bounded(maxResident, "validate", a.site, "--rev", rev); code != 0 || !strings.Contains(said, "sub:1:1: warning: a submodule is not followed") {
			t.Errorf("exit code %d:\n%s", code, said)
		}
		a.accepted(rev)
	})
	t.Run("LFS pointer in a payload", func(t *testing.T) {
		a := a.in(t)
		a.refused(a.edited(map[string]string{"x.cue": release, "x/bin/x": pointer}), 1,
			`x.cue:3:56: software.x.versions."1.0.0".payload.any.folder: "opt/x/bin/x": is a Git LFS pointer, not the file itself; add the file to git itself, or take it out of the payload`)
	})
	t.Run("LFS pointer as an archive", func(t *testing.T) {
		a := a.in(t)
		archive := strings.Replace(release, `folder: "x"`, `archive: "x.tar.gz"`, 1)
		a.refused(a.edited(map[string]string{"x.cue": archive, "x.tar.gz": pointer}), 1, "payload.any.archive: is a Git LFS pointer, not the archive; add the archive to git itself")
	})
	t.Run("LFS pointer as a script", func(t *testing.T) {
		a := a.in(t)
		a.refused(a.edited(map[string]string{"scripts/env": pointer}), 1, "is a Git LFS pointer, not the file itself")
	})
	t.Run("attributes", func(t *testing.T) {
		// Blobs are packed as they are: no filter runs, no line end changes.
		a := a.in(t)
		rev := a.edited(map[string]string{"x.cue": release, "x/f": "$Id$\n", "x/.gitattributes": "f ident eol=crlf\n"})
		if said, code := a.bounded(maxResident, "validate", a.site, "--rev", rev); code != 0 || !strings.Contains(said, "x/.gitattributes:1:1: warning: ident makes git change x/f at checkout") {
			t.Errorf("exit code %d:\n%s", code, said)
		}
		_, dir := a.unpacked(a.accepted(rev))
		if b, err := os.ReadFile(filepath.Join(dir, "f")); string(b) != "$Id$\n" || err != nil {
			t.Errorf("f holds %q, %v", b, err)
		}
	})
	t.Run("LFS pointer as a CUE file", func(t *testing.T) {
		a := a.in(t)
		a.refused(a.edited(map[string]string{"x.cue": pointer}), 1, "x.cue:1:1: the file is a Git LFS pointer, not the file itself; add it to git itself")
	})
}

// commitObject is a commit object with these header lines, its tree being that of the published site.
func (a attack) commitObject(headers ...string) string {
	a.t.Helper()
	tree := git(a.t, a.site, "rev-parse", "HEAD^{tree}")
	return a.object("commit", []byte(strings.ReplaceAll(strings.Join(headers, "\n"), "TREE", tree)+"\n\nattack\n"))
}

func TestHostile05Commits(t *testing.T) {
	a := newAttack(t)
	const author, committer = "author a <a@b> 1800000000 +0000", "committer a <a@b> 1800000000 +0000"
	empty := a.tree()
	signature := "gpgsig -----BEGIN PGP SIGNATURE-----\n \n aaaa\n -----END PGP SIGNATURE-----"
	for name, c := range map[string]struct {
		headers []string
		want    string
	}{
		"two trees":            {[]string{"tree TREE", "tree " + empty, author, committer}, `two headers "tree"`},
		"second tree later":    {[]string{"tree TREE", author, committer, "tree " + empty}, `two headers "tree"`},
		"two signatures":       {[]string{"tree TREE", author, committer, signature, signature}, `two headers "gpgsig"`},
		"two authors":          {[]string{"tree TREE", author, author, committer}, `two headers "author"`},
		"two committers":       {[]string{"tree TREE", author, committer, committer}, `two headers "committer"`},
		"no tree":              {[]string{author, committer}, `begins with "author", not with its tree`},
		"no author":            {[]string{"tree TREE", committer}, `no header "author"`},
		"no committer":         {[]string{"tree TREE", author}, `no header "committer"`},
		"tree that is a blob":  {[]string{"tree " + a.blob("x"), author, committer}, "list files of commit "},
		"tree that is missing": {[]string{"tree " + strings.Repeat("1", 40), author, committer}, "object not found"},
		"tree that is no id":   {[]string{"tree TREEx", author, committer}, "read commit "},
		"large":                {[]string{"tree TREE", author, committer, "x " + strings.Repeat("x", 2<<20)}, "more than 1048576"},
	} {
		t.Run(name, func(t *testing.T) { a := a.in(t); a.refused(a.commitObject(c.headers...), 2, c.want) })
	}
	for name, headers := range map[string][]string{
		"one signature":    {"tree TREE", author, committer, signature},
		"missing parent":   {"tree TREE", "parent " + strings.Repeat("2", 40), author, committer},
		"future date":      {"tree TREE", "author a <a@b> 99999999999 +0000", "committer a <a@b> 99999999999 +0000"},
		"date past int64":  {"tree TREE", "author a <a@b> 99999999999999999999 +0000", "committer a <a@b> 99999999999999999999 +9999"},
		"date before 1970": {"tree TREE", "author a <a@b> -1 +0000", "committer a <a@b> -1 +0000"},
		"no date":          {"tree TREE", "author a <a@b>", "committer"},
	} {
		t.Run(name, func(t *testing.T) { a := a.in(t); a.accepted(a.commitObject(headers...)) })
	}
	t.Run("tags of tags", func(t *testing.T) {
		a := a.in(t)
		git(t, a.site, "tag", "-a", "-m", "t", "t0")
		for i := range 20 {
			git(t, a.site, "tag", "-a", "-m", "t", fmt.Sprint("t", i+1), fmt.Sprint("t", i))
		}
		a.accepted("t1")
		a.refused("t20", 2, "tags name one another")
		git(t, a.site, "tag", "blob", a.blob("x"))
		a.refused("blob", 2, "is a blob, not a commit")
	})
	t.Run("branch and tag of one name", func(t *testing.T) {
		a := a.in(t)
		bad := a.edited(map[string]string{"x.cue": "package site\n\nnonsense: 1\n"})
		good := git(t, a.site, "rev-parse", "HEAD")
		git(t, a.site, "branch", "both", good)
		git(t, a.site, "tag", "both", bad)
		a.refused("refs/tags/both", 1, "nonsense: unknown field")
		a.accepted("both")
		a.accepted("refs/heads/both")
	})
	t.Run("branch named like a commit", func(t *testing.T) {
		a := a.in(t)
		bad := a.edited(map[string]string{"x.cue": "package site\n\nnonsense: 1\n"})
		git(t, a.site, "update-ref", "refs/heads/"+bad[:8], "HEAD")
		a.accepted(bad[:8])
		git(t, a.site, "update-ref", "refs/heads/"+bad, "HEAD")
		a.refused(bad, 1, "nonsense: unknown field")
	})
	t.Run("symbolic references in a circle", func(t *testing.T) {
		a := a.in(t)
		git(t, a.site, "symbolic-ref", "refs/heads/one", "refs/heads/two")
		git(t, a.site, "symbolic-ref", "refs/heads/two", "refs/heads/one")
		a.refused("one", 2, "leads in a circle")
	})
	for _, rev := range []string{"main~1000000000", "main^9", "main~x", "main@{1}", "main:site.cue", "", "../../etc/passwd", "-x", "a..b", "main^{/attack}"} {
		t.Run(fmt.Sprintf("revision %q", rev), func(t *testing.T) {
			a := a.in(t)
			if said, code := a.bounded(maxResident, "reconcile", a.site, "--root", a.root, "--branch="+rev); code != 2 || !strings.Contains(said, "pomona: resolve revision") {
				t.Errorf("exit code %d:\n%s", code, said)
			}
		})
	}
}

func TestHostile06Evaluation(t *testing.T) {
	a := newAttack(t)
	asked := make(chan string, 100)
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Host + r.URL.Path
		http.NotFound(w, r)
	}))
	t.Cleanup(registry.Close)
	address := registry.Listener.Addr().String()
	for name, value := range map[string]string{"CUE_REGISTRY": address + "+insecure", "HTTP_PROXY": registry.URL, "HTTPS_PROXY": registry.URL} {
		t.Setenv(name, value)
	}
	const fec = "fecs: bomb: {host: \"bomb\", platform: \"yocto-ppc\", description: \"\\(len(_x))\"}\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"never ends": {map[string]string{"fecs/bomb/x.cue": "package site\n\nimport \"list\"\n\n_x: [for a in list.Range(0, 100000, 1) for b in list.Range(0, 100000, 1) if a*b < 0 {a}]\n" + fec},
			"fecs/bomb/x.cue:1:1: evaluation takes more than"},
		"eats memory": {map[string]string{"fecs/bomb/x.cue": "package site\n\nimport \"strings\"\n\n_a: strings.Repeat(\"0\", 1000000)\n_b: _a+_a+_a+_a+_a+_a+_a+_a+_a+_a\n_x: strings.Replace(_b, \"0\", _b, -1)\n" + fec},
			"fecs/bomb/x.cue:1:1: evaluation takes more than"},
		"import cycle": {map[string]string{"one/x.cue": "package one\n\nimport \"site.example/linac/two\"\n\nx: two.x\n", "two/x.cue": "package two\n\nimport \"site.example/linac/one\"\n\nx: one.x\n",
			"x/x.cue": "package site\n\nimport \"site.example/linac/one\"\n\n_x: one.x\n"}, "x/x.cue:3:8: package import cycle not allowed"},
		"registry import": {map[string]string{"x/x.cue": "package site\n\nimport \"registry.example/other@v0\"\n\n_x: other\n"}, `x/x.cue:3:8: cannot find package "registry.example/other@v0"`},
		"registry import, declared": {map[string]string{"cue.mod/module.cue": "module: \"site.example/linac\"\nlanguage: version: \"v0.17.0\"\ndeps: \"registry.example/other@v0\": v: \"v0.1.0\"\n",
			"x/x.cue": "package site\n\nimport \"registry.example/other@v0\"\n\n_x: other\n"}, `x/x.cue:3:8: cannot find package "registry.example/other@v0"`},
		"embed outside":        {map[string]string{"x/x.cue": "@extern(embed)\n\npackage site\n\n_x: _ @embed(file=\"../../../../etc/passwd\",type=text)\n"}, "x/x.cue:5:7: @embed"},
		"embed absolute":       {map[string]string{"x/x.cue": "@extern(embed)\n\npackage site\n\n_x: _ @embed(file=\"/etc/passwd\",type=text)\n"}, "x/x.cue:5:7: @embed"},
		"embed through link":   {map[string]string{"x/x.cue": "@extern(embed)\n\npackage site\n\n_x: _ @embed(file=passwd,type=text)\n", "x/passwd": "->/etc/passwd"}, "x/x.cue:5:7: @embed"},
		"embed another folder": {map[string]string{"x/x.cue": "@extern(embed)\n\npackage site\n\n_x: _ @embed(file=\"../README.md\",type=text)\n"}, "x/x.cue:5:7: @embed"},
	} {
		t.Run(name, func(t *testing.T) { a := a.in(t); a.refused(a.edited(c.files), 1, c.want) })
	}
	close(asked)
	for request := range asked {
		t.Errorf("evaluation asks the network for %s", request)
	}
}

func TestHostile07Outputs(t *testing.T) {
	a := newAttack(t)
	y := strings.ReplaceAll(strings.Replace(strings.TrimPrefix(release, "package site\n"), "x1", "y1", -1), "software: x:", "software: y:")
	two := "package site\n\nsoftware: {x: versions: \"1.0.0\": payload: any: {folder: \"x\", install: \"/opt/x\"}, y: versions: \"1.0.0\": payload: any: {folder: \"x\", install: \"/opt/x\"}}\n" +
		"fecs: x1: {host: \"x1.example.org\", platform: \"yocto-ppc\", software: {x: version: \"1.0.0\", y: version: \"1.0.0\"}}\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"install path twice":     {map[string]string{"x.cue": two, "x/f": ""}, []string{"x.cue:4:91: fecs.x1.software.y: software y and software x are both at /opt/x"}},
		"host twice":             {map[string]string{"x.cue": release + y, "x/f": "", "z.cue": strings.Replace("package site\n"+y, "y1:", "z1:", 1)}, []string{`host "y1.example.org" is also that of FEC`}},
		"host named like a FEC":  {map[string]string{"x.cue": strings.Replace(release, "x1.example.org", "kgp1bp01", 1), "x/f": ""}, []string{`host "kgp1bp01" has the name of another FEC`}},
		"host named like global": {map[string]string{"x.cue": strings.Replace(release, "x1.example.org", "global", 1), "x/f": ""}, []string{`a host cannot be named "global"`}},
		"outside the prefixes":   {map[string]string{"x.cue": strings.Replace(release, "/opt/x", "/etc/x", 1), "x/f": ""}, []string{`x.cue:3:70: software.x.versions."1.0.0".payload.any.install: "/etc/x" does not lie below /opt`}},
		"install with dots":      {map[string]string{"x.cue": strings.Replace(release, "/opt/x", "/opt/x/../../etc", 1), "x/f": ""}, []string{`malformed install path "/opt/x/../../etc"`}},
		"folder with dots":       {map[string]string{"x.cue": strings.Replace(release, `"x"`, `"x/../../etc"`, 1), "x/f": ""}, []string{`malformed repo path "x/../../etc"`}},
		"absolute folder":        {map[string]string{"x.cue": strings.Replace(release, `"x"`, `"/etc"`, 1), "x/f": ""}, []string{`malformed repo path "/etc"`}},
		"FEC with a dash":        {map[string]string{"x.cue": strings.Replace(release, "x1:", `"-rf":`, 1), "x/f": ""}, []string{`x.cue:4:7: fecs."-rf": malformed nomenclature "-rf"`}},
		"host with a dash":       {map[string]string{"x.cue": strings.Replace(release, `"x1.`, `"-x1.`, 1), "x/f": ""}, []string{`malformed host "-x1.example.org"`}},
		"software with a dash":   {map[string]string{"x.cue": "package site\n\nsoftware: \"-x\": versions: {}\n"}, []string{`malformed name "-x"`}},
		"script with a dash":     {map[string]string{"x.cue": strings.Replace(release, "software: x: version:", `init: "-x": file: "x/f", software: x: version:`, 1), "x/f": ""}, []string{`malformed script name "-x"`}},
	} {
		t.Run(name, func(t *testing.T) { a := a.in(t); a.refused(a.edited(c.files), 1, c.want...) })
	}
	t.Run("payload file with a dash", func(t *testing.T) {
		// In the archive the install location comes first.
		a := a.in(t)
		if names, _ := a.unpacked(a.accepted(a.edited(map[string]string{"x.cue": release, "x/-rf": "1", "x/--help": "2"}))); !strings.Contains(names, "\nopt/x/-rf") {
			t.Errorf("the payload holds %s", names)
		}
	})
}

func TestHostile08NothingLeft(t *testing.T) {
	a := newAttack(t)
	without := func(names ...string) string {
		git(t, a.site, "rm", "-rq", "--cached", "--", strings.Join(names, " "))
		tree := git(t, a.site, "write-tree")
		git(t, a.site, "reset", "-q")
		return a.of(tree)
	}
	t.Run("no files", func(t *testing.T) {
		a := a.in(t)
		a.refused(a.of(a.tree()), 1, "cue.mod/module.cue:1:1: the file is missing")
	})
	t.Run("no settings", func(t *testing.T) {
		a := a.in(t)
		tree := a.tree(entry{"40000", "cue.mod", git(t, a.site, "rev-parse", "HEAD:cue.mod")})
		a.refused(a.of(tree), 1, "cue.mod/module.cue:1:1: site: the site has no settings")
	})
	t.Run("what is named is gone", func(t *testing.T) {
		a := a.in(t)
		rev := without("fecs")
		for _, args := range [][]string{{"validate", a.site, "--rev", rev}, a.pass(rev)} {
			if said, code := a.bounded(maxResident, args...); code != 1 || !strings.Contains(said, `configuration."bpm-instance-1".fec: unknown FEC "kgp1bp01"`) {
				t.Errorf("exit code %d:\n%s", code, said)
			}
		}
		if a.picture() != a.before {
			t.Error("the root changed")
		}
	})
	t.Run("no FECs, first pass", func(t *testing.T) {
		// A new site may begin without any.
		a := a.in(t)
		settings := "package site\n\nsite: {name: \"linac\", platforms: ppc: {os: \"yocto\", arch: \"ppc\", unpack: [\"gzip\"]}}\n"
		a.accepted(a.of(a.tree(entry{"40000", "cue.mod", git(t, a.site, "rev-parse", "HEAD:cue.mod")}, entry{"100644", "site.cue", a.blob(settings)},
			entry{"100644", "schema.cue", git(t, a.site, "rev-parse", "HEAD:schema.cue")})))
	})
}

// TestHostile09Secrets says what never reaches an error: the content of key files and of git's configuration, and the
// password of a URL. The values of a site are no secrets: they are served in the clear, and problems quote them.
func TestHostile09Secrets(t *testing.T) {
	a := newAttack(t)
	const secret = "hunter2hunter2"
	remote := "https://user:" + secret + "@git.example.org/site.git"
	silent := func(t *testing.T, code int, args ...string) {
		t.Helper()
		a := a.in(t)
		said, got := a.bounded(maxResident, args...)
		if got != code && code >= 0 || said == "" {
			t.Errorf("exit code %d, want %d:\n%s", got, code, said)
		}
		if strings.Contains(said, secret) {
			t.Errorf("pomona %v says a secret:\n%s", args, said)
		}
	}
	t.Run("URL as the site", func(t *testing.T) {
		silent(t, 2, "reconcile", remote, "--root", a.root)
		silent(t, 2, "validate", remote, "--rev", "main")
	})
	t.Run("key file", func(t *testing.T) {
		key := filepath.Join(a.dir, "bad.sec")
		for _, content := range []string{secret, "untrusted comment: x\n" + secret + "\n"} {
			if err := os.WriteFile(key, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			silent(t, 2, "reconcile", a.site, "--root", a.root, "--key", key)
		}
	})
	t.Run("remote of the repository", func(t *testing.T) {
		git(t, a.site, "config", "remote.origin.url", remote)
		git(t, a.site, "config", "http.extraHeader", "Authorization: Basic "+secret)
		silent(t, 0, "validate", a.site, "--rev", "HEAD")
		silent(t, 2, "validate", a.site, "--rev", "nowhere")
		silent(t, 2, a.pass("nowhere")...)
		silent(t, 0, "plan", a.site, "--root", a.root)
	})
	t.Run("malformed configuration", func(t *testing.T) {
		config := filepath.Join(a.site, ".git/config")
		good, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"[remote \"x\"]\n\turl = " + remote + "\n junk ] = " + secret, "[remote \"x]\n" + secret, secret, "[" + secret} {
			if err := os.WriteFile(config, []byte(string(good)+line+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			silent(t, -1, "validate", a.site, "--rev", "HEAD")
		}
		if err := os.WriteFile(config, good, 0o644); err != nil {
			t.Fatal(err)
		}
	})
}

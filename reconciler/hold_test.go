package reconciler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// follower is a site with a root, its ledger and a clock.
type follower struct {
	site
	*reconciler.Reconciler
	log *bytes.Buffer
}

func newFollower(t *testing.T) *follower {
	t.Helper()
	s := newSite(t)
	s.commit("fecs/fecs.cue", `platform: "x86"`, `platform: "x86"`+"\n\t\t"+`groups: ["ring"]`)
	s.commit("site.cue", "scripts:", "groups: ring: {}\n\tscripts:")
	return follow1(t, s, t.TempDir())
}

func follow1(t *testing.T, s site, root string) *follower {
	t.Helper()
	f := &follower{s, s.reconciler(root), &bytes.Buffer{}}
	f.Log = slog.New(slog.NewTextHandler(f.log, nil))
	f.Records = reconciler.NewRecords(root, f.Log)
	t.Cleanup(func() { f.Records.Close() })
	return f
}

// restarted is what comes after the death of a service: nothing of it is left but the root.
func (f *follower) restarted() *follower {
	f.t.Helper()
	must(f.t, f.Records.Close())
	again := follow1(f.t, f.site, f.Root)
	again.Now, again.Freezes, again.Machines = f.Now, f.Freezes, f.Machines
	return again
}

// change commits a change on top of the last commit; with an empty old, the file is new.
func (f *follower) change(name, old, new string) {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if old == "" {
		b, old = []byte(new), new
	} else if !bytes.Contains(b, []byte(old)) {
		f.t.Fatalf("%s does not hold %q: %v", name, old, err)
	}
	f.write(name, strings.Replace(string(b), old, new, 1))
	f.git("add", "-A")
	f.git("commit", "-qm", "change "+name, "--allow-empty")
}

func (f *follower) git(args ...string) string {
	f.t.Helper()
	git := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@localhost"}, args...)...)
	git.Dir = f.dir
	out, err := git.CombinedOutput()
	if err != nil {
		f.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (f *follower) head() string { return f.git("rev-parse", "HEAD") }

// later moves the clock.
func (f *follower) later(d time.Duration) {
	at := f.Now().Add(d)
	f.Now = func() time.Time { return at }
}

func (f *follower) pass() observed.Root {
	f.t.Helper()
	have := pass(f.t, f.Reconciler)
	whole(f.t, f.Root)
	return have
}

// commitServed is the commit that is published.
func (f *follower) commitServed() string {
	f.t.Helper()
	g, _ := observeRoot(f.t, f.Root).Published()
	return g.Commit
}

func (f *follower) hold(scope string, lasts time.Duration) observed.Hold {
	f.t.Helper()
	var h observed.Hold
	must(f.t, f.Alone(f.t.Context(), func(ctx context.Context) (err error) {
		h, err = f.Place(ctx, observed.Hold{Scope: scope, Reason: "commissioning", By: "ann", Until: f.Now().Add(lasts)})
		return err
	}))
	return h
}

func (f *follower) lift(id string) {
	f.t.Helper()
	must(f.t, f.Alone(f.t.Context(), func(ctx context.Context) error { return f.Lift(ctx, id, "bob") }))
}

func (f *follower) rollback(commit string) (observed.Hold, error) {
	f.t.Helper()
	var h observed.Hold
	err := f.Alone(f.t.Context(), func(ctx context.Context) (err error) {
		h, err = f.Rollback(ctx, commit, observed.Hold{Reason: "it trips", By: "ann", Until: f.Now().Add(24 * time.Hour)})
		return err
	})
	return h, err
}

// blocked says what holds keep back, as planning says it.
func (f *follower) blocked() (out []string) {
	f.t.Helper()
	rep, err := f.Plan(f.t.Context())
	must(f.t, err)
	for _, b := range rep.Plan.Blocked {
		out = append(out, b.String())
	}
	return out
}

func (f *follower) verify() {
	f.t.Helper()
	r := f.site.verifier()
	r.Branch = f.commitServed()
	for name, find := range map[string]reconciler.Find{"root": inRoot(f.t, f.Root), "url": atURL(served(f.t, f.Root))} {
		if v, err := r.Verify(f.t.Context(), find, publicKeys); err != nil || !v.Same {
			f.t.Errorf("%s: what is served is not what the commit says: %v: %v", name, err, texts(v))
		}
	}
}

func foldersOf(have observed.Root) map[string]string {
	out := map[string]string{}
	for _, fec := range have.Index.FECs {
		out[fec.Name] = fec.Folder.String()
	}
	return out
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %q, want %d", what, got, len(want))
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%s: %q, want %q in it", what, got[i], want[i])
		}
	}
}

func TestAHeldFECStaysWhileOthersMoveOn(t *testing.T) {
	f := newFollower(t)
	first := f.pass()
	h := f.hold("fecs.kgp2cu02", time.Hour)
	f.pass()
	// Everything that its folder is made of changes.
	f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	f.change("scripts/env", "echo global", "echo other")
	f.change("payload/bpm/1.1.0/bin/bpm", "echo 1.1.0", "echo other")
	f.change("fecs/fecs.cue", `platform: "x86"`, `platform: "ppc"`)
	have := f.pass()
	was, is := foldersOf(first), foldersOf(have)
	if is["kgp2cu02"] != was["kgp2cu02"] || is["kgp2cu01"] == was["kgp2cu01"] {
		t.Errorf("held FEC changed: %v; free one changed: %v", is["kgp2cu02"] != was["kgp2cu02"], is["kgp2cu01"] != was["kgp2cu01"])
	}
	expect(t, "blocked", f.blocked(), "fecs.kgp2cu02: bpm 1.1.0 → 1.0.0, script 10-env changed, platform x86 → ppc; held by "+h.ID+" of ann since 2026-11-21 12:00 UTC until 2026-11-21 13:00 UTC: commissioning")
	f.verify()
	f.later(time.Hour)
	if is := foldersOf(f.pass()); is["kgp2cu02"] == was["kgp2cu02"] {
		t.Error("the FEC stays although the hold has ended")
	}
	expect(t, "blocked", f.blocked())
	f.verify()
}

func TestAHeldFECOutlivesItsRemovalAndTheLossOfItsHost(t *testing.T) {
	f := newFollower(t)
	first := f.pass()
	f.hold("fecs.kgp2cu02", time.Hour)
	f.change("fecs/fecs.cue", `host:     "scuxl0003"`, `host:     "scuxl0002"`)
	f.change("fecs/fecs.cue", "\tkgp2cu02: {\n\t\thost:     \"scuxl0002\"", "\tkgp2cu04: {\n\t\thost:     \"scuxl0004\"")
	have := f.pass()
	if foldersOf(have)["kgp2cu02"] != foldersOf(first)["kgp2cu02"] {
		t.Error("a held FEC is gone")
	}
	if to, err := os.Readlink(filepath.Join(f.Root, "current/fecs/scuxl0002")); to != "kgp2cu02" || err != nil {
		t.Errorf("the host of a held FEC leads to %q, %v", to, err)
	}
	expect(t, "blocked", f.blocked(), "fecs.kgp2cu02: removed")
	f.verify()
	f.later(time.Hour)
	if foldersOf(f.pass())["kgp2cu02"] != "" {
		t.Error("a FEC that was removed is there after the hold")
	}
	if to, _ := os.Readlink(filepath.Join(f.Root, "current/fecs/scuxl0002")); to != "kgp2cu03" {
		t.Errorf("the host leads to %q", to)
	}
}

func TestAHeldGroupStaysAlsoWhenACommitEmptiesIt(t *testing.T) {
	f := newFollower(t)
	first := f.pass()
	f.Machines = []observe.MachineSource{{Name: "beam", Scope: "groups.ring", Reason: "beam", File: filepath.Join(t.TempDir(), "none")}}
	f.change("fecs/fecs.cue", "\n\t\tgroups: [\"ring\"]", "")
	f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	f.change("scripts/env", "echo global", "echo other")
	for range 3 {
		have := f.pass()
		if was, is := foldersOf(first), foldersOf(have); is["kgp2cu02"] != was["kgp2cu02"] || is["kgp2cu01"] == was["kgp2cu01"] {
			t.Errorf("held FEC changed: %v; free one changed: %v", is["kgp2cu02"] != was["kgp2cu02"], is["kgp2cu01"] != was["kgp2cu01"])
		}
		f.change("scripts/env", "echo", "echo more;echo")
	}
	expect(t, "blocked", f.blocked(), "held by machine.beam since 2026-11-21 12:00 UTC: beam (its state is not known")
	f.verify()
}

func TestTheSiteItselfStatesHolds(t *testing.T) {
	f := newFollower(t)
	first := f.pass()
	before := f.commitServed()
	f.change("holds.cue", "", `package site

holds: shift: {scope: "site", reason: "shift", responsible: "ann", until: "2026-11-22"}
holds: pilot: {scope: "fecs.kgp2cu02", reason: "pilot", until: "2026-11-25"}
`)
	f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	f.pass()
	if f.commitServed() != before {
		t.Error("a commit that holds the site is published")
	}
	expect(t, "blocked", f.blocked(), "site: commit "+f.head()[:12]+" is not published; held by git.shift of ann since 2026-11-21 12:00 UTC until 2026-11-23 00:00 UTC: shift")
	f.later(36 * time.Hour)
	have := f.pass()
	if f.commitServed() != f.head() || foldersOf(have)["kgp2cu02"] != foldersOf(first)["kgp2cu02"] {
		t.Errorf("after the site's hold, %s is published; the held FEC changed: %v", f.commitServed(), foldersOf(have)["kgp2cu02"] != foldersOf(first)["kgp2cu02"])
	}
	expect(t, "blocked", f.blocked(), "fecs.kgp2cu02: bpm 1.1.0 → 1.0.0; held by git.pilot")
	f.verify()
	f.change("holds.cue", `holds: pilot: {scope: "fecs.kgp2cu02", reason: "pilot", until: "2026-11-25"}`, "")
	if have := f.pass(); foldersOf(have)["kgp2cu02"] == foldersOf(first)["kgp2cu02"] {
		t.Error("the FEC stays although the hold was removed")
	}
}

func TestARollbackLastsUntilANewerCommit(t *testing.T) {
	f := newFollower(t)
	f.pass()
	good := f.head()
	f.change("scripts/env", "echo global", "echo bad")
	bad := f.head()
	f.pass()
	h, err := f.rollback(good)
	must(t, err)
	if rep, err := f.Reconcile(t.Context()); err != nil || rep.Built > 0 {
		t.Errorf("the rollback builds %d parts that are there, %v", rep.Built, err)
	}
	f.pass()
	if f.commitServed() != good {
		t.Fatalf("%s is published", f.commitServed())
	}
	expect(t, "blocked", f.blocked(), "site: commit "+bad[:12]+" is not published; held by "+h.ID)
	f.verify()
	// The branch goes back into what was rolled back, or before it: nothing newer.
	f.git("branch", "bad")
	f.git("reset", "-q", "--hard", good)
	f.pass()
	f.git("reset", "-q", "--hard", "bad")
	f.pass()
	if f.commitServed() != good {
		t.Errorf("%s is published again", f.commitServed())
	}
	f.change("scripts/env", "echo bad", "echo mended")
	f.pass()
	if f.commitServed() != f.head() {
		t.Errorf("%s is published, not the newer commit", f.commitServed())
	}
	f.git("reset", "-q", "--hard", "bad")
	f.pass()
	if f.commitServed() != bad {
		t.Error("a rollback that has ended is in force again")
	}
}

func TestASecondRollbackTakesTheFirstOnesPlace(t *testing.T) {
	f := newFollower(t)
	var commits []string
	for _, word := range []string{"one", "two", "three"} {
		f.change("scripts/env", "echo", "echo "+word+";echo")
		commits = append(commits, f.head())
		f.pass()
	}
	for _, i := range []int{1, 0} {
		h, err := f.rollback(commits[i])
		must(t, err)
		f.pass()
		if f.commitServed() != commits[i] {
			t.Errorf("%s is published, want %s", f.commitServed(), commits[i])
		}
		if st, err := f.Status(t.Context()); err != nil || len(st.Holds) != 1 || st.Holds[0].ID != h.ID {
			t.Errorf("holds %+v, %v", st.Holds, err)
		}
	}
	if _, err := f.rollback("HEAD"); err == nil || !strings.Contains(err.Error(), "name an earlier one") {
		t.Errorf("rolled back to the branch's own commit: %v", err)
	}
}

// TestARollbackToWhatIsGoneSaysSoFirst breaks the payload of the earlier commit.
func TestARollbackToWhatIsGoneSaysSoFirst(t *testing.T) {
	f := newFollower(t)
	f.change("software/bpm.cue", `"1.0.0": payload: any: {folder: "payload/bpm/1.0.0", install: "/opt/bpm/1.0.0"}`,
		`"1.0.0": payload: any: {https: {url: "https://127.0.0.1:1/bpm.tar.gz", sha256: "`+strings.Repeat("0", 64)+`"}, install: "/opt/bpm/1.0.0"}`)
	gone := f.head()
	f.git("revert", "--no-edit", "HEAD")
	f.pass()
	before := snapshot(t, f.Root)
	_, err := f.rollback(gone)
	if err == nil || !strings.Contains(err.Error(), "its payload is gone") {
		t.Errorf("rolling back to a commit without its payload says %v", err)
	}
	f.change("site.cue", "name:", "nmae:")
	broken := f.head()
	f.git("revert", "--no-edit", "HEAD")
	if _, err = f.rollback(broken); err == nil || !strings.Contains(err.Error(), "cannot be published again") {
		t.Errorf("rolling back to an invalid commit says %v", err)
	}
	f.Records.Close()
	after := snapshot(t, f.Root)
	delete(before, ".pomona/ledger.db")
	delete(after, ".pomona/ledger.db")
	for _, name := range []string{".pomona/ledger.db-wal", ".pomona/ledger.db-shm"} {
		delete(before, name)
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("the root changed (-before +after):\n%s", d)
	}
}

func TestASuspendedSiteStaysAndIsRepaired(t *testing.T) {
	f := newFollower(t)
	f.pass()
	before := f.commitServed()
	f.hold("site", time.Hour)
	f.change("scripts/env", "echo global", "echo other")
	must(t, os.Remove(filepath.Join(f.Root, "current/fecs/kgp2cu01/boot.manifest")))
	f.pass()
	if f.commitServed() != before || !isThere(filepath.Join(f.Root, "current/fecs/kgp2cu01/boot.manifest")) {
		t.Errorf("%s is published; the manifest is back: %v", f.commitServed(), isThere(filepath.Join(f.Root, "current/fecs/kgp2cu01/boot.manifest")))
	}
	// An invalid commit and a branch that is gone change nothing either.
	f.change("site.cue", "name:", "nmae:")
	f.pass()
	f.git("checkout", "-q", "--detach")
	f.git("branch", "-D", "main")
	f.Branch = "main"
	f.pass()
	f.git("branch", "main", "HEAD~1")
	must(t, f.Alone(t.Context(), func(ctx context.Context) error { _, err := f.Resume(ctx, "site", "bob"); return err }))
	f.pass()
	if f.commitServed() != f.git("rev-parse", "main") {
		t.Error("a resumed site does not follow its branch")
	}
}

func isThere(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func TestPermissionsOfWhatIsHeldDoNotPass(t *testing.T) {
	for _, scope := range []string{"fecs.kgp2cu03", "site"} {
		t.Run(scope, func(t *testing.T) {
			f := newFollower(t)
			first := f.pass()
			h := f.hold(scope, 200*24*time.Hour)
			f.pass()
			f.later(50 * 24 * time.Hour)
			f.change("README", "", "x")
			f.later(30 * 24 * time.Hour) // it ended with 2027-01-31
			have := f.pass()
			f.verify()
			manifest := func(have observed.Root) string {
				i := slices.IndexFunc(have.Index.FECs, func(x tree.IndexedFEC) bool { return x.Name == "kgp2cu03" })
				return have.Index.FECs[i].Content.String()
			}
			if manifest(have) != manifest(first) {
				t.Error("a permission has passed while its FEC was held")
			}
			f.lift(h.ID)
			if manifest(f.pass()) == manifest(first) {
				t.Error("a permission does not pass after the hold")
			}
		})
	}
}

// TestHeldFECsAreKeptAndMended prunes everything else and then breaks what a held FEC has.
func TestHeldFECsAreKeptAndMended(t *testing.T) {
	f := newFollower(t)
	f.change("site.cue", "scripts:", "retention: {generations: 2, grace: \"1h\"}\n\tscripts:")
	f.change("software/bpm.cue", "dev:", `"1.2.0": payload: any: {folder: "payload/bpm/1.0.0", install: "/opt/bpm/1.2.0"}
	"1.3.0": payload: any: {folder: "payload/bpm/1.0.0", install: "/opt/bpm/1.3.0"}
	"1.4.0": payload: any: {folder: "payload/bpm/1.0.0", install: "/opt/bpm/1.4.0"}
	dev:`)
	f.pass()
	held := f.commitServed()
	f.hold("fecs.kgp2cu02", 300*24*time.Hour)
	archive, folder := follow(t, f.Root, "fecs/kgp2cu02/software/bpm-1.1.0.tar.zst"), follow(t, f.Root, "fecs/kgp2cu02")
	f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	f.change("payload/bpm/1.1.0/bin/bpm", "echo 1.1.0", "echo other")
	for range 6 {
		f.later(48 * time.Hour)
		f.change("scripts/env", "echo", "echo more;echo")
		f.pass()
	}
	have := observeRoot(t, f.Root)
	if !isThere(archive) || have.Commits[held] == 0 || have.Generations[0].Number != have.Commits[held] || len(have.Generations) > 3 {
		t.Errorf("archive there: %v; generation of the held commit: %d; there are %d", isThere(archive), have.Commits[held], len(have.Generations))
	}
	if !isThere(filepath.Join(f.Root, "current/software/bpm/1.1.0")) {
		t.Error("the release that a held FEC runs is not served any more")
	}
	f.verify()
	want := snapshot(t, folder)
	must(t, os.RemoveAll(folder), os.Remove(archive))
	if mended := f.pass(); mended.Current != have.Current {
		t.Errorf("generation %d is published to mend generation %d", mended.Current, have.Current)
	}
	if d := cmp.Diff(want, snapshot(t, folder)); d != "" {
		t.Errorf("the held folder is restored otherwise (-want +got):\n%s", d)
	}
	f.verify()
}

// TestAHoldOutlivesAKill kills the service between placing a hold and publishing it, when the commit is there already.
func TestAHoldOutlivesAKill(t *testing.T) {
	for _, scope := range []string{"site", "fecs.kgp2cu01"} {
		f := newFollower(t)
		first := f.pass()
		f.hold(scope, time.Hour)
		f.change("scripts/env", "echo global", "echo other")
		f = f.restarted()
		have := f.pass()
		if foldersOf(have)["kgp2cu01"] != foldersOf(first)["kgp2cu01"] {
			t.Errorf("%s: a hold that was placed before a kill is forgotten", scope)
		}
	}
}

// TestADamagedLedgerChangesNothingServed damages the ledger while holds are in force, with and without a service that has
// read it.
func TestADamagedLedgerChangesNothingServed(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"garbage": func(t *testing.T, path string) {
			must(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 50_000), 0o600))
		},
		"gone": func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"a folder": func(t *testing.T, path string) {
			must(t, os.Remove(path), os.MkdirAll(filepath.Join(path, "x"), 0o700))
		},
	} {
		for _, running := range []bool{true, false} {
			f := newFollower(t)
			f.pass()
			site, fec := f.hold("site", 48*time.Hour), f.hold("fecs.kgp2cu02", 48*time.Hour)
			lifted := f.hold("fecs.kgp2cu01", 48*time.Hour)
			f.pass()
			f.lift(lifted.ID)
			f.pass()
			f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
			before := foldersOf(observeRoot(t, f.Root))
			if !running {
				must(t, f.Records.Close())
			}
			path := filepath.Join(f.Root, ".pomona", ledger.File)
			damage(t, path)
			if running { // it may not even notice
				if d := cmp.Diff(before, foldersOf(f.pass())); d != "" {
					t.Errorf("%s: what a running service serves changed (-before +after):\n%s", name, d)
				}
			}
			f = f.restarted()
			have := f.pass()
			if d := cmp.Diff(before, foldersOf(have)); d != "" {
				t.Errorf("%s, running %v: what is served changed (-before +after):\n%s", name, running, d)
			}
			if name != "gone" && !running && !strings.Contains(f.log.String(), "level=ERROR msg=\"ledger") {
				t.Errorf("%s, running %v: nothing is said:\n%s", name, running, f.log)
			}
			if name == "a folder" {
				continue // it cannot be written; the holds are as the tree states them
			}
			if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) == 0 && name == "garbage" && !running {
				t.Errorf("running %v: the damaged ledger is not set aside", running)
			}
			st, err := f.Status(t.Context())
			if err != nil || len(st.Holds) != 2 || st.Holds[0].ID != site.ID || st.Holds[1].ID != fec.ID || len(st.Passes) < 3 {
				t.Errorf("%s, running %v: status %+v, %v", name, running, st, err)
			}
			f.lift(site.ID)
			if have := f.pass(); foldersOf(have)["kgp2cu02"] != before["kgp2cu02"] || f.commitServed() != f.head() {
				t.Errorf("%s, running %v: after lifting, %s is published", name, running, f.commitServed())
			}
		}
	}
}

// TestAFullDiskForTheLedgerBlocksNoPass fills the ledger's disk.
func TestAFullDiskForTheLedgerBlocksNoPass(t *testing.T) {
	f := newFollower(t)
	f.pass()
	f.hold("fecs.kgp2cu02", 48*time.Hour)
	first := f.pass()
	must(t, f.Records.Use(t.Context(), func(l *ledger.Ledger) error { return l.Limit(t.Context()) }))
	var refused error
	for _, size := range []int{2000, 1} { // until not even a pass fits any more
		refused = nil
		for range 2000 {
			if refused = f.Alone(t.Context(), func(ctx context.Context) error {
				_, err := f.Place(ctx, observed.Hold{Scope: "fecs.kgp2cu01", Reason: strings.Repeat("long ", size), By: "ann", Until: f.Now().Add(time.Second)})
				return err
			}); refused != nil {
				break
			}
		}
	}
	for unrecorded := error(nil); unrecorded == nil; {
		unrecorded = f.Records.Use(t.Context(), func(l *ledger.Ledger) error {
			_, err := l.AddPass(t.Context(), ledger.Pass{})
			return err
		})
	}
	if refused == nil || !strings.Contains(refused.Error(), "full") {
		t.Fatalf("the disk is not full: %v", refused)
	}
	f.later(time.Hour)
	f.change("scripts/env", "echo global", "echo other")
	have := f.pass()
	if f.commitServed() != f.head() || foldersOf(have)["kgp2cu02"] != foldersOf(first)["kgp2cu02"] || foldersOf(have)["kgp2cu01"] == foldersOf(first)["kgp2cu01"] {
		t.Errorf("with a full disk for the ledger, %s is published", f.commitServed())
	}
	if !strings.Contains(f.log.String(), "ledger cannot be used") {
		t.Errorf("nothing is said:\n%s", f.log)
	}
}

func TestOperatorsMustSayWhyAndUntilWhen(t *testing.T) {
	f := newFollower(t)
	f.pass()
	for _, c := range []struct {
		h    observed.Hold
		want string
	}{
		{observed.Hold{Scope: "site", Until: now.Add(time.Hour)}, "needs a reason"},
		{observed.Hold{Scope: "site", Reason: " \n", Until: now.Add(time.Hour)}, "needs a reason"},
		{observed.Hold{Scope: "site", Reason: "r"}, "needs an end"},
		{observed.Hold{Scope: "site", Reason: "r", Until: now}, "would have ended already"},
		{observed.Hold{Scope: "site", Reason: "r", Until: now.AddDate(2, 0, 0)}, "more than a year"},
		{observed.Hold{Scope: "fec.a", Reason: "r", Until: now.Add(time.Hour)}, `malformed scope "fec.a"`},
		{observed.Hold{Scope: "fecs.kgp2cu1", Reason: "r", Until: now.Add(time.Hour)}, "did you mean fecs.kgp2cu"},
		{observed.Hold{Scope: "groups.rings", Reason: "r", Until: now.Add(time.Hour)}, "did you mean groups.ring?"},
	} {
		if _, err := f.Place(t.Context(), c.h); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.h, err, c.want)
		}
	}
	if err := f.Override(t.Context(), observed.Override{Hold: "freeze.1", Reason: "r"}); err == nil {
		t.Error("an override without an end is accepted")
	}
}

// TestOnlyAHoldIsOverridden: whoever misspells one must not believe that it is out of force.
func TestOnlyAHoldIsOverridden(t *testing.T) {
	f := newFollower(t)
	f.pass()
	override := func(id string) error {
		return f.Override(t.Context(), observed.Override{Hold: id, Reason: "urgent", By: "ann", Until: f.Now().Add(time.Hour)})
	}
	if err := override("machine.state"); err == nil || !strings.Contains(err.Error(), "there is no hold machine.state: none is in force") {
		t.Errorf("a machine that is not there: %v", err)
	}
	h, err := f.Place(t.Context(), observed.Hold{Scope: "site", Reason: "r", By: "ann", Until: f.Now().Add(time.Hour)})
	must(t, err)
	f.Freezes = []plan.Freeze{
		{Name: "night", Scope: desired.SiteScope, From: 2 * time.Hour, To: 3 * time.Hour}, // not now
		{Name: "gone", Scope: desired.SiteScope, Once: true, Begin: f.Now().Add(-2 * time.Hour), End: f.Now().Add(-time.Hour)},
	}
	f.Machines = []observe.MachineSource{{Name: "state", Scope: desired.SiteScope, File: "nowhere"}}
	f.change("holds.cue", "", `package site

holds: later: {scope: "site", reason: "beam time", responsible: "ann", from: "2027-01-01", until: "2027-01-02"}
holds: past: {scope: "site", reason: "beam time", responsible: "ann", until: "2026-01-02"}
`)
	for _, id := range []string{h.ID, "freeze.night", "machine.state", "git.later"} {
		if err := override(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	for id, want := range map[string]string{
		"machine.stat": "there is no hold machine.stat: did you mean machine.state?",
		"freeze.77":    "there is no hold freeze.77: those that are in force or may come are " + h.ID + ", git.later, freeze.night, machine.state",
		"freeze.gone":  "there is no hold freeze.gone: ",
		"git.past":     "there is no hold git.past: ",
		"git.latre":    "did you mean git.later?",
		"":             "there is no hold : ",
	} {
		if err := override(id); err == nil || !strings.HasPrefix(err.Error(), want) && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", id, err, want)
		}
	}
}

func TestStatusTellsWhatWasTriedAndWhatIsPublished(t *testing.T) {
	f := newFollower(t)
	f.pass()
	good := f.head()
	f.change("site.cue", "name:", "nmae:")
	if _, err := f.Reconcile(t.Context()); err == nil {
		t.Fatal("an invalid commit is published")
	}
	st, err := f.Status(t.Context())
	must(t, err)
	if st.Published == nil || st.Published.Commit != good || st.Attempted == nil || st.Attempted.Outcome != observed.Invalid || !strings.Contains(st.Attempted.Reason, "site.cue:") {
		t.Errorf("published %+v, attempted %+v", st.Published, st.Attempted)
	}
	if st.Wanted != f.head() || len(st.Passes) != 2 || st.Passes[1].Outcome != observed.Published {
		t.Errorf("wanted %s, passes %+v", st.Wanted, st.Passes)
	}
	b, err := json.Marshal(st)
	var back report.Status
	if err := errors.Join(err, json.Unmarshal(b, &back)); err != nil {
		t.Error(err)
	}
}

// TestTheCalendarHoldsTheSite goes through a window with a clock that jumps in both directions.
func TestTheCalendarHoldsTheSite(t *testing.T) {
	f := newFollower(t)
	f.pass()
	before := f.commitServed()
	f.Freezes = []plan.Freeze{{Name: "day", Scope: desired.SiteScope, Reason: "users", From: 10 * time.Hour, To: 14 * time.Hour}}
	f.change("scripts/env", "echo global", "echo other")
	f.pass()
	f.later(-90 * time.Minute)
	f.pass()
	if f.commitServed() != before {
		t.Fatal("a frozen site has changed")
	}
	expect(t, "blocked", f.blocked(), "held by freeze.day since 2026-11-21 10:00 UTC until 2026-11-21 14:00 UTC: users")
	must(t, f.Override(t.Context(), observed.Override{Hold: "freeze.day", Reason: "urgent", By: "ann", Until: f.Now().Add(time.Hour)}))
	f.pass()
	if f.commitServed() != f.head() {
		t.Fatal("an override does not free the site")
	}
	f.change("scripts/env", "echo other", "echo third")
	f.later(61 * time.Minute)
	f.pass()
	if f.commitServed() == f.head() {
		t.Fatal("an override outlives its end")
	}
	f.later(365 * 24 * time.Hour) // a year ahead, at the same hour
	f.pass()
	if f.commitServed() == f.head() {
		t.Fatal("the freeze is forgotten")
	}
	f.later(3 * time.Hour)
	f.pass()
	if f.commitServed() != f.head() {
		t.Fatal("the site stays although the freeze has ended")
	}
}

func TestASiteThatIsHeldBeforeItsFirstPassPublishesNothing(t *testing.T) {
	f := newFollower(t)
	must(t, reconciler.MakeRoot(f.Root))
	h := f.hold("site", time.Hour)
	rep, err := f.Reconcile(t.Context())
	must(t, err)
	if f.commitServed() != "" || len(rep.Plan.Blocked) != 1 || rep.Plan.Blocked[0].Holds[0].ID != h.ID {
		t.Errorf("%q is published, blocked is %+v", f.commitServed(), rep.Plan.Blocked)
	}
	expect(t, "blocked", f.blocked(), "site: commit "+f.head()[:12]+" is not published")
	f.later(time.Hour)
	f.pass()
	if f.commitServed() != f.head() {
		t.Error("nothing is published although the hold has ended")
	}
}

func TestAHeldFECIsExplainedByTheCommitAsWhichItStays(t *testing.T) {
	f := newFollower(t)
	f.pass()
	first := f.head()
	f.hold("fecs.kgp2cu02", time.Hour)
	f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	f.pass()
	for path, want := range map[string]string{"fecs/kgp2cu02/software/bpm-1.1.0.tar.zst": first, "fecs/kgp2cu01/boot.manifest": f.head()} {
		r := f.site.reconciler(f.Root)
		r.Branch = ""
		if x, err := r.Explain(t.Context(), path); err != nil || x.Commit != want {
			t.Errorf("%s is explained by %s, %v; want %s", path, x.Commit, err, want)
		}
	}
}

// watchedBy are the folders that monitoring systems read.
func watchedBy(have observed.Root) (out []tree.IndexedFolder) {
	for _, f := range have.Index.Folders {
		if tree.IsMonitoring(f.Path) {
			out = append(out, f)
		}
	}
	return out
}

// TestAHeldFECWhoseCommitIsGoneKeepsNobodyElse rewrites history, so that nobody can render the held FEC any more.
func TestAHeldFECWhoseCommitIsGoneKeepsNobodyElse(t *testing.T) {
	f := newFollower(t)
	first := f.pass()
	f.hold("fecs.kgp2cu02", time.Hour)
	f.hold("fecs.kgp2cu01", time.Hour)
	f.pass()
	s := f.site
	s.commit("scripts/env", "echo global", "echo other") // a repository without the commit
	again := follow1(t, s, f.Root)
	have := again.pass()
	was, is := foldersOf(first), foldersOf(have)
	if again.commitServed() != again.head() || is["kgp2cu02"] != was["kgp2cu02"] || is["kgp2cu01"] != was["kgp2cu01"] {
		t.Errorf("%s is published, want %s; held FECs changed: %v, %v", again.commitServed(), again.head(), is["kgp2cu02"] != was["kgp2cu02"], is["kgp2cu01"] != was["kgp2cu01"])
	}
	if d := cmp.Diff(watchedBy(first), watchedBy(have)); d != "" || len(watchedBy(have)) != 2 {
		t.Errorf("monitoring is told otherwise (-want +got):\n%s", d)
	}
	if !strings.Contains(again.log.String(), "held FEC stays as it is served") {
		t.Errorf("nothing is said:\n%s", again.log)
	}
	again.later(time.Hour)
	if is := foldersOf(again.pass()); is["kgp2cu02"] == was["kgp2cu02"] {
		t.Error("the FEC stays although the hold has ended")
	}
}

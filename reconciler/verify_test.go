package reconciler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// inRoot looks for a commit in a root.
func inRoot(t *testing.T, path string) reconciler.Find {
	t.Helper()
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return func(ctx context.Context, commit string) (*observe.Served, error) {
		return observe.ServedByRoot(ctx, root, commit)
	}
}

func atURL(url string) reconciler.Find {
	return func(ctx context.Context, commit string) (*observe.Served, error) {
		return observe.ServedByURL(ctx, url, commit)
	}
}

// served is a root behind Pomona's own server.
func served(t *testing.T, path string) string {
	t.Helper()
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	s := httptest.NewServer(serve.Tree(root, serve.Options{}))
	t.Cleanup(s.Close)
	return s.URL
}

// verifier knows nothing but the repository.
func (s site) verifier() *reconciler.Reconciler {
	r := s.reconciler("")
	r.Keys = nil
	r.Now = func() time.Time { return now.AddDate(3, 0, 0) } // long after permissions have passed
	return r
}

var publicKeys = []tree.PublicKey{signingKey(1).Public()}

func verify(t *testing.T, s site, find reconciler.Find, keys []tree.PublicKey) report.Verification {
	t.Helper()
	v, err := s.verifier().Verify(t.Context(), find, keys)
	if err != nil {
		t.Fatal(err)
	}
	if v.Same != (len(v.Differences) == 0) {
		t.Errorf("same is %v with %d differences", v.Same, len(v.Differences))
	}
	return v
}

func texts(v report.Verification) (out []string) {
	for _, d := range v.Differences {
		out = append(out, d.String())
	}
	return out
}

func TestWhatIsServedIsWhatTheCommitSays(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	before := snapshot(t, root)
	for name, find := range map[string]reconciler.Find{"root": inRoot(t, root), "url": atURL(served(t, root))} {
		v := verify(t, s, find, publicKeys)
		if d := cmp.Diff([]string(nil), texts(v)); d != "" {
			t.Errorf("%s: differences (-want +got):\n%s", name, d)
		}
		if v.Folders != 8 || v.Objects < 8 {
			t.Errorf("%s: compared %d folders, %d objects", name, v.Folders, v.Objects)
		}
	}
	if d := cmp.Diff(before, snapshot(t, root)); d != "" {
		t.Errorf("verifying changed the root (-before +after):\n%s", d)
	}
}

func TestVerifyRendersWithTheGivensOfItsGeneration(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	r := s.reconciler(root)
	r.Now = func() time.Time { return time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC) }
	if have := pass(t, r); len(have.Generations[1].Givens.Expired) != 1 {
		t.Fatal("no permission has passed")
	}
	if v := verify(t, s, inRoot(t, root), publicKeys); !v.Same || v.Generation != 2 {
		t.Errorf("generation %d: %v", v.Generation, texts(v))
	}
}

func TestAnEarlierCommitIsVerifiedToo(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	first := pass(t, s.reconciler(root)).Generations[0].Commit
	clone := site{t, filepath.Join(t.TempDir(), "clone")}
	if err := os.CopyFS(clone.dir, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	old := clone.verifier()
	s.commit("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	pass(t, s.reconciler(root))
	for name, find := range map[string]reconciler.Find{"root": inRoot(t, root), "url": atURL(served(t, root))} {
		v, err := old.Verify(t.Context(), find, publicKeys)
		if err != nil || !v.Same || v.Commit != first || v.Generation != 1 {
			t.Errorf("%s: %v: %+v", name, err, v)
		}
		if !strings.Contains(strings.Join(v.Notes, "\n"), "current is another commit") {
			t.Errorf("%s: notes %q", name, v.Notes)
		}
	}
	// Nothing is current.
	lost := copyRoot(t, root)
	replace(t, filepath.Join(lost, "current"), func() error { return nil })
	for name, find := range map[string]reconciler.Find{"root": inRoot(t, lost), "url": atURL(served(t, lost))} {
		if d := cmp.Diff([]string{"current: leads to no generation"}, texts(verify(t, s, find, publicKeys))); d != "" {
			t.Errorf("%s: differences (-want +got):\n%s", name, d)
		}
	}
	// The by-commit link of the current commit is missing, or leads to another generation.
	commit := observeRoot(t, root).Index.Commit
	link := filepath.Join(root, "by-commit", commit)
	replace(t, link, func() error { return os.Symlink("../generations/1", link) })
	want := []string{"by-commit/" + commit + ": does not lead to the current generation: want ../generations/2, got ../generations/1"}
	if d := cmp.Diff(want, texts(verify(t, s, inRoot(t, root), publicKeys))); d != "" {
		t.Errorf("differences (-want +got):\n%s", d)
	}
}

func TestACommitThatIsNotServedDiffers(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	s.commit("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	for name, find := range map[string]reconciler.Find{"root": inRoot(t, root), "url": atURL(served(t, root)), "empty": inRoot(t, t.TempDir())} {
		if v := verify(t, s, find, nil); v.Same || len(v.Differences) != 1 || !strings.Contains(v.Differences[0].String(), "is not served") {
			t.Errorf("%s: %v", name, texts(v))
		}
	}
}

// replace removes what is there and makes something else of it.
func replace(t *testing.T, path string, make func() error) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(path), make()); err != nil {
		t.Fatal(err)
	}
}

// edit rewrites a file, whatever its mode.
func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(bytes.Clone(b))
	if bytes.Equal(b, changed) {
		t.Fatalf("%s stays as it is", path)
	}
	replace(t, path, func() error {
		return errors.Join(os.WriteFile(path, changed, 0o600), os.Chmod(path, info.Mode()))
	})
}

func sub(old, new string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
}

func real(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEveryTamperingIsNamed changes one thing each time. The patterns of differences that follow are all that a root has;
// over HTTP those that begin with "root:" cannot be seen, and those with "url:" are what is seen instead.
func TestEveryTamperingIsNamed(t *testing.T) {
	const bpm = "fecs/kgp2cu01/software/bpm-1.0.0.tar.gz"
	for name, c := range map[string]struct {
		tamper func(t *testing.T, root string)
		want   []string
	}{
		"manifest edited": {func(t *testing.T, root string) {
			edit(t, real(t, root+"/current/fecs/kgp2cu01/boot.manifest"), sub(" start\n", " hold\n"))
		}, []string{`fecs/kgp2cu01/boot.manifest: manifest differs: want "software bpm`, "fecs/kgp2cu01/boot.manifest: no valid signature of a given key"}},
		"serial lowered": {func(t *testing.T, root string) {
			edit(t, real(t, root+"/current/fecs/kgp2cu02/boot.manifest"), sub("serial 2", "serial 1"))
		}, []string{`fecs/kgp2cu02/boot.manifest: manifest differs: want "serial 2`, "fecs/kgp2cu02/boot.manifest: no valid signature of a given key"}},
		"manifest cut": {func(t *testing.T, root string) {
			edit(t, real(t, root+"/current/fecs/kgp2cu01/boot.manifest"), func(b []byte) []byte { return b[:len(b)-9] })
		}, []string{"fecs/kgp2cu01/boot.manifest: malformed"}},
		"manifest removed": {func(t *testing.T, root string) {
			replace(t, real(t, root+"/current/fecs/kgp2cu01/boot.manifest"), func() error { return nil })
		}, []string{"fecs/kgp2cu01/boot.manifest: missing"}},
		"signed by another key": {func(t *testing.T, root string) {
			edit(t, real(t, root+"/current/fecs/kgp2cu01/boot.manifest"), func(b []byte) []byte {
				_, _, body, err := tree.ParseManifest(b)
				if err != nil {
					t.Fatal(err)
				}
				return append(tree.Sign(body, []tree.SecretKey{signingKey(9)}), body...)
			})
		}, []string{"fecs/kgp2cu01/boot.manifest: its folder is not the one that the index names",
			"fecs/kgp2cu01/boot.manifest: no valid signature of a given key: got one of key 0900000000000000"}},
		"signature of the index removed": {func(t *testing.T, root string) {
			replace(t, root+"/generations/1/index.sig", func() error { return nil })
		}, []string{"index.sig: missing"}},
		"object flipped": {func(t *testing.T, root string) {
			edit(t, real(t, root+"/current/"+bpm), func(b []byte) []byte { b[12] ^= 1; return b })
		}, []string{bpm + ": object differs: want sha256:", "software/bpm/1.0.0/bpm-1.0.0.tar.gz: object differs: want sha256:"}},
		"object cut": {func(t *testing.T, root string) {
			edit(t, real(t, root+"/current/"+bpm), func(b []byte) []byte { return b[:len(b)/2] })
		}, []string{bpm + ": object has ", "software/bpm/1.0.0/bpm-1.0.0.tar.gz: object has "}},
		"object longer": {func(t *testing.T, root string) {
			edit(t, real(t, root+"/current/"+bpm), func(b []byte) []byte { return append(b, 0) })
		}, []string{bpm + ": object has ", "software/bpm/1.0.0/bpm-1.0.0.tar.gz: object has "}},
		"object removed": {func(t *testing.T, root string) {
			replace(t, real(t, root+"/current/"+bpm), func() error { return nil })
		}, []string{bpm + ": object is missing", "software/bpm/1.0.0/bpm-1.0.0.tar.gz: object is missing"}},
		"archive of scripts removed": {func(t *testing.T, root string) {
			b, err := os.ReadFile(root + "/current/fecs/kgp2cu01/boot.manifest")
			if err != nil {
				t.Fatal(err)
			}
			m, _, _, err := tree.ParseManifest(b)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, root+"/objects/"+m.Scripts.Digest.Path(), func() error { return nil })
		}, []string{"objects/sha256/"}},
		"object writable": {func(t *testing.T, root string) {
			if err := os.Chmod(real(t, root+"/current/"+bpm), 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"root:" + bpm + ": object has mode -rw-r--r-- instead of -r--r--r--", "root:software/bpm/1.0.0/bpm-1.0.0.tar.gz: object has mode "}},
		"script of a folder no longer executable": {func(t *testing.T, root string) {
			if err := os.Chmod(real(t, root+"/current/fecs/global/pomona-boot"), 0o444); err != nil {
				t.Fatal(err)
			}
		}, []string{"root:fecs/global/pomona-boot: mode differs: want 0555, got 0444"}},
		"folder closed": {func(t *testing.T, root string) {
			if err := os.Chmod(real(t, root+"/current/fecs/kgp2cu01/init"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, []string{"root:fecs/kgp2cu01/init: mode differs: want 0755, got 0700"}},
		"boot client edited": {func(t *testing.T, root string) {
			edit(t, real(t, root+"/current/fecs/global/pomona-boot"), sub("#!/bin/sh", "#!/bin/ah"))
		}, []string{"fecs/global/pomona-boot: file differs: want sha256:"}},
		"monitoring file edited": {func(t *testing.T, root string) {
			edit(t, real(t, root+"/current/fecs/kgp2cu01/monitor/bpm"), sub("5000", "50001"))
		}, []string{"fecs/kgp2cu01/monitor/bpm: file differs"}},
		"link removed": {func(t *testing.T, root string) {
			link := filepath.Join(real(t, root+"/current/fecs/kgp2cu01/init"), "10-env")
			replace(t, link, func() error { return nil })
		}, []string{"fecs/kgp2cu01/init/10-env: missing"}},
		"links swapped": {func(t *testing.T, root string) {
			dir := real(t, root+"/current/fecs/kgp2cu01/init/")
			for _, move := range [][2]string{{"10-env", "x"}, {"50-bpm", "10-env"}, {"x", "50-bpm"}} {
				if err := os.Rename(filepath.Join(dir, move[0]), filepath.Join(dir, move[1])); err != nil {
					t.Fatal(err)
				}
			}
		}, []string{"root:fecs/kgp2cu01/init/10-env: link leads elsewhere", "root:fecs/kgp2cu01/init/50-bpm: link leads elsewhere",
			"url:fecs/kgp2cu01/init/10-env: leads to another object", "url:fecs/kgp2cu01/init/50-bpm: leads to another object"}},
		"link of a FEC turned": {func(t *testing.T, root string) {
			to, err := os.Readlink(root + "/current/fecs/kgp2cu02")
			if err != nil {
				t.Fatal(err)
			}
			link := root + "/generations/1/fecs/kgp2cu01"
			replace(t, link, func() error { return os.Symlink(to, link) })
		}, []string{"root:fecs/kgp2cu01: link leads elsewhere", `fecs/kgp2cu01/boot.manifest: manifest differs: want "fec kgp2cu01", got "fec kgp2cu02"`,
			"root:fecs/kgp2cu01/configuration: missing", "root:fecs/kgp2cu01/data: missing", "root:fecs/kgp2cu01/monitor: missing",
			"root:fecs/kgp2cu01/persistent-data: missing", "url:fecs/kgp2cu01/configuration/table-1.0.tar.gz: missing",
			"url:fecs/kgp2cu01/configuration/table-1.0.tar.gz.sha256: missing", "url:fecs/kgp2cu01/monitor/bpm: missing",
			"fecs/kgp2cu01/init/50-bpm: missing", bpm + ": missing", bpm + ".sha256: missing",
			"fecs/kgp2cu01/software/bpm-1.1.0.tar.zst: extra", "fecs/kgp2cu01/software/bpm-1.1.0.tar.zst.sha256: extra"}},
		"host turned": {func(t *testing.T, root string) {
			link := root + "/generations/1/fecs/scuxl0001"
			replace(t, link, func() error { return os.Symlink("kgp2cu02", link) })
		}, []string{"root:fecs/scuxl0001: link leads elsewhere: want kgp2cu01, got kgp2cu02", "url:fecs/scuxl0001: leads elsewhere: want kgp2cu01"}},
		"file instead of a link": {func(t *testing.T, root string) {
			link := filepath.Join(real(t, root+"/current/fecs/kgp2cu01/software"), "bpm-1.0.0.tar.gz")
			b, err := os.ReadFile(link)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, link, func() error { return os.WriteFile(link, b, 0o444) })
		}, []string{"root:" + bpm + ": another kind: want a link"}},
		"folder instead of a file": {func(t *testing.T, root string) {
			file := real(t, root+"/current/fecs/kgp2cu01/monitor/bpm")
			replace(t, file, func() error { return os.Mkdir(file, 0o755) })
		}, []string{"root:fecs/kgp2cu01/monitor/bpm: another kind: want a file, got a folder", "url:fecs/kgp2cu01/monitor/bpm: file differs"}},
		"file added to a FEC": {func(t *testing.T, root string) {
			replace(t, real(t, root+"/current/fecs/kgp2cu01/init")+"/60-evil", func() error { return nil })
			if err := os.WriteFile(real(t, root+"/current/fecs/kgp2cu01/init")+"/60-evil", nil, 0o444); err != nil {
				t.Fatal(err)
			}
		}, []string{"fecs/kgp2cu01/init/60-evil: extra: the commit has nothing here"}},
		"FEC added": {func(t *testing.T, root string) {
			if err := os.Symlink("kgp2cu02", root+"/generations/1/fecs/evil"); err != nil {
				t.Fatal(err)
			}
		}, []string{"fecs/evil: extra: the commit has nothing here"}},
		"file added beside the index": {func(t *testing.T, root string) {
			if err := os.WriteFile(root+"/generations/1/boot.sh", nil, 0o444); err != nil {
				t.Fatal(err)
			}
		}, []string{"boot.sh: extra: the commit has nothing here"}},
		"FEC removed": {func(t *testing.T, root string) {
			replace(t, root+"/generations/1/fecs/kgp2cu03", func() error { return nil })
		}, []string{"root:fecs/kgp2cu03: missing", "fecs/kgp2cu03/boot.manifest: missing", "url:fecs/kgp2cu03/software/bpm-dev.tar.gz: missing",
			"url:fecs/kgp2cu03/software/bpm-dev.tar.gz.sha256: missing"}},
		"index edited": {func(t *testing.T, root string) {
			edit(t, root+"/generations/1/index", sub("fec kgp2cu01 ", "fec kgp2cu09 "))
		}, []string{`index: line missing: want "fec kgp2cu01 …"`, `index: line too many: got "fec kgp2cu09 `, "index.sig: no valid signature of a given key"}},
		"index of another generation": {func(t *testing.T, root string) {
			edit(t, root+"/generations/1/index", sub("generation 1\n", "generation 7\n"))
		}, []string{`generation.json: generation differs`, `index: line differs: want "generation 1", got "generation 7"`, "index.sig: no valid signature of a given key"}},
		"index cut": {func(t *testing.T, root string) {
			edit(t, root+"/generations/1/index", func(b []byte) []byte { return b[:len(b)-3] })
		}, []string{"index: malformed", "index.sig: no valid signature of a given key"}},
		"index removed": {func(t *testing.T, root string) {
			replace(t, root+"/generations/1/index", func() error { return nil })
		}, []string{"index: missing", "index.sig: no valid signature of a given key"}},
		"generation.json edited": {func(t *testing.T, root string) {
			edit(t, root+"/generations/1/generation.json", sub(`"gitTree": "`, `"gitTree": "f`))
		}, []string{"generation.json: gitTree differs"}},
		"givens edited": {func(t *testing.T, root string) {
			edit(t, root+"/generations/1/generation.json", sub(`"expired": []`, `"expired": ["fecs.kgp2cu03.software.bpm.start"]`))
		}, []string{"fecs/kgp2cu03/boot.manifest: manifest differs", "generation.json: tree differs", `index: line differs: want "fec kgp2cu03 `,
			`index: line differs: want "tree `}},
		"generation.json is no JSON": {func(t *testing.T, root string) {
			edit(t, root+"/generations/1/generation.json", func(b []byte) []byte { return b[1:] })
		}, []string{"generation.json: malformed"}},
		"data folder removed": {func(t *testing.T, root string) {
			replace(t, root+"/data/kgp2cu01", func() error { return nil })
		}, []string{"root:data/kgp2cu01: no folder"}},
		"pipe instead of an object": {func(t *testing.T, root string) {
			object := real(t, root+"/current/"+bpm)
			replace(t, object, func() error { return mkfifo(object) })
		}, []string{"root:" + bpm + ": object is neither file, folder nor link", "url:" + bpm + ": object is missing", "software/bpm/1.0.0/bpm-1.0.0.tar.gz: object is "}},
		"link out of the root": {func(t *testing.T, root string) {
			object := real(t, root+"/current/"+bpm)
			replace(t, object, func() error { return os.Symlink("/proc/version", object) })
		}, []string{"root:" + bpm + ": object is a link", "url:" + bpm + ": object is missing", "software/bpm/1.0.0/bpm-1.0.0.tar.gz: object is "}},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := newSite(t), t.TempDir()
			pass(t, s.reconciler(root))
			url := served(t, root)
			c.tamper(t, root)
			for view, find := range map[string]reconciler.Find{"root": inRoot(t, root), "url": atURL(url)} {
				got := texts(verify(t, s, find, publicKeys))
				matches(t, view, c.want, got)
				if t.Failed() {
					t.Logf("%s:\n%s", view, strings.Join(got, "\n"))
				}
			}
		})
	}
}

// matches checks that each difference starts with its pattern, and that there are no others.
func matches(t *testing.T, view string, want, got []string) {
	t.Helper()
	n := 0
	for _, w := range want {
		if at, rest, ok := strings.Cut(w, ":"); ok && (at == "root" || at == "url") {
			if at != view {
				continue
			}
			w = rest
		}
		n++
		if !strings.Contains("\n"+strings.Join(got, "\n"), "\n"+w) {
			t.Errorf("%s: %q is not named", view, w)
		}
	}
	if n != len(got) {
		t.Errorf("%s: %d differences, want %d", view, len(got), n)
	}
}

// through is a server that answers some paths otherwise than the one behind it.
func through(t *testing.T, root string, change func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	opened, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	tree := serve.Tree(opened, serve.Options{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !change(w, r) {
			tree.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestVerifyOfAPlainServer(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	for name, c := range map[string]struct {
		change func(w http.ResponseWriter, r *http.Request) bool
		note   string
	}{
		"lists no folders": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/") {
				http.Error(w, "no", http.StatusForbidden)
			}
			return strings.HasSuffix(r.URL.Path, "/")
		}, "the server lists no folders"},
		"has no by-commit": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/by-commit/") {
				http.NotFound(w, r)
			}
			return strings.HasPrefix(r.URL.Path, "/by-commit/")
		}, "the server has no /by-commit/"},
		"knows no ranges": {func(_ http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("Range")
			return false
		}, "modes and links cannot be seen"},
		"redirects to itself": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/index" || r.URL.RawQuery != "" {
				return false
			}
			http.Redirect(w, r, "/index?again", http.StatusFound)
			return true
		}, "modes and links cannot be seen"},
	} {
		t.Run(name, func(t *testing.T) {
			v := verify(t, s, atURL(through(t, root, c.change)), publicKeys)
			if !v.Same || !strings.Contains(strings.Join(v.Notes, "\n"), c.note) {
				t.Errorf("notes %q, differences %q", v.Notes, texts(v))
			}
		})
	}
}

// TestVerifyOfAHostileServer: whatever a server answers, it is never the same, and nothing of it is taken in without
// bound.
func TestVerifyOfAHostileServer(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	script := "#!/bin/sh\n" + strings.Repeat("# long\n", 1000)
	s.commit("scripts/env", "", script)
	pass(t, s.reconciler(root))
	elsewhere := served(t, root)
	endless := func(w http.ResponseWriter) {
		for b := make([]byte, 1<<16); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		at     string // in the path
		answer func(w http.ResponseWriter, r *http.Request)
		want   string // in the error or a difference
	}{
		"redirect to another host": {"boot.manifest", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusFound)
		}, "refused a redirect to another host"},
		"redirect of the index": {"/index", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusFound)
		}, "refused a redirect to another host"},
		"redirect without end": {"boot.manifest", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, "refused a fourth redirect"},
		"endless object": {"/objects/", func(w http.ResponseWriter, _ *http.Request) { endless(w) }, "object has more than its"},
		"endless manifest": {"kgp2cu01/boot.manifest", func(w http.ResponseWriter, _ *http.Request) { endless(w) },
			"fecs/kgp2cu01/boot.manifest: cannot be read: got more than 1048576 bytes"},
		"endless listing": {"/init/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			endless(w)
		}, "10-env: leads to another object"},
		"promises more than it sends": {"boot.manifest", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("pomona-boot 1\n"))
		}, "boot.manifest: cannot be read: got unexpected EOF"},
		"fails": {"/software/bpm/1.0.0/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", 500) },
			"software/bpm/1.0.0/bpm-1.0.0.tar.gz: cannot be read: got the server answers 500"},
		"fails everywhere but at first": {"/objects/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", 500) },
			"cannot be read: got the server answers 500"},
		"an end whose length it does not say": {"/init/10-env", func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, script[len(script)-4<<10:])
		}, "fecs/kgp2cu01/init/10-env: leads to another object"},
		"empty": {"by-commit", func(http.ResponseWriter, *http.Request) {}, "malformed"},
		"all listings are links": {"/init/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<a href="..">x</a><a href="//evil/x">x</a><a href="%2e%2e%2f">x</a><a href="javascript:x">x</a><a href="./evil">x</a>`)
		}, "init/evil: extra"},
		"compressed": {"boot.manifest", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write([]byte("\x1f\x8b"))
		}, "boot.manifest: malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			url := through(t, root, func(w http.ResponseWriter, r *http.Request) bool {
				hit := strings.Contains(r.URL.Path, c.at)
				if hit {
					c.answer(w, r)
				}
				return hit
			})
			v, err := s.verifier().Verify(t.Context(), atURL(url), publicKeys)
			got := strings.Join(texts(v), "\n") + fmt.Sprint(err)
			if v.Same || !strings.Contains(got, c.want) {
				t.Errorf("no %q in %s", c.want, got)
			}
		})
	}
	if _, err := s.verifier().Verify(t.Context(), atURL("http://127.0.0.1:1"), nil); err == nil {
		t.Error("a server that is not there is no error")
	}
	for _, url := range []string{"", "ftp://x", "/srv", "http://", "http://%"} {
		if _, err := s.verifier().Verify(t.Context(), atURL(url), nil); err == nil || !strings.Contains(err.Error(), "malformed URL") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestVerifyGivesUpOnABrokenServer(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	for i := range 20 {
		s.write(fmt.Sprintf("fecs/more%d.cue", i), fmt.Sprintf("package site\n\nfecs: more%d: {host: \"m%d\", platform: \"ppc\"}\n", i, i))
	}
	s.commit("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	pass(t, s.reconciler(root))
	url := through(t, root, func(w http.ResponseWriter, r *http.Request) bool {
		hit := strings.Contains(r.URL.Path, "boot.manifest")
		if hit {
			http.Error(w, "", 500)
		}
		return hit
	})
	if _, err := s.verifier().Verify(t.Context(), atURL(url), nil); err == nil || !strings.Contains(err.Error(), "gave up after 16 paths") {
		t.Errorf("error is %v", err)
	}
}

func TestVerifySaysThatTheVersionsDiffer(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	edit(t, real(t, root+"/current/fecs/global/pomona-boot"), sub("#!/bin/sh", "#!/bin/ah"))
	r := s.verifier()
	r.Version = "another"
	v, err := r.Verify(t.Context(), inRoot(t, root), nil)
	notes := strings.Join(v.Notes, "\n")
	if err != nil || !strings.Contains(notes, "Pomona test rendered it and this is another") || !strings.Contains(notes, "signatures were not checked") {
		t.Errorf("notes %q, %v", notes, err)
	}
}

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVerify compares a root and two servers with a commit of another clone, before and after somebody tampers.
func TestVerify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reconcile()
	clone := filepath.Join(w.dir, "clone")
	git(t, w.dir, "clone", "-q", w.site, clone)
	pomonaServes, _ := w.serve()
	key := filepath.Join(w.dir, "key.pub")
	places := map[string][]string{
		"root":   {"--root", w.root},
		"pomona": {"--url", "http://" + pomonaServes},
		"nginx":  {"--url", "http://" + w.nginx() + "/"},
	}
	for name, at := range places {
		out := must(t, append([]string{"verify", clone, "--public-key", key}, at...)...)
		if !strings.Contains(out, "generation 1 is what commit "+git(t, clone, "rev-parse", "HEAD")[:12]+" says") {
			t.Errorf("%s: %s", name, out)
		}
	}
	// The same on a root of one's own.
	second := filepath.Join(w.dir, "second")
	must(t, "reconcile", clone, "--root", second, "--key", filepath.Join(w.dir, "key.sec"))
	must(t, "verify", w.site, "--public-key", key, "--root", second)

	fec := w.fecs()[0]
	script, err := filepath.EvalSymlinks(filepath.Join(w.root, "current/fecs", fec, "init/10-env"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-2] ^= 1
	w.put(script+".new", b)
	if err := os.Chmod(script+".new", 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(script+".new", script); err != nil {
		t.Fatal(err)
	}
	for name, at := range places {
		out, errs, code := pomona(t, append([]string{"verify", clone, "--public-key", key}, at...)...)
		if want := "\nfecs/" + fec + "/init/10-env: object differs: want sha256:"; code != 1 || !strings.Contains("\n"+out, want) {
			t.Errorf("%s: exit code %d\n%s%s", name, code, out, errs)
		}
	}
}

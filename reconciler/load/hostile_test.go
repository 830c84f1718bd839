package load_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/load"
)

// bombs are small files that take all time or memory of an ordinary evaluation. want is what their problem must mention; "any"
// for those that CUE itself refuses by now, or nearly; "" for one that is harmless.
var bombs = map[string]struct{ src, want string }{
	"range":   {"import \"list\"\nfecs: \"kg-x\": groups: list.Range(0, 1e9, 1)", "evaluation takes more than"},
	"unions":  {unions(22), "evaluation takes more than"},
	"loops":   {"_n: [for a in _r for b in _r for c in _r {a*b*c}]\n_r: [for i in [1,2,3,4,5,6,7,8,9,10] for j in [1,2,3,4,5,6,7,8,9,10] for k in [1,2,3,4,5,6,7,8,9,10] {i*j*k}]\n" + `fecs: "kg-x": description: "\(len(_n))"`, "evaluation takes more than"},
	"laughs":  {laughs(10), "any"},
	"double":  {doubled(31), "evaluation takes more than"},
	"replace": {"import \"strings\"\n_a: strings.Repeat(\"0\", 1000000)\n_b: _a+_a+_a+_a+_a+_a+_a+_a+_a+_a\nfecs: \"kg-x\": description: strings.Replace(_b, \"0\", _b, -1)", "evaluation takes more than"},
	"labels":  {strings.Repeat("b:", 100_000) + "1", "any"},
	"deep":    {"_x: " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), "any"},
	"cycle":   {"_x: {a: _x}\nfecs: \"kg-x\": _x", "any"},
	"repeat":  {"import \"strings\"\nfecs: \"kg-x\": description: strings.Repeat(\"0\", 1000000000)", "any"},
	"exec":    {"import \"tool/exec\"\n_x: exec.Run & {cmd: \"true\"}", ""},
}

func unions(n int) string {
	var b strings.Builder
	b.WriteString("_x: {}")
	for i := range n {
		fmt.Fprintf(&b, " & ({a%d: 1} | {b%d: 1})", i, i)
	}
	return b.String()
}

func laughs(n int) string {
	s := "_l0: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n"
	for i := range n {
		s += fmt.Sprintf("_l%d: [%s_l%d]\n", i+1, strings.Repeat(fmt.Sprintf("_l%d, ", i), 9), i)
	}
	return s + fmt.Sprintf("fecs: \"kg-x\": groups: _l%d\n", n)
}

func doubled(n int) string {
	s := "_s0: \"0123456789\"\n"
	for i := range n {
		s += fmt.Sprintf("_s%d: _s%d + _s%d\n", i+1, i, i)
	}
	return s + fmt.Sprintf("fecs: \"kg-x\": description: _s%d\n", n)
}

// TestBombs evaluates all bombs in one site with healthy folders.
func TestBombs(t *testing.T) {
	skipRace(t)
	m := newMemory().put("cue.mod/module.cue", module, artifact.Regular).put("site.cue", settings, artifact.Regular)
	for name, b := range bombs {
		m.put("bombs/"+name+"/b.cue", "package site\n"+b.src+"\n", artifact.Regular)
	}
	const healthy = 40
	for i := range healthy {
		m.put(fmt.Sprintf("f%02d/f.cue", i), fmt.Sprintf("package site\nfecs: \"kg%d\": {host: \"h%d\", platform: \"ppc\"}\n", i, i), artifact.Regular)
	}
	o := options(t)
	o.Deadline = 3 * time.Second
	loaded, err := load.Site(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Site.FECs) != healthy || loaded.Site.Settings.Name != "acc" {
		t.Errorf("%d of %d healthy FECs, site %q", len(loaded.Site.FECs), healthy, loaded.Site.Settings.Name)
	}
	said := map[string]string{}
	for _, p := range loaded.Problems {
		t.Logf("%.200s", p)
		parts := strings.Split(p.File, "/")
		if parts[0] != "bombs" || p.Line == 0 {
			t.Errorf("problem not of a bomb: %s", p)
			continue
		}
		said[parts[1]] += p.Text
	}
	for name, b := range bombs {
		switch got := said[name]; {
		case b.want == "" && got != "", b.want == "any" && got == "", !strings.Contains(got, b.want) && b.want != "any":
			t.Errorf("%s: problem %q, want %q", name, got, b.want)
		}
	}
}

// TestTooManyBombs has more bombs than are worth trying: the rest of the commit is given up, and says so.
func TestTooManyBombs(t *testing.T) {
	skipRace(t)
	m := small(0)
	const n = 40
	for i := range n {
		m.put(fmt.Sprintf("b%02d/b.cue", i), "package site\n"+strings.Replace(bombs["replace"].src, "fecs:", fmt.Sprintf("_n: %d\nfecs:", i), 1)+"\n", artifact.Regular)
	}
	o := options(t)
	loaded := mustLoad(t, load.New(o), m)
	count := map[string]int{}
	for _, p := range loaded.Problems {
		count[p.Text]++
	}
	blamed := count["evaluation takes more than 512 MiB"]
	if blamed < 16 || blamed > 20 || count["not evaluated, since 16 other folders take too much"] != n-blamed {
		t.Errorf("problems by text: %v", count)
	}
}

// TestCancel ends an evaluation that would take a minute, and leaves no process behind.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	o := options(t)
	o.Deadline = time.Minute
	m := small(1).put("b/b.cue", "package site\n"+unions(22)+"\n", artifact.Regular)
	if loaded, err := load.Site(ctx, m, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, loaded %+v", err, loaded)
	}
	o.Worker = []string{"sleep", "60"} // on a busy machine it may not even be ready
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if loaded, err := load.Site(ctx, m, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, loaded %+v, by one that never begins", err, loaded)
	}
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Fatalf("no lists of children: %v", err)
	}
	for _, name := range lists {
		if b, err := os.ReadFile(name); err == nil && len(b) > 0 {
			t.Errorf("children left: %s", b)
		}
	}
}

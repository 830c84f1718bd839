package repo_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// version is a commit of a history that a test makes up, with all its files.
type version struct {
	id      string
	parents []int
	files   map[string]string
}

// imported has git write a history down.
func imported(tb testing.TB, history []version) string {
	tb.Helper()
	dir := tb.TempDir()
	var in strings.Builder
	for i, v := range history {
		fmt.Fprintf(&in, "commit refs/heads/main\nmark :%d\ncommitter A <a@example.org> %d +0000\ndata 0\n", i+1, 1e9+i)
		for n, p := range v.parents {
			fmt.Fprintf(&in, "%s :%d\n", []string{"from", "merge"}[min(n, 1)], p+1)
		}
		in.WriteString("deleteall\n")
		for _, name := range slices.Sorted(maps.Keys(v.files)) {
			fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", name, len(v.files[name]), v.files[name])
		}
	}
	marks := filepath.Join(dir, "marks")
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"fast-import", "--quiet", "--force", "--export-marks=" + marks}} {
		cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
		cmd.Stdin = bytes.NewReader([]byte(in.String()))
		if out, err := cmd.CombinedOutput(); err != nil {
			tb.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	b, err := os.ReadFile(marks)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var i int
		var id string
		if _, err := fmt.Sscanf(line, ":%d %s", &i, &id); err != nil {
			tb.Fatal(err)
		}
		history[i-1].id = id
	}
	return dir
}

// speaks are the files of a version with all of some words.
func (v version) speaks(words []string) map[string]string {
	own := map[string]string{}
	for name, text := range v.files {
		if strings.HasSuffix(name, ".cue") && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
			own[name] = text
		}
	}
	return own
}

// sayings are what Sayings must find of one list, looked for file by file and line by line.
func sayings(history []version, words []string) (found []string) {
	for _, v := range history {
		own := v.speaks(words)
		says := len(own) > 0
		for _, p := range v.parents {
			says = says && !maps.Equal(own, history[p].speaks(words))
		}
		if !says {
			continue
		}
		adds := false
		for name, text := range own {
			before := map[string]bool{}
			for _, p := range v.parents {
				for line := range strings.Lines(history[p].files[name]) {
					before[strings.TrimSpace(line)] = true
				}
			}
			all := true
			for _, word := range words {
				all = all && slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool { return strings.Contains(line, word) && !before[strings.TrimSpace(line)] })
			}
			adds = adds || all
		}
		found = append(found, fmt.Sprint(v.id, adds))
	}
	return found
}

// TestSayingsAreThoseOfEachFile compares, for histories made up at random, with looking into every file of every commit.
func TestSayingsAreThoseOfEachFile(t *testing.T) {
	lists := [][]string{{"r-1", "at 1"}, {"r-10", "at 1"}, {"record-of-1", "at 1"}, {"record-of-10", "at 2"}, {"of-1", "at 2"}, {"a longer record-of-1", "at 1"}, {"nowhere-at-all", "at 1"}}
	total := 0
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 1))
		names := []string{"a.cue", "b/a.cue", "b/c/d.cue", "b/c.txt", "e.cue/f.cue"}
		history := []version{{files: map[string]string{"a.cue": "package site\n"}}}
		for len(history) < 25 {
			v := version{parents: []int{len(history) - 1}, files: map[string]string{}}
			if len(history) > 3 && r.IntN(3) == 0 {
				v.parents = []int{len(history) - 1, r.IntN(len(history) - 1)}
			}
			for _, p := range v.parents {
				if p == v.parents[0] || r.IntN(2) == 0 {
					maps.Copy(v.files, history[p].files)
				}
			}
			for range r.IntN(3) {
				name := names[r.IntN(len(names))]
				switch words := lists[r.IntN(len(lists)-1)]; r.IntN(4) {
				case 0:
					delete(v.files, name)
				case 1:
					to := names[r.IntN(len(names))]
					if text, ok := v.files[name]; ok {
						delete(v.files, name)
						v.files[to] = text
					}
				default:
					v.files[name] += fmt.Sprintf("%s\n  %s\n", words[0], words[1])
				}
			}
			history = append(history, v)
		}
		dir := imported(t, history)
		changes, _ := changesAt(t, dir, "main")
		got, err := changes.Sayings(t.Context(), lists)
		if err != nil {
			t.Fatal(err)
		}
		for i, words := range lists {
			var found []string
			for _, s := range got[i] {
				found = append(found, fmt.Sprint(s.Commit, s.Adds))
			}
			want := sayings(history, words)
			slices.Sort(found)
			if slices.Sort(want); !slices.Equal(found, want) {
				t.Errorf("history %d, %q: %q, want %q", seed, words, found, want)
			}
			total += len(want)
		}
	}
	if total < 100 {
		t.Errorf("only %d are to be found", total)
	}
}

// BenchmarkSayings looks for a thousand records, each written down by a commit of its own.
func BenchmarkSayings(b *testing.B) {
	const n = 1000
	var history []version
	var words [][]string
	files := map[string]string{"site.cue": "package site\n"}
	for i := range n {
		name, at := fmt.Sprintf("trial-debian12-20261122-%08x", i*2654435761), fmt.Sprintf("2026-11-22T%02d:%02d:%02dZ", i/3600, i/60%60, i%60)
		words = append(words, []string{name, at})
		files = maps.Clone(files)
		files[fmt.Sprintf("prerequisites/record_%d.cue", i)] = fmt.Sprintf("package site\n\nprerequisites: dbus: records: %q: {\n\tat: %q\n}\n", name, at)
		v := version{files: files}
		if i > 0 {
			v.parents = []int{i - 1}
		}
		history = append(history, v)
	}
	rep, head := opened(b, imported(b, history), "main")
	for b.Loop() {
		changes, err := rep.Changes(head)
		if err != nil {
			b.Fatal(err)
		}
		if found, err := changes.Sayings(b.Context(), words); err != nil || len(found[n-1]) != 1 {
			b.Fatal(found, err)
		}
	}
}

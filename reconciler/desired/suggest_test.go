package desired_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestSuggest(t *testing.T) {
	for _, c := range []struct {
		name, word string
		known      []string
		want       string
	}{
		{"missing letter", "beam-los", []string{"bpm", "beam-loss"}, "beam-loss"},
		{"added letter", "bpmm", []string{"bpm", "rf"}, "bpm"},
		{"replaced letter", "bqm", []string{"bpm", "rf"}, "bpm"},
		{"swapped neighbours count once", "bmp", []string{"bpm", "rf"}, "bpm"},
		{"one of three letters at most", "bpm", []string{"bqn"}, ""},
		{"two of six letters", "timimh", []string{"tuning", "timing"}, "timing"},
		{"nearest wins", "kgp2cu03", []string{"kgp2cu12", "kgp2cu02"}, "kgp2cu02"},
		{"case does not count", "Production", []string{"productions", "production"}, "production"},
		{"first of equals, whatever the order", "bpx", []string{"bpz", "bpm", "bpy"}, "bpm"},
		{"nothing known", "bpm", nil, ""},
		{"nothing near", "bpm", []string{"timing"}, ""},
		{"empty word", "", []string{"timing"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := desired.Suggest(c.word, c.known); got != c.want {
				t.Errorf("Suggest(%q, %q) = %q, want %q", c.word, c.known, got, c.want)
			}
		})
	}
}

// Whatever the order of the known words, the suggestion is the same and is one of them.
func TestSuggestIgnoresOrder(t *testing.T) {
	word := rapid.StringMatching(`[a-c]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		w, known := word.Draw(t, "word"), rapid.SliceOf(word).Draw(t, "known")
		got := desired.Suggest(w, known)
		if got != "" && !slices.Contains(known, got) {
			t.Fatalf("Suggest(%q, %q) = %q, which is not known", w, known, got)
		}
		if again := desired.Suggest(w, rapid.Permutation(known).Draw(t, "permuted")); again != got {
			t.Fatalf("Suggest(%q, …) = %q and, in another order, %q", w, got, again)
		}
	})
}

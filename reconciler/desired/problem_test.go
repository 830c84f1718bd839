package desired_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestEchoesAreLeftOut(t *testing.T) {
	ps := desired.Problems{
		{Text: "unknown software", Missing: "software.bpm", Advice: "declare it"},
		{Text: "unknown platform", Missing: "site.platforms.ppc", Advice: "declare it"},
		{Text: "misspelt", Missing: "software.bmp", Advice: `did you mean "bpm"?`},
		{Text: "no reference", Path: "fecs.x.groups[1]"},
	}
	for name, c := range map[string]struct {
		known  desired.Problems
		broken map[string]bool
		lost   bool
		want   []string
	}{
		"nothing broken":           {nil, nil, false, []string{"unknown software", "unknown platform", "misspelt", "no reference"}},
		"broken object":            {nil, map[string]bool{"software.bpm": true}, false, []string{"unknown platform", "misspelt", "no reference"}},
		"broken site":              {nil, map[string]bool{"site": true}, false, []string{"unknown software", "misspelt", "no reference"}},
		"a path below a known one": {desired.Problems{{Path: "fecs.x.groups"}}, nil, false, []string{"unknown software", "unknown platform", "misspelt"}},
		"a lost unit":              {nil, nil, true, []string{"misspelt", "no reference"}},
	} {
		var got []string
		for _, p := range ps.WithoutEchoes(c.known, c.broken, c.lost) {
			got = append(got, p.Text)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

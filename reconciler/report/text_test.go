package report_test

import (
	"io"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// TestNothingSteersATerminal shows values of a site, and names that somebody left in a root, with control sequences of two
// kinds, a change of direction and a line break in them.
func TestNothingSteersATerminal(t *testing.T) {
	for _, hostile := range []string{"\x1b[2J", "\u009b2J", "\u202e", "a\nrepaired: nothing"} {
		for name, text := range map[string]func(io.Writer) error{
			"report": report.Report{Repaired: []observed.Damage{{Path: hostile, What: "was removed"}}}.Text,
			"explanation": report.Explanation{
				Path: hostile, What: "value " + hostile, Sources: []report.Source{{Role: "value", Path: hostile, Value: hostile, Why: hostile}},
			}.Text,
		} {
			var b strings.Builder
			if err := text(&b); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), hostile) {
				t.Errorf("%s: %q", name, b.String())
			}
		}
	}
}

// TestWhatIsBesideAPastTimeIsOfNow, and says so where nothing else tells.
func TestWhatIsBesideAPastTimeIsOfNow(t *testing.T) {
	x := report.FECAside{FEC: report.FEC{Name: "a"}, Beside: &report.FECBeside{Name: "b"}}
	for then, want := range map[*report.FECThen]bool{nil: false, {}: true} {
		x.Then = then
		var b strings.Builder
		if err := x.Text(&b); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "\nas both are now:\nDIFFERS"); got != want {
			t.Errorf("%s", b.String())
		}
	}
}

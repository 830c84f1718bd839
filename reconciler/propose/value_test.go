package propose_test

import (
	"encoding/json"
	"testing"

	"cuelang.org/go/cue/cuecontext"
	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/propose"
)

// written is what CUE makes of a record that a file states.
func written(t *testing.T, name string, r desired.PilotRecord) (got desired.PilotRecord) {
	t.Helper()
	f, err := propose.Written("a.cue", "Made by a test.", propose.Statement{Path: []string{"pilots", "a-b", "records", name}, Value: r})
	if err != nil {
		t.Fatal(err)
	}
	v := cuecontext.New().CompileBytes(f.Content)
	b, err := v.MarshalJSON()
	if err != nil {
		t.Fatalf("%v\n%s", err, f.Content)
	}
	var site desired.Site
	if err := json.Unmarshal(b, &site); err != nil {
		t.Fatal(err)
	}
	return site.Pilots["a-b"].Records[name]
}

func TestWrittenIsHowPeopleWrite(t *testing.T) {
	f, err := propose.Written("a.cue", "Made by\nsomebody.", propose.Statement{Path: []string{"pilots", "grid-1", "records", "report-1"}, Value: desired.PilotRecord{
		Kind: "report", By: "a@b", At: "2026-10-01T08:30:00Z", Checks: map[string]desired.CheckResult{"docs": {Verdict: "pass", Text: "one\ntwo \"\"\" \\(x)"}},
		Closure: &desired.RPMClosure{Exit: 1, Unmet: []string{"a", "b"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := `// Made by
// somebody.
package site

pilots: "grid-1": records: "report-1": {
	kind: "report"
	by:   "a@b"
	at:   "2026-10-01T08:30:00Z"
	closure: {
		exit: 1
		unmet: [
			"a",
			"b",
		]
	}
	checks: {
		docs: {
			verdict: "pass"
			text: #"""
				one
				two """ \#\(x)
				"""#
		}
	}
}
`
	if diff := cmp.Diff(want, string(f.Content)); diff != "" {
		t.Error(diff)
	}
}

// FuzzWritten says that what is written reads back as it was, whatever people have typed.
func FuzzWritten(f *testing.F) {
	for _, s := range []string{"", "a", "a\nb", "\n", "a\r\nb", "\\(x) \"\"\" #", "\t\n\t", "\x00\u2028", "ends\n", `"`} {
		f.Add(s, 1.5)
	}
	f.Fuzz(func(t *testing.T, s string, n float64) {
		b, err := json.Marshal(s)
		if err != nil {
			t.Skip()
		}
		if err := json.Unmarshal(b, &s); err != nil { // JSON replaces what is no UTF-8
			t.Fatal(err)
		}
		if _, err := json.Marshal(n); err != nil {
			t.Skip()
		}
		want := desired.PilotRecord{Kind: s, Text: s, Checks: map[string]desired.CheckResult{s: {Verdict: s}}, Closure: &desired.RPMClosure{Unmet: []string{s, s}}, Resources: &desired.SiteResources{StorageTiB: n}}
		if diff := cmp.Diff(want, written(t, "r-1", want)); diff != "" {
			t.Error(diff)
		}
	})
}

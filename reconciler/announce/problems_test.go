package announce_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

var problems = desired.Problems{
	{File: "fecs/a,b.cue", Line: 3, Column: 7, Path: "fecs.x.host", Text: "100% wrong:\nreally", Advice: "write <another>"},
	{File: "site.cue", Line: 1, Column: 1, Text: "soon to expire", Warning: true},
	{Text: "no place"},
}

func written(t *testing.T, format string, ps desired.Problems) string {
	t.Helper()
	var b bytes.Buffer
	if err := announce.Problems(&b, format, "v1.2.3", ps); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	want := "fecs/a,b.cue:3:7: fecs.x.host: 100% wrong:\nreally; write <another>\nsite.cue:1:1: warning: soon to expire\nno place\n"
	if d := cmp.Diff(want, written(t, "text", problems)); d != "" {
		t.Errorf("text (-want +got):\n%s", d)
	}
}

func TestGitHub(t *testing.T) {
	want := strings.Join([]string{
		"::error file=fecs/a%2Cb.cue,line=3,col=7,title=pomona validate::fecs.x.host: 100%25 wrong:%0Areally; write <another>",
		"::warning file=site.cue,line=1,col=1,title=pomona validate::soon to expire",
		"::error title=pomona validate::no place", "",
	}, "\n")
	if d := cmp.Diff(want, written(t, "github", problems)); d != "" {
		t.Errorf("annotations (-want +got):\n%s", d)
	}
}

func TestJSON(t *testing.T) {
	for _, ps := range []desired.Problems{problems, problems[1:2], nil} {
		var got struct {
			Valid    bool
			Problems desired.Problems
		}
		if err := json.Unmarshal([]byte(written(t, "json", ps)), &got); err != nil {
			t.Fatal(err)
		}
		if got.Valid != (len(ps) < 2) || len(got.Problems) != len(ps) {
			t.Errorf("%d problems give %+v", len(ps), got)
		}
	}
	if s := written(t, "json", nil); !strings.Contains(s, `"problems": []`) {
		t.Errorf("no problems are written as %s", s)
	}
}

// TestSARIF holds the output to the schema that OASIS publishes, which go-sarif carries.
func TestSARIF(t *testing.T) {
	for _, ps := range []desired.Problems{problems, nil} {
		got, err := sarif.FromString(written(t, "sarif", ps))
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("invalid SARIF: %v", err)
		}
		if len(got.Runs) != 1 || len(got.Runs[0].Results) != len(ps) {
			t.Fatalf("%d runs", len(got.Runs))
		}
	}
	got, _ := sarif.FromString(written(t, "sarif", problems))
	place := got.Runs[0].Results[0].Locations[0].PhysicalLocation
	if *place.ArtifactLocation.URI != "fecs/a,b.cue" || *place.Region.StartLine != 3 || *place.Region.StartColumn != 7 || got.Runs[0].Results[0].Level != "error" {
		t.Errorf("first result is %+v at %+v", got.Runs[0].Results[0], place)
	}
}

func TestJUnit(t *testing.T) {
	var got struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			File    string `xml:"file,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal([]byte(written(t, "junit", problems)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 3 || got.Failures != 2 || got.Cases[0].Failure == nil || got.Cases[1].Failure != nil {
		t.Errorf("test suite is %+v", got)
	}
	if s := written(t, "junit", nil); !strings.Contains(s, `failures="0"`) {
		t.Errorf("no problems are written as %s", s)
	}
}

func TestUnknownFormat(t *testing.T) {
	if err := announce.Problems(&bytes.Buffer{}, "yaml", "", nil); err == nil {
		t.Error("accepted")
	}
}

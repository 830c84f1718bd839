// Package announce tells people: problems of a site in the forms that terminals, forges and CI systems read.
package announce

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Formats are the forms that Problems writes.
var Formats = []string{"text", "json", "github", "sarif", "junit"}

// Problems writes all problems of a site in one of Formats; version is Pomona's own.
func Problems(w io.Writer, format, version string, ps desired.Problems) error {
	switch format {
	case "text":
		return text(w, ps)
	case "json":
		return asJSON(w, ps)
	case "github":
		return github(w, ps)
	case "sarif":
		return asSARIF(w, version, ps)
	case "junit":
		return junit(w, ps)
	}
	return fmt.Errorf("unknown output format %q: want one of %s", format, strings.Join(Formats, ", "))
}

func text(w io.Writer, ps desired.Problems) error {
	for _, p := range ps {
		if _, err := fmt.Fprintln(w, p); err != nil {
			return err
		}
	}
	return nil
}

// asJSON writes one object: valid, and the problems.
func asJSON(w io.Writer, ps desired.Problems) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		Valid    bool             `json:"valid"`
		Problems desired.Problems `json:"problems"`
	}{len(ps.Blocking()) == 0, append(desired.Problems{}, ps...)})
}

// github writes workflow commands, which GitHub shows beside the lines of a pull request. The escapes are those of
// @actions/core, command.ts.
func github(w io.Writer, ps desired.Problems) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, p := range ps {
		where := ""
		if p.File != "" {
			where = fmt.Sprintf("file=%s,line=%d,col=%d,", property.Replace(p.File), max(p.Line, 1), max(p.Column, 1))
		}
		_, err := fmt.Fprintf(w, "::%s %stitle=%s::%s\n", level(p), where, property.Replace("pomona validate"), data.Replace(message(p)))
		if err != nil {
			return err
		}
	}
	return nil
}

func level(p desired.Problem) string {
	if p.Warning {
		return "warning"
	}
	return "error"
}

// message is a problem without its place.
func message(p desired.Problem) string {
	return desired.Problem{Path: p.Path, Text: p.Text, Advice: p.Advice}.String()
}

const rule = "site"

func asSARIF(w io.Writer, version string, ps desired.Problems) error {
	run := sarif.NewRunWithInformationURI("pomona", "https://github.com/pomona-gitops/pomona")
	run.Tool.Driver.WithVersion(version)
	run.AddRule(rule).WithDescription("The site's desired state is complete, consistent and can be built.")
	for _, p := range ps {
		result := run.CreateResultForRule(rule).WithLevel(level(p)).WithMessage(sarif.NewTextMessage(message(p)))
		if p.File != "" {
			region := sarif.NewRegion().WithStartLine(max(p.Line, 1)).WithStartColumn(max(p.Column, 1))
			result.AddLocation(sarif.NewLocationWithPhysicalLocation(sarif.NewPhysicalLocation().
				WithArtifactLocation(sarif.NewSimpleArtifactLocation(p.File)).WithRegion(region)))
		}
	}
	out := sarif.NewReport()
	out.AddRun(run)
	return out.PrettyWrite(w)
}

type testSuite struct {
	XMLName  xml.Name   `xml:"testsuite"`
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Cases    []testCase `xml:"testcase"`
}

type testCase struct {
	Name    string   `xml:"name,attr"`
	Class   string   `xml:"classname,attr"`
	File    string   `xml:"file,attr,omitempty"`
	Line    int      `xml:"line,attr,omitempty"`
	Failure *failure `xml:"failure"`
	Output  string   `xml:"system-out,omitempty"`
}

type failure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// junit writes a test suite with a failed case for each problem, a passed case with output for each warning, and one
// passed case for a site without problems.
func junit(w io.Writer, ps desired.Problems) error {
	suite := testSuite{Name: "pomona validate", Tests: max(len(ps), 1), Failures: len(ps.Blocking())}
	for _, p := range ps {
		c := testCase{Name: message(p), Class: p.File, File: p.File, Line: p.Line}
		if p.Warning {
			c.Output = p.String()
		} else {
			c.Failure = &failure{Message: p.Text, Text: p.String()}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if len(ps) == 0 {
		suite.Cases = []testCase{{Name: "site is valid", Class: "pomona"}}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// drawn is a campaign whose stages need each other as in "gen reco:gen merge:reco,gen".
func drawn(stages string) report.Campaign {
	c := report.Campaign{Name: "mc", UID: "mc/1", State: "active"}
	for word := range strings.FieldsSeq(stages) {
		name, needs, _ := strings.Cut(word, ":")
		s := report.Stage{Name: name, Type: "regular", State: "active", Slices: map[observed.SliceState]int{observed.SliceComplete: 3, observed.SliceFailed: 1}}
		if needs != "" {
			s.Needs = strings.Split(needs, ",")
		}
		c.Stages = append(c.Stages, s)
	}
	return c
}

// box is a stage as it is drawn.
type box struct{ x, y, width, height float64 }

// boxesOf reads the boxes with round corners of a drawing, by the bold text in them, and how many lines there are.
func boxesOf(t *testing.T, svg []byte) (boxes map[string]box, lines int) {
	t.Helper()
	boxes = map[string]box{}
	var last box
	bold := false
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return boxes, lines
		}
		if err != nil {
			t.Fatalf("no XML: %v\n%s", err, svg)
		}
		switch e := token.(type) {
		case xml.StartElement:
			attr := map[string]string{}
			for _, a := range e.Attr {
				attr[a.Name.Local] = a.Value
			}
			number := func(name string) float64 { f, _ := strconv.ParseFloat(attr[name], 64); return f }
			if e.Name.Local == "rect" && attr["rx"] != "" {
				last = box{number("x"), number("y"), number("width"), number("height")}
			}
			if e.Name.Local == "path" && attr["marker-end"] != "" {
				lines++
			}
			bold = attr["font-weight"] == "bold"
		case xml.CharData:
			if bold {
				boxes[string(e)] = last
				bold = false
			}
		}
	}
}

func TestStagesAreDrawnBehindWhatTheyNeed(t *testing.T) {
	for _, c := range []struct {
		stages string
		before [][2]string
		lines  int
	}{
		{"gen", nil, 0},
		{"gen reco:gen merge:reco,gen", [][2]string{{"gen", "reco"}, {"reco", "merge"}}, 3},
		{"d:b,c b:a c:a a", [][2]string{{"a", "b"}, {"a", "c"}, {"b", "d"}, {"c", "d"}}, 4},
		{"a b c x:a,b,c y:a,b,c z:x,y,a", [][2]string{{"a", "x"}, {"c", "y"}, {"x", "z"}}, 9},
	} {
		var b bytes.Buffer
		if err := drawn(c.stages).SVG(&b); err != nil {
			t.Fatal(err)
		}
		boxes, lines := boxesOf(t, b.Bytes())
		if want := len(strings.Fields(c.stages)); len(boxes) != want || lines != c.lines {
			t.Fatalf("%s: %d boxes, want %d, and %d lines, want %d", c.stages, len(boxes), want, lines, c.lines)
		}
		for _, p := range c.before {
			if boxes[p[0]].x+boxes[p[0]].width >= boxes[p[1]].x {
				t.Errorf("%s: %s is not before %s", c.stages, p[0], p[1])
			}
		}
		for one, a := range boxes {
			for other, b := range boxes {
				if one < other && a.x < b.x+b.width && b.x < a.x+a.width && a.y < b.y+b.height && b.y < a.y+a.height {
					t.Errorf("%s: %s lies over %s", c.stages, one, other)
				}
			}
		}
	}
}

func TestACircleIsDrawnToo(t *testing.T) {
	var b bytes.Buffer
	if err := drawn("a:b b:a c:c").SVG(&b); err != nil {
		t.Fatal(err)
	}
	if boxes, _ := boxesOf(t, b.Bytes()); len(boxes) != 3 {
		t.Errorf("%d boxes", len(boxes))
	}
}

func TestADrawingSaysHowManySlicesAreHow(t *testing.T) {
	c := drawn("reco")
	c.Why = []string{"held: <beam> & \"more\"\x1b[2J"}
	var svg, dot bytes.Buffer
	if err := errors.Join(c.SVG(&svg), c.DOT(&dot)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"svg": svg.String(), "dot": dot.String()} {
		for _, want := range []string{"3 complete", "1 failed", "#c62828", "regular: active"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q:\n%s", name, want, text)
			}
		}
		if strings.Contains(text, "\x1b") || name == "svg" && strings.Contains(text, "<beam>") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if boxes, _ := boxesOf(t, svg.Bytes()); len(boxes) != 1 {
		t.Error("the drawing is broken")
	}
}

// A heading that is longer than the drawing is wide goes on in further lines, above all stages.
func TestALongHeadingIsWrapped(t *testing.T) {
	c := drawn("gen reco:gen")
	for _, why := range []string{strings.Repeat("held until the beam is back ", 20), strings.Repeat("x", 400)} {
		c.Why = []string{why}
		var svg bytes.Buffer
		if err := c.SVG(&svg); err != nil {
			t.Fatal(err)
		}
		var width int
		if _, err := fmt.Sscanf(strings.SplitAfter(svg.String(), " width=\"")[1], "%d", &width); err != nil {
			t.Fatal(err)
		}
		said, last := "", 0
		for _, m := range regexp.MustCompile(`y="(\d+)" font-size="15"[^>]*>([^<]*)<`).FindAllStringSubmatch(svg.String(), -1) {
			if len(m[2])*8 > width {
				t.Errorf("a line of %d characters in %d pixels", len(m[2]), width)
			}
			said += m[2]
			last, _ = strconv.Atoi(m[1])
		}
		if got, want := strings.ReplaceAll(said, " ", ""), strings.ReplaceAll("mc/1: active: "+why, " ", ""); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
		boxes, _ := boxesOf(t, svg.Bytes())
		for name, b := range boxes {
			if b.y <= float64(last) {
				t.Errorf("%s at %.0f lies on the heading, which ends at %d", name, b.y, last)
			}
		}
	}
}

// TestGraphvizReadsDOT has dot itself read what is written for it.
func TestGraphvizReadsDOT(t *testing.T) {
	dot, err := exec.LookPath("dot")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("graphviz is not installed: .ci/setup test")
		}
		t.Skip("GRAPHVIZ IS NOT INSTALLED, what is written for it is not read: .ci/setup test")
	}
	c := drawn("gen reco:gen merge:reco,gen")
	c.Why = []string{`a "quoted" \ word`}
	var in bytes.Buffer
	if err := c.DOT(&in); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dot, "-Tplain")
	cmd.Stdin = &in
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if nodes, edges := strings.Count(string(out), "\nnode "), strings.Count(string(out), "\nedge "); fmt.Sprint(nodes, edges) != "3 3" {
		t.Errorf("%d nodes, %d edges:\n%s", nodes, edges, out)
	}
}

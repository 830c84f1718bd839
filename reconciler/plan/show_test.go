package plan_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// many is the small site with n FECs more, which run a version of bpm, in two groups.
func many(n int, version string) desired.Site {
	s := small()
	for i := range n {
		f := s.FECs["a1"]
		name := fmt.Sprintf("x%05d", i)
		f.Host, f.Groups, f.Software = "h"+name, []string{[]string{"ring", "ring", "linac"}[i%3]}, map[string]desired.Pin{"bpm": {Version: version}}
		s.FECs[name] = f
	}
	return s
}

func TestEqualChangesAreOneLine(t *testing.T) {
	was := lay(t, many(200, "1.0"))
	s := many(200, "1.1")
	delete(s.FECs, "b1")
	a1 := s.FECs["a1"]
	a1.Monitoring.Groups = []string{"x"}
	s.FECs["a1"] = a1
	c1 := s.FECs["a1"]
	c1.Host = "hostc1"
	s.FECs["c1"] = c1
	p := plan.Compare(lay(t, s), was)
	var b strings.Builder
	if err := p.Text(&b); err != nil {
		t.Fatal(err)
	}
	want := `site test, commit 222222222222 against 222222222222: 1 FEC removed, 201 changed, 1 added; 200 restarts; 202 MB to download
  removed  b1
           host hostb1; in b; no longer served: boots what it has installed
  changed  200 FECs: bpm 1.0 → 1.1
           x00000, x00001, x00002 and 197 more; in ring 134, linac 66; restart bpm; each downloads 1.00 MB, 200 MB in all
  changed  a1: files beside the manifest
           host hosta1; in a; needs no restart; nothing to download
  added    c1: bpm + 1.0, configuration orbit + 1.0, script + 10-env, script + 50-bpm
           host hostc1; in a; first boot; downloads 2.00 MB
  added    monitoring/icinga2
  added    monitoring/prometheus
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("text (-want +got):\n%s", d)
	}
}

func TestTextKeepsATerminalSafe(t *testing.T) {
	var b strings.Builder
	p := plan.Plan{Repair: plan.RepairOf([]observed.Damage{{Kind: observed.Foreign, Path: "a\x1b[2Jb\u202ec\n  REFUSED  x", What: "is new"}})}
	if err := p.Text(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "a\ufffd[2Jb\ufffdc\ufffd  REFUSED  x is new\n") {
		t.Errorf("text %q", b.String())
	}
}

// hostile is a plan in which everything that comes from a repository or a root is s.
func hostile(s string) plan.Plan {
	p := plan.Plan{
		Site: s, Commit: strings.Repeat("1", 40), Publish: &plan.Publish{Reasons: []string{s}},
		Shared:   []plan.Shared{{Kind: "script", Name: s, Version: s, FECs: []string{s}, Groups: map[string]int{s: 1}}},
		Changes:  []plan.Change{{Path: s, What: plan.Changed, Why: []string{s}}},
		Builds:   []plan.Build{{What: s, Why: s}},
		Refused:  desired.Problems{{Path: s, Text: s, Advice: s}},
		Releases: []plan.Retained{{Software: s, Version: s, Reason: s}},
		Repair:   plan.RepairOf([]observed.Damage{{Kind: observed.Foreign, Path: s, What: s}}),
	}
	p.Prune.Generations = []plan.Pruned{{Number: 1, Commit: s, Reason: s}}
	item := []plan.Item{{Name: s, What: plan.Changed, From: s, To: s}}
	for _, name := range []string{s, s + "2"} { // a group of two, and one alone
		p.FECs = append(p.FECs, plan.FEC{Name: name, Host: s, Groups: []string{s}, What: plan.Changed, Software: item, Configuration: item, Scripts: item, Others: []string{s}})
	}
	p.FECs = append(p.FECs, plan.FEC{Name: s, Host: s, Groups: []string{s}, What: plan.Added, Software: item, Needs: desired.Restart, Restart: []string{s}})
	return p
}

// TestNothingInMarkdownActs renders plans as GitHub does: whatever names hold, they make no element, no link and no cell, and
// mention nobody.
func TestNothingInMarkdownActs(t *testing.T) {
	calm := shape(t, "calm")
	for _, s := range []string{
		"<script>alert(1)</script>", "a`b``c```", "a|b||c", "@octocat", "a @octocat b", "![x](http://evil.example/x.png)", "[x](http://evil.example)",
		"http://evil.example/a", "see www.evil.example now", "a\n\n# b", "a\n| b | c |\n", "</details></code></td></table>", "**b** _i_ ~~s~~",
		"<!-- ", "&lt;b&gt;", "\\`a", "x](y", "me@evil.example", "a\r\nb", "$x$", "\u202eabc", "#12", "<img src=x onerror=y>", "mailto:me@evil.example",
	} {
		if d := cmp.Diff(calm, shape(t, s)); d != "" {
			t.Errorf("%q (-calm +hostile):\n%s", s, d)
		}
	}
}

// shape is the markup of a plan full of s, without its text.
func shape(t *testing.T, s string) string {
	t.Helper()
	var md, out bytes.Buffer
	if err := hostile(s).Markdown(&md, plan.MaxComment); err != nil {
		t.Fatal(err)
	}
	render := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithUnsafe()))
	if err := render.Convert(md.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	if strings.Contains(page, "@o") || strings.Contains(page, "@m") || strings.Contains(page, "&#64;o") {
		t.Errorf("%q mentions somebody:\n%s", s, page)
	}
	if strings.Contains(page, "#1") {
		t.Errorf("%q leads to an issue:\n%s", s, page)
	}
	var marks []string
	for {
		_, after, found := strings.Cut(page, "<")
		if !found {
			return strings.Join(marks, " ")
		}
		mark, rest, _ := strings.Cut(after, ">")
		marks, page = append(marks, mark), rest
	}
}

func TestMarkdownShowsTextAsItIs(t *testing.T) {
	const s = "a|b `c` <d> www.e @f \\g"
	var md, out bytes.Buffer
	if err := hostile(s).Markdown(&md, plan.MaxComment); err != nil {
		t.Fatal(err)
	}
	render := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithUnsafe()))
	if err := render.Convert(md.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	if want := "<code>a|b `c` &lt;d&gt; www.e @\u200bf \\g</code>"; strings.Count(out.String(), want) < 5 {
		t.Errorf("no %q in\n%s", want, out.String())
	}
}

// TestMarkdownFits: the summary is always there, nothing is longer than the limit, and what is left out is counted.
func TestMarkdownFits(t *testing.T) {
	p := plan.Compare(lay(t, many(2000, "1.1")), lay(t, many(2000, "1.0")))
	for i := range 50 {
		p.Builds = append(p.Builds, plan.Build{What: fmt.Sprint("artifact ", i), Why: "new or changed"})
	}
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(2000, 400_000).Draw(t, "limit")
		var b strings.Builder
		if err := p.Markdown(&b, limit); err != nil {
			t.Fatal(err)
		}
		s := b.String()
		if len(s) > limit {
			t.Fatalf("%d bytes, limit %d", len(s), limit)
		}
		if !strings.Contains(s, "2000 FECs changed; 2000 restarts") {
			t.Fatalf("no summary in %q", s[:500])
		}
		if strings.Count(s, "<details>") != strings.Count(s, "</details>") || strings.Count(s, "<code>") != strings.Count(s, "</code>") {
			t.Fatalf("cut in the middle: %q", s[len(s)-500:])
		}
		rows := strings.Count(s, "| <code>x")
		note := fmt.Sprintf("%d of 2000 FECs", 2000-rows)
		if left := rows < 2000; left != strings.Contains(s, note) || left != strings.HasSuffix(s, "has everything.\n") {
			t.Fatalf("%d rows, and at the end %q", rows, s[len(s)-500:])
		}
	})
}

func TestSummaries(t *testing.T) {
	publish := &plan.Publish{Generation: observed.Generation{Number: 7}}
	for _, c := range []struct {
		plan plan.Plan
		want string
	}{
		{plan.Plan{}, "nothing to publish"},
		{plan.Plan{Base: "1"}, "nothing changes"},
		{plan.Plan{Publish: publish, Changes: []plan.Change{{}}}, "publish generation 7; no FEC changes"},
		{plan.Plan{Publish: publish, FECs: make([]plan.FEC, 3), Totals: plan.Totals{Removed: 1, Added: 2, Reboots: 1, Restarts: 2, Bytes: 999, Builds: 1, BuildBytes: 1000}},
			"publish generation 7; 1 FEC removed, 2 added; 1 reboot; 2 restarts; 999 B to download; 1 artifact to build, 1.00 kB"},
		{plan.Plan{FECs: make([]plan.FEC, 3), Totals: plan.Totals{Changed: 3, Bytes: 999_600, Servers: []string{"a", "b"}}},
			"nothing to publish; 3 FECs changed; 1.00 MB to download from 2 servers"},
		{plan.Plan{Prune: plan.Prune{Generations: []plan.Pruned{{}, {Keep: true}}, Swept: plan.Swept{Objects: 2, Bytes: 12_340}}},
			"nothing to publish; prune 1 generation; sweep 2 objects, 12.3 kB"},
		{plan.Plan{Refused: make(desired.Problems, 1), Repair: plan.Repair{Damage: make([]observed.Damage, 2)}}, "nothing to publish; 1 removal refused; 2 repairs"},
	} {
		if got := c.plan.Summary(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// BenchmarkPlan is the pure part of a plan in which each of 20,000 FECs changes.
func BenchmarkPlan(b *testing.B) {
	was, want := lay(b, many(20000, "1.0")), lay(b, many(20000, "1.1"))
	have := observed.Root{Current: 1, Generations: []observed.Generation{{Number: 1, Commit: was.Commit, Keys: want.Keys}}, Manifests: map[string]tree.Manifest{}}
	for _, f := range was.Tree.Folders {
		if f.Manifest != nil {
			have.Index.FECs = append(have.Index.FECs, tree.IndexedFEC{Name: f.Manifest.FEC, Content: f.Content(), Folder: digest(f.Path)})
			have.Manifests[f.Manifest.FEC] = *f.Manifest
		}
	}
	have.Gone = map[artifact.Digest]bool{}
	b.Run("make", func(b *testing.B) {
		for b.Loop() {
			plan.ChangedFECs(want.Tree, have)
			plan.ChangedFolders(want.Tree, have)
			plan.Make(want, have, now)
		}
	})
	p := plan.Make(want, have, now)
	b.Run("markdown", func(b *testing.B) {
		for b.Loop() {
			if err := p.Markdown(&bytes.Buffer{}, plan.MaxComment); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("compare", func(b *testing.B) {
		for b.Loop() {
			plan.Compare(want, was)
		}
	})
}

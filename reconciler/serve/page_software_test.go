package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func init() { pageFixtures = append(pageFixtures, softwareFixture) }

const billText = `{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:1","metadata":{"component":{"name":"bpm","version":"1.1.0",
"properties":[{"name":"pomona:install","value":"/opt/bpm"}],"externalReferences":[{"type":"vcs","url":"https://git.example.org/bpm"}]}},
"components":[{"name":"/opt/bpm/bin/bpm","hashes":[{"alg":"SHA-256","content":"aa"}]},{"name":"/opt/bpm/bin/b","properties":[{"name":"pomona:link","value":"bpm"}]}]}`

// softwareOf is a software with so many FECs in 40 groups: some have not booted what is published, of some nobody knows, for some something else is wanted.
func softwareOf(name string, fecs int) report.Software {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := report.Software{SoftwareSeen: report.SoftwareSeen{Site: "ring", At: at, Wanted: strings.Repeat("b", 40), Published: &report.Revision{Commit: strings.Repeat("a", 40), Generation: 3, At: at}, Server: "http://tree.example.org"},
		SoftwareLine: report.SoftwareLine{Name: name, Description: "beam position", OnUpdate: "reboot"}, Names: []string{name}, FECs: []report.SoftwareFEC{}}
	count := map[string]*[3]int{"1.2.0": {}, "1.1.0": {}, "1.0.0": {}, "0.9.0": {}, "dev": {}}
	for i := range fecs {
		x := report.SoftwareFEC{FEC: fmt.Sprintf("scuxl%05d", i), Groups: []string{fmt.Sprintf("group-%02d", i%40)}, Wanted: "1.1.0", Published: "1.1.0", Running: "1.1.0", Known: true}
		switch {
		case i%50 == 1:
			x.Running, x.Known = "", false
		case i%50 == 2:
			x.Running, x.Differs = "1.0.0", true
		case i%50 == 3:
			x.Wanted, x.Differs = "1.2.0", true
		case i%50 == 4:
			x.Groups = nil
		}
		for stage, v := range []string{x.Wanted, x.Published, x.Running} {
			if v != "" {
				count[v][stage]++
			}
		}
		s.FECs = append(s.FECs, x)
	}
	s.Of = len(s.FECs)
	for _, version := range []string{"1.2.0", "1.1.0", "1.0.0", "0.9.0", "dev"} {
		n := count[version]
		v := report.SoftwareVersion{Version: version, Channel: "production", Wanted: n[0], Published: n[1], Running: n[2], InTree: true, Stays: true, Why: "one of the 3 newest production versions",
			Generations: []int64{1, 2, 3}, First: &report.FirstPublished{Commit: strings.Repeat("c", 40), Generation: 1, At: at, Author: "anna", Subject: "Release it"},
			Payload: map[string]desired.Payload{"any": {Git: desired.GitCommit{URL: "https://git.example.org/bpm", Commit: strings.Repeat("d", 40)}, Install: "/opt/bpm"}}}
		switch version {
		case "1.0.0":
			v.Next = true
		case "0.9.0":
			v.InTree, v.Stays, v.Why, v.Generations, v.Leaves = false, false, "nothing declares it", []int64{1}, &report.Leaves{Generation: 1, Why: "one of the 10 newest", More: 8, NotBefore: at}
		case "dev":
			v.Channel = "dev"
		}
		if v.InTree {
			file := name + "-" + version + ".tar.gz"
			v.Artifacts = []report.SoftwareArtifact{{File: file, Path: "software/" + name + "/" + version + "/" + file, Digest: artifact.Sum([]byte(version)), Size: 433, Bill: file + ".cdx.json", SBOM: artifact.Sum([]byte("b"))}}
		}
		s.Versions = append(s.Versions, v)
	}
	return s
}

func softwareFixture(kind siteKind, seen *serve.SeenSite) []string {
	one := softwareOf("bpm", map[siteKind]int{siteSmall: 100, siteLarge: 2000, siteHostile: 60}[kind])
	bill := []byte(billText)
	n := map[siteKind]int{siteSmall: 1, siteLarge: 40, siteHostile: 1}[kind]
	switch kind {
	case siteEmpty:
		one = report.Software{SoftwareSeen: report.SoftwareSeen{Site: "ring"}}
	case siteHostile:
		hostileSoftware(&one)
		bill, _ = json.Marshal(map[string]any{"serialNumber": hostile, "metadata": map[string]any{"component": map[string]any{"properties": []any{map[string]any{"name": hostile, "value": hostile}},
			"externalReferences": []any{map[string]any{"type": hostile, "url": "javascript:alert(1)"}}}}, "components": []any{map[string]any{"name": hostile}}})
	}
	seen.AllSoftware = func(context.Context) (report.AllSoftware, error) {
		all := report.AllSoftware{SoftwareSeen: one.SoftwareSeen}
		for i := range n {
			line := one.SoftwareLine
			if i > 0 {
				line.Name = fmt.Sprintf("bpm-%d", i)
			}
			all.Software = append(all.Software, line)
		}
		return all.Only("", ""), nil
	}
	seen.Software = func(_ context.Context, name string) (report.Software, error) {
		if name != "" && (name != "bpm" || n == 0) {
			return report.Software{}, serve.ErrNoSuch
		}
		return one, nil
	}
	seen.Bill = func(_ context.Context, name, version, archive string) ([]byte, error) {
		if name != "bpm" || version != "1.1.0" || archive == "none" {
			return nil, serve.ErrNoSuch
		}
		return bill, nil
	}
	if kind == siteEmpty {
		return []string{"software", "software?state=drifts&q=x", "matrix"}
	}
	return []string{"software", "software?state=running&q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "software/bpm", "software/bpm?stage=running&version=1.0.0&group=group-02&differs=1", "software/bpm?page=2",
		"software/bpm/1.1.0", "software/bpm/1.0.0", "software/bpm/1.1.0/sbom", "matrix?software=bpm"}
}

func hostileSoftware(s *report.Software) {
	s.Description, s.Responsible, s.OnUpdate, s.OnFail, s.Unread, s.Trouble, s.Server = hostile, hostile, hostile, hostile, hostile, hostile, "javascript:alert(1)//"
	for i := range s.Versions {
		v := &s.Versions[i]
		v.Released, v.Notes, v.Needs, v.Pilots, v.Why, v.Channel = hostile, hostile, []string{hostile}, []string{hostile}, hostile, hostile
		v.First = &report.FirstPublished{Commit: hostile, Author: hostile, Subject: hostile}
		v.Payload = map[string]desired.Payload{hostile: {Git: desired.GitCommit{URL: hostile, Tag: hostile}, Install: hostile}}
		for j := range v.Artifacts {
			v.Artifacts[j].File, v.Artifacts[j].Path = hostile, hostile
		}
	}
	for i := range s.FECs {
		s.FECs[i].FEC, s.FECs[i].Groups, s.FECs[i].Wanted, s.FECs[i].Running = fmt.Sprint(hostile, i), []string{hostile}, hostile, hostile
	}
}

func TestSoftwarePages(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	seen.Forge = report.ForgeOf("github", "", "controls/ring")
	s := looking(t, seen, nil)
	for _, c := range []struct {
		path   string
		status int
		has    []string
		lacks  []string
	}{
		{"software", 200, []string{"5 of 5 versions", "≠ drifts", "anna", "stays: one of the 3 newest", "stays until the next production version comes: one of", "generation 1 has it (one of the 10 newest), which goes once 8 more",
			`href="/ring/?software=bpm&amp;version=1.1.0"`}, nil},
		{"software?state=leaving", 200, []string{"2 of 5 versions", "0.9.0", "1.0.0", "stays until the next production version comes"}, []string{">1.2.0<", "stays: "}},
		{"software?state=dev", 200, []string{"1 of 5 versions"}, nil},
		{"software?state=unused", 200, []string{"2 of 5 versions"}, nil},
		{"software?q=bpm+1.1", 200, []string{"1 of 5 versions"}, nil},
		{"software/bpm", 200, []string{"100 of 100 FECs", `href="http://tree.example.org/software/bpm/1.1.0/bpm-1.1.0.tar.gz"`, "what is in bpm-1.1.0.tar.gz", "not known"}, nil},
		{"software/bpm?stage=running&version=1.0.0", 200, []string{"2 of 100 FECs", "scuxl00002", "scuxl00052"}, []string{"scuxl00003"}},
		{"software/bpm?stage=wanted&version=1.2.0&group=group-03", 200, []string{"1 of 100 FECs", "scuxl00003"}, nil},
		{"software/bpm?differs=1", 200, []string{"4 of 100 FECs"}, nil},
		{"software/bpm?differs=1&version=1.0.0", 200, []string{"2 of 100 FECs"}, nil},
		{"software/bpm?q=00099", 200, []string{"1 of 100 FECs"}, nil},
		{"software/none", 404, nil, nil},
		{"software/bpm/1.1.0", 200, []string{"2 files and links", "/opt/bpm/bin/bpm", "https://git.example.org/bpm", "First published", `href="https://github.com/controls/ring/commit/cccc`}, nil},
		{"software/bpm/1.1.0?archive=none", 200, nil, []string{"files and links"}},
		{"software/bpm/9.9.9", 404, nil, nil},
		{"software/bpm/1.1.0/sbom", 200, []string{billText}, nil},
		{"software/bpm/9.9.9/sbom", 404, nil, nil},
		{"matrix?software=bpm", 200, []string{`href="/ring/?group=group-02&amp;software=bpm&amp;version=1.1.0">3 published`, `href="/ring/software/bpm?stage=running&amp;version=1.0.0&amp;group=group-02#fecs">1 running`, "≠ 4", "without a group"}, nil},
		{"matrix", 200, []string{"bpm by group"}, nil},
		{"matrix?software=none", 404, nil, nil},
	} {
		shown(t, s.URL+"/ring/"+c.path, c.status, c.has, c.lacks)
	}
	if resp, text := look(t, "GET", s.URL+"/ring/software/bpm/1.1.0/sbom", "Accept", "text/html"); resp.Header.Get("Content-Type") != "application/json" || text != billText {
		t.Errorf("%v: %s", resp.Header, text)
	}
	for _, asked := range []string{"", "?software=bpm"} {
		var m report.SoftwareMatrix
		if _, text := look(t, "GET", s.URL+"/ring/matrix"+asked, "Accept", "application/json"); json.Unmarshal([]byte(text), &m) != nil || len(m.Rows) != 42 {
			t.Errorf("%s", text)
		}
	}
	seen, _ = seenOf(siteEmpty)
	if _, text := look(t, "GET", looking(t, seen, nil).URL+"/ring/matrix", "Accept", "application/json"); strings.Join(strings.Fields(text), "") != `{"versions":[],"rows":[]}` {
		t.Errorf("without software: %s", text)
	}
}

// TestNobodyKnowsWhatABranchWantsThatCannotBeRead: no page says of any version that it is wanted for none.
func TestNobodyKnowsWhatABranchWantsThatCannotBeRead(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	one := softwareOf("bpm", 100)
	one.Unread = "site.cue:4: it cannot be parsed"
	for i := range one.Versions {
		one.Versions[i].Wanted, one.Versions[i].WantedUnknown = 0, true
	}
	for i := range one.FECs {
		one.FECs[i].Wanted = ""
	}
	seen.Software = func(context.Context, string) (report.Software, error) { return one, nil }
	seen.AllSoftware = func(context.Context) (report.AllSoftware, error) {
		return report.AllSoftware{SoftwareSeen: one.SoftwareSeen, Software: []report.SoftwareLine{one.SoftwareLine}}, nil
	}
	s := looking(t, seen, nil)
	for path, want := range map[string]string{"software": `<td class="n">not known</td>`, "software/bpm": `<td class="n">not known</td>`, "software/bpm?q=00004": "<td>not known</td><td>1.1.0</td><td>1.1.0</td>", "matrix": "wanted: not known"} {
		shown(t, s.URL+"/ring/"+path, 200, []string{want, "site.cue:4"}, []string{"0 want", `stage=wanted`})
	}
	if _, text := look(t, "GET", s.URL+"/ring/matrix", "Accept", "application/json"); !strings.Contains(text, `"wantedUnknown": true`) {
		t.Errorf("%.300s", text)
	}
}

// TestMatrixCountsEachFECOnceInEachOfItsGroups, and its sums are those of the versions.
func TestMatrixCountsEachFECOnceInEachOfItsGroups(t *testing.T) {
	s := softwareOf("bpm", 200)
	s.FECs[7].Groups = []string{"group-07", "other"}
	m := s.Matrix()
	if !slices.Equal(m.Versions, []string{"1.2.0", "1.1.0", "1.0.0"}) {
		t.Fatalf("%v", m.Versions)
	}
	all := m.Rows[0]
	for i, v := range m.Versions {
		j := slices.IndexFunc(s.Versions, func(x report.SoftwareVersion) bool { return x.Version == v })
		if c, of := all.Cells[i], s.Versions[j]; c.Wanted != of.Wanted || c.Published != of.Published || c.Running != of.Running {
			t.Errorf("%s: %+v, want %+v", v, c, of)
		}
	}
	if all.FECs != 200 || all.Unknown != 4 || all.Differ != 8 || all.None != 0 || all.Cells[0].Differ != 4 || all.Cells[1].Differ != 8 || all.Cells[2].Differ != 4 {
		t.Errorf("%+v", all)
	}
	n := 0
	for _, r := range m.Rows[1:] {
		n += r.FECs
	}
	if last := m.Rows[len(m.Rows)-1]; n != 201 || last.Group != "" || last.All || last.FECs != 4 {
		t.Errorf("%d in groups, last %+v", n, last)
	}
}

// TestLongListsAreShownInLeaves: each FEC on one of them.
func TestLongListsAreShownInLeaves(t *testing.T) {
	seen, _ := seenOf(siteLarge)
	s := looking(t, seen, nil)
	found := map[string]bool{}
	for page := range 12 {
		_, text := look(t, "GET", fmt.Sprintf("%s/ring/software/bpm?stage=published&page=%d", s.URL, page))
		rows := strings.Count(text, `<a href="/ring/fecs/`)
		for part := range strings.SplitSeq(text, `<a href="/ring/fecs/`) {
			name, _, _ := strings.Cut(part, `"`)
			if strings.HasPrefix(name, "scuxl") {
				found[name] = true
			}
		}
		if rows != 200 || strings.Contains(text, `rel="prev"`) != (page > 1) || strings.Contains(text, `rel="next"`) != (page < 10) || !strings.Contains(text, "stage=published") {
			t.Errorf("page %d has %d rows", page, rows)
		}
	}
	if len(found) != 2000 {
		t.Errorf("found %d", len(found))
	}
}

func BenchmarkSoftwarePages(b *testing.B) {
	one := softwareOf("bpm", 20000)
	all := report.AllSoftware{SoftwareSeen: one.SoftwareSeen}
	for i := range 40 {
		line := one.SoftwareLine
		line.Name = fmt.Sprintf("bpm-%d", i)
		all.Software = append(all.Software, line)
	}
	seen := &serve.SeenSite{AllSoftware: func(context.Context) (report.AllSoftware, error) { return all, nil }, Software: func(context.Context, string) (report.Software, error) { return one, nil },
		Bill: func(context.Context, string, string, string) ([]byte, error) { return []byte(billText), nil }}
	measure(b, seen, "software", "software/bpm", "software/bpm/1.1.0", "matrix?software=bpm")
}

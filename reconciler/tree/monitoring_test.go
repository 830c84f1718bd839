package tree

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// anyMonitored draws FECs of which some are watched, and that say of themselves what they like.
func anyMonitored(t *rapid.T) desired.Site {
	s := desired.Site{FECs: map[string]desired.FEC{}}
	s.Settings.Name = "acc"
	text := rapid.StringOf(rapid.RuneFrom([]rune("a b\"\\$\n\r\t{}/*é\x00\x7f'`;<>&,")))
	checks := []string{desired.CheckPing, desired.CheckTCP, desired.CheckHTTP, desired.CheckProcess, desired.CheckDBus, desired.CheckMetrics}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z0-9-]{0,4}[a-z0-9]`), 1, 6, rapid.ID).Draw(t, "fecs") {
		fec := desired.FEC{Host: name + ".example.org", Platform: "ppc", Location: text.Draw(t, "location"), Description: text.Draw(t, "description"),
			Labels: map[string]string{"a.b": text.Draw(t, "label")}}
		fec.Monitoring.Services = map[string]desired.MonitorService{}
		for _, service := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,4}`), 0, 3, rapid.ID).Draw(t, "services") {
			fec.Monitoring.Services[service] = desired.MonitorService{Check: rapid.SampledFrom(checks).Draw(t, "check"), Port: 80, Target: text.Draw(t, "target"), Description: text.Draw(t, "text")}
		}
		s.FECs[name] = fec
	}
	return s
}

// foldersOf are the folders of FECs as far as monitoring is concerned.
func foldersOf(s desired.Site) (folders []Folder) {
	for _, name := range slices.Sorted(maps.Keys(s.FECs)) {
		folders = append(folders, Folder{Path: "fecs/" + name, Manifest: &Manifest{FEC: name}, watched: watch(s.Settings.Name, name, s.FECs[name])})
	}
	return folders
}

func nodesOf(folders []Folder) (nodes []Node) {
	for _, f := range folders {
		nodes = append(nodes, f.Nodes...)
	}
	return nodes
}

// TestWhatIsServedOfAFECIsFoundAgain reads each FEC's part out of the files that hold everybody's.
func TestWhatIsServedOfAFECIsFoundAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyMonitored(t)
		fecs := foldersOf(s)
		nodes := nodesOf(monitoringFolders(s.Settings, fecs))
		for _, f := range fecs {
			again := Folder{}
			again.WatchAsServed(f.Manifest.FEC, nodes)
			if d := cmp.Diff(f.watched, again.watched, cmp.AllowUnexported(watched{}), cmp.Transformer("text", func(b []byte) string { return string(b) })); d != "" {
				t.Fatalf("%s (-want +got):\n%s", f.Manifest.FEC, d)
			}
		}
	})
}

// TestMonitoringFilesAreWellFormed looks at what no text of a site may break: one line is one line, quotes end, lists are JSON.
func TestMonitoringFilesAreWellFormed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyMonitored(t)
		for _, n := range nodesOf(monitoringFolders(s.Settings, foldersOf(s))) {
			switch {
			case strings.HasSuffix(n.Path, ".json"):
				var groups []promGroup
				if err := json.Unmarshal(n.Data, &groups); err != nil {
					t.Fatalf("%s: %v\n%s", n.Path, err, n.Data)
				}
				if want := bytes.Count(n.Data, []byte("\n")) - 2; len(groups) != want {
					t.Fatalf("%s has %d groups in %d lines", n.Path, len(groups), want)
				}
			case n.Path == icingaHosts:
				for line := range strings.Lines(string(n.Data)) {
					unescaped := strings.NewReplacer(`\\`, "", `\"`, "").Replace(line)
					if strings.Count(unescaped, `"`)%2 != 0 {
						t.Fatalf("open quote: %s", line)
					}
					if strings.Contains(line, "vars.") && strings.Contains(strings.ReplaceAll(line, "$$", ""), "$") {
						t.Fatalf("macro: %s", line)
					}
				}
			}
		}
	})
}

// TestAKeptFECIsWatchedAsItWas keeps one FEC of an earlier tree.
func TestAKeptFECIsWatchedAsItWas(t *testing.T) {
	treeOf := func(location string) Tree {
		s := desired.Site{FECs: map[string]desired.FEC{}}
		for _, name := range []string{"kg1", "kg2"} {
			s.FECs[name] = desired.FEC{Host: name + ".example.org", Location: location, Monitoring: desired.Monitoring{Services: map[string]desired.MonitorService{"ping": {Check: desired.CheckPing}}}}
		}
		t := Tree{Folders: foldersOf(s)}
		t.Folders = append(t.Folders, monitoringFolders(s.Settings, t.Folders)...)
		return t
	}
	kept, err := treeOf("new").Keep(map[string]bool{"kg1": true}, treeOf("old"))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, n := range nodesOf(kept.Folders) {
		if n.Path != icingaHosts && n.Path != promProbes {
			continue
		}
		count++
		if text := string(n.Data); strings.Index(text, "old") > strings.Index(text, "kg2") || strings.Index(text, "new") < strings.Index(text, "kg2") || strings.Count(text, "old") != 1 {
			t.Errorf("%s:\n%s", n.Path, text)
		}
	}
	if count != 2 {
		t.Errorf("%d files", count)
	}
}

package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// TestWhatChangesForAFEC changes one FEC in one way: what the plan says of it, what it downloads and what it needs.
func TestWhatChangesForAFEC(t *testing.T) {
	off := false
	for _, c := range []struct {
		name   string
		change func(*desired.FEC)
		want   string
	}{
		{"another version", func(f *desired.FEC) { f.Software["bpm"] = desired.Pin{Version: "1.1"} },
			"bpm 1.0 → 1.1; restart of bpm; 1000000"},
		{"no longer started", func(f *desired.FEC) { f.Software["bpm"] = desired.Pin{Version: "1.0", Start: &off} },
			"bpm 1.0 is not started at boot any more; restart of bpm; 0"},
		{"another version, not started", func(f *desired.FEC) { f.Software["bpm"] = desired.Pin{Version: "1.1", Start: &off} },
			"bpm 1.0 → 1.1, bpm 1.1 is not started at boot any more; restart of bpm; 1000000"},
		{"software that says nothing", func(f *desired.FEC) { f.Software["psc"] = desired.Pin{Version: "1.0"} },
			"psc + 1.0; reboot; 1000000"},
		{"tools", func(f *desired.FEC) { f.Software["tools"] = desired.Pin{Version: "1.0"} },
			"tools + 1.0; none; 1000000"},
		{"the most that anything needs", func(f *desired.FEC) {
			f.Software["tools"], f.Software["psc"] = desired.Pin{Version: "1.0"}, desired.Pin{Version: "1.1"}
		}, "psc + 1.1, tools + 1.0; reboot; 2000000"},
		{"software away", func(f *desired.FEC) {
			f.Software = nil
			f.Configuration = nil
		}, "bpm − 1.0, configuration orbit − 1.0; reboot; 0"},
		{"configuration", func(f *desired.FEC) { f.Configuration["orbit"] = "1.1" },
			"configuration orbit 1.0 → 1.1; restart of bpm; 1000000"},
		{"configuration of software that the FEC does not run", func(f *desired.FEC) { f.Configuration["supply"] = "1.0" },
			"configuration supply + 1.0; reboot; 1000000"},
		{"configuration of no software", func(f *desired.FEC) { f.Configuration["misc"] = "1.0" },
			"configuration misc + 1.0; reboot; 1000000"},
		{"configuration away", func(f *desired.FEC) { delete(f.Configuration, "orbit") },
			"configuration orbit − 1.0; restart of bpm; 0"},
		{"a script that starts something", func(f *desired.FEC) { f.Init["50-bpm"] = desired.Init{File: "scripts/other", Starts: "bpm"} },
			"script 50-bpm changed; restart of bpm; 2000"},
		{"a script that starts tools runs all the same", func(f *desired.FEC) {
			f.Init["60-tools"] = desired.Init{File: "scripts/other", Starts: "tools"}
		}, "script + 60-tools; restart of tools; 2000"},
		{"a script that starts what needs a reboot", func(f *desired.FEC) {
			f.Init["60-psc"] = desired.Init{File: "scripts/other", Starts: "psc"}
		}, "script + 60-psc; reboot; 2000"},
		{"a script away", func(f *desired.FEC) { delete(f.Init, "10-env") },
			"script − 10-env; reboot; 2000"},
		{"a script that starts something away", func(f *desired.FEC) { delete(f.Init, "50-bpm") },
			"script − 50-bpm; restart of bpm; 2000"},
		{"host", func(f *desired.FEC) { f.Host = "new" }, "host hosta1 → new; reboot; 0"},
		{"data", func(f *desired.FEC) {
			f.Persistence = map[string]desired.Persistence{"x": {Path: "/opt/x", Schema: "1"}}
		}, "gets persistent data; none; 0"},
		{"monitoring", func(f *desired.FEC) { f.Monitoring.Groups = []string{"x"} }, "files beside the manifest; none; 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := from(t, lay(t, edit("a1", c.change)))
			if len(p.FECs) != 1 || p.FECs[0].Name != "a1" || p.FECs[0].What != plan.Changed {
				t.Fatalf("changes %+v", p.FECs)
			}
			f := p.FECs[0]
			needs := f.Needs
			if len(f.Restart) > 0 {
				needs += " of " + strings.Join(f.Restart, ", ")
			}
			got := fmt.Sprintf("%s; %s; %d", strings.Join(f.Why(), ", "), needs, f.Bytes)
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestAnotherInstallPathIsAChangeOfTheSoftware: a finished archive may stay the same while its init scripts are told another
// path.
func TestAnotherInstallPathIsAChangeOfTheSoftware(t *testing.T) {
	s := small()
	s.Software["bpm"].Versions["1.0"].Payload[desired.AnyPlatform] = desired.Payload{Folder: "f", Install: "/opt/y"}
	p := from(t, lay(t, s))
	if len(p.FECs) != 3 {
		t.Fatalf("changes %+v", p.FECs)
	}
	f := p.FECs[0]
	if got, want := fmt.Sprint(f.Why(), f.Needs, f.Restart, f.Bytes), "[bpm 1.0 rebuilt]restart[bpm] 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFECsThatComeAndGo(t *testing.T) {
	s := small()
	s.FECs["c1"] = s.FECs["b1"]
	f := s.FECs["c1"]
	f.Host = "c1"
	s.FECs["c1"] = f
	delete(s.FECs, "b1")
	p := from(t, lay(t, s))
	want := []plan.FEC{
		{Name: "b1", Host: "hostb1", Groups: []string{"b"}, What: plan.Removed, Software: []plan.Item{}, Configuration: []plan.Item{},
			Scripts: []plan.Item{}, Others: []string{}, Needs: desired.Nothing, Restart: []string{}},
		{Name: "c1", Host: "c1", Groups: []string{"b"}, What: plan.Added, Software: []plan.Item{{Name: "bpm", What: plan.Added, To: "1.0"}},
			Configuration: []plan.Item{{Name: "orbit", What: plan.Added, To: "1.0"}},
			Scripts:       []plan.Item{{Name: "10-env", What: plan.Added}, {Name: "50-bpm", What: plan.Added}},
			Others:        []string{}, Bytes: 2_002_000, Needs: plan.Boot, Restart: []string{}},
	}
	if d := cmp.Diff(want, p.FECs); d != "" {
		t.Errorf("FECs (-want +got):\n%s", d)
	}
	if d := cmp.Diff(plan.Totals{Removed: 1, Added: 1, Bytes: 2_002_000, Servers: []string{"http://a"}}, p.Totals); d != "" {
		t.Errorf("totals (-want +got):\n%s", d)
	}
}

// TestADamagedManifestIsNoChange: what is published of a FEC is not known, which is said instead of a change from nothing.
func TestADamagedManifestIsNoChange(t *testing.T) {
	base, want := lay(t, small()), lay(t, edit("a1", func(f *desired.FEC) { f.Software["bpm"] = desired.Pin{Version: "1.1"} }))
	first := plan.Make(base, observed.Root{}, now)
	have := observed.Root{Current: 1, Generations: []observed.Generation{first.Publish.Generation}, Manifests: map[string]tree.Manifest{"a1": {}}}
	for _, f := range base.Tree.Folders {
		if m := f.Manifest; m != nil {
			have.Index.FECs = append(have.Index.FECs, tree.IndexedFEC{Name: m.FEC, Content: f.Content(), Expires: 1 << 30})
		}
	}
	p := plan.Make(want, have, now)
	if len(p.FECs) != 1 || p.FECs[0].What != plan.Changed {
		t.Fatalf("changes %+v", p.FECs)
	}
	f := p.FECs[0]
	if got, want := fmt.Sprint(f.Why(), f.Needs, f.Bytes), "[its published manifest cannot be read]reboot2002000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestAPlanOfARootSaysTheSame plans against a root that serves the small site.
func TestAPlanOfARootSaysTheSame(t *testing.T) {
	s := edit("a1", func(f *desired.FEC) { f.Software["bpm"] = desired.Pin{Version: "1.1"} })
	delete(s.FECs, "b1")
	delete(s.Settings.Scripts, "20-dbus")
	base, want := lay(t, small()), lay(t, s, "orbit 1.0")
	first := plan.Make(base, observed.Root{}, now)
	have := observed.Root{Current: 1, Generations: []observed.Generation{first.Publish.Generation}, Manifests: map[string]tree.Manifest{}}
	nodes := map[string][]tree.Node{}
	for _, f := range base.Tree.Folders {
		nodes[f.Path] = f.Nodes
		if m := f.Manifest; m != nil {
			have.Index.FECs = append(have.Index.FECs, tree.IndexedFEC{Name: m.FEC, Content: f.Content(), Expires: 1 << 30})
			continue
		}
		have.Index.Folders = append(have.Index.Folders, tree.IndexedFolder{Path: f.Path, Folder: f.Content()})
	}
	have.Index.Links = base.Tree.Links
	for _, f := range plan.ChangedFECs(want.Tree, have) {
		for _, folder := range base.Tree.Folders {
			if folder.Path == "fecs/"+f {
				have.Manifests[f] = *folder.Manifest
			}
		}
	}
	have.Folders = map[string][]tree.Node{}
	for _, f := range plan.ChangedFolders(want.Tree, have) {
		have.Folders[f.Path] = nodes[f.Path]
	}
	made, compared := plan.Make(want, have, now), plan.Compare(want, base)
	if d := cmp.Diff([]string{"b"}, compared.FECs[2].Groups); d != "" {
		t.Errorf("groups of what goes away (-want +got):\n%s", d)
	}
	compared.FECs[2].Groups = []string{} // which a root does not tell
	for _, d := range []string{cmp.Diff(compared.FECs, made.FECs), cmp.Diff(compared.Changes, made.Changes), cmp.Diff(compared.Shared, made.Shared)} {
		if d != "" {
			t.Errorf("against a revision and against a root (-revision +root):\n%s", d)
		}
	}
	if len(made.FECs) != 3 || made.Publish == nil || made.Empty() {
		t.Errorf("changes %d FECs, publishes %v", len(made.FECs), made.Publish)
	}
	if again := plan.Compare(want, want); !again.Empty() || again.Summary() != "nothing changes" {
		t.Errorf("a commit against itself: %s", again.Summary())
	}
}

// TestDownloadLaw: a FEC downloads nothing if and only if its old manifest names every archive of the new one.
func TestDownloadLaw(t *testing.T) {
	object := func(i int) tree.Object { // of one digest, one size
		return tree.Object{Format: artifact.Gzip, Size: int64(i + 1), Digest: digest(fmt.Sprint(i))}
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) (plan.Want, map[int]bool) {
			m := tree.Manifest{FEC: "a", Host: "a", Serial: 0}
			named := map[int]bool{}
			for i, n := range rapid.SliceOfN(rapid.IntRange(0, 5), 0, 5).Draw(t, label) {
				item := tree.Item{Name: fmt.Sprint("x", i), Version: "1.0", Object: object(n), Install: "/opt"}
				named[n] = true
				switch rapid.IntRange(0, 2).Draw(t, "kind") {
				case 0:
					m.Software = append(m.Software, item)
				case 1:
					m.Configuration = append(m.Configuration, item)
				case 2:
					delete(named, n)
				}
			}
			for _, i := range append(m.Software, m.Configuration...) {
				named[int(i.Size)-1] = true
			}
			if rapid.Bool().Draw(t, "scripts") {
				n := rapid.IntRange(0, 5).Draw(t, "archive")
				m.Scripts, named[n] = object(n), true
			}
			return plan.Want{Commit: label, Tree: tree.Tree{Folders: []tree.Folder{{Path: "fecs/a", Manifest: &m}}}}, named
		}
		was, had := draw("was")
		now, needed := draw("now")
		var missing, got int64
		for n := range needed {
			if !had[n] {
				missing += int64(n + 1)
			}
		}
		for _, f := range plan.Compare(now, was).FECs {
			got += f.Bytes
		}
		if got != missing {
			t.Fatalf("downloads %d bytes, and misses %d", got, missing)
		}
	})
}

// TestBlastRadius edits shared things in place.
func TestBlastRadius(t *testing.T) {
	all := " a1 a2 b1"
	for _, c := range []struct {
		name   string
		site   desired.Site
		edited []string
		want   []string
	}{
		{"a global script", small(), []string{"scripts/env"}, []string{"script scripts/env:" + all}},
		{"a file that several FECs run", small(), []string{"scripts/bpm"}, []string{"script scripts/bpm:" + all}},
		{"shared configuration", small(), []string{"orbit 1.0"}, []string{"configuration orbit 1.0:" + all}},
		{"software", small(), []string{"bpm 1.0"}, []string{"software bpm 1.0:" + all}},
		{"what nobody uses", small(), []string{"bpm 1.1", "scripts/dbus"}, nil},
		{"a FEC's own script", edit("a1", func(f *desired.FEC) { f.Init["50-bpm"] = desired.Init{File: "scripts/own"} }), nil, nil},
		{"another script in its place", edit("a1", func(f *desired.FEC) { f.Init["10-env"] = desired.Init{Global: "20-dbus"} }), nil, nil},
		{"another script in its place that others run", edit("a1", func(f *desired.FEC) { f.Init["10-env"] = desired.Init{File: "scripts/bpm"} }), nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, s := range from(t, lay(t, c.site, c.edited...)).Shared {
				got = append(got, s.String()+": "+strings.Join(s.FECs, " "))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("shared (-want +got):\n%s", d)
			}
		})
	}
}

func TestWhatOneFECUses(t *testing.T) {
	own := edit("a1", func(f *desired.FEC) { f.Configuration["own"] = "1.0" })
	if p := plan.Compare(lay(t, own, "own 1.0"), lay(t, own)); len(p.FECs) != 1 || len(p.Shared) != 0 {
		t.Errorf("configuration of its own: %d FECs change, shared is %v", len(p.FECs), p.Shared)
	}
	global := edit("a1", func(f *desired.FEC) { f.Init["20-dbus"] = desired.Init{Global: "20-dbus"} })
	if p := plan.Compare(lay(t, global, "scripts/dbus"), lay(t, global)); len(p.Shared) != 1 || p.Shared[0].Name != "scripts/dbus" {
		t.Errorf("a global script that one FEC runs: shared is %v", p.Shared)
	}
}

func TestOnlyNothingIsEmpty(t *testing.T) {
	for _, p := range []plan.Plan{{Builds: make([]plan.Build, 1)}, {FECs: make([]plan.FEC, 1)}, {Changes: make([]plan.Change, 1)}} {
		if p.Empty() {
			t.Errorf("%+v counts as nothing", p)
		}
	}
}

func TestTheBootClientTouchesAll(t *testing.T) {
	s := small()
	s.Settings.Boot.Servers = append(s.Settings.Boot.Servers, "http://b")
	p := from(t, lay(t, s))
	want := []plan.Shared{{Kind: "client", Name: "pomona-boot", FECs: []string{"a1", "a2", "b1"}, Groups: map[string]int{"a": 2, "b": 1}}}
	if d := cmp.Diff(want, p.Shared); d != "" {
		t.Errorf("shared (-want +got):\n%s", d)
	}
	if len(p.FECs) > 0 || len(p.Changes) != 1 || p.Changes[0].Path != "fecs/global" || p.Changes[0].Why[0] != "pomona-boot changed" {
		t.Errorf("changes FECs %v and folders %v", p.FECs, p.Changes)
	}
}

func TestFoldersSayWhichVersionsTheyHold(t *testing.T) {
	s := small()
	delete(s.Software["psc"].Versions, "1.1")
	s.Software["psc"].Versions["1.2"] = s.Software["psc"].Versions["1.0"]
	delete(s.Software, "tools")
	delete(s.Configuration, "table")
	s.Settings.Scripts["30-new"] = desired.GlobalScript{File: "scripts/new"}
	want := []plan.Change{
		{Path: "configuration/table", What: "removed"},
		{Path: "fecs/global", What: "changed", Why: []string{"+ 30-new"}},
		{Path: "software/psc", What: "changed", Why: []string{"+ 1.2", "1.0 changed", "− 1.1"}},
		{Path: "software/tools", What: "removed"},
	}
	if d := cmp.Diff(want, from(t, lay(t, s, "psc 1.0")).Changes); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
}

func TestARemovalBeyondTheBudgetIsRefusedAgainstARevisionToo(t *testing.T) {
	s := small()
	delete(s.FECs, "a1")
	delete(s.FECs, "a2")
	w := lay(t, s)
	if p := from(t, w); len(p.Refused) != 1 || p.Empty() || len(p.FECs) != 2 {
		t.Errorf("refuses %v", p.Refused)
	}
	w.Messages = []string{"x\n\nPomona-Allow-Removal: 2 fecs\n"}
	if p := from(t, w); len(p.Refused) != 0 {
		t.Errorf("refuses %v", p.Refused)
	}
}

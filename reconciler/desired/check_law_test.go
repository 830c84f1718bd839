package desired_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// fleet is a valid site of n FECs, each with 8 software products and 4 configuration items.
func fleet(n int) (desired.Site, artifact.Files) {
	s := desired.Site{
		Settings: desired.Settings{
			Platforms: map[string]desired.Platform{"ppc": {Unpack: []artifact.Format{artifact.Gzip}}},
			Groups:    map[string]desired.Group{"ring": {}},
		},
		Software: map[string]desired.Software{}, Configuration: map[string]desired.Configuration{}, FECs: map[string]desired.FEC{},
	}
	pins, items := map[string]desired.Pin{}, map[string]string{}
	for i := range 8 {
		name := fmt.Sprintf("software%d", i)
		s.Software[name] = desired.Software{Versions: map[string]desired.Release{"3.1.0": anyPayload(desired.Payload{Folder: "f", Install: "/opt/fesa/" + name + "/3.1.0"})}}
		pins[name] = desired.Pin{Version: "3.1.0"}
	}
	for i := range 4 {
		name := fmt.Sprintf("item%d", i)
		s.Configuration[name] = desired.Configuration{Versions: map[string]desired.ConfigurationVersion{
			"1.0": {For: map[string]string{"software1": ">=3 <4"}, Payload: desired.Payload{Folder: "f", Install: "/opt/conf/" + name}},
		}}
		items[name] = "1.0"
	}
	for i := range n {
		s.FECs[fmt.Sprintf("fec%05d", i)] = desired.FEC{
			Host: fmt.Sprintf("host%05d", i), Platform: "ppc", Groups: []string{"ring"}, Software: pins, Configuration: items,
			Init:        map[string]desired.Init{"10-start": {File: "f/start.sh", Starts: "software1"}},
			Persistence: map[string]desired.Persistence{"data": {Path: "/opt/data"}},
		}
	}
	return s, filesOf("f/start.sh")
}

// The problems of a site do not depend on the order of its maps, not even which of them come with a suggestion.
func TestCheckIsDeterministic(t *testing.T) {
	broken := func() desired.Site {
		s, _ := fleet(150)
		for name, f := range s.FECs {
			f.Platform, f.Groups, f.Host = "pcc", []string{"rink"}, "host"
			s.FECs[name] = f
		}
		return s
	}
	first := desired.Check(broken(), nil, noon)
	if len(first) < 450 {
		t.Fatalf("only %d problems", len(first))
	}
	for range 10 {
		if diff := cmp.Diff(first, desired.Check(broken(), nil, noon)); diff != "" {
			t.Fatalf("problems differ (-first +again):\n%s", diff)
		}
	}
}

// A site that the schema would refuse is no reason to panic.
func TestCheckSurvivesAnySite(t *testing.T) {
	sites := rapid.Make[desired.Site]()
	rapid.Check(t, func(t *rapid.T) {
		s := sites.Draw(t, "site")
		if diff := cmp.Diff(desired.Check(s, validFiles(), noon), desired.Check(s, validFiles(), noon)); diff != "" {
			t.Fatalf("problems differ:\n%s", diff)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	s, files := fleet(20000)
	if ps := desired.Check(s, files, noon); len(ps) > 0 {
		b.Fatal(ps)
	}
	for b.Loop() {
		desired.Check(s, files, noon)
	}
}

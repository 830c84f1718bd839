package desired_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestPackagesNeedAnAddress(t *testing.T) {
	s := desired.Site{Pilots: map[string]desired.Pilot{"ce": {Scope: desired.PilotOfSites, Branches: map[string]desired.RPMBranch{"SL9/x86_64": {}}}}}
	s.Settings.Packages.Keys = map[string]desired.PackageKey{"ann": {File: "keys/ann.asc"}}
	says := func(what string) bool {
		for _, p := range desired.Check(s, artifact.Files{}, time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)) {
			if strings.Contains(p.Text, what) {
				return true
			}
		}
		return false
	}
	if !says("nobody knows the address") || !says(`this commit has no file "keys/ann.asc"`) {
		t.Error("a site without addresses or keys passes")
	}
	s.Settings.Boot.Servers = []string{"http://a.example.org/"}
	if says("nobody knows the address") {
		t.Error("the servers that FECs boot from are no address")
	}
	if got := strings.Join(s.PackageServers(), " "); got != "http://a.example.org" {
		t.Errorf("sites install from %s", got)
	}
	s.Settings.Packages.Servers = []string{"http://b.example.org/lab", "http://c.example.org"}
	if got := strings.Join(s.PackageServers(), " "); got != "http://b.example.org/lab http://c.example.org" {
		t.Errorf("sites install from %s", got)
	}
}

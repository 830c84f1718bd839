package rpm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

func masked(production, pilot []*rpm.Package) (all []string) {
	for _, m := range rpm.Masking(production, pilot) {
		all = append(all, fmt.Sprintf("%s by %s %v", m.Package, m.By, m.Obsoleted))
	}
	return all
}

func TestMaskingFindsUpdatesThatAreNeverOffered(t *testing.T) {
	of := func(name, evr, arch string, obsoletes ...string) *rpm.Package {
		p := giving(name, evr)
		p.Arch = arch
		for _, word := range obsoletes {
			p.Obsoletes = append(p.Obsoletes, asking("", word).Requires...)
		}
		return p
	}
	pilot := []*rpm.Package{
		of("svc", "1.1.0-1", "x86_64"), of("svc", "1.2.0-1", "x86_64"), of("doc", "2-1", "noarch"), of("epoch", "1:1-1", "x86_64"),
		of("new", "1-1", "x86_64", "old < 2", "gone", "new"), of("tilde", "2~rc1-1", "x86_64"), of("source", "9-1", "src", "left"),
	}
	for _, row := range []struct {
		update *rpm.Package
		want   string
	}{
		{of("svc", "1.0.1-1", "x86_64"), "svc-1.0.1-1.x86_64 by svc-1.2.0-1.x86_64 false"},
		{of("svc", "1.2.0-1", "x86_64"), ""},
		{of("svc", "1.2.0-2", "x86_64"), ""},
		{of("svc", "1.0.1-1", "i686"), ""},
		{of("svc", "1.0.1-1", "noarch"), "svc-1.0.1-1.noarch by svc-1.2.0-1.x86_64 false"},
		{of("doc", "1-1", "x86_64"), "doc-1-1.x86_64 by doc-2-1.noarch false"},
		{of("epoch", "9-1", "x86_64"), "epoch-9-1.x86_64 by epoch-1:1-1.x86_64 false"},
		{of("old", "1.9-1", "x86_64"), "old-1.9-1.x86_64 by new-1-1.x86_64 true"},
		{of("old", "2-1", "x86_64"), ""},
		{of("gone", "7-1", "x86_64"), "gone-7-1.x86_64 by new-1-1.x86_64 true"},
		{of("new", "2-1", "x86_64"), ""},
		{of("tilde", "2-1", "x86_64"), ""},
		{of("source", "1-1", "src"), ""},
		{of("left", "1-1", "x86_64"), ""},
		{of("unrelated", "1-1", "x86_64"), ""},
	} {
		if got := strings.Join(masked([]*rpm.Package{row.update}, pilot), "; "); got != row.want {
			t.Errorf("%s: %q, want %q", row.update, got, row.want)
		}
	}
}

// TestMaskingIsWhatDNFNeverOffers installs the pilot and asks dnf for updates, with each production update beside it.
func TestMaskingIsWhatDNFNeverOffers(t *testing.T) {
	t.Parallel()
	pilot := []packed{
		{name: "svc", version: "1.1.0", arch: "x86_64"}, {name: "doc", version: "2"}, {name: "new", obsoletes: "old < 2"}, {name: "tilde", version: "2~rc1"},
		{name: "old-too", version: "1"},
	}
	updates := []packed{
		{name: "svc", version: "1.0.1", arch: "x86_64"}, {name: "doc", version: "2.1"}, {name: "tilde", version: "2"}, {name: "old-too", version: "0.9"},
	}
	pilotDir, updatesDir := published(t, pilot...), published(t, updates...)
	c := newClient(t, false, map[string]string{"pilot": pilotDir, "updates": updatesDir})
	if out, err := c.run("--disablerepo=updates", "install", "svc", "doc", "new", "tilde", "old-too"); err != nil {
		t.Fatalf("dnf: %v\n%s", err, out)
	}
	out, _ := c.run("-q", "check-update") // fails if there is one
	hidden := map[string]bool{}
	for _, m := range rpm.Masking(packages(t, updatesDir), packages(t, pilotDir)) {
		hidden[m.Package.Name] = true
	}
	if d := cmp.Diff(map[string]bool{"svc": true, "old-too": true}, hidden); d != "" {
		t.Errorf("masked (-want +got):\n%s", d)
	}
	for _, p := range updates {
		if offered := strings.Contains(out, p.name+"."); offered == hidden[p.name] {
			t.Errorf("%s: dnf offers it: %v, masked: %v\n%s", p.name, offered, hidden[p.name], out)
		}
	}
}

func packages(t *testing.T, dir string) (all []*rpm.Package) {
	t.Helper()
	for _, e := range entries(t, dir) {
		all = append(all, e.Package)
	}
	return all
}

package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	wire "github.com/pomona-gitops/pomona/reconciler/report"
)

// TestTheDemoShowsEverythingAtOnce from nothing: FECs that boot, and a campaign that runs to its end.
func TestTheDemoShowsEverythingAtOnce(t *testing.T) {
	debian(t, "busybox-static", "busybox")
	dir := filepath.Join(t.TempDir(), "demo")
	out := must(t, "demo", "--once", "--dir", dir, "--listen", freeAddress(t))
	if strings.Count(out, "  running  ") != 12 {
		t.Errorf("not all 12 FECs run:\n%s", out)
	}
	for _, want := range []string{"5. Activated campaign orbit-reprocessing", "the campaign is complete:", "reprocess  complete  3 complete  3 done", "merge      complete  1 complete  1 done", "the pages: how the FECs"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	var c wire.Campaign
	told := must(t, "campaign", "orbit-reprocessing", "--root", filepath.Join(dir, "root"), "-o", "json")
	if err := json.Unmarshal([]byte(told), &c); err != nil || c.State != "complete" || c.Wanted != "" {
		t.Errorf("%v: %s, wanted %q, which nobody knows without the site", err, c.State, c.Wanted)
	}
	if status := must(t, "status", "--root", filepath.Join(dir, "root")); !strings.Contains(status, "campaigns  1 complete\n") || strings.Contains(status, "paused") {
		t.Errorf("status:\n%s", status)
	}
	if dirty := git(t, filepath.Join(dir, "site"), "status", "--short"); dirty != "" {
		t.Errorf("the demo leaves its site changed:\n%s", dirty)
	}
}

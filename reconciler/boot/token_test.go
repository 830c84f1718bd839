package boot_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// TestATokenProvesEachReport: with the code that Go makes of it, and a clock that rises from report to report and from boot to boot.
func TestATokenProvesEachReport(t *testing.T) { onEach(t, testATokenProvesEachReport) }

func testATokenProvesEachReport(t *testing.T, on machine) {
	s := siteOn(t, on)
	s.publish(s.release(100))
	f := s.fec()
	token := tree.NewToken([64]byte{1, 2, 3})
	f.Token = string(token)
	began := time.Now().Unix()
	boots(t, f, "running", 100, "")
	boots(t, f, "running", 100, "")
	last := began - 1
	for i, form := range s.forms {
		at, err := strconv.ParseInt(s.reports[i].Get("at"), 10, 64)
		if err != nil || at <= last || at > time.Now().Unix()+10 {
			t.Errorf("report %d is of %d, after %d: %v", i, at, last, err)
		}
		last = at
		if !token.Proves(form) {
			t.Errorf("the token does not prove %s", form)
		}
		if token.Proves(strings.Replace(form, "serial=100", "serial=101", 1)) || tree.NewToken([64]byte{9}).Proves(form) {
			t.Error("the code proves everything")
		}
	}
	if len(s.forms) != 4 {
		t.Errorf("%d reports, want 4: %v", len(s.forms), s.forms)
	}

	// The clock was far ahead once, and is right again.
	if err := os.WriteFile(filepath.Join(f.Root(), "clock"), []byte("99999999999\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.fail(nil)
	boots(t, f, "running", 100, "")
	if at, err := strconv.ParseInt(s.reports[0].Get("at"), 10, 64); err != nil || at > time.Now().Unix()+10 {
		t.Errorf("at is %d, %v", at, err)
	}
}

// TestNoReportWithoutAGoodTokenHasACode: without a token, or with another text in its place.
func TestNoReportWithoutAGoodTokenHasACode(t *testing.T) {
	for token, detail := range map[string]string{"": "", "secret": "malformed token in ", strings.Repeat("A", 128): "malformed token in "} {
		s := newSite(t)
		s.publish(s.release(100))
		f := s.fec()
		f.Token = token
		boots(t, f, "running", 100, detail)
		if r := s.lastReport(); r.Has("at") || r.Has("mac") || !strings.HasPrefix(r.Get("detail"), detail) || len(s.forms) != 3 {
			t.Errorf("token %.10q: %d reports, the last is %s", token, len(s.forms), r)
		}
	}
}

// TestTheTokenIsTold to nobody: not on the console, and not to init scripts.
func TestTheTokenIsTold(t *testing.T) {
	s := newSite(t)
	s.publish(s.withScripts(s.release(100), map[string]string{"10-env": "export -p"}))
	f := s.fec()
	f.Token = string(tree.NewToken([64]byte{1}))
	o := boots(t, f, "running", 100, "")
	if said := read(t, o.Log); strings.Contains(said, f.Token[:64]) || strings.Contains(said, f.Token[64:]) {
		t.Errorf("the console says\n%s", said)
	}
}

// TestASlotWithAPlusIsReported: one that takes the place of a damaged one has a + behind its name.
func TestASlotWithAPlusIsReported(t *testing.T) {
	s := newSite(t)
	s.publish(s.release(100))
	f := s.fec()
	o := boots(t, f, "running", 100, "")
	if err := os.Remove(filepath.Join(o.Slot, ".pomona/init/10-env")); err != nil {
		t.Fatal(err)
	}
	o = boots(t, f, "running", 100, "")
	if slot := s.lastReport().Get("slot"); slot != filepath.Base(o.Slot) || !strings.HasSuffix(slot, "+") {
		t.Errorf("the report names slot %q, it is %s", slot, o.Slot)
	}
}

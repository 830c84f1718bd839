package reconciler_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// said enters reports.
func (f *follower) said(rs ...ledger.FECReport) {
	f.t.Helper()
	must(f.t, f.Records.Use(f.t.Context(), func(l *ledger.Ledger) error { return l.AddReports(f.t.Context(), rs) }))
}

func (f *follower) fec(name string) report.FEC {
	f.t.Helper()
	x, err := f.FEC(f.t.Context(), name)
	must(f.t, err)
	return x
}

func running(serial int64, source string, at time.Time) ledger.FECReport {
	return ledger.FECReport{FEC: "kgp2cu02", Serial: serial, State: "running", Source: source, At: at}
}

// has checks that exactly these parts are in the reasons why a FEC differs, each in its own.
func has(t *testing.T, x report.FEC, parts ...string) {
	t.Helper()
	if len(x.Differs) != len(parts) {
		t.Errorf("differs %q, want %q", x.Differs, parts)
		return
	}
	for i, part := range parts {
		if !strings.Contains(x.Differs[i], part) {
			t.Errorf("differs %q, want %q", x.Differs, parts)
		}
	}
}

func TestWhyAFECDiffers(t *testing.T) {
	f := newFollower(t)
	f.pass()
	x := f.fec("kgp2cu02")
	has(t, x, "it has reported nothing")
	if x.Condition != plan.Silent || x.Wanted == nil || x.Published == nil || x.Running != nil || x.Published.Commit != f.head() {
		t.Errorf("%+v", x)
	}
	first, booted := x.Published, f.Now().Add(time.Minute)
	f.said(running(first.Serial, "token", booted), running(first.Serial, "token", booted.Add(time.Minute)))
	x = f.fec("kgp2cu02")
	has(t, x)
	if r := x.Running; r == nil || !r.Since.Equal(booted.UTC().Truncate(time.Millisecond)) || r.Software["bpm"] != first.Software["bpm"] || r.Source != "token" {
		t.Errorf("runs %+v, want %+v since %s", r, first, booted)
	}

	// Another release is published, after it booted.
	f.later(time.Hour)
	f.change("payload/bpm/1.1.0/bin/bpm", "echo", "echo again;echo")
	f.pass()
	x = f.fec("kgp2cu02")
	has(t, x, "has not booted since serial")
	if x.Running == nil || x.Running.Serial != first.Serial || x.Published.Serial == first.Serial || !x.Running.Known {
		t.Errorf("runs %+v, published %+v", x.Running, x.Published)
	}

	// Somebody lies.
	f.said(running(x.Published.Serial, "report", f.Now()))
	x = f.fec("kgp2cu02")
	has(t, x, "has not booted since serial", "without its token: running")
	if x.Running.Serial != first.Serial || x.Condition != plan.Stale {
		t.Errorf("what is not proven counts: %+v", x)
	}

	// Held, by name and with the site.
	f.said(running(x.Published.Serial, "ssh", f.Now()))
	has(t, f.fec("kgp2cu02"))
	h := f.hold("fecs.kgp2cu02", time.Hour)
	f.change("payload/bpm/1.1.0/bin/bpm", "echo", "echo more;echo")
	f.pass()
	x = f.fec("kgp2cu02")
	has(t, x, "held by "+h.ID)
	if len(x.Holds) != 1 || x.Holds[0].ID != h.ID || x.Condition != plan.Runs {
		t.Errorf("holds %+v, condition %s", x.Holds, x.Condition)
	}
	f.lift(h.ID)
	f.pass()
	f.said(running(f.fec("kgp2cu02").Published.Serial, "ssh", f.Now()))

	// A commit that cannot be published, and one that has not been tried.
	f.change("site.cue", "name:", "nmae:")
	x = f.fec("kgp2cu02")
	if len(x.Differs) != 1 || !strings.Contains(x.Differs[0], "cannot be read") {
		t.Errorf("differs %q", x.Differs)
	}
	f.change("site.cue", "nmae:", "name:")
	f.change("payload/bpm/1.1.0/bin/bpm", "echo", "echo yet more;echo")
	has(t, f.fec("kgp2cu02"), "has not been tried yet")
	var text bytes.Buffer
	must(t, f.fec("kgp2cu02").Text(&text))
	for _, want := range []string{"kgp2cu02", "proven over ssh", "has not been tried yet", "REPORTED"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("text lacks %q:\n%s", want, text.String())
		}
	}
}

// TestAFECThatOnlyAnswersOverSSHBootsAgain: it has no token, so that what it reports of a boot since is the best that is known.
func TestAFECThatOnlyAnswersOverSSHBootsAgain(t *testing.T) {
	f := newFollower(t)
	f.pass()
	first := f.fec("kgp2cu02").Published
	f.said(running(first.Serial, "ssh", f.Now()))
	f.later(time.Hour)
	f.change("payload/bpm/1.1.0/bin/bpm", "echo", "echo again;echo")
	f.pass()
	second := f.fec("kgp2cu02").Published
	if x := f.fec("kgp2cu02"); x.Condition != plan.Stale {
		t.Errorf("before its boot: %+v", x)
	}
	fetching := running(second.Serial, "report", f.Now().Add(time.Second))
	fetching.State = "fetching"
	f.said(fetching)
	if x := f.fec("kgp2cu02"); x.Condition != plan.Boots || x.Running == nil || x.Running.Serial != first.Serial {
		t.Errorf("while it boots: %+v", x)
	}
	f.said(running(second.Serial, "report", f.Now().Add(time.Minute)))
	x := f.fec("kgp2cu02")
	has(t, x)
	if x.Condition != plan.Runs || x.Running.Serial != second.Serial || x.Running.Source != "report" {
		t.Errorf("after its boot: %+v", x)
	}

	// Once it has proven a report by a token, an answer over ssh changes nothing about that.
	proven := running(second.Serial, "token", f.Now().Add(2*time.Minute))
	proven.Clock = proven.At
	f.said(proven, running(second.Serial, "ssh", f.Now().Add(3*time.Minute)), running(first.Serial, "report", f.Now().Add(4*time.Minute)))
	has(t, f.fec("kgp2cu02"), "without its token: running")
}

// TestALedgerThatIsAwaySilencesNoFEC: what is wanted and published is told, and what FECs run is not known.
func TestALedgerThatIsAwaySilencesNoFEC(t *testing.T) {
	f := newFollower(t)
	f.pass()
	must(t, reconciler.PlaceLedger(f.Root, &ledger.Postgres{File: filepath.Join(t.TempDir(), "connection"), Schema: "pomona"}))
	x := f.fec("kgp2cu02")
	has(t, x, "it is not known what it runs: open ledger")
	if x.Condition != "" || x.Wanted == nil || x.Published == nil || !x.Published.Known {
		t.Errorf("%+v", x)
	}
	if st, err := f.Status(t.Context()); err != nil || st.FECs != nil || !strings.Contains(st.Trouble, "open ledger") || st.Published == nil {
		t.Errorf("status %+v, %v", st, err)
	}
}

// TestAFECIsFoundByItsHost, and one that is not there is not made up.
func TestAFECIsFoundByItsHost(t *testing.T) {
	f := newFollower(t)
	have := f.pass()
	name := have.Index.FECs[0].Name
	host := f.fec(name).Host
	if got := f.fec(host); got.Name != name || got.Published == nil {
		t.Errorf("%s is %+v", host, got)
	}
	if _, err := f.FEC(t.Context(), "kgp2cu0"); err == nil || !strings.Contains(err.Error(), "did you mean kgp2cu0") {
		t.Errorf("got %v", err)
	}
}

// TestWhatIsSaidOfAFECSteersNoTerminal: reports are hostile.
func TestWhatIsSaidOfAFECSteersNoTerminal(t *testing.T) {
	const hostile = "\x1b[2J"
	r := observed.FECReport{State: hostile, Detail: hostile, Dev: hostile, Source: "report"}
	x := report.FEC{Name: hostile, Differs: []string{hostile}, Inhibit: hostile, Reports: []observed.FECReport{r},
		Running: &report.Release{Dev: hostile, Known: true, Software: map[string]string{hostile: hostile}}, Restart: &report.Restart{Detail: hostile}}
	all := report.FECs{Count: map[plan.Condition]int{}, All: []report.FECLine{{Why: hostile}}, Worst: []report.FECLine{{Why: hostile}}}
	if line := (report.FECLine{Condition: plan.Fails, Why: "up|load=1e9"}).Check(); strings.Contains(line, "|") {
		t.Errorf("monitoring reads figures: %s", line)
	}
	var b bytes.Buffer
	must(t, x.Text(&b), all.Text(&b), report.Status{FECs: &all}.Text(&b))
	if strings.Contains(b.String(), hostile) {
		t.Errorf("%q", b.String())
	}
}

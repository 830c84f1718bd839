package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/docs"
	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// watchedService is a service that has not begun.
func watchedService(t *testing.T, channels ...announce.Channel) *servedRoot {
	t.Helper()
	dir := t.TempDir()
	if _, err := initSite(filepath.Join(dir, "site")); err != nil {
		t.Fatal(err)
	}
	opened, err := repo.Open(filepath.Join(dir, "site"))
	if err != nil {
		t.Fatal(err)
	}
	r := &reconciler.Reconciler{Repo: opened, Root: filepath.Join(dir, "root"), Log: slog.New(slog.DiscardHandler)}
	s, err := takeRoot(r.Root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	s.watch = newWatch(newProcess(r.Log, time.Hour), "linac", r, s.root, channels)
	return s
}

// TestReadyOnceAPassHasEnded also when it failed: the service can be asked then, and says so.
func TestReadyOnceAPassHasEnded(t *testing.T) {
	s := watchedService(t)
	if err := s.watch.ready(); err == nil {
		t.Error("ready before the first pass, with nothing published")
	}
	s.watch.Passed(reconciler.Done{Err: errors.New("disk full")})
	if err := s.watch.ready(); err != nil {
		t.Errorf("after a pass: %v", err)
	}
	other := watchedService(t)
	current := filepath.Join(other.path, "current")
	if err := errors.Join(os.Mkdir(current, 0o755), os.WriteFile(filepath.Join(current, "generation.json"), []byte("{}"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := other.watch.ready(); err != nil {
		t.Errorf("published by an earlier process: %v", err)
	}
}

// TestAPassThatFailsIsToldWithoutWaiting has a channel that never answers.
func TestAPassThatFailsIsToldWithoutWaiting(t *testing.T) {
	s := watchedService(t, announce.Channel{Name: "hangs"})
	for range 3 { // Run, which delivers, has not even begun
		s.watch.Passed(reconciler.Done{Err: errors.New("disk full")})
		s.watch.Fetched(0, false, errors.New("connection refused"))
	}
	if n := s.watch.notifier.Waiting(); n != 1 {
		t.Errorf("%d notifications wait, want one of the failure", n)
	}
}

var metricName = regexp.MustCompile(`\b(pomona|process|go)_[a-z_]+`)

// TestDashboardAndAlertsNameMetricsThatThereAre reads every name in what is shipped.
func TestDashboardAndAlertsNameMetricsThatThereAre(t *testing.T) {
	s := watchedService(t, announce.Channel{Name: "mail"})
	s.watch.metrics.Campaigns(report.Campaigns{
		Campaigns: []report.Campaign{{UID: "reco/1", State: "active", Stages: []report.Stage{{Late: true, Slices: map[observed.SliceState]int{observed.SliceFailed: 1}, Submissions: map[observed.SubmissionState]int{observed.SubmissionDone: 1}}}}},
		Engines:   []report.Engine{{Name: "slurm", Credential: time.Now()}}, Services: []observed.Service{{Name: "tape"}},
	})
	s.watch.metrics.Pilots(report.Pilots{Pilots: []report.Pilot{{PilotNow: plan.PilotNow{Name: "cream"}}}})
	families, err := s.watch.process.Gather()
	if err != nil {
		t.Fatal(err)
	}
	there, used := map[string]bool{}, map[string]bool{}
	for _, f := range families {
		there[f.GetName()] = true
	}
	for _, file := range []string{shipped["alerts"], shipped["dashboard"]} {
		b, err := docs.FS.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metricName.FindAllString(string(b), -1) {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base := strings.TrimSuffix(name, suffix); there[base] {
					name = base
				}
			}
			used[name] = true
			if !there[name] {
				t.Errorf("%s: no metric %s", file, name)
			}
		}
	}
	for name := range there {
		if strings.HasPrefix(name, "pomona_") && !used[name] && !unshown[name] {
			t.Errorf("neither the dashboard nor an alert shows %s", name)
		}
	}
}

// unshown are metrics that only people who ask look at.
var unshown = map[string]bool{
	"pomona_fec_reports_total": true, "pomona_published_timestamp_seconds": true, "pomona_git_last_fetch_success_timestamp_seconds": true,
}

func TestDashboardIsADashboard(t *testing.T) {
	b, err := docs.FS.ReadFile(shipped["dashboard"])
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title  string
		Panels []struct {
			ID      int
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &d); err != nil || d.Title != "Pomona" || len(d.Panels) < 10 {
		t.Fatalf("%d panels: %v", len(d.Panels), err)
	}
	promtool := need(t, "promtool", "prometheus")
	ids := map[int]bool{}
	var rules strings.Builder // promtool checks expressions as rules
	rules.WriteString("groups: [{name: dashboard, rules: [\n")
	for _, p := range d.Panels {
		if ids[p.ID] || len(p.Targets) == 0 {
			t.Errorf("panel %d is there twice or asks nothing", p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			expr, err := json.Marshal(strings.NewReplacer("$__rate_interval", "5m", "$site", ".*").Replace(target.Expr))
			if err != nil {
				t.Fatal(err)
			}
			rules.WriteString("  {record: x, expr: " + string(expr) + "},\n")
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(rules.String()+"]}]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "check", "rules", "--lint=none", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestAlertsFireWhenTheyShould runs promtool's own tests of rules.
func TestAlertsFireWhenTheyShould(t *testing.T) {
	promtool := need(t, "promtool", "prometheus")
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", "../../docs/monitoring/alerts.yaml"},
		{"test", "rules", "testdata/alerts.yaml"},
	} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", args, err, out)
		}
	}
}

// TestUnitIsSound has systemd judge the unit, with a program that is there in the place of its own.
func TestUnitIsSound(t *testing.T) {
	analyze := need(t, "systemd-analyze", "systemd")
	b, err := docs.FS.ReadFile(shipped["unit"])
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pomona.service")
	unit := strings.ReplaceAll(string(b), "/usr/bin/pomona", "/bin/true")
	if err := os.WriteFile(file, []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	verify := exec.Command(analyze, "verify", "--man=no", file)
	out, err := verify.CombinedOutput()
	if about := aboutUnit(string(out)); err != nil && about == "" {
		t.Logf("systemd-analyze verify: %v, not about this unit:\n%s", err, out)
	} else if about != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, about)
	}
	out, err = exec.Command(analyze, "security", "--offline=yes", "--threshold=20", file).CombinedOutput()
	if err != nil { // exposure is above 2.0 of 10
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// aboutUnit are the lines that name the unit.
func aboutUnit(out string) (about string) {
	for line := range strings.Lines(out) {
		if strings.Contains(line, "pomona") {
			about += line
		}
	}
	return about
}

// need skips a test without a program, but not in CI.
func need(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s not found: install Debian's package %s", program, debianPackage)
	}
	t.Skipf("NOT TESTED: %s not found: install Debian's package %s", program, debianPackage)
	return ""
}

// TestWhatMovedWhileTheServiceWasAwayIsNoSilentWebhook has the first fetch find a commit that nobody could be told of.
func TestWhatMovedWhileTheServiceWasAwayIsNoSilentWebhook(t *testing.T) {
	w := watchedService(t).watch
	c, err := w.repo.Resolve("main")
	if err != nil {
		t.Fatal(err)
	}
	w.silence, w.behind = &announce.Silence{Patience: time.Minute}, "main"
	w.Fetched(0, false, errors.New("connection refused"))
	w.Fetched(0, true, nil)
	w.Looked(c.ID, 0, true, nil)
	if w.silence.Silent(time.Now().Add(time.Hour)) {
		t.Error("people are told of a silent webhook")
	}
	w.Fetched(0, true, nil)
	w.Looked(strings.Repeat("ab", 20), 0, true, nil)
	if !w.silence.Silent(time.Now().Add(time.Hour)) {
		t.Error("people are not told when the webhook is silent later")
	}
}

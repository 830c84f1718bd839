package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	wire "github.com/pomona-gitops/pomona/reconciler/report"
)

// ring is a site whose campaigns start again and again. Their jobs note the slices that they have worked on; those of some wait for a gate.
type ring struct {
	world
	ran, gate string
}

// worked are the slices that the jobs of a campaign have worked on, as STAGE/ID, as often as they have.
func (r ring) worked(campaign string) (all []string) {
	r.t.Helper()
	b, err := os.ReadFile(r.ran)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if name, slice, _ := strings.Cut(strings.TrimSpace(line), " "); name == campaign {
			all = append(all, slice)
		}
	}
	slices.Sort(all)
	return all
}

// works waits until jobs of a campaign have worked on some slices, each once.
func (r ring) works(campaign string, want ...string) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%s works on %v", campaign, want), func() bool { return len(r.worked(campaign)) >= len(want) })
	if got := r.worked(campaign); !slices.Equal(got, want) {
		r.t.Errorf("%s has worked on %v, want %v", campaign, got, want)
	}
}

// was has the ledger of a stopped service say that the last start of campaigns was dealt with at some time. The clock of this machine cannot be
// set: so the service seems to have been down since then.
func (r ring) was(last map[string]time.Time) {
	r.t.Helper()
	l, err := ledger.Open(r.t.Context(), filepath.Join(r.root, ".pomona/ledger.db"))
	if err != nil {
		r.t.Fatal(err)
	}
	rows, err := l.Campaigns(r.t.Context())
	for name, at := range last {
		row := rows[name+"/1"]
		if row.State != "active" {
			r.t.Fatalf("%s is %+v", name, row)
		}
		row.Cycle = at
		err = errors.Join(err, l.SetCampaign(r.t.Context(), row))
	}
	if err := errors.Join(err, l.Close()); err != nil {
		r.t.Fatal(err)
	}
}

const ringSite = `package site

_job: {
	gated: bool | *false
	argv: ["/bin/sh", "-c", "until ${params.gated} || test -e %[1]s; do sleep 0.1; done; echo $POMONA_CAMPAIGN $POMONA_STAGE/$POMONA_SLICE >> %[2]s"]
	resources: {memory: "64MiB", walltime: "10m"}
}
_again: {
	reason:    "again and again"
	requester: "ann@example.org"
	state:     "active"
	schedule: _
	params: gated: string | *"true"
	stages: go: {type: "generator", job: {argv: _job.argv, resources: _job.resources}}
}
`

// id is a start as part of a slice's id.
func id(t time.Time) string { return "go/" + t.UTC().Format("20060102t1504z") }

// TestStartsOfSchedules comes through changes of clocks and through services that were down: as each schedule says.
func TestStartsOfSchedules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := ring{w, filepath.Join(w.dir, "ran"), filepath.Join(w.dir, "gate")}
	conf := &configured{file: filepath.Join(w.dir, "pomona.cue"), sites: map[string]world{"one": w}, addrs: map[string]string{"admin": freeAddress(t), "one": freeAddress(t)}}
	conf.write(t, []string{"one"}, "\t\tengines: local: {kind: \"local\", slots: 20}\n") // some jobs wait for a gate
	// Hourly schedules start half an hour away from now: no start comes while the test runs, but of those of every minute.
	begun := time.Now().UTC()
	half := begun.Add(30 * time.Minute)
	hourly := fmt.Sprintf("%d * * * *", half.Minute())
	last := half.Add(-time.Hour).Truncate(time.Minute)
	before := func(hours int) time.Time { return last.Add(-time.Duration(hours) * time.Hour) }
	campaign := func(name, cron, more string) string {
		return fmt.Sprintf("campaigns: %q: _again & {schedule: {cron: %q, deadline: \"1m\", %s}}\n", name, cron, more)
	}
	gated := func(name, cron, more string) string {
		return strings.TrimSuffix(campaign(name, cron, more), "}\n") + ", params: gated: \"false\"}\n"
	}
	site := func(cron string) string {
		return fmt.Sprintf(ringSite, r.gate, r.ran) +
			campaign("spring", "30 2 29-31 3 *", `timeZone: "Europe/Berlin", concurrency: "allow", catchUp: "all"`) +
			campaign("autumn", "30 2 25-27 10 *", `timeZone: "Europe/Berlin", concurrency: "allow", catchUp: "all"`) +
			campaign("none", hourly, "") + campaign("latest", hourly, `catchUp: "latest"`) + campaign("all", hourly, `catchUp: "all"`) +
			campaign("minute", "* * * * *", "") +
			gated("allow", cron, `catchUp: "latest", concurrency: "allow"`) + gated("forbid", cron, `catchUp: "latest"`) + gated("replace", cron, `catchUp: "latest", concurrency: "replace"`)
	}
	w.write("again.cue", site(hourly), 0o644)
	w.commit("campaigns that start again")
	names := []string{"all", "allow", "autumn", "forbid", "latest", "none", "replace", "spring"}
	conf.service = serveFile(t, conf.file)
	for _, name := range append(names, "minute") {
		eventually(t, name+" is decided about", func() bool { return w.is(name, "active") && !w.campaign(name).Next.IsZero() })
	}
	if err := conf.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	for _, name := range names {
		if got := r.worked(name); len(got) > 0 {
			t.Errorf("%s starts at once: %v", name, got)
		}
	}
	down := map[string]time.Time{"spring": time.Date(2025, 3, 28, 12, 0, 0, 0, time.UTC), "autumn": time.Date(2025, 10, 24, 12, 0, 0, 0, time.UTC)}
	for _, name := range []string{"all", "allow", "forbid", "latest", "none", "replace"} {
		down[name] = before(3)
	}
	r.was(down)
	conf.service = serveFile(t, conf.file)
	t.Cleanup(func() {
		if err := conf.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s", conf.log())
		}
	})

	// Once on each day: when clocks are put forward as they have been, and when they are put back before they are.
	for name, days := range map[string]map[string]string{
		"spring": {"29": "0130", "30": "0130", "31": "0030"}, "autumn": {"25": "0030", "26": "0030", "27": "0130"},
	} {
		var want []string
		for day, at := range days {
			want = append(want, fmt.Sprintf("go/2025%s%st%sz", map[string]string{"spring": "03", "autumn": "10"}[name], day, at))
		}
		slices.Sort(want)
		eventually(t, name+" is made up for", func() bool {
			stage := w.campaign(name).Stages[0]
			return stage.Slices[observed.SliceComplete] >= len(want) && !hasOpen(stage)
		})
		got := r.worked(name)
		days := slices.CompactFunc(slices.Clone(got), func(a, b string) bool { return a[:len("go/20250329")] == b[:len("go/20250329")] })
		if len(days) != len(got) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("%s: %v, want %v, and each day once", name, got, want)
		}
	}
	r.works("latest", id(last))
	r.works("all", id(before(2)), id(before(1)), id(last))
	for _, name := range []string{"allow", "forbid", "replace"} { // their jobs are under way
		eventually(t, name+" has made up for the latest", func() bool { return len(w.campaign(name).Stages[0].Open) == 1 })
		if open := w.campaign(name).Stages[0].Open; "go/"+open[0].ID != id(last) {
			t.Errorf("%s: %+v", name, open)
		}
	}
	if got := r.worked("none"); len(got) > 0 || !strings.Contains(conf.log(), "campaign=none/1 starts=3") {
		t.Errorf("none makes up for %v", got)
	}
	if c := w.campaign("none"); !c.Next.Equal(half.Truncate(time.Minute)) {
		t.Errorf("none starts next at %s", c.Next)
	}

	// Every minute from now on, while the first start is under way.
	w.write("again.cue", site("* * * * *"), 0o644)
	w.commit("every minute")
	open := func(name string) (ids []string) {
		for _, s := range w.campaign(name).Stages[0].Open {
			if !s.State.Ended() {
				ids = append(ids, "go/"+s.ID)
			}
		}
		return ids
	}
	eventually(t, "another start is allowed", func() bool { return len(open("allow")) >= 2 })
	eventually(t, "another start replaces it", func() bool {
		c := w.campaign("replace")
		stage := c.Stages[0] // with its job, which could go on for a moment
		now := open("replace")
		return stage.Slices[observed.SliceCancelled] >= 1 && stage.Submissions[observed.SubmissionCancelled] >= 1 && len(now) == 1 && now[0] != id(last)
	})
	eventually(t, "another start is forbidden", func() bool {
		return strings.Contains(strings.Join(w.campaign("forbid").Why, "; "), "waits until slices of the one before have ended")
	})
	if got := open("forbid"); !slices.Equal(got, []string{id(last)}) {
		t.Errorf("forbid: %v", got)
	}
	if err := os.WriteFile(r.gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was forbidden comes", func() bool { return len(r.worked("forbid")) >= 2 })
	eventually(t, "every minute", func() bool { return len(r.worked("minute")) >= 1 })
	for _, name := range append(names, "minute") {
		all := r.worked(name)
		if len(slices.Compact(slices.Clone(all))) != len(all) || name == "replace" && slices.Contains(all, id(last)) {
			t.Errorf("%s has worked on %v", name, all)
		}
		for _, slice := range all {
			if name == "minute" && (slice < id(begun) || slice > id(time.Now())) {
				t.Errorf("it starts at %s", slice)
			}
		}
	}
	w.write("again.cue", "package site\n", 0o644)
	w.commit("enough")
	for _, name := range append(names, "minute") {
		w.reaches(name, map[bool]string{true: "draft", false: "complete"}[name == "none"]) // of that nothing was ever begun
	}
}

// TestStagesComeAgain: around a loop until its end, and in new epochs, as commits say.
func TestStagesComeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := ring{world: w, ran: filepath.Join(w.dir, "ran")}
	site := func(epochs string) string {
		return fmt.Sprintf(`package site

_ran: "echo $POMONA_CAMPAIGN $POMONA_STAGE/$POMONA_SLICE >> %s"
campaigns: tested: {
	reason:    "whose test takes longer than itself"
	requester: "ann@example.org"
	stages: go: {type: "generator", params: slow: "false", testParams: slow: "true", job: {argv: ["/bin/sh", "-c", "while ${params.slow}; do sleep 0.1; done; \(_ran)"], resources: _small}}
}
_small: memory: "64MiB"
campaigns: around: {
	reason:    "until it is good"
	requester: "ann@example.org"
	state:     "active"
	loop: {stage: "fit", max: 3}
	stages: {
		track: {
			input: files: ["lattice"]
			job: {argv: ["/bin/sh", "-c", "\(_ran); { case $(cat $1) in /*) cat $(cat $1);; *) cat $1;; esac; echo tracked; } > $2/hits.txt", "track", "${inputs}", "${outputs}"], resources: _small, outputs: hits: pattern: "*.txt"}
		}
		fit: {needs: track: join: "all", job: {argv: ["/bin/sh", "-c", "\(_ran); cat $(cat $1) > $2/fitted.txt", "fit", "${inputs}", "${outputs}"], resources: _small, outputs: fit: pattern: "*.txt"}}
	}
}
campaigns: renewed: {
	reason:    "another calibration"
	requester: "ann@example.org"
	state:     "active"
	stages: {
		calib: {
			input: files: ["a", "b"]
			split: {type: "files", n: 1}
			job: {argv: ["/bin/sh", "-c", "\(_ran); cp $1 $2/c.txt", "calib", "${inputs}", "${outputs}"], resources: _small, outputs: c: pattern: "*.txt"}
		}
		each: {needs: calib: join: "each", job: {argv: ["/bin/sh", "-c", _ran], resources: _small}}
		sum:  {needs: calib: join: "all", job: {argv: ["/bin/sh", "-c", _ran], resources: _small}}
		bare: {needs: each: join: "all", job: {argv: ["/bin/sh", "-c", _ran], resources: _small}}
		wait: {needs: bare: {}, type: "approval"}
	}
}
%s`, r.ran, epochs)
	}
	w.write("again.cue", site(""), 0o644)
	w.commit("a loop and epochs")
	w.serve()

	eventually(t, "the draft is known", func() bool { return w.is("tested", "draft") })
	must(t, "campaign", "test", "tested", "--root", w.root)
	eventually(t, "the test runs", func() bool { return w.campaign("tested").Stages[0].Submissions[observed.SubmissionRunning] == 1 })
	w.write("again.cue", site("campaigns: tested: state: \"active\"\n"), 0o644)
	w.commit("without waiting for the test")
	if c := w.reaches("tested", "complete"); c.Stages[0].Tests[observed.SliceCancelled] != 1 || c.Stages[0].Slices[observed.SliceComplete] != 1 {
		t.Errorf("%+v", c)
	}
	eventually(t, "the test's job is ended", func() bool {
		n := w.campaign("tested").Stages[0].Submissions
		return n[observed.SubmissionCancelled] == 1 && n[observed.SubmissionRunning] == 0
	})

	c := w.reaches("around", "complete")
	if c.Stages[0].Slices[observed.SliceComplete] != 3 || c.Stages[1].Slices[observed.SliceComplete] != 3 {
		t.Errorf("%+v", c)
	}
	r.works("around", "fit/all", "fit/i2", "fit/i3", "track/all", "track/i2", "track/i3")
	tracked := w.outputs("fitted.txt")
	slices.SortFunc(tracked, func(a, b string) int { return len(a) - len(b) })
	if len(tracked) != 3 || strings.Count(tracked[2], "tracked") != 3 || !strings.HasPrefix(tracked[2], "lattice\n") {
		t.Errorf("%q", tracked)
	}

	counts := func(want map[string]int) func() bool {
		return func() bool {
			for _, stage := range w.campaign("renewed").Stages {
				if n, asked := want[stage.Name]; asked && (stage.Slices[observed.SliceComplete] != n || hasOpen(stage)) {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "all is done once", counts(map[string]int{"calib": 2, "each": 2, "sum": 1, "bare": 1}))
	first := r.worked("renewed")
	if len(first) != 6 {
		t.Fatalf("%v", first)
	}
	w.write("again.cue", site("campaigns: renewed: stages: calib: epoch: 2\n"), 0o644)
	w.commit("another calibration")
	eventually(t, "a provider's new epoch leads on", counts(map[string]int{"calib": 2, "each": 4, "sum": 2, "bare": 2}))
	second := r.worked("renewed")
	if n := countOf(second); n["calib"] != 4 || n["each"] != 4 || n["sum"] != 2 || n["bare"] != 2 || !slices.Contains(second, "sum/epoch-2") || !slices.Contains(second, "bare/epoch-2") {
		t.Errorf("%v", second)
	}
	w.write("again.cue", site("campaigns: renewed: stages: {calib: epoch: 2, each: epoch: 2}\n"), 0o644)
	w.commit("another program for each")
	eventually(t, "a stage's own new epoch works on what there is now", counts(map[string]int{"calib": 2, "each": 2, "sum": 2, "bare": 3}))
	if n := countOf(r.worked("renewed")); n["calib"] != 4 || n["each"] != 6 || n["sum"] != 2 || n["bare"] != 3 {
		t.Errorf("%v", r.worked("renewed"))
	}
}

// hasOpen says whether slices of a stage have not ended.
func hasOpen(s wire.Stage) bool {
	for state, n := range s.Slices {
		if n > 0 && !state.Ended() {
			return true
		}
	}
	return false
}

// countOf counts slices by their stage.
func countOf(worked []string) map[string]int {
	out := map[string]int{}
	for _, slice := range worked {
		stage, _, _ := strings.Cut(slice, "/")
		out[stage]++
	}
	return out
}

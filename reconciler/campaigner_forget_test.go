package reconciler

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// finds is a batch system that knows some jobs.
type finds struct {
	engine.Engine
	jobs []engine.Job
	err  error
}

func (f *finds) Find(context.Context, time.Time, ...string) (engine.Found, error) {
	return engine.Found{Jobs: f.jobs, Certain: true}, f.err
}

// TestOnlyWhatNobodyNeedsIsRemoved of runs that ended long ago.
func TestOnlyWhatNobodyNeedsIsRemoved(t *testing.T) {
	s := newTestCampaigner(t, "e")
	e, batch := s.engines["e"], &finds{}
	e.desk.Engine = batch
	now := time.Now()
	var all []tended
	launches := map[string]string{}
	run := func(name, state string, ended time.Time, submission observed.SubmissionState) {
		t.Helper()
		uid := name + "/1"
		row := ledger.Campaign{UID: uid, Name: name, State: state, At: ended, Began: ended.Add(-time.Hour)}
		all = append(all, tended{name: name, uid: uid, row: row})
		w := submit.Work{Site: "linac", UID: uid, Stage: "reco", Engine: "e", Job: desired.Job{Argv: []string{"true"}},
			Tasks: []submit.Task{{Slice: observed.Slice{UID: uid, Stage: "reco", Epoch: 1, ID: "a"}, Attempt: 1}}}
		if err := e.desk.Prepare(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		l, submissions := w.Intent(ended.Add(-time.Hour))
		if l.State = observed.LaunchReleased; submission.Ended() {
			l.State = observed.LaunchOver
		}
		submissions[0].State = submission
		launches[name] = l.Key
		if err := errors.Join(s.record(t.Context(), []observed.Launch{l}, submissions), s.Records.Use(t.Context(), func(l *ledger.Ledger) error { return l.SetCampaign(t.Context(), row) })); err != nil {
			t.Fatal(err)
		}
	}
	long := now.Add(-100 * 24 * time.Hour)
	run("old", plan.CampaignComplete, long, observed.SubmissionDone)
	run("young", plan.CampaignComplete, now.Add(-time.Hour), observed.SubmissionDone)
	run("goes-on", plan.CampaignActive, long, observed.SubmissionDone)
	run("unknown", plan.CampaignClosed, long, observed.SubmissionUnknown)
	run("read", plan.CampaignComplete, long, observed.SubmissionDone)
	run("named", plan.CampaignComplete, long, observed.SubmissionDone)
	run("runs", plan.CampaignComplete, long, observed.SubmissionCancelled)
	slice := ledger.Slice{UID: "goes-on/1", Stage: "reco", Epoch: 1, ID: "b", State: "planned", At: now, Inputs: []string{"/x", filepath.Join(e.desk.Folder, launches["read"], "out/1/x")}}
	if err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error { return l.AddSlices(t.Context(), []ledger.Slice{slice}) }); err != nil {
		t.Fatal(err)
	}
	draft := tended{name: "draft", uid: "draft/1", spec: desired.Campaign{Stages: map[string]desired.Stage{"merge": {Job: &desired.Job{Argv: []string{"cat", filepath.Join(e.desk.Folder, launches["named"], "out/1/x")}}}}}}
	all = append(all, draft)
	batch.jobs = []engine.Job{{Key: launches["runs"], State: engine.Running}, {Key: launches["old"], State: engine.Completed}}

	drop := func(of []tended) (left []string) {
		t.Helper()
		_, err := s.dropOld(t.Context(), e, now.Add(-90*24*time.Hour), func(context.Context) ([]tended, error) { return of, nil })
		_, failed := e.desk.Clear(mostRemoved)
		if err := errors.Join(err, failed); err != nil && batch.err == nil {
			t.Fatal(err)
		}
		for name, key := range launches {
			if _, err := os.Stat(filepath.Join(e.desk.Folder, key)); err == nil {
				left = append(left, name)
			}
		}
		slices.Sort(left)
		return left
	}
	batch.err = errors.New("it does not answer")
	if left := drop(all); len(left) != len(launches) {
		t.Errorf("nobody knows what runs, and only %v are left", left)
	}
	batch.err = nil
	looks := tended{name: "looks", uid: "looks/1", spec: desired.Campaign{Stages: map[string]desired.Stage{"merge": {Input: &desired.Input{Glob: filepath.Dir(e.desk.Folder) + "/*/*/out/*/x"}}}}}
	if left := drop(append(slices.Clone(all), looks)); len(left) != len(launches) {
		t.Errorf("a campaign looks there for its inputs, and only %v are left", left)
	}
	if left := drop(all); !slices.Equal(left, []string{"goes-on", "named", "read", "runs", "unknown", "young"}) {
		t.Errorf("left are %v", left)
	}
	// Whoever dies leaves a folder that the next one removes; a ledger that is lost then knows the run.
	for _, name := range []string{"x", "y", "z"} {
		if err := os.Mkdir(filepath.Join(e.desk.Folder, ".old-"+launches["old"]+"-"+name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, left := range []bool{true, false} {
		if more, err := e.desk.Clear(2); more != left || err != nil {
			t.Fatal(more, err)
		}
	}
	if found, _ := filepath.Glob(filepath.Join(e.desk.Folder, ".old-*")); len(found) > 0 {
		t.Errorf("left are %v", found)
	}
	again := newTestCampaigner(t)
	again.engines = s.engines
	rows, err := again.rebuild(t.Context(), siteNow{})
	if err != nil || rows["old/1"].State != plan.CampaignComplete {
		t.Errorf("%+v, %v", rows["old/1"], err)
	}
}

// TestWhatCannotBeForgotten is looked for again an hour later, and the batch system can be used.
func TestWhatCannotBeForgotten(t *testing.T) {
	s := newTestCampaigner(t, "e")
	e := s.engines["e"]
	e.Conf.Keep = "1h"
	if err := os.WriteFile(e.desk.Folder, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.forget(t.Context(), e); err == nil || e.forgot.IsZero() {
		t.Errorf("looked at %v: %v", e.forgot, err)
	}
	if e.dropped = false; s.forget(t.Context(), e) != nil {
		t.Error("it looked again")
	}
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// No Debian package has HTCondor. What a real pool (25.14.0) has printed is in testdata/condor, and programs that print it stand for
// HTCondor's own.
func TestHTCondorItselfWasNotThere(t *testing.T) {
	t.Skip("NO REAL HTCONDOR: its engine was tested against recorded output only, and its submit files by nobody but these tests")
}

// standIn are programs that print files, and write down how they were called.
type standIn struct {
	t      *testing.T
	folder string
}

func recordedCondor(t *testing.T) standIn {
	t.Helper()
	r := standIn{t, t.TempDir()}
	for program, file := range map[string]string{"condor_q": "q.json", "condor_history": "history.json", "condor_submit": "submit-terse.txt",
		"condor_release": "q-empty.json", "condor_rm": "rm.txt", "jobsub_submit": "q-empty.json", "jobsub_release": "q-empty.json", "jobsub_rm": "q-empty.json"} {
		r.prints(program, file)
	}
	return r
}

func (r standIn) prints(program, file string) {
	r.t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata/condor", file))
	if err != nil {
		r.t.Fatal(err)
	}
	r.does(program, "cat '"+path+"'")
}

func (r standIn) does(program, script string) {
	r.t.Helper()
	script = fmt.Sprintf("#!/bin/sh\n{ printf '%%s' %s; printf ' [%%s]' \"$@\"; echo; } >>%s/calls\ncat >%s/input.%s\nenv >%s/env\n%s\n", program, r.folder, r.folder, program, r.folder, script)
	if err := os.WriteFile(filepath.Join(r.folder, program), []byte(script), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

func (r standIn) engine() HTCondor {
	return HTCondor{Programs: r.folder, Schedd: "schedd@submit.example.org", Pool: "cm.example.org"}
}

// calls are those since the last time.
func (r standIn) calls() []string {
	r.t.Helper()
	out := read(r.t, r.folder, "calls")
	_ = os.Remove(filepath.Join(r.folder, "calls")) // there may be none
	return strings.Split(strings.TrimSpace(out), "\n")
}

// short says of jobs what can be told in a line.
func short(jobs []Job) (lines []string) {
	for _, j := range jobs {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %d %s %d/%d %s", j.Key, j.TaskID, j.Task, j.State, j.Exit, j.Signal, j.Reason)))
	}
	return lines
}

func TestCondorReadsWhatWasRecorded(t *testing.T) {
	for _, c := range []struct {
		file    string
		history bool
		want    []string
	}{
		{"q-empty.json", false, nil},
		{"history-empty.json", true, nil},
		{"q.json", false, []string{
			"g.held 181.0 1 held 0/0 submitted on hold at user's request",
			"g.run 182.0 1 running 0/0",
			"g.fail 183.0 1 running 0/0",
			"g.sig 184.0 1 running 0/0",
			"g.arr 185.0 1 running 0/0",
			"g.arr 185.1 2 running 0/0",
			"g.arr 185.2 3 running 0/0",
			"g.rm 186.0 1 running 0/0",
		}},
		{"history.json", true, []string{
			"g.run 182.0 1 cancelled 0/0 via condor_rm (by user nobody)",
			"g.rm 186.0 1 cancelled 0/0 via condor_rm (by user nobody)",
			"g.arr 185.2 3 completed 0/0",
			"g.held 181.0 1 cancelled 0/0 via condor_rm (by user nobody)",
			"g.arr 185.1 2 completed 0/0",
			"g.arr 185.0 1 completed 0/0",
			"g.sig 184.0 1 failed 0/9",
			"g.fail 183.0 1 failed 3/0",
		}},
	} {
		jobs, err := parseCondor([]byte(read(t, "testdata/condor", c.file)), c.history, func(string) bool { return true })
		if err != nil || !slices.Equal(short(jobs), c.want) {
			t.Errorf("%s: %v\n%s", c.file, err, strings.Join(short(jobs), "\n"))
		}
	}
	// An empty history is a list; nothing at all is no answer.
	for _, bad := range []string{"", "{}", `[{"ClusterId": 1, "PomonaKey": "a"}]`, `[{"ClusterId": 1,`, "-- Failed to fetch ads"} {
		if jobs, err := parseCondor([]byte(bad), true, func(string) bool { return true }); err == nil {
			t.Errorf("%q: no error, but %+v", bad, jobs)
		}
	}
}

func TestCondorTellsStatesApart(t *testing.T) {
	for _, c := range []struct{ queue, history, ad string }{
		{"queued 0/0", "queued 0/0", `"JobStatus": 1`},
		{"running 0/0", "running 0/0", `"JobStatus": 7`},
		{"queued 0/0 held by HTCondor: no disk", "queued 0/0 held by HTCondor: no disk", `"JobStatus": 5, "HoldReasonCode": 12, "HoldReason": "no disk"`},
		{"queued 0/0 held by HTCondor: spooling", "queued 0/0 held by HTCondor: spooling", `"JobStatus": 5, "HoldReasonCode": 16, "HoldReason": "spooling"`},
		{"running 0/0 is being removed", "exceeded 0/0 time limit: The job attribute PeriodicRemove expression", `"JobStatus": 3, "RemoveReason": "The job attribute PeriodicRemove expression"`},
		{"running 0/0 is being removed", "exceeded 0/0 memory usage exceeded", `"JobStatus": 3, "LastHoldReasonCode": 34, "LastHoldReason": "memory usage exceeded", "RemoveReason": "PeriodicRemove"`},
		// Our jobs note their end when they are told to end, and leave by themselves.
		{"running 0/0 is being removed", "cancelled 0/0 by nobody", `"JobStatus": 3, "ExitCode": 143, "RemoveReason": "by nobody"`},
		// One that has ended stays so when it leaves the queue.
		{"running 0/0 is being removed", "failed 3/0", `"JobStatus": 3, "ExitCode": 3, "CompletionDate": 1795231743, "RemoveReason": "by nobody"`},
		{"failed 0/0 HTCondor does not say how it ended", "failed 0/0 HTCondor does not say how it ended", `"JobStatus": 4`},
	} {
		for _, history := range []bool{false, true} {
			want := c.queue
			if history {
				want = c.history
			}
			jobs, err := parseCondor([]byte(`[{"ClusterId": 7, "ProcId": 1, "PomonaKey": "k", `+c.ad+`}]`), history, func(string) bool { return true })
			if got := short(jobs); err != nil || len(got) != 1 || got[0] != "k 7.1 2 "+want {
				t.Errorf("%s, in the history %v: %v, %v", c.ad, history, got, err)
			}
		}
	}
	jobs, err := parseCondor([]byte(`[{"ClusterId": 7, "ProcId": 0, "JobStatus": 4, "ExitCode": 0, "QDate": 10, "JobStartDate": 20, "JobCurrentStartDate": 30, "CompletionDate": 40,
		"EnteredCurrentStatus": 41, "RemoteUserCpu": 1.5, "RemoteSysCpu": 0.5, "ResidentSetSize": 2048, "LastRemoteHost": "slot1_2@node7.example.org"}]`), true, func(string) bool { return true })
	want := Job{ID: "7", Task: 1, TaskID: "7.0", State: Completed, Node: "node7.example.org", Submitted: time.Unix(10, 0).UTC(), Began: time.Unix(30, 0).UTC(), Ended: time.Unix(40, 0).UTC(),
		CPU: 2 * time.Second, Memory: 2 << 20}
	if err != nil || len(jobs) != 1 || jobs[0] != want {
		t.Errorf("%+v, %v", jobs, err)
	}
}

func TestCondorLooksInTheQueueAndThenInTheHistory(t *testing.T) {
	r := recordedCondor(t)
	c := r.engine()
	found, err := c.Find(t.Context(), time.Now().Add(-time.Hour), "g.arr", "g.held", "g.fail")
	want := []string{
		"g.arr 185.0 1 completed 0/0", "g.arr 185.1 2 completed 0/0", "g.arr 185.2 3 completed 0/0",
		"g.fail 183.0 1 failed 3/0", "g.held 181.0 1 cancelled 0/0 via condor_rm (by user nobody)",
	}
	if err != nil || !found.Certain || !slices.Equal(short(found.Jobs), want) {
		t.Errorf("%v, certain %v\n%s", err, found.Certain, strings.Join(short(found.Jobs), "\n"))
	}
	asked := `[-name] [schedd@submit.example.org] [-pool] [cm.example.org] [-json] [-constraint] [PomonaKey == "g.arr" || PomonaKey == "g.held" || PomonaKey == "g.fail"] [-attributes] [` + condorAttributes + "]"
	if calls := r.calls(); !slices.Equal(calls, []string{"condor_q " + asked, "condor_history " + asked}) {
		t.Errorf("calls:\n%s", strings.Join(calls, "\n"))
	}
	// As many calls for many keys, of no greater length.
	if _, err := c.Find(t.Context(), time.Now(), make([]string, 10000)...); err != nil {
		t.Fatal(err)
	}
	if calls := r.calls(); len(calls) != 2 || !strings.Contains(calls[1], "[PomonaKey =!= undefined]") {
		t.Errorf("calls:\n%s", strings.Join(calls, "\n"))
	}
	if found, err = c.Find(t.Context(), time.Now().Add(-inQueue), "g.none"); err != nil || found.Certain || found.Doubt == "" {
		t.Errorf("of long ago: %+v, %v", found, err)
	}
	for _, program := range []string{"condor_q", "condor_history"} {
		r := recordedCondor(t)
		r.does(program, "echo 'Failed to connect' >&2; exit 1")
		if found, err := r.engine().Find(t.Context(), time.Now(), "g.arr"); err == nil || !strings.Contains(err.Error(), "Failed to connect") {
			t.Errorf("%s fails: %+v, %v", program, found, err)
		}
	}
	r.prints("condor_history", "q-empty.json")
	if found, err := c.Find(t.Context(), time.Now(), "g.arr"); err == nil {
		t.Errorf("a history that says nothing: %+v", found)
	}
}

func TestCondorHandsInWhatItShould(t *testing.T) {
	r := recordedCondor(t)
	t.Setenv("SECRET_OF_THE_SERVICE", "x")
	l := Launch{
		Key: "pom-a", Folder: `/data/it's $5/pom-a`, Script: `/data/it's $5/pom-a/job "1".sh`, Tasks: 3, Account: "group_physics", Comment: "costs $(5)\nor so",
		Resources: Resources{CPUs: 2, GPUs: 1, Memory: 3<<20 + 1, Disk: 1 << 20, Time: 90 * time.Minute}, Options: []string{"+Project = \"beam\"", "requirements = HasCVMFS"},
	}
	if err := r.engine().Submit(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if calls := r.calls(); !slices.Equal(calls, []string{"condor_submit [-name] [schedd@submit.example.org] [-pool] [cm.example.org] [-terse] [-]"}) {
		t.Errorf("calls: %v", calls)
	}
	if env := read(t, r.folder, "env"); strings.Contains(env, "SECRET_OF_THE_SERVICE") {
		t.Errorf("it sees\n%s", env)
	}
	want := `+Project = "beam"
requirements = HasCVMFS
universe = vanilla
executable = /bin/sh
transfer_executable = false
should_transfer_files = NO
arguments = "'/data/it''s $(DOLLAR)5/pom-a/job ""1"".sh'"
initialdir = /data/it's $(DOLLAR)5/pom-a
input = /dev/null
output = log/$(pomona_task)
error = log/$(pomona_task)
getenv = false
environment = "'POMONA_TASK=$(pomona_task)' 'POMONA_JOB=$(Cluster).$(Process)'"
request_cpus = 2
request_gpus = 1
request_memory = 4
request_disk = 1024
accounting_group = group_physics
description = costs $(DOLLAR)(5) or so
hold = true
batch_name = pom-a
MY.PomonaKey = "pom-a"
leave_in_queue = JobStatus == 4 && time() - EnteredCurrentStatus < 86400
periodic_remove = (JobStatus == 5 && (HoldReasonCode == 34 || HoldReasonCode == 46 || HoldReasonCode == 47)) || (JobStatus == 2 && time() - EnteredCurrentStatus > 5400)
queue pomona_task from (
1
2
3
)
`
	if got := read(t, r.folder, "input.condor_submit"); got != want {
		t.Errorf("submit file:\n%s", got)
	}
	for name, change := range map[string]func(*Launch){
		"at once":      func(l *Launch) { l.AtOnce = 2 },
		"partition":    func(l *Launch) { l.Partition = "p" },
		"no task":      func(l *Launch) { l.Tasks = 0 },
		"hold":         func(l *Launch) { l.Options = []string{"Hold = false"} },
		"key":          func(l *Launch) { l.Options = []string{`+PomonaKey = "pom-b"`} },
		"queue":        func(l *Launch) { l.Options = []string{"queue 5"} },
		"two lines":    func(l *Launch) { l.Options = []string{"a = 1\nqueue"} },
		"to be joined": func(l *Launch) { l.Options = []string{`a = \`} },
	} {
		other := l
		change(&other)
		if err := r.engine().Submit(t.Context(), other); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if calls := r.calls(); calls[0] != "" {
		t.Errorf("refused, but handed in: %v", calls)
	}
}

func TestCondorReleasesAndRemoves(t *testing.T) {
	r := recordedCondor(t)
	c := r.engine()
	pin := "[-name] [schedd@submit.example.org] [-pool] [cm.example.org]"
	if err := errors.Join(c.Release(t.Context(), "181"), c.Cancel(t.Context(), "182", "185.2"), c.Release(t.Context()), c.Cancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if calls := r.calls(); !slices.Equal(calls, []string{
		"condor_release " + pin + " [-constraint] [(ClusterId == 181) && JobStatus == 5 && (HoldReasonCode == 15 || HoldReasonCode == 1)]",
		"condor_rm " + pin + " [-constraint] [(ClusterId == 182 || (ClusterId == 185 && ProcId == 2)) && JobStatus =!= 4 && JobStatus =!= 3]",
	}) {
		t.Errorf("calls:\n%s", strings.Join(calls, "\n"))
	}
	for _, id := range []string{"", "x", "1 || true", "1.x", "-1"} {
		if err := errors.Join(c.Release(t.Context(), id)); err == nil {
			t.Errorf("release %q: no error", id)
		}
	}
	// Released already, or unknown: an error that says nothing, as long as no job is left that it could have been said of.
	for _, program := range []string{"condor_release", "condor_rm"} {
		r.does(program, "echo \"Couldn't find/do that\" >&2; exit 1")
	}
	r.calls()
	r.prints("condor_q", "q-empty.json")
	if err := errors.Join(c.Release(t.Context(), "181"), c.Cancel(t.Context(), "99")); err != nil {
		t.Error(err)
	}
	r.prints("condor_q", "q.json")
	if err := c.Release(t.Context(), "181"); err == nil || !strings.Contains(err.Error(), "find/do that") {
		t.Errorf("one is still held: %v", err)
	}
	r.does("condor_q", "echo unreachable >&2; exit 1")
	if err := c.Cancel(t.Context(), "181"); err == nil {
		t.Error("nobody knows whether it is removed: no error")
	}
}

func TestCondorByJobsub(t *testing.T) {
	r := recordedCondor(t)
	c := r.engine()
	c.Jobsub, c.Group = true, "minerva"
	l := Launch{Key: "pom-a", Folder: t.TempDir(), Tasks: 2, Resources: Resources{Memory: 1 << 30, Time: time.Hour}, Options: []string{"+Site = \"x\""}}
	l.Script = filepath.Join(l.Folder, "job.sh")
	if err := os.WriteFile(l.Script, []byte("echo $POMONA_TASK $POMONA_JOB\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(l.Folder, "log"), 0o755), c.Submit(t.Context(), l)); err != nil {
		t.Fatal(err)
	}
	want := `jobsub_submit [--group] [minerva] [--schedd-for-testing] [schedd@submit.example.org] [-N] [2] [--cpu] [1] [--memory] [1024MB] [--expected-lifetime] [3600s]` +
		` [--lines] [+Site = "x"] [--lines] [hold = true] [--lines] [batch_name = pom-a] [--lines] [MY.PomonaKey = "pom-a"]`
	if calls := r.calls(); len(calls) != 1 || !strings.HasPrefix(calls[0], want) || !strings.HasSuffix(calls[0], "[file://"+l.Folder+"/jobsub.sh]") {
		t.Errorf("calls:\n%s", strings.Join(calls, "\n"))
	}
	t.Setenv("PROCESS", "1")
	t.Setenv("CLUSTER", "77")
	if _, err := (client{environment: os.Environ()}).run(t.Context(), nil, filepath.Join(l.Folder, "jobsub.sh")); err != nil || read(t, l.Folder, "log/2") != "2 77.1\n" {
		t.Errorf("%v, log %q", err, read(t, l.Folder, "log/2"))
	}
	// jobsub does not say whether the program that it runs has failed: what is left says it.
	if err := c.Release(t.Context(), "181"); err == nil {
		t.Error("one is still held: no error")
	}
	if calls := r.calls(); len(calls) != 2 || !strings.HasPrefix(calls[0], "jobsub_release [--group] [minerva] [-name] [schedd@submit.example.org] [-constraint] [(ClusterId == 181) &&") || !strings.HasPrefix(calls[1], "condor_q ") {
		t.Errorf("calls:\n%s", strings.Join(calls, "\n"))
	}
	r.prints("condor_q", "q-empty.json")
	if err := c.Cancel(t.Context(), "181"); err != nil {
		t.Error(err)
	}
}

func TestCondorGivesUpWithItsContext(t *testing.T) {
	r := recordedCondor(t)
	r.does("condor_q", "exec sleep 60")
	c := r.engine()
	c.Timeout = 200 * time.Millisecond
	if err := c.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("%v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Submit(over, Launch{Key: "pom-a", Tasks: 1, Folder: "/f", Script: "/f/s"}); err == nil {
		t.Error("submitted: no error")
	}
}

func FuzzCondor(f *testing.F) {
	for _, file := range []string{"q.json", "history.json", "q-empty.json", "history-empty.json"} {
		b, err := os.ReadFile(filepath.Join("testdata/condor", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, out []byte, history bool) {
		jobs, err := parseCondor(out, history, func(string) bool { return true })
		for _, j := range jobs {
			if err != nil || j.ID == "" || j.Task < 1 || !slices.Contains(states, j.State) {
				t.Errorf("%+v, %v", j, err)
			}
		}
	})
}

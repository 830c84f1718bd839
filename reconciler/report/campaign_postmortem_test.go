package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

func TestEndsAreDecoded(t *testing.T) {
	began := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	const failed = observed.SubmissionFailed
	asked := report.Asked{CPUs: 2, Memory: 1 << 30, Time: time.Hour}
	for _, c := range []struct {
		name string
		s    observed.Submission
		want string
	}{
		{"success", observed.Submission{State: observed.SubmissionDone}, "exit status 0"},
		{"a plain failure", observed.Submission{State: failed, Exit: 3}, "exit status 3"},
		{"no such program", observed.Submission{State: failed, Exit: 127}, "exit status 127: the program was not found"},
		{"a segmentation fault by the shell", observed.Submission{State: failed, Exit: 139}, "exit status 139: signal 11, SIGSEGV"},
		{"a segmentation fault by the engine", observed.Submission{State: failed, Signal: 11}, "signal 11, SIGSEGV"},
		{"memory", observed.Submission{State: failed, Signal: 9, Memory: 1<<30 - 1}, "signal 9, SIGKILL; it had used all the memory that it asked for: ask for more"},
		{"a kill", observed.Submission{State: failed, Signal: 9, Memory: 1 << 20}, "signal 9, SIGKILL; from outside: often for its memory"},
		{"time", observed.Submission{State: failed, Signal: 15, Began: began, Ended: began.Add(time.Hour)}, "signal 15, SIGTERM; its time was over: ask for more"},
		{"a claim", observed.Submission{State: observed.SubmissionDenied, Exit: 75}, "denied: another job had claimed this submission"},
		{"lost", observed.Submission{State: observed.SubmissionLost}, "lost: nobody has seen its end"},
		{"200 is no signal", observed.Submission{State: failed, Exit: 200}, "exit status 200"},
		{"running", observed.Submission{State: observed.SubmissionRunning}, ""},
	} {
		p := report.PostMortem{Attempts: []report.Attempt{{Submission: c.s, Asked: asked}}}.Explain()
		if got := p.Attempts[0].End; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAPostMortemTellsAll(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	p := report.PostMortem{
		UID: "keepup/1", Stage: "reco", ID: "run-101", Label: "run 101", Digest: "sha256:ab", Inputs: 3, Params: map[string]string{"field": "forward"}, State: observed.SliceFailed,
		Detail: "2 of 3 inputs", Since: at, Planned: at, Links: map[string]string{"logs": "https://logs.example.org/pom-a"},
		Attempts: []report.Attempt{{
			Submission: observed.Submission{Key: "pom-a", Attempt: 1, Engine: "slurm", Job: "17_3", State: observed.SubmissionFailed, Exit: 3, Node: "n1",
				CPU: 90 * time.Minute, Memory: 1 << 29, Began: at, Ended: at.Add(time.Hour)},
			Asked: report.Asked{CPUs: 2, Memory: 1 << 30, Time: 2 * time.Hour}, LogFile: "/batch/pom-a/log/3", Log: []string{"cannot open \x1b[2J run.root"},
			Events: []report.Event{{State: "intent", At: at}, {State: "failed", Detail: "exit 3", At: at.Add(time.Hour)}},
		}},
		Disturbances: []report.Disturbance{
			{Kind: "hold", Name: "h-1", Scope: "campaigns", Reason: "beam time", Began: at, Ended: at.Add(time.Minute)},
			{Kind: "service", Name: "sam", Reason: "503", Began: at},
		},
		Recovery:  report.SliceRecovery{Select: "missing-output", Inputs: 2, Names: []string{"a.root"}},
		Decisions: []report.Decision{{Kind: "retried", By: "ann", Reason: "disk was full", At: at}},
	}.Explain()
	var b strings.Builder
	if err := p.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"slice run-101 of keepup/1, stage reco: failed since 2026-11-21 10:00 UTC", "2 of 3 inputs", "field = forward", "https://logs.example.org/pom-a",
		"attempt 0.1: failed: exit status 3", "job 17_3 of slurm on n1", "used 1h0m0s of 2h0m0s, 512MiB of 1GiB memory (50%), 1h30m0s of 2 processors (75%)",
		"2026-11-21 11:00:00  failed  exit 3", "the last lines of /batch/pom-a/log/3:", "| cannot open", "run.root",
		"meanwhile hold h-1 of campaigns, from 2026-11-21 10:00 UTC, until 2026-11-21 10:01 UTC: beam time", "meanwhile service sam, from 2026-11-21 10:00 UTC, it lasts: 503",
		"the next recovery, missing-output, would select 2 inputs", "  a.root\n  and 1 more", "retried by ann: disk was full",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("a log steers the terminal")
	}
}

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	wire "github.com/pomona-gitops/pomona/reconciler/report"
)

// seenCampaign has a stage that fails, one that takes long, and one whose slices others make. Its jobs report with the script at %[1]q.
const seenCampaign = `package site

site: campaigns: links: logs: "https://logs.example.org/?q=${key}&job=${job}"

campaigns: seen: {
	reason:    "to be looked at"
	requester: "see@example.org"
	state:     "active"
	stages: {
		reco: {
			input: files: ["a.raw", "b.raw", "c.raw"]
			job: {
				argv: ["/bin/sh", "-c", "sh \"$3\" copying files; sh \"$3\" --consumed a.raw; cat \"$1\"; echo cannot open b.raw >&2; : > \"$2\"/a.out; exit 3", "reco", "${inputs}", "${outputs}", %[1]q]
				resources: {memory: "64MiB", walltime: "5m"}
				outputs: out: pattern: "*.out"
			}
			recoveries: [{select: "not-consumed", resources: memory: "128MiB"}]
		}
		slow: {type: "generator", job: {argv: ["/bin/sleep", "600"], resources: {memory: "64MiB", walltime: "20m"}}}
		made: {
			split: type: "external"
			job: {
				argv: ["/bin/sh", "-c", "cat \"$1\" > \"$2\"/got.txt", "made", "${inputs}", "${outputs}"]
				resources: memory: "64MiB"
				outputs: got: {pattern: "got.txt", perInput: 0}
			}
		}
	}
}
`

// seen is a service whose campaign is looked at.
type seen struct {
	world
	t           *testing.T
	url, client string
}

// see starts it.
func see(t *testing.T) *seen {
	t.Helper()
	c := &configured{file: filepath.Join(t.TempDir(), "pomona.cue"), sites: map[string]world{"one": newWorld(t)}, addrs: map[string]string{"admin": freeAddress(t), "one": freeAddress(t)}}
	s := &seen{world: c.sites["one"], t: t, url: "http://" + freeAddress(t)}
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(s.dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	reporter := file("pomona-job", must(t, "campaign", "script", "reporter"), 0o755)
	s.client = file("pomona-submissions", must(t, "campaign", "script", "client"), 0o755)
	tokens := file("tokens", "agent report-0123456789abcdef report\nann operate-0123456789abcdef operate\ndashboard read-0123456789abcdef read\n", 0o600)
	file("agent", "report-0123456789abcdef\n", 0o600)
	file("ann", "operate-0123456789abcdef\n", 0o600)
	file("dashboard", "read-0123456789abcdef\n", 0o600)
	s.write("seen.cue", fmt.Sprintf(seenCampaign, reporter), 0o644)
	s.commit("a campaign to look at")
	c.write(t, []string{"one"}, fmt.Sprintf("\t\tsubmissions: {listen: %q, tokens: %q, url: %q}\n", strings.TrimPrefix(s.url, "http://"), tokens, s.url))
	c.service = serveFile(t, c.file)
	t.Cleanup(func() {
		if err := c.end(syscall.SIGTERM); err != nil {
			t.Errorf("pomona serve ends with %v", err)
		}
		if t.Failed() {
			t.Logf("%s", c.log())
		}
	})
	return s
}

// ask runs the client as a user.
func (s *seen) ask(user, stdin string, args ...string) (out string, code int) {
	s.t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{s.client}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "POMONA_URL=" + s.url, "POMONA_TOKEN_FILE=" + filepath.Join(s.dir, user)}
	cmd.Stdin = strings.NewReader(stdin)
	b, _ := cmd.CombinedOutput() // its exit code tells
	return string(b), cmd.ProcessState.ExitCode()
}

// slice is what is told of a slice.
func (s *seen) slice(id string) (p wire.PostMortem) {
	out, _, code := pomona(s.t, "campaign", "seen", "slice", id, "--root", s.root, "-o", "json")
	if code == 0 {
		if err := json.Unmarshal([]byte(out), &p); err != nil {
			s.t.Fatalf("%v: %s", err, out)
		}
	}
	return p
}

func TestAFailedSliceTellsWhy(t *testing.T) {
	t.Parallel()
	s := see(t)
	eventually(t, "the slice was tried and recovered, and has failed", func() bool { p := s.slice("reco/all"); return len(p.Attempts) == 2 && p.State.Ended() })
	text := must(t, "campaign", "seen", "slice", "reco/all", "--root", s.root)
	for _, want := range []string{
		"slice all of seen/1, stage reco", "attempt 0.1: failed: exit status 3", "attempt 1.1: failed: exit status 3", "of 128MiB", "copying files, as the job says", "| a.raw", "| cannot open b.raw",
		"https://logs.example.org/?q=pom-", "no recovery is to come: all 1 were tried",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	p := s.slice("reco/all")
	if log := strings.Join(p.Attempts[1].Log, "\n"); !strings.Contains(log, "a.raw\nb.raw\nc.raw") {
		t.Errorf("the recovery lacks inputs that the job which failed has read: %q", log)
	}
	if svg := must(t, "campaign", "seen", "graph", "--root", s.root); !strings.HasPrefix(svg, "<svg ") || !strings.Contains(svg, ">reco<") {
		t.Errorf("graph:\n%s", svg)
	}
	if dot := must(t, "campaign", "seen", "graph", "-o", "dot", "--root", s.root); !strings.Contains(dot, `"made" [label="made\n`) {
		t.Errorf("graph:\n%s", dot)
	}
	s.order(p.Attempts[0].Key)
	slow := s.slice("slow/all") // its job would outlive the test
	if out, code := s.ask("ann", "", "cancel", "seen", "slow/all", "reason=it is only slow"); code != 0 {
		t.Errorf("%d: %s", code, out)
	}
	for _, a := range slow.Attempts {
		eventually(t, "the slow job is ended", func() bool { return exec.Command("pgrep", "-f", s.root+".*"+a.Key).Run() != nil })
	}
}

// order has an operator decide about the slice that has failed, over the API: first as one may not. Key is of an attempt at it.
func (s *seen) order(key string) {
	t := s.t
	status := must(t, "status", "--root", s.root)
	if !strings.Contains(status, "campaigns  1 active") || !strings.Contains(status, "1 failed") {
		t.Errorf("status:\n%s", status)
	}
	for _, c := range []struct {
		user string
		args []string
		code int
		want string
	}{
		{"agent", []string{"retry", "seen", "reco/all"}, 1, "role"},
		{"ann", []string{"retry", "seen", "reco/al"}, 1, "did you mean all?"},
		{"ann", []string{"retry", "seen", "all"}, 1, "say reco/all"},
		{"ann", []string{"retry", "sean", "all"}, 1, "did you mean seen?"},
		{"ann", []string{"accept", "seen", "reco/all"}, 1, "reason"},
		{"ann", []string{"accept", "seen", "slow/all", "reason=it takes long"}, 1, "wait until its jobs have ended"},
		{"dashboard", []string{"slices", "seen", "state=failed", "limit=1"}, 0, `"next": "reco/1/all"`},
		{"dashboard", []string{"slices", "seen", "state=failed", "after=reco/1/all"}, 0, `"slices": []`},
		{"ann", []string{"accept", "seen", "reco/all", "reason=nobody needs b.raw\x1b[2J"}, 0, "reco/all: was failed, is complete"},
		{"ann", []string{"retry", "seen", "reco/all"}, 1, "another epoch"},
		{"ann", []string{"say", key, "running"}, 1, "has ended"},
		{"ann", []string{"test", "seen", "made"}, 1, "nothing is tested"},
		{"ann", []string{"test", "seen", "nothing"}, 1, "no stage"},
	} {
		if out, code := s.ask(c.user, "", c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s %v: %d, want %d with %q: %s", c.user, c.args, code, c.code, c.want, out)
		}
	}
	if text := must(t, "campaign", "seen", "--root", s.root); !strings.Contains(text, "accepted reco all by ann: nobody needs b.raw[2J\n") {
		t.Errorf("nobody sees who has accepted it, and why:\n%s", text)
	}
}

func TestAgentsTellWhatBecomesOfSubmissions(t *testing.T) {
	t.Parallel()
	s := see(t)
	eventually(t, "the slow job runs", func() bool {
		p := s.slice("slow/all")
		return len(p.Attempts) == 1 && p.Attempts[0].State == "running"
	})
	must(t, "suspend", "campaigns.seen", "--reason", "magnet test", "--for", "1h", "--root", s.root)
	eventually(t, "the hold is on record", func() bool { return len(s.slice("slow/all").Disturbances) == 1 })
	must(t, "resume", "campaigns.seen", "--root", s.root)

	out, code := s.ask("dashboard", "", "list", "campaign=seen", "stage=slow")
	var list wire.Submissions
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Submissions) != 1 {
		t.Fatalf("%d, %v: %s", code, err, out)
	}
	key := list.Submissions[0].Key
	if out, code := s.ask("dashboard", "", "say", key, "failed"); code != 1 || !strings.Contains(out, "role") {
		t.Errorf("who may only read says something: %d: %s", code, out)
	}
	if out, code := s.ask("agent", "", "say", key, "done"); code != 1 || !strings.Contains(out, "end mark") {
		t.Errorf("a job is done that still runs: %d: %s", code, out)
	}
	if out, code := s.ask("agent", "", "say", key, "failed", "exit=1", "detail=its node is gone"); code != 0 {
		t.Fatalf("%d: %s", code, out)
	}
	if out, code := s.ask("agent", "", "say", key, "running"); code != 1 {
		t.Errorf("what has ended runs again: %d: %s", code, out)
	}
	eventually(t, "the slice has failed", func() bool { return s.slice("slow/all").State == "failed" })
	text := must(t, "campaign", "seen", "slice", "slow/all", "--root", s.root)
	for _, want := range []string{"its node is gone, as agent says", "meanwhile hold", "magnet test"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	eventually(t, "its job is ended too", func() bool { return exec.Command("pgrep", "-f", s.root+".*"+key).Run() != nil })

	for range 2 { // the same again is no other
		if out, code := s.ask("agent", "x.raw\ny.raw\n", "slice", "seen", "made", "run-7", "label=run 7"); code != 0 {
			t.Fatalf("%d: %s", code, out)
		}
	}
	if out, code := s.ask("agent", "z.raw\n", "slice", "seen", "made", "run-7"); code != 1 || !strings.Contains(out, "already") {
		t.Errorf("a slice gets other inputs: %d: %s", code, out)
	}
	if out, code := s.ask("agent", "z.raw\n", "slice", "seen", "reco", "run-7"); code != 1 || !strings.Contains(out, "external") {
		t.Errorf("a stage gets a slice that makes its own: %d: %s", code, out)
	}
	eventually(t, "the slice of the agent is complete", func() bool { return s.slice("made/run-7").State == "complete" })
	if got := s.outputs("got.txt"); len(got) != 1 || got[0] != "x.raw\ny.raw\n" {
		t.Errorf("outputs %q", got)
	}
}

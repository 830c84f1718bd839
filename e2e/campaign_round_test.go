package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	wire "github.com/pomona-gitops/pomona/reconciler/report"
)

// mill is a service with the embedded engine, the submission API and people who are told, for campaigns whose slices are tried in rounds.
type mill struct {
	world
	t      *testing.T
	admin  string
	file   string // the service's configuration
	told   func(words ...string) bool
	served *service
}

func newMill(t *testing.T) *mill {
	t.Helper()
	m := &mill{world: newWorld(t), t: t, admin: freeAddress(t)}
	m.file = filepath.Join(m.dir, "pomona.cue")
	var people string
	people, m.told = listener(t)
	m.put("people", "a secret for people", 0o600)
	m.put("tokens", "agent report-0123456789abcdef report\nann operate-0123456789abcdef operate\n", 0o600)
	m.put("pomona-job", must(t, "campaign", "script", "reporter"), 0o755)
	api := freeAddress(t)
	m.put("pomona.cue", fmt.Sprintf(`admin: %q
sites: linac: {
	root: %q
	listen: %q
	repository: url: %q
	keys: [%q]
	datasets: folders: [%q]
	submissions: {listen: %q, tokens: %q, url: "http://%s"}
	engines: local: {kind: "local", slots: 8}
}
notify: people: {webhook: {url: %q, secret: %q}, events: ["campaign-late", "campaign-held", "campaign-ended", "credential-expiring"]}
`, m.admin, m.root, freeAddress(t), m.site, m.path("key.sec"), m.dir, api, m.path("tokens"), api, people, m.path("people")), 0o644)
	return m
}

// listener is somebody who is told events, at an address; told says whether an event with some words has come.
func listener(t *testing.T) (address string, told func(words ...string) bool) {
	var mu sync.Mutex
	var events []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body) // what is missing is not found below
		mu.Lock()
		defer mu.Unlock()
		events = append(events, string(b))
	}))
	t.Cleanup(s.Close)
	return s.URL, func(words ...string) bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(events, func(e string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(e, w) })
		})
	}
}

func (m *mill) path(name string) string { return filepath.Join(m.dir, name) }

func (m *mill) put(name, content string, mode os.FileMode) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), []byte(content), mode); err != nil {
		m.t.Fatal(err)
	}
}

// start starts the service; it ends with the test.
func (m *mill) start() {
	m.t.Helper()
	m.served = serveFile(m.t, m.file)
	m.t.Cleanup(func() {
		if err := m.served.end(syscall.SIGTERM); err != nil {
			m.t.Errorf("pomona serve ends with %v", err)
		}
		if m.t.Failed() {
			m.t.Logf("%s", m.served.log())
		}
	})
}

// work is a campaign with a stage work, whose job is a script that has its inputs in $1, its outputs in $2 and the test's folder in $3.
func (m *mill) work(name, script, stage, more string) {
	m.t.Helper()
	m.write(name+".cue", fmt.Sprintf(`package site

campaigns: %q: {
	reason: "to see it"
	requester: "ann@example.org"
	state: *"active" | string
	stages: work: {
		params: round: *"0" | string
		job: {
			argv: ["/bin/sh", "-c", %q, "job", "${inputs}", "${outputs}", %q]
			resources: {memory: *"64MiB" | string, walltime: "5m"}
		}
	%s
	}
	%s
}
`, name, script, m.dir, stage, more), 0o644)
}

// slice is all that is known of a slice.
func (w world) slice(campaign, id string) (p wire.PostMortem) {
	w.t.Helper()
	out := must(w.t, "campaign", campaign, "slice", id, "--root", w.root, "-o", "json")
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return p
}

// attempts say of each attempt at a slice which it was, how it ended, with how much memory, and on what it worked.
func (m *mill) attempts(p wire.PostMortem) (said []string) {
	m.t.Helper()
	for _, a := range p.Attempts {
		b, err := os.ReadFile(filepath.Join(m.root, ".pomona/engines/local", a.Launch, "inputs", fmt.Sprint(a.Task)))
		if err != nil {
			m.t.Fatal(err)
		}
		line := fmt.Sprintf("%d.%d %s %d", a.Round, a.Attempt, a.State, a.Asked.Memory>>20)
		for name := range strings.FieldsSeq(string(b)) {
			line += " " + path.Base(name)
		}
		said = append(said, line)
	}
	return said
}

func (m *mill) metric(name string) string {
	for line := range strings.Lines(string(download(m.t, "http://"+m.admin+"/metrics"))) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// TestSlicesAreTriedInRounds has a campaign for each kind of recovery, retry, completion and lateness, in one service.
func TestSlicesAreTriedInRounds(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	const (
		three = `input: files: ["a.raw", "b.raw", "c.raw"]` + "\n"
		one   = `input: files: ["a.raw"]` + "\n"
		each  = `while read -r name; do n=${name##*/}; `
		jobs  = "completion: criterion: \"jobs\"\n"
		out   = "job: outputs: out: pattern: \"*.out\"\n"
		whole = "job: outputs: all: {pattern: \"all.txt\", perInput: 0}\n"
	)
	// Each job notes that it runs; two of the inputs of "added" appear while jobs run.
	for _, name := range []string{"in/a.raw", "in/b.raw"} {
		m.put(name, "", 0o644)
	}
	reports := `say() { sh ` + m.path("pomona-job") + ` "$@"; }; `
	clash := reports + `cat "$1" > "$2/all.txt"; case $POMONA_PARAM_round in 0) say --consumed a.raw; say --failed b.raw;; *) say --consumed $(cat "$1");; esac`
	wait := `until test -e "$3/go.$POMONA_CAMPAIGN"; do sleep 0.2; done`
	cases := []struct {
		name, script, stage, more string
		state                     string // of the campaign
		slice                     string // state of its only slice
		detail                    string // of the slice
		attempts                  []string
	}{
		{"failed", `test "$POMONA_PARAM_careful" = yes`, three + jobs + `params: careful: *"no" | string, recoveries: [{select: "failed-or-not-consumed", resources: memory: "128MiB", params: careful: "yes"}]`, "",
			"complete", "complete", "", []string{"0.1 failed 64 a.raw b.raw c.raw", "1.1 done 128 a.raw b.raw c.raw"}},
		{"words", reports + `case $POMONA_PARAM_round in 0) say --consumed a.raw; say --delivered b.raw; say --failed c.raw;; *) say --consumed $(cat "$1");; esac`,
			three + jobs + `recoveries: [{select: "delivered-not-consumed", params: round: "1"}, {select: "not-consumed", params: round: "2"}, {select: "failed-or-not-consumed", params: round: "3"}]`, "",
			"complete", "complete", "", []string{"0.1 done 64 a.raw b.raw c.raw", "1.1 done 64 b.raw", "3.1 done 64 c.raw"}},
		{"unread", reports + `case $POMONA_PARAM_round in 0) say --failed a.raw; exit 1;; *) say --consumed $(cat "$1");; esac`,
			three + jobs + `recoveries: [{select: "not-consumed", params: round: "1"}, {select: "failed-or-not-consumed", params: round: "2"}]`, "",
			"complete", "complete", "", []string{"0.1 failed 64 a.raw b.raw c.raw", "1.1 done 64 b.raw c.raw", "2.1 done 64 a.raw"}},
		{"missing", each + `test $POMONA_PARAM_round$n = 0c.raw || : > "$2/${n%.raw}.out"; done < "$1"`,
			three + out + `recoveries: [{select: "missing-output", minFiles: 2}, {select: "missing-output", params: round: "1"}]`, "",
			"complete", "complete", "", []string{"0.1 done 64 a.raw b.raw c.raw", "2.1 done 64 c.raw"}},
		{"chain", `exit 3`, one + jobs + `recoveries: [for n in [1, 2, 3, 4, 5] {select: "not-consumed", resources: memory: "\(64+n)MiB"}]`, "",
			"incomplete", "failed", "its recoveries did not help", []string{"0.1 failed 64 a.raw", "1.1 failed 65 a.raw", "2.1 failed 66 a.raw", "3.1 failed 67 a.raw", "4.1 failed 68 a.raw", "5.1 failed 69 a.raw"}},
		{"exits", `echo >> "$3/exits"; test $(wc -l < "$3/exits") = 3 || exit 7`, one + jobs + `job: retry: {onExit: [7], max: 2}`, "",
			"complete", "complete", "", []string{"0.1 done 64 a.raw"}},
		{"other-exit", `echo >> "$3/other-exit"; exit 8`, one + jobs + `job: retry: {onExit: [7], max: 2}`, "",
			"incomplete", "failed", "exit status 8", []string{"0.1 failed 64 a.raw"}},
		{"memory", `echo >> "$3/memory"; test $(wc -l < "$3/memory") = 3 || exit 9`, one + jobs + `job: retry: {onExit: [9], max: 2, memoryFactor: 2}`, "",
			"complete", "complete", "", []string{"0.1 failed 64 a.raw", "0.2 failed 128 a.raw", "0.3 done 256 a.raw"}},
		{"partial", `: > "$2/a.out"; : > "$2/b.out"`, three + out, `stages: next: {needs: work: {}, job: {argv: ["/bin/sh", "-c", "echo ran >> \(#dir)/next"], resources: memory: "64MiB"}}, #dir: "` + m.dir + `"`,
			"incomplete", "partial", "there are 2 of 3 files out", []string{"0.1 done 64 a.raw b.raw c.raw"}},
		{"enough", `: > "$2/a.out"; : > "$2/b.out"`, three + out + `completion: threshold: "66%"`, "",
			"complete", "complete", "there are 2 of 3 files out, which is enough: 66% of its inputs", []string{"0.1 done 64 a.raw b.raw c.raw"}},
		{"most", reports + `say --failed a.raw`, three + `completion: {criterion: "jobs", threshold: "60%"}`, "",
			"complete", "complete", "2 of 3 inputs are done, which is enough", []string{"0.1 done 64 a.raw b.raw c.raw"}},
		{"too-few", reports + `say --failed a.raw`, three + `completion: {criterion: "jobs", threshold: "67%"}`, "",
			"incomplete", "partial", "2 of 3 inputs are done", []string{"0.1 done 64 a.raw b.raw c.raw"}},
		{"counts", `exit 1`, three + `completion: {criterion: "jobs", countFailedAsDone: true}`, "",
			"complete", "complete", "", []string{"0.1 failed 64 a.raw b.raw c.raw"}},
		{"empty", `exit 1`, `input: glob: "` + m.path("in/*.none") + `"`, "", "complete", "", "", nil},
		{"late-fail", wait, one + `completion: {criterion: "jobs", timeout: "1s", onTimeout: "fail"}`, "",
			"incomplete", "failed", "it is not complete 1s after it was submitted", nil},
		{"late-accept", wait, one + `completion: {criterion: "jobs", timeout: "1s", onTimeout: "accept"}`, "",
			"complete", "complete", "it is not complete 1s after it was submitted, and is accepted as it is", nil},
	}
	for _, c := range cases {
		m.work(c.name, c.script, c.stage, c.more)
	}
	m.work("added", each+`echo $n >> "$3/added"; case $n in a.raw) : > "$3/in/c.raw";; c.raw) : > "$3/in/d.raw";; d.raw) test $POMONA_PARAM_round = 3 || exit 1;; esac; done < "$1"`,
		`input: glob: "`+m.path("in/*.raw")+`", split: {type: "files", n: 1}, recoveries: [{select: "added-inputs"}, {select: "added-inputs"}, {select: "not-consumed", params: round: "3"}]`+"\n"+jobs, "")
	m.work("late", wait, one+`completion: {criterion: "jobs", timeout: "1s"}`, "")
	m.work("late-hold", wait, `input: files: ["a.raw", "b.raw"], split: {type: "files", n: 1}, maxInFlight: 1, completion: {criterion: "jobs", timeout: "1s", onTimeout: "hold"}`, "")
	after := `stages: next: {needs: work: join: "all", job: {argv: ["/bin/sh", "-c", "xargs cat < $1 > $2/joined.txt", "next", "${inputs}", "${outputs}"], resources: memory: "64MiB", outputs: joined: {pattern: "joined.txt", perInput: 0}}}`
	for _, name := range []string{"clash-accepted", "clash-retried"} {
		m.work(name, clash, `input: files: ["a.raw", "b.raw"], recoveries: [{select: "failed-or-not-consumed", params: round: "1"}]`+"\n"+whole, after)
	}
	m.commit("campaigns")
	m.start()

	eventually(t, "people are told of what is late", func() bool {
		return m.told("campaign-late", "late/1: 1 slice is late") && m.told("late-hold/1: 1 slice is late")
	})
	if text := must(t, "campaign", "late", "--root", m.root); !strings.Contains(text, "it is not complete 1s after it was submitted") || !strings.Contains(text, "underway") {
		t.Errorf("late:\n%s", text)
	}
	for name, want := range map[string]string{"late": "1", "late-hold": "1"} {
		if got := m.metric(`pomona_campaign_late{campaign="` + name + `/1",site="linac"}`); got != want {
			t.Errorf("metric of %s: %q", name, got)
		}
	}
	held := m.campaign("late-hold")
	if s := held.Stages[0]; s.Slices[observed.SliceLate] != 1 || s.Slices[observed.SlicePlanned] != 1 || !strings.Contains(s.Why, "late: retry, accept or cancel it") {
		t.Errorf("one is late, and another starts: %+v", s)
	}
	for _, s := range held.Stages[0].Open {
		if s.State == observed.SliceLate {
			must(t, "campaign", "cancel", "late-hold", s.ID, "--root", m.root, "--by", "ann")
		}
	}
	m.put("go.late-hold", "", 0o644)
	m.put("go.late", "", 0o644)
	m.reaches("late", "complete")
	m.reaches("late-hold", "complete")
	eventually(t, "people are told that nothing is late any more", func() bool { return m.told("campaign-late", `"recovered":true`) })

	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			eventually(t, c.name+" is "+c.state, func() bool { return m.is(c.name, c.state) })
			if c.slice == "" {
				if now := m.campaign(c.name); now.Detail != "no slices: there was nothing to do" || now.Stages[0].Detail != "its input is empty" {
					t.Errorf("%+v", now)
				}
				return
			}
			p := m.slice(c.name, "work/all")
			if string(p.State) != c.slice || !strings.Contains(p.Detail, c.detail) || c.detail == "" && p.Detail != "" {
				t.Errorf("%s: %s", p.State, p.Detail)
			}
			if got := m.attempts(p); c.attempts != nil && !slices.Equal(got, c.attempts) {
				t.Errorf("attempts %q", got)
			}
		})
	}
	for name, n := range map[string]int{"exits": 3, "other-exit": 1, "memory": 3} {
		if b, err := os.ReadFile(m.path(name)); err != nil || len(b) != n {
			t.Errorf("%s ran %d times, %v", name, len(b), err)
		}
	}
	if isFile(m.path("next")) || m.campaign("partial").Stages[1].State != "blocked" {
		t.Error("what needs a slice that is partial has begun")
	}
	for _, name := range []string{"late-fail", "late-accept"} {
		key := m.slice(name, "work/all").Attempts[0].Key
		eventually(t, "the job of "+name+" is ended", func() bool { return exec.Command("pgrep", "-f", m.root+".*"+key).Run() != nil })
	}

	m.reaches("added", "complete")
	b, err := os.ReadFile(m.path("added"))
	if got := strings.Fields(string(b)); err != nil || !slices.Equal(sorted(got), []string{"a.raw", "b.raw", "c.raw", "d.raw", "d.raw"}) {
		t.Errorf("inputs that were worked on: %q, %v", got, err)
	}

	for _, name := range []string{"clash-accepted", "clash-retried"} {
		m.reaches(name, "incomplete")
		if p := m.slice(name, "work/all"); p.State != observed.SlicePartial || !strings.Contains(p.Detail, "several rounds have left files all.txt, each of other inputs") {
			t.Errorf("%s: %s", p.State, p.Detail)
		}
	}
	must(t, "campaign", "accept", "clash-accepted", "work/all", "--reason", "both are good", "--root", m.root, "--by", "ann")
	must(t, "campaign", "retry", "clash-retried", "work/all", "--root", m.root, "--by", "ann")
	m.reaches("clash-accepted", "complete")
	m.reaches("clash-retried", "complete")
	var joined []string
	for _, text := range m.outputs("joined.txt") {
		joined = append(joined, strings.Join(sorted(strings.Fields(text)), " "))
	}
	if !slices.Equal(sorted(joined), []string{"a.raw b.raw", "a.raw b.raw b.raw"}) {
		t.Errorf("joined %q", joined)
	}
}

func sorted(words []string) []string { slices.Sort(words); return words }

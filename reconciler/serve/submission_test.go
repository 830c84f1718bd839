package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

const (
	keyA, keyB   = "pom-abcdefghijklmnopqrstuv0123", "pom-zzzzzzzzzzzzzzzzzzzzzz0123"
	readToken    = "read-0123456789abcdef"
	reportToken  = "report-0123456789abcdef"
	operateToken = "operate-0123456789abcdef"
)

// known is a campaign system with a memory of its own, by the rules of plan.
type known struct {
	submissions map[string]observed.Submission
	slices      map[string]serve.ExternalSlice
	asked       serve.SubmissionQuery
	inputs      serve.InputWords
	sliced      serve.SliceQuery
	ordered     serve.Order
	ended       []string // stages, by whom
}

func (k *known) SayInputs(_ context.Context, w serve.InputWords) (any, error) {
	if w.Inputs["refused"] != "" {
		return nil, fmt.Errorf("%w: %q is none", serve.ErrConflict, "refused")
	}
	k.inputs = w
	return map[string]int{"inputs": len(w.Inputs)}, nil
}

func (k *known) Campaigns(context.Context) (any, error) { return []string{"keepup"}, nil }

func (k *known) Campaign(_ context.Context, name string) (any, error) {
	if name != "keepup" && name != "keepup/1" {
		return nil, fmt.Errorf("campaign %s: %w", name, serve.ErrNoSuch)
	}
	return map[string]string{"name": name}, nil
}

func (k *known) Submissions(_ context.Context, q serve.SubmissionQuery) (any, error) {
	k.asked = q
	return []string{keyA, keyB}, nil
}

func (k *known) Submission(_ context.Context, key string) (any, error) {
	s, ok := k.submissions[key]
	if !ok {
		return nil, fmt.Errorf("submission %s: %w", key, serve.ErrNoSuch)
	}
	return s, nil
}

func (k *known) Say(_ context.Context, w serve.SubmissionWord) (any, error) {
	have, ok := k.submissions[w.Key]
	if !ok {
		return nil, fmt.Errorf("submission %s: %w", w.Key, serve.ErrNoSuch)
	}
	said := w.Over(have)
	if err := plan.Believes(have, said, w.Operator); err != nil {
		return nil, fmt.Errorf("%w: %w", serve.ErrConflict, err)
	}
	k.submissions[w.Key] = said
	return said, nil
}

func (k *known) Slices(_ context.Context, q serve.SliceQuery) (any, error) {
	k.sliced = q
	return map[string]any{"slices": []string{"a"}, "next": serve.SlicePlace{Stage: "reco", Epoch: 2, Slice: "a"}.String()}, nil
}

func (k *known) Order(_ context.Context, o serve.Order) (any, error) {
	switch {
	case o.Campaign != "keepup":
		return nil, fmt.Errorf("campaign %s: %w", o.Campaign, serve.ErrNoSuch)
	case o.Reason == "beam":
		return nil, fmt.Errorf("%w: not by %s", serve.ErrForbidden, o.By)
	}
	k.ordered = o
	return map[string]string{"done": o.Do}, nil
}

func (k *known) EndSlices(_ context.Context, campaign, stage, by string) (any, error) {
	k.ended = append(k.ended, campaign+" "+stage+" "+by)
	return map[string]string{"stage": stage}, nil
}

func (k *known) AddSlice(_ context.Context, s serve.ExternalSlice) (any, error) {
	k.slices[s.ID] = s
	return map[string]int{"inputs": len(s.Inputs)}, nil
}

// submissionAPI is an API that knows two submissions.
func submissionAPI(t *testing.T) (*known, *httptest.Server) {
	t.Helper()
	tokens := filepath.Join(t.TempDir(), "tokens")
	text := "# users\nann " + operateToken + " operate\nagent " + reportToken + " report\n\ndashboard " + readToken + " read\n"
	if err := os.WriteFile(tokens, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	k := &known{slices: map[string]serve.ExternalSlice{}, submissions: map[string]observed.Submission{
		keyA: {Key: keyA, State: observed.SubmissionQueued, Job: "17"}, keyB: {Key: keyB, State: observed.SubmissionCancelled},
	}}
	s := httptest.NewServer(serve.SubmissionAPI{TokenFile: tokens, JobSecret: jobSecret, Submissions: k}.Handler())
	t.Cleanup(s.Close)
	return k, s
}

var jobSecret = []byte("secret of jobs")

// call sends a request, and returns its status and answer.
func call(t *testing.T, method, address, token, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(b) || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s: no JSON: %s", method, address, b)
	}
	return resp.StatusCode, string(b)
}

func TestEachMayWhatTheirTokenAllows(t *testing.T) {
	job := serve.JobToken(jobSecret, keyA)
	for _, c := range []struct {
		name, method, path, token, body string
		want                            int
	}{
		{"nobody reads", "GET", "/v1/campaigns", "", "", 401},
		{"a wrong token reads", "GET", "/v1/campaigns", "read-0123456789abcdee", "", 401},
		{"a reader lists", "GET", "/v1/campaigns", readToken, "", 200},
		{"a reader shows", "GET", "/v1/submissions/" + keyA, readToken, "", 200},
		{"a reader says", "POST", "/v1/submissions/" + keyA, readToken, "state=running", 403},
		{"a reader makes a slice", "POST", "/v1/campaigns/c/stages/s/slices/a", readToken, "a", 403},
		{"a reader ends a stage", "POST", "/v1/campaigns/c/stages/s/end", readToken, "", 403},
		{"an agent ends a stage", "POST", "/v1/campaigns/c/stages/s/end", reportToken, "", 200},
		{"an agent ends no stage", "POST", "/v1/campaigns/c/stages/S/end", reportToken, "", 400},
		{"an agent says", "POST", "/v1/submissions/" + keyA, reportToken, "state=running", 200},
		{"an agent makes a slice", "POST", "/v1/campaigns/c/stages/s/slices/a", reportToken, "a", 200},
		{"an agent leaves an end", "POST", "/v1/submissions/" + keyB, reportToken, "state=done", 409},
		{"an operator leaves an end", "POST", "/v1/submissions/" + keyB, operateToken, "state=done&detail=it+was+there", 409},
		{"an agent says that it is lost", "POST", "/v1/submissions/" + keyA, reportToken, "state=lost", 409},
		{"an operator says that it is lost", "POST", "/v1/submissions/" + keyA, operateToken, "state=lost", 200},
		{"a job says that it runs", "POST", "/v1/submissions/" + keyA, job, "state=running&detail=x", 200},
		{"a job says that it is done", "POST", "/v1/submissions/" + keyA, job, "state=done", 409},
		{"a job looks at itself", "GET", "/v1/submissions/" + keyA, job, "", 200},
		{"a job speaks of another", "POST", "/v1/submissions/" + keyB, job, "state=running", 401},
		{"a job looks at another", "GET", "/v1/submissions/" + keyB, job, "", 401},
		{"a job lists", "GET", "/v1/submissions", job, "", 401},
		{"a job makes a slice", "POST", "/v1/campaigns/c/stages/s/slices/a", job, "a", 401},
		{"another job", "POST", "/v1/submissions/" + keyA, reportToken, "state=running&job=18", 409},
		{"a job speaks of its inputs", "POST", "/v1/submissions/" + keyA + "/inputs", job, "consumed a.root\n", 200},
		{"a job speaks of another's inputs", "POST", "/v1/submissions/" + keyB + "/inputs", job, "consumed a.root\n", 401},
		{"a reader speaks of inputs", "POST", "/v1/submissions/" + keyB + "/inputs", readToken, "consumed a.root\n", 403},
		{"an input that is eaten", "POST", "/v1/submissions/" + keyA + "/inputs", job, "eaten a.root\n", 400},
		{"an input without a name", "POST", "/v1/submissions/" + keyA + "/inputs", job, "consumed\n", 400},
		{"no such submission", "GET", "/v1/submissions/pom-00000000000000000000000000", readToken, "", 404},
		{"no key", "GET", "/v1/submissions/pom-xxx", readToken, "", 400},
		{"no such campaign", "GET", "/v1/campaigns/x", readToken, "", 404},
		{"one run of it", "GET", "/v1/campaigns/keepup%2F1", readToken, "", 200},
		{"no name", "GET", "/v1/campaigns/X", readToken, "", 400},
		{"another method", "DELETE", "/v1/submissions/" + keyA, operateToken, "", 405},
		{"no such path", "GET", "/v2/campaigns", readToken, "", 404},
		{"an unknown state", "POST", "/v1/submissions/" + keyA, reportToken, "state=fine", 400},
		{"a misspelt field", "POST", "/v1/submissions/" + keyA, reportToken, "state=running&nod=a", 400},
		{"two states", "POST", "/v1/submissions/" + keyA, reportToken, "state=running&state=done", 400},
		{"an exit status that is none", "POST", "/v1/submissions/" + keyA, reportToken, "state=failed&exit=256", 400},
		{"too much is said", "POST", "/v1/submissions/" + keyA, reportToken, "state=running&detail=" + strings.Repeat("x", 9<<10), 413},
		{"an unknown query", "GET", "/v1/submissions?stat=running", readToken, "", 400},
		{"two states in a query", "GET", "/v1/submissions?state=running&state=done", readToken, "", 400},
		{"a query of an unknown state", "GET", "/v1/submissions?state=fine", readToken, "", 400},
		{"a page of slices", "GET", "/v1/campaigns/keepup/slices?stage=reco&state=failed&after=reco/2/a&limit=7", readToken, "", 200},
		{"nobody lists slices", "GET", "/v1/campaigns/keepup/slices", "", "", 401},
		{"too long a page of slices", "GET", "/v1/campaigns/keepup/slices?limit=1001", readToken, "", 400},
		{"an empty page of slices", "GET", "/v1/campaigns/keepup/slices?limit=0", readToken, "", 400},
		{"slices of an unknown state", "GET", "/v1/campaigns/keepup/slices?state=running", readToken, "", 400},
		{"slices after nothing", "GET", "/v1/campaigns/keepup/slices?after=a", readToken, "", 400},
		{"slices after no number", "GET", "/v1/campaigns/keepup/slices?after=reco/+2/a", readToken, "", 400},
		{"an operator retries", "POST", "/v1/campaigns/keepup/retry?reason=why", operateToken, "a\nreco/b\n", 200},
		{"an agent retries", "POST", "/v1/campaigns/keepup/retry", reportToken, "a\n", 403},
		{"a reader cancels", "POST", "/v1/campaigns/keepup/cancel", readToken, "a\n", 403},
		{"nobody accepts", "POST", "/v1/campaigns/keepup/accept", "", "a\n", 401},
		{"a job tests", "POST", "/v1/campaigns/keepup/test", job, "", 401},
		{"an operator tests", "POST", "/v1/campaigns/keepup/test?stage=reco", operateToken, "", 200},
		{"an operator tests slices", "POST", "/v1/campaigns/keepup/test", operateToken, "a\n", 400},
		{"an operator pauses", "POST", "/v1/campaigns/keepup/pause", operateToken, "", 404},
		{"an order by GET", "GET", "/v1/campaigns/keepup/retry", operateToken, "", 405},
		{"an order to another campaign", "POST", "/v1/campaigns/other/cancel", operateToken, "a\n", 404},
		{"an order that a rule forbids", "POST", "/v1/campaigns/keepup/cancel?reason=beam", operateToken, "a\n", 403},
		{"a misspelt reason", "POST", "/v1/campaigns/keepup/cancel?raeson=x", operateToken, "a\n", 400},
		{"a slice twice", "POST", "/v1/campaigns/keepup/cancel", operateToken, "a\na\n", 400},
		{"too many slices", "POST", "/v1/campaigns/keepup/cancel", operateToken, many(1001), 400},
		{"as many slices as may be", "POST", "/v1/campaigns/keepup/cancel", operateToken, many(1000), 200},
		{"too long a page", "GET", "/v1/submissions?limit=1001", readToken, "", 400},
		{"a slice of a test", "POST", "/v1/campaigns/c/stages/s/slices/test-a", reportToken, "a", 400},
		{"an input twice", "POST", "/v1/campaigns/c/stages/s/slices/a", reportToken, "a\na\n", 400},
		{"an input with a blank at its end", "POST", "/v1/campaigns/c/stages/s/slices/a", reportToken, "a \n", 400},
		{"too many inputs", "POST", "/v1/campaigns/c/stages/s/slices/a", reportToken, strings.Repeat("x", 9<<20), 413},
	} {
		_, s := submissionAPI(t)
		if got, answer := call(t, c.method, s.URL+c.path, c.token, c.body); got != c.want {
			t.Errorf("%s: %d, want %d: %s", c.name, got, c.want, answer)
		}
	}
}

// many are n names, one in a line.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "f-%d\n", i)
	}
	return b.String()
}

func TestAnOrderArrivesWhole(t *testing.T) {
	k, s := submissionAPI(t)
	if status, answer := call(t, "POST", s.URL+"/v1/campaigns/keepup/accept?reason="+url.QueryEscape(" enough\x1b[2J of it "), operateToken, "a\r\n\nreco/b"); status != 200 {
		t.Fatal(status, answer)
	}
	want := serve.Order{Do: "accept", Campaign: "keepup", Slices: []string{"a", "reco/b"}, Reason: "enough[2J of it", By: "ann"}
	if d := cmp.Diff(want, k.ordered); d != "" {
		t.Error(d)
	}
}

func TestAWordReachesItsSubmission(t *testing.T) {
	k, s := submissionAPI(t)
	form := url.Values{"state": {"failed"}, "job": {"17"}, "node": {"n1"}, "detail": {"disk\x1b[2J full"}, "exit": {"137"}, "signal": {"9"}, "cpu": {"61"}, "memory": {"1024"}}
	if status, answer := call(t, "POST", s.URL+"/v1/submissions/"+keyA, reportToken, form.Encode()); status != 200 {
		t.Fatal(status, answer)
	}
	want := observed.Submission{Key: keyA, State: observed.SubmissionFailed, Job: "17", Node: "n1", Detail: "disk[2J full", Exit: 137, Signal: 9, CPU: 61 * time.Second, Memory: 1024}
	if d := cmp.Diff(want, k.submissions[keyA], cmpopts.IgnoreFields(observed.Submission{}, "Ended")); d != "" {
		t.Error(d)
	}
	if k.submissions[keyA].Ended.IsZero() {
		t.Error("nobody knows when it ended")
	}
}

func TestSlicesOfOthersArriveWhole(t *testing.T) {
	k, s := submissionAPI(t)
	if status, answer := call(t, "POST", s.URL+"/v1/campaigns/keepup/stages/reco/slices/run-7?label=run+7&params.field=forward", reportToken, "a.root\n\nsome file.root\r\n"); status != 200 {
		t.Fatal(status, answer)
	}
	want := serve.ExternalSlice{Campaign: "keepup", Stage: "reco", ID: "run-7", Label: "run 7", Inputs: []string{"a.root", "some file.root"}, Params: map[string]string{"field": "forward"}, By: "agent"}
	if d := cmp.Diff(want, k.slices["run-7"]); d != "" {
		t.Error(d)
	}
}

func TestNobodyGuessesTokensFast(t *testing.T) {
	_, s := submissionAPI(t)
	last := 0
	for range 40 {
		last, _ = call(t, "GET", s.URL+"/v1/campaigns", "guess-0123456789abcdef", "")
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the 40th guess: %d", last)
	}
	if status, _ := call(t, "GET", s.URL+"/v1/campaigns", readToken, ""); status != 200 {
		t.Errorf("who has a token is kept out too: %d", status)
	}
}

func TestFilesOfTokensThatCannotBeUsed(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "holds no token",
		"ann " + readToken:            ":1: want NAME TOKEN ROLE",
		"ann " + readToken + " admin": ":1: want NAME TOKEN ROLE",
		"\nann short read":            ":2: the token has less than 16",
	} {
		file := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := serve.CheckUsers(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := serve.CheckUsers(file); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("a file that others may read: %v", err)
		}
	}
}

// A malformed line of the file of tokens keeps no other from counting, and is logged once.
func TestAMalformedLineLocksNobodyOut(t *testing.T) {
	file := fileWith(t, "ann short read\na "+readToken+" read\nb "+readToken+" operate\nc "+operateToken+" operate\n")
	log, said := logged()
	s := httptest.NewServer(serve.SubmissionAPI{TokenFile: file, Submissions: &known{}, Log: log}.Handler())
	t.Cleanup(s.Close)
	for token, want := range map[string]int{readToken: 403, operateToken: 200} {
		for range 2 {
			if status, answer := call(t, "POST", s.URL+"/v1/campaigns/keepup/cancel", token, "a\n"); status != want {
				t.Errorf("%s: %d, want %d: %s", token, status, want, answer)
			}
		}
	}
	for _, want := range []string{file + ":1: the token has less than 16", file + ":3: somebody else has the same token"} {
		if strings.Count(said.String(), want) != 1 {
			t.Errorf("%q is not logged once:\n%s", want, said)
		}
	}
	if err := serve.CheckUsers(file); err != nil {
		t.Errorf("the service does not start: %v", err)
	}
}

// Whatever is refused says why.
func TestARefusalSaysWhy(t *testing.T) {
	_, s := submissionAPI(t)
	none := "pom-00000000000000000000000000"
	for _, c := range []struct {
		method, path, token, body string
		status                    int
		want                      string
	}{
		{"GET", "/v1/submissions/pom-xxx", readToken, "", 400, `malformed key \"pom-xxx\"`},
		{"POST", "/v1/submissions/pom-xxx", reportToken, "state=failed", 400, `malformed key \"pom-xxx\"`},
		{"POST", "/v1/submissions/pom-xxx/inputs", reportToken, "", 400, `malformed key \"pom-xxx\"`},
		{"GET", "/v1/submissions/pom-xxx", "", "", 401, "no token: send Authorization: Bearer TOKEN"},
		{"GET", "/v1/submissions/" + none, readToken, "", 404, "submission " + none},
		{"POST", "/v1/submissions/" + none, reportToken, "state=failed", 404, "submission " + none},
		{"GET", "/v1/campaigns", "", "", 401, "no token: send Authorization: Bearer TOKEN"},
		{"GET", "/v1/campaigns", "guess-0123456789abcdef", "", 401, "nobody has this token"},
	} {
		if status, answer := call(t, c.method, s.URL+c.path, c.token, c.body); status != c.status || !strings.Contains(answer, c.want) {
			t.Errorf("%s %s: %d, want %d with %s: %s", c.method, c.path, status, c.status, c.want, answer)
		}
	}
}

func TestTheSecretOfJobsStays(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".pomona"), 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	first, err := serve.JobSecret(root)
	if err != nil {
		t.Fatal(err)
	}
	again, err := serve.JobSecret(root)
	if err != nil || string(first) != string(again) || len(first) != 32 {
		t.Errorf("%x, then %x: %v", first, again, err)
	}
	if serve.JobToken(first, keyA) == serve.JobToken(first, keyB) {
		t.Error("all jobs have the same token")
	}
}

// scripted runs a script by sh, once with the machine's programs and once with busybox's alone.
func scripted(t *testing.T, do func(t *testing.T, run func(env []string, stdin string, args ...string) (out string, code int))) {
	for _, shell := range []string{"curl", "busybox"} {
		t.Run(shell, func(t *testing.T) {
			program := need(t, shell, map[string]string{"curl": "curl", "busybox": "busybox-static"}[shell])
			dir, path := t.TempDir(), os.Getenv("PATH")
			sh := []string{"/bin/sh"}
			if shell == "busybox" {
				sh, path = []string{program, "sh"}, filepath.Join(dir, "bin")
				if out, err := exec.Command("/bin/sh", "-c", `mkdir "$1" && "$0" --install -s "$1"`, program, path).CombinedOutput(); err != nil {
					t.Fatalf("install busybox: %v %s", err, out)
				}
			}
			do(t, func(env []string, stdin string, args ...string) (string, int) {
				cmd := exec.Command(sh[0], append(append([]string{}, sh[1:]...), args...)...)
				cmd.Env = append([]string{"PATH=" + path, "TMPDIR=" + dir}, env...)
				cmd.Stdin = strings.NewReader(stdin)
				out, err := cmd.CombinedOutput()
				if _, exited := err.(*exec.ExitError); err != nil && !exited {
					t.Fatal(err)
				}
				return string(out), cmd.ProcessState.ExitCode()
			})
		})
	}
}

func fileWith(t *testing.T, token string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheClientAsksAndTells(t *testing.T) {
	scripted(t, func(t *testing.T, run func([]string, string, ...string) (string, int)) {
		k, s := submissionAPI(t)
		env := []string{"POMONA_URL=" + s.URL + "/", "POMONA_TOKEN_FILE=" + fileWith(t, reportToken+"\n")}
		for _, c := range []struct {
			args  []string
			stdin string
			code  int
			want  string
		}{
			{[]string{"campaigns"}, "", 0, `"keepup"`},
			{[]string{"campaign", "keepup"}, "", 0, `"name": "keepup"`},
			{[]string{"campaign", "other"}, "", 1, ""},
			{[]string{"list", "campaign=keepup", "state=running", "limit=5"}, "", 0, keyB},
			{[]string{"show", keyA}, "", 0, `"state": "queued"`},
			{[]string{"say", keyA, "running", "node=n 1&x=y", "detail=50% of ü"}, "", 0, `"state": "running"`},
			{[]string{"say", keyB, "done"}, "", 1, ""},
			{[]string{"slice", "keepup", "reco", "run-7", "params.field=a b"}, "x.root\n%y.root\n", 0, `"inputs": 2`},
			{[]string{"say", keyA}, "", 2, "usage:"},
			{[]string{"what"}, "", 2, "usage:"},
			{nil, "", 2, "usage:"},
		} {
			out, code := run(env, c.stdin, append([]string{"pomona-submissions"}, c.args...)...)
			if code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("%v: %d, want %d with %q:\n%s", c.args, code, c.code, c.want, out)
			}
		}
		if got := k.submissions[keyA]; got.Node != "n 1&x=y" || got.Detail != "50% of ü" {
			t.Errorf("%+v", got)
		}
		if got := k.asked; got.Campaign != "keepup" || got.State != observed.SubmissionRunning || got.Limit != 5 {
			t.Errorf("%+v", got)
		}
		operator := []string{env[0], "POMONA_TOKEN_FILE=" + fileWith(t, operateToken)}
		for _, c := range []struct {
			env  []string
			args []string
			code int
			want string
			got  serve.Order
		}{
			{operator, []string{"retry", "keepup", "a", "reco/b", "reason=disk & tape"}, 0, `"done": "retry"`, serve.Order{Do: "retry", Campaign: "keepup", Slices: []string{"a", "reco/b"}, Reason: "disk & tape", By: "ann"}},
			{operator, []string{"cancel", "keepup", "a"}, 0, `"done": "cancel"`, serve.Order{Do: "cancel", Campaign: "keepup", Slices: []string{"a"}, By: "ann"}},
			{operator, []string{"accept", "keepup", "reason=enough", "a"}, 0, `"done": "accept"`, serve.Order{Do: "accept", Campaign: "keepup", Slices: []string{"a"}, Reason: "enough", By: "ann"}},
			{operator, []string{"test", "keepup", "reco"}, 0, `"done": "test"`, serve.Order{Do: "test", Campaign: "keepup", Stage: "reco", By: "ann"}},
			{operator, []string{"test", "keepup", "reason=look"}, 0, `"done": "test"`, serve.Order{Do: "test", Campaign: "keepup", Reason: "look", By: "ann"}},
			{operator, []string{"retry", "keepup"}, 2, "usage:", serve.Order{}},
			{operator, []string{"test", "keepup", "reco", "merge"}, 2, "usage:", serve.Order{}},
			{env, []string{"retry", "keepup", "a"}, 1, "", serve.Order{}},
		} {
			k.ordered = serve.Order{}
			out, code := run(c.env, "", append([]string{"pomona-submissions"}, c.args...)...)
			if code != c.code || !strings.Contains(out, c.want) || cmp.Diff(c.got, k.ordered) != "" {
				t.Errorf("%v: %d, want %d with %q: %+v\n%s", c.args, code, c.code, c.want, k.ordered, out)
			}
		}
		if out, code := run(env, "", "pomona-submissions", "slices", "keepup", "stage=reco", "state=failed", "after=reco/2/a", "limit=3"); code != 0 ||
			k.sliced != (serve.SliceQuery{Campaign: "keepup", Stage: "reco", State: "failed", After: serve.SlicePlace{Stage: "reco", Epoch: 2, Slice: "a"}, Limit: 3}) {
			t.Errorf("slices: %d, %+v: %s", code, k.sliced, out)
		}
		if got := k.slices["run-7"]; got.Params["field"] != "a b" || len(got.Inputs) != 2 || got.Inputs[1] != "%y.root" {
			t.Errorf("%+v", got)
		}
		if out, code := run([]string{"POMONA_URL=http://127.0.0.1:1", env[1]}, "", "pomona-submissions", "campaigns"); code != 2 {
			t.Errorf("nobody there: %d: %s", code, out)
		}
		if out, code := run(env[:1], "", "pomona-submissions", "campaigns"); code != 2 || !strings.Contains(out, "POMONA_TOKEN_FILE") {
			t.Errorf("no token: %d: %s", code, out)
		}
	})
}

// A job's author finds on standard error why a word was not taken; busybox's wget tells only the status.
func TestTheReporterSaysWhyNobodyHears(t *testing.T) {
	scripted(t, func(t *testing.T, run func([]string, string, ...string) (string, int)) {
		_, s := submissionAPI(t)
		said := func(code, text string) string {
			if strings.HasSuffix(t.Name(), "busybox") {
				return "the API answers " + code
			}
			return text
		}
		env := []string{"POMONA_URL=" + s.URL, "POMONA_KEY=" + keyA, "POMONA_TOKEN_FILE=" + fileWith(t, serve.JobToken(jobSecret, keyA))}
		other := fileWith(t, "guess-0123456789abcdef")
		for _, c := range []struct {
			env  []string
			args []string
			want string
		}{
			{env, []string{"--consumed", "refused"}, "this was not taken: " + said("409", `it does not go with what is known: "refused" is none`)},
			{[]string{env[0], env[1], "POMONA_TOKEN_FILE=" + other}, []string{"x"}, "this was not taken: " + said("401", "nobody has this token")},
			{[]string{env[0], "POMONA_KEY=pom-xxx", "POMONA_TOKEN_FILE=" + fileWith(t, reportToken)}, []string{"x"}, "this was not taken: " + said("400", `malformed key "pom-xxx"`)},
			{env[:1], []string{"x"}, "heard it: POMONA_URL is set, and POMONA_KEY is not\n"},
			{env[:2], []string{"x"}, "heard it: POMONA_URL is set, and POMONA_TOKEN_FILE is not\n"},
			{[]string{env[0], env[1], "POMONA_TOKEN_FILE=/nothing"}, []string{"x"}, "heard it: POMONA_TOKEN_FILE is /nothing, which cannot be read\n"},
			{[]string{env[0], env[1], "POMONA_TOKEN_FILE=" + fileWith(t, "")}, []string{"x"}, "holds no token\n"},
		} {
			out, code := run(c.env, "", append([]string{"pomona-job"}, c.args...)...)
			if code != 0 || !strings.Contains(out, c.want) || strings.Contains(out, "cannot open") {
				t.Errorf("%v %v: %d, want %q:\n%s", c.env, c.args, code, c.want, out)
			}
		}
		if out, code := run(nil, "", "pomona-job", "x"); code != 0 || out != "" {
			t.Errorf("nobody wants to hear: %d: %s", code, out)
		}
	})
}

func TestTheReporterNeverHarmsItsJob(t *testing.T) {
	scripted(t, func(t *testing.T, run func([]string, string, ...string) (string, int)) {
		k, s := submissionAPI(t)
		environment := func(key string) []string {
			return []string{"POMONA_URL=" + s.URL, "POMONA_KEY=" + key, "POMONA_TOKEN_FILE=" + fileWith(t, serve.JobToken(jobSecret, key))}
		}
		if out, code := run(environment(keyA), "", "pomona-job", "copying", "run 7"); code != 0 || k.submissions[keyA].Detail != "copying run 7" || k.submissions[keyA].State != observed.SubmissionRunning {
			t.Errorf("it runs: %d, %+v: %s", code, k.submissions[keyA], out)
		}
		if out, code := run(environment(keyB), "", "pomona-job", "x"); code != 3 {
			t.Errorf("it was cancelled: %d: %s", code, out)
		}
		if out, code := run(environment(keyA), "", "pomona-job", "--consumed", "a b.root", "c.root"); code != 0 || len(k.inputs.Inputs) != 2 || k.inputs.Inputs["a b.root"] != observed.InputConsumed || k.inputs.Key != keyA {
			t.Errorf("inputs: %d, %+v: %s", code, k.inputs, out)
		}
		if out, code := run(environment(keyA), "", "pomona-job", "--eaten", "a.root"); code != 0 || !strings.Contains(out, "--consumed") {
			t.Errorf("an unknown word: %d: %s", code, out)
		}
		for name, env := range map[string][]string{
			"nobody wants to hear": {}, "no token": environment(keyA)[:2], "another's token": {environment(keyA)[0], "POMONA_KEY=" + keyA, environment(keyB)[2]},
		} {
			if out, code := run(env, "", "pomona-job", "x"); code != 0 {
				t.Errorf("%s: %d: %s", name, code, out)
			}
		}
	})
}

func TestScriptsPassShellcheck(t *testing.T) {
	shellcheck := need(t, "shellcheck", "shellcheck")
	if out, err := exec.Command(shellcheck, "-s", "sh", "pomona-submissions", "pomona-job").CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

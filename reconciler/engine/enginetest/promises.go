package enginetest

import (
	"context"
	"os"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/engine"
)

// promises are what every batch system keeps, by name.
var promises = map[string]func(*Trial){
	"answers": func(t *Trial) { t.must(t.Ping(t.Context())) },
	"a job is handed in held and runs on release": held,
	"a release again changes nothing":             releasedTwice,
	"an array is one launch":                      array,
	"an array keeps to what may run at once":      atOnce,
	"a task of an array is cancelled alone":       cancelTask,
	"parts of an array fail alone":                partlyFailed,
	"jobs are found by key and by all":            find,
	"many keys are looked for at once":            findMany,
	"a Pomona that starts finds what is there":    another,
	"what was never handed in is not found":       nothing,
	"a key may be handed in twice":                twice,
	"a held job is cancelled":                     cancelHeld,
	"a running job is cancelled":                  cancelRunning,
	"an ended job stays as it is":                 cancelEnded,
	"ids that nobody knows do not disturb":        unknownIDs,
	"exit statuses are told":                      exits,
	"a signal is told":                            signal,
	"a job that takes too long is ended":          timeLimit,
	"a job that takes too much memory is ended":   memoryLimit,
	"output goes to the log":                      output,
	"nothing of Pomona's environment is seen":     environment,
	"each call gives up with its context":         contexts,
}

func (t *Trial) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// held: a job that is handed in later and released has ended when one that is held still has not begun.
func held(t *Trial) {
	l := t.Launch("echo ran >{}/ran", 1)
	jobs := t.HandIn(l)
	t.RunToEnd(t.Launch("true", 1))
	if got := t.Jobs(l.Key); len(got) != 1 || got[0].State != engine.Held || t.File(l, "ran") != "" {
		t.Fatalf("held: %+v, ran: %q", got, t.File(l, "ran"))
	}
	t.MustRelease(jobs[0].ID)
	if got := t.AwaitEnd(l); got[0].State != engine.Completed || t.File(l, "ran") != "ran\n" {
		t.Errorf("released: %s, ran: %q", states(got), t.File(l, "ran"))
	}
}

func releasedTwice(t *Trial) {
	l := t.Launch("echo ran >>{}/ran", 1)
	id := t.HandIn(l)[0].ID
	t.MustRelease(id)
	t.must(t.Release(t.Context(), id))
	t.AwaitEnd(l)
	_ = t.Release(t.Context(), id) // may be told as an error
	t.RunToEnd(t.Launch("true", 1))
	if got := t.Jobs(l.Key); len(got) != 1 || got[0].State != engine.Completed || t.File(l, "ran") != "ran\n" {
		t.Errorf("%+v, ran: %q", got, t.File(l, "ran"))
	}
}

func array(t *Trial) {
	l := t.Launch("echo $TASK >{}/ran.$TASK", 12)
	jobs := t.RunToEnd(l)
	ids := map[string]bool{}
	for i, j := range jobs {
		ids[j.TaskID] = true
		if n := strconv.Itoa(i + 1); j.State != engine.Completed || t.File(l, "ran."+n) != n+"\n" {
			t.Errorf("task %s: %s, ran: %q", n, states(jobs[i:i+1]), t.File(l, "ran."+n))
		}
	}
	if len(ids) != 12 {
		t.Errorf("12 tasks have the ids %v", ids)
	}
}

// atOnce: each task counts how many there are while it runs.
func atOnce(t *Trial) {
	l := t.Launch("mkdir -p {}/now; >{}/now/$TASK; sleep 1; ls {}/now | wc -l >{}/saw.$TASK; rm {}/now/$TASK", 6)
	l.AtOnce = 2
	t.RunToEnd(l)
	for i := range 6 {
		saw, err := strconv.Atoi(strings.TrimSpace(t.File(l, "saw."+strconv.Itoa(i+1))))
		if err != nil || saw < 1 || saw > 2 {
			t.Errorf("task %d saw %d at once: %v", i+1, saw, err)
		}
	}
}

func cancelTask(t *Trial) {
	l := t.Launch("echo $TASK >{}/ran.$TASK", 3)
	jobs := t.HandIn(l)
	t.MustCancel(jobs[1].TaskID)
	t.Await(l, "held but for the second", func(j engine.Job) bool { return (j.State == engine.Held) == (j.Task != 2) })
	t.MustRelease(jobs[0].ID)
	if got := states(t.AwaitEnd(l)); got != "completed 0/0, cancelled 0/0, completed 0/0" || t.File(l, "ran.2") != "" {
		t.Errorf("%s, ran: %q", got, t.File(l, "ran.2"))
	}
}

func partlyFailed(t *Trial) {
	if got := states(t.RunToEnd(t.Launch("exit $((TASK - 1))", 4))); got != "completed 0/0, failed 1/0, failed 2/0, failed 3/0" {
		t.Error(got)
	}
}

func find(t *Trial) {
	one, two := t.Launch("true", 1), t.Launch("true", 2)
	t.HandIn(one)
	t.HandIn(two)
	if got := t.Jobs(one.Key); len(got) != 1 || got[0].Key != one.Key {
		t.Errorf("by key: %+v", got)
	}
	if got := t.Jobs(one.Key, two.Key); len(got) != 3 {
		t.Errorf("by two keys: %+v", got)
	}
	count := map[string]int{}
	for _, j := range t.Jobs() {
		count[j.Key]++
		if !strings.HasPrefix(j.Key, "pom-") {
			t.Errorf("not Pomona's: %+v", j)
		}
	}
	if count[one.Key] != 1 || count[two.Key] != 2 {
		t.Errorf("all: %v", count)
	}
}

// findMany: more keys than fit into one argument of a program.
func findMany(t *Trial) {
	l := t.Launch("true", 1)
	t.HandIn(l)
	keys := []string{l.Key}
	for range 5000 {
		keys = append(keys, l.Key[:len(l.Key)-8]+strings.ToLower(strconv.FormatInt(int64(len(keys)), 16)))
	}
	if got := t.Jobs(keys...); len(got) != 1 || got[0].Key != l.Key {
		t.Errorf("%+v", got)
	}
}

func another(t *Trial) {
	l := t.Launch("echo ran >{}/ran", 2)
	id := t.HandIn(l)[0].ID
	t.Engine = t.New(t)
	if got := t.Jobs(l.Key); len(got) != 2 || got[0].ID != id || got[0].State != engine.Held {
		t.Fatalf("%+v", got)
	}
	t.MustRelease(id)
	t.AwaitEnd(l)
	t.Engine = t.New(t)
	if got := states(t.Jobs(l.Key)); got != "completed 0/0, completed 0/0" {
		t.Error(got)
	}
}

func nothing(t *Trial) {
	if got := t.Jobs("pom-" + strings.Repeat("0", 26)); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// twice: a batch system may refuse the second. If it does not, then both are held, and each is released and cancelled alone.
func twice(t *Trial) {
	l := t.Launch("echo ran >>{}/ran", 1)
	first := t.HandIn(l)[0]
	err := t.Submit(t.Context(), l)
	jobs := t.Jobs(l.Key)
	if len(jobs) == 2 && err == nil && jobs[0].ID != jobs[1].ID && jobs[0].State == engine.Held && jobs[1].State == engine.Held {
		second := jobs[0]
		if second.ID == first.ID {
			second = jobs[1]
		}
		t.MustCancel(second.ID)
	} else if len(jobs) != 1 || jobs[0] != first {
		t.Fatalf("%+v: %v", jobs, err)
	}
	t.MustRelease(first.ID)
	t.AwaitFile(l, "ran")
	t.RunToEnd(t.Launch("true", 1))
	completed := 0
	for _, j := range t.Jobs(l.Key) {
		if j.State == engine.Completed {
			completed++
		}
	}
	if completed != 1 || t.File(l, "ran") != "ran\n" {
		t.Errorf("%+v, ran: %q", t.Jobs(l.Key), t.File(l, "ran"))
	}
}

func cancelHeld(t *Trial) {
	l := t.Launch("echo ran >{}/ran", 2)
	t.MustCancel(t.HandIn(l)[0].ID)
	if got := states(t.AwaitEnd(l)); got != "cancelled 0/0, cancelled 0/0" || t.File(l, "ran") != "" {
		t.Errorf("%s, ran: %q", got, t.File(l, "ran"))
	}
}

func cancelRunning(t *Trial) {
	l := t.Launch("echo began >{}/began; sleep 600; echo ended >{}/ended", 1)
	id := t.HandIn(l)[0].ID
	t.MustRelease(id)
	t.AwaitFile(l, "began")
	if got := t.Await(l, "running", func(j engine.Job) bool { return j.State == engine.Running }); got[0].Began.IsZero() {
		t.Errorf("nobody knows when it began: %+v", got[0])
	}
	t.MustCancel(id)
	if got := t.AwaitEnd(l); got[0].State != engine.Cancelled || t.File(l, "ended") != "" {
		t.Errorf("%+v", got)
	}
}

func cancelEnded(t *Trial) {
	l := t.Launch("exit 3", 1)
	jobs := t.RunToEnd(l)
	t.MustCancel(jobs[0].ID)
	t.MustCancel(jobs[0].TaskID)
	if got := states(t.Jobs(l.Key)); got != "failed 3/0" {
		t.Error(got)
	}
}

// unknownIDs: one that nobody knows may be told as an error, but what is named beside it is done.
func unknownIDs(t *Trial) {
	gone := "99999999"
	l, m := t.Launch("true", 1), t.Launch("true", 1)
	released, cancelled := t.HandIn(l)[0].ID, t.HandIn(m)[0].ID
	_ = t.Release(t.Context(), gone, released)
	_ = t.Cancel(t.Context(), gone, cancelled)
	if got := states(append(t.AwaitEnd(l), t.AwaitEnd(m)...)); got != "completed 0/0, cancelled 0/0" {
		t.Error(got)
	}
	t.must(t.Cancel(t.Context(), gone))
	t.must(t.Cancel(t.Context()))
	t.must(t.Release(t.Context()))
}

func exits(t *Trial) {
	if got := states(t.RunToEnd(t.Launch("set -- 1 75 127 255; shift $((TASK - 1)); exit $1", 4))); got != "failed 1/0, failed 75/0, failed 127/0, failed 255/0" {
		t.Error(got)
	}
}

func signal(t *Trial) {
	if got := states(t.RunToEnd(t.Launch("set -- 9 11; shift $((TASK - 1)); kill -$1 $$; sleep 60", 2))); got != "failed 0/9, failed 0/11" {
		t.Error(got)
	}
}

func timeLimit(t *Trial) {
	if t.Limit == 0 {
		t.Skip("SKIPPED: it holds jobs to no time, or its answers are recorded")
	}
	l := t.Launch("sleep 600; echo ended >{}/ended", 1)
	l.Resources.Time = t.Limit
	got := t.RunToEnd(l)[0]
	if got.State != engine.Exceeded || !strings.Contains(strings.ToLower(got.Reason), "time") || t.File(l, "ended") != "" {
		t.Errorf("%+v", got)
	}
}

func memoryLimit(t *Trial) {
	if !t.Memory {
		t.Skip("SKIPPED: it holds jobs to no memory here")
	}
	l := t.Launch(`x=xxxxxxxxxxxxxxxx; while [ ${#x} -lt 500000000 ]; do x=$x$x; done`, 1)
	l.Resources.Memory = 64 << 20
	got := t.RunToEnd(l)[0]
	if got.State == engine.Completed || got.State == engine.Cancelled {
		t.Errorf("%+v", got)
	}
}

func output(t *Trial) {
	l := t.Launch("echo out $TASK; echo err $TASK >&2", 2)
	t.RunToEnd(l)
	for task := 1; task <= 2; task++ {
		n := strconv.Itoa(task)
		t.AwaitFile(l, log(task))
		if got := t.File(l, log(task)); got != "out "+n+"\nerr "+n+"\n" {
			t.Errorf("log of task %d: %q", task, got)
		}
	}
}

// environment: what this process has in its environment, secrets perhaps, no job sees.
func environment(t *Trial) {
	l := t.Launch("env >{}/env", 1)
	t.RunToEnd(l)
	if got := t.File(l, "env"); strings.Contains(got, secret) || !strings.Contains(got, "PWD=") {
		t.Errorf("the job sees\n%s", got)
	}
}

const secret = "SECRET_OF_THE_CONFORMANCE_SUITE"

func init() { _ = os.Setenv(secret, "1") } // the name is well-formed

func contexts(t *Trial) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	l := t.Launch("true", 1)
	_, err := t.Find(over, t.Since)
	for what, err := range map[string]error{
		"ping": t.Ping(over), "find": err, "submit": t.Submit(over, l), "release": t.Release(over, "99999999"), "cancel": t.Cancel(over, "99999999"),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if got := t.Jobs(l.Key); len(got) != 0 {
		t.Errorf("handed in all the same: %+v", got)
	}
}

// silence comes last: nobody else has the batch system.
func silence(t *Trial) {
	if t.Down == nil {
		t.Skip("SKIPPED: it cannot be taken away here")
	}
	l := t.Launch("true", 1)
	t.HandIn(l)
	up := t.Down(t.T)
	if err := t.Ping(t.Context()); err == nil {
		t.Error("ping: no error")
	}
	if found, err := t.Find(t.Context(), t.Since, l.Key); err == nil {
		t.Errorf("find: no error, but %+v", found)
	}
	up()
	t.must(t.Ping(t.Context()))
	t.Await(l, "held", func(j engine.Job) bool { return j.State == engine.Held })
}

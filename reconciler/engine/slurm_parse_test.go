package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorded is what real programs of Slurm 22.05 have printed.
func recorded(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/slurm", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// listed are jobs a line each, with times in seconds after the first one's submission.
func listed(jobs []Job) string {
	var b strings.Builder
	since := func(at time.Time) string {
		if at.IsZero() {
			return "-"
		}
		return fmt.Sprint(at.Unix() - 1795294845)
	}
	for _, j := range jobs {
		fmt.Fprintf(&b, "%s %s %d %s %s %d/%d [%s] %s %s %s %s %v %d\n", j.Key, j.ID, j.Task, j.TaskID, j.State, j.Exit, j.Signal, j.Reason,
			j.Node, since(j.Submitted), since(j.Began), since(j.Ended), j.CPU, j.Memory)
	}
	return b.String()
}

func all(string) bool { return true }

func TestSqueueIsRead(t *testing.T) {
	jobs, err := parseQueue(recorded(t, "squeue.txt"), wanted(nil))
	if err != nil {
		t.Fatal(err)
	}
	const want = `pom-other 17 1 17 held 0/0 [JobHeldUser]  0 - - 0s 0
pom-longcancel 10 1 10 cancelled 0/0 [] n1 0 1 4 0s 0
pom-heldcancelled 5 1 5 cancelled 0/0 []  0 - 0 0s 0
pom-arrcancelled 6 1 6_1 cancelled 0/0 []  0 - 0 0s 0
pom-arrcancelled 6 2 6_2 cancelled 0/0 []  0 - 0 0s 0
pom-arrcancelled 6 3 6_3 cancelled 0/0 []  0 - 0 0s 0
pom-arrcancelled 6 4 6_4 cancelled 0/0 []  0 - 0 0s 0
pom-arrcancelled 6 5 6_5 cancelled 0/0 []  0 - 0 0s 0
pom-arrcancelled 6 9 6_9 cancelled 0/0 []  0 - 0 0s 0
pom-taskcancelled 7 2 7_2 cancelled 0/0 []  0 - 0 0s 0
pom-ok 1 1 1 completed 0/0 [] n1 0 1 2 0s 0
pom-arr 9 4 9_4 completed 0/0 [] n1 0 7 11 0s 0
pom-arr 9 5 9_5 completed 0/0 [] n1 0 7 11 0s 0
pom-arr 9 6 9_6 completed 0/0 [] n1 0 7 12 0s 0
pom-arr 9 1 9_1 completed 0/0 [] n1 0 1 6 0s 0
pom-arr 9 3 9_3 completed 0/0 [] n1 0 1 6 0s 0
pom-fail 2 1 2 failed 3/0 [NonZeroExitCode] n1 0 1 2 0s 0
pom-sig 3 1 3 failed 0/9 [JobLaunchFailure] n1 0 1 2 0s 0
pom-arr 9 2 9_2 failed 1/0 [NonZeroExitCode] n1 0 1 6 0s 0
pom-longrequeue 13 1 13 queued 0/0 [BeginTime]  4 - - 0s 0
pom-dep 14 1 14 queued 0/0 [Dependency]  0 - - 0s 0
pom-taskcancelled 7 1 7_1 held 0/0 [JobHeldUser]  0 - - 0s 0
pom-taskcancelled 7 3 7_3 held 0/0 [JobHeldUser]  0 - - 0s 0
pom-held 4 1 4 held 0/0 [JobHeldUser]  0 - - 0s 0
pom-long 11 1 11 running 0/0 [] n1 0 1 - 0s 0
pom-longtimeout 12 1 12 exceeded 0/0 [TIMEOUT] n1 0 1 90 0s 0
`
	compare(t, listed(jobs), want)
}

func TestSacctIsRead(t *testing.T) {
	jobs, err := parsePast(recorded(t, "sacct.txt"), wanted(nil))
	if err != nil {
		t.Fatal(err)
	}
	const want = `pom-ok 1 1 1 completed 0/0 [] n1 0 1 2 2ms 0
pom-fail 2 1 2 failed 3/0 [] n1 0 1 2 2ms 0
pom-sig 3 1 3 failed 0/9 [] n1 0 1 2 1ms 0
pom-heldcancelled 5 1 5 cancelled 0/0 []  0 - 0 0s 0
pom-longcancel 10 1 10 cancelled 0/0 [] n1 0 1 4 2ms 2879488
pom-longtimeout 12 1 12 exceeded 0/0 [TIMEOUT] n1 0 1 90 2ms 2854912
pom-arrcancelled 6 1 6_1 cancelled 0/0 []  0 - 0 0s 0
pom-arrcancelled 6 2 6_2 cancelled 0/0 []  0 - 0 0s 0
pom-arrcancelled 6 3 6_3 cancelled 0/0 []  0 - 0 0s 0
pom-arrcancelled 6 4 6_4 cancelled 0/0 []  0 - 0 0s 0
pom-arrcancelled 6 5 6_5 cancelled 0/0 []  0 - 0 0s 0
pom-arrcancelled 6 9 6_9 cancelled 0/0 []  0 - 0 0s 0
pom-taskcancelled 7 2 7_2 cancelled 0/0 []  0 - 0 0s 0
pom-arr 9 1 9_1 completed 0/0 [] n1 0 1 6 518ms 23293952
pom-arr 9 2 9_2 failed 1/0 [] n1 0 1 6 461ms 23236608
pom-arr 9 3 9_3 completed 0/0 [] n1 0 1 6 501ms 23289856
pom-arr 9 4 9_4 completed 0/0 [] n1 0 7 11 536ms 23285760
pom-arr 9 5 9_5 completed 0/0 [] n1 0 7 11 547ms 23310336
pom-arr 9 6 9_6 completed 0/0 [] n1 0 7 12 436ms 23310336
`
	compare(t, listed(jobs), want)
}

// The controller knows how far a job is, accounting what it used and what the controller has forgotten.
func TestControllerAndAccountingAreOneAnswer(t *testing.T) {
	now, err := parseQueue(recorded(t, "squeue.txt"), all)
	if err != nil {
		t.Fatal(err)
	}
	past, err := parsePast(recorded(t, "sacct.txt"), all)
	if err != nil {
		t.Fatal(err)
	}
	now = slices.DeleteFunc(now, func(j Job) bool { return j.Key == "pom-fail" })
	stale := Job{Key: "pom-long", ID: "11", Task: 1, TaskID: "11", State: Lost}
	reused := Job{Key: "pom-before", ID: "11", Task: 1, TaskID: "11", State: Completed}
	twice := Job{Key: "pom-fail", ID: "2", Task: 1, TaskID: "2", State: Lost, Ended: time.Unix(1795294800, 0)}
	got := map[string]Job{}
	for _, j := range merge(now, append(past, stale, reused, twice)) {
		got[j.Key+j.TaskID] = j
	}
	for key, want := range map[string]State{"pom-long11": Running, "pom-before11": Completed, "pom-fail2": Failed} {
		if got[key].State != want {
			t.Errorf("%s: %+v, want %s", key, got[key], want)
		}
	}
	if j := got["pom-arr9_2"]; j.Exit != 1 || j.CPU != 461*time.Millisecond || j.Memory != 22692<<10 || j.Reason != "NonZeroExitCode" {
		t.Errorf("%+v", j)
	}
}

func TestSettingsAreRead(t *testing.T) {
	for text, want := range map[string]string{
		recorded(t, "config.txt"): "true 5m0s <nil>",
		"MinJobAge = 0 sec\nAccountingStorageType = accounting_storage/none\n": "false 0s <nil>",
		"MinJobAge = 2 sec\nAccountingStorageType = (null)\n":                  "false 2s <nil>",
		"": `false 0s scontrol show config says MinJobAge "" and AccountingStorageType "", which is not understood`,
	} {
		c, err := parseSlurmSettings(text)
		if got := fmt.Sprint(c.accounting, c.minJobAge, err); got != want {
			t.Errorf("%.50q: %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{recorded(t, "sdiag.txt"): "0 true", "DBD Agent queue size: 12\n": "12 true", "": "0 false", "DBD Agent queue size: x": "0 false"} {
		n, known := agentQueue([]byte(text))
		if got := fmt.Sprint(n, known); got != want {
			t.Errorf("%.50q: %s, want %s", text, got, want)
		}
	}
}

// A controller remembers what was handed in less than MinJobAge ago; of the rest something may be gone.
func TestControllerRemembers(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		age, ago time.Duration
		want     bool
	}{{300 * time.Second, time.Minute, true}, {300 * time.Second, 295 * time.Second, false}, {2 * time.Second, 0, false}, {0, 1000 * time.Hour, true}} {
		if got := (slurmSettings{minJobAge: c.age}).remembers(now.Add(-c.ago), now); got != c.want {
			t.Errorf("%v after %v: %v", c.ago, c.age, got)
		}
	}
}

func TestLinesThatAreNotUnderstood(t *testing.T) {
	for line, want := range map[string]string{
		"12|12|N/A|RUNNING|0|1795294845|17":                                   "",
		"12|12|N/A|RUNNING|0|1795294845|1795294846|1795294906|pom-a":          "squeue: a line of another form",
		"12|12|x|RUNNING|0|1795294845|1795294846|1795294906|pom-a|n1|None|":   `squeue: task "x"`,
		"12|-1|N/A|RUNNING|0|1795294845|1795294846|1795294906|pom-a|n1|None|": `squeue: job id "-1"`,
		"12|12|N/A|FAILED|x|1795294845|1795294846|1795294906|pom-a|n1|None|":  `squeue: exit status "x"`,
		"12|12|N/A|RUNNING|0|yesterday|1795294846|1795294906|pom-a|n1|None|":  `squeue: time "yesterday"`,
		"CLUSTER: pomona": "",
		"12|12|x|RUNNING|0|1795294845|1795294846|1795294906|another|n1|None|\n": "",
	} {
		jobs, err := parseQueue(line, wanted(nil))
		if got := fmt.Sprint(err); err == nil && want != "" || err != nil && (want == "" || !strings.HasPrefix(got, want)) || len(jobs) > 0 {
			t.Errorf("%q: %v, %v, want %q", line, jobs, err, want)
		}
	}
	for line, want := range map[string]string{
		"1|COMPLETED|0:0|1795294845|1795294846|1795294847|00:00.002|":                      "",
		"1|COMPLETED|0:0|1795294845|1795294846|1795294847||pom-ok":                         "sacct: a line of another form",
		"1_[1-99999999]|FAILED|0:0|1795294845|1795294846|1795294847|00:00||pom-ok|n1":      `sacct: tasks "1-99999999"`,
		"1|COMPLETED|0|1795294845|1795294846|1795294847|00:00.002||pom-ok|n1":              `sacct: exit status "0"`,
		"1|SOMETHING|0:0|1795294845|1795294846|1795294847|00:00.002||pom-ok|n1":            "",
		"1|PENDING|0:0|1795294845|Unknown|Unknown|00:00.002||pom-ok|n1\n1.batch|FAILED|||": "",
	} {
		jobs, err := parsePast(line, wanted(nil))
		if got := fmt.Sprint(err); err == nil && want != "" || err != nil && (want == "" || !strings.HasPrefix(got, want)) || len(jobs) > 0 {
			t.Errorf("%q: %v, %v, want %q", line, jobs, err, want)
		}
	}
}

func TestEveryState(t *testing.T) {
	for word, want := range map[string]State{
		"PENDING": Queued, "CONFIGURING": Running, "RUNNING": Running, "COMPLETING": Running, "SUSPENDED": Running, "STAGE_OUT": Running, "SIGNALING": Running,
		"RESIZING": Running, "STOPPED": Running, "REQUEUED": Queued, "REQUEUE_FED": Queued, "REQUEUE_HOLD": Held, "SPECIAL_EXIT": Held, "RESV_DEL_HOLD": Held,
		"COMPLETED": Completed, "FAILED": Failed, "CANCELLED": Cancelled, "CANCELLED by 0": Cancelled, "CANCELLED+": Cancelled, "REVOKED": Cancelled,
		"TIMEOUT": Exceeded, "DEADLINE": Exceeded, "OUT_OF_MEMORY": Exceeded, "NODE_FAIL": Lost, "BOOT_FAIL": Lost, "PREEMPTED": Lost, "UNHEARD_OF": Running,
	} {
		if got := stateOf(word, ""); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
	for reason, want := range map[string]State{"JobHeldUser": Held, "JobHeldAdmin": Held, "job requeued in held state": Held, "launch failed requeued held": Held, "Priority": Queued} {
		if got := stateOf("PENDING", reason); got != want {
			t.Errorf("%s: %s, want %s", reason, got, want)
		}
	}
}

func TestFigures(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"00:00.002": 2 * time.Millisecond, "01:02:03": time.Hour + 2*time.Minute + 3*time.Second, "2-00:00:01": 48*time.Hour + time.Second,
		"": 0, "x": 0, "1:x": 0, "-1:00": 0, "NaN:00": 0,
	} {
		if got := lengthOf(text); got != want {
			t.Errorf("length %q: %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]int64{"2812K": 2812 << 10, "1.50M": 3 << 19, "12": 12, "2G": 2 << 30, "": 0, "K": 0, "-1K": 0, "NaN": 0, "99999999999P": 0} {
		if got := sizeOf(text); got != want {
			t.Errorf("size %q: %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]string{"3": "[3] <nil>", "[1-3,5,7-11:2%4]": "[1 2 3 5 7 9 11] <nil>", "": `[] tasks ""`, "[3-1]": "[] <nil>", "[1-9:0]": `[] tasks "1-9:0"`} {
		n, err := tasksOf(text)
		if got := fmt.Sprint(n, err); got != want {
			t.Errorf("tasks %q: %s, want %s", text, got, want)
		}
	}
}

func TestOptionsThatWouldBreakALaunch(t *testing.T) {
	for option, want := range map[string]bool{
		"--constraint=a100": true, "--exclusive": true, "--nodes=2": true, "--wait-all-nodes=1": true, "--licenses=seat:1": true, "--mail-type=FAIL": true,
		"--array=1-3": false, "--arr=1-3": false, "--wrap=true": false, "--wait": false, "--job-name=x": false, "--clusters=other": false, "--requeue": false,
		"--dependency=afterok:1": false, "--export=ALL": false, "-a1": false, "/bin/sh": false, "--": false, "": false, "--uid=0": false,
	} {
		if err := checkSlurmOptions([]string{option}); (err == nil) != want {
			t.Errorf("%q: %v", option, err)
		}
	}
}

func TestSubmitArguments(t *testing.T) {
	l := Launch{
		Key: "pom-a", Folder: "/srv/50%/pom-a", Script: "/srv/50%/pom-a/job.sh", Tasks: 1000, AtOnce: 7, Account: "a", Partition: "p", QOS: "q", Comment: "it's %a",
		Resources: Resources{CPUs: 4, GPUs: 2, Memory: 1<<30 + 1, Disk: 1, Time: time.Hour + time.Second}, Options: []string{"--constraint=x", "--exclusive"},
	}
	got := strings.Join(submitArguments(l), "\n")
	const want = `--nodes=1
--ntasks=1
--constraint=x
--exclusive
--parsable
--hold
--no-requeue
--export=ALL
--job-name=pom-a
--chdir=/srv/50%/pom-a
--open-mode=append
--cpus-per-task=4
--array=1-1000%7
--output=/srv/50%%/pom-a/log/%a
--mem=1025M
--tmp=1M
--gres=gpu:2
--time=61
--account=a
--partition=p
--qos=q
--comment=it's %a
/srv/50%/pom-a/job.sh`
	compare(t, got, want)
	l.Tasks, l.Resources, l.Options, l.Account, l.Partition, l.QOS, l.Comment = 1, Resources{}, nil, "", "", "", ""
	if got := strings.Join(submitArguments(l), " "); strings.Contains(got, "--array") || !strings.Contains(got, "/log/1 ") || !strings.Contains(got, "--cpus-per-task=1 ") {
		t.Error(got)
	}
}

func compare(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("line %d\ngot\n%s\nwant\n%s", i+1, strings.Join(g[min(i, len(g)):], "\n"), strings.Join(w[min(i, len(w)):], "\n"))
		}
	}
}

// TestAnArrayThatWasCancelledIsAllOfItsTasks as sacct shows one: some ran, some became jobs of their own, the others have one row.
func TestAnArrayThatWasCancelledIsAllOfItsTasks(t *testing.T) {
	row := func(id string) string {
		return id + "|CANCELLED by 0|0:0|1795305347|None|1795305351|00:00:00||pom-y|None assigned\n"
	}
	for text, want := range map[string]string{
		row("123_[0-9,12%4]"): "[0 1 2 3 4 5 6 7 8 9 12]", row("123_[0-9,12]"): "[0 1 2 3 4 5 6 7 8 9 12]", row("123_[0-3,12]%4"): "[0 1 2 3 12]", row("123_[3]"): "[3]",
		row("123_[2-10:4%1]") + row("123_[1]") + row("123_12"):                "[2 6 10 1 12]",
		row("123_20") + row("123_20.batch") + row("123_[1-19,21-22,24-25%6]"): "[20 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 21 22 24 25]",
	} {
		jobs, err := parsePast(text, wanted(nil))
		var tasks []int
		for _, j := range jobs {
			if tasks = append(tasks, j.Task); j.State != Cancelled || j.ID != "123" || j.TaskID != fmt.Sprintf("123_%d", j.Task) {
				t.Errorf("%+v", j)
			}
		}
		if got := fmt.Sprint(tasks); got != want || err != nil {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, id := range []string{"123_[1-19,21-22,24-25,27-28,30-31,33-34,36-37,39-40,42-43,45-46,4...%6]", "123_[1-19,...]", "123_[]", "123_[3-%4]"} {
		if jobs, err := parsePast(row(id), wanted(nil)); err == nil {
			t.Errorf("%s is %+v", id, jobs)
		}
	}
}

// FuzzTasksOf writes down tasks as Slurm does, and reads them.
func FuzzTasksOf(f *testing.F) {
	f.Add([]byte{0, 1, 2, 9, 12}, uint8(4))
	f.Fuzz(func(t *testing.T, steps []byte, limit uint8) {
		var want []int
		var parts []string
		for i, next := 0, 0; i < len(steps) && i < 500; i++ {
			from := next + int(steps[i])
			to := from + int(steps[i])%5
			if parts = append(parts, fmt.Sprintf("%d-%d", from, to)); from == to {
				parts[i] = fmt.Sprint(from)
			}
			for n := from; n <= to; n++ {
				want = append(want, n)
			}
			next = to + 2
		}
		text := "[" + strings.Join(parts, ",")
		if limit > 0 {
			text += fmt.Sprintf("%%%d", limit)
		}
		got, err := tasksOf(text + "]")
		if len(parts) == 0 {
			if err == nil {
				t.Fatalf("no tasks are %v", got)
			}
		} else if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s is %v: %v", text, got, err)
		}
	})
}

func FuzzParseQueue(f *testing.F) {
	f.Add(recorded(f, "squeue.txt"))
	f.Fuzz(func(t *testing.T, out string) { soundJobs(t, out, parseQueue) })
}

func FuzzParsePast(f *testing.F) {
	f.Add(recorded(f, "sacct.txt"))
	f.Fuzz(func(t *testing.T, out string) { soundJobs(t, out, parsePast) })
}

// soundJobs holds what is read to what others take for granted.
func soundJobs(t *testing.T, out string, parse func(string, func(string) bool) ([]Job, error)) {
	jobs, err := parse(out, wanted(nil))
	if err != nil && len(jobs) > 0 {
		t.Fatal("an error beside jobs")
	}
	for _, j := range jobs {
		if !strings.HasPrefix(j.Key, "pom-") || j.ID == "" || j.TaskID == "" || j.Task < 0 || j.State == "" || j.CPU < 0 || j.Memory < 0 || !j.State.Ended() && !j.Ended.IsZero() {
			t.Fatalf("%+v", j)
		}
	}
}

func FuzzParseSlurmSettings(f *testing.F) {
	f.Add(recorded(f, "config.txt"), recorded(f, "sdiag.txt"))
	f.Fuzz(func(t *testing.T, config, sdiag string) {
		if c, err := parseSlurmSettings(config); err == nil && c.minJobAge < 0 {
			t.Fatal(c)
		}
		if n, known := agentQueue([]byte(sdiag)); n < 0 && known {
			t.Fatal(n)
		}
	})
}

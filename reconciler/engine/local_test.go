package engine

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be a keeper, or a service that runs an engine until it is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "job-keeper" {
		if err := KeepLocalJob(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if folder := os.Getenv("LOCAL_ENGINE_UNTIL_KILLED"); folder != "" {
		l, err := NewLocal(LocalOptions{Folder: folder, Slots: 4, Grace: time.Second})
		if err == nil {
			err = l.Run(context.Background())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// running is a local engine that runs as long as the test.
func running(t *testing.T, o LocalOptions) *Local {
	t.Helper()
	l := stopped(t, o)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l
}

// told is what an engine says.
type told struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *told) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *told) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *told) has(text string) bool { return strings.Contains(s.String(), text) }

func stopped(t *testing.T, o LocalOptions) *Local {
	t.Helper()
	if o.Folder == "" {
		o.Folder = t.TempDir()
	}
	if o.Grace == 0 {
		o.Grace = time.Second
	}
	l, err := NewLocal(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endAll(t, l) })
	return l
}

// patience is how long a process may take to do what it must: longer than any does on a busy machine.
const patience = 5 * time.Minute

// eventually waits for something that another process does, and says whether it came.
func eventually(is func() bool) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if is() {
			return true
		}
	}
	return false
}

// endAll leaves no process of a test, which would write into a folder that is being removed.
func endAll(t *testing.T, l *Local) {
	open, err := l.jobs.open()
	if err != nil {
		t.Error(err)
	}
	for _, j := range open {
		for i := range j.tasks {
			if s := j.task(i + 1).start; s != nil {
				if alive, _ := s.Keeper.alive(); alive {
					_ = syscall.Kill(s.Keeper.PID, syscall.SIGTERM)
					if !eventually(func() bool { alive, _ := s.Keeper.alive(); return !alive }) {
						t.Errorf("keeper %d goes on", s.Keeper.PID)
					}
				}
			}
		}
	}
}

// launch is a launch of a script, with a folder of its own.
func launch(t *testing.T, l *Local, key, script string) Launch {
	t.Helper()
	folder := filepath.Join(l.o.Folder, key)
	file := filepath.Join(folder, "job.sh")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return Launch{Key: key, Folder: folder, Script: file, Tasks: 1}
}

// hand submits a launch and releases it.
func hand(t *testing.T, l *Local, a Launch) {
	t.Helper()
	if err := l.Submit(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context(), find(t, l, a.Key)[0].ID); err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, l *Local, key string) []Job {
	t.Helper()
	found, err := l.Find(t.Context(), time.Now().Add(-time.Hour), key)
	if err != nil || !found.Certain {
		t.Fatalf("find %s: %+v, %v", key, found, err)
	}
	return found.Jobs
}

// until waits until all tasks of a key are in one of some states.
func until(t *testing.T, l *Local, key string, states ...State) []Job {
	t.Helper()
	var jobs []Job
	if !eventually(func() bool {
		jobs = find(t, l, key)
		return !slices.ContainsFunc(jobs, func(j Job) bool { return !slices.Contains(states, j.State) })
	}) {
		t.Fatalf("%s never got to %v: %+v", key, states, jobs)
	}
	return jobs
}

var anEnd = []State{Completed, Failed, Cancelled, Exceeded, Lost}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

func TestLocalRunsWhatIsReleased(t *testing.T) {
	l := running(t, LocalOptions{Slots: 2})
	t.Setenv("SECRET_OF_THE_SERVICE", "x")
	a := launch(t, l, "pom-a", `pwd; mktemp >/dev/null; ls tmp/1 | wc -l; env | cut -d= -f1 | sort | tr '\n' ' '; echo $POMONA_JOB; echo no >&2; exit 3`)
	if err := l.Submit(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * lookEvery)
	job := find(t, l, "pom-a")[0]
	if job.State != Held || job.ID != "1" || job.TaskID != "1" || job.Submitted.IsZero() || !job.Began.IsZero() {
		t.Errorf("held: %+v", job)
	}
	if err := l.Release(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	job = until(t, l, "pom-a", anEnd...)[0]
	if job.State != Failed || job.Exit != 3 || job.Signal != 0 || job.Began.IsZero() || job.Ended.Before(job.Began) || job.Node == "" {
		t.Errorf("ended: %+v", job)
	}
	if out := read(t, a.Folder, "log/1"); out != a.Folder+"\n1\nHOME LANG PATH POMONA_JOB POMONA_TASK PWD TMPDIR USER 1\nno\n" {
		t.Errorf("output %q", out)
	}
	if exists(filepath.Join(a.Folder, "tmp/1")) {
		t.Error("what it did not keep is there")
	}
	if err := l.Release(t.Context(), job.ID); err != nil {
		t.Errorf("released again: %v", err)
	}
	if err := l.Cancel(t.Context(), job.ID, "77"); err != nil {
		t.Errorf("cancelled when it has ended: %v", err)
	}
	if again := find(t, l, "pom-a")[0]; again != job {
		t.Errorf("an end has changed: %+v", again)
	}
	for _, id := range []string{"77", "x", "1.0", "-1", ""} {
		if err := l.Release(t.Context(), id); err == nil {
			t.Errorf("release %q: no error", id)
		}
	}
}

func TestLocalFindsAllThatAreCampaigns(t *testing.T) {
	l := stopped(t, LocalOptions{})
	for _, key := range []string{"pom-a", "pom-b", "mine"} {
		if err := l.Submit(t.Context(), launch(t, l, key, "true")); err != nil {
			t.Fatal(err)
		}
	}
	found, err := l.Find(t.Context(), time.Now().Add(-time.Hour))
	if err != nil || len(found.Jobs) != 2 || found.Jobs[0].Key != "pom-a" || found.Jobs[1].Key != "pom-b" {
		t.Errorf("%+v, %v", found, err)
	}
	if found, err = l.Find(t.Context(), time.Now().Add(time.Hour)); err != nil || len(found.Jobs) != 0 || !found.Certain {
		t.Errorf("later than all: %+v, %v", found, err)
	}
	if found, err = l.Find(t.Context(), time.Time{}, "pom-c"); err != nil || len(found.Jobs) != 0 || found.Certain {
		t.Errorf("of ever: %+v, %v", found, err)
	}
}

func TestLocalKeepsToSlotsAndAtOnce(t *testing.T) {
	l := running(t, LocalOptions{Slots: 3})
	most := func(key string, cpus, atOnce, want int) int {
		// Each task notes how many there are while it runs: once there were as many as there may be, and then a while, for one too many.
		a := launch(t, l, key, fmt.Sprintf(`mkdir -p at && : > at/$POMONA_TASK; test $(ls at | wc -l) -lt %d || : > reached
until test -e reached; do sleep 0.05; done; sleep 0.3; ls at | wc -l >> most; rm at/$POMONA_TASK`, want))
		a.Tasks, a.AtOnce, a.Resources.CPUs = 7, atOnce, cpus
		hand(t, l, a)
		for _, job := range until(t, l, key, anEnd...) {
			if job.State != Completed || job.TaskID != job.ID+"."+strconv.Itoa(job.Task) {
				t.Errorf("%+v", job)
			}
		}
		top := 0
		for _, n := range strings.Fields(read(t, a.Folder, "most")) {
			seen, _ := strconv.Atoi(n)
			top = max(top, seen)
		}
		return top
	}
	for _, c := range []struct{ cpus, atOnce, want int }{{0, 0, 3}, {1, 2, 2}, {2, 0, 1}, {9, 0, 1}} {
		if got := most(fmt.Sprintf("pom-%d-%d", c.cpus, c.atOnce), c.cpus, c.atOnce, c.want); got != c.want {
			t.Errorf("%d processors each, %d at once: %d ran at once, want %d", c.cpus, c.atOnce, got, c.want)
		}
	}
}

func TestLocalCancels(t *testing.T) {
	l := running(t, LocalOptions{Slots: 2, Grace: 5 * time.Second}) // in which a shell has to hear and to say something
	held := launch(t, l, "pom-held", "touch ran")
	if err := l.Submit(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	polite := launch(t, l, "pom-polite", `trap 'echo bye; exit 5' TERM; touch up; while :; do sleep 0.05; done`)
	hand(t, l, polite)
	deaf := launch(t, l, "pom-deaf", `trap '' TERM; (setsid sh -c 'echo $$ > far; exec sleep 1000' &); echo $$ > near; while :; do sleep 1; done`)
	hand(t, l, deaf)
	array := launch(t, l, "pom-array", "touch ran.$POMONA_TASK")
	array.Tasks = 3
	hand(t, l, array)
	for _, file := range []string{filepath.Join(polite.Folder, "up"), filepath.Join(deaf.Folder, "far"), filepath.Join(deaf.Folder, "near")} {
		await(t, file)
	}
	// Both slots are taken: the array waits.
	second := find(t, l, "pom-array")[1]
	if second.State != Queued {
		t.Errorf("queued: %+v", second)
	}
	if err := l.Cancel(t.Context(), find(t, l, "pom-held")[0].ID, second.TaskID, find(t, l, "pom-polite")[0].ID, find(t, l, "pom-deaf")[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context(), find(t, l, "pom-held")[0].ID); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"pom-held", "pom-polite", "pom-deaf"} {
		if job := until(t, l, key, anEnd...)[0]; job.State != Cancelled || job.Ended.IsZero() {
			t.Errorf("%+v", job)
		}
	}
	if out := read(t, polite.Folder, "log/1"); !strings.HasSuffix(out, "bye\n") {
		t.Errorf("the polite one said %q", out)
	}
	for _, name := range []string{"near", "far"} {
		if lives(t, deaf.Folder, name) {
			t.Errorf("a process of a cancelled job lives (%s)", name)
		}
	}
	jobs := until(t, l, "pom-array", anEnd...)
	if jobs[0].State != Completed || jobs[1].State != Cancelled || jobs[2].State != Completed {
		t.Errorf("array: %+v", jobs)
	}
	for _, file := range []string{filepath.Join(held.Folder, "ran"), filepath.Join(array.Folder, "ran.2")} {
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: what was cancelled has run", file)
		}
	}
}

func await(t *testing.T, file string) {
	t.Helper()
	if !eventually(func() bool { return exists(file) }) {
		t.Fatalf("%s never came", file)
	}
}

// lives says whether the process lives whose number a file has.
func lives(t *testing.T, path ...string) bool {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(read(t, path...)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := statOf(pid)
	return err == nil && s.state != "Z"
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func TestLocalLimits(t *testing.T) {
	l := running(t, LocalOptions{Slots: 4})
	late := launch(t, l, "pom-late", "sleep 1000")
	late.Resources.Time = time.Second
	hand(t, l, late)
	// A shell's variable holds what it takes.
	big := launch(t, l, "pom-big", `x=$(head -c 100000000 /dev/zero | tr '\0' x); sleep 1000; echo ${#x}`)
	big.Resources.Memory = 64 << 20
	hand(t, l, big)
	file := launch(t, l, "pom-file", `head -c 1000000 /dev/zero > file`)
	file.Resources.Disk = 100000
	hand(t, l, file)
	small := launch(t, l, "pom-small", "exit 4")
	small.Resources.Memory = 4 << 20
	hand(t, l, small)
	killed := launch(t, l, "pom-killed", `kill -9 $$`)
	hand(t, l, killed)

	if job := until(t, l, "pom-late", anEnd...)[0]; job.State != Exceeded || job.Reason != "it took more than its time, 1s" {
		t.Errorf("%+v", job)
	}
	if job := until(t, l, "pom-big", anEnd...)[0]; job.State != Exceeded || job.Reason != "it took more than 64 MiB of memory" || job.Memory < 64<<20 {
		t.Errorf("%+v", job)
	}
	if job := until(t, l, "pom-file", anEnd...)[0]; job.State != Failed || len(read(t, file.Folder, "file")) > 100352 {
		t.Errorf("%+v, %d bytes", job, len(read(t, file.Folder, "file")))
	}
	if job := until(t, l, "pom-small", anEnd...)[0]; job.State != Failed || job.Exit != 4 {
		t.Errorf("%+v", job)
	}
	if job := until(t, l, "pom-killed", anEnd...)[0]; job.State != Failed || job.Signal != 9 {
		t.Errorf("%+v", job)
	}
}

// A service that dies when it has just started a keeper is followed by one that starts another.
func TestOneOfManyKeepersRunsATask(t *testing.T) {
	l := stopped(t, LocalOptions{})
	hand(t, l, launch(t, l, "pom-a", "echo ran >> ran; sleep 0.2"))
	cancelled := launch(t, l, "pom-b", "echo ran >> ran")
	hand(t, l, cancelled)
	if err := l.Cancel(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	var keepers []*exec.Cmd
	for i := range 6 {
		keepers = append(keepers, exec.Command(os.Args[0], "job-keeper", filepath.Join(l.jobs.folder, strconv.Itoa(1+i%2)), "1"))
		if err := keepers[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range keepers {
		if err := k.Wait(); err != nil {
			t.Error(err)
		}
	}
	if ran := read(t, l.o.Folder, "pom-a", "ran"); ran != "ran\n" || find(t, l, "pom-a")[0].State != Completed {
		t.Errorf("%+v, ran %q", find(t, l, "pom-a"), ran)
	}
	if exists(filepath.Join(cancelled.Folder, "ran")) || find(t, l, "pom-b")[0].State != Cancelled {
		t.Errorf("what was cancelled has run: %+v", find(t, l, "pom-b"))
	}
}

func TestALocalJobEndsWithItsKeeper(t *testing.T) {
	said := &told{}
	l := running(t, LocalOptions{Slots: 4, Log: slog.New(slog.NewTextHandler(said, nil))})
	a := launch(t, l, "pom-a", `sleep 1000 & echo $! > child; wait`)
	hand(t, l, a)
	await(t, filepath.Join(a.Folder, "child"))
	until(t, l, "pom-a", Running)
	j, err := l.jobs.find(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(j.task(1).start.Keeper.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if job := until(t, l, "pom-a", anEnd...)[0]; job.State != Lost || job.Reason == "" {
		t.Errorf("%+v", job)
	}
	if !eventually(func() bool { return said.has("a local job is lost") && said.has("key=pom-a") }) { // after it is entered
		t.Errorf("nobody was told: %s", said)
	}
	if lives(t, a.Folder, "child") {
		t.Error("a process of a lost job lives")
	}

	// The machine goes down: its processes are told.
	b := launch(t, l, "pom-b", `touch up; sleep 1000`)
	hand(t, l, b)
	await(t, filepath.Join(b.Folder, "up"))
	until(t, l, "pom-b", Running)
	if j, err = l.jobs.find(2); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(j.task(1).start.Keeper.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if job := until(t, l, "pom-b", anEnd...)[0]; job.State != Lost || job.Reason != "this machine ended it (terminated)" {
		t.Errorf("%+v", job)
	}
}

// service is a process that runs an engine.
func service(t *testing.T, folder string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOCAL_ENGINE_UNTIL_KILLED="+folder)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestLocalKillsOfTheServiceNeitherLoseNorDoubleJobs(t *testing.T) {
	kills := 40
	if n, err := strconv.Atoi(os.Getenv("POMONA_KILLS")); err == nil {
		kills = n
	}
	l := stopped(t, LocalOptions{})
	long := launch(t, l, "pom-long", `until test -e gate; do sleep 0.1; done; exit 7`)
	hand(t, l, long)
	var keys []string
	survived := false
	for i := range kills {
		key := fmt.Sprintf("pom-%d", i)
		a := launch(t, l, key, `echo $POMONA_TASK >> ran; sleep 0.05`)
		a.Tasks = 1 + i%3
		hand(t, l, a)
		keys = append(keys, key)
		s := service(t, l.o.Folder)
		time.Sleep(time.Duration(i*37%200) * time.Millisecond)
		if i == kills/2 {
			until(t, l, "pom-long", Running) // within so little, no service may have come to it on a busy machine
		}
		before := find(t, l, "pom-long")[0].State
		_ = s.Process.Kill()
		_ = s.Wait()
		survived = survived || before == Running && find(t, l, "pom-long")[0].State == Running
	}
	if !survived {
		t.Error("no kill came while the long job ran")
	}
	if err := os.WriteFile(filepath.Join(long.Folder, "gate"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := service(t, l.o.Folder)
	defer func() {
		_ = s.Process.Kill()
		_ = s.Wait()
	}()
	if job := until(t, l, "pom-long", anEnd...)[0]; job.State != Failed || job.Exit != 7 {
		t.Errorf("the job that outlived services: %+v", job)
	}
	tasks := 0
	for i, key := range keys {
		jobs := until(t, l, key, anEnd...)
		ran := strings.Fields(read(t, l.o.Folder, key, "ran"))
		slices.Sort(ran)
		if want := []string{"1", "2", "3"}[:1+i%3]; !slices.Equal(ran, want) {
			t.Errorf("%s: tasks %v ran, want %v", key, ran, want)
		}
		for _, job := range jobs {
			tasks++
			if job.State != Completed {
				t.Errorf("%+v", job)
			}
		}
	}
	t.Logf("%d kills, %d tasks: each ran once", kills, tasks)
}

func TestOneProcessRunsALocalEngine(t *testing.T) {
	l := running(t, LocalOptions{Slots: 1})
	hand(t, l, launch(t, l, "pom-a", "true"))
	until(t, l, "pom-a", anEnd...)
	other := stopped(t, LocalOptions{Folder: l.o.Folder})
	ctx, stop := context.WithTimeout(t.Context(), 2*lookEvery)
	defer stop()
	if f, err := other.turn(ctx); f != nil || err != nil {
		t.Errorf("the second runs it too: %v, %v", f, err)
	}
}

func TestALocalJournalSurvivesWhoDiesWriting(t *testing.T) {
	said := &told{}
	l := stopped(t, LocalOptions{Log: slog.New(slog.NewTextHandler(said, nil))})
	a := launch(t, l, "pom-a", "true")
	if err := l.Submit(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(l.jobs.folder, "1")
	whole := read(t, file)
	if err := os.WriteFile(file, []byte(whole+`{"do":"cancel","reason":"`+strings.Repeat("x", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if job := find(t, l, "pom-a")[0]; job.State != Held {
		t.Errorf("half a line counts: %+v", job)
	}
	if err := l.Release(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if !said.has("repaired the file of a local job") {
		t.Errorf("nobody was told: %s", said)
	}
	again := stopped(t, LocalOptions{Folder: l.o.Folder})
	if job := find(t, again, "pom-a")[0]; job.State != Queued {
		t.Errorf("%+v", job)
	}
	// Numbers never come again, also when nothing is remembered but the last.
	if err := l.Cancel(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	b := launch(t, l, "pom-b", "true")
	hand(t, l, b)
	if err := l.Cancel(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	l.o.Keep = 0
	if err := l.forget(); err != nil {
		t.Fatal(err)
	}
	l.o.Keep = 2 * time.Hour
	if jobs := find(t, l, "pom-a"); len(jobs) != 0 {
		t.Errorf("it remembers %+v", jobs)
	}
	if err := l.Submit(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if job := find(t, l, "pom-a")[0]; job.ID != "3" {
		t.Errorf("%+v", job)
	}
}

func TestAProcessIsKnownByItsBeginning(t *testing.T) {
	self, err := thisProcess()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    process
		want bool
	}{{self, true}, {process{self.PID, self.Began + 1, self.Boot}, false}, {process{self.PID, self.Began, "before"}, false}, {process{1 << 22, 1, self.Boot}, false}} {
		if got, err := c.p.alive(); got != c.want || err != nil {
			t.Errorf("%+v is alive: %v, %v", c.p, got, err)
		}
	}
	if a, b := fmt.Sprint(below(1)), fmt.Sprint(belowOf(1, processes())); !strings.Contains(a, fmt.Sprintf("{%d ", self.PID)) || !strings.Contains(b, fmt.Sprintf("{%d ", self.PID)) {
		t.Errorf("what init has started: %s, %s", a, b)
	}
	old := process{PID: 50, Began: 1000}
	for _, c := range []struct {
		all  []stat
		want int
	}{
		{[]stat{{pid: 51, session: 50, began: 1001, state: "S"}, {pid: 52, session: 9, began: 1002, state: "S"}, {pid: 53, session: 50, began: 1003, state: "Z"}}, 1},
		{[]stat{{pid: 50, session: 50, began: 2000, state: "S"}, {pid: 51, session: 50, began: 2001, state: "S"}}, 0},
		{[]stat{{pid: 51, session: 50, began: 900, state: "S"}}, 0},
	} {
		if left := leftOf(old, c.all); len(left) != c.want {
			t.Errorf("of %+v are left %+v", c.all, left)
		}
	}
}

func TestLocalRefuses(t *testing.T) {
	for _, o := range []LocalOptions{{Folder: "jobs"}, {Folder: t.TempDir(), User: "no-such-user"}} {
		if _, err := NewLocal(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	l := stopped(t, LocalOptions{})
	for name, change := range map[string]func(*Launch){
		"tasks":     func(a *Launch) { a.Tasks = 0 },
		"folder":    func(a *Launch) { a.Folder = "here" },
		"GPUs":      func(a *Launch) { a.Resources.GPUs = 1 },
		"options":   func(a *Launch) { a.Options = []string{"--mem=1"} },
		"partition": func(a *Launch) { a.Partition = "long" },
	} {
		a := launch(t, l, "pom-a", "true")
		change(&a)
		if err := l.Submit(t.Context(), a); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if jobs := find(t, l, "pom-a"); len(jobs) != 0 {
		t.Errorf("refused, but there: %+v", jobs)
	}
}

func TestLocalJobsRunAsTheUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("ONLY ROOT CAN RUN JOBS AS ANOTHER USER")
	}
	folder, err := os.MkdirTemp("", "pomona-local-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	l := running(t, LocalOptions{Folder: folder, User: "nobody"})
	a := launch(t, l, "pom-a", `id -un; id -Gn; mktemp >/dev/null && touch out/mine; touch mine; ls ../.local; sleep 1000`)
	give(t, filepath.Join(a.Folder, "out"))
	a.Resources.Time = time.Second // also another's processes are ended
	hand(t, l, a)
	if job := until(t, l, "pom-a", anEnd...)[0]; job.State != Exceeded {
		t.Errorf("%+v", job)
	}
	if out := read(t, a.Folder, "log/1"); !strings.HasPrefix(out, "nobody\nnogroup\n") || !strings.Contains(out, "ermission denied") || !exists(filepath.Join(a.Folder, "out/mine")) || exists(filepath.Join(a.Folder, "mine")) {
		t.Errorf("output %q", out)
	}

	b := launch(t, l, "pom-b", "echo hello") // its log leads to what is not the user's
	give(t, filepath.Join(b.Folder, "log"))
	if err := os.Symlink("../job.sh", filepath.Join(b.Folder, "log/1")); err != nil {
		t.Fatal(err)
	}
	hand(t, l, b)
	if job := until(t, l, "pom-b", anEnd...)[0]; job.State != Failed {
		t.Errorf("%+v", job)
	}
	if info, err := os.Stat(b.Script); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 || strings.HasSuffix(read(t, b.Script), "hello\nhello\n") {
		t.Errorf("what a link names was handed over or written to: %v\n%s", err, read(t, b.Script))
	}
}

// give makes a folder of the user nobody.
func give(t *testing.T, folder string) {
	t.Helper()
	who, err := credentialOf("nobody")
	if err == nil {
		err = os.Mkdir(folder, 0o755)
	}
	if err == nil {
		err = os.Chown(folder, int(who.Uid), int(who.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheMemoryOfAShortJobIsKnown(t *testing.T) {
	l := running(t, LocalOptions{Slots: 4})
	a := launch(t, l, "pom-short", "exit 0")
	a.Tasks = 20
	hand(t, l, a)
	for _, j := range until(t, l, a.Key, anEnd...) {
		if j.State != Completed || j.Memory == 0 {
			t.Errorf("%+v", j)
		}
	}
}

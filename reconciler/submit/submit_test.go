package submit_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// desk is a desk with a ledger in memory.
type desk struct {
	*submit.Desk
	t           *testing.T
	batch       *cluster
	launches    map[string]observed.Launch
	submissions map[string]observed.Submission
	cancel      map[string]bool
	now         time.Time
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, batch: newCluster(t), launches: map[string]observed.Launch{}, submissions: map[string]observed.Submission{}, cancel: map[string]bool{}, now: time.Now().UTC()}
	d.Desk = &submit.Desk{Engine: d.batch, Folder: filepath.Join(t.TempDir(), "it's a folder"), Record: d.record, Now: func() time.Time { return d.now }}
	return d
}

func (d *desk) record(_ context.Context, launches []observed.Launch, submissions []observed.Submission) error {
	for _, l := range launches {
		d.launches[l.Key] = l
	}
	for _, s := range submissions {
		d.submissions[s.Key] = s
	}
	return nil
}

// work is a launch of slices, each of which runs argv.
func work(slices int, argv ...string) submit.Work {
	w := submit.Work{Site: "linac", Campaign: "keepup", UID: "keepup/1", Stage: "reco", Engine: "e", Commit: "c", Job: desired.Job{Argv: argv}}
	for n := range slices {
		w.Tasks = append(w.Tasks, submit.Task{Slice: observed.Slice{UID: "keepup/1", Stage: "reco", Epoch: 1, ID: fmt.Sprintf("s%d", n+1)}, Attempt: 1})
	}
	return w
}

func script(text string) []string { return []string{"/bin/sh", "-c", text} }

// intend prepares works and records their intents.
func (d *desk) intend(works ...submit.Work) (keys []string) {
	d.t.Helper()
	if err := d.Prepare(d.t.Context(), works...); err != nil {
		d.t.Fatal(err)
	}
	for _, w := range works {
		l, submissions := w.Intent(d.now)
		_ = d.record(d.t.Context(), []observed.Launch{l}, submissions) // never fails
		for _, s := range submissions {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

func (d *desk) open() (all []submit.Open) {
	for _, key := range slices.Sorted(maps.Keys(d.launches)) {
		l := d.launches[key]
		if l.State == observed.LaunchOver {
			continue
		}
		o := submit.Open{Launch: l, Cancel: d.cancel}
		for _, s := range d.submissions {
			if s.Launch == key {
				o.Submissions = append(o.Submissions, s)
			}
		}
		slices.SortFunc(o.Submissions, func(a, b observed.Submission) int { return a.Task - b.Task })
		all = append(all, o)
	}
	slices.SortStableFunc(all, func(a, b submit.Open) int { return a.Launch.Intended.Compare(b.Launch.Intended) }) // like the ledger
	return all
}

func (d *desk) over(keys []string) (map[string]string, error) {
	over := map[string]string{}
	for _, key := range keys {
		if l := d.launches[key]; l.State == observed.LaunchOver {
			over[key] = l.UID
		}
	}
	return over, nil
}

func (d *desk) step() error {
	_, err := d.Step(d.t.Context(), d.open())
	return err
}

// must steps, and says what has become of submissions.
func (d *desk) must(want ...observed.SubmissionState) {
	d.t.Helper()
	if err := d.step(); err != nil {
		d.t.Fatal(err)
	}
	var got []observed.SubmissionState
	for _, s := range slices.SortedFunc(maps.Values(d.submissions), func(a, b observed.Submission) int { return strings.Compare(a.Slice, b.Slice) }) {
		got = append(got, s.State)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		d.t.Fatalf("submissions (-want +got):\n%s%+v\n%+v", diff, d.submissions, d.launches)
	}
}

func (d *desk) file(names ...string) string {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{d.Folder}, names...)...))
	if err != nil {
		return ""
	}
	return string(b)
}

func only[K comparable, V any](m map[K]V) (v V) {
	for _, v = range m {
	}
	return v
}

const (
	intent    = observed.SubmissionIntent
	submitted = observed.SubmissionSubmitted
	queued    = observed.SubmissionQueued
	unknown   = observed.SubmissionUnknown
	done      = observed.SubmissionDone
	failed    = observed.SubmissionFailed
	denied    = observed.SubmissionDenied
	lost      = observed.SubmissionLost
	cancelled = observed.SubmissionCancelled
)

func TestASubmissionRunsAndLeavesItsOutputs(t *testing.T) {
	d := newDesk(t)
	d.intend(work(3, script(`echo "$POMONA_SLICE" >"$POMONA_OUTPUTS/x"; : >"$POMONA_OUTPUTS/$(printf 'a\nb')"; echo hello; exit $((POMONA_TASK - 1))`)...))
	d.must(submitted, submitted, submitted)
	d.must(queued, queued, queued)
	d.batch.run()
	d.must(done, failed, failed)
	l := only(d.launches)
	if l.State != observed.LaunchOver || l.Calls != 1 || l.Releases != 1 || d.batch.calls["submit"] != 1 || d.batch.calls["release"] != 1 || d.batch.calls["cancel"] != 0 {
		t.Errorf("%+v, %v", l, d.batch.calls)
	}
	if _, names, err := d.Outputs(l.Key, 1); !slices.Equal(names, []string{"x"}) || err != nil || d.file(l.Key, "out/1/x") != "s1\n" {
		t.Errorf("outputs %v, %v", names, err)
	}
	if _, names, err := d.Outputs(l.Key, 2); len(names) != 0 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("outputs of one that failed: %v, %v", names, err)
	}
	if b, err := os.ReadFile(d.Log(l.Key, 1)); string(b) != "hello\n" || err != nil {
		t.Errorf("log %q, %v", b, err)
	}
	for _, s := range d.submissions {
		if s.Job == "" || s.Exit != s.Task-1 || s.Node == "" || s.Began.IsZero() || s.Ended.IsZero() || s.Outputs != map[int]int{1: 1}[s.Task] {
			t.Errorf("%+v", s)
		}
	}
}

func TestManyLaunchesTakeAFewCalls(t *testing.T) {
	d := newDesk(t)
	d.intend(oneEach(0, 20)...)
	d.must(slices.Repeat([]observed.SubmissionState{submitted}, 20)...)
	if want := map[string]int{"find": 2, "submit": 20, "release": 1}; !maps.Equal(d.batch.calls, want) {
		t.Errorf("calls %v, want %v", d.batch.calls, want)
	}
	clear(d.batch.calls)
	d.must(slices.Repeat([]observed.SubmissionState{queued}, 20)...)
	if want := map[string]int{"find": 1}; !maps.Equal(d.batch.calls, want) {
		t.Errorf("watching takes the calls %v, want %v", d.batch.calls, want)
	}
}

// oneEach are works of one slice each.
func oneEach(from, to int) (works []submit.Work) {
	for n := from; n < to; n++ {
		w := work(1, "true")
		w.Tasks[0].Slice.ID = fmt.Sprintf("s%03d", n)
		works = append(works, w)
	}
	return works
}

func TestLaunchesThatAreRefusedHoldUpNoOthers(t *testing.T) {
	d := newDesk(t)
	refused := map[string]bool{}
	for _, key := range d.intend(oneEach(0, 201)...) {
		refused[key] = true
	}
	d.batch.refuse = func(l engine.Launch) error {
		if refused[l.Key] {
			return errors.New("sbatch: error: Invalid account")
		}
		return nil
	}
	step := func() {
		t.Helper()
		if err := d.step(); err != nil {
			t.Fatal(err)
		}
	}
	step()
	step()
	d.now = d.now.Add(time.Second)
	fine := d.intend(oneEach(900, 901)...)[0]
	l := d.launches[fine] // which never arrived
	l.State, l.Calls, l.Called = observed.LaunchCalled, 1, d.now.Add(-time.Hour)
	d.launches[fine] = l
	step()
	if s := d.submissions[fine]; s.State != submitted {
		t.Errorf("while the refused ones pause: %+v", s)
	}
	d.now = d.now.Add(time.Hour) // no pause lasts
	fine = d.intend(oneEach(901, 902)...)[0]
	step()
	if s := d.submissions[fine]; s.State != submitted {
		t.Errorf("while the refused ones are due: %+v", s)
	}
}

func TestACallThatTakesLongIsTheLastOfItsStep(t *testing.T) {
	for took, want := range map[time.Duration]int{9 * time.Second: 14, 11 * time.Second: 1} { // of calls; two minutes are the most
		d := newDesk(t)
		d.batch.refuse = func(engine.Launch) error {
			d.now = d.now.Add(took)
			return errDown
		}
		d.intend(oneEach(0, 20)...)
		if err := d.step(); err != nil {
			t.Fatal(err)
		}
		called := 0
		for _, l := range d.launches {
			if called += l.Calls; (l.Calls > 0) != (l.State == observed.LaunchCalled) {
				t.Errorf("%+v", l)
			}
		}
		if called != want || d.batch.calls["submit"] != want {
			t.Errorf("of calls that take %s there were %d, and %d are recorded; want %d", took, d.batch.calls["submit"], called, want)
		}
		d.batch.refuse = nil
		d.now = d.now.Add(time.Hour)
		d.must(slices.Repeat([]observed.SubmissionState{submitted}, 20)...)
	}
}

func TestAnAnswerThatIsLostIsLookedFor(t *testing.T) {
	d := newDesk(t)
	d.batch.loseAnswers = true
	d.intend(work(1, "true"))
	d.must(submitted)
	d.batch.run()
	d.must(done)
	if d.batch.calls["submit"] != 1 {
		t.Errorf("handed in %d times", d.batch.calls["submit"])
	}
}

func TestWhatNeverArrivedIsHandedInAgain(t *testing.T) {
	d := newDesk(t)
	d.batch.dropCalls = true
	d.intend(work(1, "true"))
	d.must(intent)
	if s := only(d.submissions); !strings.Contains(s.Detail, "Socket timed out") {
		t.Errorf("nobody is told: %+v", s)
	}
	d.batch.dropCalls = false
	d.must(intent) // too soon
	d.now = d.now.Add(time.Minute)
	d.must(submitted)
	if n := d.batch.calls["submit"]; n != 2 {
		t.Errorf("handed in %d times", n)
	}
}

func TestAGhostThatArrivesLateNeverRuns(t *testing.T) {
	d := newDesk(t)
	d.batch.delay = true
	d.intend(work(1, "true"))
	d.must(intent)
	d.batch.delay = false
	d.now = d.now.Add(time.Minute)
	d.must(submitted) // the second
	d.batch.arrive()
	d.must(queued)
	if got := d.batch.jobs; len(got) != 2 || got[0].State != engine.Queued || got[1].State != engine.Cancelled {
		t.Errorf("%+v", got)
	}
	d.batch.run()
	d.must(done)
}

func TestOfTwoHeldJobsTheLowestIsChosenAndOneThatRunsGoesBefore(t *testing.T) {
	d := newDesk(t)
	d.batch.delay = true
	d.intend(work(1, "true"))
	d.must(intent)
	d.now = d.now.Add(time.Minute)
	d.must(intent)
	d.batch.arrive()
	d.must(submitted)
	if got := d.batch.jobs; len(got) != 2 || got[0].State != engine.Queued || got[1].State != engine.Cancelled {
		t.Errorf("%+v", got)
	}

	d = newDesk(t)
	d.batch.delay = true
	d.intend(work(1, "true"))
	d.must(intent)
	d.now = d.now.Add(time.Minute)
	d.must(intent)
	d.batch.arrive()
	d.batch.set(func(j *engine.Job) {
		if j.ID == "2" {
			j.State = engine.Queued
		}
	})
	d.must(queued)
	if got := d.batch.jobs; got[0].State != engine.Cancelled || got[1].State != engine.Queued {
		t.Errorf("%+v", got)
	}
}

func TestNothingIsDecidedWhileTheBatchSystemIsAway(t *testing.T) {
	d := newDesk(t)
	d.batch.down = true
	d.intend(work(1, "true"))
	before := maps.Clone(d.launches)
	if err := d.step(); err == nil || !strings.Contains(err.Error(), "Socket timed out") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(before, d.launches); diff != "" || d.batch.calls["submit"] != 0 {
		t.Errorf("%v\n%s", d.batch.calls, diff)
	}
}

func TestAJobThatWasLostBeforeItBeganIsHandedInAgain(t *testing.T) {
	d := newDesk(t)
	d.intend(work(2, "true"))
	d.must(submitted, submitted)
	d.batch.forget(func(engine.Job) bool { return true })
	d.must(intent, intent)
	d.now = d.now.Add(time.Minute)
	d.must(submitted, submitted)
	d.batch.run()
	d.must(done, done)
}

func TestAReleaseThatWasLostIsMadeAgainButNotForEver(t *testing.T) {
	d := newDesk(t)
	d.intend(work(1, "true"))
	d.must(submitted)
	hold := func() { d.batch.set(func(j *engine.Job) { j.State = engine.Held }) }
	for range 4 {
		hold()
		d.must(submitted)
		if d.batch.jobs[0].State != engine.Queued {
			t.Fatal("it is not released again")
		}
	}
	hold()
	d.must(observed.SubmissionHeld)
	if d.batch.jobs[0].State != engine.Held {
		t.Error("somebody who holds it there cannot")
	}
	d.batch.set(func(j *engine.Job) { j.State = engine.Queued })
	d.must(queued)
}

func TestWhatIsNotSeenIsNeitherDoneNorHandedInAgain(t *testing.T) {
	for name, before := range map[string]func(d *desk){
		"held":    func(*desk) {},
		"claimed": func(d *desk) { claim(d, "1_1.somebody") },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.intend(work(1, "true"))
			d.must(submitted)
			before(d)
			d.batch.forget(func(engine.Job) bool { return true })
			d.batch.uncertain = true
			d.now = d.now.Add(24 * time.Hour)
			d.must(unknown)
			if n := d.batch.calls["submit"]; n != 1 {
				t.Errorf("handed in %d times", n)
			}
		})
	}
	d := newDesk(t)
	d.batch.delay = true
	d.batch.uncertain = true
	d.intend(work(1, "true"))
	d.must(intent)
	d.now = d.now.Add(24 * time.Hour)
	d.must(unknown)
	d.batch.arrive()
	d.must(submitted)
}

func TestWhatSomebodyHasBegunIsNotHandedInAgain(t *testing.T) {
	d := newDesk(t)
	d.batch.delay = true
	d.intend(work(1, "true"))
	d.must(intent)
	claim(d, "1_1.somebody")
	d.now = d.now.Add(time.Minute)
	d.must(lost)
	if n := d.batch.calls["submit"]; n != 1 {
		t.Errorf("handed in %d times", n)
	}
}

func TestAJobThatBeginsWhileOneLooksIsNotLost(t *testing.T) {
	d := newDesk(t)
	d.batch.delay = true
	d.intend(work(1, "true"))
	d.must(intent)
	d.batch.found = func() { // nothing; and at once the job is there
		d.batch.found = nil
		claim(d, "1_1.somebody")
	}
	d.must(intent)
	if got := d.file(only(d.launches).Key, "end/1"); got != "" {
		t.Errorf("it was taken back: %s", got)
	}
}

// claim has somebody claim the only task of the only launch.
func claim(d *desk, owner string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.Folder, only(d.launches).Key, "claim", "1"), []byte(owner+"\n"), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func TestATaskThatWasBegunAndIsGoneIsLostAndCanHaveNoEffectAnyMore(t *testing.T) {
	d := newDesk(t)
	d.intend(work(2, script("echo ran >>$POMONA_OUTPUTS/x")...))
	d.must(submitted, submitted)
	claim(d, "1_1.somebody")
	ghosts := slices.Clone(d.batch.jobs)
	d.batch.forget(func(engine.Job) bool { return true })
	d.must(lost, lost)
	for i := range ghosts {
		d.batch.execute(&ghosts[i])
		if ghosts[i].Exit != 75 {
			t.Errorf("a job that comes back later leaves with %d", ghosts[i].Exit)
		}
	}
	if _, names, err := d.Outputs(only(d.launches).Key, 2); len(names) != 0 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it has left %v, %v", names, err)
	}
}

func TestTheSecondOfTwoJobsThatRunIsDenied(t *testing.T) {
	d := newDesk(t)
	d.intend(work(1, script(`echo "$POMONA_JOB" >$POMONA_OUTPUTS/x`)...))
	d.must(submitted)
	// Another of the same key, which nobody could prevent.
	w := d.batch.how["1"]
	d.batch.accept(w)
	second := d.batch.jobs[1]
	d.batch.execute(&second)
	d.batch.run()
	if first := d.batch.jobs[0]; second.Exit != 0 || first.Exit != 75 {
		t.Errorf("first %+v, second %+v", first, second)
	}
	d.must(done) // by the other
	if got := d.file(w.Key, "out/1/x"); got != "2_1\n" {
		t.Errorf("out: %q", got)
	}
	if s := only(d.submissions); s.Job != "2_1" {
		t.Errorf("%+v", s)
	}
}

func TestADeniedJobWaitsForWhoeverRunsAndIsDeniedOnceThatOneIsGone(t *testing.T) {
	d := newDesk(t)
	d.intend(work(1, "true"))
	d.must(submitted)
	claim(d, "7_1.other")
	d.batch.run()
	other := engine.Job{Key: only(d.launches).Key, ID: "7", Task: 1, TaskID: "7_1", State: engine.Running, Began: time.Now()}
	d.batch.jobs = append(d.batch.jobs, other)
	d.must(observed.SubmissionRunning)
	d.batch.forget(func(j engine.Job) bool { return j.ID == "7" })
	d.batch.uncertain = true
	d.must(unknown)
	d.batch.uncertain = false
	d.must(denied)
	if n := d.batch.calls["submit"]; n != 1 {
		t.Errorf("handed in %d times", n)
	}
}

func TestARequeuedJobGoesOnOrSaysHowItEnded(t *testing.T) {
	d := newDesk(t)
	d.intend(work(1, script("echo ran >>../../../ran; exit 3")...))
	d.must(submitted)
	d.batch.run()
	again := d.batch.jobs[0]
	d.batch.execute(&again)
	if key := only(d.launches).Key; again.Exit != 3 || d.file(key, "ran") != "ran\n" {
		t.Errorf("exit %d, ran %q", again.Exit, d.file(key, "ran"))
	}
	d.must(failed)

	d = newDesk(t)
	d.intend(work(1, script("kill -9 $PPID $$")...)) // the job with its script, as when a machine stops
	d.must(submitted)
	d.batch.run()
	if j := d.batch.jobs[0]; j.Exit != -1 {
		t.Fatalf("it was not killed: %+v", j)
	}
	again = d.batch.jobs[0]
	d.batch.execute(&again)
	if again.Exit != -1 {
		t.Errorf("the same job, started again, left with %d: %s", again.Exit, d.file(only(d.launches).Key, "log/1"))
	}
}

// TestAJobThatTheBatchSystemEndedToRequeueItIsLost and so is tried again, not failed; what runs of it later finds that it has ended.
func TestAJobThatTheBatchSystemEndedToRequeueItIsLost(t *testing.T) {
	d := newDesk(t)
	d.intend(work(1, script("echo ran >>../../../ran; kill -TERM $$")...))
	d.must(submitted)
	d.batch.run()
	d.batch.set(func(j *engine.Job) { j.State, j.Reason = engine.Queued, "BeginTime" })
	d.must(lost)
	again := d.batch.jobs[0]
	if again.State != engine.Cancelled {
		t.Errorf("it is to run again: %+v", again)
	}
	d.batch.execute(&again)
	if key := only(d.launches).Key; again.Exit != 143 || d.file(key, "ran") != "ran\n" {
		t.Errorf("exit %d, ran %q", again.Exit, d.file(key, "ran"))
	}
}

func TestOutputsOfAJobThatDiedAtItsEndAreThere(t *testing.T) {
	d := newDesk(t)
	d.intend(work(1, script("echo hi >$POMONA_OUTPUTS/x")...))
	d.must(submitted)
	d.batch.run()
	folder := filepath.Join(d.Folder, only(d.launches).Key)
	_, run, _ := strings.Cut(d.file(only(d.launches).Key, "end/1"), "\nfolder ")
	run, _, _ = strings.Cut(run, "\n")
	if err := os.Rename(filepath.Join(folder, "out/1"), filepath.Join(folder, run, "outputs")); err != nil {
		t.Fatal(err)
	}
	d.must(done)
	if got := d.file(only(d.launches).Key, "out/1/x"); got != "hi\n" {
		t.Errorf("out: %q", got)
	}
}

func TestAJobThatIsToldToStopStillSaysHowItEnded(t *testing.T) {
	d := newDesk(t)
	d.intend(work(1, script("kill -TERM $PPID; exit 5")...))
	d.must(submitted)
	d.batch.run()
	d.must(failed)
	if s := only(d.submissions); s.Exit != 5 || d.batch.jobs[0].Exit != 5 {
		t.Errorf("%+v, %+v", s, d.batch.jobs[0])
	}
}

func TestWhatASignalWasForTheBatchSystemSays(t *testing.T) {
	for state, want := range map[engine.State]observed.SubmissionState{engine.Exceeded: failed, engine.Cancelled: cancelled, engine.Failed: failed} {
		d := newDesk(t)
		d.intend(work(1, script("kill -TERM $$")...))
		d.must(submitted)
		d.batch.run()
		d.batch.set(func(j *engine.Job) { j.State = engine.Running })
		d.must(observed.SubmissionRunning)
		d.batch.set(func(j *engine.Job) { j.State, j.Reason = state, "the reason" })
		d.must(want)
		if s := only(d.submissions); s.Signal != 15 || (s.Detail == "the reason") != (state != engine.Failed) {
			t.Errorf("%s: %+v", state, s)
		}
	}
}

// TestAJobThatIsCancelledWhileItRunsWasCancelled whatever its program makes of the signal, and whenever its end mark is seen.
func TestAJobThatIsCancelledWhileItRunsWasCancelled(t *testing.T) {
	for text, exit := range map[string]int{"kill -TERM $$": 143, "exit 3": 3} {
		for _, late := range []bool{false, true} {
			d := newDesk(t)
			keys := d.intend(work(1, script(text)...))
			d.must(submitted)
			d.batch.set(func(j *engine.Job) { j.State, j.Began = engine.Running, d.now })
			d.must(observed.SubmissionRunning)
			d.cancel[keys[0]] = true
			ends := func() {
				d.batch.jobs[0].State = engine.Queued
				d.batch.execute(&d.batch.jobs[0])
				d.batch.jobs[0].State = engine.Cancelled
			}
			if late { // after marks were read, and before the batch system answers
				d.batch.looking = ends
			} else {
				ends()
				d.batch.jobs[0].State = engine.Running
				d.must(observed.SubmissionRunning)
			}
			d.must(cancelled)
			if s := only(d.submissions); s.Exit != exit || d.file(s.Launch, "end", "1") == "" {
				t.Errorf("%q, late %v: %+v", text, late, s)
			}
		}
	}
}

func TestSubmissionsAreCancelledWhereverTheyAre(t *testing.T) {
	d := newDesk(t)
	keys := d.intend(work(1, "true"))
	d.cancel[keys[0]] = true
	d.must(cancelled)
	if d.batch.calls["submit"] != 0 {
		t.Error("it was handed in")
	}

	d = newDesk(t)
	keys = d.intend(work(3, "true"))
	d.must(submitted, submitted, submitted)
	d.cancel[keys[1]] = true
	d.must(queued, queued, queued)
	d.batch.run()
	d.must(done, cancelled, done)

	d = newDesk(t)
	d.batch.delay = true
	keys = d.intend(work(1, "true"))
	d.must(intent)
	d.cancel[keys[0]] = true
	d.must(cancelled)
	d.batch.arrive()
	if gone, err := d.Sweep(t.Context(), d.now, d.over); err != nil || len(gone) != 1 || d.batch.jobs[0].State != engine.Cancelled {
		t.Errorf("swept %v, %v", gone, err)
	}
}

func TestASweepLeavesOpenLaunchesAndThoseOfOthers(t *testing.T) {
	d := newDesk(t)
	d.intend(work(1, "true"))
	key := only(d.launches).Key
	d.batch.accept(engine.Launch{Key: key, Tasks: 1})
	d.batch.accept(engine.Launch{Key: "pom-00000000000000000000000000", Tasks: 1})
	sweep := func() {
		t.Helper()
		if gone, err := d.Sweep(t.Context(), d.now, d.over); len(gone) != 0 || err != nil {
			t.Errorf("swept %v, %v", gone, err)
		}
	}
	sweep()
	clear(d.launches) // the ledger was lost
	sweep()
}

func TestALedgerThatWasLostIsMadeAgain(t *testing.T) {
	d := newDesk(t)
	ended := work(1, "true")
	ended.Tasks[0].Slice.Inputs = []string{"/data/a b", "/data/c"}
	d.intend(ended)
	d.must(submitted)
	d.batch.run()
	d.must(done)
	open := work(2, "true")
	open.Stage, open.Tasks[0].Slice.ID, open.Tasks[1].Slice.ID = "merge", "t1", "t2"
	open.Tasks[0].Params = map[string]string{"gain": "3"}
	d.intend(open)
	d.must(done, submitted, submitted)
	before := maps.Clone(d.submissions)

	clear(d.launches)
	clear(d.submissions)
	all, errs := d.Rebuild()
	if len(errs) > 0 || len(all) != 2 {
		t.Fatalf("%+v, %v", all, errs)
	}
	inputs := map[string][]string{}
	for _, r := range all {
		_ = d.record(d.t.Context(), []observed.Launch{r.Launch}, r.Submissions) // never fails
		for _, s := range r.Slices {
			inputs[s.ID] = s.Inputs
		}
	}
	if diff := cmp.Diff(map[string][]string{"s1": {"/data/a b", "/data/c"}, "t1": nil, "t2": nil}, inputs); diff != "" {
		t.Error(diff)
	}
	d.must(done, queued, queued)
	for key, s := range before {
		got := d.submissions[key]
		if got.UID != s.UID || got.Slice != s.Slice || got.Attempt != s.Attempt || got.Task != s.Task || got.Launch != s.Launch || !got.Intended.Equal(s.Intended) || got.Exit != s.Exit {
			t.Errorf("was %+v, is %+v", s, got)
		}
	}
	d.batch.run()
	d.must(done, done, done)
	if n := d.batch.calls["submit"]; n != 2 {
		t.Errorf("handed in %d times", n)
	}
}

func TestWhatWasOnlyPreparedIsNotRebuilt(t *testing.T) {
	d := newDesk(t)
	if err := d.Prepare(t.Context(), work(2, "true")); err != nil {
		t.Fatal(err)
	}
	d.intend(work(3, "true"))
	d.must(submitted, submitted, submitted)
	key := only(d.launches).Key
	all, errs := d.Rebuild()
	if len(errs) > 0 || len(all) != 1 || all[0].Launch.Key != key {
		t.Errorf("%+v, %v", all, errs)
	}
}

func TestASubmissionOfTwoLaunchesIsRebuiltOnceAndRunsOnce(t *testing.T) {
	d := newDesk(t)
	argv := script(`echo ran >"$POMONA_OUTPUTS/x"`)
	d.intend(work(3, argv...))
	d.must(submitted, submitted, submitted)
	first := only(d.launches).Key
	clear(d.launches)
	clear(d.submissions)
	d.now = d.now.Add(time.Minute)
	d.intend(work(4, argv...))
	d.must(submitted, submitted, submitted, submitted)
	second := only(d.launches).Key
	claims := []string{filepath.Join(d.Folder, first, "claim", "1"), filepath.Join(d.Folder, second, "claim", "2")}
	for _, claim := range claims {
		if err := os.WriteFile(claim, []byte("9_1.somebody\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	clear(d.launches)
	clear(d.submissions)
	all, errs := d.Rebuild()
	if len(errs) > 0 || len(all) != 2 {
		t.Fatalf("%+v, %v", all, errs)
	}
	got := map[string]string{}
	for _, r := range all {
		_ = d.record(t.Context(), []observed.Launch{r.Launch}, r.Submissions) // never fails
		for i, s := range r.Submissions {
			if got[s.Slice] += s.Launch; r.Slices[i].ID != s.Slice {
				t.Errorf("%+v is with slice %s", s, r.Slices[i].ID)
			}
		}
	}
	if diff := cmp.Diff(map[string]string{"s1": first, "s2": second, "s3": second, "s4": second}, got); diff != "" {
		t.Error(diff)
	}
	for _, claim := range claims { // by nobody, after all
		if err := os.Remove(claim); err != nil {
			t.Fatal(err)
		}
	}
	d.batch.run()
	d.must(done, done, done, done)
	for task, by := range []string{first, second, second, second} {
		for _, key := range []string{first, second} {
			if ran := d.file(key, "out", strconv.Itoa(task+1), "x") != ""; ran != (key == by) {
				t.Errorf("task %d of %s: it ran is %v", task+1, key, ran)
			}
		}
	}
}

func TestARebuiltLaunchIsNotHandedInAgainOnDoubt(t *testing.T) {
	d := newDesk(t)
	d.intend(work(1, "true"))
	d.must(submitted)
	all, errs := d.Rebuild()
	if len(errs) > 0 || len(all) != 1 {
		t.Fatalf("%+v, %v", all, errs)
	}
	_ = d.record(t.Context(), []observed.Launch{all[0].Launch}, all[0].Submissions) // never fails
	d.batch.forget(func(engine.Job) bool { return true })
	d.batch.uncertain = true
	d.now = d.now.Add(time.Hour)
	d.must(unknown)
	if n := d.batch.calls["submit"]; n != 1 {
		t.Errorf("handed in %d times", n)
	}
}

func TestALaunchFolderThatIsNotSeenIsWaitedFor(t *testing.T) {
	d := newDesk(t)
	d.intend(work(1, "true"))
	d.must(submitted)
	folder := filepath.Join(d.Folder, only(d.launches).Key)
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	d.batch.forget(func(engine.Job) bool { return true })
	d.must(unknown)
	if err := os.Rename(folder+".away", folder); err != nil {
		t.Fatal(err)
	}
	d.must(intent)
}

func TestAnEndThatCannotBeReadHoldsNobodyElseUp(t *testing.T) {
	d := newDesk(t)
	d.intend(work(2, "true"))
	d.must(submitted, submitted)
	if err := os.WriteFile(filepath.Join(d.Folder, only(d.launches).Key, "end", "1"), []byte("exit 0\nfolder ../../etc\n.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.batch.set(func(j *engine.Job) {
		if j.Task == 2 {
			d.batch.execute(j)
		}
	})
	d.must(unknown, done)
}

func TestWhatJobsLeaveInsteadOfMarksConcernsTheirLaunchOnly(t *testing.T) {
	for name, leave := range map[string]func(folder string) error{
		"a pipe":        func(folder string) error { return syscall.Mkfifo(filepath.Join(folder, "claim/1"), 0o644) },
		"a pipe, ended": func(folder string) error { return syscall.Mkfifo(filepath.Join(folder, "end/1"), 0o644) },
		"a link":        func(folder string) error { return os.Symlink("/dev/zero", filepath.Join(folder, "claim/1")) },
		"a link, ended": func(folder string) error { return os.Symlink("../task/1", filepath.Join(folder, "end/1")) },
		"a folder":      func(folder string) error { return os.Mkdir(filepath.Join(folder, "claim/1"), 0o755) },
		"a long file": func(folder string) error {
			return os.WriteFile(filepath.Join(folder, "claim/1"), make([]byte, 1<<17), 0o644)
		},
		"no claim folder": noClaimFolder,
		"outputs elsewhere": func(folder string) error {
			return errors.Join(os.Symlink("../..", filepath.Join(folder, "run/x")), os.Mkdir(filepath.Join(folder, "../outputs"), 0o755),
				os.WriteFile(filepath.Join(folder, "end/1"), []byte("exit 0\nfolder run/x\n.\n"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.intend(work(1, "true"))
			d.must(submitted)
			if err := leave(filepath.Join(d.Folder, only(d.launches).Key)); err != nil {
				t.Fatal(err)
			}
			d.intend(oneEach(900, 901)...)
			d.must(unknown, submitted)
		})
	}
}

// noClaimFolder has a file in its place.
func noClaimFolder(folder string) error {
	claim := filepath.Join(folder, "claim")
	return errors.Join(os.RemoveAll(claim), os.WriteFile(claim, nil, 0o644))
}

func TestWhatCannotBeTakenBackHasNotEndedAndConcernsItsLaunchOnly(t *testing.T) {
	d := newDesk(t)
	d.intend(work(1, "true"))
	d.must(submitted)
	folder := filepath.Join(d.Folder, only(d.launches).Key)
	d.batch.set(func(j *engine.Job) { j.State, j.Exit, j.Ended = engine.Failed, 1, d.now })
	d.batch.found = func() { // after marks were read
		if d.batch.found = nil; noClaimFolder(folder) != nil {
			t.Error("the folder cannot be removed")
		}
	}
	d.intend(oneEach(900, 901)...)
	d.must(unknown, submitted)
	if err := errors.Join(os.Remove(filepath.Join(folder, "claim")), os.Mkdir(filepath.Join(folder, "claim"), 0o755)); err != nil {
		t.Fatal(err)
	}
	d.must(failed, queued)
}

// TestWhatAJobTookIsWaitedFor if its end mark is seen before the batch system has said that it ended, but not for ever.
func TestWhatAJobTookIsWaitedFor(t *testing.T) {
	for _, says := range []bool{true, false} {
		d := newDesk(t)
		d.intend(work(1, "true"))
		d.must(submitted)
		d.batch.run()
		d.batch.set(func(j *engine.Job) { j.State = engine.Running })
		d.must(observed.SubmissionRunning)
		memory := int64(0)
		if says {
			memory = 5 << 20
			d.batch.set(func(j *engine.Job) { j.State, j.Memory = engine.Completed, memory })
		} else {
			d.now = d.now.Add(2 * time.Minute)
		}
		d.must(done)
		if s := only(d.submissions); s.Memory != memory {
			t.Errorf("%+v", s)
		}
	}
}

// TestACancelledSliceWhoseMarksCannotBeReadIsSettledByTheBatchSystem and by nothing else.
func TestACancelledSliceWhoseMarksCannotBeReadIsSettledByTheBatchSystem(t *testing.T) {
	const running = observed.SubmissionRunning
	breakMarks := func(d *desk) {
		t.Helper()
		folder := filepath.Join(d.Folder, only(d.launches).Key, "end")
		if err := errors.Join(os.RemoveAll(folder), os.WriteFile(folder, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	d := newDesk(t)
	keys := d.intend(work(1, "true"))
	d.must(submitted)
	d.must(queued)
	d.batch.set(func(j *engine.Job) { j.State, j.Began = engine.Running, d.now })
	d.must(running)
	breakMarks(d)
	d.must(unknown)
	d.batch.set(func(j *engine.Job) { j.State, j.Ended = engine.Failed, d.now })
	d.must(unknown) // nobody wants it to end: what it has done may count
	d.batch.set(func(j *engine.Job) { j.State = engine.Running })
	d.cancel[keys[0]] = true
	d.must(unknown) // it is cancelled now
	if d.batch.jobs[0].State != engine.Cancelled {
		t.Errorf("%+v", d.batch.jobs)
	}
	d.must(cancelled)
	if l := only(d.launches); l.State != observed.LaunchOver {
		t.Errorf("%+v", l)
	}

	d = newDesk(t)
	keys = d.intend(work(1, "true"))
	d.must(submitted)
	breakMarks(d)
	d.batch.forget(func(engine.Job) bool { return true })
	d.batch.uncertain = true
	d.cancel[keys[0]] = true
	d.must(unknown) // it may only be forgotten
	d.batch.uncertain = false
	d.must(cancelled)

	d = newDesk(t) // what can be read again counts
	keys = d.intend(work(1, "true"))
	d.must(submitted)
	d.must(queued)
	d.batch.run()
	end := filepath.Join(d.Folder, only(d.launches).Key, "end", "1")
	b, err := os.ReadFile(end)
	if err := errors.Join(err, os.WriteFile(end, []byte("exit"), 0o644)); err != nil {
		t.Fatal(err)
	}
	d.must(unknown)
	if err := os.WriteFile(end, b, 0o644); err != nil {
		t.Fatal(err)
	}
	d.cancel[keys[0]] = true
	d.must(done)
}

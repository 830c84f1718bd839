package submit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/engine/slurmtest"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/ledger/ledgertest"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// TestMain lets the test binary be a Pomona that submits until it is killed, and the keeper of a job.
func TestMain(m *testing.M) {
	var err error
	switch text := os.Getenv("SUBMIT_UNTIL_KILLED"); {
	case len(os.Args) > 1 && os.Args[1] == "job-keeper":
		err = engine.KeepLocalJob(os.Args[2:])
	case text != "":
		var p pomona
		if err = json.Unmarshal([]byte(text), &p); err == nil {
			err = p.run(context.Background())
		}
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// pomona is what a Pomona that may be killed is told.
type pomona struct {
	Folder   string // of launches
	Ledger   string // a file
	Postgres string // file with a connection string; empty: the ledger is a file
	Effects  string // folder where each task leaves a line, in a file named by its slice
	Slurm    string // slurm.conf; empty: the local engine
	Account  bool   // Slurm has accounting
	User     string // as whom local jobs run
	Trial    int
	Slices   int
}

// run submits what the trial has, and watches it until it has ended: like the service does, in short.
func (p pomona) run(ctx context.Context) error {
	l, err := p.ledger().Open(ctx)
	for ; errors.Is(err, ledger.ErrTaken); l, err = p.ledger().Open(ctx) { // a service tries again too
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	defer l.Close()
	e, err := p.engine(ctx)
	if err != nil {
		return err
	}
	d := &submit.Desk{Engine: e, Folder: p.Folder, User: p.User, Patience: 30 * time.Second, Record: func(ctx context.Context, launches []observed.Launch, submissions []observed.Submission) error {
		return l.SetProgress(ctx, time.Now(), convert[ledger.Launch](launches), convert[ledger.Submission](submissions))
	}}
	for ; ; time.Sleep(20 * time.Millisecond) {
		ended, err := p.tick(ctx, l, d)
		if ended {
			return nil
		}
		if err != nil { // a service says so, and goes on
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

func (p pomona) ledger() ledger.Place {
	if p.Postgres != "" {
		return ledger.Postgres{File: p.Postgres, Schema: "kills"}
	}
	return ledger.SQLite(p.Ledger)
}

func (p pomona) engine(ctx context.Context) (engine.Engine, error) {
	if p.Slurm != "" {
		return engine.Slurm{Config: p.Slurm, Accounting: &p.Account, Timeout: 20 * time.Second}, nil
	}
	l, err := engine.NewLocal(engine.LocalOptions{Folder: p.Folder, Slots: 4, User: p.User})
	if err == nil {
		go l.Run(ctx) // what stands in its way the trial shows
	}
	return l, err
}

// uid is that of the trial's campaign.
func (p pomona) uid() string { return fmt.Sprintf("trial/%d", p.Trial) }

// tick is one tick of a service: it intends what has no attempt, and what was lost once more, and steps.
func (p pomona) tick(ctx context.Context, l *ledger.Ledger, d *submit.Desk) (ended bool, err error) {
	have, err := l.Submissions(ctx, p.uid(), "", 0, "")
	if err != nil {
		return false, err
	}
	attempts, over, done := map[string]int{}, map[string]bool{}, 0
	for _, s := range have {
		attempts[s.Slice], over[s.Slice] = s.Attempt, observed.SubmissionState(s.State).Ended()
		if s.State == string(observed.SubmissionDone) {
			attempts[s.Slice], over[s.Slice], done = -1, false, done+1
		}
	}
	if done == p.Slices {
		return true, nil
	}
	var tasks []submit.Task
	for n := 1; n <= p.Slices; n++ {
		id := fmt.Sprintf("s%d", n)
		if attempts[id] == 0 || over[id] {
			tasks = append(tasks, submit.Task{Slice: observed.Slice{UID: p.uid(), Stage: "reco", Epoch: 1, ID: id}, Attempt: attempts[id] + 1})
		}
	}
	if len(tasks) > 0 {
		if err := p.intend(ctx, l, d, tasks); err != nil && !errors.Is(err, ledger.ErrIntended) {
			return false, err
		}
	}
	launches, err := l.OpenLaunches(ctx, "e")
	if err != nil {
		return false, err
	}
	submissions, err := l.OpenSubmissions(ctx, "e")
	if err != nil {
		return false, err
	}
	var open []submit.Open
	for _, r := range convert[observed.Launch](launches) {
		open = append(open, submit.Open{Launch: r, Submissions: convert[observed.Submission](submissions[r.Key])})
	}
	_, err = d.Step(ctx, open)
	return false, err
}

func (p pomona) intend(ctx context.Context, l *ledger.Ledger, d *submit.Desk, tasks []submit.Task) error {
	w := submit.Work{Site: "s", Campaign: "trial", UID: p.uid(), Stage: "reco", Engine: "e", Launch: engine.Launch{Resources: engine.Resources{CPUs: 1, Time: time.Hour}}, Tasks: tasks}
	w.Job.Argv = script(fmt.Sprintf(`echo "$POMONA_ATTEMPT $POMONA_JOB" >>'%s'/%d-"$POMONA_SLICE"; echo "$POMONA_JOB" >"$POMONA_OUTPUTS"/x; sleep 0.1`, p.Effects, p.Trial))
	if err := d.Prepare(ctx, w); err != nil {
		return err
	}
	r, submissions := w.Intent(time.Now().UTC())
	return l.Intend(ctx, convert[ledger.Launch]([]observed.Launch{r}), convert[ledger.Submission](submissions))
}

// convert copies fields of the same name.
func convert[To, From any](all []From) (out []To) {
	for _, from := range all {
		var to To
		a, b := reflect.ValueOf(from), reflect.ValueOf(&to).Elem()
		for i := range a.NumField() {
			if f := b.FieldByName(a.Type().Field(i).Name); f.IsValid() {
				f.Set(a.Field(i).Convert(f.Type()))
			}
		}
		out = append(out, to)
	}
	return out
}

// proof is a number of trials, and what came of them.
type proof struct {
	t    *testing.T
	told pomona
	// disturb disturbs the batch system during a trial, and calms it; nil for nothing.
	disturb func(trial int) (calm func())
	atOnce  int  // Pomonas on the same ledger
	restart bool // the batch system starts jobs again: what they do, but their outputs, is there twice

	kills, twice, lost, again int
	at                        map[string]int // where Pomona was when it was killed
}

func newProof(t *testing.T) *proof {
	t.Helper()
	dir, err := os.MkdirTemp("", "pomona-kills-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &proof{t: t, told: pomona{Folder: filepath.Join(dir, "launches"), Ledger: filepath.Join(dir, "ledger.db"), Effects: filepath.Join(dir, "effects"), Slices: 3}, atOnce: 1, at: map[string]int{}}
	if err := os.Mkdir(p.told.Effects, 0o777); err != nil {
		t.Fatal(err)
	}
	return p
}

// trials is how many there are: POMONA_KILLS, or a few.
func trials(few int) int {
	if n, err := strconv.Atoi(os.Getenv("POMONA_KILLS")); err == nil {
		return n
	}
	return few
}

// start starts a Pomona for the trial.
func (p *proof) start() *exec.Cmd {
	p.t.Helper()
	text, err := json.Marshal(p.told)
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SUBMIT_UNTIL_KILLED="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if testing.Verbose() && os.Getenv("SUBMIT_TALK") != "" {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	return cmd
}

// whole lets the trial's Pomonas come to their end.
func (p *proof) whole() {
	p.t.Helper()
	var all []*exec.Cmd
	for range p.atOnce {
		all = append(all, p.start())
	}
	defer func() {
		for _, cmd := range all {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // unless it has ended
		}
	}()
	for _, cmd := range all {
		p.wait(cmd)
	}
}

func (p *proof) wait(cmd *exec.Cmd) {
	p.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			p.t.Fatalf("trial %d: %v", p.told.Trial, err)
		}
	case <-time.After(4 * time.Minute):
		p.t.Fatalf("trial %d never ended; %s", p.told.Trial, p.states())
	}
}

// run is the proof: each trial's Pomonas are killed at random moments, up to three times, half of the times with their clients.
func (p *proof) run(n int) {
	p.t.Helper()
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	p.wait(p.start()) // makes the ledger
	p.told.Trial = 1
	undisturbed := p.undisturbed()
	for p.told.Trial = 2; p.told.Trial < n+2; p.told.Trial++ {
		calm := func() {}
		if p.disturb != nil {
			calm = p.disturb(p.told.Trial)
		}
		for range 1 + r.IntN(3) {
			p.killed(r, undisturbed)
		}
		calm()
		p.whole()
		p.count()
	}
	p.t.Logf("%d trials of %d slices, %d kills %v, %d slices done by a second attempt: %d done twice, %d lost (%v undisturbed, seed %d)", n, p.told.Slices, p.kills, p.at, p.again, p.twice, p.lost, undisturbed, seed)
	if p.twice+p.lost > 0 {
		p.t.Error("a submission must have exactly one effect")
	}
}

// undisturbed is how long a Pomona takes from its start until all is released.
func (p *proof) undisturbed() time.Duration {
	p.t.Helper()
	cmd := p.start()
	began := time.Now()
	for at := p.states(); at != "released" && at != "over"; at = p.states() {
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(began)
	p.wait(cmd)
	p.count()
	return took
}

// killed runs Pomonas that are killed, unless they are quicker.
func (p *proof) killed(r *rand.Rand, undisturbed time.Duration) {
	var all []*exec.Cmd
	for range p.atOnce {
		all = append(all, p.start())
	}
	time.Sleep(time.Duration(r.Float64() * 1.3 * float64(undisturbed)))
	for _, cmd := range all {
		pid := cmd.Process.Pid
		if r.IntN(2) == 0 {
			pid = -pid
		}
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		var killed *exec.ExitError
		if errors.As(cmd.Wait(), &killed) && !killed.Exited() {
			p.kills++
			p.at[p.states()]++
		}
	}
}

// states says how far the trial is, for the count.
func (p *proof) states() string {
	l, err := p.told.ledger().Look(p.t.Context())
	if err != nil {
		return "no ledger"
	}
	defer l.Close()
	all, err := l.Submissions(p.t.Context(), p.told.uid(), "", 0, "")
	if err != nil {
		return "no table"
	}
	launches, err := l.OpenLaunches(p.t.Context(), "")
	switch {
	case err != nil:
		return "no table"
	case len(all) == 0:
		return "before intent"
	case len(launches) == 0:
		return "over"
	}
	return launches[0].State
}

// count counts what each slice of the trial has had for effects.
func (p *proof) count() {
	p.t.Helper()
	l, err := p.told.ledger().Look(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	for n := 1; n <= p.told.Slices; n++ {
		id := fmt.Sprintf("s%d", n)
		b, _ := os.ReadFile(filepath.Join(p.told.Effects, fmt.Sprintf("%d-%s", p.told.Trial, id))) // none: lost
		attempts, err := l.Submissions(p.t.Context(), p.told.uid(), "reco", 1, id)
		if err != nil {
			p.t.Fatal(err)
		}
		outputs := 0
		for _, s := range attempts {
			if _, err := os.Stat(filepath.Join(p.told.Folder, s.Launch, "out", strconv.Itoa(s.Task), "x")); err == nil {
				outputs++
			}
		}
		if len(attempts) > 1 {
			p.again++
			p.t.Logf("trial %d, %s: %s %q, and again", p.told.Trial, id, attempts[0].State, attempts[0].Detail)
		}
		// Of an attempt that was lost, a line may be there, but no output.
		perAttempt := map[string]int{}
		for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
			attempt, _, _ := strings.Cut(line, " ")
			perAttempt[attempt]++
		}
		done := 0
		for _, s := range attempts {
			if s.State == string(observed.SubmissionDone) {
				done++
			}
			if perAttempt[strconv.Itoa(s.Attempt)] > 1 && !p.restart {
				p.twice++
				p.t.Errorf("trial %d, %s: it ran more than once\n%s\n%+v", p.told.Trial, id, b, attempts)
			}
		}
		switch {
		case outputs == 0 || done == 0:
			p.lost++
			p.t.Errorf("trial %d, %s is lost: %+v", p.told.Trial, id, attempts)
		case outputs > 1 || done > 1:
			p.twice++
			p.t.Errorf("trial %d, %s has outputs of %d attempts: %+v", p.told.Trial, id, outputs, attempts)
		}
	}
}

func TestKillsAroundSubmissionNeitherLoseNorDoubleLocalJobs(t *testing.T) {
	newProof(t).run(trials(8))
}

func TestJobsOfAnotherUserLeaveTheirMarks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root runs jobs as somebody else")
	}
	p := newProof(t)
	p.told.User = "nobody"
	for _, dir := range []string{filepath.Dir(p.told.Folder), p.told.Effects} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	p.wait(p.start())
	p.count()
}

func TestKillsOfTwoPomonasOnOneLedgerNeitherLoseNorDoubleJobs(t *testing.T) {
	p := newProof(t)
	p.atOnce = 2
	p.run(trials(5))
}

// TestKillsOfTwoPomonasOnOnePostgres of which one writes the ledger, and the other takes it over.
func TestKillsOfTwoPomonasOnOnePostgres(t *testing.T) {
	p := newProof(t)
	p.told.Postgres, p.atOnce = ledgertest.NewPostgres(t).File(), 2
	p.run(trials(3))
}

// slurmProof is a proof on a real Slurm.
func slurmProof(t *testing.T, o slurmtest.Options) (*proof, *slurmtest.Cluster) {
	t.Helper()
	c := slurmtest.New(t, o)
	p := newProof(t)
	p.told.Slurm, p.told.Account = c.Config, o.Accounting
	return p, c
}

func TestKillsAroundSubmissionNeitherLoseNorDoubleSlurmJobs(t *testing.T) {
	p, _ := slurmProof(t, slurmtest.Options{})
	p.run(trials(4))
}

// during disturbs a trial with a fault at a random moment of its first two seconds, for some time.
func (p *proof) during(fault, mend func() error, lasts time.Duration) {
	p.disturb = func(int) func() {
		ended := make(chan error, 1)
		go func() {
			time.Sleep(time.Duration(rand.Float64() * float64(2*time.Second)))
			err := fault()
			time.Sleep(lasts)
			ended <- errors.Join(err, mend())
		}()
		return func() {
			if err := <-ended; err != nil {
				p.t.Fatal(err)
			}
		}
	}
}

func TestKillsWhileTheControllerIsSilent(t *testing.T) {
	p, c := slurmProof(t, slurmtest.Options{Conf: []string{"MessageTimeout=2"}})
	p.during(func() error { return c.Pause(slurmtest.Controller) }, func() error { return c.Resume(slurmtest.Controller) }, 3*time.Second)
	p.run(trials(4) / 2)
}

func TestKillsOfTheControllerToo(t *testing.T) {
	p, c := slurmProof(t, slurmtest.Options{})
	// A controller that gives the id of a job that it has lost to another one drains the node, and then waits for its administrator.
	administrator := time.NewTicker(2 * time.Second)
	ended := make(chan struct{})
	t.Cleanup(func() { administrator.Stop(); close(ended) })
	go func() {
		for {
			select {
			case <-ended:
				return
			case <-administrator.C:
				_, _ = c.Run("scontrol", "update", "NodeName=n1", "State=RESUME") // it need not be drained
			}
		}
	}()
	p.during(func() error { return c.Kill(slurmtest.Controller) }, func() error { return errors.Join(c.Start(slurmtest.Controller), c.Ready()) }, 0)
	p.run(trials(4) / 2)
}

func TestKillsWhileAccountingIsDown(t *testing.T) {
	p, c := slurmProof(t, slurmtest.Options{Accounting: true, MinJobAge: 2})
	p.during(func() error { return c.Kill(slurmtest.Accounting) }, func() error { return c.Start(slurmtest.Accounting) }, 3*time.Second)
	p.run(trials(4) / 4)
}

func TestKillsWhileSlurmForgets(t *testing.T) {
	p, _ := slurmProof(t, slurmtest.Options{MinJobAge: 2})
	p.disturb = func(int) func() { return func() { time.Sleep(8 * time.Second) } }
	p.run(trials(4) / 4)
}

func TestKillsWhileJobsAreRequeued(t *testing.T) {
	if os.Getenv("POMONA_KILLS") == "" {
		t.Skip("SKIPPED: Slurm lets a job wait for two minutes that it has requeued; make soak runs it")
	}
	p, c := slurmProof(t, slurmtest.Options{})
	p.restart = true
	requeued := 0
	p.disturb = func(int) func() {
		return func() {
			for range 20 { // until they run
				jobs, err := c.Run("squeue", "--noheader", "--array", "--states=RUNNING", "--Format=JobID")
				if err != nil {
					t.Fatal(err)
				}
				for _, id := range strings.Fields(jobs) {
					_, err := c.Run("scontrol", "update", "jobid="+id, "Requeue=1")
					_, err2 := c.Run("scontrol", "requeue", id)
					_, _ = c.Run("scontrol", "update", "jobid="+id, "StartTime=now") // else in two minutes
					if err == nil && err2 == nil {                                   // else it has ended
						requeued++
					}
				}
				if len(jobs) > 0 {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
		}
	}
	p.run(max(3, trials(4)/2))
	if t.Logf("%d jobs were requeued", requeued); requeued == 0 {
		t.Error("no job was requeued")
	}
}

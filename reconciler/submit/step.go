package submit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Open is a launch that is not over, and its submissions in the order of tasks.
type Open struct {
	Launch      observed.Launch
	Submissions []observed.Submission
	Cancel      map[string]bool // keys of submissions that are to end
}

// mostCalls is how many launches one step hands in: others wait for the next one.
const mostCalls = 200

// Step does for every open launch what is missing, records it, and returns all of them as they are then. An error means that the
// batch system, the launch folder or the ledger could not be asked or told; the next step does again what is missing.
func (d *Desk) Step(ctx context.Context, open []Open) ([]Open, error) {
	if len(open) == 0 {
		return nil, nil
	}
	s := &step{Desk: d, open: slices.Clone(open), state: make([]progress, len(open))}
	defer s.unlock()
	for i := range s.open {
		s.open[i].Submissions = slices.Clone(open[i].Submissions)
	}
	err := s.run(ctx)
	if err != nil {
		err = fmt.Errorf("submit: %w", err)
	}
	return s.open, err
}

// step is one step.
type step struct {
	*Desk
	open  []Open
	state []progress // of each
}

// progress is what a step knows of one launch.
type progress struct {
	lock    *os.File
	jobs    []engine.Job
	certain bool
	marks   map[int]Mark
	begun   bool // some task was claimed, or has ended
	gone    bool // its folder is not to be seen
	changed bool
}

func (s *step) run(ctx context.Context) error {
	if err := s.lockUncalled(); err != nil {
		return err
	}
	s.readMarks()
	// After the marks: whoever had begun before and is not found now is gone.
	if err := s.look(ctx, s.all()); err != nil {
		return err
	}
	called, err := s.call(ctx)
	if err == nil && len(called) > 0 {
		err = s.look(ctx, called)
	}
	s.unlock()
	if err != nil {
		return err
	}
	if err := s.adopt(ctx); err != nil {
		return err
	}
	return errors.Join(s.settle(ctx), s.release(ctx))
}

func (s *step) all() (all []int) {
	for i := range s.open {
		all = append(all, i)
	}
	return all
}

// lockUncalled locks launches whose jobs nobody has seen, before it looks for them.
func (s *step) lockUncalled() error {
	n := 0
	for _, i := range s.fewestCallsFirst(s.all()) {
		if l := s.open[i].Launch; n == mostCalls || l.State != observed.LaunchIntent && (l.State != observed.LaunchCalled || s.pauses(l)) {
			continue
		}
		f, err := s.lock(s.open[i].Launch.Key)
		if err != nil {
			return err
		}
		if s.state[i].lock = f; f != nil {
			n++
		}
	}
	return nil
}

// fewestCallsFirst orders launches so that those that the batch system refuses hold up no others.
func (s *step) fewestCallsFirst(which []int) []int {
	slices.SortStableFunc(which, func(a, b int) int { return s.open[a].Launch.Calls - s.open[b].Launch.Calls })
	return which
}

func (s *step) unlock() {
	for i := range s.state {
		if f := s.state[i].lock; f != nil {
			f.Close() // nothing was written
			s.state[i].lock = nil
		}
	}
}

// recent is how long any batch system remembers all jobs for certain.
const recent = 4 * time.Minute

// look asks for the jobs of some launches. If that is not certain for the oldest of those without any, it may be for those that are
// recent: a second call.
func (s *step) look(ctx context.Context, which []int) error {
	if err := s.lookSince(ctx, which); err != nil {
		return err
	}
	var young []int
	for _, i := range which {
		if p := s.state[i]; len(p.jobs) == 0 && !p.certain && s.now().Sub(s.open[i].Launch.Intended) < recent {
			young = append(young, i)
		}
	}
	if len(young) == 0 || len(young) == len(which) {
		return nil
	}
	return s.lookSince(ctx, young)
}

func (s *step) lookSince(ctx context.Context, which []int) error {
	var keys []string
	since := s.now()
	for _, i := range which {
		keys = append(keys, s.open[i].Launch.Key)
		if at := s.open[i].Launch.Intended; at.Before(since) {
			since = at
		}
	}
	found, err := s.find(ctx, since.Add(-time.Minute), keys...)
	if err != nil {
		return err
	}
	jobs := map[string][]engine.Job{}
	for _, j := range found.Jobs {
		jobs[j.Key] = append(jobs[j.Key], j)
	}
	for _, i := range which {
		s.state[i].jobs, s.state[i].certain = jobs[s.open[i].Launch.Key], found.Certain
	}
	return nil
}

func (s *step) readMarks() {
	for i, o := range s.open {
		p := &s.state[i]
		if _, err := os.Stat(filepath.Join(s.Folder, o.Launch.Key, launchFile)); err != nil {
			p.gone = true
			continue
		}
		var tasks []int
		for _, sub := range o.Submissions {
			if !sub.State.Ended() {
				tasks = append(tasks, sub.Task)
			}
		}
		p.marks = s.marks(o.Launch.Key, tasks)
		p.begun = slices.ContainsFunc(o.Submissions, func(sub observed.Submission) bool { return sub.State.Ended() || !p.marks[sub.Task].none() })
	}
}

// call hands in what has no job, after recording that it will. What it does not come to is as it was.
func (s *step) call(ctx context.Context) (called []int, err error) {
	var due []int
	var record, before []observed.Launch
	for _, i := range s.fewestCallsFirst(s.all()) {
		if !s.due(i) {
			continue
		}
		l := &s.open[i].Launch
		before = append(before, *l)
		l.State, l.Calls, l.Called, l.Detail = observed.LaunchCalled, l.Calls+1, s.now(), ""
		due, record = append(due, i), append(record, *l)
	}
	if len(due) == 0 {
		return nil, nil
	}
	if err := s.Record(ctx, record, nil); err != nil {
		return nil, err
	}
	n := s.submitSome(ctx, due)
	for at, i := range due[n:] {
		s.open[i].Launch = before[n+at]
	}
	if n == len(due) {
		return due, nil
	}
	return due[:n], s.Record(ctx, before[n:], nil)
}

// slowCall is how long a call may take for others to follow in the same step: jobs that run are to be looked at too.
const slowCall = 10 * time.Second

// submitSome hands in launches, one at least, until one takes long or all of them do, and says how many.
func (s *step) submitSome(ctx context.Context, due []int) int {
	began := s.now()
	for n, i := range due {
		at := s.now()
		if err := s.submit(ctx, i); err != nil { // what came of it, a look will tell
			s.open[i].Launch.Detail, s.state[i].changed = err.Error(), true
		}
		if s.now().Sub(at) >= slowCall || s.now().Sub(began) >= s.callTime() || ctx.Err() != nil {
			return n + 1
		}
	}
	return len(due)
}

// due says whether a launch is to be handed in: nobody else does it, it has no job for certain, and not too soon again.
func (s *step) due(i int) bool {
	o, p := s.open[i], s.state[i]
	l := o.Launch
	if p.lock == nil || len(p.jobs) > 0 || p.begun || p.gone || o.unwanted() {
		return false
	}
	return l.State == observed.LaunchIntent || p.certain && !s.pauses(l)
}

// pauses says whether it is too soon to hand in a launch again.
func (s *step) pauses(l observed.Launch) bool { return s.now().Before(l.Called.Add(pause(l.Calls))) }

// pause is how long after so many calls the next one may be.
func pause(calls int) time.Duration { return min(time.Second<<min(calls, 10), 10*time.Minute) }

// unwanted says whether all of it is to end.
func (o Open) unwanted() bool {
	return !slices.ContainsFunc(o.Submissions, func(s observed.Submission) bool { return !s.State.Ended() && !o.Cancel[s.Key] })
}

func (s *step) submit(ctx context.Context, i int) error {
	key := s.open[i].Launch.Key
	n, err := s.note(key)
	if err != nil {
		return err
	}
	how := n.How
	if how.Script, err = s.Desk.call(key); err != nil {
		return err
	}
	how.Folder, how.Lock = filepath.Join(s.Folder, key), s.state[i].lock
	return s.calls(ctx, func(ctx context.Context) error { return s.Engine.Submit(ctx, how) }, 1)
}

// adopt chooses the job of each launch, records it, and then cancels others of the same key.
func (s *step) adopt(ctx context.Context) error {
	var record []observed.Launch
	var cancel []string
	for i := range s.open {
		l, p := &s.open[i].Launch, &s.state[i]
		was := *l
		chosen, others := choose(*l, p.jobs)
		cancel = append(cancel, others...)
		switch {
		case chosen != "" && (l.Job != chosen || l.State == observed.LaunchIntent || l.State == observed.LaunchCalled):
			l.State, l.Job, l.Detail, l.Submitted = observed.LaunchSubmitted, chosen, "", s.now()
		case chosen == "" && s.forgotten(i):
			l.State, l.Job = observed.LaunchCalled, ""
			l.Detail = "the batch system has lost job " + was.Job + " before it began"
		}
		if p.changed = p.changed || *l != was; p.changed {
			record = append(record, *l)
		}
	}
	if len(record) > 0 {
		if err := s.Record(ctx, record, nil); err != nil {
			return err
		}
	}
	return s.cancel(ctx, cancel)
}

// forgotten says whether the batch system has lost a job that it had, of which nothing has begun: it is handed in again.
func (s *step) forgotten(i int) bool {
	p, state := s.state[i], s.open[i].Launch.State
	return p.certain && !p.begun && !p.gone && (state == observed.LaunchSubmitted || state == observed.LaunchReleased)
}

func (s *step) cancel(ctx context.Context, ids []string) error {
	if err := s.calls(ctx, func(ctx context.Context) error { return s.Engine.Cancel(ctx, ids...) }, len(ids)); err != nil {
		return fmt.Errorf("cancel jobs: %w", err)
	}
	return nil
}

// release lets jobs run that are held, and are to run, and records it.
func (s *step) release(ctx context.Context) error {
	var held, record []int
	for i, o := range s.open {
		l := o.Launch
		if l.Job == "" || l.State == observed.LaunchOver || o.unwanted() {
			continue
		}
		if releasable(l, s.state[i].jobs) {
			held = append(held, i)
		} else if l.State == observed.LaunchSubmitted {
			s.open[i].Launch.State = observed.LaunchReleased // somebody has, or the record of it was lost
			record = append(record, i)
		}
	}
	err := s.letRun(ctx, held)
	for _, i := range held {
		if l := &s.open[i].Launch; err == nil || l.Detail != "" {
			l.State, l.Releases, l.Released = observed.LaunchReleased, l.Releases+1, s.now()
			record = append(record, i)
		}
	}
	var launches []observed.Launch
	for _, i := range record {
		launches = append(launches, s.open[i].Launch)
	}
	if len(launches) == 0 {
		return err
	}
	return errors.Join(err, s.Record(ctx, launches, nil))
}

// letRun releases jobs in one call; if that fails while the batch system answers, one by one, so that one does not stop the others. What
// is wrong with it is in its detail then.
func (s *step) letRun(ctx context.Context, held []int) error {
	var ids []string
	for _, i := range held {
		ids = append(ids, s.open[i].Launch.Job)
	}
	err := s.calls(ctx, func(ctx context.Context) error { return s.Engine.Release(ctx, ids...) }, len(ids))
	if err == nil || s.calls(ctx, s.Engine.Ping, 1) != nil {
		return err
	}
	for _, i := range held {
		l := &s.open[i].Launch
		if err := s.calls(ctx, func(ctx context.Context) error { return s.Engine.Release(ctx, l.Job) }, 1); err != nil {
			l.Detail = "release job " + l.Job + ": " + err.Error()
		}
	}
	return nil
}

// calls makes one call of the engine, unless it is about nothing.
func (s *step) calls(ctx context.Context, do func(context.Context) error, n int) error {
	if n == 0 {
		return nil
	}
	ctx, cancel := s.calling(ctx)
	defer cancel()
	return do(ctx)
}

// settle says what has become of submissions, cancels those that are to end, and records it.
func (s *step) settle(ctx context.Context) error {
	var launches []observed.Launch
	var submissions []observed.Submission
	var cancel []string
	for i := range s.open {
		o := &s.open[i]
		open := 0
		for n, sub := range o.Submissions {
			if sub.State.Ended() {
				continue
			}
			next, id := s.outcome(i, sub)
			if id != "" {
				cancel = append(cancel, id)
			}
			if next != sub {
				o.Submissions[n] = next
				submissions = append(submissions, next)
			}
			if !next.State.Ended() {
				open++
			}
		}
		if open == 0 {
			o.Launch.State = observed.LaunchOver
			launches = append(launches, o.Launch)
			cancel = append(cancel, s.alive(i)...)
		}
	}
	if len(launches)+len(submissions) > 0 {
		if err := s.Record(ctx, launches, submissions); err != nil {
			return err
		}
	}
	return s.cancel(ctx, cancel)
}

// outcome is what a submission has come to, and the job that is to be cancelled for it, if any. What cannot be taken back has not ended.
func (s *step) outcome(i int, sub observed.Submission) (next observed.Submission, cancel string) {
	o, p := s.open[i], s.state[i]
	e := evidence{launch: o.Launch, mark: p.marks[sub.Task], certain: p.certain, begun: p.begun, gone: p.gone, cancel: o.Cancel[sub.Key], now: s.now()}
	for _, j := range p.jobs {
		if j.Task == sub.Task {
			e.jobs = append(e.jobs, j)
		}
	}
	next = e.outcome(sub)
	if next.State.Ended() && e.mark.End == nil && !p.gone {
		back, err := s.takeBackWith(next, e)
		switch {
		case err == nil:
			next = back
		case e.mark.Err == nil || !e.settled():
			next = sub
			next.State, next.Detail = observed.SubmissionUnknown, err.Error()
		}
	}
	next = s.withOutputs(next)
	if job, ok := e.job(); ok && e.cancel && !next.State.Ended() && !job.State.Ended() {
		cancel = job.TaskID
	}
	return next, cancel
}

// alive are jobs of a launch that is over which could still run: others do its tasks by now, or nobody.
func (s *step) alive(i int) (ids []string) {
	for _, j := range s.state[i].jobs {
		if j.State == engine.Held || j.State == engine.Queued {
			ids = append(ids, j.TaskID)
		}
	}
	return ids
}

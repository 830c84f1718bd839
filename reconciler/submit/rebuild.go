package submit

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Rebuilt is what a launch folder says of a launch whose record was lost.
type Rebuilt struct {
	Open
	Slices []observed.Slice // of its submissions, in their order, with inputs; Round and Tries are those of the submission
	marks  []Mark           // likewise
}

// Rebuild reads all launch folders, for a ledger that was lost: until what it returns is recorded, nothing may be planned. Launches count
// as handed in, as nobody knows, so that the next step looks for their jobs; those whose tasks have all ended are over. Those that were
// only prepared are left out. A submission of several launches, as ledgers were lost before, is the one's that has come farthest, and is
// taken back in the others. A folder that cannot be read is an error, and the others are returned all the same.
func (d *Desk) Rebuild() (all []Rebuilt, errs []error) {
	entries, err := os.ReadDir(d.Folder)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, []error{fmt.Errorf("read launch folders: %w", err)}
	}
	for _, e := range entries {
		if !isKey(e.Name()) {
			continue
		}
		r, err := d.rebuild(e.Name())
		if err != nil {
			errs = append(errs, fmt.Errorf("read launch folder %s: %w", filepath.Join(d.Folder, e.Name()), err))
			continue
		}
		if r.Launch.Calls > 0 || slices.ContainsFunc(r.marks, func(m Mark) bool { return !m.none() }) {
			all = append(all, r)
		}
	}
	return all, append(errs, d.eachOnce(all)...)
}

// eachOnce leaves each submission in one launch, and takes it back in others. One that has none left stays, so that its jobs are cancelled.
func (d *Desk) eachOnce(all []Rebuilt) (errs []error) {
	best := map[string]*Rebuilt{} // by submission
	far := map[string]int{}
	for i := range all {
		for n, s := range all[i].Submissions {
			b := best[s.Key]
			if f := all[i].marks[n].far(); b == nil || f > far[s.Key] || f == far[s.Key] && all[i].Launch.Intended.After(b.Launch.Intended) {
				best[s.Key], far[s.Key] = &all[i], f
			}
		}
	}
	for i := range all {
		r := &all[i]
		kept := Rebuilt{Open: Open{Launch: r.Launch}}
		for n, s := range r.Submissions {
			if other := best[s.Key]; other != r {
				s.State, s.Detail = observed.SubmissionLost, "launch "+other.Launch.Key+" does it"
				_, err := d.TakeBack(s)
				errs = append(errs, err)
				continue
			}
			kept.Submissions, kept.Slices, kept.marks = append(kept.Submissions, s), append(kept.Slices, r.Slices[n]), append(kept.marks, r.marks[n])
		}
		*r = kept
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// far is how far a task has come, the more the better.
func (m Mark) far() int {
	switch {
	case m.none():
		return 1
	case m.Err != nil || m.End == nil:
		return 3 // somebody may be at it
	case m.End.TakenBack != "":
		return 0
	case m.End.Exit != 0:
		return 2
	}
	return 4
}

func (d *Desk) rebuild(key string) (Rebuilt, error) {
	n, err := d.note(key)
	if err != nil {
		return Rebuilt{}, err
	}
	r := Rebuilt{Open: Open{Launch: n.Launch, Submissions: n.Submissions}, Slices: n.Slices}
	calls, err := os.ReadDir(filepath.Join(d.Folder, key, callDir))
	if err != nil {
		return Rebuilt{}, err
	}
	r.Launch.State, r.Launch.Calls, r.Launch.Called = observed.LaunchCalled, len(calls), n.Intended
	var tasks []int
	for i, s := range r.Submissions {
		tasks = append(tasks, s.Task)
		if r.Slices[i].Inputs, err = d.Inputs(key, s.Task); err != nil {
			return Rebuilt{}, err
		}
		r.Submissions[i].Inputs = len(r.Slices[i].Inputs)
	}
	marks := d.marks(key, tasks)
	open := 0
	for i, s := range r.Submissions {
		m := marks[s.Task]
		r.marks = append(r.marks, m)
		if m.End != nil && m.Err == nil {
			r.Submissions[i] = d.withOutputs(evidence{mark: m}.outcome(s))
		} else {
			open++
		}
	}
	if open == 0 {
		r.Launch.State = observed.LaunchOver
	}
	return r, nil
}

// Sweep cancels held jobs that appeared after their launches were over, or under another id than the one that was chosen: of calls
// whose answer nobody has got. Over says which of some launches are over, and is asked once jobs were found. Others are left alone: those
// that Step sees to, and those that nobody knows, as they are another Pomona's or their record was lost. Over gives the run of each. It says
// which it has cancelled.
func (d *Desk) Sweep(ctx context.Context, since time.Time, over func(keys []string) (map[string]string, error)) (cancelled []string, err error) {
	found, err := d.find(ctx, since)
	if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	held := map[string][]string{} // tasks by key
	for _, j := range found.Jobs {
		if j.State == engine.Held && isKey(j.Key) {
			held[j.Key] = append(held[j.Key], j.TaskID)
		}
	}
	keys := slices.Sorted(maps.Keys(held))
	known, err := over(keys)
	if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	for _, key := range keys {
		if known[key] != "" {
			cancelled = append(cancelled, held[key]...)
		}
	}
	if len(cancelled) == 0 {
		return nil, nil
	}
	ctx, cancel := d.calling(ctx)
	defer cancel()
	if err := d.Engine.Cancel(ctx, cancelled...); err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	return cancelled, nil
}

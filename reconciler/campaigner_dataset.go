package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// readings are datasets that are being read: that may take minutes, and must keep no other campaign waiting.
type readings struct {
	mu      sync.Mutex
	ctx     context.Context
	running map[string]*reading // by what is read
	all     sync.WaitGroup
	// patience is how long somebody who decides may still wait for datasets this time: meanwhile nobody else decides about anything.
	patience time.Duration
}

// reading is one of them.
type reading struct {
	began  time.Time
	done   chan struct{}
	inputs []observed.Input
	err    error
	ended  time.Time
}

// begin has what is read from now on end with a context.
func (r *readings) begin(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx = ctx
}

// over says whether it ended so long ago.
func (r *reading) over(since time.Duration) bool {
	return !r.ended.IsZero() && time.Since(r.ended) > since
}

// errReading says that a dataset is still being read.
var errReading = errors.New("its dataset is being read")

const (
	patientRead = 500 * time.Millisecond // how long datasets are waited for each time that something is decided: most are read faster
	newRead     = 30 * time.Second       // for how long at most what was read is taken for what there is
	readApart   = 10 * time.Second       // how long one dataset is left alone at least, however much of it is wanted
)

// dataset is what files a dataset has now, or errReading. Nobody may change what it returns.
func (s *Campaigner) dataset(ctx context.Context, stage desired.Stage) ([]observed.Input, error) {
	inputs, _, err := s.datasetSince(ctx, stage, time.Time{})
	return inputs, err
}

// datasetSince is likewise, but not what was read before a time, and when reading it began.
func (s *Campaigner) datasetSince(ctx context.Context, stage desired.Stage, since time.Time) ([]observed.Input, time.Time, error) {
	in, project := *stage.Input, ""
	if split := stage.TheSplit(false); split.Type == desired.StagedSplit {
		project = split.Project
	}
	if len(in.Files) > 0 {
		inputs, err := s.Datasets.Read(ctx, in, project, s.Now())
		return inputs, time.Now(), err
	}
	what, err := json.Marshal(in)
	if err != nil {
		return nil, time.Time{}, err
	}
	r, began := s.reads.of(string(what)+project, s.AskAgain, since, func(ctx context.Context) ([]observed.Input, error) { return s.Datasets.Read(ctx, in, project, s.Now()) }, s.stir)
	if began {
		s.reads.await(ctx, r)
	}
	select {
	case <-r.done:
		return r.inputs, r.began, r.err
	case <-ctx.Done():
		return nil, r.began, ctx.Err()
	default:
		return nil, r.began, errReading
	}
}

// await waits for what has just begun, but not for long.
func (r *readings) await(ctx context.Context, one *reading) {
	select {
	case <-one.done:
	case <-ctx.Done():
	case <-time.After(r.patient(0)):
	}
	r.patient(-time.Since(one.began))
}

// patient changes how long somebody may still wait, and returns it: people ask while others decide.
func (r *readings) patient(by time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.patience = min(max(0, r.patience+by), patientRead)
	return r.patience
}

// of is what is read already, or has just been, unless that began before a time; else it begins now. What was read is new for half the time
// until it is asked again, and why it could not be read for an eighth, but never for long. What is wanted anew is left alone for a while, too.
func (r *readings) of(what string, again time.Duration, since time.Time, read func(context.Context) ([]observed.Input, error), ended func()) (_ *reading, began bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := min(again/2, newRead)
	for key, old := range r.running {
		if old.over(fresh) || old.err != nil && old.over(fresh/4) || key == what && old.over(min(fresh, readApart)) && old.began.Before(since) {
			delete(r.running, key)
		}
	}
	if have := r.running[what]; have != nil {
		return have, false
	}
	now := &reading{began: time.Now(), done: make(chan struct{})}
	r.running[what] = now
	ctx := r.ctx
	if ctx == nil {
		ctx = context.Background() // it does not run yet: what it reads ends by its own limits
	}
	r.all.Go(func() {
		inputs, err := read(ctx)
		r.mu.Lock()
		now.inputs, now.err, now.ended = inputs, err, time.Now()
		r.mu.Unlock()
		close(now.done)
		ended()
	})
	return now, true
}

// testName is what a test is called: the moment, as part of its slices' ids.
func testName(now time.Time) string { return now.UTC().Format("20060102t150405") }

package reconciler

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Observer is told how passes go, while they go. Its methods return at once.
type Observer interface {
	Stage(name string, elapsed time.Duration) // a stage of a pass has ended, well or not
	// The branch was looked at: head is the commit that it names. Of another host's repository it is the mirror's.
	Looked(head string, elapsed time.Duration, moved bool, err error)
	// The repository was read where it is: on another host by a fetch, beside passes; else by a look. One at a time.
	Fetched(elapsed time.Duration, moved bool, err error)
	Passed(Done) // a pass has ended, and was not interrupted
}

// idleObserver does nothing with what it is told. Observers embed it, and have only the methods that they mean.
type idleObserver struct{}

func (idleObserver) Stage(string, time.Duration)               {}
func (idleObserver) Looked(string, time.Duration, bool, error) {}
func (idleObserver) Fetched(time.Duration, bool, error)        {}
func (idleObserver) Passed(Done)                               {}

// Stages of a pass, as observers are told them.
var Stages = []string{"repair", "validate", "build", "plan", "render", "publish", "prune"}

// stage says that a stage begins; what it returns says that it has ended.
func (r *Reconciler) stage(name string) (ended func()) {
	r.Pulse.Beat()
	start := time.Now()
	return func() {
		r.Pulse.Beat()
		for _, o := range r.Observers {
			o.Stage(name, time.Since(start))
		}
	}
}

// stages observe how long the stages of one pass take, those of one name together.
type stages struct {
	idleObserver
	all []observed.Stage
}

// Stage implements Observer.
func (s *stages) Stage(name string, elapsed time.Duration) {
	i := slices.IndexFunc(s.all, func(x observed.Stage) bool { return x.Name == name })
	if i < 0 {
		i, s.all = len(s.all), append(s.all, observed.Stage{Name: name})
	}
	s.all[i].Took += elapsed
}

// Pulse tells a loop that works or rests from one that hangs. The zero value rests; nil is never asked.
type Pulse struct{ last atomic.Pointer[time.Time] }

// Beat says that work goes on.
func (p *Pulse) Beat() {
	if p != nil {
		now := time.Now()
		p.last.Store(&now)
	}
}

// Rest says that there is nothing to do until something comes.
func (p *Pulse) Rest() {
	if p != nil {
		p.last.Store(nil)
	}
}

// Silence is how long work has shown no sign of life; 0 while it rests.
func (p *Pulse) Silence() time.Duration {
	if last := p.last.Load(); last != nil {
		return time.Since(*last)
	}
	return 0
}

package reconciler

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Previews are the trees of open pull requests that a root serves below previews/, each until it is dropped, expires or
// makes room for newer ones. A FEC of the site refuses them: they are for another channel and signed by another key. They are
// built beside passes, which wait only for the last step. It is safe for concurrent use; one process at a time writes them.
type Previews struct {
	Root    string
	Key     tree.SecretKey // signs previews, and nothing else
	Most    int            // at once; none are served, nor kept, with 0
	MaxSize int64          // bytes that all of them take beside what is published
	Life    time.Duration  // from when a head was first seen
	Records *Records       // of the root; nil: nothing is recorded
	Log     *slog.Logger
	Now     func() time.Time
	Hook    durable.Hook // stands before every change of the root; nil applies them

	mu sync.Mutex
}

// NoPreview says why a pull request is given no preview. Trying again does not help until something changes.
type NoPreview struct{ Reason string }

// Error is the reason.
func (e *NoPreview) Error() string { return "no preview: " + e.Reason }

// Put serves what a merge would publish as the preview of a pull request, in place of an earlier one. The merge's Repo and
// Branch name the result of merging head; its Loader, Verdicts, Payloads, Version and Log are used, not its Keys. Nothing
// happens if that is served already. Its error is *NoPreview, desired.Problems, or as of a pass.
func (p *Previews) Put(ctx context.Context, merge *Reconciler, number int, head string) (observed.Preview, error) {
	return observed.Preview{}, errors.New("not done yet")
}

// Drop removes the preview of a pull request that is closed, and what only it needed. It is no error if there is none.
func (p *Previews) Drop(ctx context.Context, number int) error { return errors.New("not done yet") }

// Expire removes previews that have expired, or that are too many. It is called now and then, and when a service starts. Lost
// are the pull requests whose preview has gone although it should be there: it was damaged, and has to be put again.
func (p *Previews) Expire(ctx context.Context) (lost []int, err error) {
	return nil, errors.New("not done yet")
}

// List are the previews that are served, by number.
func (p *Previews) List() ([]observed.Preview, error) { return nil, errors.New("not done yet") }

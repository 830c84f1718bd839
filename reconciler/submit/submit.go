// Package submit hands launches to batch systems so that each submission has an effect at most once, and none is forgotten.
//
// A submission's key is the name of its job, for ever. What is to be handed in is recorded before; it is handed in held, and whether
// that went well is told by looking for the key, never by how the call ended. If there are several jobs of one key then one is chosen
// and the other held ones are cancelled; only then is it released. Every step looks again at all that is open, and does what is
// missing: so it may die, or the batch system may lose what it has done, at any moment.
//
// What no look can exclude, two jobs of one key that both run, is decided in the launch folder by the jobs themselves: a task is
// claimed once and ends once. Before anything is done again under another key, the task is taken back there.
package submit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Desk is where launches of one batch system are handed in.
type Desk struct {
	Engine   engine.Engine
	Folder   string        // of launch folders, absolute; jobs see it under the same path
	User     string        // as whom jobs run; empty: as this process
	Patience time.Duration // of one call; default 2 minutes
	// Record has the ledger hold how far launches and submissions are, durably, all of them or none. Nothing goes on before.
	Record func(context.Context, []observed.Launch, []observed.Submission) error
	Now    func() time.Time // default time.Now
	Hook   durable.Hook     // for changes of launch folders before their intent
}

func (d *Desk) now() time.Time {
	if d.Now == nil {
		return time.Now().UTC()
	}
	return d.Now()
}

// callTime is the most that one call may take.
func (d *Desk) callTime() time.Duration { return cmp.Or(d.Patience, 2*time.Minute) }

// calling is a context of one call.
func (d *Desk) calling(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.callTime())
}

// find asks for jobs. The context is that of one call of Pomona, which may take several of programs.
func (d *Desk) find(ctx context.Context, since time.Time, keys ...string) (engine.Found, error) {
	ctx, cancel := d.calling(ctx)
	defer cancel()
	found, err := d.Engine.Find(ctx, since, keys...)
	if err != nil {
		return engine.Found{}, fmt.Errorf("look for jobs: %w", err)
	}
	return found, nil
}

// lock makes this process the only one that hands in a launch, until the file is closed here and by every program that has inherited
// it. It does not wait: nil says that another has it.
func (d *Desk) lock(key string) (*os.File, error) {
	dir := filepath.Join(d.Folder, lockDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, key), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, os.NewSyscallError("flock", err)
	}
	return f, nil
}

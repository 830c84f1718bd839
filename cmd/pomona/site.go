package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// servedRoot is a root whose one service this process is.
type servedRoot struct {
	path   string
	root   *os.Root
	unlock func()
	watch  *watch                        // nil: nobody watches
	beside []func(context.Context) error // run beside passes, until the context ends
	does   map[string]answering          // for operators, beside what every service does

	campaigns *reconciler.Campaigner // nil: none are carried out
}

// answering does something for an operator.
type answering = func(context.Context, json.RawMessage) serve.Answer

// standBy waits until this process is the one service of a root. It is nil when the context ends before.
func standBy(ctx context.Context, path string, log *slog.Logger) (*servedRoot, error) {
	for told := false; ; told = true {
		s, err := takeRoot(path)
		if !errors.Is(err, durable.ErrLocked) {
			return s, err
		}
		if !told {
			log.Info("waiting: another pomona serves this root", "root", path)
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// takeRoot makes this process the one service of a root.
func takeRoot(path string) (*servedRoot, error) {
	if err := reconciler.MakeRoot(path); err != nil {
		return nil, fmt.Errorf("make root: %w", err)
	}
	dir, err := durable.Open(path, nil)
	if err != nil {
		return nil, fmt.Errorf("serve root: %w", err)
	}
	err = dir.Prepare()
	var unlock func()
	if err == nil {
		unlock, err = dir.ServiceLock()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve root %q: %w", path, err), dir.Close())
	}
	return &servedRoot{path: path, root: dir.Root(), unlock: unlock, does: map[string]answering{}}, nil
}

// takeUploads has whoever has a token of a file put blobs into the root's store.
func (s *servedRoot) takeUploads(tokens string, o *serve.Options) (*reconciler.Blobs, error) {
	if err := outside(s.path, tokens); err != nil {
		return nil, err
	}
	if err := serve.CheckTokens(tokens); err != nil {
		return nil, fmt.Errorf("read upload tokens: %w", err)
	}
	blobs, err := reconciler.OpenBlobs(s.path)
	if err != nil {
		return nil, err
	}
	o.Uploads.TokenFile, o.Uploads.Has = tokens, blobs.Has
	o.Uploads.Put = func(ctx context.Context, write func(io.Writer) error) error {
		_, _, err := blobs.Put(ctx, write)
		return err
	}
	return blobs, nil
}

func (s *servedRoot) close() {
	s.unlock()
	s.root.Close() // only read
}

// follow is a loop over a repository on this machine.
func follow(r *reconciler.Reconciler, poll time.Duration) func(context.Context) *reconciler.Loop {
	return func(ctx context.Context) *reconciler.Loop {
		hints, err := r.Repo.Watch(ctx, r.Branch)
		if err != nil {
			r.Log.Warn("only polling finds new commits", "every", poll, "because", err)
		}
		return reconciler.NewLoop(r, poll, hints)
	}
}

// run serves what is published while passes run, and whether or not they succeed: an unreachable repository or an invalid
// commit never takes the tree down.
func (s *servedRoot) run(ctx context.Context, newLoop func(context.Context) *reconciler.Loop, l net.Listener, o serve.Options) error {
	defer l.Close() // serve.Run has closed it, unless it never ran
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // also whatever watches the repository
	control, err := serve.ListenControl(s.root)
	if err != nil {
		return err
	}
	defer control.Close() // like l
	loop := newLoop(ctx)
	if loop.Records == nil {
		loop.Records = reconciler.NewRecords(s.path, loop.Log)
	}
	defer loop.Records.Close() // everything has been written
	defer s.takeReports(ctx, loop.Reconciler, &o)()
	checks := reconciler.NewFECChecks(loop.Reconciler)
	views := &reconciler.PilotViews{Reconciler: loop.Reconciler}
	o.Pilots = views.Pilots
	o.Check = func(fec string) (string, bool) { return checks.Of(ctx, fec) }
	g, ctx := errgroup.WithContext(ctx)
	var kept func()
	if w := s.watch; w != nil {
		kept = w.changes.Tell
		w.views.Store(views)
		w.loop.Store(loop)
		w.metrics.Queue("kicks", loop.Waiting)
		o.Served = w.metrics.Served
		if w.notifier != nil {
			g.Go(func() error { return w.notifier.Run(ctx) })
		}
	}
	g.Go(func() error {
		loop.Log.Info("serving tree", "root", s.path, "address", "http://"+l.Addr().String())
		return serve.Run(ctx, l, serve.Tree(s.root, o), o)
	})
	g.Go(func() error {
		all := does(loop, s.campaigns)
		maps.Copy(all, s.does)
		return serve.Run(ctx, control, serve.Control(all), o)
	})
	keeper := reconciler.NewPassKeeper(loop.Records, kept)
	loop.Observers = append(loop.Observers, keeper)
	g.Go(func() error { return keeper.Run(ctx) })
	g.Go(func() error { return loop.Run(ctx) })
	for _, do := range s.beside {
		g.Go(func() error { return do(ctx) })
	}
	return g.Wait()
}

// answer is what a pass did, as reconcile would show it.
func answer(done reconciler.Done) serve.Answer {
	var a serve.Answer
	var text bytes.Buffer
	report, err := json.Marshal(done.Report)
	a.Report = report
	switch problems := (desired.Problems)(nil); {
	case errors.As(done.Err, &problems):
		a.Code, a.Error = exitProblems, fmt.Sprintf("%v\npomona: %s", done.Err, tally(problems))
	case done.Err != nil:
		a.Code, a.Error = exitFailed, "pomona: "+done.Err.Error()
	case done.Unchanged:
		fmt.Fprintf(&text, "commit %s is published: nothing to do\n", done.Report.Commit[:min(12, len(done.Report.Commit))])
		for _, b := range done.Report.Plan.Blocked {
			fmt.Fprintf(&text, "  blocked  %s\n", b)
		}
	default:
		err = errors.Join(err, done.Report.Text(&text))
	}
	if err != nil {
		a.Code, a.Error = exitFailed, "pomona: "+err.Error()
	}
	a.Text = text.String()
	return a
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func serveCommand() *cobra.Command {
	var f passFlags
	var listen string
	var o serve.Options
	var poll time.Duration
	var tokens string
	cmd := &cobra.Command{
		Use:   "serve [DIR]",
		Short: "Publish what a repository says, whenever it changes, and serve it to FECs",
		Long: `Serve the tree below --root over HTTP until SIGTERM, and follow the branch of the repository at DIR: publish each commit,
repair the root, prune. While a pass cannot be made, what is published stays served.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if poll <= 0 {
				return fmt.Errorf("malformed --poll %s: want more than nothing", poll)
			}
			r, err := f.reconciler(cmd, args, true)
			if err != nil {
				return err
			}
			r.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			o.Log = r.Log
			s, err := newService(r)
			if err != nil {
				return err
			}
			defer s.close()
			if tokens != "" {
				blobs, err := s.takeUploads(tokens, &o)
				if err != nil {
					return err
				}
				defer blobs.Close() // every write reports its own error
			}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("listen on %q: %w", listen, err)
			}
			return s.run(cmd.Context(), l, o, poll)
		},
	}
	f.add(cmd, "branch")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "address to listen on")
	cmd.Flags().IntVar(&o.MaxConnections, "max-connections", 4096, "connections at once; more wait")
	cmd.Flags().DurationVar(&o.ShutdownTimeout, "shutdown-timeout", time.Minute, "how long running downloads may take after SIGTERM")
	cmd.Flags().StringVar(&tokens, "upload-tokens", "", "file with a token in each line: whoever has one may upload releases; without it nobody may")
	cmd.Flags().Int64Var(&o.Uploads.MaxSize, "max-upload", 4<<30, "bytes of the largest file that is taken")
	cmd.Flags().DurationVar(&poll, "poll", 30*time.Second, "how often to look for new commits, beside being told of them")
	return cmd
}

// service serves one root and keeps it at what the branch says.
type service struct {
	*reconciler.Reconciler
	root   *os.Root
	unlock func()
}

// newService makes this process the one service of the root.
func newService(r *reconciler.Reconciler) (*service, error) {
	if err := reconciler.MakeRoot(r.Root); err != nil {
		return nil, fmt.Errorf("make root: %w", err)
	}
	dir, err := durable.Open(r.Root, nil)
	if err != nil {
		return nil, fmt.Errorf("serve root: %w", err)
	}
	err = dir.Prepare()
	var unlock func()
	if err == nil {
		unlock, err = dir.ServiceLock()
	}
	if errors.Is(err, durable.ErrLocked) {
		err = errors.New("another pomona serves this root: stop that one, or have it make a pass with pomona kick")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve root %q: %w", r.Root, err), dir.Close())
	}
	return &service{r, dir.Root(), unlock}, nil
}

// takeUploads has whoever has a token of a file put blobs into the root's store.
func (s *service) takeUploads(tokens string, o *serve.Options) (*reconciler.Blobs, error) {
	if err := outside(s.Root, tokens); err != nil {
		return nil, err
	}
	if err := serve.CheckTokens(tokens); err != nil {
		return nil, fmt.Errorf("read upload tokens: %w", err)
	}
	blobs, err := reconciler.OpenBlobs(s.Root)
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

func (s *service) close() {
	s.unlock()
	s.root.Close() // only read
}

// run serves what is published while passes run, and whether or not they succeed: an unreachable repository or an invalid
// commit never takes the tree down.
func (s *service) run(ctx context.Context, l net.Listener, o serve.Options, poll time.Duration) error {
	defer l.Close() // serve.Run has closed it, unless it never ran
	control, err := serve.ListenControl(s.root)
	if err != nil {
		return err
	}
	defer control.Close() // like l
	hints, err := s.Repo.Watch(ctx, s.Branch)
	if err != nil {
		s.Log.Warn("only polling finds new commits", "every", poll, "because", err)
	}
	loop := reconciler.NewLoop(s.Reconciler, poll, hints)
	o.Reports = s.remember
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		s.Log.Info("serving tree", "root", s.Root, "address", "http://"+l.Addr().String())
		return serve.Run(ctx, l, serve.Tree(s.root, o), o)
	})
	g.Go(func() error {
		return serve.Run(ctx, control, serve.Control(func(ctx context.Context) serve.Answer { return answer(loop.Kick(ctx)) }), o)
	})
	g.Go(func() error { return loop.Run(ctx) })
	return g.Wait()
}

// remember keeps what a FEC says that it runs from being pruned. Only a FEC of the tree counts.
func (s *service) remember(r serve.Report) {
	if r.State != serve.Running && r.State != serve.Fallback && r.State != serve.Installed {
		return
	}
	if _, err := s.root.Stat("current/fecs/" + r.FEC); err != nil {
		return
	}
	if err := s.Reported(r.FEC, r.Serial); err != nil {
		s.Log.Warn("report not remembered", "fec", r.FEC, "err", err)
	}
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
		fmt.Fprintf(&text, "commit %s is published: nothing to do\n", done.Report.Commit[:12])
	default:
		err = errors.Join(err, done.Report.Text(&text))
	}
	if err != nil {
		a.Code, a.Error = exitFailed, "pomona: "+err.Error()
	}
	a.Text = text.String()
	return a
}

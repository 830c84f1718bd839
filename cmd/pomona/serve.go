package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func serveCommand() *cobra.Command {
	var f passFlags
	var listen string
	var o serve.Options
	cmd := &cobra.Command{
		Use:   "serve [DIR]",
		Short: "Publish what a repository says and serve it to FECs",
		Long: `Make one pass over the repository at DIR, then serve the tree below --root over HTTP until SIGTERM. If the pass cannot
be made, what is published stays served.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.reconciler(cmd, args, true)
			if err != nil {
				return err
			}
			r.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			o.Log = r.Log
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("listen on %q: %w", listen, err)
			}
			return passThenServe(cmd.Context(), r, l, o)
		},
	}
	f.add(cmd, "branch")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "address to listen on")
	cmd.Flags().IntVar(&o.MaxConnections, "max-connections", 4096, "connections at once; more wait")
	cmd.Flags().DurationVar(&o.ShutdownTimeout, "shutdown-timeout", time.Minute, "how long running downloads may take after SIGTERM")
	return cmd
}

// passThenServe serves what is published while a pass runs, and after it, whether or not the pass succeeds: an
// unreachable repository or an invalid commit never takes the tree down. Only a failed first pass, with nothing to serve,
// ends it.
func passThenServe(ctx context.Context, r *reconciler.Reconciler, l net.Listener, o serve.Options) error {
	defer l.Close() // serve.Run has closed it, unless it never ran
	if err := reconciler.MakeRoot(r.Root); err != nil {
		return fmt.Errorf("make root: %w", err)
	}
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return fmt.Errorf("serve root: %w", err)
	}
	defer root.Close() // only read
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		r.Log.Info("serving tree", "root", r.Root, "address", "http://"+l.Addr().String())
		return serve.Run(ctx, l, serve.Tree(root, o), o)
	})
	g.Go(func() error {
		_, err := r.Reconcile(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if _, none := root.Stat("current"); none != nil {
			return err
		}
		logFailure(r.Log, err)
		return nil
	})
	return g.Wait()
}

func logFailure(log *slog.Logger, err error) {
	var problems desired.Problems
	if !errors.As(err, &problems) {
		log.Error("pass not done", "err", err)
		return
	}
	for _, p := range problems {
		log.Error("found problem in site", "problem", p.String())
	}
}

package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func serveCommand() *cobra.Command {
	var f passFlags
	var logs logFlags
	var admin adminFlags
	var listen, config, pages string
	var check bool
	var o serve.Options
	var poll time.Duration
	var h holdFlags
	var tokens string
	cmd := &cobra.Command{
		Use:   "serve [DIR|URL]",
		Short: "Publish what a repository says, whenever it changes, and serve it to FECs",
		Long: `Serve the tree below --root over HTTP until SIGTERM, and follow the branch of the repository at DIR, or of another host's at
URL, https or ssh, which is mirrored below --root: publish each commit, repair the root, prune. While a pass cannot be made, what is published stays served. A second service of the same root waits
until the first one ends.
With --config everything is read from a file, for any number of sites: #Service of pomona schema says what may stand there.
When the file changes it is read again; with --check it is only read. Exit code 1: it has problems.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if config != "" {
				if err := onlyConfig(cmd, args); err != nil {
					return err
				}
				err := serveConfig(cmd.Context(), config, check, cmd.ErrOrStderr())
				if err == nil && check {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "valid: %s\n", config)
				}
				return err
			}
			if poll <= 0 {
				return fmt.Errorf("malformed --poll %s: want more than nothing", poll)
			}
			var err error
			if f.log, err = logs.logger(cmd.ErrOrStderr()); err != nil {
				return err
			}
			f.later = true
			r, err := f.reconciler(cmd, args, true)
			if err != nil {
				return err
			}
			if r.Freezes, r.Machines, err = h.read(); err != nil {
				return err
			}
			o.Log = r.Log
			watched, err := admin.listen(cmd, r.Log)
			if err != nil {
				return err
			}
			p, name := newProcess(r.Log, admin.patience), siteName(args)
			p.set(name, nil)
			return p.tend(cmd.Context(), watched, p.kick, func(ctx context.Context) error {
				s, err := standBy(ctx, r.Root, r.Log)
				if err != nil || s == nil {
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
				newLoop := follow(r, poll)
				if url := siteDir(args); elsewhere(url) {
					m, err := f.mirror(url)
					if err != nil {
						return err
					}
					defer m.Close() // what it holds is on the disk
					r.Repo = m.Repo()
					newLoop = followMirror(r, m, poll)
				}
				s.watch = newWatch(p, name, r, s.root, nil)
				if err := s.runCampaigns(name, desired.ServedSite{}, r); err != nil {
					return err
				}
				s.tellOfPilots(name, r, nil)
				if pages != "" {
					looked, err := p.listenPages(&desired.Pages{Listen: pages})
					if err != nil {
						return err
					}
					s.beside = append(s.beside, func(ctx context.Context) error { return p.showPages(ctx, looked, &desired.Pages{Listen: pages}) })
				}
				return s.run(ctx, newLoop, l, o)
			})
		},
	}
	f.add(cmd, "branch")
	logs.add(cmd)
	admin.add(cmd)
	h.add(cmd)
	cmd.Flags().StringVar(&config, "config", "", "file that says everything else")
	cmd.Flags().BoolVar(&check, "check", false, "only find what is wrong with --config")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "address to listen on")
	cmd.Flags().StringVar(&pages, "pages", "", "address of the pages for people, not for FECs; without it there are none")
	cmd.Flags().IntVar(&o.MaxConnections, "max-connections", 4096, "connections at once; more wait")
	cmd.Flags().DurationVar(&o.ShutdownTimeout, "shutdown-timeout", time.Minute, "how long running downloads may take after SIGTERM")
	cmd.Flags().StringVar(&tokens, "upload-tokens", "", "file with a token in each line: whoever has one may upload releases; without it nobody may")
	cmd.Flags().Int64Var(&o.Uploads.MaxSize, "max-upload", 4<<30, "bytes of the largest file that is taken")
	cmd.Flags().DurationVar(&poll, "poll", 30*time.Second, "how often to look for new commits, beside being told of them")
	return cmd
}

// onlyConfig refuses what --config would silently leave out.
func onlyConfig(cmd *cobra.Command, args []string) (err error) {
	if len(args) > 0 {
		return fmt.Errorf("%q and --config: the configuration names the repository", args[0])
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "check" && err == nil {
			err = fmt.Errorf("--%s and --config: the configuration says it", f.Name)
		}
	})
	return err
}

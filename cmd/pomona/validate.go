package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

func validateCommand() *cobra.Command {
	var rev, output, root string
	var offline, verbose bool
	var f payloadFlags
	cmd := &cobra.Command{
		Use:   "validate [DIR]",
		Short: "Find everything that is wrong with a site",
		Long: `Find everything that is wrong with the site in DIR, as its files are now or, with --rev, as a commit has them. Payloads
that lie outside the repository are fetched once and kept.
Exit code 0: valid. 1: there are problems. 2: could not run.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(announce.Formats, output) {
				return fmt.Errorf("unknown output format %q: want one of %s", output, strings.Join(announce.Formats, ", "))
			}
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelDebug
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			cache := cacheFolder(f.cache, "", false)
			var payloads *fetch.Fetcher
			if !offline {
				var err error
				if payloads, err = f.fetcher(cache, root); err != nil {
					return err
				}
			}
			site, problems, err := validate(cmd.Context(), siteDir(args), rev, root, cache, payloads, log)
			if err != nil {
				return err
			}
			if err := announce.Problems(cmd.OutOrStdout(), output, version(), problems); err != nil {
				return err
			}
			if len(problems.Blocking()) > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "pomona: %s\n", tally(problems))
				return exit(exitProblems)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "valid: site %s with %d FECs, %d software, %d configurations\n",
				site.Settings.Name, len(site.FECs), len(site.Software), len(site.Configuration))
			return nil
		},
	}
	cmd.Flags().StringVar(&rev, "rev", "", "commit, branch or tag; default: the files as they are now")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "say how much was evaluated and checked anew")
	cmd.Flags().BoolVar(&offline, "offline", false, "fetch nothing: payloads outside the repository are not checked")
	cmd.Flags().StringVar(&root, "root", "", "served directory whose blob store and objects are looked into, and whose ledger knows which names were used")
	f.add(cmd, ownCache)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "one of "+strings.Join(announce.Formats, ", "))
	return cmd
}

// validate remembers in folder cache what was evaluated and checked; without payloads nothing is fetched, and without a root nobody knows which names
// were used.
func validate(ctx context.Context, dir, rev, root, cache string, payloads *fetch.Fetcher, log *slog.Logger) (desired.Site, desired.Problems, error) {
	src, done, err := source(ctx, dir, rev)
	if problems := (desired.Problems)(nil); errors.As(reconciler.Malformed(err), &problems) {
		return desired.Site{}, problems, nil
	}
	if err != nil {
		return desired.Site{}, nil, err
	}
	defer done()
	loader, err := newLoader(cache, log)
	if err != nil {
		return desired.Site{}, nil, err
	}
	verdicts := build.NewVerdicts(cache, log)
	r := &reconciler.Reconciler{Root: root, Loader: loader, Records: reconciler.ReadRecords(root, log), Log: log, Now: time.Now}
	if root == "" {
		return reconciler.Validate(ctx, src, loader, verdicts, payloads, time.Now())
	}
	if r.Repo, err = repo.Open(dir); err != nil { // without one, there is nothing to compare with what is published
		return reconciler.Validate(ctx, src, loader, verdicts, payloads, time.Now())
	}
	return r.Validate(ctx, src, verdicts, payloads)
}

// source opens a folder as it is now, or a commit of its repository.
func source(ctx context.Context, dir, rev string) (artifact.Source, func(), error) {
	if rev == "" {
		w, err := repo.OpenWorkTree(dir)
		if err != nil {
			return nil, nil, err
		}
		return w, func() { w.Close() }, nil // only read
	}
	r, err := repo.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	c, err := r.Resolve(rev)
	if err != nil {
		return nil, nil, err
	}
	files, err := r.Files(ctx, c)
	return files, func() {}, err
}

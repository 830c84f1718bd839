package main

import (
	"context"
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
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

func validateCommand() *cobra.Command {
	var rev, output, cache string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "validate [DIR]",
		Short: "Find everything that is wrong with a site",
		Long: `Find everything that is wrong with the site in DIR, as its files are now or, with --rev, as a commit has them.
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
			site, problems, err := validate(cmd.Context(), siteDir(args), rev, cacheFolder(cache, "", false), log)
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
	addCache(cmd, &cache, ownCache)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "say how much was evaluated and checked anew")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "one of "+strings.Join(announce.Formats, ", "))
	return cmd
}

func validate(ctx context.Context, dir, rev, cache string, log *slog.Logger) (desired.Site, desired.Problems, error) {
	src, done, err := source(dir, rev)
	if err != nil {
		return desired.Site{}, nil, err
	}
	defer done()
	loader, err := newLoader(cache, log)
	if err != nil {
		return desired.Site{}, nil, err
	}
	return reconciler.Validate(ctx, src, loader, build.NewVerdicts(cache, log), time.Now())
}

// source opens a folder as it is now, or a commit of its repository.
func source(dir, rev string) (artifact.Source, func(), error) {
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
	files, err := r.Files(c)
	return files, func() {}, err
}

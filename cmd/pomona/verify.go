package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

func verifyCommand() *cobra.Command {
	var rev, root, url, output string
	var keyFiles []string
	var payloads payloadFlags
	cmd := &cobra.Command{
		Use:   "verify [DIR]",
		Short: "Check that what is served is what a commit says",
		Long: `Render a commit of the repository at DIR once more, on this machine and from nothing else, and compare it with what a root
or a URL serves for it: index, manifests, the content of every object, links, modes, and that nothing else is there. Of
--cache only fetched payloads are used.
Exit code 0: the same. 1: it differs; each path is named. 2: could not run.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if root == "" && url == "" {
				return fmt.Errorf("nothing to compare with: give --root or --url\nsee %s --help", cmd.CommandPath())
			}
			keys, err := readPublicKeys(keyFiles)
			if err != nil {
				return err
			}
			find, done, err := finder(root, url)
			if err != nil {
				return err
			}
			defer done()
			r, err := reading(cmd, siteDir(args), rev)
			if err != nil {
				return err
			}
			r.Payloads, err = payloads.fetcher(cacheFolder(payloads.cache, "", false), root)
			if err != nil {
				return err
			}
			v, err := r.Verify(cmd.Context(), find, keys)
			if problems := (desired.Problems)(nil); errors.As(err, &problems) {
				// Exit code 1 would say that something was compared.
				fmt.Fprintf(cmd.ErrOrStderr(), "%v\npomona: the commit cannot be rendered: %s\n", problems, tally(problems))
				return exit(exitFailed)
			}
			if err != nil {
				return err
			}
			if err := write(cmd.OutOrStdout(), output, v, v.Text); err != nil {
				return err
			}
			if !v.Same {
				return exit(exitProblems)
			}
			return nil
		},
	}
	payloads.add(cmd, ownCache)
	cmd.Flags().StringVar(&rev, "rev", "HEAD", "commit, branch or tag")
	cmd.Flags().StringVar(&root, "root", "", "served directory to compare with; with --url only its blob store and objects are looked into")
	cmd.Flags().StringVar(&url, "url", "", "address of a server to compare with, for instance http://pomona.example.org/")
	cmd.Flags().StringSliceVar(&keyFiles, "public-key", nil, "file of a public key; one of them must have signed everything")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// finder looks at a URL, or else in a root.
func finder(root, url string) (reconciler.Find, func(), error) {
	if url != "" {
		return func(ctx context.Context, commit string) (*observe.Served, error) {
			return observe.ServedByURL(ctx, url, commit)
		}, func() {}, nil
	}
	opened, err := os.OpenRoot(root)
	if err != nil {
		return nil, nil, fmt.Errorf("open root: %w", err)
	}
	return func(ctx context.Context, commit string) (*observe.Served, error) {
		return observe.ServedByRoot(ctx, opened, commit)
	}, func() { opened.Close() }, nil // only read
}

// reading is a reconciler that only reads: it has neither root nor keys, and believes nothing that others remember.
func reading(cmd *cobra.Command, dir, rev string) (*reconciler.Reconciler, error) {
	opened, err := repo.Open(dir)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	loader, err := newLoader("", log)
	return &reconciler.Reconciler{Repo: opened, Branch: rev, Loader: loader, Version: version(), Log: log, Now: time.Now}, err
}

func readPublicKeys(files []string) (keys []tree.PublicKey, err error) {
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read public key: %w", err)
		}
		k, err := tree.ParsePublicKey(b)
		if err != nil {
			return nil, fmt.Errorf("read public key %q: %w", file, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

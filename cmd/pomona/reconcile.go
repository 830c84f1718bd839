package main

import (
	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
)

func reconcileCommand() *cobra.Command {
	var f passFlags
	var output string
	var dryRun, digests bool
	cmd := &cobra.Command{
		Use:   "reconcile [DIR|URL]",
		Short: "Publish what a repository says, prune what nothing keeps, then exit",
		Long: `Make one pass: repair what is damaged below --root, publish what the branch of the repository at DIR says, or of another
host's at URL, https or ssh, which is mirrored below --root, prune what nothing keeps, exit.
Exit code 0: done. 1: the site has problems, nothing was changed. 2: could not run.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			r, err := f.reconciler(cmd, args, !dryRun)
			if err != nil {
				return err
			}
			defer r.Records.Close() // everything has been written
			f.hint(cmd, r.Repo)
			if dryRun {
				rep, err := r.Plan(cmd.Context())
				if err != nil {
					return err
				}
				return write(cmd.OutOrStdout(), output, rep.Plan, rep.Plan.Text)
			}
			depth := reconciler.Names
			if digests {
				depth = reconciler.Digests
			}
			rep, err := r.Pass(cmd.Context(), depth)
			reconciler.NewPassKeeper(r.Records, nil).Keep(cmd.Context(), reconciler.Done{Report: rep, Err: err})
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), output, rep, rep.Text)
		},
	}
	f.add(cmd, "branch")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&f.accept, "accept", "", "of a repository at URL: commit, all 40 digits, that counts although the branch was rewritten")
	cmd.Flags().BoolVar(&digests, "digests", false, "read every archive of the root too, to find damage")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be published and pruned")
	return cmd
}

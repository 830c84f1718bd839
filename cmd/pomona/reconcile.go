package main

import "github.com/spf13/cobra"

func reconcileCommand() *cobra.Command {
	var f passFlags
	var output string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "reconcile [DIR]",
		Short: "Publish what a repository says, prune what nothing keeps, then exit",
		Long: `Make one pass: publish what the branch of the repository at DIR says below --root, prune what nothing keeps, exit.
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
			if dryRun {
				rep, err := r.Plan(cmd.Context())
				if err != nil {
					return err
				}
				return write(cmd.OutOrStdout(), output, rep.Plan, rep.Plan.Text)
			}
			rep, err := r.Reconcile(cmd.Context())
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), output, rep, rep.Text)
		},
	}
	f.add(cmd, "branch")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be published and pruned")
	return cmd
}

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func kickCommand() *cobra.Command {
	var root, output string
	cmd := &cobra.Command{
		Use:   "kick",
		Short: "Have the service of a root make a pass now, and show what it did",
		Long: `Have the service of a root make a pass now, and show what it did. Whoever asks while one runs gets the next.
Exit code 0: done. 1: the site has problems, nothing was published. 2: not done.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if root == "" {
				return fmt.Errorf("no served directory: give --root\nsee %s --help", cmd.CommandPath())
			}
			dir, err := os.OpenRoot(root)
			if err != nil {
				return fmt.Errorf("open root: %w", err)
			}
			defer dir.Close() // only read
			a, err := serve.Ask(cmd.Context(), dir, "kick", nil)
			if err != nil {
				return err
			}
			return show(cmd, a, output)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// show prints what a service answered, and leaves with its exit code.
func show(cmd *cobra.Command, a serve.Answer, output string) error {
	if output == "json" {
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n", a.Report)
	} else {
		fmt.Fprint(cmd.OutOrStdout(), a.Text)
	}
	if a.Error != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s\n", a.Error)
	}
	if a.Code != exitDone {
		return exit(a.Code)
	}
	return nil
}

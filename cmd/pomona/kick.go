package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func kickCommand() *cobra.Command {
	var root, output string
	var want kicked
	cmd := &cobra.Command{
		Use:   "kick",
		Short: "Have the service of a root make a pass now, and show what it did",
		Long: `Have the service of a root make a pass now, and show what it did. Whoever asks while one runs gets the next.
With --accept, the commit of that id counts as it is: although it does not descend from the one that counted last, no check
of a pull request has seen it, it changes or removes records, it removes a pilot or a prerequisite that has not ended, or it
has one again whose name is used up. The branch must have it; signatures are asked for all the same.
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
			a, err := serve.Ask(cmd.Context(), dir, "kick", want)
			if err != nil {
				return err
			}
			return show(cmd, a, output)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&want.Accept, "accept", "", "commit, all 40 digits, that counts as it is, whatever it rewrites or removes")
	return cmd
}

// kicked is what comes with a kick.
type kicked struct {
	Accept string `json:"accept,omitempty"` // commit that counts although the branch was rewritten
}

// kick has a service make a pass.
func kick(ctx context.Context, loop *reconciler.Loop, b json.RawMessage) serve.Answer {
	var want kicked
	if err := json.Unmarshal(b, &want); err != nil {
		return refusal(err)
	}
	if want.Accept != "" {
		return answer(loop.Accept(ctx, want.Accept))
	}
	return answer(loop.Kick(ctx))
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

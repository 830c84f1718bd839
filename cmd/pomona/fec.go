package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func fecCommand() *cobra.Command {
	var root, output string
	cmd := &cobra.Command{
		Use:   "fec NAME [DIR]",
		Short: "Show what is wanted of a FEC, what is published for it, what it runs, and why these differ",
		Long: `Show of one FEC, by its name or its host's: what the branch wants of it, what is published for it, what it says that it runs and
since when, why these differ, which holds keep it as it is, and what it reported last. Without a service the root and its ledger
tell, and the repository at DIR, if it is given, what is wanted.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := askFEC(cmd, root, output, args)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), output, f, f.Text)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// fecQuery asks for one FEC.
type fecQuery struct {
	Name string `json:"name"`
}

// askFEC asks the service of a root or, if none runs, reads the root.
func askFEC(cmd *cobra.Command, root, output string, args []string) (f report.FEC, err error) {
	if err := checkOutput(output); err != nil {
		return f, err
	}
	return asked(cmd, root, "fec", fecQuery{args[0]}, args[1:], func(r *reconciler.Reconciler) (report.FEC, error) {
		return r.FEC(cmd.Context(), args[0])
	})
}

func fecOf(ctx context.Context, loop *reconciler.Loop, b json.RawMessage) serve.Answer {
	var q fecQuery
	if err := json.Unmarshal(b, &q); err != nil {
		return refusal(err)
	}
	f, err := loop.FEC(ctx, q.Name)
	if err != nil {
		return refusal(err)
	}
	return told(f, f.Text)
}

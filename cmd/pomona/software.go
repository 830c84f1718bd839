package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func softwareCommand() *cobra.Command {
	var root, output string
	cmd := &cobra.Command{
		Use:   "software [NAME] [DIR]",
		Short: "Show which versions of software FECs want, get and run, and what keeps each in the tree",
		Long: `Show of each version of all software how many FECs want it, get it and run it, when it was published first, and what becomes of it: what
keeps it in the tree or lets it go, and when the last generation that has it may go. Of one software, by its name, also its archives and
the FECs that want, get or run different versions. The service of --root tells; without one the root, its ledger and the repository at DIR, which
is needed then. A folder alone is written with a slash: ./site.`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			name, in := pilotArguments(args)
			q := softwareQuery{name}
			if name == "" {
				all, err := asked(cmd, root, "software", q, in, func(r *reconciler.Reconciler) (report.AllSoftware, error) { return r.AllSoftware(cmd.Context()) })
				if err != nil {
					return err
				}
				return write(cmd.OutOrStdout(), output, all, all.Text)
			}
			one, err := asked(cmd, root, "software", q, in, func(r *reconciler.Reconciler) (report.Software, error) { return r.Software(cmd.Context(), name) })
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), output, one, one.Text)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// softwareQuery asks for one software or, without a name, for all.
type softwareQuery struct {
	Name string `json:"name"`
}

func softwareOf(ctx context.Context, loop *reconciler.Loop, b json.RawMessage) serve.Answer {
	var q softwareQuery
	if err := json.Unmarshal(b, &q); err != nil {
		return refusal(err)
	}
	if q.Name == "" {
		all, err := loop.AllSoftware(ctx)
		if err != nil {
			return refusal(err)
		}
		return told(all, nil)
	}
	one, err := loop.Software(ctx, q.Name)
	if err != nil {
		return refusal(err)
	}
	return told(one, nil)
}

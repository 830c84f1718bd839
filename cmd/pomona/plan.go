package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func planCommand() *cobra.Command {
	var f passFlags
	var output string
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "plan [DIR]",
		Short: "Show what a pass would publish and prune, and why",
		Long: `Show what a pass over the repository at DIR would publish and prune, and why. Nothing is written.
With --exit-code: 0 nothing to do, 1 there are changes, 2 error.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			r, err := f.reconciler(cmd, args, false)
			if err != nil {
				return err
			}
			rep, err := r.Plan(cmd.Context())
			if problems := (desired.Problems)(nil); exitCode && errors.As(err, &problems) {
				fmt.Fprintf(cmd.ErrOrStderr(), "%v\npomona: %s\n", problems, tally(problems))
				return exit(exitFailed)
			}
			if err != nil {
				return err
			}
			if err := write(cmd.OutOrStdout(), output, rep.Plan, rep.Plan.Text); err != nil {
				return err
			}
			if exitCode && !rep.Plan.Empty() {
				return exit(exitProblems)
			}
			return nil
		},
	}
	f.add(cmd, "rev")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "tell by the exit code whether there are changes")
	return cmd
}

func checkOutput(output string) error {
	if output != "text" && output != "json" {
		return fmt.Errorf("unknown output format %q: want text or json", output)
	}
	return nil
}

// write shows a value as text or as JSON.
func write(w io.Writer, output string, v any, text func(io.Writer) error) error {
	if output == "text" {
		return text(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

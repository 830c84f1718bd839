package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

func planCommand() *cobra.Command {
	var f passFlags
	var output string
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "plan [DIR]",
		Short: "Show what a commit would change for each FEC, and why",
		Long: `Show what a commit of the repository at DIR would change, for each FEC, and why: against what --root serves, with what a
pass would prune and keep, or against another revision, --base, which needs no root: where there is one too, payloads of its
blob store are found. Of pilots it shows how far they get; with --base alone, as if records were by whom they name, and what
is so until that is proven. Nothing is written.
With --exit-code: 0 nothing to do, 1 there are changes, 2 error.`,
		Example: `  pomona plan site --root /srv/pomona
  pomona plan site --base origin/main -o markdown`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkPlan(f, output); err != nil {
				return fmt.Errorf("%w\nsee %s --help", err, cmd.CommandPath())
			}
			r, err := f.reconciler(cmd, args, false)
			if err != nil {
				return err
			}
			f.hint(cmd, r.Repo)
			rep, err := makePlan(cmd, r, f.base)
			if problems := (desired.Problems)(nil); errors.As(err, &problems) {
				fmt.Fprintf(cmd.ErrOrStderr(), "%v\npomona: %s\n", err, tally(problems)) // err says of which revision
				if exitCode {
					return exit(exitFailed)
				}
				return exit(exitProblems)
			}
			if err != nil {
				return err
			}
			for _, w := range rep.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), w)
			}
			if err := writePlan(cmd.OutOrStdout(), output, rep.Plan); err != nil {
				return err
			}
			if exitCode && !rep.Plan.Empty() {
				return exit(exitProblems)
			}
			return nil
		},
	}
	f.add(cmd, "rev")
	cmd.Flags().Lookup("root").Usage = "served directory to compare with; with --base only its blob store and objects are looked into"
	cmd.Flags().StringVar(&f.base, "base", "", "branch, tag or commit to compare with, in place of a root")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or markdown; markdown fits into a comment of a pull request")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "tell by the exit code whether there are changes")
	return cmd
}

func checkPlan(f passFlags, output string) error {
	switch {
	case f.root == "" && f.base == "":
		return errors.New("nothing to compare with: give --root, a served directory, or --base, another revision")
	case output != "markdown" && checkOutput(output) != nil:
		return fmt.Errorf("unknown output format %q: want text, json or markdown", output)
	}
	return nil
}

func makePlan(cmd *cobra.Command, r *reconciler.Reconciler, base string) (report.Report, error) {
	if base != "" {
		return r.Compare(cmd.Context(), base)
	}
	return r.Plan(cmd.Context())
}

func writePlan(w io.Writer, output string, p plan.Plan) error {
	if output == "markdown" {
		return p.Markdown(w, plan.MaxComment)
	}
	return write(w, output, p, p.Text)
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
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

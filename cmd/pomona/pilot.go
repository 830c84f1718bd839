package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func pilotCommand() *cobra.Command {
	var root, output, rev string
	cmd := &cobra.Command{
		Use:   "pilot [NAME] [DIR]",
		Short: "Show how far pilots are, why not further, and who must do what",
		Long: `Show of each pilot how far it is, since when, and who must do what to bring it further; of one, by its name, also its gates, waves, sites,
updates, problems, criteria, records that do not count, and what people were told. The service of --root tells. Without a service the root's
ledger and the repository at DIR do; without --root, the site at DIR alone, by default the current folder, as --rev has it: what FECs and
the information system say is not known then. A folder alone is written with a slash: ./site.

` + pilotVerbsText(),
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			name, in := pilotArguments(args)
			if len(in) == 1 && name != "" && !strings.ContainsRune(in[0], filepath.Separator) && !isFolder(in[0]) {
				return unknownPilotVerb(in[0])
			}
			all, err := seePilots(cmd, root, rev, in)
			if err != nil {
				return err
			}
			if name == "" {
				return write(cmd.OutOrStdout(), output, all, all.Text)
			}
			one, ok := all.Find(name)
			if !ok {
				var names []string
				for _, p := range all.Pilots {
					names = append(names, p.Name)
				}
				return noneCalled("pilot", name, names)
			}
			if all.Trouble != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "pomona: not known as it is now: %s\n", observed.Printable(all.Trouble))
			}
			return write(cmd.OutOrStdout(), output, one, one.Text)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory")
	cmd.Flags().StringVar(&rev, "rev", "HEAD", "revision of the site, without --root")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.AddCommand(pilotVerbs()...)
	return cmd
}

// pilotArguments tells a name, of a pilot or a software, from a folder.
func pilotArguments(args []string) (name string, in []string) {
	if len(args) > 0 && !strings.ContainsRune(args[0], filepath.Separator) && !strings.HasPrefix(args[0], ".") {
		return args[0], args[1:]
	}
	return "", args
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// seePilots asks the service of a root or, without one, works it out.
func seePilots(cmd *cobra.Command, root, rev string, in []string) (all report.Pilots, err error) {
	if root == "" {
		r, err := reader(cmd, "", []string{siteDir(in)})
		if err != nil {
			return all, err
		}
		r.Records = nil
		return r.SeePilotsOf(cmd.Context(), rev)
	}
	if cmd.Flags().Changed("rev") {
		return all, errors.New("--rev and --root: what is published counts")
	}
	return asked(cmd, root, "pilot", struct{}{}, in, func(r *reconciler.Reconciler) (report.Pilots, error) { return r.SeePilots(cmd.Context()) })
}

// aboutPilots answers an operator.
func aboutPilots(ctx context.Context, loop *reconciler.Loop, _ json.RawMessage) serve.Answer {
	all, err := loop.SeePilots(ctx)
	if err != nil {
		return refusal(err)
	}
	return told(all, all.Text)
}

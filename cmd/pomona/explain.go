package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func explainCommand() *cobra.Command {
	var rev, root, output string
	cmd := &cobra.Command{
		Use:   "explain PATH [DIR]",
		Short: "Say where something that is served comes from, and who changed it last",
		Long: `Say what PATH is, which values and files of the repository at DIR it comes from, and for each of these lines and files
which commit changed it last, and whose that is. PATH is a path of the tree (fecs/NAME/boot.manifest, software/N/V/FILE,
objects/sha256/…), the same below --root or as a URL, or a CUE path (fecs.kgp2cu02.software.bpm.version).
Without --rev the commit is the one that PATH names or --root serves, else HEAD. Renames are not followed: the commit
that moved a file counts.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if args[0] == "" {
				return fmt.Errorf("no path\nsee %s --help", cmd.CommandPath())
			}
			r, err := reading(cmd, siteDir(args[1:]), rev)
			if err != nil {
				return err
			}
			r.Root = root
			e, err := r.Explain(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), output, e, e.Text)
		},
	}
	cmd.Flags().StringVar(&rev, "rev", "", "commit, branch or tag; default: what PATH or --root says, else HEAD")
	cmd.Flags().StringVar(&root, "root", "", "served directory that PATH is of")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

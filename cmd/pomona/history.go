package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

func historyCommand() *cobra.Command {
	var root, output string
	var n int
	cmd := &cobra.Command{
		Use:   "history [fecs/NAME] [DIR]",
		Short: "Show what a served directory has published, newest first",
		Long: `Show the generations of --root that are there, newest first: when each was published, from which commit, and what it changed.
With a path of the tree (fecs/NAME, fecs/global, software/NAME, configuration/NAME), only those that changed it. If DIR, or the
working directory, is a repository that has the commits, their authors and subjects are shown. Write a folder of such a
name as ./fecs/NAME. Nothing is written; a service may publish meanwhile.`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if root == "" {
				return fmt.Errorf("no served directory: give --root\nsee %s --help", cmd.CommandPath())
			}
			path, dir, err := pathAndDir(args)
			if err != nil {
				return err
			}
			commits, err := repo.Open(siteDir(dir))
			if err != nil && len(dir) > 0 {
				return err
			}
			opened, err := os.OpenRoot(root)
			if err != nil {
				return fmt.Errorf("open root: %w", err)
			}
			defer opened.Close() // only read
			h, err := reconciler.History(opened, commits, path, n)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), output, h, h.Text)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	cmd.Flags().IntVarP(&n, "number", "n", 0, "at most so many generations; 0 for all")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// pathAndDir tells a path of the tree from a folder.
func pathAndDir(args []string) (path string, dir []string, err error) {
	for _, a := range args {
		top, name, _ := strings.Cut(strings.TrimSuffix(a, "/"), "/")
		isPath := (top == "fecs" || top == "software" || top == "configuration") && name != "" && !strings.Contains(name, "/")
		switch {
		case isPath && path == "":
			path = top + "/" + name
		case !isPath && dir == nil:
			dir = []string{a}
		default:
			return "", nil, errors.New("want at most one path of the tree and one folder")
		}
	}
	return path, dir, nil
}

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

func blobCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "blob", Short: "Put finished archives into the site's blob store", Args: cobra.NoArgs}
	cmd.AddCommand(blobAddCommand())
	return cmd
}

func blobAddCommand() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Put a finished archive into the blob store, and print what a payload says to get it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if root == "" {
				return fmt.Errorf("no served directory: give --root\nsee %s --help", cmd.CommandPath())
			}
			format, err := artifact.FormatOf(args[0])
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			d, _, err := reconciler.AddBlob(cmd.Context(), root, f)
			if err := errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("add blob: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "blob: sha256: %q\nformat: %q\n", d, string(format))
			return err
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	return cmd
}

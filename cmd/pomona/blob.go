package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

func blobCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "blob", Short: "Put finished archives and RPM packages into the site's blob store", Args: cobra.NoArgs}
	cmd.AddCommand(blobAddCommand())
	return cmd
}

func blobAddCommand() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Put a finished archive or an RPM package into the blob store, and print what the site says to get it",
		Long:  "Put a finished archive or an RPM package into the blob store of a served directory, which has to be there, and print what the site says to get it.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if root == "" {
				return fmt.Errorf("no served directory: give --root\nsee %s --help", cmd.CommandPath())
			}
			if err := reconciler.CheckRoot(root); err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			say, err := saysOf(f)
			if err != nil {
				return errors.Join(err, f.Close())
			}
			d, _, err := reconciler.AddBlob(cmd.Context(), root, f)
			if err := errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("add blob: %w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), say(d))
			return err
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	return cmd
}

// saysOf looks what a file is, and how the site names one with a digest.
func saysOf(f *os.File) (func(artifact.Digest) string, error) {
	name := filepath.Base(f.Name())
	switch {
	case strings.HasSuffix(name, ".rpm"):
		p, err := rpm.Read(f)
		if err != nil {
			return nil, fmt.Errorf("read package %q: %w", f.Name(), err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		return func(d artifact.Digest) string { return fmt.Sprintf("{file: %q, sha256: %q}", p.FileName(), d) }, nil
	case strings.HasSuffix(name, "primary.xml"), strings.HasSuffix(name, "primary.xml.gz"):
		return func(d artifact.Digest) string { return fmt.Sprintf("{sha256: %q}", d) }, nil
	}
	format, err := artifact.FormatOf(f.Name())
	if err != nil {
		return nil, err
	}
	return func(d artifact.Digest) string { return fmt.Sprintf("blob: sha256: %q\nformat: %q", d, string(format)) }, nil
}

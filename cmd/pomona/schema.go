package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/schema"
)

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [DIR]",
		Short: "Print the schema, or bring the copy in a site up to date",
		Long: `Print the schema's CUE files, or write them into the site at DIR, where stock cue vet and editors find them.
pomona validate always uses its own schema.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return vendorSchema(args[0])
			}
			return eachSchemaFile(func(name string, b []byte) error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "// %s\n%s\n", name, b)
				return err
			})
		},
	}
}

// vendorSchema replaces the copy of the schema in a site with the embedded one, and the root file that uses it. It is left out of cue.mod/module.cue's
// dependencies, so that cue does not look for it elsewhere.
func vendorSchema(site string) error {
	if _, err := os.Stat(filepath.Join(site, "cue.mod", "module.cue")); err != nil {
		return fmt.Errorf("write schema: %q is no site: %w", site, err)
	}
	importPath, _, _ := strings.Cut(schema.Path, "@")
	dir := filepath.Join(site, "cue.mod", "pkg", filepath.FromSlash(importPath))
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("write schema: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write schema: %w", err)
	}
	if err := eachSchemaFile(func(name string, b []byte) error {
		return writeNew(filepath.Join(dir, name), b, 0o644)
	}); err != nil {
		return fmt.Errorf("write schema: %w", err)
	}
	if err := os.WriteFile(filepath.Join(site, schema.Root), []byte(schema.RootFile), 0o644); err != nil {
		return fmt.Errorf("write schema: %w", err)
	}
	return nil
}

func eachSchemaFile(do func(name string, b []byte) error) error {
	names, err := fs.Glob(schema.FS, "*.cue")
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := schema.FS.Open(name)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		if err := do(path.Base(name), b); err != nil {
			return err
		}
	}
	return nil
}

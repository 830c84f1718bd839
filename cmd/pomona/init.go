package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/schema"
	sitetemplate "github.com/pomona-gitops/pomona/site-template"
)

func initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init DIR",
		Short: "Make a new site",
		Long:  `Make a new site in DIR, which must be empty or not exist: a git repository with one commit, to change as you need.`,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := initSite(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "made a site in %s, commit %s\nread %s, then try: pomona validate %s\n",
				args[0], c.ID[:12], filepath.Join(args[0], "README.md"), args[0])
			return nil
		},
	}
}

// initSite copies the template and the schema and commits them.
func initSite(dir string) (repo.Commit, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return repo.Commit{}, fmt.Errorf("make site: %w", err)
	}
	if there, err := os.ReadDir(dir); err != nil || len(there) > 0 {
		return repo.Commit{}, errors.Join(err, fmt.Errorf("make site: %q is not empty", dir))
	}
	now := time.Now()
	if err := copyTemplate(dir, now); err != nil {
		return repo.Commit{}, fmt.Errorf("make site: %w", err)
	}
	if err := vendorSchema(dir); err != nil {
		return repo.Commit{}, err
	}
	return repo.Create(dir, "New site\n\nMade by pomona init.\n", now)
}

func copyTemplate(dir string, now time.Time) error {
	return fs.WalkDir(sitetemplate.FS, ".", func(name string, e fs.DirEntry, err error) error {
		to := filepath.Join(dir, filepath.FromSlash(name))
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(to, 0o755)
		case path.Ext(name) == ".go", name == schema.Root:
			return nil // vendorSchema writes the root file
		}
		b, err := fs.ReadFile(sitetemplate.FS, name)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if sitetemplate.Executable(b) {
			mode = 0o755
		}
		return writeNew(to, sitetemplate.Today(b, now), mode)
	})
}

package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// ownCache names the default of --cache for commands that write no root.
const ownCache = "your own cache folder"

func addCache(cmd *cobra.Command, cache *string, otherwise string) {
	cmd.Flags().StringVar(cache, "cache", "", "folder that remembers what was evaluated, checked and fetched; default: "+otherwise)
}

// cacheFolder is what --cache names; without it a folder below the root if writes says that the root is this command's,
// else the user's own. It is empty where there is none.
func cacheFolder(given, root string, writes bool) string {
	if given != "" {
		return given
	}
	if writes {
		return filepath.Join(root, durable.Private, "cache")
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	_ = os.MkdirAll(dir, 0o700) // else nothing is remembered
	return filepath.Join(dir, "pomona")
}

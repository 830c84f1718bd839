package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// payloadFlags say how payloads are fetched that lie outside the site's repository.
type payloadFlags struct {
	cache, knownHosts string
	credentials       []string
}

func (f *payloadFlags) add(cmd *cobra.Command, cache string) {
	cmd.Flags().StringVar(&f.cache, "cache", "", "folder for payloads that are fetched; default: "+cache)
	cmd.Flags().StringSliceVar(&f.credentials, "credential", nil, "HOST=FILE: what this host alone is told; the file holds USER:PASSWORD, a token or a private key for ssh")
	cmd.Flags().StringVar(&f.knownHosts, "known-hosts", "", "file with the keys of hosts that git reaches by ssh")
}

// ownCache names the default of --cache for commands that write no root.
const ownCache = "your own cache folder"

// fetcher reads the credentials. Root may be empty; the cache lies below it if writes says that it is this command's.
func (f *payloadFlags) fetcher(root string, writes bool) (*fetch.Fetcher, error) {
	credentials, err := readCredentials(root, f.credentials)
	if err != nil {
		return nil, err
	}
	return fetch.New(fetch.Options{
		Cache: f.cacheFolder(root, writes), Root: root, KnownHosts: f.knownHosts,
		Remote: remote.New(remote.Options{Credentials: credentials}),
	}), nil
}

// cacheFolder is empty where there is none; only a payload that must be fetched then fails.
func (f *payloadFlags) cacheFolder(root string, writes bool) string {
	if f.cache != "" {
		return f.cache
	}
	if writes {
		return filepath.Join(root, durable.Private, "cache")
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "pomona")
}

func readCredentials(root string, flags []string) (remote.Credentials, error) {
	all := remote.Credentials{}
	for _, flag := range flags {
		name, file, ok := strings.Cut(flag, "=")
		if !ok || file == "" {
			return nil, fmt.Errorf("malformed credential %q: want HOST=FILE", name)
		}
		host, err := remote.ParseHost(name)
		if err != nil {
			return nil, err
		}
		if root != "" {
			if err := outside(root, file); err != nil {
				return nil, err
			}
		}
		b, err := readSecret(file)
		if err != nil {
			return nil, fmt.Errorf("read credential of %s: %w", host, err)
		}
		if all[host], err = remote.ParseCredential(b); err != nil {
			return nil, fmt.Errorf("read credential of %s: %w", host, err)
		}
	}
	return all, nil
}

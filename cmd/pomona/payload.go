package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// payloadFlags say how payloads are fetched that lie outside the site's repository.
type payloadFlags struct {
	cache, knownHosts string
	credentials       []string
}

// add names what --cache is without a value given.
func (f *payloadFlags) add(cmd *cobra.Command, otherwise string) {
	addCache(cmd, &f.cache, otherwise)
	cmd.Flags().StringSliceVar(&f.credentials, "credential", nil, "HOST=FILE: what this host alone is told; the file holds USER:PASSWORD, a token or a private key for ssh")
	cmd.Flags().StringVar(&f.knownHosts, "known-hosts", "", "file with the keys of hosts that git reaches by ssh")
}

// fetcher reads the credentials. Root may be empty; cache too, and only a payload that must be fetched then fails.
func (f *payloadFlags) fetcher(cache, root string) (*fetch.Fetcher, error) {
	client, err := f.client(root)
	if err != nil {
		return nil, err
	}
	return fetch.New(fetch.Options{Cache: cache, Root: root, KnownHosts: f.knownHosts, Remote: client}), nil
}

// client reaches other hosts, each with its own credential.
func (f *payloadFlags) client(root string) (*remote.Client, error) {
	credentials, err := readCredentials(root, f.credentials)
	if err != nil {
		return nil, err
	}
	return remote.New(remote.Options{Credentials: credentials}), nil
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
		if all[host], err = remote.CredentialFile(file, conceal); err != nil {
			return nil, fmt.Errorf("read credential of %s: %w", host, err)
		}
	}
	return all, nil
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// askFlags are what commands need that ask the service of a root, or give it orders.
type askFlags struct{ root, output, by, reason string }

func (f *askFlags) add(cmd *cobra.Command, gives bool) *cobra.Command {
	cmd.Flags().StringVar(&f.root, "root", "", "served directory (required)")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	if gives {
		cmd.Flags().StringVar(&f.by, "by", "", "who you are; default: your login")
		cmd.Flags().StringVar(&f.reason, "reason", "", "why")
	}
	return cmd
}

// person is who gives the order.
func (f *askFlags) person() string {
	if f.by == "" {
		return login()
	}
	return f.by
}

// asked is what the service of a root answers to a query or, without a service, what is read there; in is a site's folder, if one was given.
func asked[T any](cmd *cobra.Command, root, what string, query any, in []string, read func(*reconciler.Reconciler) (T, error)) (out T, err error) {
	if err := isRepository(in); err != nil {
		return out, err
	}
	a, err := ask(cmd, root, what, query)
	switch {
	case errors.Is(err, serve.ErrNoService):
		r, err := reader(cmd, root, in)
		if err != nil {
			return out, err
		}
		return read(r)
	case err != nil:
		return out, err
	case a.Error != "":
		return out, errors.New(strings.TrimPrefix(a.Error, "pomona: "))
	}
	if err := json.Unmarshal(a.Report, &out); err != nil {
		return out, fmt.Errorf("read answer: %w", err)
	}
	return out, nil
}

// isRepository says why the folder of a site that was given is none; a service, which has its own, would not miss it.
func isRepository(in []string) error {
	if len(in) == 0 || in[0] == "." {
		return nil
	}
	_, err := repo.Open(in[0])
	return err
}

// ask asks the service of a root.
func ask(cmd *cobra.Command, root, what string, request any) (serve.Answer, error) {
	if root == "" {
		return serve.Answer{}, fmt.Errorf("no served directory: give --root\nsee %s --help", cmd.CommandPath())
	}
	dir, err := os.OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return serve.Answer{}, fmt.Errorf("open root: served directory %q is not there: correct --root", root)
	}
	if err != nil {
		return serve.Answer{}, fmt.Errorf("open root: %w", err)
	}
	defer dir.Close() // only read
	if _, err := dir.Lstat(durable.Private); errors.Is(err, fs.ErrNotExist) {
		return serve.Answer{}, fmt.Errorf("open root: %q is no served directory: correct --root", root)
	}
	return serve.Ask(cmd.Context(), dir, what, request)
}

// login is who uses this terminal, also behind sudo.
func login() string {
	for _, name := range []string{"SUDO_USER", "LOGNAME", "USER"} {
		if who := os.Getenv(name); who != "" {
			return who
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

package main

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// More exit codes of release, which yocto-fesa3 and build systems rely on.
const (
	exitUnavailable = 3 // a host is: try again later
	exitTaken       = 4 // the version is there with other content
)

//go:embed fragments
var fragments embed.FS

// printed are the files that --print prints, by name.
var printed = map[string]string{"make": "pomona.mk", "cmake": "Pomona.cmake", "yocto-fesa3": "yocto-fesa3"}

// releaseFlags say what is released, and where to.
type releaseFlags struct {
	release               reconciler.Release
	site, branch          string
	to, root              string
	clear, pull           bool
	format, output, print string
	payloads              payloadFlags
	change                changeFlags
}

func releaseCommand() *cobra.Command {
	var f releaseFlags
	cmd := &cobra.Command{
		Use:   "release NAME VERSION FOLDER",
		Short: "Put what a build has left into a site as a new version",
		Long: `Pack FOLDER, bring the archive and its bill of materials to the blob store, and commit the version to the site's CUE files,
whose comments and formatting stay. With --pin and --pin-group FECs move to it in the same commit. The site is validated
before; if it would not be valid, nothing is committed.

Exit code 0: released, or released before with the same content. 1: something must be changed in the site or the folder.
2: could not run. 3: a host is unavailable; another try may succeed. 4: the version is there with other content.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.print != "" {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(3)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.print != "" {
				return printFragment(cmd.OutOrStdout(), f.print)
			}
			return f.run(cmd, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.site, "site", ".", "the site's repository: a folder on this machine, or an https or ssh address")
	flags.StringVar(&f.branch, "branch", "", "branch that gets the commit; default: the one that is checked out, or that HEAD names at an address")
	flags.StringVar(&f.to, "to", "", "address of the service whose blob store gets the archive; --credential has its token")
	flags.BoolVar(&f.clear, "allow-http", false, "let --to be plain http also to another machine: whoever reads along then has the token")
	flags.StringVar(&f.root, "root", "", "served directory on this machine whose blob store gets the archive")
	flags.StringVar(&f.release.Platform, "platform", "", "payload that this is, where a software has one for each platform")
	flags.StringVar(&f.release.Install, "install", "", "where it is unpacked; default: like the version before")
	flags.StringVar(&f.format, "format", string(artifact.Gzip), "compression: gzip, xz or zstd")
	flags.StringVar(&f.release.Notes, "notes", "", "what is new, in a sentence")
	flags.BoolVar(&f.release.Dev, "dev", false, "a development release; the version dev may be given other content each time")
	flags.StringSliceVar(&f.release.Pin, "pin", nil, "FECs that move to this version")
	flags.StringSliceVar(&f.release.PinGroups, "pin-group", nil, "groups whose FECs move to this version, if they have the software and are not on dev")
	flags.BoolVar(&f.pull, "pull-request", false, "push a branch of its own, and open a pull request")
	flags.StringVar(&f.change.kind, "forge", "", "forge of the pull request: github or gitea; default: github for github.com")
	flags.StringVar(&f.change.api, "forge-api", "", "address of the forge's API; default: that of the site's host")
	flags.StringVar(&f.change.token, "forge-token", "", "file of the forge's token; default: what --credential has for the forge's host")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.StringVar(&f.print, "print", "", "print a file for build systems, and do nothing else: make, cmake or yocto-fesa3")
	f.payloads.add(cmd, ownCache)
	return cmd
}

func printFragment(w io.Writer, name string) error {
	file, ok := printed[name]
	if !ok {
		return fmt.Errorf("nothing to print for %q: want make, cmake or yocto-fesa3", name)
	}
	b, err := fragments.ReadFile("fragments/" + file)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

func (f *releaseFlags) run(cmd *cobra.Command, args []string) error {
	r, err := f.releaser(cmd)
	if err != nil {
		return err
	}
	f.release.Name, f.release.Version, f.release.Folder = args[0], args[1], args[2]
	f.release.Format = artifact.Format(f.format)
	done, err := r.Release(cmd.Context(), f.release)
	if err != nil {
		return releaseFailed(cmd.ErrOrStderr(), err)
	}
	for _, w := range done.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), w)
	}
	if f.output == "json" {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(done)
	}
	return showReleased(cmd.OutOrStdout(), done)
}

// releaseFailed says what went wrong and gives it the exit code that build systems know.
func releaseFailed(w io.Writer, err error) error {
	var unavailable *remote.Unavailable
	var limited *forge.Limited
	var taken *reconciler.TakenError
	code := 0
	switch {
	case errors.As(err, &unavailable), errors.As(err, &limited), errors.Is(err, repo.ErrMoved):
		code = exitUnavailable
	case errors.As(err, &taken):
		code = exitTaken
	default:
		return err
	}
	fmt.Fprintf(w, "pomona: %v\n", err)
	return exit(code)
}

func (f *releaseFlags) releaser(cmd *cobra.Command) (*reconciler.Releaser, error) {
	formats := []string{string(artifact.Gzip), string(artifact.Xz), string(artifact.Zstd)}
	switch {
	case (f.to == "") == (f.root == ""):
		return nil, fmt.Errorf("no blob store: give either --to or --root\nsee %s --help", cmd.CommandPath())
	case !slices.Contains(formats, f.format):
		return nil, fmt.Errorf("unknown format %q: want gzip, xz or zstd", f.format)
	case f.output != "text" && f.output != "json":
		return nil, fmt.Errorf("unknown output format %q: want text or json", f.output)
	}
	author, cache, err := authorFlags{f.site, f.branch, f.to, f.root, f.clear, f.pull, &f.payloads, &f.change}.author(cmd)
	if err != nil {
		return nil, err
	}
	payloads, err := f.payloads.fetcher(cache, f.root)
	return &reconciler.Releaser{Payloads: payloads, Author: author}, err
}

func showReleased(w io.Writer, r reconciler.Released) error {
	if r.Unchanged {
		_, err := fmt.Fprintf(w, "%s %s is released with this content: nothing to do\n", r.Name, r.Version)
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "released %s %s for %s: %d bytes, sha256 %s\n", r.Name, r.Version, r.Platform, r.Size, r.Digest)
	if len(r.Moved) > 0 {
		fmt.Fprintf(&b, "moved to it: %s\n", desired.Few(r.Moved))
	}
	if len(r.OnDev) > 0 {
		fmt.Fprintf(&b, "left on dev: %s\n", desired.Few(r.OnDev))
	}
	for _, file := range r.Files {
		fmt.Fprintf(&b, "edited %s\n", file)
	}
	if r.Commit == "" {
		fmt.Fprintf(&b, "branch %s had been pushed before\n", r.Branch)
	} else {
		fmt.Fprintf(&b, "commit %.12s on branch %s\n", r.Commit, r.Branch)
	}
	if r.Change != "" {
		fmt.Fprintln(&b, r.Change)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

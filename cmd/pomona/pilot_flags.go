package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// pilotFlags say who says something of a pilot, and where it is written. Words has what verbs are given by flags of their own.
type pilotFlags struct {
	site, branch, by, at, sign string
	to, root                   string
	clear, pull, dry           bool
	output, update             string
	payloads                   payloadFlags
	change                     changeFlags
	words                      pilotWordFlags
	set                        *pflag.FlagSet
}

const unsigned = "none"

func (f *pilotFlags) add(cmd *cobra.Command, v pilotVerb) {
	flags := cmd.Flags()
	f.set = flags
	if v.flags != nil {
		v.flags(f)
	}
	flags.StringVar(&f.site, "site", ".", "the site's repository: a folder on this machine, or an https or ssh address")
	flags.StringVar(&f.branch, "branch", "", "branch that gets the commit; default: the one that is checked out, or that HEAD names at an address")
	flags.StringVar(&f.by, "by", "", "who says it; default: git's user.email")
	flags.StringVar(&f.at, "at", "", "when it was, as 2026-10-01T08:30:00Z; default: now")
	flags.StringVar(&f.sign, "sign", "", "file of the ssh key that signs the commit, or none; default: as git is configured to")
	flags.BoolVar(&f.dry, "dry-run", false, "only print what would be written")
	flags.BoolVar(&f.pull, "pull-request", false, "push a branch of its own, and open a pull request")
	flags.StringVar(&f.change.kind, "forge", "", "forge of the pull request: github or gitea; default: github for github.com")
	flags.StringVar(&f.change.api, "forge-api", "", "address of the forge's API; default: that of the site's host")
	flags.StringVar(&f.change.token, "forge-token", "", "file of the forge's token; default: what --credential has for the forge's host")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	if v.ofUpdate {
		flags.StringVar(&f.update, "update", "", "update that it is about; default: the first release")
	}
	if v.withPackages {
		flags.StringVar(&f.to, "to", "", "address of the service whose blob store gets the packages; --credential has its token")
		flags.BoolVar(&f.clear, "allow-http", false, "let --to be plain http also to another machine: whoever reads along then has the token")
		flags.StringVar(&f.root, "root", "", "served directory on this machine whose blob store gets the packages")
	}
	f.payloads.add(cmd, ownCache)
}

// say writes a word and shows what became of it.
func (f *pilotFlags) say(cmd *cobra.Command, pilot string, word reconciler.PilotWord) error {
	if err := checkOutput(f.output); err != nil {
		return err
	}
	a, err := f.author(cmd)
	if err != nil {
		return err
	}
	said, err := a.Say(cmd.Context(), pilot, word)
	if err != nil {
		return releaseFailed(cmd.ErrOrStderr(), err)
	}
	for _, w := range said.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), w)
	}
	for _, d := range said.Doubts {
		fmt.Fprintf(cmd.ErrOrStderr(), "pomona: %s\n", d)
	}
	if f.output == "json" {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(said)
	}
	return showPilotSaid(cmd.OutOrStdout(), said, f.dry)
}

func (f *pilotFlags) author(cmd *cobra.Command) (*reconciler.PilotAuthor, error) {
	var at time.Time
	if f.at != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, f.at); err != nil {
			return nil, fmt.Errorf("malformed time %q: want 2026-10-01T08:30:00Z", f.at)
		}
	}
	client, err := f.payloads.client(f.root)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	cache := cacheFolder(f.payloads.cache, "", false)
	loader, err := newLoader(cache, log)
	if err != nil {
		return nil, err
	}
	payloads, err := f.payloads.fetcher(cache, f.root)
	if err != nil {
		return nil, err
	}
	a := &reconciler.PilotAuthor{At: at, Dry: f.dry, Packages: build.NewPackages(cache, log), Payloads: payloads, Author: reconciler.Author{
		Site: f.site, Branch: f.branch, Remote: repo.Remote{URL: f.site, Client: client, KnownHosts: f.payloads.knownHosts, OneHost: true},
		Loader: loader, Verdicts: build.NewVerdicts(cache, log), Log: log, Now: time.Now,
		Put: func(ctx context.Context, b remote.Blob) error { return client.Upload(ctx, f.to, b, f.clear) },
	}}
	if f.root != "" {
		a.Put = reconciler.PutInto(f.root)
	}
	if f.pull {
		if a.OpenChange, err = f.change.openChange(f.site, client); err != nil {
			return nil, err
		}
	}
	return a, f.person(cmd.Context(), a)
}

// person finds out who says it, and how they sign.
func (f *pilotFlags) person(ctx context.Context, a *reconciler.PilotAuthor) (err error) {
	dir := f.site
	if repo.IsAddress(f.site) {
		dir = ""
	}
	p := repo.Configured(ctx, dir)
	a.By = cmp.Or(f.by, p.Email)
	switch {
	case f.sign == unsigned:
	case f.sign != "":
		a.Sign, err = repo.SignSSH(ctx, f.sign, p.SSHProgram)
	case p.Key != "" || p.Sign:
		a.Sign, err = p.Signer(ctx)
	}
	switch {
	case err != nil:
	case a.Sign == nil && f.pull:
		a.Doubt = fmt.Sprintf("the commit is not signed: it counts once the forge says that %s has approved the pull request", a.By)
	case a.Sign == nil:
		a.Doubt = "the commit is not signed, and no forge says who approved it: it will not count; sign it with --sign KEY, or give --pull-request"
	case f.by != "" && p.Email != "" && !desired.SamePerson(f.by, p.Email):
		a.Doubt = fmt.Sprintf("it counts only if the service knows the key that signs it as %s's", f.by)
	}
	return err
}

// showPilotSaid says what was written, and what happens next.
func showPilotSaid(w io.Writer, s reconciler.PilotSaid, dry bool) error {
	var b strings.Builder
	switch {
	case dry:
		b.WriteString(s.Text)
	case len(s.Files) == 0:
		fmt.Fprintf(&b, "the site says that already: nothing to do\n")
	default:
		if s.Record != "" {
			fmt.Fprintf(&b, "record %s of pilot %s\n", s.Record, s.Pilot)
		}
		if s.Subject != "" {
			fmt.Fprintf(&b, "about %s\n", s.Subject)
		}
		for _, file := range s.Files {
			fmt.Fprintf(&b, "wrote %s\n", file)
		}
		if s.Commit == "" {
			fmt.Fprintf(&b, "branch %s had been pushed before\n", s.Branch)
		} else {
			fmt.Fprintf(&b, "commit %.12s on branch %s\n", s.Commit, s.Branch)
		}
		if s.Change != "" {
			fmt.Fprintln(&b, s.Change)
		}
	}
	if !dry {
		showPilotNext(&b, s)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func showPilotNext(b *strings.Builder, s reconciler.PilotSaid) {
	if s.Before != "" && s.Before != s.State {
		fmt.Fprintf(b, "once it counts, the pilot is %s; it was %s\n", s.State, s.Before)
	} else {
		fmt.Fprintf(b, "the pilot is %s\n", s.State)
	}
	for i, g := range s.Next {
		if i == 0 {
			b.WriteString("next:\n")
		}
		fmt.Fprintf(b, "  %s", g.Name)
		if len(g.Who) > 0 {
			fmt.Fprintf(b, " by %s", strings.Join(g.Who, " or "))
		}
		if g.Do != "" {
			fmt.Fprintf(b, ": %s", g.Do)
		}
		if g.Why != "" {
			fmt.Fprintf(b, " (%s)", g.Why)
		}
		b.WriteByte('\n')
	}
}

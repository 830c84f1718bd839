package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// prerequisiteFlags say which site is looked at, and how it is known who wrote what.
type prerequisiteFlags struct {
	site, rev, output, root   string
	signers, keyring, forgeAt string
	people                    map[string]string // by login
	payloads                  payloadFlags
	change                    changeFlags
}

func prerequisitesCommand() *cobra.Command {
	f := &prerequisiteFlags{}
	cmd := &cobra.Command{
		Use:   "prerequisites",
		Short: "Show how far prerequisites are, render and test them, and write down what was found out",
		Long: `Show how far each prerequisite of a site is, and what is next. A state is derived from evidence about what is rendered now:
records in the site whose writers are known, by the signatures of their commits or by whom the forge says has approved them.
Exit code 0: done. 1: the site has problems. 2: could not run.`,
		Example: `  pomona prerequisites
  pomona prerequisites show dbus
  pomona prerequisites render --to out
  pomona prerequisites test debian12
  pomona prerequisites review dbus --verdict pass`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := f.look(cmd)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), f.output, all, func(w io.Writer) error { return listPrerequisites(w, all) })
		},
	}
	f.add(cmd)
	f.addJudging(cmd)
	cmd.AddCommand(showPrerequisiteCommand(), renderPrerequisitesCommand(), testPrerequisitesCommand(), trialCommand(),
		evidenceCommand("review", "Say what you think of a prerequisite as it is rendered: not of one that you answer for"),
		evidenceCommand("integration", "Say how what needs a prerequisite does with it"),
		evidenceCommand("rollback", "Say whether there is a way back from a prerequisite"),
		evidenceCommand("retire", "Say that a prerequisite is needed no more"))
	return cmd
}

func (f *prerequisiteFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.site, "site", ".", "the site's repository: a folder on this machine")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	f.payloads.add(cmd, ownCache)
}

func (f *prerequisiteFlags) addRevision(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.rev, "rev", "HEAD", "branch, tag or commit")
}

// addJudging is for commands that judge evidence, or have the service of a root do so.
func (f *prerequisiteFlags) addJudging(cmd *cobra.Command) {
	f.addRevision(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.root, "root", "", "served directory: its service says what is published, and remembers who wrote what since when; without a service its ledger does")
	flags.StringVar(&f.signers, "allowed-signers", "", "file of the ssh keys whose signatures count; default: as git is configured")
	flags.StringVar(&f.keyring, "keyring", "", "file of the OpenPGP keys whose signatures count")
	flags.StringVar(&f.forgeAt, "forge-site", "", "address of the site at a forge, which then says who has approved what")
	flags.StringToStringVar(&f.people, "forge-person", nil, "LOGIN=ADDRESS: who approves there as LOGIN; may be repeated")
	f.addForge(cmd, "that forge")
}

func (f *prerequisiteFlags) addForge(cmd *cobra.Command, which string) {
	flags := cmd.Flags()
	flags.StringVar(&f.change.kind, "forge", "", which+": github or gitea; default: github for github.com")
	flags.StringVar(&f.change.api, "forge-api", "", "address of the forge's API; default: that of the site's host")
	flags.StringVar(&f.change.token, "forge-token", "", "file of the forge's token; default: what --credential has for the forge's host")
}

// open makes what reads the site.
func (f *prerequisiteFlags) open(cmd *cobra.Command) (*reconciler.Reconciler, error) {
	if err := checkOutput(f.output); err != nil {
		return nil, err
	}
	opened, err := repo.Open(f.site)
	if err != nil {
		return nil, err
	}
	cache := cacheFolder(f.payloads.cache, "", false)
	log := slog.New(slog.NewTextHandler(secrets.Writer(cmd.ErrOrStderr()), &slog.HandlerOptions{Level: slog.LevelWarn}))
	loader, err := newLoader(cache, log)
	return &reconciler.Reconciler{
		Repo: opened, Branch: f.rev, Loader: loader, Verdicts: build.NewVerdicts(cache, log), Version: version(), Log: log, Now: time.Now,
	}, err
}

// approvers know who wrote what.
func (f *prerequisiteFlags) approvers(cmd *cobra.Command) (a reconciler.Approvers, err error) {
	ssh := f.signers
	if ssh == "" && f.keyring == "" {
		ssh = repo.AllowedSigners(cmd.Context(), f.site)
	}
	if ssh != "" || f.keyring != "" {
		if a.Signers, err = repo.OpenSigners(repo.SignerFiles{SSH: ssh, GPG: f.keyring}, time.Now); err != nil {
			return a, err
		}
	}
	if f.forgeAt != "" {
		a.Forge, err = f.forge(a.Signers != nil)
	}
	return a, err
}

// forge says who approved what. Beside signers, people are known by their addresses alone.
func (f *prerequisiteFlags) forge(signers bool) (forge.Forge, error) {
	o, kind, err := f.change.forgeOf(f.forgeAt)
	if err != nil {
		return nil, err
	}
	credentials, err := readCredentials("", f.payloads.credentials)
	if err != nil {
		return nil, err
	}
	if o.Token, err = f.change.tokens(o.API, remote.New(remote.Options{Credentials: credentials})); err != nil {
		return nil, err
	}
	o.People, o.Addresses = f.people, signers
	return forge.New(kind, o)
}

// look judges all prerequisites.
func (f *prerequisiteFlags) look(cmd *cobra.Command) ([]plan.Prerequisite, error) {
	if f.root != "" {
		return f.ask(cmd)
	}
	r, err := f.open(cmd)
	if err != nil {
		return nil, err
	}
	approvers, err := f.approvers(cmd)
	if err != nil {
		return nil, err
	}
	return r.Prerequisites(cmd.Context(), approvers)
}

// ask has the service of a root judge them.
func (f *prerequisiteFlags) ask(cmd *cobra.Command) ([]plan.Prerequisite, error) {
	if err := checkOutput(f.output); err != nil {
		return nil, err
	}
	for _, flag := range []string{"rev", "allowed-signers", "keyring", "forge-site"} {
		if cmd.Flags().Changed(flag) {
			return nil, fmt.Errorf("--%s and --root: what is published counts, and what its service knows of who wrote it", flag)
		}
	}
	return asked(cmd, f.root, "prerequisites", struct{}{}, []string{f.site}, func(r *reconciler.Reconciler) ([]plan.Prerequisite, error) {
		return r.SeePrerequisites(cmd.Context())
	})
}

// aboutPrerequisites answers an operator.
func aboutPrerequisites(ctx context.Context, loop *reconciler.Loop, _ json.RawMessage) serve.Answer {
	all, err := loop.SeePrerequisites(ctx)
	if err != nil {
		return refusal(err)
	}
	return told(all, nil)
}

func listPrerequisites(w io.Writer, all []plan.Prerequisite) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "the site has no prerequisites")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PREREQUISITE\tVERSION\tSTATE\tNEXT") // errors come with Flush
	for _, p := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, p.Recommended, p.State, report.PrerequisiteNext(p))
	}
	return t.Flush()
}

func showPrerequisiteCommand() *cobra.Command {
	f := &prerequisiteFlags{}
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show every gate of a prerequisite, and the digest that evidence is about",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := f.look(cmd)
			if err != nil {
				return err
			}
			names := map[string]bool{}
			for _, p := range all {
				if p.Name == args[0] {
					return write(cmd.OutOrStdout(), f.output, p, func(w io.Writer) error { return report.Prerequisite(w, p) })
				}
				names[p.Name] = true
			}
			return reconciler.UnknownPrerequisite(args[0], names)
		},
	}
	f.add(cmd)
	f.addJudging(cmd)
	return cmd
}

func renderPrerequisitesCommand() *cobra.Command {
	f := &prerequisiteFlags{}
	var to string
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Write the scripts, roles, containers, jobs and pages that prerequisites are rendered into",
		Long: `Write into a folder what a pass publishes as prerequisites/. Files that are there are replaced; none is removed.
A folder that has files of the site is refused.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := f.open(cmd)
			if err != nil {
				return err
			}
			paths, err := r.RenderPrerequisites(cmd.Context(), to)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), f.output, map[string]any{"folder": to, "files": paths}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%d files in %s\n", len(paths), to)
				return err
			})
		},
	}
	f.add(cmd)
	f.addRevision(cmd)
	cmd.Flags().StringVar(&to, "to", "rendered/prerequisites", "folder; made if it is not there")
	return cmd
}

func testPrerequisitesCommand() *cobra.Command {
	f, e := &prerequisiteFlags{}, &evidenceFlags{}
	var only []string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "test SYSTEM",
		Short: "Try prerequisites on clean machines of a system, and write down how each job ended",
		Long: `Make a clean machine of a system, try every version of every prerequisite on one of its own - install, install again, verify, upgrade -
and commit a record of how each job ended. Debian's kin are made of the distribution's packages, which needs mmdebstrap, buildah, crun
and root, and no registry; others of their image. A machine that can make none says so, and writes nothing.
Exit code 0: all jobs passed. 1: one has not, or the site has problems. 2: could not run.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := e.check(time.Now()); err != nil { // not only after a trial
				return err
			}
			a, doubt, err := e.author(cmd, f)
			if err != nil {
				return err
			}
			site, err := a.Seen(cmd.Context())
			if err != nil {
				return err
			}
			folder := cacheFolder(f.payloads.cache, "", false)
			if folder == "" {
				return errors.New("no folder for clean machines: give --cache")
			}
			t := &reconciler.Trier{Folder: folder + "/prerequisites", Output: io.Discard, Now: time.Now, Begins: func() { e.warn(cmd, doubt) }} // it takes minutes
			if verbose {
				t.Output = cmd.ErrOrStderr()
			}
			evidence, err := t.Try(cmd.Context(), site, args[0], only)
			if err != nil {
				return err
			}
			if len(evidence) == 0 {
				return fmt.Errorf("nobody provides %s on %s", strings.Join(only, ", "), args[0])
			}
			if err := e.record(cmd, f, "Trial of prerequisites on "+args[0], evidence); err != nil {
				return err
			}
			for _, one := range evidence {
				if v, _ := plan.TrialVerdict(one.Record.Jobs, from(site.Prerequisites[one.Prerequisite].UpgradeFrom(args[0]), one.Record)); v != plan.GatePass {
					return exit(exitProblems)
				}
			}
			return nil
		},
	}
	f.add(cmd)
	e.add(cmd, f)
	cmd.Flags().StringSliceVar(&only, "only", nil, "prerequisites that are tried; default: all")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what jobs print")
	return cmd
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// evidenceFlags say who has found something out, and where it is written.
type evidenceFlags struct {
	by, at, link, branch, sign string
	dry, pull                  bool
	warned                     bool // that it may not count
}

func (e *evidenceFlags) add(cmd *cobra.Command, f *prerequisiteFlags) {
	flags := cmd.Flags()
	flags.StringVar(&e.branch, "branch", "", "branch that gets the commit; default: the one that is checked out, or that HEAD names at an address")
	flags.StringVar(&e.by, "by", "", "who says it; default: git's user.email")
	flags.StringVar(&e.at, "at", "", "when it was, as 2026-10-01T08:30:00Z; default: now")
	flags.StringVar(&e.link, "link", "", "address of a log")
	flags.StringVar(&e.sign, "sign", "", "file of the ssh key that signs the commit, or none; default: as git is configured to")
	flags.BoolVar(&e.dry, "dry-run", false, "only show what would be written")
	flags.BoolVar(&e.pull, "pull-request", false, "push a branch of its own, and open a pull request")
	f.addForge(cmd, "forge of the pull request")
}

// warn says once why evidence may not count.
func (e *evidenceFlags) warn(cmd *cobra.Command, doubt string) {
	if doubt != "" && !e.warned {
		fmt.Fprintf(cmd.ErrOrStderr(), "pomona: %s\n", doubt)
		e.warned = true
	}
}

// record writes evidence and shows it.
func (e *evidenceFlags) record(cmd *cobra.Command, f *prerequisiteFlags, title string, evidence []reconciler.Evidence) error {
	if err := e.check(time.Now()); err != nil {
		return err
	}
	a, doubt, err := e.author(cmd, f)
	if err != nil {
		return err
	}
	for i := range evidence {
		r := &evidence[i].Record
		r.Link, r.At = cmp.Or(r.Link, e.link), cmp.Or(e.at, r.At)
	}
	done, err := a.Record(cmd.Context(), title, evidence)
	if err != nil {
		return releaseFailed(cmd.ErrOrStderr(), err)
	}
	for _, w := range done.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), w)
	}
	e.warn(cmd, doubt)
	return write(cmd.OutOrStdout(), f.output, done, func(w io.Writer) error { return showRecorded(w, done, e.dry) })
}

// check refuses flags that no record has, before anything is read.
func (e *evidenceFlags) check(now time.Time) error {
	if e.at != "" {
		at, err := time.Parse(time.RFC3339, e.at)
		if err != nil {
			return fmt.Errorf("malformed --at %q: want a time as 2026-10-01T08:30:00Z", e.at)
		}
		if at.After(now.Add(10 * time.Minute)) {
			return fmt.Errorf("--at %s has not been yet", e.at)
		}
		e.at = at.UTC().Format(time.RFC3339)
	}
	if u, err := url.Parse(e.link); e.link != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("malformed --link %q: want an http or https address", e.link)
	}
	return nil
}

// leastReason is how many characters a reason has at least.
const leastReason = 20

// checkVerdict refuses a word without the reason that it needs.
func checkVerdict(kind, verdict, reason string) error {
	if verdict == "" {
		return fmt.Errorf("nothing says how it went: give --verdict %s, %s or %s", desired.PassVerdict, desired.FailVerdict, desired.InconclusiveVerdict)
	}
	if err := oneOf("verdict", verdict, desired.PassVerdict, desired.FailVerdict, desired.InconclusiveVerdict); err != nil {
		return err
	}
	switch {
	case reason == "" && (kind == desired.RetireRecord || verdict != desired.PassVerdict):
		return fmt.Errorf("nothing says why: give --reason, in %d characters at least", leastReason)
	case reason != "" && utf8.RuneCountInString(reason) < leastReason:
		return fmt.Errorf("--reason %q says too little: want %d characters at least", reason, leastReason)
	}
	return nil
}

// checkTrial refuses what jobs do not say. Given says which flags are.
func checkTrial(given func(flag string) bool, codes map[string]int) error {
	ran := false
	for _, job := range []string{"install", "again", "verify", "upgrade"} {
		ran = ran || given(job)
		if code := codes[job]; code < 0 || code > 255 {
			return fmt.Errorf("malformed exit code %d of --%s: want 0 to 255", code, job)
		}
	}
	switch {
	case !ran:
		return errors.New("no job is said to have run: give the exit codes, --install and, as far as they ran, --again, --verify and --upgrade")
	case given("changed") && !given("again"):
		return errors.New("--changed is what installing again has changed: give also --again, its exit code")
	case codes["changed"] < 0:
		return fmt.Errorf("malformed number %d of --changed: want 0 or more", codes["changed"])
	case given("upgrade") != given("from"):
		return errors.New("--upgrade and --from go together: an upgrade's exit code, and the version from which it began")
	}
	return nil
}

func showRecorded(w io.Writer, done reconciler.Recorded, dry bool) error {
	verb := "recorded"
	if dry {
		verb = "would record"
	}
	for _, one := range done.Records {
		text := fmt.Sprintf("%s of %s: %s", one.Record.Kind, one.Prerequisite, one.Record.Verdict)
		if one.Record.Kind == desired.TrialRecord {
			upgrade := ""
			if one.Record.Jobs.Upgrade != nil {
				upgrade = one.Record.Jobs.Upgrade.From
			}
			verdict, why := plan.TrialVerdict(one.Record.Jobs, upgrade)
			text = fmt.Sprintf("trial of %s %s on %s: %s", one.Prerequisite, one.Record.Version, one.Record.System, verdict)
			if why != "" {
				text += ", " + why
			}
		}
		if _, err := fmt.Fprintf(w, "%s %s\n  in %s\n  about %s\n", verb, text, one.File, one.Record.Subject); err != nil {
			return err
		}
	}
	if dry {
		return nil
	}
	if _, err := fmt.Fprintf(w, "commit %.12s on branch %s\n", done.Commit, done.Branch); err != nil || done.Change == "" {
		return err
	}
	_, err := fmt.Fprintln(w, done.Change)
	return err
}

// author makes what writes evidence, and says why it may not count.
func (e *evidenceFlags) author(cmd *cobra.Command, f *prerequisiteFlags) (a *reconciler.PrerequisiteAuthor, doubt string, err error) {
	if err := checkOutput(f.output); err != nil {
		return nil, "", err
	}
	author, _, err := authorFlags{site: f.site, branch: e.branch, pull: e.pull, payloads: &f.payloads, change: &f.change}.author(cmd)
	if err != nil {
		return nil, "", err
	}
	a = &reconciler.PrerequisiteAuthor{Dry: e.dry, Author: author}
	a.By, doubt, err = personFlags{e.by, e.sign}.person(cmd.Context(), &a.Author)
	if e.dry {
		doubt = ""
	}
	return a, doubt, err
}

// from is the version from which an upgrade to what a record is of has to be tried.
func from(previous string, r desired.PrerequisiteRecord) string {
	if r.Jobs.Upgrade == nil && r.Jobs.Verify != nil {
		return "" // of another version none is
	}
	return previous
}

// evidenceCommand writes what somebody has found out in one word.
func evidenceCommand(kind, short string) *cobra.Command {
	f, e := &prerequisiteFlags{}, &evidenceFlags{}
	var verdict, reason, of string
	cmd := &cobra.Command{
		Use:   kind + " NAME",
		Short: short,
		Long: short + `. It is about what is rendered of the prerequisite now, and becomes a record in a commit of its own; with --of it is
refused if that has changed since you looked. It counts once it is known who wrote it: sign the commit, or approve its pull request.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkVerdict(kind, verdict, reason); err != nil {
				return err
			}
			r := desired.PrerequisiteRecord{Kind: kind, Verdict: verdict, Reason: reason}
			return e.record(cmd, f, fmt.Sprintf("Prerequisite %s: %s %s", args[0], kind, verdict), []reconciler.Evidence{{Prerequisite: args[0], Record: r, Of: of}})
		},
	}
	f.add(cmd)
	e.add(cmd, f)
	otherwise, about := desired.PassVerdict, ""
	if kind == desired.IntegrationRecord || kind == desired.RollbackRecord {
		otherwise, about = "", " (required)" // what was tried has gone one way or the other
	}
	cmd.Flags().StringVar(&verdict, "verdict", otherwise, "pass, fail or inconclusive"+about)
	cmd.Flags().StringVar(&reason, "reason", "", "why, in a sentence; not needed of what passes")
	cmd.Flags().StringVar(&of, "of", "", "digest that you have looked at, as show prints it")
	return cmd
}

// trialCommand writes how the jobs of another builder ended.
func trialCommand() *cobra.Command {
	f, e := &prerequisiteFlags{}, &evidenceFlags{}
	var system, version, previous, of, inconclusive string
	var install, again, changed, verify, upgrade int
	cmd := &cobra.Command{
		Use:   "trial NAME",
		Short: "Say how the jobs of a trial on another machine ended, each by itself",
		Long: `Write down how the jobs of a trial ended that ran elsewhere, as in CI: give the exit code of each job itself, never that of what ran it.
A job whose code is not given was not run.`,
		Example: `  pomona prerequisites trial dbus --system rocky9 --version 1.12.20 --install 0 --again 0 --changed 0 --verify 0 --link https://ci.example.org/42`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := desired.PrerequisiteRecord{Kind: desired.TrialRecord, System: system, Version: version}
			given := cmd.Flags().Changed
			if err := checkTrial(given, map[string]int{"install": install, "again": again, "verify": verify, "upgrade": upgrade, "changed": changed}); err != nil {
				return err
			}
			result := func(flag string, code int) *desired.JobResult {
				if !given(flag) {
					return nil
				}
				return &desired.JobResult{Exit: code, Inconclusive: inconclusive}
			}
			r.Jobs = desired.TrialJobs{Install: result("install", install), Again: result("again", again), Verify: result("verify", verify), Upgrade: result("upgrade", upgrade)}
			if r.Jobs.Again != nil && given("changed") {
				r.Jobs.Again.Changed = &changed
			}
			if r.Jobs.Upgrade != nil {
				r.Jobs.Upgrade.From = previous
			}
			return e.record(cmd, f, fmt.Sprintf("Prerequisite %s: trial on %s", args[0], system), []reconciler.Evidence{{Prerequisite: args[0], Record: r, Of: of}})
		},
	}
	f.add(cmd)
	e.add(cmd, f)
	flags := cmd.Flags()
	flags.StringVar(&system, "system", "", "where it ran")
	flags.StringVar(&version, "version", "", "which version was tried")
	flags.IntVar(&install, "install", 0, "exit code of installing on a clean machine")
	flags.IntVar(&again, "again", 0, "exit code of installing once more")
	flags.IntVar(&changed, "changed", 0, "what that changed, as it printed")
	flags.IntVar(&verify, "verify", 0, "exit code of the probes")
	flags.IntVar(&upgrade, "upgrade", 0, "exit code of installing over what was recommended before")
	flags.StringVar(&previous, "from", "", "version from which that began")
	flags.StringVar(&inconclusive, "inconclusive", "", "why the jobs say nothing about what was tried")
	flags.StringVar(&of, "of", "", "digest that was tried, as show prints it")
	for _, flag := range []string{"system", "version"} {
		_ = cmd.MarkFlagRequired(flag) // it is there
	}
	return cmd
}

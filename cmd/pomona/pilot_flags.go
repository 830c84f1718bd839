package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
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
	} else if flags.Lookup("root") == nil {
		flags.StringVar(&f.root, "root", "", "served directory on this machine, whose service knows who wrote records and what FECs run; default: that is taken for granted")
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
	if err := showPilotSaid(cmd.OutOrStdout(), said, f.dry); err != nil || !said.Unagreed || f.dry {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "nobody has agreed to what the pilot says of itself: look at it, and agree to it, with pomona pilot %s agree%s\n", pilot, f.again())
	return err
}

// again are the flags by which another verb is said likewise: where, by whom, and how.
func (f *pilotFlags) again() string {
	var b strings.Builder
	for _, name := range []string{"site", "branch", "by", "sign", "root", "pull-request", "forge", "forge-api", "forge-token"} {
		switch flag := f.set.Lookup(name); {
		case flag == nil || !flag.Changed:
		case flag.Value.Type() == "bool":
			fmt.Fprintf(&b, " --%s", name)
		default:
			fmt.Fprintf(&b, " --%s %s", name, quoted(flag.Value.String()))
		}
	}
	return b.String()
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	if strings.IndexFunc(word, func(r rune) bool {
		return !strings.ContainsRune("@%+=:,./-_", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0 && word != "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func (f *pilotFlags) author(cmd *cobra.Command) (*reconciler.PilotAuthor, error) {
	var at time.Time
	if f.at != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, f.at); err != nil {
			return nil, fmt.Errorf("malformed time %q: want 2026-10-01T08:30:00Z", f.at)
		}
	}
	author, cache, err := authorFlags{f.site, f.branch, f.to, f.root, f.clear, f.pull, &f.payloads, &f.change}.author(cmd)
	if err != nil {
		return nil, err
	}
	payloads, err := f.payloads.fetcher(cache, f.root)
	if err != nil {
		return nil, err
	}
	a := &reconciler.PilotAuthor{At: at, Dry: f.dry, Packages: build.NewPackages(cache, author.Log), Payloads: payloads, Author: author}
	if f.root != "" {
		a.Known = reconciler.ReadRecords(f.root, author.Log)
	}
	a.By, a.Doubt, err = personFlags{f.by, f.sign}.person(cmd.Context(), &a.Author)
	return a, err
}

// showPilotSaid says what was written, and what happens next.
func showPilotSaid(w io.Writer, s reconciler.PilotSaid, dry bool) error {
	var b strings.Builder
	for i, line := range s.Terms {
		if i == 0 {
			fmt.Fprintf(&b, "what is agreed to, %s:\n", s.TermsOf)
		}
		fmt.Fprintf(&b, "  %s\n", observed.Printable(line))
	}
	switch {
	case dry:
		b.WriteString(s.Text)
	case len(s.Files) == 0:
		fmt.Fprintf(&b, "the site says that already: nothing to do\n")
	default:
		if s.Record != "" {
			fmt.Fprintf(&b, "record %s of pilot %s\n", s.Record, s.Pilot)
		}
		if s.Agreed != "" {
			fmt.Fprintf(&b, "record %s: what the pilot says of itself now is agreed to\n", s.Agreed)
		}
		if s.Problem != "" {
			fmt.Fprintf(&b, "problem %s\n", s.Problem)
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
	for i, n := range nextWords(s.Next) {
		if i == 0 {
			b.WriteString("next:\n")
		}
		fmt.Fprintf(b, "  %s", strings.Join(n.gates, ", "))
		if len(n.Who) > 0 {
			fmt.Fprintf(b, " by %s", strings.Join(n.Who, " or "))
		}
		if n.Do != "" {
			fmt.Fprintf(b, ": %s", n.Do)
		}
		if len(n.whys) > 0 {
			fmt.Fprintf(b, " (%s)", strings.Join(n.whys, "; "))
		}
		b.WriteByte('\n')
	}
}

// nextWord is what somebody must do for one gate or several.
type nextWord struct {
	plan.Gate
	gates, whys []string
}

// nextWords says once what is to be done for several gates.
func nextWords(gates []plan.Gate) (words []nextWord) {
	for _, g := range gates {
		i := slices.IndexFunc(words, func(w nextWord) bool { return g.Do != "" && w.Do == g.Do && slices.Equal(w.Who, g.Who) })
		if i < 0 {
			i, words = len(words), append(words, nextWord{Gate: g})
		}
		w := &words[i]
		if w.gates = append(w.gates, g.Name); g.Why != "" && !slices.Contains(w.whys, g.Why) {
			w.whys = append(w.whys, g.Why)
		}
	}
	return words
}

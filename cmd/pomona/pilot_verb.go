package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/propose"
)

// pilotVerb is one thing that people say of a pilot: pomona pilot NAME VERB.
type pilotVerb struct {
	name, args   string // args: how they are called, after the verb
	short, long  string
	example      string
	least, most  int               // arguments after the verb
	ofUpdate     bool              // also of an update: --update, or update UPDATE VERB
	flags        func(*pilotFlags) // its own
	word         func(*pilotFlags, []string) (reconciler.PilotWord, error)
	withPackages bool
}

// allPilotVerbs are the verbs in the order in which a pilot needs them.
func allPilotVerbs() []pilotVerb {
	return slices.Concat(pilotStartVerbs(), pilotCheckVerbs(), pilotSiteVerbs(), pilotPeopleVerbs(), pilotEndVerbs())
}

// pilotVerbs are the commands of the verbs.
func pilotVerbs() (commands []*cobra.Command) {
	for _, v := range allPilotVerbs() {
		commands = append(commands, v.command())
	}
	return append(commands, vouchCommand())
}

// usageOfVerb names the pilot before the verb, as people call it.
const usageOfVerb = "usage"

func (v pilotVerb) command() *cobra.Command {
	f := &pilotFlags{}
	cmd := &cobra.Command{
		Use: v.name + " NAME", Short: v.short, Hidden: true,
		Long: v.long + "\n\n" + pilotVerbText, Example: v.example,
		Annotations: map[string]string{usageOfVerb: strings.TrimSpace(fmt.Sprintf("pomona pilot NAME %s %s", v.name, v.args)) + " [flags]"},
		Args: func(_ *cobra.Command, args []string) error {
			switch n := len(args) - 1; {
			case n < 0:
				return fmt.Errorf("no pilot is named: want pomona pilot NAME %s %s", v.name, v.args)
			case n < v.least || n > v.most:
				return fmt.Errorf("%s after %s: want pomona pilot NAME %[2]s %[3]s", count(n, "argument"), v.name, v.args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			word, err := v.word(f, args[1:])
			if errors.Is(err, errForm) {
				_, err := io.WriteString(cmd.OutOrStdout(), propose.Form(args[0]))
				return err
			}
			if err != nil {
				return fmt.Errorf("%w\nsee pomona pilot NAME %s --help", err, v.name)
			}
			return f.say(cmd, args[0], word)
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cmd.Root().FlagErrorFunc()(cmd, inWords(err))
	})
	cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), "{{.UseLine}}", fmt.Sprintf("{{index .Annotations %q}}", usageOfVerb)))
	f.add(cmd, v)
	return cmd
}

// inWords says what kind of value a flag wants.
func inWords(err error) error {
	var wrong *pflag.InvalidValueError
	if !errors.As(err, &wrong) {
		return err
	}
	f := wrong.GetFlag()
	switch f.Value.Type() {
	case "int":
		return fmt.Errorf("malformed --%[1]s %[2]q: want a whole number, as --%[1]s 4", f.Name, wrong.GetValue())
	case "float64":
		return fmt.Errorf("malformed --%[1]s %[2]q: want a number, as --%[1]s 20.5", f.Name, wrong.GetValue())
	}
	return err
}

// pilotVerbText is what all verbs have in common.
const pilotVerbText = `What is said becomes a commit on the site's branch or, with --pull-request, a branch of its own and a pull request. It is validated
before, and what cannot count is refused: for instance what is said of packages that have changed since they were frozen, or by somebody who
has not the role. Nothing that was said is ever changed: whoever erred says it again, and of what is said twice the later counts.

A record counts once it is proven who wrote it: the commit is signed by whom it names, with a key that the service knows, or the forge says that
they have approved the pull request that brought it. Commits are signed with the key of --sign or else, if git is configured to sign, as git would.`

// pilotVerbsText lists the verbs.
func pilotVerbsText() string {
	var b strings.Builder
	b.WriteString("What happens in a pilot is written down by pomona pilot NAME VERB. The verbs, in the order in which a pilot needs them:\n\n")
	for _, v := range allPilotVerbs() {
		fmt.Fprintf(&b, "  %-14s %s\n", v.name, v.short)
	}
	fmt.Fprintf(&b, "  %-14s %s\n", vouchVerb, vouchCommand().Short)
	b.WriteString("\nA verb about an update is called as pomona pilot NAME update UPDATE VERB, or with --update UPDATE.\nsee pomona pilot NAME VERB --help")
	return b.String()
}

// isPilotVerb says whether a word is a verb.
func isPilotVerb(word string) bool {
	return slices.Contains(pilotVerbNames(), word)
}

// pilotWords are arguments in the order that the command line's parser wants: the verb before the pilot. Of an update, its verb is that.
func pilotWords(args []string) []string {
	if len(args) < 3 || args[0] != "pilot" || strings.HasPrefix(args[1], "-") {
		return args
	}
	if !isPilotVerb(args[2]) {
		if len(args) > 3 && desired.Suggest(args[2], pilotVerbNames()) != "" && !isFolder(args[2]) {
			return args[:3] // a misspelt one: its flags say nothing
		}
		return args
	}
	words := []string{"pilot", args[2], args[1]}
	rest := args[3:]
	if args[2] == "update" && len(rest) > 1 && rest[1] != "add" && isPilotVerb(rest[1]) {
		words[1] = rest[1]
		return slices.Concat(words, []string{"--update", rest[0]}, rest[2:])
	}
	return append(words, rest...)
}

func pilotVerbNames() (names []string) {
	for _, v := range allPilotVerbs() {
		names = append(names, v.name)
	}
	return append(names, vouchVerb)
}

// unknownPilotVerb says what verb was probably meant.
func unknownPilotVerb(word string) error {
	known := pilotVerbNames()
	near := desired.Suggest(word, known)
	return fmt.Errorf("unknown verb %q, and no folder: want %s\nsee pomona pilot --help", word, cmp.Or(near, "one of "+strings.Join(known, ", ")))
}

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// pilotWordFlags are what verbs are told by flags of their own.
type pilotWordFlags struct {
	record       desired.PilotRecord
	checks, logs []string
	closure      string // of freeze
	file         string // of notes: the migration; of feedback: the form
	form         bool   // of feedback: print it
	onTrust      bool   // of mirror
	vouched      bool   // of agree
	start        pilotStartFlags
}

// recorded makes the word of a verb out of its record.
func recorded(f *pilotFlags, kind string, change func(*desired.PilotRecord)) (reconciler.PilotWord, error) {
	r := f.words.record
	r.Kind, r.Update = kind, f.update
	if change != nil {
		change(&r)
	}
	if n := utf8.RuneCountInString(strings.TrimSpace(r.Reason)); r.Reason != "" && n < leastReason {
		return nil, fmt.Errorf("--reason has %s, and needs %d: say why in a sentence, as --reason \"the first version has no patches\"", count(n, "character"), leastReason)
	}
	return reconciler.RecordPilot{Record: r}, nil
}

// oneOf refuses a word that is none of those.
func oneOf(what, word string, words ...string) error {
	if slices.Contains(words, word) {
		return nil
	}
	if word == "" {
		return fmt.Errorf("no %s: want %s", what, strings.Join(words, ", "))
	}
	if near := desired.Suggest(word, words); near != "" {
		return fmt.Errorf("unknown %s %q: did you mean %q?", what, word, near)
	}
	return fmt.Errorf("unknown %s %q: want %s", what, word, strings.Join(words, ", "))
}

// pilotCheckVerbs lead to a pilot that sites may install.
func pilotCheckVerbs() []pilotVerb {
	reason := func(f *pilotFlags) {
		f.set.StringVar(&f.words.record.Reason, "reason", "", "why, in 20 characters at least")
	}
	return []pilotVerb{
		{
			name: "freeze", short: "nothing changes from here on: what is tested, authorised and mirrored (coordinator)", ofUpdate: true,
			long: `Freeze the packages as they are, or the release: their digest is worked out here. Whatever is said later is about that digest; if they change,
it is void, and they must be frozen anew. Whether everything is provided that they require, is worked out too, unless --closure says it: the packages are
read from the blob store of --root, or from where they lie, and site.packages.base says what nodes have already.`,
			example: "  pomona pilot grid-1 freeze --root /srv/pomona\n  pomona pilot grid-1 freeze --closure 0\n  dnf -q repoclosure >unmet.txt 2>&1; pomona pilot grid-1 freeze --closure unmet.txt",
			flags: func(f *pilotFlags) {
				f.set.StringVar(&f.root, "root", "", "served directory on this machine whose blob store has the packages")
				f.set.StringVar(&f.words.closure, "closure", "", "what dnf repoclosure says: its exit code, or the file that has what it printed (an empty file: all is provided)")
			},
			word: func(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
				closure, err := readClosure(f.words.closure)
				if err != nil {
					return nil, err
				}
				return recorded(f, desired.RecordFreeze, func(r *desired.PilotRecord) { r.Closure = closure })
			},
		},
		{
			name: "report", short: "what came of the test before anybody installs it (tester)", ofUpdate: true,
			long: `Report on what is frozen. It says of each check what came of it: pass, fail, inconclusive, or waived, where the coordinator has waived it; and what
it means for whoever has the version before. The checks are ` + strings.Join(desired.PilotChecks, ", ") + `.
A later report replaces what it says of the same checks, and need say nothing of the others.`,
			example: `  pomona pilot grid-1 report --compat backward-compatible --check docs=pass --check site-impact="fail:the port is taken" --check …
  pomona pilot grid-1 report --compat breaking --check all=pass --check docs=inconclusive --log clean-install=https://ci.example.org/7
  pomona pilot grid-1 report --check docs=pass`,
			flags: func(f *pilotFlags) {
				f.set.StringArrayVar(&f.words.checks, "check", nil, "NAME=VERDICT or NAME=VERDICT:TEXT; NAME all stands for those that are not named")
				f.set.StringArrayVar(&f.words.logs, "log", nil, "NAME=ADDRESS of the log of a check")
				f.set.StringVar(&f.words.record.Compat, "compat", "", "new-service, backward-compatible or breaking")
				f.set.StringVar(&f.words.record.Text, "text", "", "more about it")
				f.set.StringVar(&f.words.record.URL, "url", "", "address of more about it")
			},
			word: func(f *pilotFlags, _ []string) (reconciler.PilotWord, error) { return readReport(f) },
		},
		{
			name: "waive", args: "CHECK", short: "let a check be left out until a day (coordinator; test: authoriser or tester)", ofUpdate: true, least: 1, most: 1,
			long:    "Let a check, the test of an update or the soak of a wave be left out until a day, for a reason. The test of an update the authoriser or a tester waives,\nwho has not approved it. Nobody waives what is their own.",
			example: `  pomona pilot grid-1 waive patch-list --reason "the first version has no patches" --expires 2026-12-31`,
			flags: func(f *pilotFlags) {
				reason(f)
				f.set.StringVar(&f.words.record.Expires, "expires", "", "its last day, as 2026-12-31")
			},
			word: func(f *pilotFlags, args []string) (reconciler.PilotWord, error) {
				if err := oneOf("check", args[0], append(slices.Clone(desired.PilotChecks), "soak", "test")...); err != nil {
					return nil, err
				}
				if f.words.record.Reason == "" || f.words.record.Expires == "" {
					return nil, errors.New("a waiver needs --reason and --expires")
				}
				return recorded(f, desired.RecordWaiver, func(r *desired.PilotRecord) { r.Check = args[0] })
			},
		},
		{
			name: "authorise", short: "let it out to participants (authoriser)", ofUpdate: true,
			long:    "Authorise what is frozen: it may go out to participants. Whoever develops it or reported on it does not authorise it. An update needs that only if it is breaking.",
			example: "  pomona pilot grid-1 authorise",
			flags:   func(f *pilotFlags) { f.set.StringVar(&f.words.record.Text, "text", "", "more about it") },
			word: func(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
				return recorded(f, desired.RecordAuthorisation, func(r *desired.PilotRecord) { r.Decision = "ok" })
			},
		},
		{
			name: "deny", short: "do not let it out: the pilot ends (authoriser)", ofUpdate: true,
			long:    "Deny what is frozen, for a reason: the pilot, or the update, ends.",
			example: `  pomona pilot grid-1 deny --reason "it opens a port that sites must not open"`,
			flags:   reason,
			word: func(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
				if f.words.record.Reason == "" {
					return nil, errors.New("nothing says why: give --reason")
				}
				return recorded(f, desired.RecordAuthorisation, func(r *desired.PilotRecord) { r.Decision = "deny" })
			},
		},
		{
			name: "notes", args: "FILE", short: "the release notes, in Markdown (developer or coordinator)", ofUpdate: true, least: 1, most: 1,
			long:    "Give the release notes of what is frozen. What breaks the version before needs to say how to move to it: --migration.",
			example: "  pomona pilot grid-1 notes notes.md --migration migration.md",
			flags: func(f *pilotFlags) {
				f.set.StringVar(&f.words.file, "migration", "", "file that says what whoever has the version before must do")
			},
			word: func(f *pilotFlags, args []string) (reconciler.PilotWord, error) {
				text, err := readText(args[0])
				if err != nil {
					return nil, err
				}
				migration := ""
				if f.words.file != "" {
					if migration, err = readText(f.words.file); err != nil {
						return nil, err
					}
				}
				return recorded(f, desired.RecordNotes, func(r *desired.PilotRecord) { r.Text, r.Migration = text, migration })
			},
		},
		{
			name: "mirror", args: "ADDRESS", short: "what is frozen lies where sites get it (authoriser or coordinator)", ofUpdate: true, least: 1, most: 1,
			long: `Say that what is frozen lies, file for file, where sites get it: ADDRESS/OS/ARCH/RPMS.*/. Every package there is looked at and compared by its
digest, and so is what repodata offers. --on-trust takes your word for it, where the mirror cannot be reached from here.`,
			example: "  pomona pilot grid-1 mirror https://mirror.example.org/pilots/grid-1",
			flags: func(f *pilotFlags) {
				f.set.BoolVar(&f.words.onTrust, "on-trust", false, "do not look whether the packages lie there")
			},
			word: func(f *pilotFlags, args []string) (reconciler.PilotWord, error) {
				r := f.words.record
				r.Kind, r.Update, r.Location = desired.RecordMirror, f.update, args[0]
				return reconciler.MirrorPilot{Record: r, OnTrust: f.words.onTrust}, nil
			},
		},
	}
}

// maxText is the largest file of a text, in bytes: it becomes part of a CUE file.
const maxText = 128 << 10

func readText(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("read text: %w", err)
	}
	if info.Size() > maxText {
		return "", fmt.Errorf("%q has %d bytes, more than %d", file, info.Size(), maxText)
	}
	b, err := os.ReadFile(file)
	text := strings.TrimSpace(strings.ReplaceAll(string(b), "\r\n", "\n"))
	if err == nil && text == "" {
		err = fmt.Errorf("%q says nothing", file)
	}
	return text, err
}

// readClosure is what dnf repoclosure says: its exit code, or what it printed.
func readClosure(said string) (*desired.RPMClosure, error) {
	if said == "" {
		return nil, nil
	}
	if code, err := strconv.Atoi(said); err == nil {
		if code < 0 || code > 255 {
			return nil, fmt.Errorf("malformed exit code %q: want 0 to 255", said)
		}
		return &desired.RPMClosure{Exit: code}, nil
	}
	b, err := os.ReadFile(said)
	if err != nil {
		return nil, fmt.Errorf("read closure: %w", err)
	}
	c := &desired.RPMClosure{}
	for line := range strings.Lines(string(b)) {
		// package: NAME from REPOSITORY / unresolved deps: (1): / indented requirements
		if line = strings.TrimRight(line, "\r\n"); strings.HasPrefix(line, " ") && !strings.Contains(line, "unresolved deps") {
			c.Unmet = append(c.Unmet, strings.TrimSpace(line))
		}
	}
	if slices.Sort(c.Unmet); len(c.Unmet) > 0 {
		c.Unmet, c.Exit = slices.Compact(c.Unmet), 1
	} else if strings.TrimSpace(string(b)) != "" {
		return nil, fmt.Errorf("read closure: %q is not what dnf repoclosure prints", said)
	}
	return c, nil
}

// readReport makes a report of flags.
func readReport(f *pilotFlags) (reconciler.PilotWord, error) {
	verdicts := []string{"pass", "fail", "inconclusive", "waived"}
	checks, rest := map[string]desired.CheckResult{}, ""
	for _, flag := range f.words.checks {
		name, said, ok := strings.Cut(flag, "=")
		if !ok {
			return nil, fmt.Errorf("malformed --check %q: want NAME=VERDICT", flag)
		}
		verdict, text, _ := strings.Cut(said, ":")
		if err := oneOf("verdict", verdict, verdicts...); err != nil {
			return nil, fmt.Errorf("--check %s: %w", name, err)
		}
		if name == "all" {
			rest = verdict
			continue
		}
		if err := oneOf("check", name, desired.PilotChecks...); err != nil {
			return nil, err
		}
		if _, twice := checks[name]; twice {
			return nil, fmt.Errorf("--check %s is given twice", name)
		}
		checks[name] = desired.CheckResult{Verdict: verdict, Text: strings.TrimSpace(text)}
	}
	if f.words.record.Compat != "" {
		if err := oneOf("compat", f.words.record.Compat, "new-service", "backward-compatible", "breaking"); err != nil {
			return nil, err
		}
	}
	r := f.words.record
	r.Kind, r.Update, r.Checks = desired.RecordReport, f.update, checks
	logs := map[string]string{}
	for _, flag := range f.words.logs {
		name, address, ok := strings.Cut(flag, "=")
		if !ok {
			return nil, fmt.Errorf("malformed --log %q: want NAME=ADDRESS", flag)
		}
		logs[name] = address
	}
	return reconciler.ReportPilot{Record: r, Rest: rest, Logs: logs}, nil
}

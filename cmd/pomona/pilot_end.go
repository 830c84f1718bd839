package main

import (
	"errors"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// pilotEndVerbs stop a pilot, have it go on, and end it.
func pilotEndVerbs() []pilotVerb {
	reason := func(f *pilotFlags) {
		f.set.StringVar(&f.words.record.Reason, "reason", "", "why, in 20 characters at least")
	}
	return []pilotVerb{
		{
			name: "halt", short: "stop it now, and have everybody go back (anybody with a role, or a site that runs it)", ofUpdate: true,
			long: `Stop a pilot, for a reason: whoever runs it is told to go back to what was before. With --update, to what was before that update. Its coordinator
lets it go on.`,
			example: `  pomona pilot grid-1 halt --reason "it loses the output of one job in ten"`,
			flags:   reason,
			word: func(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
				if f.words.record.Reason == "" {
					return nil, errors.New("nothing says why: give --reason")
				}
				return recorded(f, desired.RecordHalt, nil)
			},
		},
		{
			name: "resume", short: "let it go on, for a reason or with the update that helps (coordinator)", ofUpdate: true,
			long:    "Let a pilot go on that is halted: once the update of --update is mirrored, which helps; or at once, for a reason.",
			example: `  pomona pilot grid-1 resume --update fix-1`,
			flags:   reason,
			word: func(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
				if f.words.record.Reason == "" && f.update == "" {
					return nil, errors.New("nothing says why it may go on: give --update of what helps, or --reason")
				}
				return recorded(f, desired.RecordResume, nil)
			},
		},
		{
			name: "close", args: "OUTCOME", short: "end it: promoted or withdrawn (coordinator)", least: 1, most: 1,
			long: `End a pilot. OUTCOME is promoted, if every criterion is met, it has soaked and nothing blocks it; or withdrawn, for a reason, which its owner may
say too.`,
			example: "  pomona pilot grid-1 close promoted\n  pomona pilot grid-1 close withdrawn --reason \"the next version makes it superfluous\"",
			flags:   reason,
			word: func(f *pilotFlags, args []string) (reconciler.PilotWord, error) {
				if err := oneOf("outcome", args[0], "promoted", "withdrawn"); err != nil {
					return nil, err
				}
				if args[0] == "withdrawn" && f.words.record.Reason == "" {
					return nil, errors.New("nothing says why: give --reason")
				}
				return recorded(f, desired.RecordClosure, func(r *desired.PilotRecord) { r.Outcome = args[0] })
			},
		},
	}
}

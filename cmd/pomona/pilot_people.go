package main

import (
	"errors"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// pilotPeopleVerbs are for those who use a pilot, and for those who measure it.
func pilotPeopleVerbs() []pilotVerb {
	return []pilotVerb{
		{
			name: "problem", args: "[ID]", short: "something is wrong with it; or what became of that (anybody)", ofUpdate: true, most: 1,
			long: `Report a problem, or what became of the problem ID: what is not said of it stays as it was. A blocker keeps the next wave from opening until it is
no longer open.`,
			example: `  pomona pilot grid-1 problem --kind installation --severity blocker --text "the daemon does not start on SL9"
  pomona pilot grid-1 problem p1 --status fixed --fixed-in fix-1`,
			flags: func(f *pilotFlags) {
				r := &f.words.record
				f.set.StringVar(&r.Category, "kind", "", "installation, configuration, functional or documentation")
				f.set.StringVar(&r.Severity, "severity", "", "blocker, major or minor")
				f.set.StringVar(&r.Text, "text", "", "what is wrong, or what became of it")
				f.set.StringVar(&r.Status, "status", "", "open, fixed, workaround or wontfix; default: open")
				f.set.StringVar(&r.FixedIn, "fixed-in", "", "update that fixes it; of FECs: version")
				f.set.StringVar(&r.Site, "at-site", "", "site that has it")
				f.set.StringVar(&r.URL, "url", "", "address of more about it")
			},
			word: func(f *pilotFlags, args []string) (reconciler.PilotWord, error) {
				r := f.words.record
				for _, one := range []struct {
					what, word string
					words      []string
				}{
					{"kind", r.Category, []string{"installation", "configuration", "functional", "documentation"}},
					{"severity", r.Severity, []string{"blocker", "major", "minor"}},
					{"status", r.Status, []string{"open", "fixed", "workaround", "wontfix"}},
				} {
					if one.word == "" {
						continue
					}
					if err := oneOf(one.what, one.word, one.words...); err != nil {
						return nil, err
					}
				}
				if r.Status == "fixed" && r.FixedIn == "" {
					return nil, errors.New("nothing says what fixes it: give --fixed-in UPDATE")
				}
				return recorded(f, desired.RecordProblem, func(r *desired.PilotRecord) { r.Problem = strings.Join(args, "") })
			},
		},
	}
}

package main

import (
	"errors"
	"fmt"
	"slices"
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
		{
			name: "feedback", short: "how a user found it (anybody)", ofUpdate: true,
			long: `Give a user's feedback: in words, or with a form to fill in, which --form prints and --from reads. It is shown with the pilot; whatever has to be
solved is a problem.`,
			example: `  pomona pilot grid-1 feedback --form >form.md; editor form.md; pomona pilot grid-1 feedback --from form.md
  pomona pilot grid-1 feedback --rating 4 --text "ten thousand jobs, no trouble"`,
			flags: func(f *pilotFlags) {
				f.set.BoolVar(&f.words.form, "form", false, "print an empty form, and do nothing else")
				f.set.StringVar(&f.words.file, "from", "", "file of a form that is filled in")
				f.set.IntVar(&f.words.record.Rating, "rating", 0, "from 1, not usable, to 5, better than what was before")
				f.set.StringVar(&f.words.record.Text, "text", "", "what somebody has to say of it")
				f.set.StringVar(&f.words.record.Site, "at-site", "", "site where it was used")
			},
			word: readFeedback,
		},
		{
			name: "criterion", args: "NAME MET", short: "whether a criterion is met: yes, no or inconclusive (coordinator or owner)", least: 1, most: 2,
			long:    "Say whether a criterion is met: yes, no or inconclusive. All must be before the pilot is promoted.",
			example: `  pomona pilot grid-1 criterion jobs yes --text "99.4 of a hundred" --url https://monitoring.example.org/1`,
			flags: func(f *pilotFlags) {
				f.set.StringVar(&f.words.record.Text, "text", "", "what was measured")
				f.set.StringVar(&f.words.record.URL, "url", "", "address of more about it")
			},
			word: func(f *pilotFlags, args []string) (reconciler.PilotWord, error) {
				met, answers := append(args, "")[1], []string{"yes", "no", "inconclusive"}
				switch {
				case met == "" && slices.Contains(answers, args[0]):
					return nil, fmt.Errorf("nothing says which criterion is meant: name it before the answer, as criterion jobs %s", args[0])
				case met == "":
					return nil, fmt.Errorf("nothing says whether %[1]s is met: add yes, no or inconclusive, as criterion %[1]s yes", args[0])
				}
				if err := oneOf("answer", met, answers...); err != nil {
					return nil, fmt.Errorf("whether %s is met: %w", args[0], err)
				}
				return recorded(f, desired.RecordCriterion, func(r *desired.PilotRecord) { r.Criterion, r.Met = args[0], met })
			},
		},
	}
}

// readFeedback is feedback of flags, or of a form.
func readFeedback(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
	r := f.words.record
	switch {
	case f.words.form:
		return nil, errForm
	case f.words.file != "":
		if r.Text != "" || r.Rating != 0 || r.Site != "" {
			return nil, errors.New("feedback is either that of --from or of other flags")
		}
		text, err := readText(f.words.file)
		if err != nil {
			return nil, err
		}
		return reconciler.FeedbackForm{Text: text, Update: f.update}, nil
	case r.Text == "":
		return nil, errors.New("nothing is said: give --text, or --from a form that --form has printed")
	case f.set.Changed("rating") && (r.Rating < 1 || r.Rating > 5):
		return nil, fmt.Errorf("malformed rating %d: want a number from 1 to 5", r.Rating)
	}
	return recorded(f, desired.RecordFeedback, nil)
}

// errForm says that only the form is wanted.
var errForm = errors.New("print the form")

package reconciler

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/publish"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// wordsOf are what a forge is told of a pass: a status of the commit that the branch names, and a deployment of the one that is
// published. They are the same for each pass that finds the same.
func wordsOf(done Done, environment string) (words []word) {
	rep := done.Report
	if rep.Wanted != "" {
		w := word{Commit: rep.Wanted}
		w.State, w.Text = verdict(rep, done.Err)
		words = append(words, w)
	}
	if environment != "" && done.Err == nil && rep.Commit != "" {
		words = append(words, word{Commit: rep.Commit, Environment: environment, State: forge.Success, Text: "published"})
	}
	return words
}

// verdict is what became of the commit that the branch names, and why.
func verdict(rep report.Report, err error) (forge.State, string) {
	var problems desired.Problems
	var unchecked *Unchecked
	var contradicted *Contradicted
	switch {
	case errors.As(err, &problems):
		return forge.Failure, problemsText(problems.Blocking(), len(rep.Plan.Refused) > 0)
	case errors.As(err, &unchecked):
		return forge.Failure, "not published: no check of a pull request has seen its tree"
	case errors.As(err, &contradicted):
		return forge.Failure, "not published: its check found another tree for the same inputs"
	case err != nil:
		return forge.Error, "not published yet, and tried again: " + tellable(err)
	case rep.Commit != rep.Wanted:
		return held(rep)
	}
	fecs := 0
	for _, b := range rep.Plan.Blocked {
		if strings.HasPrefix(b.Scope, desired.FECScope+".") {
			fecs++
		}
	}
	switch fecs {
	case 0:
		return forge.Success, "published"
	case 1:
		return forge.Success, "published; held back is " + firstFEC(rep.Plan.Blocked)
	}
	return forge.Success, fmt.Sprintf("published; held back are %d FECs", fecs)
}

// tellable is an error as others may read it: what this machine says of itself is for its log.
func tellable(err error) string {
	var away *remote.Unavailable
	var wrong *remote.Wrong
	var hook *publish.HookError
	if errors.As(err, &away) || errors.As(err, &wrong) {
		return err.Error()
	}
	if errors.As(err, &hook) { // what it said is for the log
		return "hook " + hook.Name + " prevents it"
	}
	return "the log of the service says why"
}

// held says why a commit stays unpublished: it waits for holds to end, or somebody rolled it back.
func held(rep report.Report) (forge.State, string) {
	var by []string
	for _, h := range plan.SiteHolds(rep.Holds) {
		if h.Bad == rep.Wanted {
			return forge.Failure, "rolled back by " + h.String()
		}
		by = append(by, h.String())
	}
	return forge.Pending, "held by " + strings.Join(by, "; by ")
}

func problemsText(ps desired.Problems, refused bool) string {
	what := "not published: "
	if refused {
		what = "refused: "
	}
	if len(ps) > 1 {
		what += fmt.Sprintf("%d problems, first ", len(ps))
	}
	if len(ps) == 0 {
		return what + "the site has problems"
	}
	return what + ps[0].String()
}

func firstFEC(blocked []plan.Blocked) string {
	for _, b := range blocked {
		if name, ok := strings.CutPrefix(b.Scope, desired.FECScope+"."); ok {
			return name
		}
	}
	return ""
}

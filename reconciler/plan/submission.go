package plan

import (
	"errors"
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Believes says why what somebody says of a submission is not believed; nil: it is. Said is the submission as it would be. An operator
// may also say that one is lost. An end never becomes another one: what followed from it has begun.
func Believes(have, said observed.Submission, operator bool) error {
	switch {
	case have.Job != "" && said.Job != have.Job:
		return fmt.Errorf("its job is %s, and never becomes another: two jobs of one submission are what nobody must have", have.Job)
	case said.State == have.State:
		return nil
	}
	switch said.State {
	case observed.SubmissionIntent, observed.SubmissionSubmitted, observed.SubmissionDenied:
		return fmt.Errorf("only Pomona itself says that a submission is %s", said.State)
	case observed.SubmissionLost:
		if !operator {
			return errors.New("only an operator says that a submission is lost: not to be seen is no end")
		}
	}
	if have.State.Ended() {
		return fmt.Errorf("it has ended: %s, and stays so. To try its slice again, or to take it as complete: pomona campaign retry or accept", have.State)
	}
	return nil
}

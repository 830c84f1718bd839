// Package report is what a pass did, as a value.
package report

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Report is what one pass did.
type Report struct {
	Commit    string            `json:"commit"` // that is rendered
	Wanted    string            `json:"wanted"` // that the branch names: another one while the site is held
	Holds     []observed.Hold   `json:"holds,omitempty"`
	Plan      plan.Plan         `json:"plan"`
	AtOnce    *plan.Plan        `json:"-"` // of a review: before it is known who wrote new records of pilots; nil: as Plan
	Warnings  desired.Problems  `json:"warnings,omitempty"`
	Repaired  []observed.Damage `json:"repaired,omitempty"`
	Recovered int               `json:"recovered"` // leftovers of an interrupted pass that were removed
	Built     int               `json:"built"`     // parts built, not taken from the store
	Swept     int               `json:"swept"`     // objects removed
	Freed     int64             `json:"freed"`     // bytes of these objects
	Elapsed   time.Duration     `json:"elapsed"`   // nanoseconds
	Stages    []observed.Stage  `json:"stages,omitempty"`
	Pass      int64             `json:"-"` // its number in the ledger; 0: it is not there, or tells nothing new
}

// Text writes the report for people.
func (r Report) Text(w io.Writer) error {
	var b bytes.Buffer
	for _, p := range r.Warnings {
		fmt.Fprintln(&b, p)
	}
	if r.Recovered > 0 {
		fmt.Fprintf(&b, "recovered: removed %d leftovers of an interrupted pass\n", r.Recovered)
	}
	for _, d := range r.Repaired {
		fmt.Fprintf(&b, "repaired: %s %s\n", observed.Printable(d.Path), d.What)
	}
	if err := r.Plan.Text(&b); err != nil {
		return err
	}
	if r.Swept > 0 {
		fmt.Fprintf(&b, "swept %d objects, %d bytes\n", r.Swept, r.Freed)
	}
	fmt.Fprintf(&b, "pass done in %s: built %d parts\n", r.Elapsed.Round(time.Millisecond), r.Built)
	_, err := b.WriteTo(w)
	return err
}

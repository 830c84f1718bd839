package plan

import (
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// PilotByEachClosure is Pilot, which judges by each record that closes it whether it does.
func PilotByEachClosure(name string, p desired.Pilot, f PilotFacts, now time.Time) PilotNow {
	c := newPilotCase(name, p, f)
	c.agree(now)
	c.ended()
	for i, r := range c.records {
		if r.Kind != desired.RecordClosure || r.doubt != "" || r.known.After(now) || !c.over(PilotClosed, r) {
			continue
		}
		if j := c.judge(c.records[:c.until(i)], r.known, r); j.closes(r) {
			if c.withdraws(r) && len(c.terms.chain) > 0 {
				j.now.Unagreed = ""
			}
			return j.end(r)
		}
	}
	if c.terms.unagreed != "" {
		return c.unagreed(now)
	}
	return c.judge(c.records, now, nil).now
}

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Vouch has an agreement to the terms of a pilot count whomever the one before it names, from now on: an operator knows that those have left, or have lost
// their keys. It says who may agree to the next.
func (r *Reconciler) Vouch(ctx context.Context, pilot, record, by, reason string) (who []string, err error) {
	reason = strings.TrimSpace(reason)
	switch {
	case r.Records == nil:
		return nil, errNoRecords
	case by == "":
		return nil, errors.New("nobody vouches for it: give --by")
	case reason == "":
		return nil, errors.New("say why: give --reason")
	}
	j, err := r.seenPilots(ctx)
	if err != nil {
		return nil, err
	}
	if j.unread != nil {
		return nil, fmt.Errorf("read what is known of pilots: %w", j.unread)
	}
	p, there := j.site.Pilots[pilot]
	if !there {
		return nil, fmt.Errorf("the published commit %.12s has no pilot %q: pomona pilot lists them", j.commit, pilot)
	}
	now := j.now[slices.IndexFunc(j.now, func(n plan.PilotNow) bool { return n.Name == pilot })]
	if err := vouchable(p, now, record, j.commit); err != nil {
		return nil, err
	}
	says := p.Records[record]
	key := recordKeyOf(pilotSection, pilot, record, says)
	proof := observed.Proof{By: says.By, Source: observed.VouchedBy(by, reason)}
	if err := r.Records.Use(ctx, func(l *ledger.Ledger) error {
		return l.VouchRecord(ctx, ledger.RecordProof{Section: key.section, Name: key.name, Record: key.record, Digest: key.digest, By: proof.By, Source: proof.Source,
			At: r.Now().UTC().Truncate(time.Second)})
	}); err != nil {
		return nil, fmt.Errorf("vouch for %s: %w", record, err)
	}
	r.Log.Info("vouched for agreement", "pilot", pilot, "record", record, "by", by, "reason", reason)
	who = []string{says.Owner}
	if says.Coordinator != "" && !desired.SamePerson(says.Coordinator, says.Owner) {
		who = append(who, says.Coordinator)
	}
	return who, nil
}

// vouchable says why an operator can not vouch for a record of a pilot, and what helps instead.
func vouchable(p desired.Pilot, now plan.PilotNow, record, commit string) error {
	r, there := p.Records[record]
	switch {
	case !there:
		var open []string
		for _, name := range p.RecordsInOrder() {
			if p.Records[name].Kind == desired.RecordAgreement && !counts(now, name) {
				open = append(open, name)
			}
		}
		if len(open) == 0 {
			return fmt.Errorf("the published commit %.12s has no record %q of pilot %s, and no agreement that does not count: whoever is to go on agrees first: pomona pilot %[3]s agree --vouched", commit, record, now.Name)
		}
		return fmt.Errorf("the published commit %.12s has no record %q of pilot %s: agreements that do not count are %s", commit, record, now.Name, strings.Join(open, ", "))
	case r.Kind != desired.RecordAgreement:
		return fmt.Errorf("%s is no agreement but a record of kind %s: it counts once %s has signed it or approved its pull request; if they cannot, whoever may says it again",
			record, r.Kind, r.By)
	case counts(now, record):
		return fmt.Errorf("%s counts already", record)
	case now.State == plan.PilotClosed || now.State == plan.PilotDenied:
		return fmt.Errorf("pilot %s has ended: what is to go on is a new pilot: pomona pilot NAME request", now.Name)
	case r.Terms == now.Terms && !r.Names(p):
		return fmt.Errorf("%s does not name the owner, the coordinator and the last day of the terms that it agrees to: have it said again: pomona pilot %s agree", record, now.Name)
	}
	return nil
}

// counts says whether an agreement counts.
func counts(now plan.PilotNow, record string) bool {
	return slices.ContainsFunc(now.Agreed, func(a observed.Agreed) bool { return a.Record == record })
}

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// pilotTerms are what is agreed of what a pilot says of itself. Whoever merges a commit can write himself into that; it counts once an agreement
// names its digest. Agreements are a chain: the first is by the owner whom it names, each later one by the owner or the coordinator whom the one
// before it names, so that whoever changes who they are does not become them.
type pilotTerms struct {
	now      string         // digest of the terms as they are
	chain    []*pilotRecord // agreements that count, the first first
	lost     string         // why nobody knows what was agreed last; empty: it is known
	unagreed string         // why the terms as they are do not count; empty: they do
	who      []string       // who may agree
	gate     Gate           // to staffed
}

// agree works out what is agreed at a time, and doubts agreements that do not count.
func (c *pilotCase) agree(now time.Time) {
	t := &c.terms
	t.now = c.p.Terms()
	var open []*pilotRecord
	for _, r := range c.records {
		switch {
		case r.Kind != desired.RecordAgreement || r.doubt != "" || r.known.After(now):
		case r.Terms == t.now && !r.Names(c.p):
			c.doubtful(r, fmt.Sprintf("%s: it does not name the owner, the coordinator and the last day of the terms that it agrees to", r.name))
		default:
			open = append(open, r)
		}
	}
	slices.SortStableFunc(open, t.order)
	open = t.link(open, c.f.Agreed)
	t.who = t.may(c.p)
	for _, r := range open {
		c.doubtful(r, t.stray(r))
	}
	t.gate = Gate{Name: "agreement", Verdict: GatePending, Who: t.who, Do: fmt.Sprintf("pomona pilot %s agree", c.name)}
	switch last := t.last(); {
	case t.lost != "":
		t.gate.Why, t.gate.Do = t.lost, "put it back as it was, or have an operator vouch for another one: "+c.do("vouch RECORD")
	case last != nil && last.Terms == t.now:
		t.gate.Verdict, t.gate.Records, t.gate.Why = GatePass, recordNames(last), last.vouched
	case last != nil:
		t.gate.Why = fmt.Sprintf("what the pilot says of itself is not what %s agreed to (%s)", last.By, last.name)
	default:
		t.gate.Why = "nobody has agreed to what the pilot says of itself"
	}
	for _, r := range c.records {
		if r.Kind == desired.RecordAgreement && r.Terms == t.now && r.doubt != "" && !t.gate.Verdict.Holds() {
			t.gate.Verdict, t.gate.Records = GateNeedsApproval, recordNames(r)
			t.gate.Why += ": " + r.doubt
		}
	}
	if !t.gate.Verdict.Holds() {
		t.unagreed = t.gate.Why
		c.trust()
	}
}

// link goes on with the chain that the published generation has, and returns the agreements that are not in it: whatever would have come before came
// too late.
func (t *pilotTerms) link(open []*pilotRecord, before []observed.Agreed) []*pilotRecord {
	for i, agreed := range before {
		at := slices.IndexFunc(open, func(r *pilotRecord) bool { return r.name == agreed.Record && r.Digest() == agreed.Digest })
		switch {
		case at >= 0:
			t.chain = append(t.chain, open[at])
			open = slices.Delete(open, at, at+1)
		case i == len(before)-1:
			t.chain, t.lost = nil, fmt.Sprintf("%s, which was agreed last, is not there any more as it was", agreed.Record)
		}
	}
	for {
		i := slices.IndexFunc(open, t.follows)
		if i < 0 {
			return open
		}
		t.chain, t.lost = append(t.chain, open[i]), ""
		open = slices.Delete(open, i, i+1)
	}
}

// agreed is the chain as a generation has it.
func (c *pilotCase) agreed() (chain []observed.Agreed) {
	for _, r := range c.terms.chain {
		chain = append(chain, observed.Agreed{Pilot: c.name, Record: r.name, Digest: r.Digest(), Known: r.known, Expires: r.Expires})
	}
	return chain
}

// order has agreements in the order in which they became known: of those known at once, the oldest first, and of those of one second, that to the terms as
// they are last.
func (t *pilotTerms) order(a, b *pilotRecord) int {
	switch then := cmp.Or(a.known.Compare(b.known), a.at.Compare(b.at)); {
	case then != 0 || (a.Terms == t.now) == (b.Terms == t.now):
		return then
	case a.Terms == t.now:
		return 1
	}
	return -1
}

// trust has anybody whose record is proven halt a pilot while its terms are not agreed: who can break these can name himself in them anyway. Only whom
// the last agreement names lets it go on, and who may agree withdraws it, also if the terms do not name them now.
func (c *pilotCase) trust() {
	last := c.terms.last()
	for _, r := range c.records {
		switch {
		case c.unproven(r) != "":
		case r.Kind == desired.RecordHalt, r.Kind == desired.RecordResume && last != nil && last.namesAgreeing(r.By), c.withdraws(r):
			r.doubt = ""
			delete(c.doubts, r.name)
		case r.Kind == desired.RecordResume && c.terms.lost != "" && r.doubt == "":
			c.doubtful(r, fmt.Sprintf("%s: %s", r.name, c.terms.lost))
		case r.Kind == desired.RecordResume && last != nil && r.doubt == "":
			c.doubtful(r, fmt.Sprintf("%s: %s is neither the owner nor the coordinator whom %s names", r.name, r.By, last.name))
		}
	}
}

// lastDay is until when a pilot runs: as long as its terms are not agreed, as the last agreement has it, also if that is not there any more.
func (c *pilotCase) lastDay() string {
	day := ""
	if n := len(c.f.Agreed); n > 0 {
		day = c.f.Agreed[n-1].Expires
	}
	if last := c.terms.last(); last != nil {
		day = last.Expires
	}
	if c.terms.unagreed == "" || !validDay(day) {
		return c.p.Expires
	}
	return day
}

// withdraws says whether a record withdraws a pilot, by one who may agree to its terms: nobody gets anything by that.
func (c *pilotCase) withdraws(r *pilotRecord) bool {
	return r.Kind == desired.RecordClosure && r.Outcome == "withdrawn" && slices.ContainsFunc(c.terms.who, func(who string) bool { return samePerson(who, r.By) })
}

// last is the agreement that counts last; nil: none does.
func (t *pilotTerms) last() *pilotRecord {
	if len(t.chain) == 0 {
		return nil
	}
	return t.chain[len(t.chain)-1]
}

// follows says whether an agreement counts after those that do: anybody's for which an operator vouches. One that was made before the last of them says
// nothing new.
func (t *pilotTerms) follows(r *pilotRecord) bool {
	last := t.last()
	if r.vouched != "" {
		return true
	}
	if last == nil {
		return t.lost == "" && r.Owner != "" && samePerson(r.Owner, r.By)
	}
	return !r.at.Before(last.at) && last.namesAgreeing(r.By)
}

// namesAgreeing says whether an agreement names somebody as owner or coordinator.
func (r *pilotRecord) namesAgreeing(who string) bool {
	return slices.ContainsFunc([]string{r.Owner, r.Coordinator}, func(named string) bool { return named != "" && samePerson(named, who) })
}

// stray says why an agreement does not count.
func (t *pilotTerms) stray(r *pilotRecord) string {
	switch last := t.last(); {
	case t.lost != "":
		return fmt.Sprintf("%s: %s", r.name, t.lost)
	case last == nil:
		return fmt.Sprintf("%s: %s is not the owner whom it names", r.name, r.By)
	case !last.namesAgreeing(r.By):
		return fmt.Sprintf("%s: %s is neither the owner nor the coordinator whom %s names", r.name, r.By, last.name)
	default:
		return fmt.Sprintf("%s: it was made before %s, or before anybody knew that %s may", r.name, last.name, r.By)
	}
}

// may are who may agree: of a pilot to whose terms nobody has agreed, its owner.
func (t *pilotTerms) may(p desired.Pilot) (who []string) {
	last := t.last()
	switch {
	case t.lost != "":
		return []string{}
	case last == nil:
		return []string{p.Owner}
	}
	if who = []string{last.Owner}; last.Coordinator != "" && !samePerson(last.Coordinator, last.Owner) {
		who = append(who, last.Coordinator)
	}
	return who
}

// doubtful notes why a record does not count.
func (c *pilotCase) doubtful(r *pilotRecord, why string) {
	r.doubt = why
	if c.doubts == nil {
		c.doubts = map[string]string{}
	}
	c.doubts[r.name] = strings.TrimPrefix(why, r.name+": ")
}

// unagreed is a pilot whose terms are not agreed: nothing brings it further. What ends or halts it does, as if they were; and it is halted also if
// nobody knows any more what there is to halt, since those who brought it there are not named now.
func (c *pilotCase) unagreed(now time.Time) PilotNow {
	c.lenient = true
	j := c.judge(c.records, now, nil)
	stopped := j.now.State == PilotHalted || j.now.State == PilotExpired
	if !stopped {
		c.lenient = false
		j = c.judge(c.records, now, nil)
	}
	why, failed := c.haltedAnyway(now)
	if failed.why != "" {
		j.now.Trip, j.now.TripAt = failed.why, failed.at
	}
	if why != "" && !stopped && j.now.State != PilotExpired && j.now.State != PilotDenied {
		j.now.State, j.now.Why = PilotHalted, why
		j.now.Gates = append(j.now.Gates, j.resumeGate())
		j.place()
	}
	return j.now
}

// haltedAnyway is why a pilot that has been opened is halted whatever its terms say, if nobody has let it go on since: by the last halt, by FECs that the
// ledger saw fail, or by those that fail now, which are to be remembered; or by sites that have failed, which records say for ever.
func (c *pilotCase) haltedAnyway(now time.Time) (why string, failed pilotTrouble) {
	var opened, resumed time.Time
	for _, at := range c.f.Opened {
		if opened.IsZero() || at.Before(opened) {
			opened = at
		}
	}
	if opened.IsZero() {
		return "", failed
	}
	for _, r := range c.records {
		switch {
		case r.known.After(now) || r.doubt != "" || r.at.Before(opened):
		case r.Kind == desired.RecordHalt && !r.void:
			why = fmt.Sprintf("%s halted it: %s", r.By, r.Reason)
		case r.Kind == desired.RecordResume:
			why, resumed = "", r.at
		}
	}
	if resumed.After(opened) {
		opened = resumed
	}
	failed = c.failedSince(opened, now)
	why = cmp.Or(why, failed.why, c.failedSites(opened, now))
	if at := c.f.Tripped; !at.IsZero() && !at.After(now) && !resumed.After(at) {
		why = cmp.Or(why, c.f.TrippedWhy, "too many failed with it")
	}
	return why, failed
}

// failedSince are FECs that have failed since a time: how many may, nobody has agreed.
func (c *pilotCase) failedSince(from, now time.Time) (t pilotTrouble) {
	var names []string
	for _, f := range c.f.FECs {
		if !f.Failed() || f.Since.After(now) || !f.Since.IsZero() && f.Since.Before(from) {
			continue
		}
		names = append(names, f.FEC)
		switch {
		case f.Since.IsZero():
			t.at = now // whenever somebody looks: whoever lets it go on after that knew of it
		case f.Since.After(t.at):
			t.at = f.Since
		}
	}
	t.why = tooMany(names)
	return t
}

// failedSites is why sites halt a pilot that have failed since a time, by the last that each has proven, whoever speaks for it now.
func (c *pilotCase) failedSites(from, now time.Time) string {
	last := map[string]*pilotRecord{}
	for _, r := range c.records {
		if r.Kind == desired.RecordDeployment && c.unproven(r) == "" && !r.known.After(now) {
			last[r.Site] = r
		}
	}
	var names []string
	for site, r := range last {
		if r.State == "failed" && !r.at.Before(from) {
			names = append(names, site)
		}
	}
	return tooMany(names)
}

// tooMany is why those halt a pilot who have failed with it; empty: none has.
func tooMany(failed []string) string {
	if len(failed) == 0 {
		return ""
	}
	slices.Sort(failed)
	return desired.Few(failed) + " failed with it: nobody has agreed how many may"
}

// ended has what was seen to end a pilot end it still, whoever the terms name now, and whatever there is now to be ended.
func (c *pilotCase) ended() {
	for _, state := range []string{PilotDenied, PilotClosed} {
		since, seen := c.f.Since[state]
		if !seen {
			continue
		}
		var was []*pilotRecord
		counts := false
		for _, r := range c.records {
			if c.unproven(r) != "" || r.at.IsZero() || r.known.Truncate(time.Second).After(since) || !c.ends(state, r, since) {
				continue
			}
			was, counts = append(was, r), counts || r.doubt == "" && !r.void
		}
		if counts {
			continue
		}
		for _, r := range was {
			r.doubt, r.void = "", false
			delete(c.doubts, r.name)
			c.void = slices.DeleteFunc(c.void, func(name string) bool { return name == r.name })
		}
	}
}

// ends says whether a record may have ended a pilot in a state by a time: who was its authoriser then, nobody knows any more; for who could close it, the
// last agreement by then is asked.
func (c *pilotCase) ends(state string, r *pilotRecord, by time.Time) bool {
	if state == PilotDenied {
		return denies(r) && (!r.void || c.wasFrozen(r.Subject))
	}
	if r.Kind != desired.RecordClosure {
		return false
	}
	var last *pilotRecord
	for _, a := range c.terms.chain {
		if !a.known.Truncate(time.Second).After(by) {
			last = a
		}
	}
	switch {
	case r.Outcome == "withdrawn":
		return last == nil || last.namesAgreeing(r.By)
	case last == nil:
		return false
	}
	return last.Coordinator != "" && samePerson(last.Coordinator, r.By)
}

// wasFrozen says whether somebody has frozen packages, who may have been the coordinator then.
func (c *pilotCase) wasFrozen(subject string) bool {
	return slices.ContainsFunc(c.records, func(r *pilotRecord) bool {
		return r.Kind == desired.RecordFreeze && r.Subject == subject && c.unproven(r) == ""
	})
}

// over says whether a record may end a pilot in a state: it was seen to do so while the terms were agreed, whatever they say now, or anyway.
func (c *pilotCase) over(state string, r *pilotRecord) bool {
	since, seen := c.f.Since[state]
	return c.terms.unagreed == "" || seen && !since.Before(r.at) || c.withdraws(r)
}

// Unagreed is the place of a pilot whose terms are not agreed, why: nobody gets more than is published, and nobody loses that but by a halt or at its
// end.
func Unagreed(now tree.PilotPlace, published *tree.PilotPlace, why string) tree.PilotPlace {
	none := tree.PilotPlace{Name: now.Name, State: now.State, Waves: make([]string, len(now.Waves))}
	if published == nil {
		return none
	}
	stay := *published
	stay.Withheld, stay.Deployed = why, now.Deployed
	switch {
	case stay.State == PilotClosed, stay.State == PilotDenied, !slices.Contains([]string{PilotHalted, PilotExpired, PilotDenied}, now.State):
		return stay
	}
	stay.State, stay.Published, stay.Sites = now.State, false, nil
	stay.Waves = make([]string, len(published.Waves))
	for i := range stay.Waves {
		if i < len(now.Waves) {
			stay.Waves[i] = earlier(published.Snapshots, published.Waves[i], now.Waves[i])
		}
	}
	return stay
}

// As is a pilot with another place, of which its waves tell: one that is withheld has what it was given, whatever it is judged by.
func (n PilotNow) As(place tree.PilotPlace) PilotNow {
	n.Place, n.Waves = place, slices.Clone(n.Waves)
	for i := range n.Waves {
		w, was := &n.Waves[i], n.Waves[i].Subject
		w.Subject = waveOf(place, i)
		w.Open = w.Subject != ""
		if w.Subject == was || place.Withheld == "" {
			continue
		}
		if w.Verdict, w.Why, w.SoakEnds = GateWaiting, "it gets nothing while the pilot is withheld", (time.Time{}); w.Open {
			w.Why = "it keeps what it has while the pilot is withheld"
		}
	}
	return n
}

// earlier is the earlier of what a wave has and of what it is to go back to; nothing, if that has not been published.
func earlier(published []string, has, to string) string {
	switch was, is := slices.Index(published, has), slices.Index(published, to); {
	case has == to:
		return has
	case has == "", to == "", was < 0, is < 0:
		return ""
	case was < is:
		return has
	}
	return to
}

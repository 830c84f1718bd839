package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

// What operators do to holds. None of it may happen while a pass runs: a service does it by Loop.Do, anybody else by Alone.

// Alone does something as the root's one writer. The root must be there already.
func (r *Reconciler) Alone(ctx context.Context, do func(context.Context) error) error {
	if _, err := os.Stat(r.Root); err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	_, unlock, err := r.open()
	if err != nil {
		return err
	}
	defer unlock()
	return do(ctx)
}

// longest is how far ahead a hold may end.
const longest = 366 * 24 * time.Hour

// errNoRecords says that holds cannot be placed.
var errNoRecords = errors.New("this root has no ledger")

// accept checks what an operator says of a hold or an override.
func (r *Reconciler) accept(reason string, until time.Time) error {
	now := r.Now()
	switch {
	case r.Records == nil:
		return errNoRecords
	case strings.TrimSpace(reason) == "":
		return errors.New("a hold needs a reason")
	case until.IsZero():
		return errors.New("a hold needs an end")
	case !now.Before(until):
		return fmt.Errorf("the hold would have ended already, at %s", observed.Minute(until))
	case until.Sub(now) > longest:
		return fmt.Errorf("the hold would end on %s, more than a year ahead: give an earlier time, and renew it then", observed.Minute(until))
	}
	return nil
}

// Place places an operator's hold: its scope, reason, whose it is and when it ends are given.
func (r *Reconciler) Place(ctx context.Context, h observed.Hold) (observed.Hold, error) {
	scope, err := desired.ParseScope(h.Scope)
	if err == nil {
		err = r.accept(h.Reason, h.Until)
	}
	if err != nil {
		return h, err
	}
	have, err := r.see()
	if err != nil {
		return h, err
	}
	if err := r.there(ctx, scope, have); err != nil {
		return h, err
	}
	h.Kind, h.Commit = desired.KindFor(scope), have.LastCommit()
	if what, name := desired.SplitScope(scope); what == desired.FECScope {
		for _, held := range lastKnown(have).Givens.Held {
			if held.FEC == name {
				h.Commit = held.Commit
			}
		}
	}
	return r.place(ctx, h)
}

func (r *Reconciler) place(ctx context.Context, h observed.Hold) (observed.Hold, error) {
	h.Source = observed.FromOperator
	h.Since, h.Until = r.Now().UTC().Truncate(time.Second), h.Until.UTC().Truncate(time.Second)
	err := r.Records.Use(ctx, func(l *ledger.Ledger) error {
		placed, err := l.Place(ctx, ledger.Hold(h))
		h = observed.Hold(placed)
		return err
	})
	if err != nil {
		return h, fmt.Errorf("place hold: %w", err)
	}
	r.Log.Info("placed hold", "hold", h.ID, "scope", h.Scope, "by", h.By, "until", h.Until, "reason", h.Reason)
	return h, nil
}

// see is the root as it is.
func (r *Reconciler) see() (observed.Root, error) {
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return observed.Root{}, fmt.Errorf("open root: %w", err)
	}
	defer root.Close() // only read
	return r.Served.root(root)
}

// there says whether there is what a scope names, as far as the root and the repository tell.
func (r *Reconciler) there(ctx context.Context, scope string, have observed.Root) error {
	what, name := desired.SplitScope(scope)
	if what == desired.SiteScope || scope == desired.CampaignScope {
		return nil
	}
	known := map[string]bool{}
	if what == desired.FECScope {
		for _, f := range have.Index.FECs {
			known[f.Name] = true
		}
	} else {
		last := have.LastCommit()
		if r.Repo == nil || last == "" {
			return nil
		}
		w, err := r.load(ctx, last)
		if err != nil {
			return nil // the hold counts when the site can be read again
		}
		keep := func(names []string) {
			for _, n := range names {
				known[n] = true
			}
		}
		if what == desired.GroupScope {
			keep(slices.Collect(maps.Keys(w.site.Settings.Groups)))
		} else {
			keep(campaignScopes(w.site))
		}
	}
	if known[name] {
		return nil
	}
	if near := desired.Suggest(name, slices.Sorted(maps.Keys(known))); near != "" {
		return fmt.Errorf("nothing is published of %s: did you mean %s.%s?", scope, what, near)
	}
	return fmt.Errorf("nothing is published of %s", scope)
}

// campaignScopes are the campaigns of a site, and the stages of each as CAMPAIGN/STAGE.
func campaignScopes(site desired.Site) (names []string) {
	for name, c := range site.Campaigns {
		names = append(names, name)
		for stage := range c.Stages {
			names = append(names, name+"/"+stage)
		}
	}
	return names
}

// Lift ends an operator's hold for good.
func (r *Reconciler) Lift(ctx context.Context, id, by string) error {
	if r.Records == nil {
		return errNoRecords
	}
	err := r.Records.Use(ctx, func(l *ledger.Ledger) error {
		err := l.End(ctx, id, by, "lifted", r.Now())
		if errors.Is(err, ledger.ErrNoHold) {
			if other := l.LiftOverride(ctx, id); other == nil {
				return nil
			}
		}
		return err
	})
	if errors.Is(err, ledger.ErrNoHold) {
		if Unplaced(id) {
			return fmt.Errorf("nobody placed %s, so that nobody can lift it: override it for a while, with pomona hold override", id)
		}
		return fmt.Errorf("%w: pomona hold lists those that are in force", err)
	}
	if err != nil {
		return fmt.Errorf("lift hold: %w", err)
	}
	r.Log.Info("lifted hold", "hold", id, "by", by)
	return nil
}

// Unplaced says whether an id is one of the holds that nobody places: of the site, the calendar or a machine.
func Unplaced(id string) bool {
	source, _, ok := strings.Cut(id, ".")
	return ok && (source == "git" || source == "freeze" || source == "machine")
}

// Resume lifts what operators suspended of a scope; a rollback is lifted by its id only.
func (r *Reconciler) Resume(ctx context.Context, scope, by string) ([]observed.Hold, error) {
	if _, err := desired.ParseScope(scope); err != nil {
		return nil, err
	}
	holds, _, ok := r.Records.read(ctx)
	if !ok {
		return nil, errNoRecords
	}
	var out []observed.Hold
	var others []string
	for _, h := range holds {
		switch {
		case h.Scope != scope || !r.Now().Before(h.Until):
		case h.Bad != "":
			others = append(others, h.ID)
		default:
			if err := r.Lift(ctx, h.ID, by); err != nil {
				return out, err
			}
			out = append(out, h)
		}
	}
	if len(out) == 0 && len(others) > 0 {
		return nil, fmt.Errorf("%s is not suspended but rolled back: lift %s to publish what was rolled back", scope, strings.Join(others, ", "))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("nobody suspended %s: pomona hold lists what holds it", scope)
	}
	return out, nil
}

// Override sets a hold out of force for a while: one that is in force, or that may come.
func (r *Reconciler) Override(ctx context.Context, o observed.Override) error {
	if err := r.accept(o.Reason, o.Until); err != nil {
		return err
	}
	if err := r.overridable(ctx, o.Hold); err != nil {
		return err
	}
	o.Since, o.Until = r.Now().UTC().Truncate(time.Second), o.Until.UTC().Truncate(time.Second)
	if err := r.Records.Use(ctx, func(l *ledger.Ledger) error { return l.Override(ctx, ledger.Override(o)) }); err != nil {
		return fmt.Errorf("override hold: %w", err)
	}
	r.Log.Info("overrode hold", "hold", o.Hold, "by", o.By, "until", o.Until, "reason", o.Reason)
	return nil
}

// overridable says why there is no hold of an id, nor will be. Without a repository, nobody knows what the site states and a service heeds.
func (r *Reconciler) overridable(ctx context.Context, id string) error {
	if r.Repo == nil && Unplaced(id) {
		return nil
	}
	have, err := r.see()
	if err != nil {
		return err
	}
	h := plan.Holds{Freezes: r.Freezes, Stated: map[string]desired.Hold{}, Newer: map[string]bool{}}
	for _, m := range r.Machines {
		h.Machines = append(h.Machines, observed.Machine{Name: m.Name})
	}
	h.Placed, _, _ = r.Records.read(ctx)
	if r.Repo != nil {
		unread := true
		for _, rev := range []string{have.LastCommit(), r.Branch} {
			if w, err := r.seen(ctx, rev); rev != "" && err == nil {
				maps.Copy(h.Stated, w.site.Holds)
				unread = false
			}
		}
		if unread && strings.HasPrefix(id, "git.") {
			return nil // a pass says why
		}
	}
	known := h.IDs(r.Now())
	if slices.Contains(known, id) {
		return nil
	}
	if near := desired.Suggest(id, known); near != "" {
		return fmt.Errorf("there is no hold %s: did you mean %s?", id, near)
	}
	if len(known) == 0 {
		return fmt.Errorf("there is no hold %s: none is in force, and none is to come", id)
	}
	const most = 10
	more := ""
	if len(known) > most {
		known, more = known[:most], fmt.Sprintf(" and %d more", len(known)-most)
	}
	return fmt.Errorf("there is no hold %s: those that are in force or may come are %s%s", id, strings.Join(known, ", "), more)
}

// Rollback has an earlier commit published, and what the branch names now not again until a newer commit is there. It makes
// sure first that all of the earlier commit can still be had.
func (r *Reconciler) Rollback(ctx context.Context, rev string, h observed.Hold) (observed.Hold, error) {
	if err := r.accept(h.Reason, h.Until); err != nil {
		return h, err
	}
	head, err := r.Repo.Resolve(r.Branch)
	if err != nil {
		return h, err
	}
	to, err := r.Repo.Resolve(rev)
	if err != nil {
		return h, err
	}
	if to.ID == head.ID {
		return h, fmt.Errorf("commit %.12s is what the branch names: name an earlier one", to.ID)
	}
	if err := r.publishable(ctx, to.ID); err != nil {
		return h, fmt.Errorf("commit %.12s cannot be published again: %w", to.ID, err)
	}
	h.Scope, h.Kind, h.Commit, h.Bad = desired.SiteScope, desired.Stay, to.ID, head.ID
	earlier, _, _ := r.Records.read(ctx)
	if h, err = r.place(ctx, h); err != nil {
		return h, err
	}
	for _, e := range earlier {
		if e.Bad != "" { // the last rollback alone counts
			err = errors.Join(err, r.Records.Use(ctx, func(l *ledger.Ledger) error { return l.End(ctx, e.ID, h.By, "rolled back again by "+h.ID, r.Now()) }))
		}
	}
	return h, err
}

// publishable says why a commit could not be published: it has problems, or a payload is gone.
func (r *Reconciler) publishable(ctx context.Context, commit string) error {
	have, err := r.see()
	if err != nil {
		return err
	}
	w, _, err := r.wantAgain(ctx, commit, have)
	if err != nil {
		return err
	}
	if err := sameSite(w.site, have); err != nil {
		return err
	}
	if _, err := r.build(ctx, w, have, store.Measure{}, func() error { return nil }); err != nil {
		return fmt.Errorf("its payload is gone: %w", err)
	}
	return nil
}

// fewPasses are as many as a status shows.
const fewPasses = 10

// Status is how a root is, from what lies in it and, with a Repo, what its branch names.
func (r *Reconciler) Status(ctx context.Context) (report.Status, error) {
	s, err := r.status(ctx, true)
	if err != nil || r.Records == nil {
		return s, err
	}
	restarts, unread := r.Restarts(ctx)
	if unread == nil && (restarts.Pause.Reason != "" || len(restarts.FECs) > 0) { // a ledger of an older version, which is only read, knows none
		s.Restarts = &restarts
	}
	return s, nil
}

// status is likewise how a root is, without its restarts; without its fleet, it does not say how FECs are.
func (r *Reconciler) status(ctx context.Context, fleet bool) (report.Status, error) {
	s := report.Status{Holds: []observed.Hold{}, Overrides: []observed.Override{}, Blocked: []plan.Blocked{}, Passes: []observed.Pass{}, Hooks: []report.Hook{}}
	have, err := r.see()
	if err != nil {
		return s, err
	}
	if g, ok := have.Published(); ok {
		s.Site = g.Site
		s.Published = &report.Revision{Commit: g.Commit, Generation: g.Number, At: g.Published}
	}
	var said map[string]observed.Said
	if r.Records != nil {
		err := r.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
			if s.Passes, err = observe.Passes(ctx, l, fewPasses); err == nil && fleet {
				said, err = observe.Said(ctx, l)
			}
			s.Hooks, _ = failingHooks(ctx, l) // a ledger of an older version, which is only read, knows none
			return err
		})
		if err != nil && !errors.Is(err, ledger.ErrNone) {
			s.Trouble = err.Error()
		}
	}
	if have.Current > 0 && s.Trouble == "" && fleet { // else nobody knows whether they are silent
		fecs := report.FECsOf(have.Index.FECs, said, r.pilotedFECs(ctx), r.Now())
		s.FECs = &fecs
	}
	if len(s.Passes) > 0 {
		last := s.Passes[0]
		s.Attempted = &report.Revision{Commit: last.Wanted, At: last.Ended, Outcome: last.Outcome, Reason: last.Reason}
		s.Wanted = last.Wanted
		if err := json.Unmarshal(last.Blocked, &s.Blocked); err != nil {
			s.Trouble = "read what is blocked: " + err.Error()
		}
	}
	if r.Repo != nil {
		if head, err := r.Repo.Resolve(r.Branch); err == nil {
			s.Wanted = head.ID
		}
	}
	j := r.judge(ctx, s.Wanted, stated(have))
	j.holds.Stated = r.stated(ctx, have, s.Wanted, j.in)
	j.again(r.Now())
	s.Holds = append(s.Holds, r.sinceWhen(ctx, j.in)...)
	for _, o := range j.holds.Overrides {
		if r.Now().Before(o.Until) {
			s.Overrides = append(s.Overrides, o)
		}
	}
	return s, nil
}

// stated are the holds that the site itself states, as a pass would read them.
func (r *Reconciler) stated(ctx context.Context, have observed.Root, head string, in []observed.Hold) map[string]desired.Hold {
	if r.Repo == nil {
		return nil
	}
	if len(plan.SiteHolds(in)) > 0 {
		head = plan.SiteCommit(plan.SiteHolds(in), have.LastCommit())
	}
	w, err := r.seen(ctx, head)
	if err != nil {
		return nil // a pass says why
	}
	return w.site.Holds
}

// sinceWhen is dated that notes nothing.
func (r *Reconciler) sinceWhen(ctx context.Context, in []observed.Hold) []observed.Hold {
	if r.Records == nil {
		return in
	}
	var seen map[string]time.Time
	_ = r.Records.Use(ctx, func(l *ledger.Ledger) (err error) { // then nobody knows
		seen, err = l.Seen(ctx)
		return err
	})
	in = slices.Clone(in)
	for i, h := range in {
		if h.Since.IsZero() {
			in[i].Since = seen[h.ID]
		}
	}
	return in
}

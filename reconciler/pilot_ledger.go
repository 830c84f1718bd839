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
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// pilotLedger is what the ledger knows of pilots, read at once.
type pilotLedger struct {
	err error // why it knows nothing
	provenRecords
	sights    map[string][]ledger.PilotSight // by pilot
	ran       map[runKey]ledger.PilotRun
	evidence  map[string]ledger.FECReport
	reported  map[string]bool // FECs whose last report counts, and that have proven nothing
	probes    map[string][]observed.PilotProbe
	announced map[string]map[string]time.Time
}

// runKey is one software of one FEC.
type runKey struct{ fec, software string }

// Kinds of what is seen of pilots.
const (
	sawState = "state"
	sawWave  = "wave"
	sawTrip  = "trip"
)

// pilotLedger reads what is known of pilots, after entering what FECs that take part have proven to run since.
func (r *Reconciler) pilotLedger(ctx context.Context, fecs []runKey) (k pilotLedger) {
	k.err = r.Records.ask(ctx, func(l *ledger.Ledger) error { return k.read(ctx, l) })
	if k.err != nil || len(fecs) == 0 {
		return k
	}
	var news []ledger.PilotRun
	k.err = r.Records.ask(ctx, func(l *ledger.Ledger) (err error) {
		news, err = k.follow(ctx, l, fecs)
		return err
	})
	if len(news) > 0 {
		r.Records.Try(ctx, func(l *ledger.Ledger) error { return l.PutPilotRuns(ctx, news) })
	}
	return k
}

// runsOf are the members of a pilot of FECs, each with its software.
func runsOf(p desired.Pilot, members [][]string) (all []runKey) {
	if p.Scope == desired.PilotOfFECs {
		for _, fec := range slices.Concat(members...) {
			all = append(all, runKey{fec, p.Software})
		}
	}
	return all
}

// ask reads the ledger, also beside the service that has it.
func (r *Records) ask(ctx context.Context, do func(*ledger.Ledger) error) error {
	if r == nil {
		return errors.New("there is no ledger")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.use(ctx, do)
	if errors.Is(err, ledger.ErrTaken) {
		err = r.look(ctx, do)
	}
	return err
}

func (k *pilotLedger) read(ctx context.Context, l *ledger.Ledger) error {
	*k = pilotLedger{sights: map[string][]ledger.PilotSight{}, ran: map[runKey]ledger.PilotRun{},
		probes: map[string][]observed.PilotProbe{}, announced: map[string]map[string]time.Time{}}
	if err := k.provenRecords.read(ctx, l); err != nil {
		return err
	}
	sights, err := l.PilotSights(ctx)
	if err != nil {
		return err
	}
	for _, s := range sights {
		k.sights[s.Pilot] = append(k.sights[s.Pilot], s)
	}
	runs, err := l.PilotRuns(ctx)
	if err != nil {
		return err
	}
	for _, r := range runs {
		k.ran[runKey{r.FEC, r.Software}] = r
	}
	probes, err := l.PilotProbes(ctx)
	if err != nil {
		return err
	}
	for _, p := range probes {
		k.probes[p.Pilot] = append(k.probes[p.Pilot], observed.PilotProbe(p))
	}
	told, _, err := l.PilotBroadcasts(ctx)
	for _, b := range told {
		if b.Kind == string(observed.BroadcastUpdate) {
			if k.announced[b.Pilot] == nil {
				k.announced[b.Pilot] = map[string]time.Time{}
			}
			k.announced[b.Pilot][b.About] = b.At
		}
	}
	return err
}

// follow finds out what FECs that take part have proven to run, and returns what is new of that.
func (k *pilotLedger) follow(ctx context.Context, l *ledger.Ledger, fecs []runKey) (news []ledger.PilotRun, err error) {
	if k.evidence, err = l.Evidence(ctx); err != nil {
		return nil, err
	}
	said, err := observe.Said(ctx, l)
	if err != nil {
		return nil, err
	}
	k.reported = map[string]bool{}
	for fec, s := range said {
		counts := s.Counts()
		k.reported[fec] = counts != nil && !counts.Proven()
	}
	for _, key := range fecs {
		said, proven := k.evidence[key.fec]
		was := k.ran[key]
		if !proven || was.Serial == said.Serial && was.State == runState(said, key.software) {
			continue
		}
		run := ledger.PilotRun{FEC: key.fec, Software: key.software, Serial: said.Serial, State: runState(said, key.software), Since: said.At}
		published, known, err := l.PublishedFEC(ctx, key.fec, said.Serial)
		if err != nil {
			return news, err
		}
		if known {
			run.Version = published.Software[key.software]
		}
		if was.Version == run.Version && was.State == run.State {
			run.Since = was.Since
		}
		k.ran[key] = run
		news = append(news, run)
	}
	return news, nil
}

// runState is how a FEC is with one software. What a developer has put there is not what was published.
func runState(said ledger.FECReport, software string) string {
	for name := range strings.SplitSeq(said.Dev, ",") {
		if name, _, _ := strings.Cut(strings.TrimSpace(name), " "); name == software {
			return "dev"
		}
	}
	return said.State
}

// runs is what FECs that take part in a pilot have proven to run. One that has gone back to an earlier release has failed, whatever it runs now.
func (k pilotLedger) runs(p desired.Pilot, members [][]string, in []observed.Hold) (all []observed.PilotFEC) {
	for _, fec := range slices.Concat(members...) {
		i := slices.IndexFunc(in, func(h observed.Hold) bool {
			return h.Source == observed.FromFailure && h.Scope == desired.FECScope+"."+fec
		})
		run, proven := k.ran[runKey{fec, p.Software}]
		switch {
		case i >= 0:
			all = append(all, observed.PilotFEC{FEC: fec, State: "failed", Version: run.Version, Since: in[i].Since})
		case proven:
			all = append(all, observed.PilotFEC{FEC: fec, State: run.State, Version: run.Version, Since: run.Since})
		}
	}
	return all
}

// unproven are members who say what they run, and prove nothing.
func (k pilotLedger) unproven(members [][]string) (names []string) {
	for _, fec := range slices.Concat(members...) {
		if k.reported[fec] {
			names = append(names, fec)
		}
	}
	return names
}

// newcomer is why no record of a pilot counts, whoever wrote it: its name is another's or, of one of which nothing is published, may be.
func (r *Reconciler) newcomer(known pilotLedger, name string, p desired.Pilot, was *tree.PilotPlace) string {
	if known.err == nil || r.Records == nil || r.Records.readOnly || was != nil {
		return usurps(known.provenRecords, pilotSection, name, p.Records)
	}
	return fmt.Sprintf("nobody knows whether a pilot of this name was there before, since the ledger cannot be read: %v; it goes on once that can", known.err)
}

// seen adds what was seen of a pilot before. If the ledger has nothing of it, what is published says what had opened, and whether it was halted.
func (k pilotLedger) seen(name string, f *plan.PilotFacts, was *tree.PilotPlace, published time.Time) {
	f.Since, f.Opened = map[string]time.Time{}, map[string]time.Time{}
	f.Probes, f.Announced = k.probes[name], k.announced[name]
	for _, s := range k.sights[name] {
		switch s.Kind {
		case sawState:
			f.Since[s.What] = s.At
		case sawWave:
			f.Opened[s.What] = s.At
		case sawTrip:
			f.Tripped, f.TrippedWhy = s.At, s.Detail
		}
	}
	if was == nil || len(k.sights[name]) > 0 {
		return
	}
	for i, subject := range was.Waves {
		if subject != "" {
			f.Opened[plan.PilotWave{Wave: i + 1, Subject: subject}.Key()] = published
		}
	}
	if was.State == plan.PilotClosed {
		f.Since[plan.PilotClosed] = published
	}
	if was.State == plan.PilotHalted {
		f.Tripped, f.TrippedWhy = published, was.Withheld
	}
}

// seePilots enters what is to be remembered of pilots as they are now. What was seen of one that is not there stays: it may come back, with all that was
// said of it.
func (r *Reconciler) seePilots(ctx context.Context, j pilotsJudged) {
	if j.w.commit.ID == "" {
		return // the pass ended before it judged
	}
	r.Records.Try(ctx, func(l *ledger.Ledger) error {
		all, err := l.PilotSights(ctx)
		if err != nil {
			return err
		}
		at := r.Now().UTC().Truncate(time.Second)
		var seen, forget []ledger.PilotSight
		for _, now := range j.now {
			more, gone := pilotSights(now, slices.DeleteFunc(slices.Clone(all), func(s ledger.PilotSight) bool { return s.Pilot != now.Name }), at)
			seen, forget = append(seen, more...), append(forget, gone...)
		}
		return l.SeePilots(ctx, seen, forget)
	})
}

// pilotSights is what is to be remembered of a pilot, and what to be forgotten: states that it is to reach once more.
func pilotSights(now plan.PilotNow, was []ledger.PilotSight, at time.Time) (seen, forget []ledger.PilotSight) {
	find := func(kind, what string) int {
		return slices.IndexFunc(was, func(s ledger.PilotSight) bool { return s.Kind == kind && s.What == what })
	}
	add := func(kind, what, detail string, at time.Time) {
		seen = append(seen, ledger.PilotSight{Pilot: now.Name, Kind: kind, What: what, At: at, Detail: detail})
	}
	agreed := now.Unagreed == "" // else nobody knows how far it is, and it stays as it was
	new := !slices.ContainsFunc(was, func(s ledger.PilotSight) bool { return s.Kind == sawState })
	if (agreed || new) && find(sawState, now.State) < 0 {
		add(sawState, now.State, "", at)
	}
	for _, s := range was {
		if agreed && s.Kind == sawState && plan.PilotLater(s.What, now.State) {
			forget = append(forget, s)
		}
	}
	for _, w := range now.Waves {
		if agreed && w.Open && find(sawWave, w.Key()) < 0 {
			add(sawWave, w.Key(), "", at)
		}
	}
	if now.Trip != "" {
		if i := find(sawTrip, ""); i < 0 || now.TripAt.Truncate(time.Millisecond).After(was[i].At) {
			add(sawTrip, "", now.Trip, now.TripAt)
		}
	}
	return seen, forget
}

package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// gather is the fleet as it is now.
func (s *Restarter) gather(ctx context.Context) (f fleetNow, err error) {
	var said map[string]observed.Said
	var rollouts map[string]ledger.Rollout
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		var pause ledger.RolloutPause
		if rollouts, pause, err = l.Rollouts(ctx); err != nil {
			return err
		}
		f.pause = observed.Pause(pause)
		said, err = observe.Said(ctx, l)
		return err
	})
	if err != nil {
		return f, err
	}
	if s.since.IsZero() {
		s.since = s.Now()
	}
	f.Now, f.Since, f.Pace = s.Now(), s.since, s.fleet.site.Settings.Restarts
	f.Paused, f.Stopped = f.pause.Reason != "", f.pause.By != ""
	f.Rollouts = make(map[string]observed.Rollout, len(rollouts))
	for fec, r := range rollouts {
		f.Rollouts[fec] = observed.Rollout(r)
	}
	holds := s.holds(ctx)
	for _, x := range s.fleet.index {
		m := plan.Member{FEC: x.Name, Wanted: x.Serial, Groups: s.fleet.site.FECs[x.Name].Groups}
		if e := said[x.Name].Proven; e != nil {
			last := said[x.Name].Last
			m.Doubted = !last.Proven() && last.At.After(e.At) && (last.State != e.State || last.Serial != e.Serial)
			m.Evidence = &observed.Evidence{Serial: e.Serial, State: e.State, Detail: e.Detail, At: e.At}
			if m.Need, err = s.need(ctx, x, *e); err != nil {
				return f, err
			}
			if e.Dev != "" {
				m.Held = "has " + e.Dev + " of a developer until its next boot"
			}
		}
		s.hold(&m, holds)
		f.Members = append(f.Members, m)
	}
	return f, nil
}

// hold says what keeps a FEC from being restarted. A rollback or a release that failed does not: what it holds is what the FEC is to run.
func (s *Restarter) hold(m *plan.Member, holds []observed.Hold) {
	f, there := s.fleet.site.FECs[m.FEC]
	for _, h := range holds {
		switch mine := plan.Covers(h.Scope, m.FEC, f.Groups); {
		case mine && h.Bad == "":
			m.Held = h.String()
		case mine && h.Source == observed.FromFailure:
			m.Returning = true
		}
	}
	if f.Inhibit != "" {
		m.Held = "inhibited: " + f.Inhibit
	}
	if !there {
		m.Held = "the site does not say how to reach it"
	}
	asked, why := s.talks.of(m.FEC, s.Now())
	m.Held = cmp.Or(m.Held, why)
	m.Unasked = m.Evidence == nil && !asked && there
}

// holds are those in force now.
func (s *Restarter) holds(ctx context.Context) []observed.Hold {
	head, err := s.Repo.Resolve(s.Branch)
	if err != nil {
		head.ID = "" // then rollbacks stay
	}
	j := s.judge(ctx, head.ID, s.fleet.holds)
	j.holds.Stated = s.fleet.site.Holds
	j.again(s.Now())
	return j.in
}

// need is what a FEC needs to run what is published, from what it has proved to run. It is worked out once.
func (s *Restarter) need(ctx context.Context, x tree.IndexedFEC, e observed.FECReport) (plan.Effort, error) {
	if e.Serial == x.Serial && e.State == "running" {
		return plan.Effort{What: desired.Nothing}, nil
	}
	key := way{x.Name, e.Serial, x.Serial}
	if n, ok := s.fleet.needs[key]; ok {
		return n, nil
	}
	was, _, err := s.manifest(ctx, x.Name, e.Serial)
	if err != nil {
		return plan.Effort{}, err
	}
	root, err := os.OpenRoot(s.Root)
	if err != nil {
		return plan.Effort{}, err
	}
	defer root.Close() // only read
	now, err := observe.Manifest(root, x.Name)
	if err != nil {
		return plan.Effort{}, err
	}
	n := plan.RestartOf(s.fleet.site, was, now)
	if now.Serial == x.Serial { // else something else has just been published
		s.fleet.needs[key] = n
	}
	return n, nil
}

// manifest is what was published to a FEC with a serial, and the commit that did so first; nil if that is not known.
func (s *Restarter) manifest(ctx context.Context, fec string, serial int64) (m *tree.Manifest, commit string, err error) {
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		p, known, err := l.PublishedFEC(ctx, fec, serial)
		if err != nil || !known {
			return err
		}
		if parsed, _, _, err := tree.ParseManifest(p.Manifest); err == nil {
			m, commit = &parsed, p.Commit
		}
		return nil
	})
	return m, commit, err
}

// servedFleet is what a root publishes, read again when that changes.
type servedFleet struct {
	generation int64 // 0: nothing is
	link       string
	site       desired.Site
	holds      []observed.Hold // that the generation states
	index      []tree.IndexedFEC
	needs      map[way]plan.Effort
}

// way is a FEC's way from one serial to another.
type way struct {
	fec      string
	was, now int64
}

func (p *servedFleet) moved(root string) bool {
	link, err := os.Readlink(filepath.Join(root, tree.CurrentLink))
	return err == nil && link != p.link
}

// look reads what is published, unless it is known.
func (p *servedFleet) look(ctx context.Context, r *Reconciler) error {
	link, err := os.Readlink(filepath.Join(r.Root, tree.CurrentLink))
	if errors.Is(err, os.ErrNotExist) {
		return nil // nothing is
	}
	if err != nil || link == p.link {
		return err
	}
	site, g, err := r.PublishedSite(ctx)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return err
	}
	defer root.Close() // only read
	index, err := observe.Index(root, g.Number)
	if err != nil {
		return fmt.Errorf("read what is published: %w", err)
	}
	if tree.GenerationPath(g.Number) != link {
		return nil // something else has just been published: the next step sees it
	}
	*p = servedFleet{generation: g.Number, link: link, site: site, holds: g.Givens.Holds, index: index.FECs, needs: map[way]plan.Effort{}}
	return nil
}

package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// forgetEvery is how often old launch folders are looked for, mostForgotten how many are taken then, and mostRemoved how many the batch system
// is asked about at once, and how many are removed at a look: meanwhile nobody looks at the jobs of their engine.
const (
	forgetEvery   = time.Hour
	mostForgotten = 1000
	mostRemoved   = 100
)

// forget removes launch folders of runs that ended long ago, as the engine's configuration says. That the run has ended stays known, also
// to a ledger that is made anew.
func (s *Campaigner) forget(ctx context.Context, e *engineNow) (err error) {
	keep := e.Conf.KeepFor()
	if keep == 0 {
		return nil
	}
	if !s.Now().Before(e.forgot.Add(forgetEvery)) {
		e.forgot, e.dropped = s.Now(), true // also when it goes wrong: it looks at very much
		n, failed := s.dropOld(ctx, e, s.Now().Add(-keep), s.publishedCampaigns)
		if n > 0 {
			s.Log.Info("removed launch folders of runs that ended long ago", "engine", e.name, "launches", n)
		}
		err = failed
	}
	if !e.dropped {
		return err
	}
	more, failed := e.desk.Clear(mostRemoved)
	e.dropped = more
	return errors.Join(err, failed)
}

// publishedCampaigns are all campaigns that the ledger or the site knows; none while nothing is published: what they may read is not
// known.
func (s *Campaigner) publishedCampaigns(ctx context.Context) ([]tended, error) {
	site, err := s.siteNow(ctx)
	if err != nil || site.commit == "" {
		return nil, err
	}
	return s.tendedFrom(ctx, site)
}

// dropOld drops launch folders of runs that ended before a time, and says how many.
func (s *Campaigner) dropOld(ctx context.Context, e *engineNow, before time.Time, campaigns func(context.Context) ([]tended, error)) (int, error) {
	find := func(keys []string) (old []string, began time.Time, err error) {
		all, err := campaigns(ctx)
		if err != nil {
			return nil, began, err
		}
		return s.oldLaunches(ctx, e, before, all, keys)
	}
	keys, err := e.desk.Launches()
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	s.deciding.Lock()
	old, began, err := find(keys)
	s.deciding.Unlock() // nobody waits while a batch system is asked
	if err != nil || len(old) == 0 {
		return 0, err
	}
	var idle []string
	for some := range slices.Chunk(old, mostRemoved) {
		of, err := e.desk.Idle(ctx, began.Add(-time.Minute), some)
		if err != nil {
			return 0, err
		}
		idle = append(idle, of...)
	}
	if len(idle) == 0 {
		return 0, nil
	}
	s.deciding.Lock() // nothing is planned that might want them
	defer s.deciding.Unlock()
	if idle, _, err = find(idle); err != nil {
		return 0, err
	}
	return len(idle), e.desk.Drop(idle)
}

// oldLaunches are those of some launch folders that are of runs that ended before a time, not too many, and when the first of those runs began:
// of runs of which all is known, and nothing that another run may still read.
func (s *Campaigner) oldLaunches(ctx context.Context, e *engineNow, before time.Time, all []tended, keys []string) (old []string, began time.Time, err error) {
	runs, ends := map[string]ledger.Campaign{}, map[string]keptEnd{}
	used := usedFolders{folder: filepath.Clean(e.desk.Folder) + "/", keys: map[string]bool{}}
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		for _, c := range all {
			switch {
			case !plan.CampaignEnded(c.row.State):
				used.addSpec(c.spec)
				if err := l.EachInputs(ctx, c.uid, used.add); err != nil {
					return err
				}
			case c.row.At.Before(before):
				runs[c.uid] = c.row
			}
		}
		open, err := l.OpenLaunches(ctx, "")
		for _, launch := range open { // of what was given up, or nobody knows
			delete(runs, launch.UID)
		}
		if err != nil || used.all || len(runs) == 0 {
			return err
		}
		over, err := l.LaunchesOver(ctx, keys)
		for _, key := range keys {
			row, known := runs[over[key]]
			if known && !used.keys[key] && len(old) < mostForgotten {
				old, ends[row.UID] = append(old, key), keptEnd{Campaign: row}
			}
		}
		return err
	})
	if err != nil {
		return nil, began, err
	}
	for _, end := range ends {
		if began.IsZero() || end.Campaign.Began.Before(began) {
			began = end.Campaign.Began
		}
		if err := s.keepOldEnd(ctx, e, end); err != nil {
			return nil, began, err
		}
	}
	return old, began, nil
}

// keepOldEnd keeps how a run ended that ended before that was kept, or while the engine's folder was away.
func (s *Campaigner) keepOldEnd(ctx context.Context, e *engineNow, end keptEnd) error {
	b, err := e.desk.KeptEnd(end.Campaign.UID)
	if err != nil || b != nil {
		return err
	}
	if err := s.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		end.Stages, err = l.CampaignStages(ctx, end.Campaign.UID)
		return err
	}); err != nil {
		return err
	}
	if b, err = json.Marshal(end); err != nil {
		return err
	}
	return e.desk.KeepEnd(end.Campaign.UID, append(b, '\n'))
}

// usedFolders are launch folders that runs read which have not ended.
type usedFolders struct {
	folder string // of the engine, with a slash at its end
	keys   map[string]bool
	all    bool
}

// add notes what inputs lie in launch folders.
func (u *usedFolders) add(inputs []string) {
	for _, name := range inputs {
		for at := strings.Index(name, u.folder); at >= 0; at = strings.Index(name, u.folder) {
			name = name[at+len(u.folder):]
			key, _, _ := strings.Cut(name, "/")
			u.keys[strings.TrimRight(key, `"\`)] = true
		}
	}
}

// addSpec notes what a campaign names, or may find when it looks.
func (u *usedFolders) addSpec(c desired.Campaign) {
	b, err := json.Marshal(c)
	if err != nil {
		u.all = true
		return
	}
	u.add([]string{string(b)})
	u.all = u.all || slices.ContainsFunc(globsOf(c), func(glob string) bool {
		first, _, _ := strings.Cut(glob, "*")
		first, _, _ = strings.Cut(first, "?")
		first = path.Dir(first) + "/"
		return strings.HasPrefix(first, u.folder) || strings.HasPrefix(u.folder, first)
	})
}

func globsOf(c desired.Campaign) (globs []string) {
	for _, stage := range c.Stages {
		if stage.Input != nil && stage.Input.Glob != "" {
			globs = append(globs, stage.Input.Glob)
		}
	}
	return globs
}

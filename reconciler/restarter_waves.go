package reconciler

import (
	"context"
	"errors"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// ErrNoWave says that no wave of restarts is known by a name.
var ErrNoWave error = refused{errors.New("there is no wave"), serve.ErrNoSuch}

// Waves is how restarts go, by group and wave, as it was decided last.
func (s *Restarter) Waves(ctx context.Context) (report.RestartWaves, error) {
	now, err := s.Restarts(ctx)
	if err != nil {
		return report.RestartWaves{}, err
	}
	out, err := s.wavesWith(ctx, now)
	out.Service, out.Known = true, s.stood.check() == nil
	return out, err
}

// Waves is likewise what the ledger tells without a service that restarts FECs.
func (r *Reconciler) Waves(ctx context.Context) (report.RestartWaves, error) {
	now, err := r.Restarts(ctx)
	if err != nil && !errors.Is(err, ledger.ErrNone) {
		return report.RestartWaves{}, err
	}
	return r.wavesWith(ctx, now)
}

func (r *Reconciler) wavesWith(ctx context.Context, now report.Restarts) (report.RestartWaves, error) {
	began, err := r.began(ctx)
	return report.WavesOf(now, began), err
}

// began are the waves that are on record, the newest first.
func (r *Reconciler) began(ctx context.Context) (out []report.RestartWave, err error) {
	err = r.Records.Use(ctx, func(l *ledger.Ledger) error {
		waves, err := l.PastWaves(ctx)
		for _, w := range waves {
			out = append(out, report.RestartWave{ID: report.WaveID(w.Opened), Opened: w.Opened, Group: w.Group, Wave: w.Wave, FECs: w.FECs, Runs: w.Runs, Failed: w.Failed,
				Underway: w.FECs - w.Runs - w.Failed, Last: w.Last})
		}
		return err
	})
	if errors.Is(err, ledger.ErrNone) {
		err = nil
	}
	return out, err
}

// Wave is one wave with its FECs, by its name. ErrNoWave: it is not on record.
func (r *Reconciler) Wave(ctx context.Context, id string) (report.RestartWaveFECs, error) {
	out := report.RestartWaveFECs{ID: id, FECs: []report.PastRestart{}}
	opened, ok := report.WaveOpened(id)
	if !ok {
		return out, ErrNoWave
	}
	all, err := r.began(ctx)
	if err != nil {
		return out, err
	}
	for _, w := range all {
		if w.ID == id {
			out.Waves = append(out.Waves, w)
		}
	}
	if len(out.Waves) == 0 {
		return out, ErrNoWave
	}
	return out, r.Records.Use(ctx, func(l *ledger.Ledger) error {
		rollouts, began, err := l.PastRestarts(ctx, opened)
		for i, row := range rollouts {
			p := report.PastRestart{FEC: row.FEC, Was: row.Was, Wanted: row.Wanted, Need: row.Need, State: row.State, Detail: row.Detail, Began: began[i], At: row.At}
			if p.State == observed.RolloutAsking {
				p.State = observed.RolloutAsked // for people it is the same
			}
			out.FECs = append(out.FECs, p)
		}
		return err
	})
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// restartFECs has the service of a root restart FECs, if its configuration says so.
func (s *servedRoot) restartFECs(conf desired.ServedSite, r *reconciler.Reconciler) {
	if conf.Restarts == nil {
		return
	}
	w := s.watch
	restarter := &reconciler.Restarter{
		Reconciler: r, Shell: accessOf(conf), AtOnce: conf.Restarts.AtOnce(), Tell: &tellsOfRestarts{watch: w},
		Host: func(fec string, f desired.FEC) remote.Host { return hostOf(*conf.SSH, fec, f) },
		Kick: func(ctx context.Context) {
			if loop := w.loop.Load(); loop != nil {
				loop.Kick(ctx)
			}
		},
	}
	w.restarter.Store(restarter)
	s.does["restart"] = func(ctx context.Context, b json.RawMessage) serve.Answer { return aboutRestarts(ctx, restarter, b) }
	s.beside = append(s.beside, restarter.Run)
}

// tellsOfRestarts tells people what happens to FECs.
type tellsOfRestarts struct {
	*watch
	stood report.Restarts
}

// Stand implements reconciler.Told. One decision comes after the other.
func (t *tellsOfRestarts) Stand(r report.Restarts) {
	t.metrics.Restarts(r)
	if !reflect.DeepEqual(r, t.stood) {
		t.changes.Tell()
	}
	t.stood = r
}

// RestartsPaused implements reconciler.Told.
func (t *tellsOfRestarts) RestartsPaused(reason string) {
	t.notifier.Send(announce.OfRestarts(t.site, reason, time.Now()))
}

// FECFailed implements reconciler.Told.
func (t *tellsOfRestarts) FECFailed(r observed.Rollout, held string) {
	t.notifier.Send(announce.OfFailure(t.site, r, held, time.Now()))
}

// aboutRestarts answers an operator.
func aboutRestarts(ctx context.Context, r *reconciler.Restarter, b json.RawMessage) serve.Answer {
	var o reconciler.RestartOrder
	if err := json.Unmarshal(b, &o); err != nil {
		return refusal(err)
	}
	text := ""
	if o.Do != "status" {
		var err error
		if text, err = r.Carry(ctx, o); err != nil {
			return refusal(err)
		}
	}
	now, err := r.Restarts(ctx)
	if err != nil {
		return refusal(err)
	}
	if o.Do == "status" {
		return told(now, now.Text)
	}
	a := told(now, nil)
	a.Text = text
	return a
}

// restartFlags are what every command about restarts needs.
type restartFlags struct{ askFlags }

// give has the service of the root carry out an order.
func (f *restartFlags) give(cmd *cobra.Command, do string, fecs []string) error {
	if err := checkOutput(f.output); err != nil {
		return err
	}
	o := reconciler.RestartOrder{Do: do, FECs: fecs, Reason: f.reason, By: f.person()}
	a, err := ask(cmd, f.root, "restart", o)
	switch {
	case errors.Is(err, serve.ErrUnknown):
		return errors.New("the service of this root restarts no FECs: its configuration has no restarts")
	case errors.Is(err, serve.ErrNoService) && do == "status":
		return f.read(cmd)
	case errors.Is(err, serve.ErrNoService):
		return fmt.Errorf("nothing is restarted without a service: %w, with --config", err)
	case err != nil:
		return err
	}
	return show(cmd, a, f.output)
}

// read shows what the ledger tells without a service.
func (f *restartFlags) read(cmd *cobra.Command) error {
	r, err := reader(cmd, f.root, nil)
	if err != nil {
		return err
	}
	now, err := r.Restarts(cmd.Context())
	if err != nil {
		return err
	}
	return write(cmd.OutOrStdout(), f.output, now, now.Text)
}

// wavesCommand reads the ledger, also beside a service.
func wavesCommand() *cobra.Command {
	var root, output string
	cmd := &cobra.Command{
		Use:   "waves [WAVE]",
		Short: "Show the waves that began, or one with its FECs",
		Long:  "Show the waves of restarts that began, the newest first, as far as the ledger keeps them; or of one, by its name, what came of each FEC. No service is needed.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			r, err := reader(cmd, root, nil)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				one, err := r.Wave(cmd.Context(), args[0])
				if errors.Is(err, reconciler.ErrNoWave) {
					return fmt.Errorf("%w %q: pomona restart waves lists them", err, args[0])
				}
				if err != nil {
					return err
				}
				return write(cmd.OutOrStdout(), output, one, one.Text)
			}
			all, err := r.Waves(cmd.Context())
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), output, all.Waves, all.Text)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func restartCommand() *cobra.Command {
	one := func(use, short, long string, args cobra.PositionalArgs) *cobra.Command {
		var f restartFlags
		cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: args}
		do := cmd.Name()
		cmd.RunE = func(cmd *cobra.Command, args []string) error { return f.give(cmd, do, args) }
		return f.add(cmd, do != "status" && do != "restart")
	}
	var f restartFlags
	cmd := &cobra.Command{
		Use:   "restart",
		Short: "Show how FECs get what was published for them; pause, resume, skip, abort, restart now",
		Long: `Show how far running FECs have come with what was published for them: which run it, which are restarting, which wait for their
turn, what holds the others. Without a service the ledger tells what was done.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.give(cmd, "status", nil) },
	}
	f.add(cmd, false)
	cmd.AddCommand(
		wavesCommand(),
		one("status", "Show how far FECs have come", "Show how far running FECs have come with what was published for them.", cobra.NoArgs),
		one("pause", "Restart no more FECs, for a reason", "Restart no more FECs until pomona restart resume. Those that restart already go on.", cobra.NoArgs),
		one("resume", "Restart FECs again", "End a pause. FECs that failed before count no more, and are left alone until something else is published for them.", cobra.NoArgs),
		one("skip FEC...", "Leave FECs alone until something else is published for them", "Leave FECs alone until something else is published for them.", cobra.MinimumNArgs(1)),
		one("abort", "Leave all FECs alone that wait", "Leave all FECs alone that wait, until something else is published for them, and end a pause.", cobra.NoArgs),
		one("now FEC...", "Restart FECs now", "Restart FECs now, whatever their turn is, also after they failed or while restarts are paused. Holds and inhibits hold all the same.",
			cobra.MinimumNArgs(1)),
	)
	return cmd
}

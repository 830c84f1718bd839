package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func fecCommand() *cobra.Command {
	var root, output, at string
	var q fecQuery
	cmd := &cobra.Command{
		Use:   "fec NAME [DIR]",
		Short: "Show what is wanted of a FEC, what is published for it, what it runs, and why these differ",
		Long: `Show of one FEC, by its name or its host's: what the branch wants of it, what is published for it, what it says that it runs and
since when, why these differ, which holds keep it as it is, and what it reported last. Without a service the root and its ledger
tell, and the repository at DIR, if it is given, what is wanted.

With --at, show what was published for it and what it ran at a past time, as far as the ledger knows; with --beside, in what it
differs from another FEC.`,
		Example: `  pomona fec kgp1bp01 --root /srv/pomona
  pomona fec kgp1bp01 --root /srv/pomona --at 2026-11-22T14:25
  pomona fec kgp1bp01 --root /srv/pomona --beside kgp2bp01`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := checkOutput(output); err != nil {
				return err
			}
			q.Name = args[0]
			if q.At, err = report.ReadTime(at); err != nil {
				return fmt.Errorf("read --at: %w", err)
			}
			if !q.aside() {
				f, err := asked(cmd, root, "fec", q, args[1:], func(r *reconciler.Reconciler) (report.FEC, error) { return r.FEC(cmd.Context(), q.Name) })
				if err != nil {
					return err
				}
				return write(cmd.OutOrStdout(), output, f, f.Text)
			}
			f, err := asked(cmd, root, "fec", q, args[1:], func(r *reconciler.Reconciler) (report.FECAside, error) { return q.look(cmd.Context(), r) })
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), output, f, f.Text)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&at, "at", "", "show how it was at this time, which is UTC unless it says another zone")
	cmd.Flags().StringVar(&q.Beside, "beside", "", "name of another FEC, to compare it with")
	return cmd
}

// fecQuery asks for one FEC: as it is, or how it was or is beside another.
type fecQuery struct {
	Name   string    `json:"name"`
	At     time.Time `json:"at,omitzero"`
	Beside string    `json:"beside,omitempty"`
}

func (q fecQuery) aside() bool { return !q.At.IsZero() || q.Beside != "" }

func (q fecQuery) look(ctx context.Context, r *reconciler.Reconciler) (report.FECAside, error) {
	f, err := r.FECSeen(ctx, q.Name, q.At)
	if err == nil && q.Beside != "" {
		var other report.FECSeen
		other, err = r.FECSeen(ctx, q.Beside, time.Time{})
		f.Beside, f.Trouble = report.BesideOf(f, other), slices.Compact(append(f.Trouble, other.Trouble...))
	}
	return report.FECAside{FEC: f.FEC, Then: f.Then, Beside: f.Beside, Trouble: f.Trouble}, err
}

func fecOf(ctx context.Context, loop *reconciler.Loop, b json.RawMessage) serve.Answer {
	var q fecQuery
	if err := json.Unmarshal(b, &q); err != nil {
		return refusal(err)
	}
	if q.aside() {
		f, err := q.look(ctx, loop.Reconciler)
		if err != nil {
			return refusal(err)
		}
		return told(f, f.Text)
	}
	f, err := loop.FEC(ctx, q.Name)
	if err != nil {
		return refusal(err)
	}
	return told(f, f.Text)
}

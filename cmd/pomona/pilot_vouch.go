package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// vouching is what an operator vouches for. It goes to the service of a root as JSON.
type vouching struct {
	Pilot  string   `json:"pilot"`
	Record string   `json:"record"`
	By     string   `json:"by"`
	Reason string   `json:"reason"`
	Agree  []string `json:"agree,omitempty"` // who may agree to the next terms
}

// carryOut has the record count.
func (v *vouching) carryOut(ctx context.Context, r *reconciler.Reconciler) (err error) {
	v.Agree, err = r.Vouch(ctx, v.Pilot, v.Record, v.By, v.Reason)
	return err
}

func (v *vouching) text() string {
	return fmt.Sprintf("vouched for %s of pilot %s: %s may agree to what it says of itself from now on\n", v.Record, v.Pilot, strings.Join(v.Agree, " or "))
}

// vouchFor carries it out between two passes, and answers when the second has heeded it.
func vouchFor(ctx context.Context, loop *reconciler.Loop, b json.RawMessage) serve.Answer {
	var v vouching
	if err := json.Unmarshal(b, &v); err != nil {
		return refusal(err)
	}
	done, carried, after := between(ctx, loop, func(ctx context.Context) (vouching, error) {
		err := v.carryOut(ctx, loop.Reconciler)
		return v, err
	})
	if !carried {
		return after
	}
	a := told(done, nil)
	a.Text, a.Error = done.text()+after.Text, after.Error
	return a
}

// vouchVerb is the one verb of pilots that is an operator's: it writes no record.
const vouchVerb = "vouch"

func vouchCommand() *cobra.Command {
	var f askFlags
	cmd := &cobra.Command{
		Use: vouchVerb + " NAME RECORD [DIR]", Short: "have an agreement count whose predecessors nobody can follow any more (operator)", Hidden: true,
		Long: `Vouch for an agreement to what pilot NAME says of itself: RECORD, which the published commit has, counts from now on, whoever wrote it and whomever the one
before it names. For when those have left, have another address or have lost their keys. Whoever is to go on agrees first, as
pomona pilot NAME agree, which is merged; then an operator looks at it and vouches for it. The service of --root enters it or, if none runs, this
command, from the repository at DIR.`,
		Example:     `  pomona pilot grid-1 vouch agreement-20261122-4f1c9a2e --root /srv/fec --reason "olga and cora have left; the section's head asked for it"`,
		Annotations: map[string]string{usageOfVerb: "pomona pilot NAME vouch RECORD [DIR] [flags]"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) > 3 {
				return errors.New("want pomona pilot NAME vouch RECORD --root ROOT --reason WHY")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			v := vouching{Pilot: args[0], Record: args[1], By: f.person(), Reason: strings.TrimSpace(f.reason)}
			if v.Reason == "" {
				return errors.New("say why: give --reason")
			}
			if err := isRepository(args[2:]); err != nil {
				return err
			}
			a, err := ask(cmd, f.root, "vouch", v)
			if err == nil || !errors.Is(err, serve.ErrNoService) {
				if err != nil {
					return err
				}
				return show(cmd, a, f.output)
			}
			r, err := reader(cmd, f.root, []string{siteDir(args[2:])})
			if err != nil {
				return err
			}
			r.Records = reconciler.NewRecords(f.root, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
			defer r.Records.Close() // everything has been written
			if err := r.Alone(cmd.Context(), func(ctx context.Context) error { return v.carryOut(ctx, r) }); err != nil {
				return err
			}
			a = told(v, nil)
			a.Text = v.text() + "no service runs: the next pass heeds it\n"
			return show(cmd, a, f.output)
		},
	}
	cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), "{{.UseLine}}", fmt.Sprintf("{{index .Annotations %q}}", usageOfVerb)))
	return f.add(cmd, true)
}

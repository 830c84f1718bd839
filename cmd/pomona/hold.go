package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// order is what an operator wants done about holds. It goes to the service of a root as JSON.
type order struct {
	Do     string    `json:"do"` // place, lift, resume, override or rollback
	Scope  string    `json:"scope,omitempty"`
	ID     string    `json:"id,omitempty"`
	Commit string    `json:"commit,omitempty"`
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by"`
	Until  time.Time `json:"until,omitzero"`
}

// carryOut does what an operator wants, and says what was done to which holds. No pass may run meanwhile.
func (o order) carryOut(ctx context.Context, r *reconciler.Reconciler) (text string, holds []observed.Hold, err error) {
	h := observed.Hold{Scope: o.Scope, Reason: o.Reason, By: o.By, Until: o.Until}
	switch o.Do {
	case "place":
		if h, err = r.Place(ctx, h); err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("placed hold %s on %s until %s\n", h.ID, h.Scope, observed.Minute(h.Until)), []observed.Hold{h}, nil
	case "rollback":
		if h, err = r.Rollback(ctx, o.Commit, h); err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("rolled back from commit %.12s to %.12s, as hold %s, until a newer commit or %s\n", h.Bad, h.Commit, h.ID, observed.Minute(h.Until)),
			[]observed.Hold{h}, nil
	case "lift":
		if err := r.Lift(ctx, o.ID, o.By); err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("lifted %s\n", o.ID), []observed.Hold{}, nil
	case "override":
		if err := r.Override(ctx, observed.Override{Hold: o.ID, Reason: o.Reason, By: o.By, Until: o.Until}); err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("overrode %s until %s\n", o.ID, observed.Minute(o.Until)), []observed.Hold{}, nil
	case "resume":
		if holds, err = r.Resume(ctx, o.Scope, o.By); err != nil {
			return "", nil, err
		}
		var ids []string
		for _, h := range holds {
			ids = append(ids, h.ID)
		}
		return fmt.Sprintf("resumed %s: lifted %s\n", o.Scope, strings.Join(ids, ", ")), holds, nil
	}
	return "", nil, fmt.Errorf("unknown order %q", o.Do)
}

// does is what the service of a root does for operators, by the names that they ask by. Campaigns is nil where none are carried out.
func does(loop *reconciler.Loop, campaigns *reconciler.Campaigner) map[string]func(context.Context, json.RawMessage) serve.Answer {
	return map[string]func(context.Context, json.RawMessage) serve.Answer{
		"kick":   func(ctx context.Context, b json.RawMessage) serve.Answer { return kick(ctx, loop, b) },
		"status": func(ctx context.Context, b json.RawMessage) serve.Answer { return statusOf(ctx, loop, campaigns, b) },
		"pilot":  func(ctx context.Context, b json.RawMessage) serve.Answer { return aboutPilots(ctx, loop, b) },
		"vouch":  func(ctx context.Context, b json.RawMessage) serve.Answer { return vouchFor(ctx, loop, b) },
		"fec":    func(ctx context.Context, b json.RawMessage) serve.Answer { return fecOf(ctx, loop, b) },
		"hold":   func(ctx context.Context, b json.RawMessage) serve.Answer { return placeHold(ctx, loop, b) },

		"software":      func(ctx context.Context, b json.RawMessage) serve.Answer { return softwareOf(ctx, loop, b) },
		"prerequisites": func(ctx context.Context, b json.RawMessage) serve.Answer { return aboutPrerequisites(ctx, loop, b) },
	}
}

func statusOf(ctx context.Context, loop *reconciler.Loop, campaigns *reconciler.Campaigner, b json.RawMessage) serve.Answer {
	st, err := loop.Status(ctx)
	if err != nil {
		return refusal(err)
	}
	if campaigns != nil {
		if st.Campaigns, err = campaigns.CampaignsNow(ctx); err != nil && st.Trouble == "" {
			st.Trouble = err.Error()
		}
	}
	if pilots, err := loop.SeePilots(ctx); err == nil {
		st.Pilots = pilots.Now()
	} else if st.Trouble == "" && st.Published != nil {
		st.Trouble = err.Error()
	}
	var q statusQuery
	if err := json.Unmarshal(b, &q); (err != nil || !q.FECs) && st.FECs != nil {
		st.FECs.All = nil
	}
	next := loop.Times()
	st.Service = &report.Service{
		Running: next.Running, NextPoll: next.Poll, NextScrub: next.Scrub, NextTurn: next.Turn,
		Unfetched: next.Unfetched, FetchError: secrets.Mask(next.FetchError),
	}
	return told(st, st.Text)
}

// placeHold carries out an order between two passes, and answers when the second has heeded it.
func placeHold(ctx context.Context, loop *reconciler.Loop, b json.RawMessage) serve.Answer {
	var o order
	if err := json.Unmarshal(b, &o); err != nil {
		return refusal(err)
	}
	type effect struct {
		text  string
		holds []observed.Hold
	}
	e, carried, a := between(ctx, loop, func(ctx context.Context) (effect, error) {
		text, holds, err := o.carryOut(ctx, loop.Reconciler)
		return effect{text, holds}, err
	})
	if !carried {
		return a
	}
	a.Text = e.text + a.Text
	if b, err := json.Marshal(report.HoldList{Holds: e.holds, Overrides: []observed.Override{}}); err == nil {
		a.Report = b
	}
	if o.Do != "rollback" {
		a.Code = exitDone // what was asked for is done
	}
	return a
}

// between carries something out between two passes: what came of it, whether it was done, and the answer of the second, that has heeded it.
func between[T any](ctx context.Context, loop *reconciler.Loop, do func(context.Context) (T, error)) (v T, carried bool, a serve.Answer) {
	done := make(chan T, 1) // whoever asks may have gone before
	a = answer(loop.Do(ctx, func(ctx context.Context) error {
		v, err := do(ctx)
		if err == nil {
			done <- v
		}
		return err
	}))
	select {
	case v = <-done:
	default:
		return v, false, a
	}
	if a.Error != "" {
		a.Error = "pomona: the pass after it was not done:\n" + a.Error
	}
	return v, true, a
}

func refusal(err error) serve.Answer {
	return serve.Answer{Report: json.RawMessage("null"), Code: exitFailed, Error: "pomona: " + err.Error()}
}

// orderFlags are what every command needs that changes holds.
type orderFlags struct {
	askFlags
	lasts, until string
}

func (f *orderFlags) add(cmd *cobra.Command, placing bool) {
	cmd.Flags().StringVar(&f.root, "root", "", "served directory (required)")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&f.by, "by", "", "who you are; default: your login")
	if placing {
		f.addPlacing(cmd)
	}
}

func (f *orderFlags) addPlacing(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.reason, "reason", "", "why (required)")
	cmd.Flags().StringVar(&f.lasts, "for", "", "how long it lasts, for instance 90m, 12h or 7d; this or --until is required")
	cmd.Flags().StringVar(&f.until, "until", "", "when it ends, as 2026-11-30 (with that day, UTC) or 2026-11-30T08:00:00Z")
}

// end is when a hold ends.
func (f *orderFlags) end(now time.Time) (time.Time, error) {
	switch {
	case (f.lasts == "") == (f.until == ""):
		return time.Time{}, errors.New("say when it ends: give either --for or --until")
	case f.lasts != "":
		d, err := desired.ParseDuration(f.lasts)
		if err != nil {
			return time.Time{}, fmt.Errorf("malformed --for: %w", err)
		}
		return now.Add(d), nil
	}
	if day, err := time.Parse(time.DateOnly, f.until); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	at, err := time.Parse(time.RFC3339, f.until)
	if err != nil {
		return at, fmt.Errorf("malformed --until %q: want a day as 2026-11-30 or a time as 2026-11-30T08:00:00Z", f.until)
	}
	return at, nil
}

// complete fills an order from the flags.
func (f *orderFlags) complete(o order, placing bool) (order, error) {
	if err := checkOutput(f.output); err != nil {
		return o, err
	}
	o.By = f.person()
	if !placing {
		return o, nil
	}
	if o.Reason = strings.TrimSpace(f.reason); o.Reason == "" {
		return o, errors.New("say why: give --reason")
	}
	var err error
	o.Until, err = f.end(time.Now())
	return o, err
}

// give has the service of the root carry out an order or, if none runs, does it here and says when it takes effect.
func (f *orderFlags) give(cmd *cobra.Command, o order, placing bool) error {
	o, err := f.complete(o, placing)
	if err != nil {
		return err
	}
	a, err := ask(cmd, f.root, "hold", o)
	if err == nil {
		return show(cmd, a, f.output)
	}
	if !errors.Is(err, serve.ErrNoService) {
		return err
	}
	r := keeper(cmd, f.root)
	defer r.Records.Close() // everything has been written
	return carryOutHere(cmd, r, o, f.output)
}

func carryOutHere(cmd *cobra.Command, r *reconciler.Reconciler, o order, output string) error {
	var text string
	var holds []observed.Hold
	err := r.Alone(cmd.Context(), func(ctx context.Context) (err error) {
		text, holds, err = o.carryOut(ctx, r)
		return err
	})
	if err != nil {
		return err
	}
	if o.Do != "rollback" {
		text += "no service runs: the next pass heeds it\n"
	}
	if o.Do == "override" && reconciler.Unplaced(o.ID) {
		text += fmt.Sprintf("whether there is a hold %s only a service knows: see pomona hold after that pass\n", o.ID)
	}
	a := told(report.HoldList{Holds: holds, Overrides: []observed.Override{}}, nil)
	a.Text = text
	return show(cmd, a, output)
}

// keeper is a reconciler that makes no pass: it knows the root and its ledger.
func keeper(cmd *cobra.Command, root string) *reconciler.Reconciler {
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	return &reconciler.Reconciler{Root: root, Records: reconciler.NewRecords(root, log), Version: version(), Log: log, Now: time.Now}
}

// optionalScope is the scope that a command names, else the whole site.
func optionalScope(args []string) string {
	if len(args) == 0 {
		return desired.SiteScope
	}
	return args[0]
}

const scopesText = "A SCOPE is site, fecs.NAME, groups.NAME, campaigns, campaigns.NAME or campaigns.NAME/STAGE."

func suspendCommand() *cobra.Command {
	var f orderFlags
	cmd := &cobra.Command{
		Use:   "suspend [SCOPE]",
		Short: "Keep what is published, for a while and for a reason",
		Long: `Keep what is published for the site, a FEC or a group, or start nothing new of a campaign, until pomona resume or the given
end. Everything else moves on; damage is repaired all the same.
` + scopesText,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.give(cmd, order{Do: "place", Scope: optionalScope(args)}, true)
		},
	}
	f.add(cmd, true)
	return cmd
}

func resumeCommand() *cobra.Command {
	var f orderFlags
	cmd := &cobra.Command{
		Use:   "resume [SCOPE]",
		Short: "Lift what operators suspended of a scope",
		Long:  "Lift every hold that operators placed on a scope, but no rollback. " + scopesText,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.give(cmd, order{Do: "resume", Scope: optionalScope(args)}, false)
		},
	}
	f.add(cmd, false)
	return cmd
}

func holdCommand() *cobra.Command {
	var f orderFlags
	cmd := &cobra.Command{
		Use:   "hold",
		Short: "List, place, lift and override holds",
		Long:  "List the holds in force, and the overrides. " + scopesText,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := status(cmd, f.root, f.output, nil, statusQuery{})
			if err != nil {
				return err
			}
			l := report.HoldList{Holds: st.Holds, Overrides: st.Overrides}
			return write(cmd.OutOrStdout(), f.output, l, l.Text)
		},
	}
	f.add(cmd, false)
	var p, l, o orderFlags
	place := &cobra.Command{
		Use: "place SCOPE", Short: "Keep what is published for a scope", Long: scopesText, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.give(cmd, order{Do: "place", Scope: args[0]}, true)
		},
	}
	p.add(place, true)
	lift := &cobra.Command{
		Use: "lift ID", Short: "End a hold that an operator placed, or an override", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.give(cmd, order{Do: "lift", ID: args[0]}, false)
		},
	}
	l.add(lift, false)
	override := &cobra.Command{
		Use: "override ID", Short: "Set a hold out of force for a while: one of the calendar, of a machine, or of the repository", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.give(cmd, order{Do: "override", ID: args[0]}, true)
		},
	}
	o.add(override, true)
	cmd.AddCommand(place, lift, override)
	return cmd
}

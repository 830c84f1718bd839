package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// campaignFlags are what every command about campaigns needs.
type campaignFlags struct {
	askFlags
	all   bool      // also those that are archived
	shown seenQuery // what of many slices or submissions
}

// give has the service of the root carry out an order.
func (f *campaignFlags) give(cmd *cobra.Command, o reconciler.CampaignOrder) error {
	if err := checkOutput(f.output); err != nil {
		return err
	}
	o.Reason, o.By = f.reason, f.person()
	a, err := ask(cmd, f.root, "campaign", o)
	if errors.Is(err, serve.ErrNoService) {
		return fmt.Errorf("nothing is submitted without a service: %w", err)
	}
	if err != nil {
		return err
	}
	return show(cmd, a, f.output)
}

// look is how far campaigns are, of which one alone.
func (f *campaignFlags) look(cmd *cobra.Command, name string) (c report.Campaigns, err error) {
	if err := checkOutput(f.output); err != nil {
		return c, err
	}
	return asked(cmd, f.root, "campaign", reconciler.CampaignOrder{Do: "status", Campaign: name, All: f.all}, nil, func(r *reconciler.Reconciler) (report.Campaigns, error) {
		if f.all && name == "" {
			return r.EveryCampaign(cmd.Context())
		}
		return r.Campaigns(cmd.Context(), name)
	})
}

// aboutCampaigns answers an operator.
func aboutCampaigns(ctx context.Context, c *reconciler.Campaigner, b json.RawMessage) serve.Answer {
	var o reconciler.CampaignOrder
	if err := json.Unmarshal(b, &o); err != nil {
		return refusal(err)
	}
	text := ""
	if o.Do != "status" {
		var err error
		if text, err = c.Carry(ctx, o); err != nil {
			return refusal(err)
		}
	}
	read := func() (report.Campaigns, error) { return c.Campaigns(ctx, o.Campaign) }
	if o.All && o.Campaign == "" {
		read = func() (report.Campaigns, error) { return c.EveryCampaign(ctx) }
	}
	now, err := read()
	if err != nil {
		return refusal(err)
	}
	a := told(now, nil)
	a.Text = text
	return a
}

func campaignCommand() *cobra.Command {
	var f campaignFlags
	cmd := &cobra.Command{
		Use:   "campaign [NAME [graph | sheet | efficiency | submissions | slices | slice ID]]",
		Short: "Show how far campaigns are, and why nothing moves; test launches, repeat, cancel or accept slices",
		Long: `Show how far the campaigns of a root are or, of one, its stages, the slices that are not complete, the state of each submission, and
why nothing new is started. NAME is a campaign's name, or NAME/RUN. Without a service the ledger tells.
` + campaignSeeText,
		Args: cobra.MaximumNArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return f.see(cmd, args[0], args[1:])
			}
			name := strings.Join(args, "")
			c, err := f.look(cmd, name)
			if err != nil {
				return err
			}
			if name == "" {
				return write(cmd.OutOrStdout(), f.output, c, c.Text)
			}
			one, ok := c.Find(name)
			if !ok {
				return noCampaign(c, name)
			}
			return write(cmd.OutOrStdout(), f.output, one, one.Text)
		},
	}
	f.add(cmd, false)
	cmd.Flags().BoolVar(&f.all, "all", false, "list also those that have ended and left the site")
	cmd.Flags().StringVar(&f.shown.Stage, "stage", "", "of slices and submissions: those of this stage alone")
	cmd.Flags().StringVar(&f.shown.State, "state", "", "of slices and submissions: those in this state alone")
	cmd.Flags().StringVar(&f.shown.Text, "text", "", "of slices: those with this in their id, label or detail")
	cmd.Flags().IntVar(&f.shown.Page, "page", 1, "of slices and submissions: which page")
	cmd.AddCommand(campaignImportCommand(), campaignScriptCommand())
	cmd.AddCommand(campaignTestCommand(), campaignSliceCommand("retry", "Try slices again that are partial or failed",
		"Try slices again that are partial, failed, late or cancelled: with a new attempt, from the beginning."),
		campaignSliceCommand("cancel", "Cancel slices for good", "Cancel slices for good, and their jobs. Their inputs are free for other slices then."),
		campaignSliceCommand("accept", "Take slices as complete as they are", "Take slices as complete as they are, for a --reason, although something is missing. What needs them goes on."))
	return cmd
}

// noCampaign says that none is called that, and which was probably meant.
func noCampaign(all report.Campaigns, name string) error {
	var names []string
	for _, c := range all.Campaigns {
		names = append(names, c.Name, c.UID)
	}
	return noneCalled("campaign", name, names)
}

// noneCalled says that there is none of a name, and which of those that there are was probably meant.
func noneCalled(what, name string, names []string) error {
	if near := desired.Suggest(name, names); near != "" {
		return fmt.Errorf("there is no %s %q: did you mean %s?", what, name, near)
	}
	return fmt.Errorf("there is no %[1]s %[2]q: pomona %[1]s lists them", what, name)
}

// campaignTestCommand makes test launches.
func campaignTestCommand() *cobra.Command {
	var f campaignFlags
	cmd := &cobra.Command{
		Use:   "test NAME [STAGE]",
		Short: "Submit a test of a campaign, or of a stage of it",
		Long: `Submit a test of a campaign's first stages, or of one stage: a slice of its testSplit with its testParams, by default of the first input
alone. What it makes counts for nothing, and no other stage works on it.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := reconciler.CampaignOrder{Do: "test", Campaign: args[0]}
			if len(args) > 1 {
				o.Stage = args[1]
			}
			return f.give(cmd, o)
		},
	}
	return f.add(cmd, true)
}

// campaignSliceCommand does something with slices.
func campaignSliceCommand(do, short, long string) *cobra.Command {
	var f campaignFlags
	cmd := &cobra.Command{
		Use: do + " NAME SLICE...", Short: short, Long: long + " A SLICE is its id, or STAGE/ID if several stages have one of that id.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.give(cmd, reconciler.CampaignOrder{Do: do, Campaign: args[0], Slices: args[1:]})
		},
	}
	return f.add(cmd, true)
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

const campaignSeeText = `
NAME graph draws its stages, what they need of each other and how many slices of each are how: as SVG, or with -o dot for Graphviz.
NAME slice ID tells all that is known of one slice: each attempt with its states, how it ended, what it used, the last lines of its
log, what was held or not well meanwhile, and what a recovery would select. ID may be STAGE/ID, or STAGE/EPOCH/ID.
NAME sheet counts what was requested, delivered, run, failed and left on each day, UTC, and how jobs ended; -o csv for spreadsheets.
NAME efficiency counts which shares of their processors and memory the submissions used that have ended.
NAME submissions and NAME slices list them by the hundred: --page, --stage, --state and, of slices, --text say which.`

// see shows a campaign in another way.
func (f *campaignFlags) see(cmd *cobra.Command, name string, what []string) error {
	switch {
	case what[0] == "graph" && len(what) == 1:
		return f.graph(cmd, name)
	case what[0] == "slice" && len(what) == 2:
		return f.slice(cmd, name, what[1])
	case len(what) == 1 && slices.Contains([]string{"sheet", "efficiency", "submissions", "slices"}, what[0]):
		return f.seen(cmd, what[0], name)
	}
	return fmt.Errorf("unknown %q: want NAME, NAME graph, sheet, efficiency, submissions or slices, or NAME slice ID\nsee %s --help", strings.Join(what, " "), cmd.CommandPath())
}

// graph draws a campaign.
func (f *campaignFlags) graph(cmd *cobra.Command, name string) error {
	output := f.output
	if !cmd.Flags().Changed("output") {
		output = "svg"
	}
	if output != "svg" && output != "dot" {
		return fmt.Errorf("unknown --output %q of a graph: want svg or dot", output)
	}
	asked := *f
	asked.output = "json"
	all, err := asked.look(cmd, name)
	if err != nil {
		return err
	}
	c, ok := all.Find(name)
	switch {
	case !ok:
		return noCampaign(all, name)
	case output == "dot":
		return c.DOT(cmd.OutOrStdout())
	}
	return c.SVG(cmd.OutOrStdout())
}

// sliceQuery asks for one slice.
type sliceQuery struct {
	Campaign string `json:"campaign"`
	Slice    string `json:"slice"`
}

// slice shows what became of a slice: as the service says or, without one, the ledger.
func (f *campaignFlags) slice(cmd *cobra.Command, name, id string) error {
	if err := checkOutput(f.output); err != nil {
		return err
	}
	p, err := asked(cmd, f.root, "slice", sliceQuery{name, id}, nil, func(r *reconciler.Reconciler) (report.PostMortem, error) {
		return r.PostMortem(cmd.Context(), name, id)
	})
	if err != nil {
		return err
	}
	return write(cmd.OutOrStdout(), f.output, p, p.Text)
}

// aboutSlice answers an operator.
func aboutSlice(ctx context.Context, c *reconciler.Campaigner, b json.RawMessage) serve.Answer {
	var q sliceQuery
	if err := json.Unmarshal(b, &q); err != nil {
		return refusal(err)
	}
	var p report.PostMortem
	p, err := c.PostMortem(ctx, q.Campaign, q.Slice)
	if err != nil {
		return refusal(err)
	}
	return told(p, p.Text)
}

// campaignScriptCommand prints what talks to the submission API.
func campaignScriptCommand() *cobra.Command {
	scripts := map[string][]byte{"client": serve.ClientScript, "reporter": serve.ReporterScript}
	return &cobra.Command{
		Use:   "script client|reporter",
		Short: "Print the submission API's client, or the reporter for jobs, in POSIX sh",
		Long: `Print pomona-submissions, the client of the submission API, or pomona-job, by which a job tells what it is doing. Both need POSIX sh, and
curl or wget; put them where your tools, or your jobs' software, have them.`,
		Args: cobra.ExactArgs(1), ValidArgs: []string{"client", "reporter"},
		RunE: func(cmd *cobra.Command, args []string) error {
			script, ok := scripts[args[0]]
			if !ok {
				return fmt.Errorf("unknown script %q: there are client and reporter", args[0])
			}
			_, err := cmd.OutOrStdout().Write(script)
			return err
		},
	}
}

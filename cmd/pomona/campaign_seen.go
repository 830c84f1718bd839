package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// seenQuery asks for what a page of a campaign shows.
type seenQuery struct {
	What     string `json:"what"` // sheet, efficiency, submissions or slices
	Campaign string `json:"campaign"`
	Stage    string `json:"stage,omitempty"`
	State    string `json:"state,omitempty"`
	Text     string `json:"text,omitempty"`
	Page     int    `json:"page,omitempty"`
}

// looks are those who answer it: the service or, without one, whoever reads the ledger.
type looks interface {
	CampaignSheet(ctx context.Context, name string) (report.CampaignSheet, error)
	CampaignEfficiency(ctx context.Context, name string) (report.CampaignEfficiency, error)
	CampaignSubmissions(ctx context.Context, name string, f report.SubmissionFilter) (report.CampaignSubmissions, error)
	CampaignSlices(ctx context.Context, name string, f report.SliceFilter) (report.CampaignSlices, error)
}

func (q seenQuery) submissions() report.SubmissionFilter {
	return report.SubmissionFilter{Stage: q.Stage, State: observed.SubmissionState(q.State), Page: q.Page}
}

func (q seenQuery) slices() report.SliceFilter {
	return report.SliceFilter{Stage: q.Stage, State: observed.SliceState(q.State), Text: q.Text, Page: q.Page}
}

// seen shows what a page of a campaign does.
func (f *campaignFlags) seen(cmd *cobra.Command, what, name string) error {
	q := f.shown
	q.What, q.Campaign = what, name
	ctx := cmd.Context()
	switch what {
	case "sheet":
		return showSeen(f, cmd, q, func(r *reconciler.Reconciler) (report.CampaignSheet, error) { return r.CampaignSheet(ctx, name) })
	case "efficiency":
		return showSeen(f, cmd, q, func(r *reconciler.Reconciler) (report.CampaignEfficiency, error) {
			return r.CampaignEfficiency(ctx, name)
		})
	case "submissions":
		return showSeen(f, cmd, q, func(r *reconciler.Reconciler) (report.CampaignSubmissions, error) {
			return r.CampaignSubmissions(ctx, name, q.submissions())
		})
	}
	return showSeen(f, cmd, q, func(r *reconciler.Reconciler) (report.CampaignSlices, error) {
		return r.CampaignSlices(ctx, name, q.slices())
	})
}

// showSeen asks for a value and shows it; one that can be a table for spreadsheets, as that too.
func showSeen[T interface{ Text(io.Writer) error }](f *campaignFlags, cmd *cobra.Command, q seenQuery, read func(*reconciler.Reconciler) (T, error)) error {
	var none T
	_, table := any(none).(interface{ CSV(io.Writer) error })
	if f.output != "csv" || !table {
		if err := checkOutput(f.output); err != nil {
			return err
		}
	}
	v, err := asked(cmd, f.root, "campaign-seen", q, nil, read)
	if err != nil {
		return err
	}
	if sheet, ok := any(v).(interface{ CSV(io.Writer) error }); ok && f.output == "csv" {
		return sheet.CSV(cmd.OutOrStdout())
	}
	return write(cmd.OutOrStdout(), f.output, v, v.Text)
}

// aboutSeen answers an operator.
func aboutSeen(ctx context.Context, c looks, b json.RawMessage) serve.Answer {
	var q seenQuery
	if err := json.Unmarshal(b, &q); err != nil {
		return refusal(err)
	}
	var v interface{ Text(io.Writer) error }
	var err error
	switch q.What {
	case "sheet":
		v, err = c.CampaignSheet(ctx, q.Campaign)
	case "efficiency":
		v, err = c.CampaignEfficiency(ctx, q.Campaign)
	case "submissions":
		v, err = c.CampaignSubmissions(ctx, q.Campaign, q.submissions())
	case "slices":
		v, err = c.CampaignSlices(ctx, q.Campaign, q.slices())
	default:
		err = fmt.Errorf("nobody can be shown %q of a campaign", q.What)
	}
	if err != nil {
		return refusal(err)
	}
	return told(v, v.Text)
}

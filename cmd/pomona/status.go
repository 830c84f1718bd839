package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func statusCommand() *cobra.Command {
	var root, output string
	var q statusQuery
	cmd := &cobra.Command{
		Use:   "status [DIR]",
		Short: "Show what is published, what was tried, what holds it back, and how FECs are",
		Long: `Show of a root what is published, what the last pass tried, which holds are in force, what they block and since when, how
the last passes ended, how many FECs run what is published, how campaigns and pilots are and which of them somebody should look at, and what
the service does next. Without a service the root's ledger tells, and the repository at DIR, if it is given, which commit is
wanted. With --fecs, show a table of all FECs instead.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := status(cmd, root, output, args, q)
			if err != nil {
				return err
			}
			if q.FECs && output == "text" {
				if st.FECs == nil && st.Trouble != "" {
					return fmt.Errorf("it is not known what FECs run: %s", st.Trouble)
				}
				if st.FECs == nil {
					return errors.New("nothing is published yet: there are no FECs to show")
				}
				return st.FECs.Text(cmd.OutOrStdout())
			}
			return write(cmd.OutOrStdout(), output, st, st.Text)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().BoolVar(&q.FECs, "fecs", false, "show each FEC: whether it runs what is published, and why not")
	return cmd
}

// statusQuery is what a status is to contain besides.
type statusQuery struct {
	FECs bool `json:"fecs"` // all of them, not only those that need a look
}

// status asks the service of a root or, if none runs, reads the root.
func status(cmd *cobra.Command, root, output string, dir []string, q statusQuery) (st report.Status, err error) {
	if err := checkOutput(output); err != nil {
		return st, err
	}
	if err := isRepository(dir); err != nil {
		return st, err
	}
	a, err := ask(cmd, root, "status", q)
	if err == nil && a.Error != "" {
		return st, errors.New(a.Error)
	}
	if err == nil {
		if err := json.Unmarshal(a.Report, &st); err != nil {
			return st, fmt.Errorf("read answer: %w", err)
		}
		return st, nil
	}
	if !errors.Is(err, serve.ErrNoService) {
		return st, err
	}
	r, err := reader(cmd, root, dir)
	if err != nil {
		return st, err
	}
	if st, err = r.Status(cmd.Context()); st.FECs != nil && !q.FECs {
		st.FECs.All = nil
	}
	if err == nil && st.Trouble == "" {
		st.Campaigns, _ = r.CampaignsNow(cmd.Context()) // a ledger of an older version, which is only read, knows none
	}
	if err == nil && r.Repo != nil && st.Published != nil {
		if pilots, err := r.SeePilots(cmd.Context()); err == nil { // a ledger of an older version, which is only read, knows none
			st.Pilots = pilots.Now()
		}
	}
	return st, err
}

// reader is a reconciler that only reads: a root, its ledger, and the repository at a folder, if one is given.
func reader(cmd *cobra.Command, root string, dir []string) (r *reconciler.Reconciler, err error) {
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	r = &reconciler.Reconciler{Root: root, Branch: "HEAD", Records: reconciler.ReadRecords(root, log), Log: log, Now: time.Now}
	if len(dir) == 0 {
		return r, nil
	}
	if r.Repo, err = repo.Open(dir[0]); err != nil {
		return nil, err
	}
	r.Loader, err = newLoader("", log)
	return r, err
}

// told is an answer with a value as JSON and, unless text is nil, for people.
func told(v any, text func(io.Writer) error) serve.Answer {
	var a serve.Answer
	var b bytes.Buffer
	var err error
	if a.Report, err = json.Marshal(v); err != nil {
		return refusal(err)
	}
	if text == nil {
		return a
	}
	if err := text(&b); err != nil {
		return refusal(err)
	}
	a.Text = b.String()
	return a
}

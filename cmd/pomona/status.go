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
	cmd := &cobra.Command{
		Use:   "status [DIR]",
		Short: "Show what is published, what was tried, and what holds it back",
		Long: `Show of a root what is published, what the last pass tried, which holds are in force, what they block and since when, how
the last passes ended, and what the service does next. Without a service the root's ledger tells, and the repository at DIR,
if it is given, which commit is wanted.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := status(cmd, root, output, args)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), output, st, st.Text)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// status asks the service of a root or, if none runs, reads the root.
func status(cmd *cobra.Command, root, output string, dir []string) (st report.Status, err error) {
	if err := checkOutput(output); err != nil {
		return st, err
	}
	a, err := ask(cmd, root, "status", nil)
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
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	r := &reconciler.Reconciler{Root: root, Branch: "HEAD", Records: reconciler.ReadRecords(root, log), Log: log, Now: time.Now}
	if len(dir) > 0 {
		if r.Repo, err = repo.Open(dir[0]); err != nil {
			return st, err
		}
		if r.Loader, err = newLoader("", log); err != nil {
			return st, err
		}
	}
	return r.Status(cmd.Context())
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

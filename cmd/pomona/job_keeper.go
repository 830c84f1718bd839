package main

import (
	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/engine"
)

// jobKeeperCommand is the hidden command that stands by a job of the local engine.
func jobKeeperCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "job-keeper",
		Short:              "Keep a job of the local engine",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE:               func(_ *cobra.Command, args []string) error { return engine.KeepLocalJob(args) },
	}
}

package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/load/eval"
)

// evalWorker is the hidden command that evaluates CUE in a limited child.
const evalWorker = "eval-worker"

func evalWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    evalWorker,
		Short:  "Evaluate CUE for a parent process",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return eval.Serve(os.Stdin, os.Stdout) },
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "pomona", version()) },
	}
}

// version is what the Go toolchain stamped: a release, or the commit that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}

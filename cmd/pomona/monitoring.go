package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/docs"
)

// shipped are files that other programs read, by what monitoring is asked for.
var shipped = map[string]string{
	"alerts":    "monitoring/alerts.yaml",
	"dashboard": "monitoring/dashboard.json",
	"unit":      "systemd/pomona.service",
}

func monitoringCommand() *cobra.Command {
	names := slices.Sorted(maps.Keys(shipped))
	return &cobra.Command{
		Use:       "monitoring " + strings.Join(names, "|"),
		Short:     "Print alert rules for Prometheus, a dashboard for Grafana, or a unit for systemd",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := docs.FS.ReadFile(shipped[args[0]])
			if err == nil {
				_, err = cmd.OutOrStdout().Write(b)
			}
			if err != nil {
				return fmt.Errorf("print %s: %w", args[0], err)
			}
			return nil
		},
	}
}

package main

import (
	"github.com/spf13/cobra"
)

// pilotCommand is all about pilots.
func pilotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pilot NAME VERB",
		Short: "Write down what happens in a pilot",
		Long:  pilotVerbsText(),
		Args:  cobra.MinimumNArgs(1),
		RunE:  unknownPilotVerb,
	}
	cmd.AddCommand(pilotVerbs()...)
	return cmd
}

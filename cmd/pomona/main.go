// Command pomona tends a tree: it validates a site, publishes what a commit says, and serves it to front-end computers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Exit codes of every command.
const (
	exitDone     = 0
	exitProblems = 1 // a person must change the site; of plan --exit-code: there are changes
	exitFailed   = 2 // could not run
)

// exit ends the program with a code after everything has been said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	cmd := root()
	cmd.SetArgs(pilotWords(args))
	err := cmd.ExecuteContext(ctx)
	var code exit
	var problems desired.Problems
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "pomona: interrupted; what is published stays")
		return exitFailed
	case errors.As(err, &problems):
		fmt.Fprintf(os.Stderr, "%v\npomona: %s\n", problems, tally(problems))
		return exitProblems
	}
	fmt.Fprintf(os.Stderr, "pomona: %s\n", secrets.Mask(err.Error()))
	return exitFailed
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "pomona",
		Short:         "Publish what a git repository says to front-end computers",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return fromEnvironment(cmd.Flags())
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if words := cmd.Flags().Args(); cmd.HasSubCommands() && cmd.Args != nil && len(words) > 0 {
			if wrong := cmd.Args(cmd, words); wrong != nil { // a misspelt command: its flags say nothing
				err = wrong
			}
		}
		return fmt.Errorf("%w\nsee %s --help", err, cmd.CommandPath())
	})
	cmd.AddCommand(initCommand(), validateCommand(), planCommand(), reconcileCommand(), serveCommand(), kickCommand(), statusCommand(), fecCommand(), softwareCommand(), pilotCommand(), devCommand(),
		suspendCommand(), resumeCommand(), holdCommand(), rollbackCommand(), monitoringCommand(), demoCommand(), releaseCommand(),
		verifyCommand(), explainCommand(), historyCommand(), keygenCommand(), blobCommand(), dataCommand(), restartCommand(), campaignCommand(), prerequisitesCommand(), schemaCommand(), versionCommand(), evalWorkerCommand(), hookWorkerCommand(), jobKeeperCommand())
	sayUsage(cmd)
	return cmd
}

// sayUsage has a command and those below it say, of too few or too many arguments, which ones they take.
func sayUsage(cmd *cobra.Command) {
	if args := cmd.Args; args != nil && cmd.Runnable() {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return fmt.Errorf("%w\nusage: %s", err, cmd.UseLine())
			}
			return nil
		}
	}
	for _, below := range cmd.Commands() {
		sayUsage(below)
	}
}

// fromEnvironment sets each flag that was not given from POMONA_FLAG: --max-connections is POMONA_MAX_CONNECTIONS. An
// empty variable counts as none.
func fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := environmentName(f.Name)
		value, ok := os.LookupEnv(name)
		if !ok || value == "" || f.Changed || err != nil || f.Name == "help" {
			return
		}
		if e := flags.Set(f.Name, value); e != nil {
			err = fmt.Errorf("read %s: %w", name, e)
		}
	})
	return err
}

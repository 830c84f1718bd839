package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func rollbackCommand() *cobra.Command {
	var f passFlags
	var o orderFlags
	cmd := &cobra.Command{
		Use:   "rollback COMMIT [DIR]",
		Short: "Publish an earlier commit, and not again what was rolled back",
		Long: `Publish an earlier commit, and keep it until a commit newer than the one that was rolled back is there, or until the given
end. It says before if a payload of the earlier commit is gone; then nothing changes. The service of the root does it; if
none runs, this command makes the pass, from the repository at DIR.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			want, err := o.complete(order{Do: "rollback", Commit: args[0]}, true)
			if err != nil {
				return err
			}
			a, err := ask(cmd, f.root, "hold", want)
			if err == nil {
				return show(cmd, a, o.output)
			}
			if !errors.Is(err, serve.ErrNoService) {
				return err
			}
			r, err := f.reconciler(cmd, args[1:], true)
			if err != nil {
				return err
			}
			defer r.Records.Close() // everything has been written
			if err := carryOutHere(cmd, r, want, o.output); err != nil {
				return err
			}
			rep, err := r.Reconcile(cmd.Context())
			if err != nil || o.output == "json" {
				return err
			}
			return rep.Text(cmd.OutOrStdout())
		},
	}
	f.add(cmd, "branch")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&o.by, "by", "", "who you are; default: your login")
	o.addPlacing(cmd)
	return cmd
}

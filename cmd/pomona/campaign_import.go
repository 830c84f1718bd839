package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/propose"
)

// mostDump is how many bytes of a dump are read.
const mostDump = 16 << 20

// campaignImportCommand makes CUE of a dump of POMS.
func campaignImportCommand() *cobra.Command {
	var p propose.POMS
	var file string
	cmd := &cobra.Command{
		Use:   "import FILE.ini",
		Short: "Make a campaign of one that POMS has dumped",
		Long: `Make a campaign, as CUE, of one that POMS has dumped as .ini, and print it or write it into a file of a site. Each field of the dump
is taken over, or a comment says why not; these comments are shown too. The campaign is a draft: nothing of it starts before somebody
has looked at it and written state: "active".`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readDump(args[0])
			if err != nil {
				return err
			}
			p.Now = time.Now()
			c, err := propose.FromPOMS(text, p)
			if err != nil {
				return err
			}
			if file == "" {
				_, err = cmd.OutOrStdout().Write(c.Text)
			} else {
				err = writeNew(file, c.Text, 0o644)
			}
			for _, note := range c.Notes {
				fmt.Fprintln(cmd.ErrOrStderr(), note)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&p.Requester, "requester", "", "who answers for the campaign (required)")
	cmd.Flags().StringVar(&p.Profile, "profile", "", "profile of the site where its jobs run; default: as the site says")
	cmd.Flags().StringVar(&p.SAM, "sam", "https://samweb.fnal.gov:8483/sam/EXPERIMENT/api", "address of SAM's web service; EXPERIMENT is replaced")
	cmd.Flags().StringVar(&file, "file", "", "new file of the site to write; default: standard output")
	return cmd
}

func readDump(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read dump: %w", err)
	}
	defer f.Close() // only read
	b, err := io.ReadAll(io.LimitReader(f, mostDump+1))
	if err == nil && len(b) > mostDump {
		err = fmt.Errorf("%s has more than %d bytes", name, mostDump)
	}
	if err != nil {
		return nil, fmt.Errorf("read dump: %w", err)
	}
	return b, nil
}

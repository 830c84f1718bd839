package main

import (
	"errors"
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// pilotSiteVerbs are for those who take part.
func pilotSiteVerbs() []pilotVerb {
	return []pilotVerb{
		{
			name: "call", short: "ask sites to take part (coordinator)",
			long:    "Ask the sites of a pilot to take part, until a day. From the day after, those that do may install it.",
			example: "  pomona pilot grid-1 call --closes 2027-01-31",
			flags: func(f *pilotFlags) {
				f.set.StringVar(&f.words.record.Closes, "closes", "", "last day to answer")
				f.set.StringVar(&f.words.record.Text, "text", "", "what else they are told")
			},
			word: func(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
				if f.words.record.Closes == "" {
					return nil, errors.New("nothing says until when sites may answer: give --closes DAY")
				}
				return recorded(f, desired.RecordCall, nil)
			},
		},
		{
			name: "join", args: "SITE", short: "a site answers whether it takes part (its contact)", least: 1, most: 1,
			long:    "Answer for a site whether it takes part. It may answer otherwise later.",
			example: "  pomona pilot grid-1 join cern --answer interested",
			flags: func(f *pilotFlags) {
				f.set.StringVar(&f.words.record.Answer, "answer", "", "interested or declined")
				f.set.StringVar(&f.words.record.Text, "text", "", "more about it")
			},
			word: func(f *pilotFlags, args []string) (reconciler.PilotWord, error) {
				if err := oneOf("answer", f.words.record.Answer, "interested", "declined"); err != nil {
					return nil, err
				}
				return recorded(f, desired.RecordJoin, func(r *desired.PilotRecord) { r.Site = args[0] })
			},
		},
		{
			name: "deploy", args: "SITE STATE", short: "what a site has installed (its contact)", ofUpdate: true, least: 2, most: 2,
			long:    "Say for a site that it has installed what its wave is offered, that this failed, or that it no longer runs it. STATE: installed, failed or withdrawn.",
			example: "  pomona pilot grid-1 deploy cern installed\n  pomona pilot grid-1 deploy cern failed --update fix-1 --text \"the daemon does not start\"",
			flags: func(f *pilotFlags) {
				f.set.StringVar(&f.words.record.Text, "text", "", "more about it")
				f.set.StringVar(&f.words.record.Subject, "subject", "", "digest of what was installed; default: what its wave is offered")
			},
			word: func(f *pilotFlags, args []string) (reconciler.PilotWord, error) {
				if err := oneOf("state", args[1], "installed", "failed", "withdrawn"); err != nil {
					return nil, err
				}
				return recorded(f, desired.RecordDeployment, func(r *desired.PilotRecord) { r.Site, r.State = args[0], args[1] })
			},
		},
		{
			name: "resources", args: "SITE", short: "what a site gives to it (its contact)", least: 1, most: 1,
			long:    "Say what a site gives to the pilot, for the accounting.",
			example: "  pomona pilot grid-1 resources cern --nodes 4 --cores 128 --memory 512 --storage 20",
			flags: func(f *pilotFlags) {
				f.words.record.Resources = &desired.SiteResources{}
				r := f.words.record.Resources
				f.set.IntVar(&r.Nodes, "nodes", 0, "how many nodes")
				f.set.IntVar(&r.Cores, "cores", 0, "how many cores")
				f.set.IntVar(&r.MemoryGiB, "memory", 0, "memory in GiB")
				f.set.Float64Var(&r.StorageTiB, "storage", 0, "storage in TiB")
			},
			word: func(f *pilotFlags, args []string) (reconciler.PilotWord, error) {
				r := f.words.record.Resources
				if *r == (desired.SiteResources{}) {
					return nil, errors.New("nothing says what it gives: give --nodes, --cores, --memory or --storage")
				}
				if r.Nodes < 0 || r.Cores < 0 || r.MemoryGiB < 0 || r.StorageTiB < 0 {
					return nil, fmt.Errorf("nobody gives less than nothing: %+v", *r)
				}
				return recorded(f, desired.RecordResources, func(r *desired.PilotRecord) { r.Site = args[0] })
			},
		},
	}
}

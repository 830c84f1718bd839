package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// believe has reports count that a FEC's token proves, if the site has such tokens. A file that cannot be used keeps no FEC
// from booting: then nothing is proven, as the log says.
func (s *servedRoot) believe(conf *desired.Reports, o *serve.Options) error {
	if conf == nil || conf.Tokens == "" {
		return nil
	}
	if err := outside(s.path, conf.Tokens); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read tokens of FECs: %w", err)
	}
	o.Proofs.TokenFile, o.Proofs.Require = conf.Tokens, conf.RequireTokens
	return nil
}

// takeReports has what FECs report entered into the ledger, and goes on from what that knows. End enters those that wait.
func (s *servedRoot) takeReports(ctx context.Context, r *reconciler.Reconciler, o *serve.Options) (end func()) {
	lost := func(int) {}
	if s.watch != nil {
		lost = s.watch.metrics.ReportsDropped
	}
	entered := reconciler.NewReports(r, lost)
	latest, proven := entered.Known(ctx)
	if s.watch != nil {
		for _, l := range latest {
			s.watch.metrics.Said(l.FEC, l.State)
		}
	}
	o.Proofs.Clocks = map[string]time.Time{}
	for fec, p := range proven {
		o.Proofs.Clocks[fec] = p.Clock
	}
	o.Reports = func(said serve.Report) { s.take(entered, said) }
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // transfers may last longer than ctx
	var done sync.WaitGroup
	done.Go(func() { entered.Run(ctx) })
	return func() {
		cancel()
		done.Wait()
	}
}

// take takes a report of a FEC of the tree, which it may name by its host.
func (s *servedRoot) take(entered *reconciler.Reports, said serve.Report) {
	folder, err := s.root.Readlink(tree.CurrentLink + "/fecs/" + said.FEC)
	if err != nil {
		return
	}
	if !strings.Contains(folder, "/") {
		said.FEC = folder // the link of a host leads to that of its FEC
	}
	if s.watch != nil && said.Preview == 0 {
		s.watch.metrics.Reported(said.FEC, string(said.State))
	}
	source := "report"
	if said.Proven {
		source = "token"
	}
	entered.Take(ledger.FECReport{FEC: said.FEC, Serial: said.Serial, State: string(said.State), Slot: said.Slot, Detail: said.Detail, Client: said.Client,
		Source: source, From: said.From.String(), Preview: said.Preview, Dev: said.Dev, Clock: said.Clock, At: said.At})
}

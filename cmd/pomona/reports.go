package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	if err := outside(s.path, conf.Tokens); err != nil && !errors.As(err, new(*fs.PathError)) {
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
	if holders, err := serve.TokenHolders(o.Proofs.TokenFile); err == nil { // else the log says so when a FEC reports
		entered.Forget(ctx, holders)
	}
	latest, proven := entered.Known(ctx)
	if s.watch != nil {
		entered.Entered = s.watch.changes.Tell
		for _, l := range latest {
			s.watch.metrics.Said(l.FEC, l.State)
		}
	}
	o.Proofs.Clocks, o.Proofs.Since = map[string]time.Time{}, time.Now().Add(-time.Minute) // clocks are off by a little
	for fec, p := range proven {
		o.Proofs.Clocks[fec] = p.Clock
	}
	known := &knownFECs{root: s.root}
	o.Known = func(fec string) bool { _, ok := known.name(fec); return ok }
	o.Reports = func(said serve.Report) { s.take(known, entered, said) }
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // transfers may last longer than ctx
	var done sync.WaitGroup
	done.Go(func() { entered.Run(ctx) })
	return func() {
		cancel()
		done.Wait()
	}
}

// take takes a report of a FEC of the tree, which it may name by its host.
func (s *servedRoot) take(known *knownFECs, entered *reconciler.Reports, said serve.Report) {
	var ok bool
	if said.FEC, ok = known.name(said.FEC); !ok {
		return
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

// knownFECs are the FECs of the current generation.
type knownFECs struct {
	root *os.Root

	mu      sync.Mutex
	current string            // link
	names   map[string]string // FEC or host to FEC, as far as somebody asked
}

// name is the FEC of a name; false if the tree has none.
func (k *knownFECs) name(given string) (string, bool) {
	current, err := k.root.Readlink(tree.CurrentLink)
	if err != nil {
		return "", false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if current != k.current {
		k.current, k.names = current, map[string]string{}
	}
	if name, ok := k.names[given]; ok {
		return name, true
	}
	folder, err := k.root.Readlink(tree.CurrentLink + "/fecs/" + given)
	if err != nil {
		return "", false
	}
	if strings.Contains(folder, "/") { // else it is the link of a host to its FEC
		folder = given
	}
	k.names[given] = folder
	return folder, true
}

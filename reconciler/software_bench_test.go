package reconciler_test

import (
	"fmt"
	"log/slog"
	"os/exec"
	"testing"
	"time"

	bench "github.com/pomona-gitops/pomona/e2e/bench/site"
	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// BenchmarkSeeSoftware is of a site whose FECs all run what was published before, so that the ledger is asked about each.
func BenchmarkSeeSoftware(b *testing.B) {
	for _, n := range []int{20000} {
		dir, root := b.TempDir(), b.TempDir()
		if err := bench.Write(dir, n); err != nil {
			b.Fatal(err)
		}
		opened, err := repo.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		r := &reconciler.Reconciler{Repo: opened, Branch: "HEAD", Root: root, Keys: []tree.SecretKey{signingKey(1)}, Loader: loader, Layout: &tree.Layout{}, Served: &reconciler.PublishedSite{},
			Version: "test", Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}
		r.Records = reconciler.NewRecords(root, r.Log)
		defer r.Records.Close()
		pass := func() {
			if _, err := r.Reconcile(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		pass()
		f, err := r.Fleet(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		var said []ledger.FECReport
		for _, x := range f.FECs {
			said = append(said, ledger.FECReport{FEC: x.FEC, Serial: x.Published, State: "running", Source: "token", At: time.Now()})
		}
		if err := r.Records.Use(b.Context(), func(l *ledger.Ledger) error { return l.AddReports(b.Context(), said) }); err != nil {
			b.Fatal(err)
		}
		for i := range n {
			if err := bench.Change(dir, n, i, 1); err != nil {
				b.Fatal(err)
			}
		}
		if err := bench.Commit(dir, "change"); err != nil {
			b.Fatal(err)
		}
		if out, err := exec.Command("git", "-C", dir, "repack", "-adq").CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		pass()
		all, err := r.AllSoftware(b.Context())
		if err != nil || all.Trouble != "" {
			b.Fatal(err, all.Trouble)
		}
		for name, see := range map[string]func() error{
			"fleet": func() error { _, err := r.Fleet(b.Context()); return err },
			"all":   func() error { _, err := r.AllSoftware(b.Context()); return err },
			"one":   func() error { _, err := r.Software(b.Context(), all.Software[0].Name); return err },
		} {
			b.Run(fmt.Sprintf("%s/fecs=%d", name, n), func(b *testing.B) {
				before := processorTime(b)
				for b.Loop() {
					if err := see(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((processorTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
			})
		}
	}
}

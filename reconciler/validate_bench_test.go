package reconciler_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	bench "github.com/pomona-gitops/pomona/e2e/bench/site"
	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// BenchmarkChangedFEC validates, in one process, commits that each change one FEC.
func BenchmarkChangedFEC(b *testing.B) {
	for _, n := range []int{1000, 20000} {
		b.Run(fmt.Sprintf("fecs=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			if err := bench.Write(dir, n); err != nil {
				b.Fatal(err)
			}
			r, err := repo.Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			self, err := os.Executable()
			if err != nil {
				b.Fatal(err)
			}
			l := load.New(load.Options{Worker: []string{self, "eval-worker"}})
			verdicts := build.NewVerdicts("", nil)
			validate := func() {
				c, err := r.Resolve("HEAD")
				if err != nil {
					b.Fatal(err)
				}
				files, err := r.Files(b.Context(), c)
				if err != nil {
					b.Fatal(err)
				}
				_, ps, err := reconciler.Validate(b.Context(), files, l, verdicts, nil, time.Now())
				if err != nil || len(ps) > 0 {
					b.Fatal(err, ps)
				}
			}
			validate()
			revision, used := 0, time.Duration(0)
			for b.Loop() {
				b.StopTimer()
				revision++
				if err := bench.Change(dir, n, revision*7%n, revision); err != nil {
					b.Fatal(err)
				}
				if err := bench.Commit(dir, "change"); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				before := processorTime(b)
				validate()
				used += processorTime(b) - before
			}
			b.ReportMetric(float64(used.Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// processorTime is what this process and its ended children have used: unlike the clock, it means something on a busy
// machine.
func processorTime(b *testing.B) (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

package engine_test

import (
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/engine/enginetest"
	"github.com/pomona-gitops/pomona/reconciler/engine/slurmtest"
)

func TestSlurmKeepsItsPromises(t *testing.T) {
	for name, accounting := range map[string]bool{"with accounting": true, "without accounting": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := slurmtest.New(t, slurmtest.Options{Accounting: accounting})
			enginetest.Run(t, enginetest.Subject{
				New:   func(testing.TB) engine.Engine { return engine.Slurm{Config: c.Config} },
				Limit: time.Minute,
				Down: func(t testing.TB) func() {
					try(t, c.Stop(slurmtest.Controller))
					return func() { try(t, c.Start(slurmtest.Controller)) }
				},
				Patience: 4 * time.Minute,
			})
		})
	}
}

func try(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

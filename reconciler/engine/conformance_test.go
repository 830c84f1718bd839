package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/engine/enginetest"
)

func TestLocalKeepsItsPromises(t *testing.T) {
	folder := t.TempDir()
	open := func(t testing.TB) *engine.Local {
		t.Helper()
		l, err := engine.NewLocal(engine.LocalOptions{Folder: folder, Slots: 8, Grace: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	ctx, stop := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := open(t).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wait.Wait()
	defer stop()
	enginetest.Run(t, enginetest.Subject{
		New: func(t testing.TB) engine.Engine { return open(t) }, Folder: folder, Limit: time.Second, Memory: true,
		Down: func(t testing.TB) func() { return moved(t, filepath.Join(folder, ".local")) },
	})
}

// moved takes a folder away until the test gives it back.
func moved(t testing.TB, folder string) (back func()) {
	t.Helper()
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(folder+".away", folder); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAProgramKeepsItsPromises runs the example of docs/engines.md.
func TestAProgramKeepsItsPromises(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "queue.db"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	program, err := filepath.Abs("../../docs/engines/queue")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no /usr/bin/python3, which the example of an engine needs")
		}
		t.Skip("SKIPPED: no /usr/bin/python3, which the example of an engine needs; .ci/setup test installs it")
	}
	jobs := t.TempDir()
	enginetest.Run(t, enginetest.Subject{
		New: func(testing.TB) engine.Engine { return engine.Command{Program: []string{program, folder}} }, Folder: jobs, Limit: time.Second, Patience: 30 * time.Second,
		Down: func(t testing.TB) func() { return moved(t, filepath.Join(folder, "queue.db")) },
	})
}

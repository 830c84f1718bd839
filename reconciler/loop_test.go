package reconciler_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// TestLooksDoNotHastenAFailingPass looks very often while each pass fails before it knows its commit.
func TestLooksDoNotHastenAFailingPass(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	must(t, os.WriteFile(filepath.Join(root, durable.Unfinished), nil, 0o600)) // else nothing is written before the commit is known
	r, passes := s.reconciler(root), 0
	r.Hook = func(durable.Op, func() error) error {
		passes++
		return errors.New("the disk is full")
	}
	hints := make(chan struct{})
	loop := reconciler.NewLoop(r, time.Hour, hints)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error)
	go func() { ended <- loop.Run(ctx) }()
	for range 200 {
		hints <- struct{}{}
	}
	stop()
	must(t, <-ended)
	if passes == 0 || passes > 20 {
		t.Errorf("%d passes for 200 looks at one commit", passes)
	}
}

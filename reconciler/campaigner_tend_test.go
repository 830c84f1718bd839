package reconciler

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// TestWhatIsPublishedWhileItDecidesIsDecidedAboutNext, and not only when it is time again.
func TestWhatIsPublishedWhileItDecidesIsDecidedAboutNext(t *testing.T) {
	s := newTestCampaigner(t)
	began := s.link()
	if err := os.Symlink("generations/1", filepath.Join(s.Root, tree.CurrentLink)); err != nil {
		t.Fatal(err)
	}
	woke := make(chan bool)
	go func() {
		s.sleep(t.Context(), time.Hour, began)
		close(woke)
	}()
	select {
	case <-woke:
	case <-time.After(time.Minute):
		t.Error("it sleeps on")
	}
}

func TestAllSlicesAreLookedAtThatAreToBeCancelled(t *testing.T) {
	of := func(state string) int {
		return tended{spec: desired.Campaign{State: state, Stages: map[string]desired.Stage{"a": {}}}}.lookedAt()
	}
	if active, closed := of(desired.Active), of(desired.Closed); active >= 100_000 || closed < 100_000_000 {
		t.Errorf("of an active campaign %d are looked at, of a closed one %d", active, closed)
	}
}

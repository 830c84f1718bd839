package reconciler_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/publish"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// refusing is a hook that refuses everything, without being run.
func refusing() []publish.Hook {
	return []publish.Hook{{Name: "10-no", Command: []string{"/bin/true"}, Timeout: time.Minute, Worker: []string{"/bin/false"}}}
}

func TestAHookPreventsWhatIsNewAndNoRepair(t *testing.T) {
	f := newFollower(t)
	first := f.pass()
	f.Before = refusing()
	f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	_, err := f.Reconcile(t.Context())
	var hook *publish.HookError
	if !errors.As(err, &hook) || hook.Name != "10-no" {
		t.Fatalf("got %v", err)
	}
	if have := observeRoot(t, f.Root); have.Current != first.Current || have.Interrupted {
		t.Errorf("generation %d is current after %d, interrupted %v", have.Current, first.Current, have.Interrupted)
	}
	if st, err := f.Status(t.Context()); err != nil || !strings.Contains(st.Attempted.Reason, "publication prevented: hook 10-no") {
		t.Errorf("status %+v, %v", st.Attempted, err)
	}

	// What is published is renewed, and published again when it is damaged.
	f.git("reset", "-q", "--hard", "HEAD~1")
	f.later(61 * 24 * time.Hour)
	renewed := f.pass()
	if renewed.Current != first.Current+1 {
		t.Errorf("generation %d is current: it is not renewed", renewed.Current)
	}
	must(t, os.Remove(filepath.Join(f.Root, tree.GenerationPath(renewed.Current), tree.IndexFile)))
	if have := f.pass(); !have.Whole() || have.Current == renewed.Current {
		t.Errorf("generation %d is current, damaged %v", have.Current, have.Damaged)
	}
}

package restart_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/restart"
)

// shell answers every command alike, and keeps the last one.
type shell struct {
	answer  string
	err     error
	command string
}

func (s *shell) Run(_ context.Context, _ remote.Host, command string, _ io.Reader, out io.Writer) error {
	s.command = command
	if _, err := io.WriteString(out, s.answer); err != nil {
		return err
	}
	return s.err
}

var host = remote.Host{Name: "kgp2cu02", Address: "192.0.2.1:22"}

func TestStatusOf(t *testing.T) {
	sh := &shell{answer: "pomona-fec 1\nfec kgp2cu02\npreview 7\nstate init-failed 29384900 29384900-9dc611dc 50-bpm failed\x1b[31m with status 1\nasked restart 29384900\n" +
		"current x\nboot 1-2\ninhibit magnet tests\ndev bpm 2-dev\nfuture x\ndev cam 1\nend\n"}
	got, err := restart.StatusOf(t.Context(), sh, host)
	want := restart.Status{FEC: "kgp2cu02", Preview: 7, State: "init-failed", Serial: 29384900, Slot: "29384900-9dc611dc", Detail: "50-bpm failed[31m with status 1",
		Asked: "restart 29384900", Boot: "1-2", Inhibit: "magnet tests", Dev: "bpm 2-dev,cam 1"}
	if d := cmp.Diff(want, got); d != "" || err != nil || sh.command != "pomona-fec status" {
		t.Errorf("%v, %s (-want +got):\n%s", err, sh.command, d)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for answer, want := range map[string]string{
		"": "want an answer", "pomona-fec 1\nstate running 7 x \n": "want an answer", "pomona-fec 2\nend\n": "want an answer",
		"pomona-fec 1\nstate running x y\nend\n": "malformed answer", "pomona-fec 1\nstate\nend\n": "malformed answer",
		"pomona-fec 1\npreview x\nend\n": "malformed answer", "pomona-fec 1\nfec another\nend\n": "it says that it is another",
		"pomona-fec 1\n" + strings.Repeat("x", 100_000) + "\nend\n": "too much",
	} {
		if _, err := restart.StatusOf(t.Context(), &shell{answer: answer}, host); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", answer, err, want)
		}
	}
	exit := &shell{err: &remote.ExitError{Host: host, Status: 127, Said: "sh: pomona-fec: not found"}}
	if _, err := restart.StatusOf(t.Context(), exit, host); err == nil || !strings.Contains(err.Error(), "is pomona-fec in its image") {
		t.Error(err)
	}
}

func TestOrder(t *testing.T) {
	sh := &shell{answer: "accepted\n"}
	r := observed.Rollout{Wanted: 7, Need: desired.Restart, Software: "bpm cam"}
	if err := restart.Order(t.Context(), sh, host, r); err != nil || sh.command != "pomona-fec restart 7 bpm cam" {
		t.Errorf("%s: %v", sh.command, err)
	}
	r.Need = desired.Reboot
	if err := restart.Order(t.Context(), sh, host, r); err != nil || sh.command != "pomona-fec reboot 7" {
		t.Errorf("%s: %v", sh.command, err)
	}
	sh.answer = "never\n"
	if err := restart.Order(t.Context(), sh, host, r); err == nil {
		t.Error("anything counts as accepted")
	}
	sh.err = &remote.ExitError{Host: host, Status: 3, Said: "pomona-fec: inhibited: magnet tests"}
	var inhibited *restart.Inhibited
	if err := restart.Order(t.Context(), sh, host, r); !errors.As(err, &inhibited) || inhibited.Why != "magnet tests" {
		t.Error(err)
	}
}

// chatterer never ends what it says.
type chatterer struct{}

func (chatterer) Run(ctx context.Context, _ remote.Host, _ string, _ io.Reader, _ io.Writer) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// TestAFECThatNeverEndsItsAnswer keeps others waiting for a while only.
func TestAFECThatNeverEndsItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, err := restart.StatusOf(t.Context(), chatterer{}, host); err == nil || !strings.Contains(err.Error(), "has not answered") {
			t.Error(err)
		}
		if err := restart.Order(t.Context(), chatterer{}, host, observed.Rollout{Need: desired.Reboot}); err == nil || !strings.Contains(err.Error(), "has not answered") {
			t.Error(err)
		}
	})
}

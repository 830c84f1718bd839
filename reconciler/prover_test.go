package reconciler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// TestWhoKnowsNobodyToAskDoesNotRead: there is no repository that could be read.
func TestWhoKnowsNobodyToAskDoesNotRead(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	p := NewProver(&Prover{Reconciler: &Reconciler{Now: func() time.Time { return now }}})
	var w wanted
	w.stated.Pilots = map[string]desired.Pilot{"try": {Records: map[string]desired.PilotRecord{"halt": {Kind: desired.RecordHalt, By: "bo@example.org"}}}}
	if found, err := p.find(t.Context(), w, nil); found != 0 || err != nil {
		t.Errorf("%d, %v", found, err)
	}
	_, ok, doubt := p.Proofs.of(recordsOf(w.stated)[0].recordKey)
	if ok || doubt.sure || !strings.Contains(doubt.why, "no signers and no forge") {
		t.Errorf("%t, %+v", ok, doubt)
	}
}

func TestWhatHaltsIsLookedAtBeforeAllElse(t *testing.T) {
	records := map[string]desired.PilotRecord{
		"a": {Kind: desired.RecordAgreement}, "b": {Kind: desired.RecordAuthorisation, Decision: "ok", At: "0"}, "c": {Kind: desired.RecordAuthorisation, Decision: "deny"},
		"y": {Kind: desired.RecordResume}, "z": {Kind: desired.RecordHalt}, "x": {Kind: desired.RecordClosure}, "e": {Kind: desired.RecordAgreement},
	}
	for i := range maxBatch {
		records[fmt.Sprintf("f%02d", i)] = desired.PilotRecord{Kind: desired.RecordFeedback, At: fmt.Sprintf("%02d", maxBatch-i)}
	}
	site := desired.Site{Pilots: map[string]desired.Pilot{"p": {Records: records}},
		Prerequisites: map[string]desired.Prerequisite{"q": {Records: map[string]desired.PrerequisiteRecord{"r": {Kind: desired.RetireRecord}}}}}
	var got []string
	for _, batch := range batchesOf(recordsOf(site)) {
		var names []string
		for _, s := range batch {
			names = append(names, s.record)
		}
		got = append(got, strings.Join(names, " "))
	}
	if len(got) != 4 || got[0] != "c x y z r" || got[1] != "a e" || !strings.HasPrefix(got[2], "b f19 f18 ") || got[3] != "f00" {
		t.Errorf("%q", got)
	}
}

func TestSettledDoubtsStandUntilTheirGroundsChange(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	k, p := recordKey{"pilots", "try", "halt", "d"}, &Proofs{proven: map[recordKey]observed.Proof{}, doubts: map[recordKey]unproven{}}
	p.doubt(k, unproven{why: "x", until: now.Add(settled), by: "head signers", given: "g"})
	minutes := now.Add(2 * again)
	for _, c := range []struct {
		what      string
		got, want bool
	}{
		{"the same", p.due(k, minutes, "head signers"), false},
		{"another head", p.due(k, minutes, "head2 signers"), true},
		{"long ago", p.due(k, now.Add(settled), "head signers"), true},
		{"another history", p.stands(k, "other", "head2 signers", minutes), false},
		{"it has stood for long", p.stands(k, "g", "head2 signers", now.Add(settled)), false},
		{"another head, the same history", p.stands(k, "g", "head2 signers", minutes), true},
		{"which is remembered", p.due(k, minutes, "head2 signers"), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: %t", c.what, c.got)
		}
	}
	p.doubt(k, unproven{why: "x", until: now.Add(again)})
	if p.due(k, now, "head3") || !p.due(k, minutes, "head") {
		t.Error("who may say otherwise any time is asked again after a while, and not before")
	}
}

func TestWhatCommitsSayIsNotRememberedForEver(t *testing.T) {
	o := (&Reconciler{}).origins()
	for i := range 3 * maxThen {
		o.remember(fmt.Sprint(i), said{})
	}
	_, last := o.then[fmt.Sprint(3*maxThen-1)]
	if len(o.then) != maxThen || len(o.order) != maxThen || !last {
		t.Errorf("%d commits are remembered, in an order of %d", len(o.then), len(o.order))
	}
}

package reconciler

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// ordering is the submission API of a campaign with slices of stage a in some states.
func ordering(t *testing.T, states map[string]observed.SliceState) (CampaignAPI, tended) {
	t.Helper()
	s, of := judging(t, nil)
	of.row.Spec = `{"state": "active", "stages": {"a": {"job": {"argv": ["x"]}}}}`
	s.Root, s.Branch = t.TempDir(), "HEAD"
	err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		var all []ledger.Slice
		for id, state := range states {
			all = append(all, ledger.Slice{UID: of.uid, Stage: "a", Epoch: 1, ID: id, State: string(state), At: judgedAt, Began: judgedAt})
		}
		return errors.Join(l.SetCampaign(t.Context(), of.row), l.AddSlices(t.Context(), all))
	})
	if err != nil {
		t.Fatal(err)
	}
	return CampaignAPI{s}, of
}

// TestOrdersOverTheAPIHaveTheGuardsOfTheSocket and say by whom they came, and how.
func TestOrdersOverTheAPIHaveTheGuardsOfTheSocket(t *testing.T) {
	a, of := ordering(t, map[string]observed.SliceState{"failed": observed.SliceFailed, "partial": observed.SlicePartial, "complete": observed.SliceComplete, "planned": observed.SlicePlanned})
	for _, c := range []struct {
		o    serve.Order
		want error
		says string
	}{
		{serve.Order{Do: "retry", Campaign: "c", Slices: []string{"complete"}}, serve.ErrConflict, "another epoch"},
		{serve.Order{Do: "retry", Campaign: "c", Slices: []string{"planned"}}, serve.ErrConflict, "tried already"},
		{serve.Order{Do: "retry", Campaign: "c", Slices: []string{"faild"}}, serve.ErrNoSuch, "did you mean failed?"},
		{serve.Order{Do: "retry", Campaign: "d", Slices: []string{"failed"}}, serve.ErrNoSuch, `no campaign "d"`},
		{serve.Order{Do: "retry", Campaign: "c"}, serve.ErrMalformed, "name the slices"},
		{serve.Order{Do: "accept", Campaign: "c", Slices: []string{"partial"}, Reason: " "}, serve.ErrMalformed, "reason"},
		{serve.Order{Do: "accept", Campaign: "c", Slices: []string{"planned"}, Reason: "x"}, serve.ErrConflict, "wait until"},
		{serve.Order{Do: "retry", Campaign: "c", Slices: []string{"failed", "complete"}}, serve.ErrConflict, "another epoch"}, // neither
		{serve.Order{Do: "test", Campaign: "c", Stage: "b"}, serve.ErrNoSuch, `no stage "b"`},
		{serve.Order{Do: "retry", Campaign: "c/1", Slices: []string{"a/failed"}, Reason: "disk"}, nil, "a/failed: was failed, is planned"},
		{serve.Order{Do: "accept", Campaign: "c", Slices: []string{"partial"}, Reason: "enough"}, nil, "a/partial: was partial, is complete"},
		{serve.Order{Do: "cancel", Campaign: "c", Slices: []string{"planned"}}, nil, "a/planned: was planned, is cancelled"},
	} {
		c.o.By = "ann"
		did, err := a.Order(t.Context(), c.o)
		said := fmt.Sprint(did, err)
		if !errors.Is(err, c.want) || c.want == nil && err != nil || !strings.Contains(said, c.says) {
			t.Errorf("%+v: %s, want %v with %q", c.o, said, c.want, c.says)
		}
	}
	all, err := a.Slices(t.Context(), serve.SliceQuery{Campaign: "c", Limit: 2})
	page, _ := all.(report.Slices)
	if err != nil || len(page.Slices) != 2 || page.Next != "a/1/failed" || page.Slices[1].State != observed.SlicePlanned || page.Slices[1].Detail != "again, by ann: disk" {
		t.Errorf("%+v, %v", page, err)
	}
	if _, err := a.Slices(t.Context(), serve.SliceQuery{Campaign: "d", Limit: 2}); !errors.Is(err, serve.ErrNoSuch) {
		t.Errorf("slices of no campaign: %v", err)
	}
	if _, err := a.Carry(t.Context(), CampaignOrder{Do: "retry", Campaign: "c", Slices: []string{"planned"}, By: "bob"}); err != nil {
		t.Error(err)
	}
	var decided []ledger.CampaignEvidence
	err = a.Records.Use(t.Context(), func(l *ledger.Ledger) (err error) {
		decided, err = l.CampaignEvidence(t.Context(), of.uid)
		return err
	})
	var lines []string
	for _, e := range decided {
		lines = append(lines, strings.Join([]string{e.Kind, e.Slice, e.By, e.Source, e.Reason}, " "))
	}
	want := "retried failed ann submission-api disk|accepted partial ann submission-api enough|cancelled planned ann submission-api |retried planned bob operator "
	if got := strings.Join(lines, "|"); got != want || err != nil {
		t.Errorf("%v: %s", err, got)
	}
}

func TestACampaignsNameMeansTheRunThatGoesOn(t *testing.T) {
	row := func(uid, state string, days int) ledger.Campaign {
		return ledger.Campaign{UID: uid, Name: "c", State: state, At: judgedAt.AddDate(0, 0, days)}
	}
	rows := map[string]ledger.Campaign{"c/1": row("c/1", "complete", 1), "c/2": row("c/2", "active", 0), "c/3": row("c/3", "failed", 2), "d/1": {UID: "d/1", Name: "d"}}
	for range 20 { // a map has no order
		if got := runOf(rows, "c"); got != "c/2" {
			t.Fatalf("c means %s", got)
		}
	}
	delete(rows, "c/2")
	for name, want := range map[string]string{"c": "c/3", "c/1": "c/1", "e": "", "c/9": ""} {
		if got := runOf(rows, name); got != want {
			t.Errorf("%s means %q, want %q", name, got, want)
		}
	}
}

package reconciler

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/forge"
)

// approving is a forge that knows who approved which commit, and counts how often it is asked.
type approving struct {
	forge.Forge
	people map[string][]string
	err    error
	asked  map[string]int
}

func (a approving) Approvers(_ context.Context, commit string) (int, []string, error) {
	a.asked[commit]++
	return 7, a.people[commit], a.err
}

// TestEveryLineOfARecordIsProven: a record whose verdict somebody else wrote is not by the person that it names.
func TestEveryLineOfARecordIsProven(t *testing.T) {
	by, verdict := spot{"r.cue", 3}, spot{"r.cue", 4}
	c := claim{path: "r", by: "bo@example.org"}
	for _, w := range []struct {
		name  string
		found map[spot]string
		err   error
		doubt string
	}{
		{"one commit", map[spot]string{by: "a1", verdict: "a1"}, nil, ""},
		{"two commits of one person", map[spot]string{by: "a1", verdict: "a2"}, nil, ""},
		{"a line of somebody else", map[spot]string{by: "a1", verdict: "e1"}, nil, "approval of pull request 7 is by eve, not by bo@example.org"},
		{"a line of nobody", map[spot]string{by: "a1", verdict: "n1"}, nil, "nobody has approved a pull request that brought commit n1"},
		{"a line that history does not know", map[spot]string{by: "a1"}, nil, "nobody knows which commit wrote it"},
		{"the forge is down", map[spot]string{by: "a1", verdict: "a2"}, errors.New("forge is down"), "forge is down"},
	} {
		f := approving{people: map[string][]string{"a1": {"bo"}, "a2": {"eve", "bo"}, "e1": {"eve"}}, err: w.err, asked: map[string]int{}}
		known := &witnesses{Approvers: Approvers{Forge: f}, signed: map[string]witness{}, approved: map[string]witness{}}
		for range 3 {
			p := known.prove(t.Context(), c, []spot{by, verdict}, w.found)
			if p.Doubt != w.doubt && (w.doubt == "" || !strings.Contains(p.Doubt, w.doubt)) || w.doubt == "" && p.Who != "bo" {
				t.Errorf("%s: %+v, want %q", w.name, p, w.doubt)
			}
		}
		sum := 0
		for commit, n := range f.asked {
			if sum += n; n > 1 {
				t.Errorf("%s: the forge is asked %d times about %s", w.name, n, commit)
			}
		}
		if w.err != nil && sum > 1 {
			t.Errorf("%s: it is asked %d times", w.name, sum)
		}
	}
	nobody := &witnesses{signed: map[string]witness{}, approved: map[string]witness{}}
	if p := nobody.prove(t.Context(), c, []spot{by}, map[spot]string{by: "a1"}); !strings.Contains(p.Doubt, "no signers and no forge") {
		t.Errorf("without any: %+v", p)
	}
}

func TestFieldsOfARecordAreAllThatItSays(t *testing.T) {
	zero := 0
	got := pathsOf(desired.PrerequisiteRecord{Kind: "trial", By: "bo", Jobs: desired.TrialJobs{Again: &desired.JobResult{Changed: &zero}}})
	if want := "at by jobs.again.changed jobs.again.exit kind subject"; strings.Join(got, " ") != want {
		t.Errorf("fields are %v, want %s", got, want)
	}
}

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

// TestACommitIsByWhoeverApprovedIt asks a forge about commits, about each once, and no more once it does not answer.
func TestACommitIsByWhoeverApprovedIt(t *testing.T) {
	const by = "bo@example.org"
	for _, w := range []struct {
		name   string
		commit string
		err    error
		doubt  string
	}{
		{"by him", "a1", nil, ""},
		{"by him beside others", "a2", nil, ""},
		{"by somebody else", "e1", nil, "approval of pull request 7 is by eve, not by bo@example.org"},
		{"by nobody", "n1", nil, "nobody has approved a pull request that brought commit n1"},
		{"the forge is down", "a1", errors.New("forge is down"), "forge is down"},
	} {
		f := approving{people: map[string][]string{"a1": {"bo"}, "a2": {"eve", "bo"}, "e1": {"eve"}}, err: w.err, asked: map[string]int{}}
		known := Approvers{Forge: f}.witnesses(nil)
		for range 3 {
			p := known.proveCommit(t.Context(), by, w.commit)
			if p.Doubt != w.doubt && (w.doubt == "" || !strings.Contains(p.Doubt, w.doubt)) || w.doubt == "" && p.Who != "bo" {
				t.Errorf("%s: %+v, want %q", w.name, p, w.doubt)
			}
		}
		_ = known.proveCommit(t.Context(), by, "a2")
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
	f := approving{people: map[string][]string{"a1": {"bo"}, "u1": nil}, err: &forge.Unknown{Number: 7, Logins: []string{"eve@github"}}, asked: map[string]int{}}
	known := Approvers{Forge: f}.witnesses(nil)
	if p := known.proveCommit(t.Context(), by, "u1"); !strings.Contains(p.Doubt, "approved by eve@github, and nobody knows who that is") || known.silent != nil {
		t.Errorf("by somebody without an address: %+v", p)
	}
	if p := known.proveCommit(t.Context(), by, "a1"); p.Who != "bo" {
		t.Errorf("by him beside somebody without an address: %+v", p)
	}
	if p := (Approvers{}).witnesses(nil).proveCommit(t.Context(), by, "a1"); !strings.Contains(p.Doubt, "no signers and no forge") {
		t.Errorf("without any: %+v", p)
	}
}

func TestWhatAPrerequisiteSaysIsByItsPaths(t *testing.T) {
	got := sayingsOf(desired.Prerequisite{Responsible: "bo", Soak: "1d", Supported: []string{"1", "2"}, Records: map[string]desired.PrerequisiteRecord{"r": {By: "eve"}},
		Systems: map[string]desired.Provision{"debian-12": {Source: desired.Source{Distro: &desired.DistroPackage{Package: "dbus", AsOf: "2026-11-20"}},
			Exception: &desired.Exception{By: "bo", Expires: "2027-01-01"}}}})
	for path, want := range map[string]any{"responsible": "bo", "supported[1]": "2", `systems."debian-12".distro.package`: "dbus", `systems."debian-12".exception.by`: "bo"} {
		if got[path] != want {
			t.Errorf("%s is %v, want %v", path, got[path], want)
		}
	}
	for path := range got {
		if strings.HasPrefix(path, "records") || strings.HasSuffix(path, "asOf") || strings.HasSuffix(path, "expires") || path == "soak" {
			t.Errorf("%s is what somebody has to have written", path)
		}
	}
}

package forge

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/forge/forgetest"
)

const approvedCommit = "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd"

// reviews are of a pull request whose head is headCommit; who approves it is ann and zoe, whose address is known.
var reviews = []forgetest.Review{
	{Login: "ann", State: "CHANGES_REQUESTED", Commit: headCommit},
	{Login: "bob", State: "APPROVED", Commit: headCommit},
	{Login: "ann", State: "APPROVED", Commit: headCommit},
	{Login: "ann", State: "COMMENTED", Commit: headCommit},
	{Login: "bob", State: "CHANGES_REQUESTED", Commit: headCommit},
	{Login: "eve", State: "APPROVED", Commit: headCommit, Permission: "none"},
	{Login: "jim", State: "APPROVED", Commit: headCommit, Permission: "read"}, // a member of the organization, as all are
	{Login: "old", State: "APPROVED", Commit: approvedCommit, Permission: "admin"},
	{Login: "Zoe", State: "APPROVED", Commit: headCommit, Permission: "admin"},
	{Login: "../../x", State: "APPROVED", Commit: headCommit, Permission: "none"},
}

// TestApproversApproveWhatWasMerged, and only those count who may write.
func TestApproversApproveWhatWasMerged(t *testing.T) {
	check := func(t *testing.T, g Forge, number int, want ...string) {
		t.Helper()
		n, got, err := g.Approvers(t.Context(), approvedCommit)
		if unknown := (*Unknown)(nil); errors.As(err, &unknown) && unknown.Number == number {
			for _, login := range unknown.Logins {
				got = append(got, "not "+login)
			}
			err = nil
		}
		if err != nil || n != number || !slices.Equal(got, want) {
			t.Errorf("%d, %v, %v; want %d, %v", n, got, err, number, want)
		}
	}
	t.Run("GitHub", func(t *testing.T) {
		f := newFake(t)
		g := f.github(func(o *Options) { o.People = map[string]string{"zoe": "zoe@example.org"} })
		check(t, g, 0)
		f.AddPull(7, object{"merged_at": nil}, "topic", "main")
		f.Brought[approvedCommit] = []int{7}
		for _, r := range reviews {
			f.AddReview(7, r)
		}
		check(t, g, 0) // it is open
		f.ClosePull(7, true)
		check(t, g, 7, "zoe@example.org", "not ann@github")
		check(t, f.github(func(o *Options) {}), 7, "ann@github", "Zoe@github")
		check(t, f.github(func(o *Options) { o.Addresses = true }), 7, "not ann@github", "not Zoe@github")
		f.Pulls[0]["base"].(object)["ref"] = "other"
		check(t, g, 0)
	})
	t.Run("Gitea", func(t *testing.T) {
		f := newFakeGitea(t)
		g := f.gitea(t)
		check(t, g, 0)
		p := f.AddPull(1, "topic", "main")
		p["head"].(object)["sha"] = headCommit
		f.Brought[approvedCommit] = 1
		for _, r := range reviews {
			f.AddReview(1, forgetest.Review{Login: r.Login, State: strings.ReplaceAll(r.State, "CHANGES_REQUESTED", "REQUEST_CHANGES"), Commit: r.Commit, Permission: r.Permission})
		}
		check(t, g, 0)
		p["merged"] = true
		check(t, g, 1, "zoe@example.org", "not ann@gitea")
	})
}

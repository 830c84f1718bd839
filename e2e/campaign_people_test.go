package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/forge/forgetest"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// council is a service whose campaigns wait for people, services, credentials and files: its repository lies at a forge.
type council struct {
	*reviewed
	t    *testing.T
	api  string
	told func(words ...string) bool
}

func newCouncil(t *testing.T) *council {
	t.Helper()
	h := &council{reviewed: newReviewed(t, false), t: t, api: freeAddress(t)}
	var people string
	people, h.told = listener(t)
	for name, content := range map[string]string{"people": "a secret for people", "vault": "it does not say when it ends",
		"tokens": "ann operate-0123456789abcdef operate\nstu operate-stu456789abcdef operate\n"} {
		h.secret(name, content)
	}
	h.token(30 * time.Minute)
	h.aged("vault", 2*time.Hour)
	h.world.write("people.cue", `package site

site: {
	profiles: {local: engine: "local", grid: engine: "grid", dated: engine: "dated"}
	campaigns: people: {production: ["ann@example.org", "zoe@example.org", "diagnostics@example.org"], shifter: ["sam@example.org"], analysis: ["stu@example.org"]}
}
`, 0o644)
	h.world.commit("people")
	h.push()
	h.serve(fmt.Sprintf(`
	datasets: folders: [%q]
	submissions: {listen: %q, tokens: %q}
	services: archive: {command: ["/bin/sh", "-c", "test -e %s || { echo tape robot stuck; exit 1; }"], interval: "1s"}
	engines: {
		local: {kind: "local", slots: 8}
		grid: {kind: "local", credential: {file: %q, warn: "1h"}}
		dated: {kind: "local", credential: {file: %q, maxAge: "1h", warn: "1m"}}
	}
}
notify: people: {
	webhook: {url: %q, secret: %q}
	events: ["campaign-late", "campaign-held", "campaign-ended", "credential-expiring"]
`, h.world.dir, h.api, h.path("tokens"), h.path("well"), h.path("token"), h.path("vault"), people, h.path("people")), `people: {ann: "ann@example.org", zoe: "zoe@example.org", sam: "sam@example.org", stu: "stu@example.org"}`)
	return h
}

// token writes a token that is good for so long.
func (h *council) token(good time.Duration) {
	h.t.Helper()
	part := base64.RawURLEncoding.EncodeToString
	h.secret("token", part([]byte(`{"alg":"ES256"}`))+"."+part(fmt.Appendf(nil, `{"exp":%d}`, time.Now().Add(good).Unix()))+"."+part([]byte("signature")))
}

// aged has a file been written so long ago.
func (h *council) aged(name string, ago time.Duration) {
	h.t.Helper()
	if err := os.Chtimes(h.path(name), time.Now(), time.Now().Add(-ago)); err != nil {
		h.t.Fatal(err)
	}
}

// campaign writes one of one stage, work, whose job is a line for the shell.
func (h *council) campaign(name, line, stage, more string) {
	h.t.Helper()
	h.write(name+".cue", fmt.Sprintf(`package site

campaigns: %q: {
	reason: "to see it"
	requester: *"ann@example.org" | string
	state: "active"
	stages: work: {
		input: *{files: ["a.raw"]} | _
		job: {argv: ["/bin/sh", "-c", %q, "job", "${inputs}", "${outputs}"], resources: {memory: "64MiB", walltime: "5m"}}
		%s
	}
	%s
}
`, name, line, stage, more), 0o644)
}

// pushes commits what was written, and has it published.
func (h *council) pushes() {
	h.t.Helper()
	h.world.commit("campaigns")
	h.pushed()
}

// pushed has the service look at what is committed.
func (h *council) pushed() {
	h.t.Helper()
	h.push()
	must(h.t, "kick", "--root", h.root)
}

// approval commits that a campaign is approved, as a pull request that some have approved, and says its number and how others do.
func (h *council) approval(campaign, of string, by ...string) (number int, review func(login string)) {
	h.t.Helper()
	h.write(campaign+"_approved.cue", fmt.Sprintf("package site\n\ncampaigns: %q: approvals: [{%s}]\n", campaign, of), 0o644)
	h.world.commit("approve it")
	commit := git(h.t, h.site, "rev-parse", "HEAD")
	git(h.t, h.site, "push", "-q", h.bare, "HEAD:approve-"+campaign)
	number = h.hub.OpenPull(forgetest.Pull{Head: commit, HeadBranch: "approve-" + campaign})
	h.hub.Do(func() { h.hub.Brought[commit] = []int{number} })
	review = func(login string) {
		h.hub.AddReview(number, forgetest.Review{Login: login, State: "APPROVED", Commit: commit})
	}
	for _, login := range by {
		review(login)
	}
	h.hub.ClosePull(number, true)
	h.pushed()
	return number, review
}

func (h *council) why(name string) string {
	h.t.Helper()
	out, _, _ := pomona(h.t, "campaign", name, "--root", h.root)
	return out
}

// waits until it says why a campaign does not go on.
func (h *council) waits(name, why string) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("%s says %q", name, why), func() bool { return strings.Contains(h.why(name), why) })
}

// refused says that an order was, and why.
func (h *council) refused(want string, args ...string) {
	h.t.Helper()
	if _, errs, code := pomona(h.t, append([]string{"campaign"}, append(args, "--root", h.root)...)...); code == 0 || !strings.Contains(errs, want) {
		h.t.Errorf("%q: %d, %s", args, code, errs)
	}
}

// TestCampaignsWaitForPeopleAndForWhatTheyNeed in one service: for approvals by review, of campaigns and of stages, for
// services, credentials and files; by role, people may give orders. What has ended is archived.
func TestCampaignsWaitForPeopleAndForWhatTheyNeed(t *testing.T) {
	t.Parallel()
	h := newCouncil(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", h.log())
		}
	})
	note := `echo $POMONA_SLICE > "$2/$POMONA_CAMPAIGN-$POMONA_SLICE.txt"`
	outs := `job: outputs: out: pattern: "*.txt"` + "\n"
	h.campaign("chain", note, outs+`input: files: ["a.raw", "b.raw"], split: {type: "files", n: 1}`, fmt.Sprintf(`stages: {
		look: {type: "approval", needs: work: {}}
		move: {type: "transfer", needs: look: {}, input: glob: %q}
		use: {needs: move: join: "all", job: {argv: ["/bin/sh", "-c", "xargs cat < $1 > $2/used.txt", "use", "${inputs}", "${outputs}"], resources: memory: "64MiB", outputs: used: {pattern: "used.txt", perInput: 0}}}
	}`, h.path("tape/*.txt")))
	h.put("nowhere/other.txt", "")
	h.campaign("lost", note, outs, fmt.Sprintf(`stages: move: {type: "transfer", needs: work: {}, input: glob: %q, completion: timeout: "1s"}`, h.path("nowhere/*.txt")))
	h.campaign("serviced", note, outs, `services: ["archive"]`)
	h.campaign("grid", note, outs, `profile: "grid"`)
	h.campaign("dated", note, outs, `profile: "dated"`)
	h.campaign("reviewed", note, outs, `needsApproval: true`)
	h.campaign("thesis", "exit 1", "", `role: "analysis", requester: "stu@example.org"`)
	h.pushes()

	t.Run("services", func(t *testing.T) {
		h.waits("serviced", "service archive, which it needs, is not well since")
		eventually(t, "people are told", func() bool { return h.told("campaign-held", "tape robot stuck") })
		if c := h.world.campaign("serviced"); c.Stages[0].Slices[observed.SlicePlanned] != 1 || h.metric(`pomona_service_up{service="archive"`) != "0" {
			t.Errorf("%+v", c.Stages[0])
		}
		h.secret("well", "")
		h.reaches("serviced", "complete")
		if h.metric(`pomona_service_up{service="archive"`) != "1" {
			t.Error("the metric says that it is not well")
		}
	})
	t.Run("credentials", func(t *testing.T) {
		h.reaches("grid", "complete") // it is good for half an hour
		eventually(t, "people are told before", func() bool { return h.told("credential-expiring", "engine grid: "+h.path("token")+" ends at ") })
		h.waits("dated", "profile dated: nothing is handed in to engine dated: "+h.path("vault")+" has ended at ")
		eventually(t, "people are told after", func() bool {
			return h.told("credential-expiring", "engine dated: "+h.path("vault")+" has ended at ") && h.told("campaign-held", "dated/1: work: profile dated")
		})
		if h.metric(`pomona_engine_credential_expiry_timestamp_seconds{engine="dated"`) == "" || h.metric(`pomona_campaign_stuck{campaign="dated/1"`) != "1" {
			t.Error("no metric says so")
		}
		h.token(-time.Minute)
		h.campaign("grid2", note, outs, `profile: "grid"`)
		h.pushes()
		h.waits("grid2", "profile grid: nothing is handed in to engine grid: "+h.path("token")+" has ended at ")
		if c := h.world.campaign("grid2"); c.Stages[0].Slices[observed.SlicePlanned] != 1 || len(c.Stages[0].Submissions) != 0 {
			t.Errorf("%+v", c.Stages[0])
		}
		h.token(48 * time.Hour)
		h.aged("vault", 0)
		h.reaches("grid2", "complete")
		h.reaches("dated", "complete")
		eventually(t, "people are told that it is over", func() bool { return h.told("credential-expiring", `"recovered":true`) })
	})
	t.Run("stages", func(t *testing.T) {
		eventually(t, "both slices wait", func() bool { return h.world.campaign("chain").Stages[1].Slices[observed.SliceAwaiting] == 2 })
		digest := h.world.campaign("chain").Stages[1].Digest
		if text := h.why("chain"); !strings.Contains(text, "look "+digest) || !strings.Contains(text, "2 slices wait for approval") {
			t.Errorf("\n%s", text)
		}
		files, err := filepath.Glob(filepath.Join(h.root, ".pomona/engines/local/*/out/*/chain-*.txt"))
		if err != nil || len(files) != 2 {
			t.Fatalf("%q, %v", files, err)
		}
		for _, file := range files { // somebody else brings them there
			h.put("tape/"+filepath.Base(file), "from tape\n")
		}
		number, review := h.approval("chain", fmt.Sprintf("stage: \"look\", digest: %q", digest), "ann", "stu")
		h.waits("chain", fmt.Sprintf("2 slices wait for approval; the approval of %.19s does not count: pull request %d has been approved by nobody with a role that may", digest, number))
		review("sam") // a shifter may, what a stage asks
		h.note("look again")
		h.pushed()
		c := h.reaches("chain", "complete")
		if c.Stages[1].Slices[observed.SliceComplete] != 2 || c.Stages[2].Slices[observed.SliceComplete] != 2 {
			t.Errorf("%+v", c)
		}
		if got := h.outputs("used.txt"); len(got) != 1 || strings.Count(got[0], "f-") != 2 {
			t.Errorf("used %q", got)
		}
		if text := h.why("chain"); !strings.Contains(text, fmt.Sprintf("approved look by sam@example.org: pull request %d", number)) {
			t.Errorf("decisions:\n%s", text)
		}
		h.waits("lost", "0 of 1 file have arrived; it is not complete 1s after its files were left")
		eventually(t, "people are told what has not arrived", func() bool { return h.told("campaign-late", "lost/1: 1 slice is late") })
	})
	t.Run("reviews", func(t *testing.T) {
		digest := h.world.campaign("reviewed").Digest
		h.waits("reviewed", "somebody else than ann@example.org has to approve it")
		number, review := h.approval("reviewed", fmt.Sprintf("digest: %q", digest), "ann")
		h.waits("reviewed", fmt.Sprintf("pull request %d has been approved by nobody but the requester", number))
		review("sam") // a shifter
		h.note("ask again")
		h.pushed()
		h.waits("reviewed", fmt.Sprintf("pull request %d has been approved by nobody with a role that may", number))
		review("zoe")
		h.note("and again")
		h.pushed()
		h.reaches("reviewed", "complete")
		if text := h.why("reviewed"); !strings.Contains(text, fmt.Sprintf("approved the campaign by zoe@example.org: pull request %d", number)) {
			t.Errorf("decisions:\n%s", text)
		}
	})
	t.Run("roles", func(t *testing.T) {
		h.reaches("thesis", "incomplete")
		h.refused("stu may give no orders about campaign lost/1 of role production: site.campaigns.people names those who may", "cancel", "lost", "move/all", "--by", "stu")
		h.refused("bob may give no orders about campaign thesis/1 of role analysis", "retry", "thesis", "work/all", "--by", "bob")
		must(t, "campaign", "retry", "thesis", "work/all", "--by", "stu", "--root", h.root)
		must(t, "campaign", "accept", "lost", "move/all", "--by", "sam", "--reason", "it is on disk", "--root", h.root)
		key := h.slice("lost", "work/all").Attempts[0].Key
		for user, want := range map[string]int{"stu456789abcdef": http.StatusForbidden, "0123456789abcdef": http.StatusConflict} { // it has ended
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.api+"/v1/submissions/"+key, strings.NewReader("state=lost"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer operate-"+user)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if res.Body.Close(); res.StatusCode != want {
				t.Errorf("%s: %s", user, res.Status)
			}
		}
		h.campaign("unheard", "true", "", `requester: "stu@example.org"`)
		if out, _, code := pomona(t, "validate", h.site); code != 1 || !strings.Contains(out, "unheard.cue:5:2: campaigns.unheard.requester: stu@example.org may not request a campaign of role production; name them in site.campaigns.people.production") {
			t.Errorf("%d\n%s", code, out)
		}
		if err := os.Remove(filepath.Join(h.site, "unheard.cue")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("archive", func(t *testing.T) {
		git(t, h.site, "rm", "-q", "serviced.cue")
		h.pushes()
		h.reviewed.follows("it has left the site")
		list, all := must(t, "campaign", "--root", h.root), must(t, "campaign", "--all", "--root", h.root)
		if strings.Contains(list, "serviced") || !strings.Contains(list, "archived, as they have ended and left the site: 1; ") || !strings.Contains(all, "serviced/1            complete, archived  1 complete") {
			t.Errorf("\n%s\n%s", list, all)
		}
		if text := h.why("serviced"); !strings.Contains(text, "campaign serviced/1: complete, archived: slices: 1 complete") || !strings.Contains(text, "1 complete  1 done") {
			t.Errorf("\n%s", text)
		}
		if p := h.slice("serviced", "work/all"); len(p.Attempts) != 1 || p.Attempts[0].State != observed.SubmissionDone || len(p.Disturbances) == 0 || p.Inputs != 1 {
			t.Errorf("%+v", p)
		}
		eventually(t, "it is measured no more, and others are", func() bool {
			return h.metric(`pomona_campaign_stuck{campaign="serviced/1"`) == "" && h.metric(`pomona_campaigns{`) != ""
		})
	})
}

func (h *council) put(name, content string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o755); err != nil {
		h.t.Fatal(err)
	}
	h.secret(name, content)
}

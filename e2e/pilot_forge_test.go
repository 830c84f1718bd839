package e2e

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/forge/forgetest"
)

// prover is a service whose site lies at a forge, in which nobody signs anything: who wrote what, the forge says.
type prover struct {
	*sayers
	kind   string
	hub    *forgetest.GitHub
	tea    *forgetest.Gitea
	server *httptest.Server
	pulls  int
	root   string
	listen string
}

// newProver serves the site of new sayers.
func newProver(t *testing.T, kind string) *prover {
	t.Helper()
	a, s := trusted, newSayers(t)
	git(t, s.bare, "config", "http.receivepack", "true")
	p := &prover{sayers: s, kind: kind, server: pushServer(t, a, s.path("git"), nil), root: s.path("root"), listen: freeAddress(t)}
	o := forgetest.Options{Repository: "controls/site", Certificate: &a.tls, Head: func(branch string) string { return git(t, s.bare, "rev-parse", branch) }}
	p.hub, p.tea = forgetest.NewGitHub(t, o), forgetest.NewGitea(t, o)
	s.write("git-password", "robot:hush-hush")
	s.write("forge-token", forgetest.Token)
	must(t, "keygen", s.path("key"))
	s.write("pomona.cue", fmt.Sprintf(`admin: %q
sites: one: {
	root: %q
	listen: %q
	repository: url: %q
	keys: [%q]
	forge: {kind: %q, repository: "controls/site", api: %q, token: %q, people: {Ann1: "ann@example.org", bob: "bob@example.org", pia: "pia@example.org"}}
	credentials: %q: %q
}
`, freeAddress(t), p.root, p.listen, p.address(), s.path("key.sec"), kind, p.api(), s.path("forge-token"), strings.TrimPrefix(p.server.URL, "https://"), s.path("git-password")))
	service := serveFile(t, s.path("pomona.cue"))
	t.Cleanup(func() {
		if err := service.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "it is served", func() bool { return get("http://"+p.listen+"/-/pilots/psc-2-0/state.json") == 200 })
	return p
}

func (p *prover) address() string { return p.server.URL + "/controls/site.git" }

func (p *prover) api() string {
	if p.kind == "github" {
		return p.hub.URL
	}
	return p.tea.URL
}

// asks says something through a pull request, which is merged as it is. Reviews come before that, of the commit that was asked for.
func (p *prover) asks(by, text string, reviews ...forgetest.Review) (record string, number int, commit string) {
	p.t.Helper()
	out := must(p.t, "pilot", "psc-2-0", "feedback", "--text", text, "--by", by+"@example.org", "--sign", "none", "--site", p.address(),
		"--credential", strings.TrimPrefix(p.server.URL, "https://")+"="+p.path("git-password"), "--pull-request", "--forge", p.kind, "--forge-api", p.api(),
		"--forge-token", p.path("forge-token"), "--cache", p.path("cache"), "-o", "json")
	var done said
	if err := json.Unmarshal([]byte(out), &done); err != nil || done.Branch == "" {
		p.t.Fatalf("%v\n%s", err, out)
	}
	p.pulls++
	commit = git(p.t, p.bare, "rev-parse", done.Branch)
	for _, r := range reviews {
		p.reviews(p.pulls, commit, r)
	}
	p.hub.Do(func() { p.hub.Brought[commit] = []int{p.pulls} })
	p.tea.Do(func() {
		p.tea.Brought[commit] = p.pulls
		if p.kind == "gitea" {
			p.tea.Pulls[p.pulls-1]["merged"], p.tea.Pulls[p.pulls-1]["state"] = true, "closed"
		}
	})
	if p.kind == "github" {
		p.hub.ClosePull(p.pulls, true)
	}
	git(p.t, p.bare, "update-ref", "refs/heads/main", commit)
	return done.Record, p.pulls, commit
}

// reviews has somebody review a pull request: of a commit, unless the review says of which.
func (p *prover) reviews(number int, commit string, r forgetest.Review) {
	if r.Commit == "" {
		r.Commit = commit
	}
	if p.kind == "github" {
		p.hub.AddReview(number, r)
		return
	}
	p.tea.Do(func() { p.tea.AddReview(number, r) })
}

// records are what the service knows of who wrote which.
func (p *prover) records() map[string]provenRecord {
	p.t.Helper()
	var now struct{ Records []provenRecord }
	if err := json.Unmarshal(download(p.t, "http://"+p.listen+"/-/pilots/psc-2-0/state.json"), &now); err != nil {
		p.t.Fatal(err)
	}
	all := map[string]provenRecord{}
	for _, r := range now.Records {
		all[r.Record] = r
	}
	return all
}

// provenRecord is a record as the service shows it.
type provenRecord struct {
	Record, Doubt string
	Proof         *struct{ By, Source string }
}

// TestAForgeSaysWhoWroteARecord that nobody has signed: whom it names, if they approved the pull request as it was merged and may write.
func TestAForgeSaysWhoWroteARecord(t *testing.T) {
	for _, kind := range []string{"github", "gitea"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := newProver(t, kind)
			approves := func(login string) forgetest.Review { return forgetest.Review{Login: login, State: "APPROVED"} }
			dismissed := forgetest.Review{Login: "pia", State: "DISMISSED"}
			reads := forgetest.Review{Login: "pia", State: "APPROVED", Permission: "read"}
			older := approves("bob")
			older.Commit = git(t, p.bare, "rev-parse", "main")
			refused := "REQUEST_CHANGES"
			if kind == "github" {
				refused = "CHANGES_REQUESTED"
			}
			const nobody = "nobody has approved a pull request that brought commit"
			want := map[string]string{} // doubt by record; empty: it is proven
			say := func(doubt, by, text string, reviews ...forgetest.Review) (number int, commit string) {
				record, number, commit := p.asks(by, text, reviews...)
				want[record] = doubt
				return number, commit
			}
			say("", "ann", "approved by whom it names", approves("bob"), approves("ann1"))
			say(nobody, "bob", "approved as it was before", older)
			late, commit := say(nobody, "bob", "approved, but not any more", approves("bob"), forgetest.Review{Login: "bob", State: refused})
			say("approved by ann@"+kind+", and nobody knows who that is", "ann", "approved by somebody who is called so there", approves("ann"))
			say("is by bob@example.org, not by ann@example.org", "ann", "approved by somebody else", approves("bob"))
			say(nobody, "pia", "the approval was dismissed", dismissed)
			say(nobody, "pia", "approved by somebody who may not write", reads)
			must(t, "kick", "--root", p.root)
			holds := func() bool {
				records := p.records()
				for record, doubt := range want {
					r := records[record]
					if doubt == "" && (r.Proof == nil || r.Proof.Source == "") || doubt != "" && !strings.Contains(r.Doubt, doubt) || doubt != "" && r.Proof != nil {
						return false
					}
				}
				return true
			}
			defer func() {
				if t.Failed() {
					for record, doubt := range want {
						t.Logf("%s: %+v, want %q", record, p.records()[record], doubt)
					}
				}
			}()
			eventually(t, "each record is judged", holds)
			for record := range want {
				if p := p.records()[record].Proof; p != nil && (p.By != "ann@example.org" || p.Source != "approval of pull request 1") {
					t.Errorf("%s is proven by %+v", record, p)
				}
			}
			// Whoever approves after the merge has approved what was merged.
			p.reviews(late, commit, approves("bob"))
			for record := range want {
				if strings.Contains(p.records()[record].Doubt, commit[:12]) {
					want[record] = ""
				}
			}
			eventually(t, "a later approval counts", holds)
		})
	}
}

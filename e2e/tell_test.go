package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

// TestTheForgeIsToldWhatBecomesOfTheMerge follows commits through everything that may become of them. What a forge was told is
// not said again, also after a restart.
func TestTheForgeIsToldWhatBecomesOfTheMerge(t *testing.T) {
	t.Parallel()
	for name, app := range map[string]bool{"token": false, "app": true} {
		t.Run(name, func(t *testing.T) {
			r := newReviewed(t, app)
			r.serve("", `link: "https://pomona.example.org/acc", environment: "accelerator"`)
			first := git(t, r.site, "rev-parse", "HEAD")
			r.says(first, "success: published")

			// A merge.
			good := r.merge("good")
			r.says(good, "success: published")
			if s := r.hub.StatusesOf(good)[0]; s.Link != "https://pomona.example.org/acc" {
				t.Errorf("the status leads to %q", s.Link)
			}
			eventually(t, "both are deployed", func() bool {
				d := r.hub.DeploymentsTo("accelerator")
				return len(d) == 2 && len(d[0].Statuses) > 0
			})
			if d := r.hub.DeploymentsTo("accelerator")[0]; d.Commit != good || !d.Production || len(d.Statuses) != 1 || d.Statuses[0].State != "success" {
				t.Errorf("%+v", d)
			}

			// One with a problem, and one after it.
			r.write("bad.cue", "package site\n\nfecs: bad: {host: 3}\n", 0o644)
			r.commit("bad")
			bad := r.push()
			r.hub.Push("main", good, bad)
			r.says(bad, "failure: not published: ")
			if text := r.statuses(bad)[0]; !strings.Contains(text, "bad.cue:3:") || len([]rune(text)) > len("failure: ")+140 {
				t.Errorf("the status says %q", text)
			}
			git(t, r.site, "rm", "-q", "bad.cue")
			mended := r.merge("mended")
			r.says(mended, "success: published")

			// Held, and free again.
			must(t, "suspend", "--root", r.root, "--reason", "beam on target", "--for", "1h")
			held := r.merge("held")
			r.says(held, "pending: held by ")
			if text := r.statuses(held)[0]; !strings.Contains(text, "beam on target") {
				t.Errorf("the status says %q", text)
			}
			next := r.merge("held too")
			r.says(next, "pending: held by ")
			must(t, "resume", "--root", r.root)
			r.says(next, "success: published")
			r.says(held, "success: superseded by "+next[:12])
			r.says(bad, "failure: ")

			// Rolled back.
			must(t, "rollback", mended, "--root", r.root, "--reason", "it smokes", "--for", "1h")
			r.says(next, "failure: rolled back by ")
			eventually(t, "what was rolled back to is deployed", func() bool { return r.hub.DeploymentsTo("accelerator")[0].Commit == mended })

			// A restart says nothing again.
			eventually(t, "everything is said", func() bool { return r.metric(`pomona_queue_length{queue="forge"`) == "0" })
			said := func() int { return r.hub.Times("POST", "") - r.hub.Times("POST", "/access_tokens") }
			before := said()
			r.stop(syscall.SIGTERM)
			r.serve("", `link: "https://pomona.example.org/acc", environment: "accelerator"`)
			last := r.merge("after the restart")
			r.says(last, "success: published")
			eventually(t, "the last one is deployed, and everything is said", func() bool {
				d := r.hub.DeploymentsTo("accelerator")[0]
				return d.Commit == last && len(d.Statuses) > 0 && r.metric(`pomona_queue_length{queue="forge"`) == "0"
			})
			more := len(r.statuses(last)) + 2 // a deployment and its status
			if n := said() - before; n != more {
				t.Errorf("%d things were said after a restart, want %d", n, more)
			}
			if app && (r.hub.Times("GET", "/installation") == 0 || r.hub.Times("POST", "/access_tokens") == 0) {
				t.Error("the App did not ask for a token of its installation")
			}
		})
	}
}

// TestAForgeThatIsAwayDelaysNothing publishes while the forge does not answer; it hears what it missed when it is back, though
// the service was killed meanwhile.
func TestAForgeThatIsAwayDelaysNothing(t *testing.T) {
	t.Parallel()
	r := newReviewed(t, false)
	gone := make(chan struct{})
	var once sync.Once
	back := func() { once.Do(func() { close(gone) }) }
	defer back()
	r.hub.Do(func() {
		r.hub.Before = func(w http.ResponseWriter, req *http.Request) bool {
			select {
			case <-gone: // it is back
				return false
			default:
			}
			if req.Method == http.MethodPost {
				w.WriteHeader(http.StatusBadGateway)
				return true
			}
			select { // it hangs
			case <-gone:
			case <-req.Context().Done():
			}
			return false
		}
	})
	r.serve("", `environment: "accelerator"`)
	for i := range 3 {
		r.merge(fmt.Sprint("merge ", i))
		r.follows("it is published although the forge hangs")
	}
	last := git(t, r.site, "rev-parse", "HEAD")
	if n := r.metric(`pomona_queue_length{queue="forge"`); n == "0" || n == "" {
		t.Errorf("the queue has length %q", n)
	}
	eventually(t, "the queue is kept", func() bool {
		b, err := os.ReadFile(filepath.Join(r.root, ".pomona/forge.json"))
		return err == nil && strings.Count(string(b), last) == 2
	})
	r.stop(syscall.SIGKILL)
	back()
	r.serve("", `environment: "accelerator"`)
	r.says(last, "success: published")
	eventually(t, "the newest alone is deployed", func() bool {
		d := r.hub.DeploymentsTo("accelerator")
		return len(d) == 1 && d[0].Commit == last
	})
}

// TestAForgeWhoseTokenIsMissingIsNoReasonNotToServe gives the token later.
func TestAForgeWhoseTokenIsMissingIsNoReasonNotToServe(t *testing.T) {
	t.Parallel()
	r := newReviewed(t, false)
	r.secret("forge", "")
	r.serve("", "")
	r.follows("the branch is published")
	eventually(t, "the missing token is told", func() bool { return strings.Contains(r.log(), "forge not asked and not told") })
	r.secret("forge", "another\n")
	eventually(t, "a refused token is told", func() bool { return strings.Contains(r.log(), "does not accept the token") })
	r.secret("forge", "ghs_thisIsTheTokenOfTheTest\n")
	r.says(git(t, r.site, "rev-parse", "HEAD"), "success: published")
}

// TestDeliveriesThatWereMissedComeAgain pushes while the service is down.
func TestDeliveriesThatWereMissedComeAgain(t *testing.T) {
	t.Parallel()
	for name, app := range map[string]bool{"token": false, "app": true} {
		t.Run(name, func(t *testing.T) {
			r := newReviewed(t, app)
			r.serve(`poll: "1d"`, "")
			heard := r.merge("heard")
			r.says(heard, "success: published")
			r.stop(syscall.SIGTERM)
			if code := r.hub.Push("main", heard, heard); code != 0 {
				t.Errorf("a service that is down answers %d", code)
			}
			r.serve(`poll: "1d"`, fmt.Sprintf("hook: %q", "http://"+r.hears+"/acc/forge"))
			eventually(t, "the delivery comes again", func() bool {
				return r.metric(`pomona_webhook_requests_total{forge="github",result="accepted"`) == "1"
			})
			eventually(t, "that is told", func() bool { return strings.Contains(r.log(), "had missed deliveries of the webhook repeated") })
			r.hub.Do(func() {
				if len(r.hub.Again) != 1 {
					t.Errorf("%v were asked for again", r.hub.Again)
				}
			})
		})
	}
}

// TestAReplayIsKnownAfterARestart sends a delivery once more after the service was killed, and after it ended well.
func TestAReplayIsKnownAfterARestart(t *testing.T) {
	t.Parallel()
	r := newReviewed(t, false)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		r.serve(`poll: "1d"`, "")
		r.follows("the branch is published")
		commit := r.merge(signal.String())
		r.says(commit, "success: published")
		if signal == syscall.SIGKILL {
			eventually(t, "the delivery is in the ledger", func() bool {
				l, err := ledger.Look(t.Context(), filepath.Join(r.root, ".pomona", ledger.File))
				if err != nil {
					return false
				}
				defer l.Close() // only read
				known, err := l.Deliveries(t.Context())
				return err == nil && len(known) == 4
			})
		}
		r.stop(signal)
		r.serve(`poll: "1d"`, "")
		eventually(t, "the service answers", func() bool { return get("http://"+r.admin+"/readyz") == 200 })
		if code := r.hub.Repeat(); code != http.StatusAccepted {
			t.Errorf("a replay gets status %d", code)
		}
		if n := r.metric(`pomona_webhook_requests_total{forge="github",result="repeated"`); n != "1" {
			t.Errorf("%s repeated deliveries", n)
		}
		r.stop(syscall.SIGTERM)
	}
}

// TestASilentWebhookIsToldOf moves the branch and has no webhook say so: polling finds it, and people hear of that; of its end too.
func TestASilentWebhookIsToldOf(t *testing.T) {
	t.Parallel()
	r := newReviewed(t, false)
	var mu sync.Mutex
	var events []string
	people := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body) // what is missing is not found below
		mu.Lock()
		defer mu.Unlock()
		events = append(events, string(b))
	}))
	defer people.Close()
	told := func(words ...string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.ContainsFunc(events, func(e string) bool {
				return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(e, w) })
			})
		}
	}
	r.secret("people", "a secret for people")
	r.serve(`poll: "1s"
}
notify: people: {
	webhook: {url: "`+people.URL+`", secret: "`+r.path("people")+`"}
	events: ["webhook-silent"]
`, "")
	r.follows("the branch is published")
	// With webhooks that work nothing is told.
	r.merge("heard")
	r.follows("it is published")
	if n := r.metric("pomona_webhook_silent"); n != "0" {
		t.Errorf("the metric is %q", n)
	}
	r.note("unheard")
	r.push()
	r.follows("polling finds it")
	eventually(t, "people are told", told("webhook-silent", "no webhook said so"))
	if n := r.metric("pomona_webhook_silent"); n != "1" {
		t.Errorf("the metric is %q", n)
	}
	r.merge("heard again")
	eventually(t, "people are told that it is over", told("webhook-silent", `"recovered":true`))
	if n := r.metric("pomona_webhook_silent"); n != "0" {
		t.Errorf("the metric is %q", n)
	}
	if n := strings.Count(r.log(), "no webhook said so"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, r.log())
	}
}

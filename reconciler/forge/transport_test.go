package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// brokenAt drops the connection of the nth request of a method.
func brokenAt(count *int, method string, n int) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == method {
			if *count++; *count == n {
				panic(http.ErrAbortHandler)
			}
		}
		return false
	}
}

// firstTimes gives the first n requests an answer of its own.
func firstTimes(n int, do http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool {
		if count.Add(1) > int64(n) {
			return false
		}
		do(w, r)
		return true
	}
}

// refusals are the ways in which GitHub limits, as it documents them: with 403 or 429, in headers or in text only.
var refusals = map[string]struct {
	do   func(f *fake, w http.ResponseWriter)
	wait time.Duration
}{
	"403 with Retry-After": {func(_ *fake, w http.ResponseWriter) {
		w.Header().Set("Retry-After", "42")
		refuse(w, 403, "You have exceeded a secondary rate limit.")
	}, 42 * time.Second},
	"429 with Retry-After": {func(_ *fake, w http.ResponseWriter) {
		w.Header().Set("Retry-After", "42")
		refuse(w, 429, "You have exceeded a secondary rate limit.")
	}, 42 * time.Second},
	"403 primary": {func(f *fake, w http.ResponseWriter) {
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(f.now.Unix()+41, 10))
		refuse(w, 403, "API rate limit exceeded for user ID 1.")
	}, 42 * time.Second},
	"429 primary": {func(f *fake, w http.ResponseWriter) {
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(f.now.Unix()+41, 10))
		refuse(w, 429, "API rate limit exceeded for user ID 1.")
	}, 42 * time.Second},
	"403 secondary by text": {func(_ *fake, w http.ResponseWriter) {
		refuse(w, 403, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
	}, time.Minute},
	"429 alone":               {func(_ *fake, w http.ResponseWriter) { refuse(w, 429, "") }, time.Minute},
	"503 with Retry-After":    {func(_ *fake, w http.ResponseWriter) { w.Header().Set("Retry-After", "42"); refuse(w, 503, "") }, 42 * time.Second},
	"429 with a strange date": {func(_ *fake, w http.ResponseWriter) { w.Header().Set("Retry-After", "soon"); refuse(w, 429, "") }, time.Minute},
}

func TestAShortLimitIsWaitedFor(t *testing.T) {
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			g := f.github()
			posts := 0
			f.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == "POST" {
					if posts++; posts <= 2 {
						c.do(f, w)
						return true
					}
				}
				return false
			}
			must(t, g.Status(t.Context(), headCommit, Status{Context: "pomona", State: Success}))
			if posts != 3 || len(f.Statuses[headCommit]) != 1 {
				t.Errorf("%d requests, %d statuses", posts, len(f.Statuses[headCommit]))
			}
			if len(f.slept) != 2 || f.slept[0] != c.wait || f.slept[1] != c.wait {
				t.Errorf("waited %v, want %s", f.slept, c.wait)
			}
		})
	}
}

func TestALongLimitIsAnErrorAndNothingIsAskedBeforeItsEnd(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	g := f.github()
	until := f.now.Add(30*time.Minute + time.Second)
	f.Before = firstTimes(1, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(until.Unix()-1, 10))
		refuse(w, 403, "API rate limit exceeded")
	})
	for range 3 {
		_, err := g.Open(ctx)
		wantError[*Limited](t, err, "takes no more requests until 2026-05-04T12:30:01Z")
	}
	if len(f.Asked) != 1 || len(f.slept) != 0 {
		t.Errorf("asked %v, slept %v", f.Asked, f.slept)
	}
	f.now = until
	_, err := g.Open(ctx)
	must(t, err)
}

func TestTheLastRequestOfAnHourIsGoodAndTheNextWaits(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	f.now = time.Now() // go-github's clock
	g := f.github()
	f.Before = firstTimes(1, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(f.now.Unix()+1800, 10))
		answer(w, 200, []object{})
	})
	_, err := g.Open(ctx)
	must(t, err)
	_, err = g.Open(ctx)
	wantError[*Limited](t, err, "")
	if len(f.Asked) != 1 {
		t.Errorf("asked %v", f.Asked)
	}
}

func TestALimitIsNoLongerThanItCanBe(t *testing.T) {
	now := time.Unix(1e9, 0)
	for text, want := range map[string]time.Duration{"7": 7 * time.Second, "99999999999": time.Minute, "9999999": 24 * time.Hour, "-1": time.Minute, "": time.Minute,
		now.Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second, now.Add(-time.Hour).UTC().Format(http.TimeFormat): 0} {
		if got := retryAfter(text, now); got != want && !(text == "99999999999" && got == 24*time.Hour) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	h := http.Header{"X-Ratelimit-Reset": {"99999999999"}}
	if at := resetOf(h, now); at.Sub(now) != time.Hour {
		t.Errorf("a reset in %s", at.Sub(now))
	}
}

func TestReadingIsTriedAgainAndWritingIsNot(t *testing.T) {
	faults := map[string]http.HandlerFunc{
		"502": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>unicorn</html>", http.StatusBadGateway)
		},
		"hangs up":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"503 at all": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			f, ctx := newFake(t), t.Context()
			g := f.github()
			f.Before = firstTimes(maxTries-1, fault)
			_, err := g.Open(ctx)
			must(t, err)
			f.Before = firstTimes(1<<30, fault)
			_, err = g.Open(ctx)
			wantError[*remote.Unavailable](t, err, "another try may succeed")

			posts := 0
			f.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == "POST" {
					posts++
					fault(w, r)
					return true
				}
				return false
			}
			wantError[*remote.Unavailable](t, g.Status(ctx, headCommit, Status{Context: "pomona", State: Success}), "")
			if posts != 1 {
				t.Errorf("written %d times", posts)
			}
		})
	}
}

func TestWhatHasNotChangedIsNotSentAgain(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	g := f.github()
	for n := 1; n <= 150; n++ {
		f.AddPull(n, object{}, "topic", "main")
	}
	for range 3 {
		pulls, err := g.Open(ctx)
		must(t, err)
		if len(pulls) != 150 {
			t.Errorf("%d pull requests", len(pulls))
		}
	}
	if f.Reads != 2 || f.Times("GET", "/pulls") != 6 {
		t.Errorf("%d answers to %d requests", f.Reads, f.Times("GET", "/pulls"))
	}
	f.AddPull(151, object{}, "topic", "main")
	pulls, err := g.Open(ctx)
	must(t, err)
	if len(pulls) != 151 || f.Reads != 3 {
		t.Errorf("%d pull requests, %d answers", len(pulls), f.Reads)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	var c cache
	body := make([]byte, maxKept+1)
	for i := range 3 * maxCached {
		req := httptest.NewRequest("GET", fmt.Sprintf("https://h/%d", i), nil)
		c.keep(keyOf(req), &cached{"e", nil, body[:maxKept]})
		c.keep(keyOf(req), &cached{"e", nil, body[:maxKept]})
		c.keep("large", &cached{"e", nil, body})
	}
	if c.bytes > maxCache || len(c.kept) != len(c.order) || len(c.kept) != maxCache/maxKept {
		t.Errorf("%d bytes in %d answers, %d in order", c.bytes, len(c.kept), len(c.order))
	}
	for i := range 3 * maxCached {
		c.keep(strconv.Itoa(i), &cached{"e", nil, nil})
	}
	if len(c.kept) != maxCached || c.bytes != 0 {
		t.Errorf("%d answers, %d bytes", len(c.kept), c.bytes)
	}
}

func TestTheTokenGoesToNoOtherHost(t *testing.T) {
	var leaked atomic.Int64
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked.Add(1)
		answer(w, 200, []object{})
	}))
	defer other.Close()
	for _, code := range []int{301, 302, 307, 308} {
		f, ctx := newFake(t), t.Context()
		g := f.github()
		f.Before = func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, other.URL+r.URL.Path, code)
			return true
		}
		_, err := g.Open(ctx)
		wantError[*remote.Wrong](t, err, "leads to")
		wantError[*remote.Wrong](t, g.Comment(ctx, 1, "x"), "leads to")
		f.Before = func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, strings.Replace(f.URL, "https", "http", 1)+r.URL.Path, code)
			return true
		}
		_, err = g.Open(ctx)
		wantError[*remote.Wrong](t, err, "leads to")
	}
	g := newFake(t).github()
	for _, address := range []string{other.URL, strings.Replace(g.api.BaseURL.String(), "https", "http", 1)} {
		if _, err := g.http.Get(address); err == nil || !strings.Contains(err.Error(), "refuse to speak") {
			t.Errorf("%s: error %v", address, err)
		}
	}
	if leaked.Load() != 0 {
		t.Errorf("another host was asked %d times", leaked.Load())
	}
}

func TestARepositoryThatMovedIsReadButNotWritten(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	g := f.github()
	f.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("moved") != "" || r.Method == "GET" && !strings.HasSuffix(r.URL.Path, "/pulls") {
			return false
		}
		q := r.URL.Query()
		q.Set("moved", "1")
		http.Redirect(w, r, "/api/v3"+r.URL.Path+"?"+q.Encode(), http.StatusMovedPermanently)
		return true
	}
	f.AddPull(1, object{}, "topic", "main")
	f.Held = false // no such parameter
	pulls, err := g.Open(ctx)
	must(t, err)
	if len(pulls) != 1 {
		t.Errorf("%v", pulls)
	}
	wantError[*remote.Wrong](t, g.Status(ctx, headCommit, Status{Context: "pomona", State: Success}), "has moved")
	f.Before = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "/api/v3"+r.URL.Path, http.StatusFound)
		return true
	}
	if _, err := g.Open(ctx); err == nil {
		t.Error("a circle was followed")
	}
}

func TestHostileAnswersAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		code int
		head string
		most int64
	}{"answer": {200, `["`, maxAnswer}, "error": {422, `{"message": "`, maxErrorText}, "refusal": {403, `{"message": "`, maxErrorText}, "with ETag": {200, `["`, maxAnswer}} {
		t.Run(name, func(t *testing.T) {
			f, ctx := newFake(t), t.Context()
			g := f.github()
			var sent atomic.Int64
			f.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if name == "with ETag" {
					w.Header().Set("ETag", `"x"`)
				}
				w.WriteHeader(c.code)
				n, _ := io.WriteString(w, c.head)
				for b := bytes.Repeat([]byte("x"), 1<<16); ; {
					m, err := w.Write(b)
					if n += m; err != nil || n > 64<<20 {
						sent.Store(int64(n))
						return true
					}
				}
			}
			_, err := g.Open(ctx)
			if err == nil {
				t.Error("no error")
			}
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			f.Server.Close()                 // waits for the handlers
			if sent.Load() > c.most+24<<20 { // sockets hold many MiB that nobody reads
				t.Errorf("took %d bytes", sent.Load())
			}
		})
	}
}

func TestHostileBodiesAreErrors(t *testing.T) {
	for name, body := range map[string]string{
		"no JSON": "<html>", "empty": "", "cut": `[{"number": 1`, "another kind": `{"number": 1}`, "wrong member": `[{"number": "one"}]`,
		"null": "null", "deep": strings.Repeat("[", 1<<20), "nulls": `[null, {"head": null}, {"number": 1, "head": {"sha": null}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			f, ctx := newFake(t), t.Context()
			g := f.github(asApp)
			f.Before = func(w http.ResponseWriter, _ *http.Request) bool { _, _ = io.WriteString(w, body); return true }
			calls := map[string]func() error{
				"open":   func() error { _, err := g.Open(ctx); return err },
				"status": func() error { return g.Status(ctx, headCommit, Status{Context: "x", State: Success}) },
				"check": func() error {
					return g.Check(ctx, headCommit, Check{Name: "x", State: Success, Annotations: annotations(60)})
				},
				"comment": func() error { return g.Comment(ctx, 1, "x") },
				"deploy": func() error {
					return g.Deployment(ctx, Deployment{Commit: headCommit, Environment: "x", State: Success})
				},
				"redeliver": func() error { _, err := g.Redeliver(ctx, time.Time{}); return err },
				"change":    func() error { _, err := g.OpenChange(ctx, Change{Branch: "x", Title: "x"}); return err },
			}
			for call, do := range calls {
				err := do() // none panics
				if (name == "no JSON" || name == "empty" || name == "cut") && err == nil {
					t.Errorf("%s: no error", call)
				}
			}
		})
	}
}

func TestErrorsSayWhoMustAct(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	g := f.github()
	echo := func(code int) {
		f.Before = func(w http.ResponseWriter, r *http.Request) bool {
			refuse(w, code, "you sent "+r.Header.Get("Authorization")+" "+strings.Repeat("long ", 1000))
			return true
		}
	}
	for code, text := range map[int]string{401: "give another", 403: "permission", 404: "correct the repository", 410: "correct the repository", 422: "you sent Bearer (secret)"} {
		echo(code)
		_, err := g.Open(ctx)
		wantError[*remote.Wrong](t, err, text)
	}
	echo(500)
	_, err := g.Open(ctx)
	wantError[*remote.Unavailable](t, err, "status 500")
	f.Server.Close()
	_, err = g.Open(ctx)
	wantError[*remote.Unavailable](t, err, "another try may succeed")
}

func TestATokenThatRanOutOnTheWayIsRenewed(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string, mode os.FileMode) {
		t.Helper()
		must(t, os.WriteFile(file+".new", []byte(token), mode))
		must(t, os.Rename(file+".new", file))
	}
	write("old\n", 0o600)
	source, err := TokenFile(file)
	must(t, err)
	g := f.github(func(o *Options) { o.Token = source })
	f.Before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer old" {
			write(theToken+"\n", 0o600) // while the request is on its way
		}
		return false
	}
	must(t, g.Status(ctx, headCommit, Status{Context: "pomona", State: Success}))
	if len(f.Statuses[headCommit]) != 1 {
		t.Errorf("%d statuses", len(f.Statuses[headCommit]))
	}
	write("", 0o600) // somebody is writing it
	must(t, g.Status(ctx, headCommit, Status{Context: "pomona", State: Failure}))
	write(theToken+"x", 0o644) // not ours to use
	must(t, g.Status(ctx, headCommit, Status{Context: "pomona", State: Success}))
	write("bad", 0o600)
	wantError[*remote.Wrong](t, g.Status(ctx, headCommit, Status{Context: "pomona", State: Failure}), "does not accept the token")
	if _, err := TokenFile(file + ".nowhere"); err == nil {
		t.Error("a token that is not there")
	}
}

// revoked is a source of tokens that keeps one until it is told to forget it.
type revoked struct{ kept string }

func (r *revoked) Token(context.Context) (string, error) {
	if r.kept == "" {
		r.kept = theToken
	}
	return r.kept, nil
}

func (r *revoked) Forget() { r.kept = "" }

func TestATokenThatWasRevokedIsAskedForAnew(t *testing.T) {
	f := newFake(t)
	must(t, f.github(func(o *Options) { o.Token = &revoked{"revoked"} }).Status(t.Context(), headCommit, Status{Context: "pomona", State: Success}))
	if len(f.Statuses[headCommit]) != 1 {
		t.Errorf("%d statuses", len(f.Statuses[headCommit]))
	}
}

func TestASlowForgeEndsWithTheCall(t *testing.T) {
	f := newFake(t)
	g := f.github()
	ctx, cancel := context.WithCancel(t.Context())
	f.Before = func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.WriteString(w, "[")
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
		return true
	}
	if _, err := g.Open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestAddressesAndNamesAreChecked(t *testing.T) {
	token := TokenFunc(func(context.Context) (string, error) { return "x", nil })
	for _, api := range []string{"http://ghe.example.org", "ghe.example.org", "https://", "https://u:p@ghe.example.org", "https://ghe.example.org/?a=b", "file:///etc"} {
		if _, err := NewGitHub(Options{API: api, Repository: "o/r", Token: token}); err == nil {
			t.Errorf("%s: accepted", api)
		}
	}
	for _, name := range []string{"", "o", "o/", "/r", "o/r/x", "../r", "o/..", "./r", "o/.", "o/r?x", "o/r#x", "o/%2e%2e", "o /r", "o/\x00", "ö/r"} {
		if _, err := NewGitHub(Options{Repository: name, Token: token}); err == nil {
			t.Errorf("%q: accepted", name)
		}
	}
	if _, err := NewGitHub(Options{Repository: "o/r"}); err == nil {
		t.Error("no token: accepted")
	}
	for api, want := range map[string]string{"": "https://api.github.com/", "https://api.github.com": "https://api.github.com/", "https://ghe.example.org": "https://ghe.example.org/api/v3/",
		"https://ghe.example.org/api/v3/": "https://ghe.example.org/api/v3/", "https://api.fecs.ghe.com": "https://api.fecs.ghe.com/"} {
		g, err := NewGitHub(Options{API: api, Repository: "o/r.x_y-z", Token: token})
		must(t, err)
		if got := g.api.BaseURL.String(); got != want {
			t.Errorf("%s: %s, want %s", api, got, want)
		}
	}
	f := newFake(t)
	for _, commit := range []string{"", "HEAD", "main", "../" + headCommit[3:], strings.ToUpper(headCommit), headCommit + "/x"} {
		if f.github().Status(t.Context(), commit, Status{}) == nil || f.github(asApp).Check(t.Context(), commit, Check{}) == nil || f.github().Deployment(t.Context(), Deployment{Commit: commit}) == nil {
			t.Errorf("%q: accepted", commit)
		}
	}
	if len(f.Asked) != 0 {
		t.Errorf("asked %v", f.Asked)
	}
}

func FuzzCutText(f *testing.F) {
	f.Add(strings.Repeat("```\nx\n", 3000), "https://x")
	f.Add("<details>"+strings.Repeat("````go\n<details>\n", 2000), "")
	f.Add(strings.Repeat("ö", 20000), "y")
	f.Fuzz(func(t *testing.T, s, link string) {
		const most = 4096
		got := cutText(s, most, cutLine(link, 200))
		if len(got) > most {
			t.Errorf("%d bytes", len(got))
		}
		if _, err := json.Marshal(got); err != nil || strings.ToValidUTF8(got, "") != got {
			t.Error("no text")
		}
	})
}

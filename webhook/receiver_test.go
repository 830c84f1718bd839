package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	theSecret   = "it is a secret to everybody"
	otherSecret = "nobody knows about this one"
	someCommit  = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
	otherCommit = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
	noCommit    = "0000000000000000000000000000000000000000"
)

// hearing is a Receiver with what it did.
type hearing struct {
	*Receiver
	t       testing.TB
	mu      sync.Mutex
	events  []Event
	counted map[string]int
	log     *bytes.Buffer
	secret  string // file
}

// hear has one source of a kind, named as the kind, for the repository o/r with id 7.
func hear(t testing.TB, kind string, change ...func(*Options)) *hearing {
	t.Helper()
	h := &hearing{t: t, counted: map[string]int{}, log: &bytes.Buffer{}, secret: filepath.Join(t.TempDir(), "secret")}
	write(t, h.secret, theSecret+"\n")
	o := Options{
		Sources: []Source{{Name: kind, Kind: kind, Secrets: []string{h.secret}, Repositories: []Repository{{Name: "o/r"}}}},
		Act:     func(e Event) { h.mu.Lock(); h.events = append(h.events, e); h.mu.Unlock() },
		Count:   func(_, outcome string) { h.mu.Lock(); h.counted[outcome]++; h.mu.Unlock() },
		Log:     slog.New(slog.NewTextHandler(h.log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	h.Receiver = r
	return h
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace puts another file in a file's place.
func replace(t testing.TB, name, text string) {
	t.Helper()
	write(t, name+".new", text)
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func sign(secret, body string) string { return "sha256=" + digest(sha256.New, secret, body) }

func digest(h func() hash.Hash, secret, body string) string {
	mac := hmac.New(h, []byte(secret))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

var lastDelivery int

// delivery is a signed request of GitHub's.
func delivery(event, body string) *http.Request {
	lastDelivery++
	req := httptest.NewRequest(http.MethodPost, "/github", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", event)
	req.Header.Set("X-GitHub-Delivery", fmt.Sprintf("72d3162e-cc78-11e3-81ab-%012d", lastDelivery))
	req.Header.Set("X-Hub-Signature-256", sign(theSecret, body))
	return req
}

func push(repository string) string {
	return fmt.Sprintf(`{"ref": "refs/heads/main", "before": %q, "after": %q, "repository": {"id": 7, "full_name": %q}}`, otherCommit, someCommit, repository)
}

// want sends a request and holds its answer and its events to what is wanted.
func (h *hearing) want(req *http.Request, code int, events ...Event) string {
	h.t.Helper()
	h.events = nil
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code != code {
		h.t.Errorf("answer %d %q, want %d", w.Code, w.Body, code)
	}
	for i := range h.events {
		h.events[i].Delivery = ""
	}
	if diff := cmp.Diff(events, h.events); diff != "" {
		h.t.Errorf("events (-want +got):\n%s", diff)
	}
	return w.Body.String()
}

var pushed7 = Event{Source: "github", Forge: "github", Kind: Push, Repository: "o/r", Branch: "main", Commit: someCommit, Before: otherCommit}

func TestASignedPushIsActedOn(t *testing.T) {
	hear(t, "github").want(delivery("push", push("o/r")), 202, pushed7)
}

func TestWithoutTheRightSignatureNothingIsActedOn(t *testing.T) {
	body := push("o/r")
	for name, change := range map[string]func(http.Header){
		"none":           func(h http.Header) { h.Del("X-Hub-Signature-256") },
		"empty":          func(h http.Header) { h.Set("X-Hub-Signature-256", "") },
		"of nothing":     func(h http.Header) { h.Set("X-Hub-Signature-256", "sha256=") },
		"another secret": func(h http.Header) { h.Set("X-Hub-Signature-256", sign(otherSecret, body)) },
		"empty secret":   func(h http.Header) { h.Set("X-Hub-Signature-256", sign("", body)) },
		"another body":   func(h http.Header) { h.Set("X-Hub-Signature-256", sign(theSecret, body+" ")) },
		"SHA-1 only": func(h http.Header) {
			h.Del("X-Hub-Signature-256")
			h.Set("X-Hub-Signature", "sha1="+digest(sha1.New, theSecret, body))
		},
		"SHA-1 in its place": func(h http.Header) { h.Set("X-Hub-Signature-256", "sha1="+digest(sha1.New, theSecret, body)) },
		"a part":             func(h http.Header) { h.Set("X-Hub-Signature-256", sign(theSecret, body)[:40]) },
		"no hex":             func(h http.Header) { h.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("x", 64)) },
		"two":                func(h http.Header) { h.Add("X-Hub-Signature-256", sign(theSecret, body)) },
		"the secret itself":  func(h http.Header) { h.Set("X-Hub-Signature-256", theSecret) },
	} {
		t.Run(name, func(t *testing.T) {
			h, req := hear(t, "github"), delivery("push", body)
			change(req.Header)
			h.want(req, 401)
			if h.counted[Forged] != 1 {
				t.Errorf("counted %v", h.counted)
			}
		})
	}
}

func TestASourceWithoutASecretIsRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		write(t, name, text)
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := file("good", theSecret, 0o600)
	for name, secrets := range map[string][]string{
		"none":             nil,
		"empty":            {file("empty", "", 0o600)},
		"blank":            {file("blank", strings.Repeat(" \n", 20), 0o600)},
		"short":            {file("short", "hunter2", 0o600)},
		"long":             {file("long", strings.Repeat("x", 5000), 0o600)},
		"not there":        {filepath.Join(dir, "nowhere")},
		"a folder":         {dir},
		"read by others":   {file("open", theSecret, 0o644)},
		"one of two empty": {good, filepath.Join(dir, "empty")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{Sources: []Source{{Name: "a", Kind: "github", Secrets: secrets, Repositories: []Repository{{Name: "o/r"}}}}})
			if err == nil {
				t.Fatal("started")
			}
			if strings.Contains(err.Error(), theSecret) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
	for name, s := range map[string]Source{
		"no repository": {Name: "a", Kind: "github", Secrets: []string{good}},
		"unknown kind":  {Name: "a", Kind: "svn", Secrets: []string{good}, Repositories: []Repository{{Name: "o/r"}}},
		"no name":       {Kind: "github", Secrets: []string{good}, Repositories: []Repository{{Name: "o/r"}}},
	} {
		if _, err := New(Options{Sources: []Source{s}}); err == nil {
			t.Errorf("%s: started", name)
		}
	}
}

func TestSecretsAreReadAgainWhenTheirFilesChange(t *testing.T) {
	second := filepath.Join(t.TempDir(), "second")
	write(t, second, otherSecret)
	h := hear(t, "github", func(o *Options) { o.Sources[0].Secrets = append(o.Sources[0].Secrets, second) })
	with := func(secret string, code int, events ...Event) {
		t.Helper()
		lastDelivery++
		body := strings.TrimSuffix(push("o/r"), "}") + fmt.Sprintf(`, "n": %d}`, lastDelivery)
		req := delivery("push", body)
		req.Header.Set("X-Hub-Signature-256", sign(secret, body))
		h.want(req, code, events...)
	}
	with(theSecret, 202, pushed7)
	with(otherSecret, 202, pushed7)
	replace(t, h.secret, "the third secret of them")
	with("the third secret of them", 202, pushed7)
	with(theSecret, 401)
	with(otherSecret, 202, pushed7)
	replace(t, h.secret, "") // somebody is writing it
	with("the third secret of them", 202, pushed7)
	with("", 401)
	if err := os.Remove(second); err != nil {
		t.Fatal(err)
	}
	with(otherSecret, 401)
	if err := os.Remove(h.secret); err != nil {
		t.Fatal(err)
	}
	with("the third secret of them", 503)
	replace(t, h.secret, theSecret)
	with(theSecret, 202, pushed7)
	if s := h.log.String(); strings.Contains(s, "secret of them") || strings.Contains(s, theSecret) || strings.Contains(s, otherSecret) {
		t.Errorf("the log tells a secret:\n%s", s)
	}
}

func TestWhatIsNoDeliveryIsRefusedUnread(t *testing.T) {
	body := push("o/r")
	for name, c := range map[string]struct {
		change func(*http.Request)
		code   int
	}{
		"another address":       {func(r *http.Request) { r.URL.Path = "/other" }, 404},
		"no address":            {func(r *http.Request) { r.URL.Path = "/" }, 404},
		"GET":                   {func(r *http.Request) { r.Method = http.MethodGet }, 405},
		"form":                  {func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, 415},
		"no type":               {func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		"compressed":            {func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 415},
		"announced as too long": {func(r *http.Request) { r.ContentLength = 1 << 30 }, 413},
		"much in headers":       {func(r *http.Request) { r.Header.Set("X-A", strings.Repeat("x", 300<<10)) }, 431},
	} {
		t.Run(name, func(t *testing.T) {
			h, req := hear(t, "github"), delivery("push", body)
			read := &counting{r: strings.NewReader(body)}
			req.Body = read
			c.change(req)
			h.want(req, c.code)
			if read.n != 0 {
				t.Errorf("read %d bytes", read.n)
			}
		})
	}
}

// counting is a body that knows how much of it was read.
type counting struct {
	r interface{ Read([]byte) (int, error) }
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}
func (c *counting) Close() error { return nil }

// endless never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestABodyWithoutEndIsRefusedAndItsMemoryGivenBack(t *testing.T) {
	h := hear(t, "github")
	for range 100 { // more than all memory together
		req, read := delivery("push", "x"), &counting{r: endless{}}
		req.Body, req.ContentLength = read, -1
		h.want(req, 413)
		if read.n > 4<<20 {
			t.Fatalf("read %d bytes", read.n)
		}
	}
	h.want(delivery("push", push("o/r")), 202, pushed7)
}

func TestABodyOf3MiBIsTaken(t *testing.T) {
	body := strings.TrimSuffix(push("o/r"), "}") + `, "pad": "`
	body += strings.Repeat("x", maxBody-len(body)-2) + `"}`
	h := hear(t, "github")
	h.want(delivery("push", body), 202, pushed7)
	h.want(delivery("push", body+" "), 413)
}

func TestMemoryIsBoundedAndHalfOfItKept(t *testing.T) {
	var b bodies
	var held []func()
	for range 1000 { // of strangers
		_, done, err := b.read(strings.NewReader(strings.Repeat("x", 1<<20)), false)
		if err != nil {
			done()
			break
		}
		held = append(held, done)
	}
	if b.held > maxHeld/2 || b.held < maxHeld/4 {
		t.Errorf("strangers hold %d bytes", b.held)
	}
	_, done, err := b.read(strings.NewReader("{}"), true)
	if err != nil {
		t.Errorf("a known sender is kept out: %v", err)
	}
	done()
	for _, done := range held {
		done()
	}
	if b.held != 0 {
		t.Errorf("%d bytes are not given back", b.held)
	}
}

func TestOnlyListedRepositoriesAreHeard(t *testing.T) {
	for name, body := range map[string]string{
		"another":         push("o/other"),
		"resembles":       push("o/r.git"),
		"case":            push("O/R"),
		"longer":          push("evil/o/r"),
		"space":           push("o/r "),
		"none":            push(""),
		"same name only":  strings.Replace(push("o/r"), `"id": 7`, `"id": 8`, 1),
		"null":            strings.Replace(push("o/r"), `{"id": 7, "full_name": "o/r"}`, `null`, 1),
		"address similar": strings.Replace(push("x"), `"full_name": "x"`, `"html_url": "https://github.com/o/r", "name": "r", "owner": {"login": "o"}`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			h := hear(t, "github", func(o *Options) { o.Sources[0].Repositories[0].ID = 7 })
			h.want(delivery("push", body), 202)
			if h.counted[Ignored] != 1 {
				t.Errorf("counted %v", h.counted)
			}
		})
	}
}

func TestADeliveryIsActedOnOnce(t *testing.T) {
	h := hear(t, "github")
	first := delivery("push", push("o/r"))
	id := first.Header.Get("X-GitHub-Delivery")
	h.want(first, 202, pushed7)
	again := delivery("push", push("o/r")+" ")
	again.Header.Set("X-GitHub-Delivery", id)
	h.want(again, 202)
	h.want(delivery("push", push("o/r")), 202) // no signature covers the id
	h.want(delivery("push", push("o/r")+"  "), 202, pushed7)
	without := delivery("push", push("o/r")+"   ")
	without.Header.Del("X-GitHub-Delivery")
	h.want(without, 400)
}

func TestMemoryForgetsTheOldest(t *testing.T) {
	m := NewMemory(3)
	for i, want := range []struct {
		id    string
		fresh bool
	}{{"a", true}, {"b", true}, {"a", false}, {"c", true}, {"d", true}, {"b", false}, {"a", true}, {"b", true}} {
		if fresh, _ := m.Deliver(t.Context(), "s", want.id, time.Time{}); fresh != want.fresh {
			t.Errorf("step %d: %s is new: %v", i, want.id, fresh)
		}
	}
	if len(m.seen) != 3 {
		t.Errorf("remembers %d", len(m.seen))
	}
	if fresh, _ := m.Deliver(t.Context(), "another source", "b", time.Time{}); !fresh {
		t.Error("sources share ids")
	}
}

func TestAFloodOfForgedDeliveriesKeepsNoGenuineOneOut(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := hear(t, "github", func(o *Options) { o.Now = func() time.Time { return now } })
	genuine := func() *http.Request {
		req := delivery("push", fmt.Sprintf(`%s, "n": %d}`, strings.TrimSuffix(push("o/r"), "}"), lastDelivery))
		req.RemoteAddr = "192.0.2.1:1"
		return req
	}
	h.want(genuine(), 202, pushed7)
	refused := 0
	for i := range 50000 {
		req := delivery("push", "{}")
		req.Header.Set("X-Hub-Signature-256", sign(otherSecret, "{}"))
		req.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", i>>16&255, i>>8&255, i&255)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code == 429 {
			refused++
		}
		if i%100 == 0 {
			h.want(genuine(), 202, pushed7)
		}
	}
	if refused < 40000 {
		t.Errorf("only %d of 50000 forged deliveries at once were refused unread", refused)
	}
	if len(h.limits.each) > maxAddresses {
		t.Errorf("remembers %d addresses", len(h.limits.each))
	}
	if lines := strings.Count(h.log.String(), "\n"); lines > 10 {
		t.Errorf("%d lines in the log", lines)
	}
	now = now.Add(time.Minute)
	req := delivery("push", push("o/r")+" ")
	req.RemoteAddr = "198.51.100.1:1"
	h.want(req, 202, pushed7) // a stranger too
}

func TestOneStrangerHasItsShare(t *testing.T) {
	now := time.Unix(1e9, 0)
	var l limits
	from, other := sender(&http.Request{RemoteAddr: "192.0.2.1:1"}, nil), sender(&http.Request{RemoteAddr: "192.0.2.2:1"}, nil)
	spent := 0
	for ; spent < 1000; spent++ {
		if _, ok := l.allow(from, now); !ok {
			break
		}
	}
	if spent != eachBurst {
		t.Errorf("%d at once", spent)
	}
	if _, ok := l.allow(other, now); !ok {
		t.Error("another address is kept out")
	}
	if _, ok := l.allow(from, now.Add(2*eachInterval)); !ok {
		t.Error("it never comes back")
	}
	for range eachBurst { // far in the future, then the clock is set back
		l.allow(from, now.Add(24*time.Hour))
	}
	if _, ok := l.allow(from, now); !ok {
		t.Error("a clock that was set back keeps it out")
	}
}

func TestTenThousandDeliveriesHalfOfThemForged(t *testing.T) {
	h := hear(t, "github")
	server := httptest.NewServer(h)
	defer server.Close()
	client := server.Client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 16
	var wg sync.WaitGroup
	requests := make(chan *http.Request)
	codes := make(chan [2]int, 10000)
	for range 16 {
		wg.Go(func() {
			for req := range requests {
				want := 202
				if req.Header.Get("X-Forged") != "" {
					want = 401
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					continue
				}
				resp.Body.Close()
				codes <- [2]int{want, resp.StatusCode}
			}
		})
	}
	for i := range 10000 {
		body := fmt.Sprintf(`%s, "n": %d}`, strings.TrimSuffix(push("o/r"), "}"), i)
		signed := delivery("push", body)
		req, err := http.NewRequest(http.MethodPost, server.URL+"/github", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = signed.Header
		if i%2 == 1 {
			req.Header.Set("X-Hub-Signature-256", sign(otherSecret, body))
			req.Header.Set("X-Forged", "yes")
		}
		requests <- req
	}
	close(requests)
	wg.Wait()
	close(codes)
	for c := range codes {
		if c[0] != c[1] {
			t.Fatalf("answer %d, want %d", c[1], c[0])
		}
	}
	if len(h.events) != 5000 || h.counted[Accepted] != 5000 || h.counted[Forged] != 5000 {
		t.Errorf("%d events, counted %v", len(h.events), h.counted)
	}
	if h.bodies.held != 0 {
		t.Errorf("%d bytes are not given back", h.bodies.held)
	}
}

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// townhall is a service of a site with pilots, and those who are told of them.
type townhall struct {
	*configured
	world
	*listeners
}

// listeners are told of pilots: by a webhook, by e-mail, and the pilots' audience.
type listeners struct {
	t      *testing.T
	url    string // of the webhook
	mu     sync.Mutex
	hooked []hooked
	mails  string                       // folder
	coming int                          // messages until something happens
	on     func(sender context.Context) // that happens then
}

// hooked is what a webhook got.
type hooked struct {
	Delivery, Kind, Pilot, Title, Text string
}

func newListeners(t *testing.T) *listeners {
	t.Helper()
	h := &listeners{t: t, mails: t.TempDir()}
	people := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // what is missing is not found below
		got := hooked{Delivery: r.Header.Get("X-Pomona-Delivery")}
		_ = json.Unmarshal(b, &got)
		h.mu.Lock()
		h.hooked = append(h.hooked, got)
		h.coming--
		reached := h.coming == 0
		h.mu.Unlock()
		if reached {
			h.on(r.Context())
		}
	}))
	t.Cleanup(func() {
		people.Close()
		if t.Failed() {
			t.Logf("people got %v", h.got())
		}
	})
	h.url = people.URL
	return h
}

func newTownhall(t *testing.T) *townhall {
	t.Helper()
	c := configure(t, "linac")
	h := &townhall{configured: c, world: c.sites["linac"], listeners: newListeners(t)}
	key := filepath.Join(h.dir, "owner")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"allowed": "owner@example.org namespaces=\"git\" " + string(public), "secret": "a secret of people"} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{"gpg.format": "ssh", "user.signingkey": key, "commit.gpgsign": "true"} {
		git(t, h.site, "config", name, value)
	}
	eventually(t, "it is served", func() bool { return c.answers("linac") }) // else the configuration may be read once only
	c.top = fmt.Sprintf("notify: {\n\thook: {webhook: {url: %q, secret: %q}, events: [\"pilot-overdue\", \"pilot-closed\"]}\n\tpost: {email: {server: %q, from: \"pomona@example.org\", to: [\"ops@example.org\"], tls: \"none\"}, events: [\"pilot-closed\"]}\n}\n",
		h.url, filepath.Join(h.dir, "secret"), h.smtpd(t))
	c.write(t, []string{"linac"}, fmt.Sprintf("\t\trepository: signatures: allowedSigners: %q\n", filepath.Join(h.dir, "allowed")))
	eventually(t, "it is served as configured", func() bool { return strings.Contains(c.log(), "configuration read") && c.answers("linac") })
	c.tellsOfPilots()
	return h
}

// tellsOfPilots waits until people are told of what becomes of pilots: what is so before is past, and nobody is told.
func (p *service) tellsOfPilots() {
	p.t.Helper()
	eventually(p.t, "people are told of pilots", func() bool { return strings.Contains(p.log(), "people are told of pilots from now on") })
}

// smtpd is a real SMTP server.
func (h *listeners) smtpd(t *testing.T) (address string) {
	t.Helper()
	address = freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "testdata/smtpd.py", port, h.mails)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q: %v", line, err)
	}
	return address
}

// declares adds a pilot that nobody brings further.
func (h *townhall) declares(name string) {
	h.world.t.Helper()
	h.world.write(name+".cue", fmt.Sprintf(`package site

pilots: %q: {
	scope:       "grid-service"
	description: "a computing element <b>for</b> some sites before all of them"
	owner:       "owner@example.org"
	ticket:      "https://tickets.example.org/1"
	expires:     %q
	success: jobs: description: "10,000 jobs a day for a week"
	service:  "CREAM"
	audience: ["list@example.org", "ops@example.org"]
	deadlines: requested: "1s"
}
`, name, time.Now().AddDate(0, 3, 0).Format(time.DateOnly)), 0o644)
	h.world.commit("pilot " + name)
}

// withdraws closes a pilot, as its owner.
func (h *townhall) withdraws(name string) {
	h.world.t.Helper()
	h.world.write(name+"-closure.cue", fmt.Sprintf("package site\n\npilots: %q: records: \"closure-1\": {\n\tkind: \"closure\"\n\tby: \"owner@example.org\"\n\tat: %q\n\toutcome: \"withdrawn\"\n\treason: \"nobody needs this any more\"\n}\n",
		name, time.Now().UTC().Format(time.RFC3339)), 0o644)
	h.world.commit("close " + name)
}

// got is what each way brought: of each message, the ids under which it came.
func (h *listeners) got() map[string]map[string]bool {
	h.t.Helper()
	all := map[string]map[string]bool{}
	add := func(what, id string) {
		if all[what] == nil {
			all[what] = map[string]bool{}
		}
		all[what][id] = true
	}
	h.mu.Lock()
	for _, m := range h.hooked {
		add("hook "+m.Kind+" "+m.Pilot, m.Delivery)
	}
	h.mu.Unlock()
	files, err := filepath.Glob(filepath.Join(h.mails, "*.eml"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			h.t.Fatal(err)
		}
		m, err := mail.ReadMessage(f)
		f.Close()
		if err != nil {
			h.t.Fatal(err)
		}
		_, subject, _ := strings.Cut(m.Header.Get("Subject"), "pilot ")
		add(m.Header.Get("X-Rcpt")+" "+subject, m.Header.Get("Message-ID"))
	}
	return all
}

// TestPeopleAreToldOfPilotsOnce kills the service at the moment when people are told of each of several pilots, again and again. Each message gets to
// everybody, and what came twice came as the same message.
func TestPeopleAreToldOfPilotsOnce(t *testing.T) {
	t.Parallel()
	h := newTownhall(t)
	want := []string{}
	var pilots []string
	h.kills(h.service, 2, func() {
		for i := range 4 {
			name := fmt.Sprintf("cream-%d", i)
			pilots = append(pilots, name)
			h.declares(name)
			want = append(want, "hook pilot-overdue "+name)
		}
	})
	*h.service = *serveFile(t, h.file)
	eventually(t, "everybody is told of pilots that are overdue", func() bool { return len(h.got()) == len(want) })
	for _, name := range pilots { // else nobody writes to whom the pilot calls its audience
		must(t, "pilot", name, "agree", "--site", h.site, "--by", "owner@example.org", "--sign", filepath.Join(h.dir, "owner"))
	}
	h.kills(h.service, 1, func() {
		for _, name := range pilots {
			h.withdraws(name)
			want = append(want, "hook pilot-closed "+name, "ops@example.org "+name+" is closed: withdrawn", "list@example.org "+name+" is closed: withdrawn")
		}
	})
	h.kills(h.service, 2, func() { *h.service = *serveFile(t, h.file) })
	*h.service = *serveFile(t, h.file)
	eventually(t, "everybody is told of pilots that are closed", func() bool { return len(h.got()) >= len(want) })
	got := h.got()
	slices.Sort(want)
	if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, want) {
		t.Errorf("got %q, want %q", have, want)
	}
	for what, ids := range got {
		if len(ids) != 1 {
			t.Errorf("%s came as %d messages: %v", what, len(ids), ids)
		}
	}
	h.isShown()
}

// TestACallIsToldOnce kills the service while it asks sites to take part: the webhook, the operators and the audience get one message each.
func TestACallIsToldOnce(t *testing.T) {
	t.Parallel()
	g := newGridHouse(t, "kim")
	g.packs("packages/SL9/x86_64/RPMS.Release", "ce", "1.0", "")
	g.tells("pilot-call")
	g.serves()
	g.asked("--audience", "list@example.org")
	g.packaged()
	g.mirrored()
	g.becomes("grid-1", "mirrored")
	if got := g.got(); len(got) > 0 {
		t.Errorf("nobody has called yet: %v", got)
	}
	g.kills(g.service, 1, g.joined)
	g.again()
	want := []string{"hook pilot-call grid-1", "list@example.org grid-1: sites are asked to take part in CREAM", "ops@example.org grid-1: sites are asked to take part in CREAM"}
	eventually(t, "everybody is told", func() bool { return len(g.got()) >= len(want) })
	g.dies()
	g.say("kim", 0, "feedback", "--rating", "5", "--text", "no trouble")
	eventually(t, "it goes on", func() bool { return strings.Contains(must(t, "pilot", "grid-1", "--root", g.root), "0 of 1 run it") })
	got := g.got()
	if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, want) {
		t.Errorf("got %q, want %q", have, want)
	}
	for what, ids := range got {
		if len(ids) != 1 {
			t.Errorf("%s came as %d messages: %v", what, len(ids), ids)
		}
	}
}

// kills a service while it sends the nth of the messages that follow from what happens.
func (h *listeners) kills(s *service, nth int, happens func()) {
	h.t.Helper()
	reached := make(chan bool, 1)
	h.mu.Lock()
	h.coming, h.on = nth, func(sender context.Context) {
		reached <- true
		<-sender.Done()
	}
	h.mu.Unlock()
	happens()
	eventually(h.t, "the message is sent", func() bool { return len(reached) == 1 })
	_ = s.cmd.Process.Kill() // it is there: it waits for an answer
	_ = s.cmd.Wait()         // it was killed
}

// isShown reads what is served of them.
func (h *townhall) isShown() {
	t := h.world.t
	t.Helper()
	at := "http://" + h.addrs["linac"] + "/-/pilots/"
	page := string(download(t, at+"cream-0/"))
	for _, text := range []string{"closed", "&lt;b&gt;for&lt;/b&gt;", "pilot cream-0 is closed: withdrawn"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page has no %q:\n%s", text, page)
		}
	}
	var state struct {
		State   string
		Records []struct {
			Record string
			Proof  struct{ By, Source string }
		}
		Broadcasts []struct{ Kind, About string }
	}
	if err := json.Unmarshal(download(t, at+"cream-1/state.json"), &state); err != nil || state.State != "closed" || len(state.Records) != 2 ||
		state.Records[0].Proof.By != "owner@example.org" || len(state.Broadcasts) != 2 {
		t.Errorf("%v %+v", err, state)
	}
	if feed := string(download(t, at+"feed.atom")); strings.Count(feed, "<entry>") != 8 {
		t.Errorf("the feed is\n%s", feed)
	}
	if n := strings.Count(string(download(t, at+"cream-2/ledger.jsonl")), "\n"); n != 2 {
		t.Errorf("%d records", n)
	}
	if _, err := os.Stat(filepath.Join(h.root, "current", "pilots")); err == nil {
		t.Error("what is observed is in a generation")
	}
	if text := must(t, "pilot", "--root", h.root); !strings.Contains(text, "cream-3") {
		t.Errorf("pomona pilot says\n%s", text)
	}
}

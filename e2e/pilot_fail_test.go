package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestAPilotThatFailsHaltsItself: a FEC of its first wave cannot start what it got. Everybody goes back, and people are told once, however often the
// service is killed; it goes on when the coordinator says so, and is halted once more. What is wrong with the release itself only another pilot mends.
func TestAPilotThatFailsHaltsItself(t *testing.T) {
	t.Parallel()
	const pilot = "psc-2-0"
	h := newHouse(t, "magnets", "cora", "dave", "anna", "tess")
	h.pushes(map[string]string{"software/magnet-psc/2.0.0/vme/bin/magnet-psc": "#!/bin/sh\necho no supply answers\nexit 3\n"})
	h.tells("pilot-halted", "pilot-resumed", "pilot-closed")
	token := strings.TrimSpace(must(t, "keygen", "--token"))
	h.sayers.write("tokens", firstFEC+" "+token+"\n")
	h.serves(fmt.Sprintf("\treports: tokens: %q", h.sayers.path("tokens")))
	h.tell("magnets", pilot, "agree")
	h.tell("magnets", pilot, "staff", "--coordinator", "cora@example.org", "--developer", "dave@example.org", "--authoriser", "anna@example.org", "--tester", "tess@example.org",
		"--tracker", "https://tickets.example.org/2", "--affects", "magnet-psc", "--needs", "none beside what it has", "--wave", firstFEC+",soak=1s", "--wave", secondFEC, "--audience", "list@example.org")
	f := h.world.newFEC(firstFEC, "http://"+h.listen)
	h.world.put(f.dir+"/token", []byte(token+"\n"))
	f.mustBoot()
	h.sayers.write("notes.md", "ramps do not overshoot\n")
	h.tell("cora", pilot, "freeze")
	h.tell("tess", pilot, "report", "--compat", "backward-compatible", "--check", "all=pass")
	h.tell("anna", pilot, "authorise")
	h.tell("dave", pilot, "notes", h.sayers.path("notes.md"))
	gets := func(when, first string) {
		t.Helper()
		defer func() {
			if t.Failed() {
				t.Logf("%s:\n%s", when, must(t, "pilot", pilot, "--root", h.root))
			}
		}()
		eventually(t, when, func() bool { return h.has(firstFEC, "magnet-psc", first) && h.has(secondFEC, "magnet-psc", "1.4.0") })
	}
	fails := func() {
		t.Helper()
		if code, out := f.boot(); code != 1 {
			t.Fatalf("the FEC boots with exit code %d\n%s", code, out)
		}
	}
	gets("the first wave is open", "2.0.0")
	h.kills(h.service, 1, fails) // while it tells that it was halted
	h.again()
	h.becomes(pilot, "halted")
	gets("it was halted", "1.5.0")
	if p := h.pilot(pilot); !strings.Contains(p.Why, firstFEC+" failed with it: 0 FECs may") {
		t.Errorf("it was halted because %q", p.Why)
	}
	h.dies()
	if f.mustBoot(); !strings.Contains(f.runs(), "1.5.0") {
		t.Errorf("the FEC runs %s", f.runs())
	}
	h.dies()
	h.becomes(pilot, "halted") // although no FEC fails any more
	if _, errs, code := h.tries("cora", pilot, "resume", "--update", "fix-1"); code == 0 || !strings.Contains(errs, "a new version is a new pilot") {
		t.Errorf("exit code %d: %s", code, errs)
	}

	h.tell("cora", pilot, "resume", "--reason", "the supply had no cooling water, and has again")
	gets("it goes on", "2.0.0")
	fails()
	h.becomes(pilot, "halted")
	gets("it was halted again", "1.5.0")
	h.tell("cora", pilot, "close", "withdrawn", "--reason", "the release itself is wrong: another pilot has the next")
	h.becomes(pilot, "closed")
	gets("it is over", "1.5.0")
	must(t, "verify", h.bare, "--root", h.root)

	want := map[string]int{}
	for what, n := range map[string]int{"hook pilot-halted " + pilot: 2, "hook pilot-resumed " + pilot: 1, "hook pilot-closed " + pilot: 1, pilot + " is halted": 2, pilot + " goes on": 1, pilot + " is closed: withdrawn": 1} {
		if strings.HasPrefix(what, "hook") {
			want[what] = n
			continue
		}
		want["ops@example.org "+what], want["list@example.org "+what] = n, n
	}
	sum := func(all map[string]int) (n int) {
		for _, each := range all {
			n += each
		}
		return n
	}
	times := func() map[string]int {
		got := map[string]int{}
		for what, ids := range h.got() {
			got[what] = len(ids)
		}
		return got
	}
	eventually(t, "everybody is told", func() bool { return sum(times()) >= sum(want) })
	h.dies()
	if got := times(); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	feed := string(download(t, "http://"+h.listen+"/-/pilots/"+pilot+"/feed.atom"))
	if strings.Count(feed, "<entry>") != 4 {
		t.Errorf("the feed is\n%s", feed)
	}
	var kinds []string
	for _, b := range h.pilot(pilot).Broadcasts {
		kinds = append(kinds, b.Kind)
	}
	if !slices.Equal(kinds, []string{"halt", "resume", "halt", "closed"}) {
		t.Errorf("broadcasts: %v", kinds)
	}
}

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// house is a service that believes who signs, and people with keys who say things of its pilots by commands.
type house struct {
	*sayers
	*listeners
	world
	*service
	t        *testing.T
	listen   string
	admin    string
	file     string
	notifies string
	signers  string // whom the service believes; empty: who has an ssh key
}

// newHouse makes a house of some people; nothing is served yet. Its world's site is a clone of what is served.
func newHouse(t *testing.T, people ...string) *house {
	t.Helper()
	s := newSayers(t, people...)
	h := &house{sayers: s, listeners: newListeners(t), t: t, listen: freeAddress(t), admin: freeAddress(t), file: s.path("pomona.cue")}
	h.world = world{t, s.dir, s.path("clone"), s.path("root")}
	git(t, s.dir, "clone", "-q", s.bare, "clone")
	must(t, "keygen", s.path("key"))
	s.write("secret", "a secret of people")
	return h
}

// tells has people told of some events, by a webhook and by e-mail.
func (h *house) tells(events ...string) {
	h.t.Helper()
	named := `"` + strings.Join(events, `", "`) + `"`
	h.notifies = fmt.Sprintf("notify: {\n\thook: {webhook: {url: %q, secret: %q}, events: [%s]}\n\tpost: {email: {server: %q, from: \"pomona@example.org\", to: [\"ops@example.org\"], tls: \"none\"}, events: [%[3]s]}\n}\n",
		h.url, h.sayers.path("secret"), named, h.smtpd(h.t))
}

// serves starts the service, with more in the configuration of its site. It ends with the test.
func (h *house) serves(more string) {
	h.t.Helper()
	h.sayers.write("pomona.cue", fmt.Sprintf("admin: %q\nsites: one: {\n\troot: %q\n\tlisten: %q\n\trepository: {url: %q, signatures: {%s}}\n\tkeys: [%q]\n%s\n}\n%s",
		h.admin, h.root, h.listen, h.bare, cmp.Or(h.signers, fmt.Sprintf("allowedSigners: %q", h.sayers.path("allowed"))), h.sayers.path("key.sec"), more, h.notifies))
	h.service = serveFile(h.t, h.file)
	h.t.Cleanup(func() {
		if err := h.service.end(syscall.SIGTERM); err != nil {
			h.t.Errorf("pomona serve ends with %v", err)
		}
	})
	eventually(h.t, "it is served", func() bool { return get("http://"+h.listen+"/-/readyz") == 200 })
	h.service.tellsOfPilots()
}

// dies has the service killed, and starts it anew.
func (h *house) dies() {
	h.t.Helper()
	if err := h.cmd.Process.Kill(); err != nil {
		h.t.Fatal(err)
	}
	_ = h.cmd.Wait() // killed
	h.again()
}

// again starts the service that has died.
func (h *house) again() {
	h.t.Helper()
	h.service = serveFile(h.t, h.file)
	eventually(h.t, "the service answers again", func() bool { return get("http://"+h.listen+"/-/readyz") == 200 })
}

// tell has somebody say something of a pilot now.
func (h *house) tell(who, pilot string, words ...string) (done said) {
	h.t.Helper()
	out, errs, code := h.tries(who, pilot, words...)
	if code != 0 {
		h.t.Fatalf("%s, %v: exit code %d\n%s%s", who, words, code, out, errs)
	}
	if err := json.Unmarshal([]byte(out), &done); err != nil {
		h.t.Fatal(err)
	}
	return done
}

// tries has somebody say something that may be refused.
func (h *house) tries(who, pilot string, words ...string) (out, errs string, code int) {
	h.t.Helper()
	args := append([]string{"pilot", pilot}, words...)
	return pomona(h.t, append(args, "--site", h.bare, "--by", who+"@example.org", "--sign", h.keys[who], "-o", "json", "--cache", h.sayers.path("cache"))...)
}

// pushes has what was written into the clone on the branch that is served.
func (h *house) pushes(files map[string]string) {
	h.t.Helper()
	git(h.t, h.site, "pull", "-q")
	for name, content := range files {
		h.world.write(name, content, 0o755)
	}
	h.world.commit("change " + fmt.Sprint(len(files)) + " files")
	git(h.t, h.site, "push", "-q")
}

// housePilot is what a pilot's page says.
type housePilot struct {
	State, Why, Subject string
	Gates               []struct{ State, Name, Verdict, Why string }
	Sites               []struct{ Site, State, Published string }
	Records             []provenRecord
	Broadcasts          []struct{ Kind, About, Title string }
}

func (h *house) pilot(name string) (p housePilot) {
	h.t.Helper()
	if err := json.Unmarshal(download(h.t, "http://"+h.listen+"/-/pilots/"+name+"/state.json"), &p); err != nil {
		h.t.Fatal(err)
	}
	return p
}

// gate is a gate of it, as VERDICT: WHY; empty: it has none of that name.
func (p housePilot) gate(name string) string {
	for _, g := range p.Gates {
		if g.Name == name {
			return g.Verdict + ": " + g.Why
		}
	}
	return ""
}

// becomes waits until a pilot is in a state.
func (h *house) becomes(pilot, state string) {
	h.t.Helper()
	var p housePilot
	defer func() {
		if h.t.Failed() {
			h.t.Logf("%s is %s: %s\n%s", pilot, p.State, p.Why, must(h.t, "pilot", pilot, "--root", h.root))
		}
	}()
	eventually(h.t, pilot+" is "+state, func() bool { p = h.pilot(pilot); return p.State == state })
}

// has says whether a version of a software is published to a FEC.
func (h *house) has(fec, software, version string) bool {
	found, err := filepath.Glob(filepath.Join(h.root, "current/fecs", fec, "software/"+software+"-"+version+"-*.sha256"))
	return err == nil && len(found) == 1
}

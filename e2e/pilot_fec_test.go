package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// piloted is a service that believes whoever signs, and two FECs with tokens to which a pilot offers magnet-psc 2.0.0, one after the other.
type piloted struct {
	*reporting
	n int // of records
}

// The FECs of the template's pilot, in the order of their waves.
const firstFEC, secondFEC = "lin2mg01", "lin1mg01"

// People of the pilot.
const owns, coordinates, develops, authorises, tests = "magnets@example.org", "cora@example.org", "dave@example.org", "anna@example.org", "tess@example.org"

// outsider is nobody of the pilot, and signs like everybody else.
const outsider = "mallory@example.org"

func newPiloted(t *testing.T) *piloted {
	t.Helper()
	p := &piloted{reporting: newReporting(t, firstFEC, secondFEC)}
	var allowed strings.Builder
	for _, who := range []string{owns, coordinates, develops, authorises, tests, outsider} {
		key := filepath.Join(p.dir, who)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&allowed, "%s namespaces=\"git\" %s", who, public)
	}
	p.put(filepath.Join(p.dir, "allowed"), []byte(allowed.String()))
	p.configured.write(t, []string{"one"}, fmt.Sprintf("\t\treports: tokens: %q\n\t\trepository: signatures: allowedSigners: %q\n",
		filepath.Join(p.dir, "tokens"), filepath.Join(p.dir, "allowed")))
	p.restart()
	p.world.write("pilots/psc-2-0/people.cue", fmt.Sprintf(`package site

pilots: "psc-2-0": {
	roles: {coordinator: %q, developer: %q, authoriser: %q, testers: [%q]}
	tracker: "https://tickets.example.org/browse/MAG-119"
	impact: {services: ["magnet-psc"], resources: "none beside what it has"}
}
`, coordinates, develops, authorises, tests), 0o644)
	p.commit("who does what in the pilot")
	p.edit("pilots/psc-2-0/pilot.cue", `soak: "1d"`, `soak: "3s"`)
	p.agrees(owns)
	return p
}

// agrees has somebody agree to what the pilot says of itself.
func (p *piloted) agrees(who string) {
	p.world.t.Helper()
	if out := must(p.world.t, "pilot", "psc-2-0", "agree", "--site", p.site, "--by", who, "--sign", filepath.Join(p.dir, who)); !strings.Contains(out, "  owner: "+owns+"\n") {
		p.world.t.Errorf("what is agreed to is\n%s", out)
	}
}

// subject is the digest of what is piloted.
func (p *piloted) subject() string {
	p.world.t.Helper()
	var now struct{ Subject string }
	if err := json.Unmarshal([]byte(must(p.world.t, "pilot", "psc-2-0", p.site+"/", "-o", "json")), &now); err != nil || now.Subject == "" {
		p.world.t.Fatalf("the pilot has no subject: %v", err)
	}
	return now.Subject
}

// record commits a record, signed by somebody.
func (p *piloted) record(by, kind, fields string) {
	p.world.t.Helper()
	p.n++
	p.world.write(fmt.Sprintf("pilots/psc-2-0/record%d.cue", p.n), fmt.Sprintf("package site\n\npilots: \"psc-2-0\": records: \"%s-%d\": {kind: %q, by: %q, at: %q, %s}\n",
		kind, p.n, kind, by, time.Now().UTC().Format(time.RFC3339), fields), 0o644)
	for name, value := range map[string]string{"gpg.format": "ssh", "user.signingkey": filepath.Join(p.dir, by), "commit.gpgsign": "true"} {
		git(p.world.t, p.site, "config", name, value)
	}
	p.commit(kind)
	git(p.world.t, p.site, "config", "commit.gpgsign", "false")
}

// killed kills the service, and starts it again.
func (p *piloted) killed() {
	p.world.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.world.t.Fatal(err)
	}
	_ = p.cmd.Wait() // killed
	p.service = serveFile(p.world.t, p.file)
}

// gets waits until two versions are published to the FECs.
func (p *piloted) gets(when, first, second string) {
	p.world.t.Helper()
	has := func(fec, version string) bool {
		found, err := filepath.Glob(filepath.Join(p.root, "current/fecs", fec, "software/magnet-psc-"+version+"-*.sha256"))
		return err == nil && len(found) == 1
	}
	defer func() {
		if p.world.t.Failed() {
			p.world.t.Logf("%s:\n%s", must(p.world.t, "pilot", "psc-2-0", "--root", p.root), p.log())
		}
	}()
	eventually(p.world.t, when, func() bool { return has(firstFEC, first) && has(secondFEC, second) })
}

// says waits until the service says something of the pilot.
func (p *piloted) says(what string) {
	p.world.t.Helper()
	eventually(p.world.t, what, func() bool { return strings.Contains(must(p.world.t, "pilot", "psc-2-0", "--root", p.root), what) })
}

// TestWhoWritesThemselvesIntoAPilotMovesNothing takes nothing from FECs that have it either.
func TestWhoWritesThemselvesIntoAPilotMovesNothing(t *testing.T) {
	t.Parallel()
	p := newPiloted(t)
	s := fmt.Sprintf("subject: %q", p.subject())
	p.record(coordinates, "freeze", s)
	p.record(tests, "report", s+`, compat: "backward-compatible", checks: {for c in ["installer-config", "docs", "dependencies", "site-impact", "clean-install"] {(c): verdict: "pass"}}`)
	p.edit("pilots/psc-2-0/people.cue", authorises, outsider)
	p.record(outsider, "authorisation", s+`, decision: "ok"`)
	p.record(develops, "notes", s+`, text: "ramps do not overshoot"`)
	var now struct{ Terms, Expires string }
	if err := json.Unmarshal([]byte(must(t, "pilot", "psc-2-0", p.site+"/", "-o", "json")), &now); err != nil {
		t.Fatal(err)
	}
	p.record(outsider, "agreement", fmt.Sprintf("terms: %q, owner: %q, coordinator: %q, expires: %q", now.Terms, owns, coordinates, now.Expires))
	p.says("mallory@example.org is neither the owner nor the coordinator whom agreement-")
	p.says("next        staffed: magnets@example.org or cora@example.org: pomona pilot psc-2-0 agree (what the pilot says of itself is not what magnets@example.org agreed to")
	p.gets("an outsider has authorised it", "1.5.0", "1.4.0")
	if _, errs, code := pomona(t, "pilot", "psc-2-0", "agree", "--site", p.site, "--by", outsider, "--sign", filepath.Join(p.dir, outsider)); code == 0 || !strings.Contains(errs, "mallory@example.org may not agree") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	p.edit("pilots/psc-2-0/people.cue", outsider, authorises)
	p.record(authorises, "authorisation", s+`, decision: "ok"`)
	p.record(develops, "notes", s+`, text: "ramps do not overshoot"`)
	p.gets("its authoriser has authorised it", "2.0.0", "1.4.0")

	p.edit("pilots/psc-2-0/pilot.cue", `"lin2mg01"`, `"lin3mg01"`)
	p.says("withheld    what the pilot says of itself is not what magnets@example.org agreed to")
	p.killed()
	p.gets("a slip", "2.0.0", "1.4.0")
	must(t, "verify", p.site, "--root", p.root)
	p.record(tests, "halt", `reason: "a supply has tripped at the top of its ramp"`)
	p.gets("it is halted", "1.5.0", "1.4.0")
	p.agrees(coordinates)
	p.record(coordinates, "resume", `reason: "the supply had no cooling water, and has again"`)
	p.says("pilot psc-2-0: called")
	p.gets("another FEC has it, as agreed", "1.5.0", "1.4.0")
}

// TestAPilotReachesFECsWaveAfterWave from its request to its end, on FECs that boot and prove what they run, while the service is killed again
// and again.
func TestAPilotReachesFECsWaveAfterWave(t *testing.T) {
	t.Parallel()
	p := newPiloted(t)
	first := p.newFEC(firstFEC)
	first.mustBoot()
	p.gets("nothing is decided", "1.5.0", "1.4.0")
	s := fmt.Sprintf("subject: %q", p.subject())
	p.record(coordinates, "freeze", s)
	p.record(tests, "report", s+`, compat: "backward-compatible", checks: {for c in ["installer-config", "docs", "dependencies", "site-impact", "clean-install"] {(c): verdict: "pass"}}`)
	p.record(authorises, "authorisation", s+`, decision: "ok"`)
	p.killed()
	p.record(develops, "notes", s+`, text: "ramps do not overshoot"`)
	p.gets("the first wave is open", "2.0.0", "1.4.0")
	if out := must(t, "explain", "fecs/"+firstFEC+"/boot.manifest", p.site, "--root", p.root); !strings.Contains(out, "pilot psc-2-0, wave 1") {
		t.Errorf("no word of the pilot:\n%s", out)
	}
	for _, command := range [][]string{{"explain", "fecs/" + firstFEC + "/software", p.site}, {"fec", firstFEC}} {
		if out := must(t, append(command, "--root", p.root)...); !strings.Contains(out, "magnet-psc 2.0.0 by pilot psc-2-0, wave 1, since 20") || !strings.Contains(out, "; without it 1.5.0") {
			t.Errorf("no word of what it is without the pilot:\n%s", out)
		}
	}
	must(t, "verify", p.site, "--root", p.root)
	p.killed()
	eventually(t, "the service answers again", func() bool { return p.answers("one") })
	first.mustBoot()
	if !strings.Contains(first.runs(), "2.0.0") {
		t.Errorf("the FEC runs %s", first.runs())
	}
	p.gets("the second wave is open", "2.0.0", "2.0.0")

	p.record(tests, "halt", `reason: "a supply has tripped at the top of its ramp"`)
	p.killed()
	p.gets("it is halted", "1.5.0", "1.4.0")
	p.record(coordinates, "resume", `reason: "the supply had no cooling water, and has again"`)
	p.gets("it goes on", "2.0.0", "2.0.0")

	p.edit("pilots/psc-2-0/pilot.cue", `expires: +"[0-9-]+"`, fmt.Sprintf("expires: %q", time.Now().UTC().AddDate(0, 0, -2).Format(time.DateOnly)))
	p.killed()
	eventually(t, "the service answers once more", func() bool { return p.answers("one") })
	p.says("withheld    what the pilot says of itself is not what magnets@example.org agreed to") // and its last day is the one that was agreed
	p.gets("nobody who may has said that it ends", "2.0.0", "2.0.0")
	p.agrees(coordinates)
	p.gets("it has expired", "1.5.0", "1.4.0")
	must(t, "verify", p.site, "--root", p.root)
	first.mustBoot()
	if !strings.Contains(first.runs(), "1.5.0") {
		t.Errorf("the FEC runs %s", first.runs())
	}
}

package crowd_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/boot/crowd"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const token = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" +
	"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

var key = tree.NewSecretKey([32]byte{1}, tree.KeyID{1})

// site is a served tree in memory, and the reports that came.
type site struct {
	*httptest.Server
	mu      sync.Mutex
	files   map[string][]byte
	reports map[string][]string // states, by FEC
	forms   []string
	fetched int // objects
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{files: map[string][]byte{}, reports: map[string][]string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/-/report" {
		b, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(b))
		s.reports[form.Get("fec")] = append(s.reports[form.Get("fec")], form.Get("state"))
		s.forms = append(s.forms, string(b))
		return
	}
	b, ok := s.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/objects/") {
		s.fetched++
	}
	_, _ = w.Write(b)
}

// publish serves one manifest for each FEC, which name one object that all have in common.
func (s *site) publish(serial int64, names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	archive := []byte("archive")
	d := artifact.Sum(archive)
	s.files["/objects/"+d.Path()] = archive
	for _, name := range names {
		m := tree.Manifest{Site: "linac", Channel: "production", FEC: name, Host: name, Platform: "p", Serial: serial, Expires: 99999999}
		m.Software = []tree.Item{{Name: "bpm", Version: "1.0", Object: tree.Object{Format: artifact.Gzip, Size: int64(len(archive)), Digest: d}, Install: "/opt/bpm"}}
		body := m.Marshal()
		s.files["/fecs/"+name+"/"+tree.ManifestName] = append(tree.Sign(body, []tree.SecretKey{key}), body...)
	}
}

func (s *site) reported(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reports[name])
}

func names(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("fec%04d", i))
	}
	return all
}

func newCrowd(t *testing.T, s crowd.Settings, names ...string) *crowd.Crowd {
	t.Helper()
	c, err := crowd.New(s, names)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestBootReportsLikeTheClientAndFetchesOnce(t *testing.T) {
	s, all := newSite(t), names(50)
	s.publish(7, all...)
	c := newCrowd(t, crowd.Settings{Server: s.URL, Keys: []tree.PublicKey{key.Public()}}, all...)
	seen := map[string]crowd.Status{}
	if err := c.Boot(t.Context(), func(f *crowd.FEC, status crowd.Status) { seen[f.Name] = status }); err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if have := seen[name]; have.State != "running" || have.Serial != 7 || !strings.HasPrefix(have.Slot, "7-") || have.Boots != 1 {
			t.Errorf("%s: %+v, want it to run serial 7", name, have)
		}
		if have := s.reported(name); !slices.Equal(have, []string{"fetching", "installed", "running"}) {
			t.Errorf("%s reported %v", name, have)
		}
	}
	if s.fetched != 1 {
		t.Errorf("the crowd fetched %d objects, want one for all", s.fetched)
	}
	before := c.Requests()
	c.FEC(all[0]).Boot(t.Context())
	if n := c.Requests() - before; n != 2 {
		t.Errorf("an unchanged reboot made %d requests, want the manifest and one report", n)
	}
}

func TestRefusesWhatTheClientRefuses(t *testing.T) {
	s := newSite(t)
	s.publish(7, "fec0", "fec1")
	s.files["/fecs/fec0/boot.manifest"] = s.files["/fecs/fec1/boot.manifest"]
	other := tree.NewSecretKey([32]byte{2}, tree.KeyID{1})
	c := newCrowd(t, crowd.Settings{Server: s.URL, Keys: []tree.PublicKey{other.Public()}}, "fec1")
	if have := c.FEC("fec1").Boot(t.Context()); have.State != "failed" || !strings.Contains(have.Detail, "no key") {
		t.Errorf("signed by another key: %+v", have)
	}
	c = newCrowd(t, crowd.Settings{Server: s.URL}, "fec0", "fec1")
	if have := c.FEC("fec0").Boot(t.Context()); have.State != "failed" || !strings.Contains(have.Detail, "not fec0") {
		t.Errorf("another FEC's manifest: %+v", have)
	}
	c.FEC("fec1").Boot(t.Context())
	s.publish(6, "fec1")
	if have := c.FEC("fec1").Boot(t.Context()); have.State != "fallback" || have.Serial != 7 || !strings.Contains(have.Detail, "replay") {
		t.Errorf("older manifest: %+v", have)
	}
}

func TestFailsAtTheStatedRateAlikeForOneSeed(t *testing.T) {
	s, all := newSite(t), names(1000)
	s.publish(7, all...)
	failed := func(seed uint64) (names []string) {
		c := newCrowd(t, crowd.Settings{Server: s.URL, Failing: 0.1, Seed: seed}, all...)
		seen := map[string]bool{}
		err := c.Boot(t.Context(), func(f *crowd.FEC, status crowd.Status) {
			if status.State == "init-failed" {
				seen[f.Name] = true
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(seen))
	}
	one, again, other := failed(1), failed(1), failed(2)
	if n := len(one); n < 70 || n > 130 {
		t.Errorf("%d of 1000 failed, want some 100", n)
	}
	if !slices.Equal(one, again) {
		t.Error("two runs with one seed differ")
	}
	if slices.Equal(one, other) {
		t.Error("two seeds fail alike")
	}
}

// TestTokenOfReports works out the code with the program that a FEC has.
func TestTokenOfReports(t *testing.T) {
	s := newSite(t)
	s.publish(7, "fec0")
	c := newCrowd(t, crowd.Settings{Server: s.URL, Tokens: map[string]string{"fec0": token}}, "fec0")
	c.FEC("fec0").Boot(t.Context())
	last := ""
	for _, form := range s.forms {
		signed, mac, ok := strings.Cut(form, "&mac=")
		if !ok {
			t.Fatalf("report %q has no code", form)
		}
		out, err := exec.Command("sh", "-c", `inner=$(printf %s "$1$3" | sha256sum | cut -c 1-64); printf %s "$2$inner" | sha256sum | cut -c 1-64`,
			"sh", token[:64], token[64:], signed).Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.TrimSpace(string(out)); mac != want {
			t.Errorf("code %s, want %s", mac, want)
		}
		_, at, _ := strings.Cut(signed, "&at=")
		if at <= last {
			t.Errorf("report at %s comes after one at %s", at, last)
		}
		last = at
	}
	if len(s.forms) != 3 {
		t.Errorf("%d reports, want 3", len(s.forms))
	}
}

// dial logs in to a FEC with a key that it knows.
type dialer struct {
	t      *testing.T
	signer ssh.Signer
}

func newDialer(t *testing.T) dialer {
	t.Helper()
	seed := sha256.Sum256([]byte("service"))
	signer, err := ssh.NewSignerFromSigner(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return dialer{t, signer}
}

func (d dialer) authorized() []byte { return ssh.MarshalAuthorizedKey(d.signer.PublicKey()) }

func (d dialer) run(f *crowd.FEC, command, in string) (out string, status int) {
	d.t.Helper()
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(f.HostKey()))
	if err != nil {
		d.t.Fatal(err)
	}
	client, err := ssh.Dial("tcp", f.Address(), &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(d.signer)}, HostKeyCallback: ssh.FixedHostKey(host), Timeout: 10 * time.Second,
	})
	if err != nil {
		d.t.Fatal(err)
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		d.t.Fatal(err)
	}
	defer session.Close()
	session.Stdin = strings.NewReader(in)
	b, err := session.Output(command)
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return string(b), exit.ExitStatus()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b), 0
}

func listening(t *testing.T, s *site, d dialer, names ...string) *crowd.Crowd {
	t.Helper()
	c := newCrowd(t, crowd.Settings{Server: s.URL, Authorized: d.authorized()}, names...)
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := c.Boot(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// until waits for something that happens in the background.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not happen", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func TestStatusRestartReboot(t *testing.T) {
	s, d := newSite(t), newDialer(t)
	s.publish(7, "fec0")
	f := listening(t, s, d, "fec0").FEC("fec0")
	before, status := d.run(f, "pomona-fec status", "")
	if status != 0 || !strings.HasPrefix(before, "pomona-fec 1\nfec fec0\nstate running 7 7-") || !strings.HasSuffix(before, "\nend\n") {
		t.Errorf("status %d: %s", status, before)
	}
	s.publish(8, "fec0")
	if out, status := d.run(f, "pomona-fec restart 8 bpm", ""); out != "accepted\n" || status != 0 {
		t.Errorf("restart answers %q, status %d", out, status)
	}
	until(t, "the restart", func() bool {
		return f.Status() == crowd.Status{State: "running", Serial: 8, Slot: f.Status().Slot, Boots: 1, Starts: 2}
	})
	if out, _ := d.run(f, "pomona-fec status", ""); line(out, "boot") != line(before, "boot") {
		t.Error("a restart is no reboot")
	}
	d.run(f, "pomona-fec reboot 8", "")
	until(t, "the reboot", func() bool { return f.Status().Starts == 3 })
	if out, _ := d.run(f, "pomona-fec status", ""); line(out, "boot") == line(before, "boot") {
		t.Error("a reboot does not show")
	}
	f.Inhibit("beam")
	if out, status := d.run(f, "pomona-fec reboot 8", ""); out != "" || status != 3 {
		t.Errorf("an inhibited FEC answers %q, status %d", out, status)
	}
	if out, _ := d.run(f, "pomona-fec status", ""); line(out, "inhibit") != "inhibit beam" {
		t.Errorf("status does not tell of the inhibit: %s", out)
	}
	if _, status := d.run(f, "sh -c id", ""); status != 126 {
		t.Errorf("a FEC runs any command: status %d", status)
	}
}

func line(out, word string) string {
	for l := range strings.Lines(out) {
		if strings.HasPrefix(l, word+" ") {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

func TestArchive(t *testing.T) {
	s, d := newSite(t), newDialer(t)
	s.publish(7, "fec0")
	f := listening(t, s, d, "fec0").FEC("fec0")
	f.Write("opt/data/state/a/values", []byte("1 2 3\n"))
	f.Write("opt/data/other", []byte("no\n"))
	out, status := d.run(f, "tar -cf - -C "+crowd.Data+" opt/data/state", "")
	if status != 0 {
		t.Fatalf("status %d", status)
	}
	have := map[string]string{}
	for r := tar.NewReader(strings.NewReader(out)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r)
		have[h.Name] = string(b)
	}
	want := map[string]string{"opt/data/state/": "", "opt/data/state/a/": "", "opt/data/state/a/values": "1 2 3\n"}
	if !maps.Equal(have, want) {
		t.Errorf("archive has %v, want %v", have, want)
	}
	for _, path := range []string{"../etc", "/etc", "opt/../../etc"} {
		if _, status := d.run(f, "tar -cf - -C "+crowd.Data+" "+path, ""); status != 126 {
			t.Errorf("archive of %s: status %d", path, status)
		}
	}
	if _, status := d.run(f, "tar -cf - -C "+crowd.Data+" opt/none", ""); status != 1 {
		t.Errorf("archive of nothing: status %d", status)
	}
}

func TestAnswerOfItsOwn(t *testing.T) {
	s, d := newSite(t), newDialer(t)
	s.publish(7, "fec0")
	f := listening(t, s, d, "fec0").FEC("fec0")
	f.Answer(func(command string, _ io.Reader, out, _ io.Writer) (int, bool) {
		_, _ = io.Copy(out, bytes.NewReader([]byte("lies")))
		return 3, strings.HasPrefix(command, "tar ")
	})
	if out, status := d.run(f, "tar -cf - x", ""); out != "lies" || status != 3 {
		t.Errorf("answered %q, status %d", out, status)
	}
}

func TestUnknownKeyMayNotLogIn(t *testing.T) {
	s, d := newSite(t), newDialer(t)
	s.publish(7, "fec0")
	c := newCrowd(t, crowd.Settings{Server: s.URL}, "fec0")
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	_, err := ssh.Dial("tcp", c.FEC("fec0").Address(), &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(d.signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second,
	})
	if err == nil {
		t.Error("an unknown key may log in")
	}
}

func TestBrokenAndMute(t *testing.T) {
	s := newSite(t)
	s.publish(7, "fec0")
	f := newCrowd(t, crowd.Settings{Server: s.URL}, "fec0").FEC("fec0")
	f.Mute(true)
	if have := f.Boot(t.Context()); have.State != "running" || len(s.reported("fec0")) != 0 {
		t.Errorf("a mute FEC: %+v, reported %v", have, s.reported("fec0"))
	}
	f.Mute(false)
	f.Break(true)
	if have := f.Boot(t.Context()); have.State != "init-failed" || !slices.Equal(s.reported("fec0"), []string{"init-failed"}) {
		t.Errorf("a broken FEC: %+v, reported %v", have, s.reported("fec0"))
	}
}

func TestDevIsGoneAtTheNextBoot(t *testing.T) {
	s, d := newSite(t), newDialer(t)
	s.publish(7, "fec0")
	f := listening(t, s, d, "fec0").FEC("fec0")
	put := "pomona-fec dev put bpm dev-1 " + artifact.Sum([]byte("archive")).String() + " /opt/bpm"
	if _, status := d.run(f, put, "archives"); status == 0 {
		t.Error("it takes what is damaged")
	}
	if _, status := d.run(f, put, "archive"); status != 0 {
		t.Errorf("put: status %d", status)
	}
	if out, _ := d.run(f, "pomona-fec status", ""); line(out, "dev") != "dev bpm dev-1" {
		t.Errorf("status does not tell of it: %s", out)
	}
	if _, status := d.run(f, "pomona-fec dev start other", ""); status != 1 {
		t.Errorf("it starts what is not there: status %d", status)
	}
	f.Boot(t.Context())
	if out, _ := d.run(f, "pomona-fec status", ""); line(out, "dev") != "" {
		t.Errorf("it is still there: %s", out)
	}
}

func TestOffUntilItBoots(t *testing.T) {
	s, d := newSite(t), newDialer(t)
	s.publish(7, "fec0")
	c := newCrowd(t, crowd.Settings{Server: s.URL, Authorized: d.authorized(), Off: true}, "fec0")
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	f := c.FEC("fec0")
	conn, err := net.Dial("tcp", f.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if b, _ := io.ReadAll(conn); len(b) > 0 {
		t.Errorf("it says %q", b)
	}
	f.Boot(t.Context())
	if out, status := d.run(f, "status", ""); status != 0 {
		t.Errorf("once it has booted: status %d, %s", status, out)
	}
}

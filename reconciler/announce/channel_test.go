package announce_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/e2e/address"
	"github.com/pomona-gitops/pomona/reconciler/announce"
)

var repaired = announce.Event{
	Site: "linac", Severity: announce.Warning, Kind: announce.DamageRepaired, Title: "repaired 2 damaged paths",
	Text: "a <b> & c\nMüller", Commit: "252ce49895181957463f2ea957149868b65896c6", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
}

// far is the other end of a webhook.
func far(t *testing.T, status int, header http.Header) (address string, got *[]*http.Request, bodies *[][]byte) {
	t.Helper()
	got, bodies = &[]*http.Request{}, &[][]byte{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		*got, *bodies = append(*got, r), append(*bodies, b)
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		fmt.Fprint(w, "said")
	}))
	t.Cleanup(s.Close)
	return s.URL, got, bodies
}

func secretFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSlackGetsWhatItUnderstands(t *testing.T) {
	address, _, bodies := far(t, 200, nil)
	if err := (announce.Slack{URLFile: secretFile(t, address+"/hook")}).Send(t.Context(), repaired); err != nil {
		t.Fatal(err)
	}
	var have struct {
		Text        string
		Attachments []struct {
			Color, Text, Footer string
			TS                  int64
		}
	}
	if err := json.Unmarshal((*bodies)[0], &have); err != nil {
		t.Fatal(err)
	}
	if have.Text != "*linac: repaired 2 damaged paths*" || len(have.Attachments) != 1 {
		t.Fatalf("got %+v", have)
	}
	if a := have.Attachments[0]; a.Color != "warning" || a.Text != "a &lt;b&gt; &amp; c\nMüller" || a.TS != repaired.At.Unix() || a.Footer != repaired.Commit {
		t.Errorf("got %+v", a)
	}
}

func TestASignedWebhookProvesWhoSentIt(t *testing.T) {
	address, got, bodies := far(t, 202, nil)
	c := announce.Signed{URL: address + "/events", SecretFile: secretFile(t, "correct-horse")}
	for range 2 {
		if err := c.Send(t.Context(), repaired); err != nil {
			t.Fatal(err)
		}
	}
	mac := hmac.New(sha256.New, []byte("correct-horse"))
	mac.Write((*bodies)[0])
	if have, want := (*got)[0].Header.Get("X-Signature"), "sha256="+hex.EncodeToString(mac.Sum(nil)); have != want {
		t.Errorf("signature %s, want %s", have, want)
	}
	first, second := (*got)[0].Header.Get("X-Pomona-Delivery"), (*got)[1].Header.Get("X-Pomona-Delivery")
	if first == "" || first != second {
		t.Errorf("delivery %q, then %q", first, second)
	}
	var e announce.Event
	if err := json.Unmarshal((*bodies)[0], &e); err != nil || e != repaired {
		t.Errorf("got %+v: %v", e, err)
	}
}

func TestAnAnswerSaysWhetherToTryAgain(t *testing.T) {
	for _, c := range []struct {
		status   int
		header   http.Header
		rejected bool
		after    time.Duration
	}{
		{status: 404, rejected: true},
		{status: 401, rejected: true},
		{status: 302, header: http.Header{"Location": {"http://127.0.0.1:1/"}}, rejected: true}, // the secret goes nowhere else
		{status: 500},
		{status: 429, header: http.Header{"Retry-After": {"120"}}, after: 2 * time.Minute},
		{status: 503, header: http.Header{"Retry-After": {"999999999999"}}, after: time.Hour},
	} {
		address, _, _ := far(t, c.status, c.header)
		err := announce.Slack{URLFile: secretFile(t, address+"/s3cret")}.Send(t.Context(), repaired)
		var rejected *announce.Rejected
		var later *announce.Later
		if errors.As(err, &rejected) != c.rejected || errors.As(err, &later) == c.rejected || later != nil && later.After != c.after {
			t.Errorf("%d: %#v", c.status, err)
		}
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%d: %v", c.status, err)
		}
	}
	err := announce.Slack{URLFile: secretFile(t, "http://127.0.0.1:1/s3cret")}.Send(t.Context(), repaired)
	var rejected *announce.Rejected
	if err == nil || errors.As(err, &rejected) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("nobody listens: %v", err)
	}
}

// need skips a test without a program or a file, but not in CI.
func need(t *testing.T, path, debianPackage string) string {
	t.Helper()
	if found, err := exec.LookPath(path); err == nil {
		return found
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s not found: install Debian's package %s", path, debianPackage)
	}
	t.Skipf("NOT TESTED: %s not found: install Debian's package %s", path, debianPackage)
	return ""
}

func freePort(t *testing.T) int {
	t.Helper()
	free, err := address.Free()
	if err != nil {
		t.Fatal(err)
	}
	return int(netip.MustParseAddrPort(free).Port())
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not after five minutes: %s", what)
}

// start runs a program until the test ends.
func start(t *testing.T, c *exec.Cmd) {
	t.Helper()
	var log bytes.Buffer
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()         // and was killed
		if t.Failed() {
			t.Logf("%s: %s", c.Path, &log)
		}
	})
}

// mailServer is a real SMTP server; messages arrive in folder.
func mailServer(t *testing.T, mode string) (m announce.Mail, folder string) {
	t.Helper()
	need(t, "/usr/lib/python3/dist-packages/aiosmtpd", "python3-aiosmtpd")
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	port := freePort(t)
	c := exec.Command("/usr/bin/python3", "testdata/smtpd.py", mode, cert, key, "pomona", "correct-horse", dir)
	c.Env = append(os.Environ(), "PORT="+strconv.Itoa(port))
	if _, err := c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, c)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q: %v", line, err)
	}
	return announce.Mail{Host: "127.0.0.1", Port: port, TLS: mode, CAFile: cert, User: "pomona", PasswordFile: secretFile(t, "correct-horse"),
		From: "Pomona <pomona@acc.example.org>", To: []string{"ann@example.org", "Müller <bob@example.org>"}}, dir
}

func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", private)
}

func TestMailReachesARealServer(t *testing.T) {
	for _, mode := range []string{"starttls", "implicit"} {
		t.Run(mode, func(t *testing.T) {
			m, folder := mailServer(t, mode)
			e := repaired
			e.Title += "\r\nBcc: mallory@example.org"
			if err := m.Send(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(folder, "1.eml"))
			if err != nil {
				t.Fatal(err)
			}
			checkMail(t, b)

			m.PasswordFile, m.Timeout = secretFile(t, "wrong"), time.Second // aiosmtpd does not answer a login that is given up
			var rejected *announce.Rejected
			if err := m.Send(t.Context(), repaired); err == nil || strings.Contains(err.Error(), "wrong") {
				t.Errorf("with a wrong password: %v", err)
			}
			m.PasswordFile, m.Timeout = secretFile(t, "correct-horse"), 0
			m.To = []string{"nobody@example.org"}
			if err := m.Send(t.Context(), repaired); !errors.As(err, &rejected) {
				t.Errorf("to nobody: %v", err)
			}
			m.To = []string{"later@example.org"}
			if err := m.Send(t.Context(), repaired); err == nil || errors.As(err, &rejected) {
				t.Errorf("to somebody who takes it later: %v", err)
			}
			if err := m.Send(t.Context(), repaired); err != nil {
				t.Errorf("later: %v", err)
			}
			m.CAFile = ""
			if err := m.Send(t.Context(), repaired); err == nil || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("to a server that nobody vouches for: %v", err)
			}
		})
	}
}

func checkMail(t *testing.T, b []byte) {
	t.Helper()
	msg, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil || subject != "[pomona] warning: linac: repaired 2 damaged paths Bcc: mallory@example.org" {
		t.Errorf("subject %q: %v", subject, err)
	}
	if have := msg.Header.Get("X-Rcpt"); have != "ann@example.org bob@example.org" || msg.Header.Get("Bcc") != "" {
		t.Errorf("to %s, %s", have, msg.Header.Get("Bcc"))
	}
	if have := msg.Header.Get("Auto-Submitted"); have != "auto-generated" {
		t.Errorf("auto-submitted %q", have)
	}
	if at, err := msg.Header.Date(); err != nil || !at.Equal(repaired.At) {
		t.Errorf("date %s: %v", at, err)
	}
	body, err := io.ReadAll(msg.Body)
	if err != nil || !strings.Contains(string(body), "a <b> & c") || !strings.Contains(string(body), repaired.Commit) {
		t.Errorf("body %q: %v", body, err)
	}
}

// TestMailIsNotSentInTheClear meets a server without STARTTLS.
func TestMailIsNotSentInTheClear(t *testing.T) {
	for _, user := range []string{"", "pomona"} {
		if said := saidInTheClear(t, user); strings.Contains(said, "AUTH") || strings.Contains(said, "MAIL") {
			t.Errorf("user %q: said %q", user, said)
		}
	}
}

func saidInTheClear(t *testing.T, user string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, "220 ready\r\n")
		var all strings.Builder
		for lines := bufio.NewScanner(c); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			answer := "250 AUTH PLAIN\r\n"
			if lines.Text() == "DATA" {
				answer = "354 go on\r\n"
			}
			fmt.Fprint(c, answer)
		}
		heard <- all.String()
	}()
	m := announce.Mail{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: user, PasswordFile: secretFile(t, "correct-horse"),
		From: "pomona@example.org", To: []string{"ann@example.org"}}
	if err := m.Send(t.Context(), repaired); err == nil {
		t.Error("sent in the clear")
	}
	return <-heard
}

// TestAlertmanagerKnowsWhatFails asks a real Alertmanager what it has.
func TestAlertmanagerKnowsWhatFails(t *testing.T) {
	program := need(t, "prometheus-alertmanager", "prometheus-alertmanager")
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, []byte("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + strconv.Itoa(freePort(t))
	start(t, exec.Command(program, "--config.file="+config, "--storage.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--cluster.listen-address="))
	alerts := func() (have []struct {
		Labels, Annotations map[string]string
		EndsAt              time.Time
	}) {
		r, err := http.Get("http://" + address + "/api/v2/alerts")
		if err != nil {
			return nil
		}
		defer r.Body.Close()
		_ = json.NewDecoder(r.Body).Decode(&have) // until it is up
		return have
	}
	am := announce.Alertmanager{URL: "http://" + address + "/"}
	e := announce.Event{Site: "linac", Severity: announce.Error, Kind: announce.PassFailed, Title: "a pass failed", Text: "disk full", At: time.Now()}
	eventually(t, "it takes the alert", func() bool { return am.Send(t.Context(), e) == nil })
	eventually(t, "it has the alert", func() bool { return len(alerts()) == 1 })
	a := alerts()[0]
	if a.Labels["alertname"] != "PomonaPassFailed" || a.Labels["site"] != "linac" || a.Labels["severity"] != "error" || a.Annotations["description"] != "disk full" {
		t.Errorf("got %+v", a)
	}
	if d := time.Until(a.EndsAt); d < 4*time.Hour || d > 6*time.Hour {
		t.Errorf("ends in %s", d)
	}
	e.Title, e.Commit = "a pass failed otherwise", "252ce49895181957463f2ea957149868b65896c6"
	if err := am.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is the same alert", func() bool {
		have := alerts()
		return len(have) == 1 && have[0].Annotations["summary"] == "linac: a pass failed otherwise"
	})
	e.Recovered, e.At = true, time.Now()
	if err := am.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is over", func() bool { return len(alerts()) == 0 })
}

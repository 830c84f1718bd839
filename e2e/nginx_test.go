package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// front runs a shipped nginx configuration before a service until the test ends: addresses of the shipped text are
// replaced, each of which must be there.
func (w world) front(file string, replace ...string) {
	t := w.t
	t.Helper()
	program := debian(t, "nginx-light", "nginx")
	shipped, err := os.ReadFile(filepath.Join("../docs/nginx", file))
	if err != nil {
		t.Fatal(err)
	}
	conf := string(shipped)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(conf, replace[i]) {
			t.Fatalf("the shipped configuration has no %q:\n%s", replace[i], shipped)
		}
		conf = strings.ReplaceAll(conf, replace[i], replace[i+1])
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s/%[1]s;\n", kind, w.dir)
	}
	main := filepath.Join(w.dir, "front.conf")
	w.put(main, fmt.Appendf(nil, "daemon off;\n%spid %[2]s/front.pid;\nerror_log %[2]s/front.log;\nevents {}\nhttp {\naccess_log off;\n%[3]s%s\n}\n", user, w.dir, temp, conf))
	cmd := exec.Command(program, "-c", main, "-p", w.dir)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("nginx: %v\n%s", err, &errs)
		}
	})
}

// TestNginxInFront has nginx stand before both listeners of a service: a FEC boots and reports through it, a forge is heard
// through it, and whoever forges deliveries keeps the forge out no more than without it.
func TestNginxInFront(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	tree, hooks := freeAddress(t), freeAddress(t)
	f.front("pomona-proxy.conf", "listen 80;", "listen "+tree+";", "listen 443 ssl;", "listen "+hooks+" ssl;", "127.0.0.1:8080", f.serves, "127.0.0.1:8082", f.hears,
		"/etc/ssl/pomona.pem", f.authority.cert, "/etc/ssl/pomona.key", f.authority.key)
	eventually(t, "nginx answers", func() bool { return get("http://"+tree+"/index") == 200 })

	name := f.fecs()[0]
	f.newFEC(name, "http://"+tree).mustBoot()
	eventually(t, "the boot is reported", func() bool {
		return strings.Contains(f.service.log(), "fec="+name) && strings.Contains(f.service.log(), "state=running")
	})
	for path, want := range map[string]int{"/.pomona/known": 404, "/generations/1/index": 404, "//index": 404, "/fecs%2f": 404, "/fecs/" + name + "/boot.manifest": 200} {
		if got := get("http://" + tree + path); got != want {
			t.Errorf("%s gives %d, want %d", path, got, want)
		}
	}

	post := func(from, secret string) int {
		req := f.delivery("https://"+hooks+"/acc/forge", secret)
		req.Header.Set("X-Forwarded-For", from)
		resp, err := f.authority.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	f.note("by nginx")
	f.push()
	if code := post("192.0.2.7", hookSecret); code != http.StatusAccepted {
		t.Fatalf("a delivery gets status %d", code)
	}
	f.follows("a webhook through nginx has the commit published")

	answers := map[int]int{}
	eventually(t, "whoever forges many deliveries is refused", func() bool { // slowly, more of them get through
		for range 50 {
			answers[post("203.0.113.9", "another secret of sixteen")]++
		}
		return answers[http.StatusUnauthorized] >= 50 && answers[http.StatusTooManyRequests] >= 50
	})
	if len(answers) != 2 {
		t.Errorf("forged deliveries get %v", answers)
	}
	if code := post("192.0.2.7", hookSecret); code != http.StatusAccepted {
		t.Errorf("beside forged deliveries, a genuine one gets status %d", code)
	}
	large, err := f.authority.client.Post("https://"+hooks+"/acc/forge", "application/json", bytes.NewReader(make([]byte, 4<<20)))
	if err != nil {
		t.Fatal(err)
	}
	defer large.Body.Close()
	if large.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("4 MiB get status %d", large.StatusCode)
	}
}

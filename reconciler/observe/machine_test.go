package observe_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/observe"
)

func TestAMachineSaysWhetherChangesMustWait(t *testing.T) {
	dir := t.TempDir()
	file := func(content string) observe.MachineSource {
		name := filepath.Join(dir, "state")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return observe.MachineSource{File: name}
	}
	answers := map[string]http.HandlerFunc{
		"/on":    func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("on\n")) },
		"/off":   func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("off")) },
		"/gone":  http.NotFound,
		"/large": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(strings.Repeat("off", 100_000))) },
		"/other": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://other.example.org/off", http.StatusFound)
		},
		"/json": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"beam": {"state": "stable", "on": true, "current": 0}}`))
		},
	}
	mux := http.NewServeMux()
	for path, answer := range answers {
		mux.HandleFunc(path, answer)
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	url := func(path string) observe.MachineSource { return observe.MachineSource{URL: server.URL + path} }
	field := func(s observe.MachineSource, field string) observe.MachineSource { s.Field = field; return s }
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		s     observe.MachineSource
		hold  bool
		known bool
		says  string
	}{
		{"file on", file("on"), true, true, "it says on"},
		{"file off", file(" Off \n"), false, true, "it says Off"},
		{"file yes", file("yes"), true, true, "it says yes"},
		{"file 0", file("0"), false, true, "it says 0"},
		{"file empty", file(""), true, false, `it says ""`},
		{"file other", file("shutdown"), true, false, `it says "shutdown", which nobody has explained`},
		{"no file", observe.MachineSource{File: filepath.Join(dir, "none")}, true, false, "no such file"},
		{"fifo", observe.MachineSource{File: fifo}, true, false, "no regular file"},
		{"url on", url("/on"), true, true, "it says on"},
		{"url off", url("/off"), false, true, "it says off"},
		{"url gone", url("/gone"), true, false, "404"},
		{"url large", url("/large"), true, false, "more than"},
		{"url elsewhere", url("/other"), true, false, "another host"},
		{"no server", observe.MachineSource{URL: "http://127.0.0.1:1/"}, true, false, "refused"},
		{"field bool", field(url("/json"), "beam.on"), true, true, "it says true"},
		{"field number", field(url("/json"), "beam.current"), false, true, "it says 0"},
		{"field none", field(url("/json"), "beam.none.deep"), true, false, "no beam.none.deep"},
		{"field of no json", field(url("/on"), "beam"), true, false, "read its answer"},
	} {
		for _, open := range []bool{false, true} {
			c.s.Open = open
			if strings.HasPrefix(c.name, "file ") {
				content := map[string]string{"file on": "on", "file off": " Off \n", "file yes": "yes", "file 0": "0", "file empty": "", "file other": "shutdown"}[c.name]
				file(content)
			}
			m := observe.Machines(t.Context(), []observe.MachineSource{c.s})[0]
			want := c.hold
			if !c.known {
				want = !open
			}
			if m.Hold != want || !strings.Contains(m.State, c.says) {
				t.Errorf("%s, open %v: holds %v because %s; want %v, %s", c.name, open, m.Hold, m.State, want, c.says)
			}
		}
	}
	own := url("/json")
	own.Field, own.On, own.Off = "beam.state", []string{"ramp"}, []string{"STABLE"}
	if m := observe.Machines(t.Context(), []observe.MachineSource{own})[0]; m.Hold {
		t.Errorf("own words: holds because %s", m.State)
	}
}

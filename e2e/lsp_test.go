package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestLanguageServer asks cue lsp, offline, what may stand in a FEC of a leaf file, in the site's settings, and where the
// schema is.
func TestLanguageServer(t *testing.T) {
	w := newWorld(t)
	texts := map[string]string{
		"fecs/lsp/lsp.cue": "package site\n\nimport \"github.com/pomona-gitops/pomona/schema@v1\"\n\nfecs: lsp1: schema.#FEC & {\n\tlo\n}\n",
		"lsp.cue":          "package site\n\nsite: {\n\tre\n}\n",
	}
	for name, text := range texts {
		w.write(name, text, 0o644)
	}
	s := startServer(t, w.stockCUE(), w.site)
	s.call("initialize", map[string]any{
		"processId": os.Getpid(), "rootUri": "file://" + w.site, "capabilities": map[string]any{},
		"workspaceFolders": []any{map[string]any{"uri": "file://" + w.site, "name": "site"}},
	})
	s.send(map[string]any{"method": "initialized", "params": map[string]any{}})
	uri := func(name string) string { return "file://" + filepath.Join(w.site, name) }
	ask := func(method, name string, line, character int) string {
		return string(s.call("textDocument/"+method, map[string]any{
			"textDocument": map[string]any{"uri": uri(name)}, "position": map[string]any{"line": line, "character": character},
		}))
	}
	for name, text := range texts {
		s.send(map[string]any{"method": "textDocument/didOpen", "params": map[string]any{
			"textDocument": map[string]any{"uri": uri(name), "languageId": "cue", "version": 1, "text": text},
		}})
	}
	for _, c := range []struct {
		answer string
		want   []string
	}{
		{ask("completion", "fecs/lsp/lsp.cue", 5, 3), []string{`"location"`, `"responsible"`, `"persistence"`}},
		{ask("completion", "lsp.cue", 3, 3), []string{`"retention"`, `"platforms"`}},
		{ask("definition", "fecs/lsp/lsp.cue", 4, 20), []string{"cue.mod/pkg/github.com/pomona-gitops/pomona/schema/fec.cue"}},
	} {
		for _, want := range c.want {
			if !strings.Contains(c.answer, want) {
				t.Errorf("cue lsp does not answer %s: %.600s", want, c.answer)
			}
		}
	}
}

// stockCUE builds the cue command that go.mod pins.
func (w world) stockCUE() string {
	w.t.Helper()
	cue := filepath.Join(w.dir, "cue")
	if out, err := exec.Command("go", "build", "-o", cue, "cuelang.org/go/cmd/cue").CombinedOutput(); err != nil {
		w.t.Fatalf("build cue: %v\n%s", err, out)
	}
	return cue
}

// server speaks JSON-RPC with a language server over its standard streams.
type server struct {
	t  *testing.T
	in io.Writer
	// out is read only by call.
	out *bufio.Reader
	id  int
}

func startServer(t *testing.T, cue, dir string) *server {
	t.Helper()
	cmd := exec.Command(cue, "lsp")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CUE_REGISTRY=none", "CUE_CACHE_DIR="+t.TempDir())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	})
	return &server{t: t, in: in, out: bufio.NewReader(out)}
}

func (s *server) send(message map[string]any) {
	s.t.Helper()
	message["jsonrpc"] = "2.0"
	b, err := json.Marshal(message)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(s.in, "Content-Length: %d\r\n\r\n%s", len(b), b); err != nil {
		s.t.Fatal(err)
	}
}

// call waits for the answer and passes over everything else that the server says.
func (s *server) call(method string, params any) json.RawMessage {
	s.t.Helper()
	s.id++
	s.send(map[string]any{"id": s.id, "method": method, "params": params})
	for {
		var m struct {
			ID     json.RawMessage
			Method string
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal(s.receive(), &m); err != nil {
			s.t.Fatal(err)
		}
		switch {
		case m.Method != "" && m.ID != nil: // the server asks us something: nothing is known here
			s.send(map[string]any{"id": m.ID, "result": nil})
		case string(m.ID) == strconv.Itoa(s.id):
			if m.Error != nil {
				s.t.Fatalf("%s: %s", method, m.Error)
			}
			return m.Result
		}
	}
}

func (s *server) receive() []byte {
	s.t.Helper()
	length := 0
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("cue lsp ends: %v", err)
		}
		line = strings.TrimSpace(line)
		if line == "" {
			break
		}
		if n, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			if length, err = strconv.Atoi(n); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(s.out, b); err != nil {
		s.t.Fatal(err)
	}
	return b
}

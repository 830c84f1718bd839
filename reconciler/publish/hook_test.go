package publish_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/publish"
)

// TestMain lets the test binary be the worker, or a service that runs a hook until it is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "hook-worker" {
		code, err := publish.HookWorker(os.Args[2:])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	if script := os.Getenv("HOOK_UNTIL_KILLED"); script != "" {
		_ = hook(script).Run(context.Background(), publish.Document{})
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func hook(script string) publish.Hook {
	return publish.Hook{Name: "db", Command: []string{"/bin/sh", "-c", script}, Timeout: time.Minute, Memory: 512 << 20, Worker: []string{os.Args[0], "hook-worker"}}
}

func TestAHookReadsTheDocumentInAPlaceOfItsOwn(t *testing.T) {
	t.Setenv("SECRET_OF_THE_SERVICE", "x")
	out := filepath.Join(t.TempDir(), "out")
	h := hook(`cat > "$OUT"; { env | cut -d= -f1 | sort | tr '\n' ' '; pwd; echo "$TMPDIR"; ls; } > "$OUT.env"; touch litter`)
	h.Environment = map[string]string{"OUT": out}
	if err := h.Run(t.Context(), publish.Document{Version: 1, When: publish.After, Site: "gsi", Generation: 3, FECs: []publish.DocumentFEC{}}); err != nil {
		t.Fatal(err)
	}
	var d publish.Document
	b, err := os.ReadFile(out)
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil || d.Hook != "db" || d.Generation != 3 {
		t.Errorf("read %s, %v", b, err)
	}
	b, err = os.ReadFile(out + ".env")
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], "LANG OUT PATH PWD TMPDIR ") {
		t.Fatalf("environment and folder: %q, %v", lines, err)
	}
	if _, err := os.Stat(lines[1]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is left: %v", err)
	}
}

func TestWhyAHookFailed(t *testing.T) {
	for name, c := range map[string]struct {
		hook publish.Hook
		want string
	}{
		"says why":       {hook("echo the database says no >&2; exit 3"), "hook db failed with exit status 3: the database says no"},
		"killed":         {hook("kill -9 $$"), "hook db failed with exit status 137"},
		"no such":        {func() publish.Hook { h := hook(""); h.Command = []string{"/nonexistent/hook"}; return h }(), "hook db failed with exit status 127: hook: "},
		"says much":      {hook("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1"), "line 2999"},
		"reads nothing":  {hook("exit 4"), "hook db failed with exit status 4"},
		"too much":       {hook("x=0123456789abcdef; while :; do x=$x$x; done"), "hook db failed with exit status "},
		"takes too long": {func() publish.Hook { h := hook("echo here; sleep 1000"); h.Timeout = 3 * time.Second; return h }(), "hook db took longer than 3s: here"},
	} {
		t.Run(name, func(t *testing.T) {
			c.hook.Memory = 64 << 20
			err := c.hook.Run(t.Context(), publish.Document{})
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 5000 {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWhatAHookSaysIsMasked(t *testing.T) {
	h := hook("echo s3cret; exit 1")
	h.Mask = func(s string) string { return strings.ReplaceAll(s, "s3cret", "[redacted]") }
	if err := h.Run(t.Context(), publish.Document{}); err == nil || !strings.HasSuffix(err.Error(), ": [redacted]") {
		t.Errorf("got %v", err)
	}
}

// detached starts a process that leaves the hook's session and its parent, and notes its number.
const detached = `setsid sh -c 'echo $$ > "$0"; exec sleep 1000' %[1]s </dev/null >/dev/null 2>&1 & while [ ! -s %[1]s ]; do sleep 0.01; done; `

func gone(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		t.Errorf("process %d outlives its hook", pid)
	}
}

// eventually waits for something that another process does, for longer than it takes on a busy machine, and says whether it came.
func eventually(is func() bool) bool {
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if is() {
			return true
		}
	}
	return false
}

// written says whether something stands in a file.
func written(file string) func() bool {
	return func() bool { b, _ := os.ReadFile(file); return len(b) > 0 } // it may not be there yet
}

func TestNothingOutlivesAHook(t *testing.T) {
	for name, ending := range map[string]string{"succeeds": "exit 0", "fails": "exit 1", "hangs": "sleep 1000"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			h := hook(fmt.Sprintf(detached, file) + ending)
			if name == "hangs" {
				h.Timeout = 5 * time.Second // in which it has to begin
			}
			if err := h.Run(t.Context(), publish.Document{}); (err == nil) != (name == "succeeds") {
				t.Error(err)
			}
			gone(t, file)
		})
	}
	t.Run("stopped", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "pid")
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			eventually(written(file))
			cancel()
		}()
		if err := hook(fmt.Sprintf(detached, file)+"sleep 1000").Run(ctx, publish.Document{}); err == nil || !strings.Contains(err.Error(), "was stopped") {
			t.Errorf("got %v", err)
		}
		gone(t, file)
	})
	t.Run("service killed", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "pid")
		service := exec.Command(os.Args[0])
		service.Env = append(os.Environ(), "HOOK_UNTIL_KILLED="+fmt.Sprintf(detached, file)+"sleep 1000")
		if err := service.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(written(file))
		_ = service.Process.Kill()
		_ = service.Wait() // it was killed
		gone(t, file)
	})
}

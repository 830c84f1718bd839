package boot_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// machine is what a simulated FEC computes with.
type machine struct {
	busybox  string
	emulator string // empty: none
	verifier string // pomona-verify
	stall    int    // seconds without progress after which a transfer has stalled for certain
	kills    int    // in a campaign, unless POMONA_KILLS says how many
}

// onEach runs a test on this machine and on a 32-bit big-endian PowerPC with the busybox of a Yocto image.
func onEach(t *testing.T, test func(*testing.T, machine)) {
	t.Run("native", func(t *testing.T) {
		t.Parallel()
		test(t, native(t))
	})
	t.Run("PowerPC", func(t *testing.T) {
		t.Parallel()
		test(t, powerPC(t))
	})
}

// native has Debian's busybox, or the one that POMONA_BUSYBOX names, for instance of a Yocto image.
func native(t *testing.T) machine {
	t.Helper()
	return machine{
		busybox: busybox(t), emulator: os.Getenv("POMONA_EMULATOR"), verifier: program(t, verifier), stall: 1, kills: 40,
	}
}

func busybox(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("POMONA_BUSYBOX"); path != "" {
		return path
	}
	return need(t, "busybox", "install busybox-static")
}

// powerPC is emulated. The verifier on its PATH is a script of this machine, because without the kernel's help no program
// of another processor is executed by its name.
func powerPC(t *testing.T) machine {
	t.Helper()
	emulator := need(t, "qemu-ppc-static", "install qemu-user-static")
	need(t, compiler, "install gccgo-powerpc-linux-gnu")
	busybox, err := filepath.Abs(need(t, "../../build/busybox-ppc", "run make setup"))
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "pomona-verify")
	text := fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", emulator, program(t, verifierPPC))
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return machine{busybox: busybox, emulator: emulator, verifier: script, stall: 3, kills: 8}
}

const compiler = "powerpc-linux-gnu-gccgo"

// The verifiers are built once. Their language has no type parameters, which gccgo lacks.
var (
	verifier    = sync.OnceValues(func() (string, error) { return build("verify", "go", "build", "-gcflags=-lang=go1.17") })
	verifierPPC = sync.OnceValues(func() (string, error) { return build("verify-ppc", compiler, "-Os", "-static") })
)

var programs string // folder of what the tests build

// build compiles the verifier with the given command.
func build(folder string, command ...string) (string, error) {
	path := filepath.Join(programs, folder, "pomona-verify")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	c := exec.Command(command[0], append(command[1:], "-o", path, "verify/main.go")...)
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", c, err, out)
	}
	return path, nil
}

func program(t *testing.T, build func() (string, error)) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "pomona-boot-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(programs) // the next cleaning of /tmp finds what is left
	os.Exit(code)
}

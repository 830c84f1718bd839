package boot_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/boot"
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
	return machine{busybox: busybox, emulator: emulator, verifier: script, stall: 3, kills: 5}
}

// TestPowerPC holds the emulated machine to what a Yocto image has and lacks, as its init scripts see it: a client that
// relied on more would fail there.
func TestPowerPC(t *testing.T) {
	on := powerPC(t)
	list, err := exec.Command(on.emulator, on.busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	has := strings.Fields(string(list))
	for _, applet := range boot.Applets {
		if !slices.Contains(has, applet) {
			t.Errorf("its busybox lacks %s", applet)
		}
	}
	s := siteOn(t, on)
	f := s.fec()
	s.publish(s.withScripts(s.release(100), map[string]string{"10-look": `exec >$POMONA_RUN/seen 2>/dev/null
uname -m
echo $(printf '\000\001' | od -x | head -n 1)
echo $((2147483647 + 1)) "[$RANDOM]"
for program in timeout base64 sha512sum unxz unlzma zstd crond httpd curl; do command -v $program || $program; done
busybox timeout 1 true || echo x | head -c 1 || echo x | head -1 || echo x | od -t x1 || echo x | nc -l -p 0 || echo none`}))
	boots(t, f, "running", 100, "")
	if d := cmp.Diff("ppc\n0000000 0001\n-2147483648 []\nnone\n", read(t, f.Root(), "run/seen")); d != "" {
		t.Errorf("init scripts see (-want +got):\n%s", d)
	}
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

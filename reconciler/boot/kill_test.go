package boot_test

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/boot"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// TestKill kills the client at random times, over many releases. After each kill current is nothing or a whole release,
// and an undisturbed boot brings the newest.
func TestKill(t *testing.T) { onEach(t, testKill) }

func testKill(t *testing.T, on machine) {
	kills := fromEnv(t, "POMONA_KILLS", on.kills)
	seed := fromEnv(t, "POMONA_SEED", 1)
	t.Logf("%d kills, seed %d", kills, seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	s := siteOn(t, on)
	f := s.fec()
	f.Env = append(f.Env, "POMONA_REPORT=no")
	releases := map[string]tree.Manifest{}
	serial := int64(100)
	publish := func() {
		serial++
		m := s.release(serial)
		releases[strconv.FormatInt(serial, 10)] = m
		s.publish(m)
	}
	publish()
	var whole time.Duration // that a boot takes which nobody disturbs
	boot := func() {
		start := time.Now()
		started(t, f, boots(t, f, "running", serial, ""))
		whole = time.Since(start)
	}
	boot()
	killed, ended := 0, 0
	for killed < kills {
		publish()
		for range 1 + random.IntN(3) {
			if killAfter(t, f, time.Duration(random.Int64N(int64(whole)))) {
				killed++
			} else {
				ended++
			}
			checkCurrent(t, f, releases)
		}
		boot()
		checkCurrent(t, f, releases)
		if n := len(names(t, f.Root(), "slots")); n > 2 {
			t.Fatalf("%d slots are left", n)
		}
	}
	t.Logf("%d boots were killed, %d ended before that, %d releases booted", killed, ended, len(releases))
}

func fromEnv(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// killAfter boots, kills all after d, and says whether there was something to kill.
func killAfter(t *testing.T, f *boot.FEC, d time.Duration) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	o, err := f.Boot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return o.Status != 0
}

// checkCurrent compares what current names with its release, file by file.
func checkCurrent(t *testing.T, f *boot.FEC, releases map[string]tree.Manifest) {
	t.Helper()
	target, err := os.Readlink(filepath.Join(f.Root(), "current"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatal("current is gone")
	}
	serial, _, _ := strings.Cut(filepath.Base(target), "-")
	m, ok := releases[serial]
	if !ok {
		t.Fatalf("current is %q: %v", target, err)
	}
	slot := filepath.Join(f.Root(), target)
	if got := read(t, slot, m.Software[0].Install, "bin/bpm"); got != m.Software[0].Version {
		t.Errorf("%s holds version %q", target, got)
	}
	if got := read(t, slot, m.Software[0].Install, "lib/big"); got != payload(m.Serial) {
		t.Errorf("the payload of %s differs", target)
	}
	if got := read(t, slot, "opt/conf/timing/master.conf"); got != "serial "+serial {
		t.Errorf("configuration of %s is %q", target, got)
	}
	for _, script := range m.Init {
		if info, err := os.Stat(filepath.Join(slot, ".pomona/init", script.Name)); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("script %s of %s: %v", script.Name, target, err)
		}
	}
	if _, _, body, err := tree.ParseManifest([]byte(read(t, slot, ".pomona/manifest"))); err != nil || string(body) != string(m.Marshal()) {
		t.Errorf("manifest of %s differs: %v", target, err)
	}
}

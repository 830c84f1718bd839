package repo_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// weight is what a mirror costs.
type weight struct {
	descriptors, goroutines, packs int
	disk                           int64 // bytes
	heap                           uint64
}

func weigh(t *testing.T, m *mirror) weight {
	t.Helper()
	var w weight
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	w.descriptors = len(open)
	err = filepath.WalkDir(m.o.Dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if s, ok := info.Sys().(*syscall.Stat_t); ok && err == nil {
			w.disk += s.Blocks * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.packs = m.packs()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	w.heap, w.goroutines = stats.HeapAlloc, runtime.NumGoroutine()
	return w
}

// TestMirrorLastsForMonths lets a mirror live through what happens in months, at full speed: commits, rewritten branches,
// outages and restarts. Nothing of it may pile up. POMONA_MONTHS=full takes the counts of 72 weeks.
func TestMirrorLastsForMonths(t *testing.T) {
	commits, rewrites, outages, restarts := 72, 6, 4, 12
	if os.Getenv("POMONA_MONTHS") == "full" {
		commits, rewrites, outages, restarts = 432, 24, 12, 72
	}
	u := newUpstream(t)
	o := u.options()
	o.Limits.Packs = 8
	m := open(t, o)
	m.moves(u.head())
	var refused *repo.Refused
	var unavailable *remote.Unavailable
	var settled, last weight
	for i := range commits {
		at := m.Accepted()
		if i%(commits/rewrites) == 0 && i > 0 {
			git(t, u.work, "reset", "-q", "--hard", "HEAD~1")
			u.commit(fmt.Sprint("rewritten ", i))
			m.fails(at, &refused, "does not descend")
			git(t, u.work, "reset", "-q", "--hard", at)
			u.push()
			m.stays(at)
		}
		if i%(commits/outages) == 1 {
			u.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
			for range 5 {
				m.fails(at, &unavailable, "is unavailable")
			}
			u.answer(nil)
		}
		if i%(commits/restarts) == 2 {
			m.restart()
		}
		m.moves(u.commit(fmt.Sprint("commit ", i)))
		if i%3 == 0 {
			m.stays(u.head())
		}
		switch i {
		case commits / 3:
			settled = weigh(t, m)
		case commits - 1:
			last = weigh(t, m)
		}
	}
	m.tidy()
	t.Logf("settled %+v, last %+v", settled, last)
	if last.descriptors > settled.descriptors+16 || last.goroutines > settled.goroutines+16 {
		t.Errorf("descriptors or goroutines pile up: %+v, then %+v", settled, last)
	}
	if last.packs > 2*o.Limits.Packs {
		t.Errorf("%d packs", last.packs)
	}
	if last.disk > 2*settled.disk+64<<10 {
		t.Errorf("disk: %d bytes, then %d", settled.disk, last.disk)
	}
	if last.heap > settled.heap+8<<20 {
		t.Errorf("memory: %d bytes, then %d", settled.heap, last.heap)
	}
}

// TestMirrorKilled kills a process that updates a mirror, at any time. What it had accepted stays accepted, and the next one
// goes on.
func TestMirrorKilled(t *testing.T) {
	if dir := os.Getenv("POMONA_TEST_MIRROR"); dir != "" {
		updateForEver(t, dir)
		return
	}
	u := newUpstream(t)
	write(t, u.dir, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.server.Certificate().Raw})), 0o600)
	o := u.options()
	o.Limits.Packs = 3
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	before := ""
	for round := range 15 {
		cmd := exec.Command(program, "-test.run=^TestMirrorKilled$")
		cmd.Env = append(os.Environ(), "POMONA_TEST_MIRROR="+o.Dir, "POMONA_TEST_URL="+o.URL, "POMONA_TEST_CA="+filepath.Join(u.dir, "ca.pem"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stop := time.After(time.Duration(random.IntN(300)) * time.Millisecond)
		for done := false; !done; {
			select {
			case <-stop:
				done = true
			default:
				u.commit(fmt.Sprint("round ", round))
			}
		}
		if err := errors.Join(cmd.Process.Kill(), ignore(cmd.Wait())); err != nil {
			t.Fatal(err)
		}
		m := open(t, o)
		if at := m.Accepted(); at != "" {
			m.shows(at)
			if before != "" {
				git(t, u.work, "merge-base", "--is-ancestor", before, at)
			}
		} else if before != "" {
			t.Fatalf("%s was accepted, and is forgotten", before)
		}
		if _, err := m.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.shows(u.head())
		m.tidy()
		before = u.head()
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// ignore forgets an error: a process that was killed says so.
func ignore(error) error { return nil }

func updateForEver(t *testing.T, dir string) {
	ca, err := os.ReadFile(os.Getenv("POMONA_TEST_CA"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	m, err := repo.OpenMirror(repo.MirrorOptions{
		Dir: dir, URL: os.Getenv("POMONA_TEST_URL"), Branch: "main", Limits: repo.Limits{Packs: 3},
		Client: remote.New(remote.Options{TLS: &tls.Config{RootCAs: pool}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := m.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// soak says whether the campaigns run in full.
var soak = os.Getenv("POMONA_SOAK") != ""

// inFull is a count of a campaign: a part of it unless it runs in full.
func inFull(all, part int) int {
	if soak {
		return all
	}
	return part
}

// TestWebhookFlood delivers 10,000 webhooks a minute, every second one forged: no forged one is acted on, the service's memory
// is bounded, and merges are published meanwhile; in full, for a minute, within a second each.
func TestWebhookFlood(t *testing.T) {
	const perMinute, most = 10_000, 200 << 20 // bytes of memory
	f := newFollowed(t)
	all, merges := inFull(perMinute, 600), inFull(20, 3)

	// Forged ones alone move nothing, not even the host's door.
	f.note("nobody says so")
	f.push()
	published, asked := f.published(), f.host.asked.Load()
	f.flood(perMinute, all/10, func(int64) string { return "another secret of sixteen" }, http.StatusUnauthorized)
	if now := f.host.asked.Load(); now != asked || f.published() != published {
		t.Errorf("after forged deliveries alone, the host was asked %d times and %s is published", now-asked, f.published())
	}

	var flood sync.WaitGroup
	flood.Go(func() {
		f.flood(perMinute, all, func(i int64) string {
			return []string{hookSecret, "another secret of sixteen"}[i%2]
		}, http.StatusAccepted, http.StatusUnauthorized)
	})
	var took []time.Duration
	for i := range merges {
		f.note(fmt.Sprint("merge ", i))
		f.push()
		start := time.Now()
		if code := f.deliver(hookSecret); code != http.StatusAccepted {
			t.Errorf("a genuine delivery gets status %d", code)
		}
		want := git(t, f.site, "rev-parse", "HEAD")
		for f.published() != want {
			if time.Since(start) > patience {
				t.Fatalf("merge %d is not published:\n%s", i, f.service.log())
			}
			time.Sleep(5 * time.Millisecond)
		}
		took = append(took, time.Since(start))
		time.Sleep(time.Duration(inFull(1000, 200)) * time.Millisecond)
	}
	flood.Wait()
	slices.Sort(took)
	peak := f.status("VmHWM")
	t.Logf("%d deliveries; merges took %s at most, %s in the middle; %d requests to the host; %d MiB of memory at most",
		f.deliveries.Load(), took[len(took)-1], took[len(took)/2], f.host.asked.Load()-asked, peak>>20)
	if soak && took[len(took)-1] > time.Second {
		t.Errorf("merges took %v", took)
	}
	if peak > most {
		t.Errorf("the service took %d MiB", peak>>20)
	}
	forged, genuine := float64(all/10+all/2), float64(all/2+merges)
	if n := f.metric("pomona_webhook_requests_total", `result="forged"`); n != forged {
		t.Errorf("%v deliveries count as forged, want %v", n, forged)
	}
	if n := f.metric("pomona_webhook_requests_total", `result="accepted"`); n != genuine {
		t.Errorf("%v deliveries count as accepted, want %v", n, genuine)
	}
	if n := strings.Count(f.service.log(), "\n"); n > 500 {
		t.Errorf("%d lines of log", n)
	}
}

// flood posts n deliveries, so many a minute, signed by the secret of each one's number. The answer to number i is
// codes[i % len(codes)].
func (f *followed) flood(perMinute, n int, secret func(int64) string, codes ...int) {
	var next atomic.Int64
	var senders sync.WaitGroup
	tick := time.NewTicker(time.Minute / time.Duration(perMinute))
	defer tick.Stop()
	for range 8 {
		senders.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				<-tick.C
				if code := f.deliver(secret(i)); code != codes[i%int64(len(codes))] {
					f.t.Errorf("delivery %d gets status %d", i, code)
				}
			}
		})
	}
	senders.Wait()
}

// status is a line of what the kernel says of the service's memory, in bytes.
func (f *followed) status(name string) int64 {
	f.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.service.cmd.Process.Pid))
	if err != nil {
		f.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == name+":" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				f.t.Fatal(err)
			}
			return kib << 10
		}
	}
	f.t.Fatalf("the kernel says nothing of %s", name)
	return 0
}

// weight is what a service costs.
type weight struct {
	memory, private, root int64 // bytes: resident; on the disk, below .pomona and beside it
	descriptors, packs    int
	goroutines            int
	generations           int
	parts                 map[string]int64 // bytes of what lies in .pomona
}

func (f *followed) weigh() (w weight) {
	f.t.Helper()
	w.memory, w.goroutines = f.status("VmRSS"), int(f.metric("go_goroutines"))
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.service.cmd.Process.Pid))
	if err != nil {
		f.t.Fatal(err)
	}
	w.descriptors = len(open)
	private := filepath.Join(f.root, ".pomona")
	w.parts = map[string]int64{}
	names, err := os.ReadDir(private)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range names {
		w.parts[e.Name()] = f.disk(filepath.Join(private, e.Name()))
		w.private += w.parts[e.Name()]
	}
	w.root = f.disk(f.root) - w.private
	w.packs = f.count(filepath.Join(private, "mirror/*/objects/pack/*.pack"))
	w.generations = f.count(filepath.Join(f.root, "generations/*"))
	return w
}

func (f *followed) count(pattern string) int {
	f.t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		f.t.Fatal(err)
	}
	return len(found)
}

// disk is what the files below a folder take, in bytes; what goes away meanwhile takes nothing.
func (f *followed) disk(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil {
			return nil // it is gone
		}
		if info, err := e.Info(); err == nil {
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return bytes
}

// TestServiceLastsForMonths lets a service live through what happens in 72 weeks, as fast as it goes: commits, rewritten
// branches, outages of the host, and restarts, every second one by SIGKILL. All of it is published, and nothing piles up.
func TestServiceLastsForMonths(t *testing.T) {
	commits, rewrites, outages, restarts := inFull(432, 30), inFull(24, 2), inFull(12, 2), inFull(72, 4)
	f := newFollowed(t)
	var settled weight
	young := commits / 3 // until then it is started anew again and again; then it grows old
	for i := range commits {
		if i < young && i%(young/restarts) == 1 {
			f.restart([]syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[i/2%2])
		}
		if i%(commits/rewrites) == 3 {
			f.rewritten(i)
		}
		f.note(fmt.Sprint("commit ", i))
		f.push()
		if i%(commits/outages) == 5 {
			f.outage()
		}
		if code := f.deliver(hookSecret); code != http.StatusAccepted {
			t.Fatalf("delivery: status %d", code)
		}
		f.follows(fmt.Sprintf("commit %d is published", i))
		if i == commits/2 {
			settled = f.weigh()
		}
	}
	var last weight
	eventually(t, "descriptors and goroutines are as few as before: they do not pile up", func() bool { // some are at work now and then
		last = f.weigh()
		return last.descriptors <= settled.descriptors+16 && last.goroutines <= settled.goroutines+16
	})
	t.Logf("settled %+v, last %+v", settled, last)
	const some = 1 << 20
	if last.memory > settled.memory*3/2+16*some {
		t.Error("memory piles up")
	}
	if last.packs > 100 || last.generations > 12 {
		t.Error("packs or generations pile up")
	}
	// The ledger's log is written into the ledger when it has 4 MiB.
	const wal = "ledger.db-wal"
	if last.private-last.parts[wal] > (settled.private-settled.parts[wal])*3/2+some || last.parts[wal] > 6*some || last.root > settled.root*3/2+some {
		t.Error("the disk fills up")
	}
	must(t, "verify", f.site, "--rev", "HEAD", "--root", f.root)
}

// restart ends the service and starts it again.
func (f *followed) restart(signal syscall.Signal) {
	f.t.Helper()
	f.end(signal)
	f.begin()
}

// rewritten sets the host's branch to something that does not descend from what is published, and back.
func (f *followed) rewritten(i int) {
	f.t.Helper()
	at := git(f.t, f.site, "rev-parse", "HEAD")
	told := strings.Count(f.service.log(), "is not taken")
	git(f.t, f.site, "reset", "-q", "--hard", "HEAD~1")
	f.note(fmt.Sprint("rewritten ", i))
	f.push()
	f.deliver(hookSecret)
	eventually(f.t, "a rewritten branch is refused", func() bool { return strings.Count(f.service.log(), "is not taken") > told })
	if f.published() != at {
		f.t.Errorf("a rewritten branch is published")
	}
	git(f.t, f.site, "reset", "-q", "--hard", at)
	f.push()
}

// outage takes the host down for a while.
func (f *followed) outage() {
	f.t.Helper()
	told, at := strings.Count(f.service.log(), "branch not fetched"), f.published()
	f.host.down.Store(true)
	f.host.CloseClientConnections()
	f.deliver(hookSecret)
	eventually(f.t, "the outage is told", func() bool { return strings.Count(f.service.log(), "branch not fetched") > told })
	if f.published() != at || get("http://"+f.serves+"/index") != 200 {
		f.t.Error("an outage changes what is served")
	}
	f.host.down.Store(false)
}

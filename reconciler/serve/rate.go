package serve

import (
	"net/netip"
	"sync"
	"time"
)

// How many reports are taken: a whole site that boots at once may, one FEC in a loop may not.
const (
	reportInterval  = time.Second / 5    // of one address, on average
	reportBurst     = 50                 // of one address, at once
	reportsInterval = time.Second / 1000 // of all, on average
	reportsBurst    = 20000              // of all, at once
	maxAddresses    = 20000              // that are remembered
)

// rate limits reports, per address and overall (the generic cell rate algorithm: for each address, the time until
// which it has used up its share). The zero value is ready. Safe for concurrent use.
type rate struct {
	mu   sync.Mutex
	all  time.Time
	each map[netip.Addr]time.Time
}

// allow counts one report. The machine itself is bounded only overall: a proxy speaks for many, and simulated FECs all
// live there.
func (r *rate) allow(from netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	each := now
	if !from.IsLoopback() {
		var ok bool
		if each, ok = spend(r.each[from], now, reportInterval, reportBurst); !ok {
			return false
		}
	}
	all, ok := spend(r.all, now, reportsInterval, reportsBurst)
	if !ok {
		return false
	}
	r.all = all
	r.remember(from, each, now)
	return true
}

func (r *rate) remember(from netip.Addr, used, now time.Time) {
	if !used.After(now) {
		return
	}
	if r.each == nil || len(r.each) >= maxAddresses {
		r.forget(now)
	}
	r.each[from] = used
}

// forget drops the addresses that have their whole share again, and if there are none, all: the overall limit holds.
func (r *rate) forget(now time.Time) {
	for from, used := range r.each {
		if !used.After(now) {
			delete(r.each, from)
		}
	}
	if r.each == nil || len(r.each) >= maxAddresses {
		r.each = map[netip.Addr]time.Time{}
	}
}

func spend(used, now time.Time, interval time.Duration, burst int) (time.Time, bool) {
	if used.Before(now) {
		used = now
	}
	used = used.Add(interval)
	return used, used.Sub(now) <= interval*time.Duration(burst)
}

package serve

import (
	"net/netip"
	"sync"
	"time"
)

// How many reports are taken: a whole site that boots at once may, one FEC in a loop may not.
const (
	addressInterval = time.Second / 5     // of one address, on average
	addressBurst    = 50                  // of one address, at once
	fecInterval     = time.Second         // of one FEC, on average
	fecBurst        = 30                  // of one FEC, at once
	reportsInterval = time.Second / 10000 // of all, on average
	reportsBurst    = 20000               // of all, at once
	maxSenders      = 20000               // that are remembered
)

// sender is whose share a report takes: an address, a FEC as that address names it, or a FEC that has proven who it is.
type sender struct {
	from netip.Addr
	fec  string
}

// nobody is whose share reports take of FECs that the tree does not have: whoever makes names up keeps nobody else out.
const nobody = "?"

// rate limits reports, for each sender and overall (the generic cell rate algorithm: for each, the time until which it has
// used up its share). The zero value is ready. Safe for concurrent use.
type rate struct {
	mu   sync.Mutex
	all  time.Time
	each map[sender]time.Time
}

// allow counts one report. Whoever has proven who it is takes nobody's share but its own, so that no flood of others keeps
// it out. This machine is limited for each FEC and overall: a proxy speaks for many, and simulated FECs all live there.
func (r *rate) allow(from netip.Addr, fec string, proven bool, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if proven {
		own := sender{fec: fec}
		used, ok := spend(r.each[own], now, fecInterval, fecBurst)
		if ok {
			r.remember(own, used, now)
		}
		return ok
	}
	address, named := sender{from: from}, sender{from, fec}
	used, ok := now, true
	if !from.IsLoopback() {
		used, ok = spend(r.each[address], now, addressInterval, addressBurst)
	}
	usedFEC, okFEC := spend(r.each[named], now, fecInterval, fecBurst)
	all, okAll := spend(r.all, now, reportsInterval, reportsBurst)
	if !ok || !okFEC || !okAll {
		return false
	}
	r.all = all
	r.remember(address, used, now)
	r.remember(named, usedFEC, now)
	return true
}

func (r *rate) remember(s sender, used, now time.Time) {
	if !used.After(now) {
		return
	}
	if r.each == nil || len(r.each) >= 2*maxSenders {
		r.forget(now)
	}
	r.each[s] = used
}

// forget drops the senders that have their whole share again, and if there are too few, all: the overall limit holds.
func (r *rate) forget(now time.Time) {
	for s, used := range r.each {
		if !used.After(now) {
			delete(r.each, s)
		}
	}
	if r.each == nil || len(r.each) >= maxSenders {
		r.each = map[sender]time.Time{}
	}
}

func spend(used, now time.Time, interval time.Duration, burst int) (time.Time, bool) {
	if used.Before(now) {
		used = now
	}
	used = used.Add(interval)
	return used, used.Sub(now) <= interval*time.Duration(burst)
}

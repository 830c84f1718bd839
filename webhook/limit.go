package webhook

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// How many deliveries are read. A forge that was heard before, or whose network was named, does not share with strangers, so
// that a flood of forged deliveries does not keep out genuine ones.
const (
	eachInterval     = time.Second / 5 // of one strange address, on average
	eachBurst        = 100             // of one strange address, at once
	strangerInterval = time.Second / 300
	strangerBurst    = 5000
	knownInterval    = time.Second / 1000
	knownBurst       = 20000
	maxAddresses     = 20000 // that are remembered
	maxKnown         = 1000
	knownFor         = 24 * time.Hour
)

// limits count deliveries before anything of them is read (the generic cell rate algorithm: the time until which somebody has
// used up a share). Safe for concurrent use.
type limits struct {
	mu        sync.Mutex
	senders   []netip.Prefix
	known     map[netip.Addr]time.Time // when it last sent something genuine
	each      map[netip.Addr]time.Time
	genuine   time.Time
	strangers time.Time
}

// allow counts one delivery, and says whether its sender is known.
func (l *limits) allow(from netip.Addr, now time.Time) (known, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isKnown(from, now) {
		l.genuine, ok = spend(l.genuine, now, knownInterval, knownBurst)
		return true, ok
	}
	each, ok := spend(l.each[from], now, eachInterval, eachBurst)
	if !ok {
		return false, false
	}
	l.strangers, ok = spend(l.strangers, now, strangerInterval, strangerBurst)
	if ok {
		l.remember(from, each, now)
	}
	return false, ok
}

// isKnown says whether a sender has a share beside strangers. This machine has: what comes from it comes through a proxy, which
// speaks for genuine senders too.
func (l *limits) isKnown(from netip.Addr, now time.Time) bool {
	if !from.IsValid() || from.IsLoopback() {
		return true
	}
	if at, ok := l.known[from]; ok && now.Sub(at) < knownFor {
		return true
	}
	return contains(l.senders, from)
}

// proved says that a delivery was genuine.
func (l *limits) proved(from netip.Addr, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.known[from]; !ok && len(l.known) >= maxKnown {
		l.known = nil // they prove themselves again
	}
	if l.known == nil {
		l.known = map[netip.Addr]time.Time{}
	}
	l.known[from] = now
	delete(l.each, from)
}

func (l *limits) remember(from netip.Addr, used, now time.Time) {
	if len(l.each) >= maxAddresses {
		for a, until := range l.each {
			if !until.After(now) {
				delete(l.each, a)
			}
		}
	}
	if l.each == nil || len(l.each) >= maxAddresses {
		l.each = map[netip.Addr]time.Time{} // the limit of all strangers holds
	}
	l.each[from] = used
}

// spend moves a share's time on by one delivery, unless it is used up. A clock that was set back starts it anew.
func spend(used, now time.Time, interval time.Duration, burst int) (time.Time, bool) {
	most := interval * time.Duration(burst)
	if used.Before(now) || used.Sub(now) > most {
		used = now
	}
	if used.Add(interval).Sub(now) > most {
		return used, false
	}
	return used.Add(interval), true
}

// sender is where a delivery comes from: behind proxies that are trusted, what the outermost of them saw. An IPv6 host has a
// whole network, which counts as one.
func sender(r *http.Request, proxies []netip.Prefix) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // a socket of this machine
	}
	from := at.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && contains(proxies, from); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		from = hop.Unmap().WithZone("")
	}
	if from.Is6() && !from.IsLoopback() {
		if p, err := from.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return from
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

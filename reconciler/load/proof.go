package load

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/load/wire"
	"github.com/pomona-gitops/pomona/reconciler/memo"
)

// Proof knows of which FECs an earlier check found nothing wrong, with the same value, and the same settings, software,
// configuration and names of files around them.
type Proof struct {
	of   *Loaded
	base string // names all that besides the values of FECs
	held map[*unit]bool
}

// soundEntry begins the keys of units whose FECs are sound.
const soundEntry = "fecs "

// Proof is what is known of the FECs of a site when it is loaded. Without settings nothing is.
func (l *Loaded) Proof() *Proof {
	p := &Proof{of: l, held: map[*unit]bool{}}
	if l.commit == nil {
		return p
	}
	if p.base = l.base(); p.base == "" {
		return p
	}
	for _, u := range l.units {
		_, recent := l.loader.sound.Get(p.base+u.key, l.pass)
		_, shelved := l.proofs[l.loader.version+soundEntry+p.base+u.key]
		if shelved && !recent {
			l.loader.sound.Put(p.base+u.key, struct{}{}, l.pass)
		}
		p.held[u] = recent || shelved
	}
	return p
}

// base names everything that checks of a FEC look at, besides the FEC; it is empty when some of that is broken.
func (l *Loaded) base() string {
	h := sha256.New()
	around := slices.SortedFunc(slices.Values(l.around), compareObjects)
	for _, o := range around {
		if o.section != wire.Settings && o.section != "software" && o.section != "configuration" {
			continue
		}
		sum, ok := l.owners[o].fragment.sums[o]
		if !ok {
			return ""
		}
		fmt.Fprintf(h, "%s %q %s\n", o.section, o.name, sum)
	}
	var line []byte
	for _, f := range l.commit.src.Files() {
		line = append(append(append(line[:0], f.Path...), 0), byte(f.Mode))
		h.Write(line) // never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:16]) + " "
}

// Holds says whether a FEC needs no check.
func (p *Proof) Holds(fec string) bool { return p.held[p.of.owners[object{"fecs", fec}]] }

// Extend takes the FECs in which a check has found nothing now. A folder is remembered when that goes for all of its
// FECs.
func (p *Proof) Extend(sound []string) {
	if p.base == "" {
		return
	}
	l := p.of
	found := map[*unit]int{}
	for _, fec := range sound {
		found[l.owners[object{"fecs", fec}]]++
	}
	fresh := memo.Entries{}
	for u, n := range found {
		if u == nil || u.key == "" || n < l.fecsOf(u) {
			continue
		}
		l.loader.sound.Put(p.base+u.key, struct{}{}, l.pass)
		fresh[l.loader.version+soundEntry+p.base+u.key] = nil
	}
	l.loader.sound.Sweep(l.pass)
	if len(fresh) <= recallAfter {
		return // to check them again costs less than a pack
	}
	if err := l.loader.shelf.Save(fresh, l.loader.used); err != nil {
		l.loader.options.Log.Warn("checked FECs not remembered", "err", err)
	}
}

// fecsOf is how many FECs a unit owns.
func (l *Loaded) fecsOf(u *unit) (n int) {
	for o := range u.fragment.values {
		if o.section == "fecs" && l.owners[o] == u {
			n++
		}
	}
	return n
}

// proofsOf are the entries about sound FECs.
func (m *recall) proofsOf() memo.Entries {
	out := memo.Entries{}
	for key := range m.stored {
		if strings.HasPrefix(key, m.version+soundEntry) {
			out[key] = nil
		}
	}
	return out
}

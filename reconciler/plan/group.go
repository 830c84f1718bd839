package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// group is FECs that change alike: one line for a version that hundreds of them get.
type group struct {
	what, why, needs string
	fecs             []FEC // by name
}

// order is that in which people want to read: what goes away first.
var order = []string{Removed, Changed, Added}

// grouped are the FECs of a plan, what goes away first, then the largest groups.
func grouped(fecs []FEC) []group {
	at := map[string]int{}
	var out []group
	for _, f := range fecs {
		g := group{what: f.What, why: strings.Join(f.Why(), ", "), needs: f.need()}
		key := g.what + "\x00" + g.why + "\x00" + g.needs
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, g)
		}
		out[i].fecs = append(out[i].fecs, f)
	}
	slices.SortStableFunc(out, func(a, b group) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.what), slices.Index(order, b.what)), cmp.Compare(len(b.fecs), len(a.fecs)))
	})
	return out
}

// need says for people what the FEC needs.
func (f FEC) need() string {
	switch {
	case f.What == Removed:
		return "no longer served: boots what it has installed"
	case f.Needs == Boot:
		return "first boot"
	case f.Needs == desired.Restart:
		return "restart " + strings.Join(f.Restart, ", ")
	case f.Needs == desired.Nothing:
		return "needs no restart"
	}
	return f.Needs
}

// download says what the FECs of the group download.
func (g group) download() string {
	if g.what == Removed {
		return ""
	}
	var all int64
	alike := true
	for _, f := range g.fecs {
		all += f.Bytes
		alike = alike && f.Bytes == g.fecs[0].Bytes
	}
	switch {
	case all == 0:
		return "nothing to download"
	case len(g.fecs) == 1:
		return "downloads " + size(all)
	case alike:
		return fmt.Sprintf("each downloads %s, %s in all", size(g.fecs[0].Bytes), size(all))
	}
	return fmt.Sprintf("download %s in all", size(all))
}

func (g group) names() []string {
	out := make([]string, len(g.fecs))
	for i, f := range g.fecs {
		out[i] = f.Name
	}
	return out
}

// groups counts the FECs of each group of the site.
func (g group) groups() map[string]int {
	n := map[string]int{}
	for _, f := range g.fecs {
		for _, name := range f.Groups {
			n[name]++
		}
	}
	return n
}

// memberships names groups of the site, the largest first: ring 150, linac 50.
func memberships(n map[string]int) string {
	names := sortedKeys(n)
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(n[b], n[a]) })
	for i, name := range names {
		if n[name] > 1 || len(names) > 1 {
			names[i] = fmt.Sprintf("%s %d", name, n[name])
		}
	}
	return desired.Few(names)
}

// size is a number of bytes for people, with three digits.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), -1
	for f >= 999.5 && unit < 4 {
		f, unit = f/1000, unit+1
	}
	digits := 0
	if f < 9.995 {
		digits = 2
	} else if f < 99.95 {
		digits = 1
	}
	return fmt.Sprintf("%.*f %cB", digits, f, "kMGTP"[unit])
}

package desired

import (
	"strconv"
	"strings"
	"time"
)

// Restarts say how running FECs get what was published for them.
type Restarts struct {
	Pace   Pace            `json:"pace,omitzero"`
	Order  []string        `json:"order,omitempty"` // groups
	Groups map[string]Pace `json:"groups,omitempty"`
}

// Pace says how many FECs are restarted at once, and what must come of it.
type Pace struct {
	Wave    string `json:"wave,omitempty"`    // a number or a percentage
	Success string `json:"success,omitempty"` // a percentage
	Errors  string `json:"errors,omitempty"`  // a number or a percentage
	Within  string `json:"within,omitempty"`
	Pause   string `json:"pause,omitempty"`
}

// For is the pace of a group, what it leaves out filled in.
func (r Restarts) For(group string) Pace {
	g := r.Groups[group]
	return Pace{
		Wave:    or(g.Wave, or(r.Pace.Wave, "10%")),
		Success: or(g.Success, or(r.Pace.Success, "100%")),
		Errors:  or(g.Errors, or(r.Pace.Errors, "1")),
		Within:  or(g.Within, or(r.Pace.Within, "15m")),
		Pause:   or(g.Pause, r.Pace.Pause),
	}
}

// Size is how many of n FECs make a wave, at least one.
func (p Pace) Size(n int) int { return max(1, portion(p.Wave, n)) }

// Enough is how many of a wave of n must run.
func (p Pace) Enough(n int) int { return (n*portion(p.Success, 100) + 99) / 100 }

// TooMany is how many failures among n FECs pause everything, at least one.
func (p Pace) TooMany(n int) int { return max(1, portion(p.Errors, n)) }

// Limit is how long a FEC may take until it runs.
func (p Pace) Limit() time.Duration { return mustDuration(p.Within) }

// Rest is how long to wait after a wave.
func (p Pace) Rest() time.Duration {
	if p.Pause == "" {
		return 0
	}
	return mustDuration(p.Pause)
}

// portion is a number, or so many hundredths of n, rounded down.
func portion(s string, n int) int {
	share, isShare := strings.CutSuffix(s, "%")
	of, err := strconv.Atoi(share)
	if err != nil {
		return 0 // the schema has said what is wrong with it
	}
	if isShare {
		return n * of / 100
	}
	return of
}

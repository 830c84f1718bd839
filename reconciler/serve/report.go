package serve

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Report is what a boot client says about its FEC. Unless it is proven, anybody can have sent it: it is shown, and decides
// nothing.
type Report struct {
	FEC     string // nomenclature
	Serial  int64  // of the manifest that it is about, minutes since 1970; 0 if the client has none
	State   State
	Slot    string    // of the unpacked release, or empty
	Detail  string    // one line for people, printable, at most maxDetail bytes
	Client  string    // version of the boot client, or empty
	Preview int       // pull request whose preview it is about; 0: it is about what is published
	Dev     string    // software that pomona dev has put there: "NAME VERSION", separated by commas
	Proven  bool      // only who has the FEC's token can have sent it
	Clock   time.Time // of the FEC; zero unless it used a token
	From    netip.Addr
	At      time.Time
}

// State is how far a boot got.
type State string

// The states of a boot.
const (
	Fetching   State = "fetching"
	Installed  State = "installed"
	Running    State = "running" // the init scripts succeeded
	Fallback   State = "fallback"
	InitFailed State = "init-failed"
	Failed     State = "failed"
)

const (
	maxReport = 2 << 10 // bytes of a body or a query
	maxDetail = 512
)

var (
	fecName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}[a-z0-9]$`) // schema/names.cue, #Nomenclature
	token   = regexp.MustCompile(`^[A-Za-z0-9._+-]{0,64}$`)
)

// parseReport reads a form. Unknown fields are ignored, so that a newer client can talk to an older server.
func parseReport(form string) (Report, error) {
	if len(form) > maxReport {
		return Report{}, errors.New("report too long")
	}
	v, err := url.ParseQuery(form)
	if err != nil {
		return Report{}, errors.New("malformed form")
	}
	for _, key := range []string{"fec", "serial", "state", "slot", "detail", "client", "preview", "dev", "at", "mac"} {
		if len(v[key]) > 1 {
			return Report{}, fmt.Errorf("more than one %s", key)
		}
	}
	r := Report{FEC: v.Get("fec"), State: State(v.Get("state")), Slot: v.Get("slot"), Detail: printable(v.Get("detail")), Client: v.Get("client"), Dev: printable(v.Get("dev"))}
	if r.Serial, err = parseSerial(v.Get("serial")); err != nil {
		return Report{}, err
	}
	if r.Preview, err = parsePreview(v.Get("preview")); err != nil {
		return Report{}, err
	}
	if v.Has("mac") {
		if r.Clock, err = parseClock(v.Get("at")); err != nil {
			return Report{}, err
		}
	}
	return r, r.check()
}

func (r Report) check() error {
	switch {
	case !fecName.MatchString(r.FEC):
		return fmt.Errorf("malformed fec %q", r.FEC)
	case !r.State.known():
		return fmt.Errorf("unknown state %q", r.State)
	case !token.MatchString(r.Slot):
		return fmt.Errorf("malformed slot %q", r.Slot)
	case !token.MatchString(r.Client):
		return fmt.Errorf("malformed client %q", r.Client)
	}
	return nil
}

func (s State) known() bool {
	switch s {
	case Fetching, Installed, Running, Fallback, InitFailed, Failed:
		return true
	}
	return false
}

func parseSerial(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > tree.MaxMinutes {
		return 0, fmt.Errorf("malformed serial %q", s)
	}
	return n, nil
}

func parsePreview(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("malformed preview %q", s)
	}
	return int(n), nil
}

// parseClock reads seconds since 1970.
func parseClock(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || n > 60*tree.MaxMinutes {
		return time.Time{}, fmt.Errorf("malformed at %q", s)
	}
	return time.Unix(n, 0).UTC(), nil
}

// printable makes one line of s that no terminal and no page acts upon.
func printable(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case !unicode.IsPrint(c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "")
	}
	return strings.TrimSpace(s)
}

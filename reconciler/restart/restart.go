// Package restart asks FECs over ssh what they run, and has them restart or reboot: whatever pomona-fec answers there. It decides
// nothing.
package restart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// Shell runs a command on a host, as remote.SSH does.
type Shell interface {
	Run(ctx context.Context, h remote.Host, command string, in io.Reader, out io.Writer) error
}

// Status is what a FEC answers of itself.
type Status struct {
	FEC     string // that it says to be; empty before its first boot
	Preview int    // pull request whose preview it boots; 0: what is published
	State   string // a word of the report protocol; empty: its boot client has said nothing yet
	Serial  int64
	Slot    string
	Detail  string
	Asked   string // "restart SERIAL" or "reboot SERIAL", asked for since its boot; empty for none
	Boot    string // id of this run of its kernel
	Inhibit string // why it wants neither; empty: it may be restarted
	Dev     string // "NAME VERSION", separated by commas, of what pomona dev has put there
}

// Inhibited says that a FEC does not want to be restarted now.
type Inhibited struct{ Why string }

// Error says why.
func (e *Inhibited) Error() string { return "inhibited: " + e.Why }

const mostAnswered = 64 << 10 // bytes of a status

// longest is how long a FEC may take to answer, however much it says meanwhile: it keeps others waiting.
const longest = 2 * time.Minute

var errSlow = fmt.Errorf("it has not answered within %s", longest)

var errLong = errors.New("it answers too much")

// StatusOf asks a FEC what it runs.
func StatusOf(ctx context.Context, sh Shell, h remote.Host) (Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, longest, errSlow)
	defer cancel()
	out := bounded{left: mostAnswered}
	if err := sh.Run(ctx, h, "pomona-fec status", nil, &out); err != nil {
		return Status{}, explained(err)
	}
	s, err := parse(out.String())
	if err != nil {
		return s, fmt.Errorf("%s: %w", h, err)
	}
	if s.FEC != "" && s.FEC != h.Name {
		return s, fmt.Errorf("%s: it says that it is %s", h, s.FEC)
	}
	return s, nil
}

// Order has a FEC restart or reboot. It has accepted when there is no error, and does it then; *Inhibited says that it does not want to.
func Order(ctx context.Context, sh Shell, h remote.Host, r observed.Rollout) error {
	command := "pomona-fec " + Ordered(r)
	if r.Need == desired.Restart {
		command += " " + r.Software
	}
	ctx, cancel := context.WithTimeoutCause(ctx, longest, errSlow)
	defer cancel()
	out := bounded{left: mostAnswered}
	err := sh.Run(ctx, h, command, nil, &out)
	var exit *remote.ExitError
	if errors.As(err, &exit) {
		if _, why, ok := strings.Cut(exit.Said, "inhibited: "); ok {
			return &Inhibited{why}
		}
	}
	if err != nil {
		return explained(err)
	}
	if got := strings.TrimSpace(out.String()); got != "accepted" {
		return fmt.Errorf("%s: want the answer accepted, got %.40q", h, got)
	}
	return nil
}

// Ordered is what a FEC says to have been asked for, once it has accepted a rollout.
func Ordered(r observed.Rollout) string { return r.Need + " " + strconv.FormatInt(r.Wanted, 10) }

// explained says what to do about a FEC that does not know pomona-fec.
func explained(err error) error {
	var exit *remote.ExitError
	if errors.As(err, &exit) && (exit.Status == 126 || exit.Status == 127) {
		return fmt.Errorf("%w (is pomona-fec in its image, and does authorized_keys allow this command?)", err)
	}
	return err
}

// parse reads an answer to status. Lines that it does not know are another version's.
func parse(answer string) (s Status, err error) {
	lines := strings.Split(strings.TrimSuffix(answer, "\n"), "\n")
	if lines[0] != "pomona-fec 1" || lines[len(lines)-1] != "end" {
		return s, fmt.Errorf("want an answer of pomona-fec, got %.40q", answer)
	}
	var dev []string
	for _, line := range lines[1 : len(lines)-1] {
		word, rest, _ := strings.Cut(printable(line), " ")
		switch word {
		case "fec":
			s.FEC = rest
		case "preview":
			s.Preview, err = strconv.Atoi(rest)
		case "state":
			words := append(strings.SplitN(rest, " ", 4), "", "", "")
			s.State, s.Slot, s.Detail = words[0], words[2], strings.TrimSpace(words[3])
			s.Serial, err = strconv.ParseInt(words[1], 10, 64)
		case "asked":
			s.Asked = rest
		case "boot":
			s.Boot = rest
		case "inhibit":
			s.Inhibit = rest
		case "dev":
			dev = append(dev, rest)
		}
		if err != nil {
			return Status{}, fmt.Errorf("malformed answer of pomona-fec: %.100q", line)
		}
	}
	s.Dev = strings.Join(dev, ",")
	return s, nil
}

// printable is a line of a FEC without what a terminal takes for an order, cut at 500 bytes.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return s[:min(len(s), 500)]
}

// bounded takes so many bytes, and no more.
type bounded struct {
	b    bytes.Buffer
	left int
}

func (b *bounded) String() string { return b.b.String() }

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errLong
	}
	return b.b.Write(p)
}

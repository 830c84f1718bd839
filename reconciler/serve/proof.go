package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Proofs say which reports are believed. The zero value believes none, and takes all.
type Proofs struct {
	// TokenFile holds a line for each FEC: its name and its token; it is read again when it changes. Several lines of one FEC
	// all count, so that a token can be replaced.
	TokenFile string
	// Require refuses what is not believed.
	Require bool
	// Clocks are those of the last believed report of each FEC, as far as they are known. Of others nothing is believed that is
	// older than Since: it may have come before.
	Clocks map[string]time.Time
	Since  time.Time
}

const (
	maxTokenFile = 16 << 20 // bytes
	// maxSkew is how far a FEC's clock may be off: beyond it, what was recorded could come again when nobody remembers it.
	maxSkew = 24 * time.Hour
	// recheck is how often a file of tokens is looked at.
	recheck = time.Second
)

// errRepeated says that a report has come already.
var errRepeated = errors.New("it has come already")

// proofs is Proofs at work.
type proofs struct {
	Proofs
	log *slog.Logger

	mu      sync.Mutex
	clocks  map[string]time.Time
	last    map[string]string // FEC to the code of its last believed form
	tokens  map[string][]tree.Token
	looked  time.Time
	info    fs.FileInfo
	trouble trouble
}

func newProofs(p Proofs, log *slog.Logger) *proofs {
	clocks := maps.Clone(p.Clocks)
	if clocks == nil {
		clocks = map[string]time.Time{}
	}
	return &proofs{Proofs: p, log: log, clocks: clocks, last: map[string]string{}}
}

// check says why a report is not believed; nil: it is, provided that accept says so too. It is errRepeated for what a client
// sends twice because the first answer was lost.
func (p *proofs) check(form string, r Report, now time.Time) error {
	if p.TokenFile == "" {
		return errors.New("this service has no tokens of FECs")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read(now)
	tokens := p.tokens[r.FEC]
	switch {
	case len(tokens) == 0:
		return errors.New("the FEC has no token here")
	case r.Clock.IsZero():
		return errors.New("no token was used")
	}
	good := false
	for _, t := range tokens {
		good = t.Proves(form) || good
	}
	skew := r.Clock.Sub(now)
	switch last := p.clocks[r.FEC]; {
	case !good:
		return errors.New("another token was used")
	case codeOf(form) == p.last[r.FEC]:
		return errRepeated
	case skew.Abs() > maxSkew:
		return fmt.Errorf("the FEC's clock is off by %s", skew.Round(time.Second))
	case last.IsZero() && r.Clock.Before(p.Since):
		return fmt.Errorf("it may be a replay: its time is %s, and what came before %s is not known", r.Clock.Format(time.DateTime), p.Since.UTC().Format(time.DateTime))
	case !r.Clock.After(last):
		return fmt.Errorf("it may be a replay: its time is %s, the last one's was %s", r.Clock.Format(time.DateTime), last.Format(time.DateTime))
	}
	return nil
}

// accept notes that a report, which was checked, is believed: no other of its time or before will be. False: one was meanwhile.
func (p *proofs) accept(form string, r Report) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.Clock.After(p.clocks[r.FEC]) {
		return false
	}
	p.clocks[r.FEC], p.last[r.FEC] = r.Clock, codeOf(form)
	return true
}

// codeOf is the code of a form that a token has proven, a copy that does not keep the form.
func codeOf(form string) string { return strings.Clone(form[len(form)-64:]) }

// read reads the tokens if their file has changed. While it cannot be read, those that were read last count.
func (p *proofs) read(now time.Time) {
	if now.Sub(p.looked).Abs() < recheck {
		return
	}
	p.looked = now
	info, err := os.Stat(p.TokenFile)
	if err == nil && p.info != nil && os.SameFile(info, p.info) && info.ModTime().Equal(p.info.ModTime()) && info.Size() == p.info.Size() && info.Mode() == p.info.Mode() {
		return
	}
	tokens, bad, err := readFECTokens(p.TokenFile)
	if err == nil {
		p.info, p.tokens = info, tokens
		err = bad
	}
	p.trouble.tell(p.log, "read tokens of FECs", err)
}

// TokenHolders are the FECs that a file of tokens has a line of; none without a file.
func TokenHolders(file string) (map[string]bool, error) {
	if file == "" {
		return nil, nil
	}
	tokens, bad, err := readFECTokens(file)
	holders := map[string]bool{}
	for fec := range tokens {
		holders[fec] = true
	}
	return holders, errors.Join(err, bad) // a malformed line may be anybody's
}

// readFECTokens reads a file of tokens. A malformed line, which bad tells of, keeps no other from counting.
func readFECTokens(file string) (tokens map[string][]tree.Token, bad, err error) {
	b, err := readSecrets(file, maxTokenFile)
	if err != nil {
		return nil, nil, err
	}
	tokens = map[string][]tree.Token{}
	number := 0
	for line := range bytes.Lines(b) {
		number++
		words := bytes.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		t, err := tree.Token(""), errors.New("want a FEC and its token")
		if len(words) == 2 && fecName.Match(words[0]) {
			t, err = tree.ParseToken(string(words[1]))
		}
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("%s:%d: %w", file, number, err))
			continue
		}
		tokens[string(words[0])] = append(tokens[string(words[0])], t)
	}
	return tokens, bad, nil
}

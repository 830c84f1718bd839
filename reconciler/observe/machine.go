package observe

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// MachineSource is where a machine says whether changes must wait, for instance because beam is on.
type MachineSource struct {
	Name   string
	Scope  string // what it holds: site, fecs.NAME, groups.NAME, campaigns, campaigns.NAME or campaigns.NAME/STAGE
	Reason string
	File   string   // one of the two says it
	URL    string   // http or https
	Field  string   // the answer is JSON, and this is where the word stands in it, for instance beam.state; empty: all of it is the word
	On     []string // words that hold, in any case of letters; default on, true, 1, yes
	Off    []string // words that free; default off, false, 0, no
	Open   bool     // an answer that cannot be read, or is another word, frees; else it holds
}

// Limits of what a machine says.
const (
	machineTime = 5 * time.Second
	maxMachine  = 64 << 10 // bytes
)

// Machines asks all of some machines at once. That one cannot be asked is no error: its State says why.
func Machines(ctx context.Context, sources []MachineSource) []observed.Machine {
	out := make([]observed.Machine, len(sources))
	var wg sync.WaitGroup
	for i, s := range sources {
		wg.Go(func() { out[i] = s.ask(ctx) })
	}
	wg.Wait()
	return out
}

func (s MachineSource) ask(ctx context.Context) observed.Machine {
	m := observed.Machine{Name: s.Name, Scope: s.Scope, Reason: s.Reason, Hold: !s.Open}
	word, err := s.word(ctx)
	in := func(words []string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, word) })
	}
	switch {
	case err != nil:
		m.State = "its state is not known: " + err.Error()
	case in(orDefault(s.On, "on", "true", "1", "yes")):
		m.Hold, m.State = true, "it says "+word
	case in(orDefault(s.Off, "off", "false", "0", "no")):
		m.Hold, m.State = false, "it says "+word
	default:
		m.State = fmt.Sprintf("it says %.40q, which nobody has explained", word)
	}
	return m
}

func orDefault(words []string, otherwise ...string) []string {
	if len(words) == 0 {
		return otherwise
	}
	return words
}

func (s MachineSource) word(ctx context.Context) (string, error) {
	b, err := s.read(ctx)
	if err != nil {
		return "", err
	}
	if s.Field == "" {
		return strings.TrimSpace(string(b)), nil
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return "", fmt.Errorf("read its answer: %w", err)
	}
	for name := range strings.SplitSeq(s.Field, ".") {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	switch v.(type) {
	case string, bool, float64:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("its answer has no %s", s.Field)
}

func (s MachineSource) read(ctx context.Context) ([]byte, error) {
	if s.File != "" {
		// What is no regular file could keep a reader waiting for ever.
		if info, err := os.Stat(s.File); err != nil {
			return nil, err
		} else if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no regular file", s.File)
		}
		f, err := os.Open(s.File)
		if err != nil {
			return nil, err
		}
		defer f.Close() // only read
		return readFew(f)
	}
	ctx, stop := context.WithTimeout(ctx, machineTime)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, http.NoBody)
	if err != nil {
		return nil, err
	}
	client := newClient()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // read as far as needed
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", cmp.Or(req.URL.Host, s.URL), resp.Status)
	}
	return readFew(resp.Body)
}

func readFew(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxMachine+1))
	if err == nil && len(b) > maxMachine {
		err = fmt.Errorf("it says more than %d bytes", maxMachine)
	}
	return b, err
}

package observe

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// ServiceSource says how to see whether a service is well that campaigns need.
type ServiceSource struct {
	Name    string
	URL     string   // one of the two says it: an address that answers 200
	Command []string // or a program and its arguments that exits 0
}

// serviceTime is how long a service may take to answer.
const serviceTime = 30 * time.Second

// Sample asks a service. That it does not answer is no error: Why says so.
func (s ServiceSource) Sample(ctx context.Context, now time.Time) observed.Service {
	out := observed.Service{Name: s.Name, At: now}
	ctx, stop := context.WithTimeout(ctx, serviceTime)
	defer stop()
	ask := s.get
	if len(s.Command) > 0 {
		ask = s.run
	}
	if err := ask(ctx); err != nil {
		out.Why = observed.Printable(err.Error())
	} else {
		out.Well = true
	}
	return out
}

func (s ServiceSource) get(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, http.NoBody)
	if err != nil {
		return err
	}
	client := newClient()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // only its status counts
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", req.URL.Host, resp.Status)
	}
	return nil
}

// most is how much of what a command says is shown.
const mostSaid = 200

func (s ServiceSource) run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.Command[0], s.Command[1:]...)
	cmd.WaitDelay = time.Second // what it has started may keep its output open
	said := &limited{left: 64 << 10}
	cmd.Stdout, cmd.Stderr = said, said
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%s does not end within %s", s.Command[0], serviceTime)
	}
	if lines := strings.TrimSpace(said.String()); err != nil && lines != "" {
		_, last, _ := strings.Cut("\n"+lines[max(0, len(lines)-mostSaid):], "\n")
		err = fmt.Errorf("%s: %w: %s", s.Command[0], err, last)
	}
	return err
}

// limited keeps the beginning of what is written, and says whether more was.
type limited struct {
	bytes.Buffer
	left int
	cut  bool
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	l.cut = l.cut || n < len(b)
	l.Buffer.Write(b[:n])
	return len(b), nil
}

package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// ErrNoService says that no service of this root listens for operators.
var ErrNoService = errors.New("no pomona serves this root: start pomona serve")

// ErrUnknown says that a service does not do what an operator asks for: its configuration does not say so.
var ErrUnknown = errors.New("the service does not do that")

const controlSocket = "control"

// Answer is what a service tells an operator.
type Answer struct {
	Text   string          `json:"text"`            // for people
	Report json.RawMessage `json:"report"`          // for programs
	Code   int             `json:"code"`            // exit code of a command that shows this
	Error  string          `json:"error,omitempty"` // why it was not done
}

// ListenControl opens the socket by which operators talk to the one service of a root. Whoever may enter the private part of
// the root may use it: nobody but its owner.
func ListenControl(root *os.Root) (net.Listener, error) {
	dir, address, err := control(root)
	if err != nil {
		return nil, err
	}
	defer dir.Close() // only used as a path
	// The caller holds the service's lock: a socket that is there belongs to nobody any more.
	if err := root.Remove(durable.Private + "/" + controlSocket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old control socket: %w", err)
	}
	l, err := net.Listen("unix", address)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	// Its address is gone with dir; the next service removes it.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l, root.Chmod(durable.Private+"/"+controlSocket, 0o600)
}

// control is the socket's address by way of an open folder: the path of a socket may have no more than 107 bytes.
func control(root *os.Root) (*os.File, string, error) {
	dir, err := root.Open(durable.Private)
	if err != nil {
		return nil, "", fmt.Errorf("open private part of root: %w", err)
	}
	return dir, fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), controlSocket), nil
}

// maxRequest is more than what an operator asks for, in bytes.
const maxRequest = 1 << 20

// Control answers operators: POST /NAME does what that name stands for, with what was sent.
func Control(does map[string]func(context.Context, json.RawMessage) Answer) http.Handler {
	mux := http.NewServeMux()
	for name, do := range does {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(do(r.Context(), request)) // whoever asked may have gone
		})
	}
	return mux
}

// Ask has the service of a root do what a name stands for, and waits for its answer.
func Ask(ctx context.Context, root *os.Root, what string, request any) (Answer, error) {
	var a Answer
	sent, err := json.Marshal(request)
	if err != nil {
		return a, fmt.Errorf("%s: %w", what, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dir, address, err := control(root)
		if err != nil {
			return nil, err
		}
		defer dir.Close() // only used as a path
		c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", address)
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
			return nil, ErrNoService
		case err != nil:
			return nil, fmt.Errorf("%w (%w)", ErrNoService, err)
		}
		return c, nil
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://pomona/"+what, bytes.NewReader(sent))
	if err != nil {
		return a, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, fmt.Errorf("%s: %w", what, errors.Unwrap(err))
	}
	defer resp.Body.Close() // read whole or reported below
	if resp.StatusCode == http.StatusNotFound {
		return a, fmt.Errorf("%s: %w", what, ErrUnknown)
	}
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("%s: the service answers %s", what, resp.Status)
	}
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		return a, fmt.Errorf("%s: read answer: %w", what, err)
	}
	return a, nil
}

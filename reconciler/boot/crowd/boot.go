package crowd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Boot reboots the FEC and waits until it runs or not. It never gives up on a server while nothing is installed, as long as ctx lasts.
func (f *FEC) Boot(ctx context.Context) Status {
	f.mu.Lock()
	f.status.Boots++
	f.dev, f.asked = map[string]Dev{}, ""
	f.mu.Unlock()
	return f.start(ctx)
}

// start installs what is published and starts it.
func (f *FEC) start(ctx context.Context) Status {
	f.booting.Lock()
	defer f.booting.Unlock()
	select {
	case f.crowd.boots <- struct{}{}:
		defer func() { <-f.crowd.boots }()
	case <-ctx.Done():
		return f.Status()
	}
	client := f.crowd.client()
	defer client.CloseIdleConnections()
	detail := f.install(ctx, client)
	if ctx.Err() != nil {
		return f.Status()
	}
	f.mu.Lock()
	f.status.Starts++
	serial := f.installed.Serial
	f.mu.Unlock()
	sleep(ctx, f.crowd.settings.Scripts)
	switch {
	case serial == 0:
		f.report(ctx, client, f.about("failed", detail))
	case f.fails():
		f.report(ctx, client, f.about("init-failed", "50-start failed with status 1"))
	case detail != "":
		f.report(ctx, client, f.about("fallback", detail))
	default:
		f.report(ctx, client, f.about("running", ""))
	}
	return f.Status()
}

// install fetches what is published, unless it is installed. With a release installed a server that fails is the reason to start that.
func (f *FEC) install(ctx context.Context, client *http.Client) (detail string) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := f.deliver(ctx, client)
		if err == nil {
			return ""
		}
		f.mu.Lock()
		installed := f.body != nil
		f.mu.Unlock()
		if installed || ctx.Err() != nil || errors.Is(err, errRefused) {
			return err.Error()
		}
		sleep(ctx, wait)
	}
}

// errRefused is of a manifest that no other try would make better.
var errRefused = errors.New("manifest refused")

func (f *FEC) deliver(ctx context.Context, client *http.Client) error {
	body, err := f.get(ctx, client, "/fecs/"+f.Name+"/"+tree.ManifestName)
	if err != nil {
		return fmt.Errorf("no manifest: %w", err)
	}
	if f.has(body) {
		return nil
	}
	m, err := f.accept(body)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	f.report(ctx, client, Status{State: "fetching", Serial: m.Serial})
	for _, o := range m.Objects() {
		err := f.crowd.objects.once(o.Digest, func() error { return f.fetch(ctx, client, o) })
		if err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.installed, f.body = m, body
	f.installs++
	f.slot = fmt.Sprintf("%d-%s", m.Serial, artifact.Sum(body).String()[:8])
	f.mu.Unlock()
	f.report(ctx, client, f.about("installed", ""))
	return nil
}

// has says whether a manifest is the installed one.
func (f *FEC) has(body []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.body != nil && bytes.Equal(body, f.body)
}

// about is a state of what is installed.
func (f *FEC) about(state, detail string) Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Status{State: state, Serial: f.installed.Serial, Slot: f.slot, Detail: detail}
}

// accept reads a manifest as the boot client would.
func (f *FEC) accept(body []byte) (tree.Manifest, error) {
	m, sigs, signed, err := tree.ParseManifest(body)
	if err != nil {
		return m, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case len(f.crowd.settings.Keys) > 0 && !tree.Verify(signed, sigs, f.crowd.settings.Keys):
		err = errors.New("no key has signed it as it is")
	case m.FEC != f.Name:
		err = fmt.Errorf("it is for %s, not %s", m.FEC, f.Name)
	case m.Serial < f.installed.Serial:
		err = fmt.Errorf("replay: serial %d is older than %d", m.Serial, f.installed.Serial)
	}
	return m, err
}

func (f *FEC) fetch(ctx context.Context, client *http.Client, o tree.Object) error {
	r, err := f.open(ctx, client, "/objects/"+o.Digest.Path())
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, o.Size+1))
	if err == nil && (n != o.Size || artifact.Digest(h.Sum(nil)) != o.Digest) {
		err = errors.New("corrupt")
	}
	if err != nil {
		return fmt.Errorf("fetch object %s: %w", o.Digest, err)
	}
	return nil
}

func (f *FEC) get(ctx context.Context, client *http.Client, path string) ([]byte, error) {
	r, err := f.open(ctx, client, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, 1<<20))
}

func (f *FEC) open(ctx context.Context, client *http.Client, path string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.crowd.settings.Server+path, nil)
	if err != nil {
		return nil, err
	}
	got, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if got.StatusCode != http.StatusOK {
		got.Body.Close()
		return nil, fmt.Errorf("get %s: %s", path, got.Status)
	}
	return got.Body, nil
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

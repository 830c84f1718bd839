// Package crowd simulates many front-end computers (FECs) in one process. Each boots from a served tree as the boot client does, reports how
// far it got, and answers over ssh as pomona-fec does; but nothing is unpacked and no script runs. Thousands need neither processes nor disk.
// Which of them fail is a matter of a seed, so that two runs with the same one are alike.
package crowd

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Settings are what all FECs of a crowd have in common. The zero value but for Server is of use.
type Settings struct {
	Server     string            // address of the served tree, http://HOST:PORT
	Keys       []tree.PublicKey  // that sign manifests; none: nothing is verified
	Tokens     map[string]string // by FEC: 128 hex digits; a FEC without one reports unauthenticated
	Failing    float64           // share, 0 to 1, of releases whose init scripts fail: of each FEC others
	Seed       uint64
	Scripts    time.Duration // how long the init scripts of a boot take
	Width      int           // boots at once; 0: 64
	Off        bool          // a FEC answers over ssh only once it has begun to boot
	Authorized []byte        // public keys that may log in over ssh, like a file authorized_keys; none: nobody may
}

// Crowd is many FECs. It is safe for concurrent use, and so are its FECs.
type Crowd struct {
	settings   Settings
	fecs       []*FEC
	names      map[string]*FEC
	boots      chan struct{} // has room for each boot at once
	objects    objects
	requests   atomic.Int64
	authorized map[string]bool // wire form of public keys
	ctx        context.Context // of what goes on in the background
	stop       context.CancelFunc
	background sync.WaitGroup
}

// New makes FECs of the given names. They do nothing yet. Close ends them.
func New(s Settings, names []string) (*Crowd, error) {
	if s.Width == 0 {
		s.Width = 64
	}
	c := &Crowd{settings: s, names: make(map[string]*FEC, len(names)), boots: make(chan struct{}, s.Width), authorized: map[string]bool{}}
	for rest := s.Authorized; len(rest) > 0; {
		key, _, _, more, err := ssh.ParseAuthorizedKey(rest)
		if err != nil {
			return nil, fmt.Errorf("read authorized keys: %w", err)
		}
		c.authorized[string(key.Marshal())], rest = true, more
	}
	for i, name := range names {
		if _, twice := c.names[name]; twice {
			return nil, fmt.Errorf("make crowd: FEC %s twice", name)
		}
		f, err := newFEC(c, i, name)
		if err != nil {
			return nil, fmt.Errorf("make FEC %s: %w", name, err)
		}
		c.fecs, c.names[name] = append(c.fecs, f), f
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Close ends the ssh servers and whatever boots, and waits for them.
func (c *Crowd) Close() {
	c.stop()
	for _, f := range c.fecs {
		f.hangUp()
	}
	c.background.Wait()
}

// FECs are all of them, in the order of the names given.
func (c *Crowd) FECs() []*FEC { return c.fecs }

// FEC is the one of that name, or nil.
func (c *Crowd) FEC(name string) *FEC { return c.names[name] }

// Requests counts what the crowd has asked of its server, reports included.
func (c *Crowd) Requests() int64 { return c.requests.Load() }

// Boot boots all FECs, Width at a time, and tells seen of each that has booted, one at a time. Only a context that ends ends it early.
func (c *Crowd) Boot(ctx context.Context, seen func(*FEC, Status)) error {
	var one sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.settings.Width)
	for _, f := range c.fecs {
		g.Go(func() error {
			status := f.Boot(ctx)
			if seen != nil {
				one.Lock()
				defer one.Unlock()
				seen(f, status)
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// Listen starts the ssh servers of all FECs, each on a free port of loopback.
func (c *Crowd) Listen() error {
	for _, f := range c.fecs {
		if err := f.Listen("127.0.0.1:0"); err != nil {
			return err
		}
	}
	return nil
}

// do runs something in the background until it returns; Close waits for it.
func (c *Crowd) do(what func(ctx context.Context)) {
	if c.ctx.Err() != nil {
		return
	}
	c.background.Go(func() { what(c.ctx) })
}

// client makes requests of one FEC, over connections of its own.
func (c *Crowd) client() *http.Client {
	return &http.Client{Transport: counted{&http.Transport{DisableCompression: true}, &c.requests}, Timeout: time.Minute}
}

type counted struct {
	http.RoundTripper
	n *atomic.Int64
}

func (t counted) RoundTrip(r *http.Request) (*http.Response, error) {
	t.n.Add(1)
	return t.RoundTripper.RoundTrip(r)
}

// objects are those that the crowd has fetched: each once for all FECs.
type objects struct {
	mu   sync.Mutex
	each map[artifact.Digest]*object
}

type object struct {
	mu   sync.Mutex
	have bool
}

// once fetches an object that nobody has fetched yet.
func (o *objects) once(d artifact.Digest, fetch func() error) error {
	o.mu.Lock()
	if o.each == nil {
		o.each = map[artifact.Digest]*object{}
	}
	one := o.each[d]
	if one == nil {
		one = &object{}
		o.each[d] = one
	}
	o.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.have {
		return nil
	}
	err := fetch()
	one.have = err == nil
	return err
}

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/boot/crowd"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// crowdDemo is a demo with many FECs, which are simulated in this process.
type crowdDemo struct {
	demo
	n       int
	failing float64 // share of FECs whose init scripts fail
	crowd   *crowd.Crowd
	address string // of the served tree
	admin   string
}

// readShare reads a share: "5%" or "0.05".
func readShare(s string) (float64, error) {
	number, percent := strings.CutSuffix(s, "%")
	share, err := strconv.ParseFloat(number, 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share >= 0 && share <= 1) {
		return 0, fmt.Errorf("malformed share %q: want for instance 5%%", s)
	}
	return share, nil
}

func (d *crowdDemo) run(ctx context.Context, once bool) error {
	if err := d.prepare(); err != nil {
		return err
	}
	defer d.crowd.Close()
	log, err := os.OpenFile(d.path("service.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // for people
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serveConfig(ctx, d.path("pomona.cue"), false, log) })
	g.Go(func() error {
		defer stop()
		return d.boot(ctx, once)
	})
	return g.Wait()
}

// prepare makes the folder with everything that the service of a site has, and the crowd.
func (d *crowdDemo) prepare() (err error) {
	if d.dir == "" {
		if d.dir, err = os.MkdirTemp("", "pomona-demo-"); err != nil {
			return err
		}
	}
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	if there, err := os.ReadDir(d.dir); err != nil || len(there) > 0 {
		return errors.Join(err, fmt.Errorf("%q is not empty: with --fecs a demo starts anew", d.dir))
	}
	taken, err := listenNear(d.listen) // held until the crowd listens, for that takes many ports
	if err != nil {
		return err
	}
	defer taken.Close() // nobody was answered
	d.address = taken.Addr().String()
	if d.admin, err = freeNear("127.0.0.1:8081"); err != nil {
		return err
	}
	if d.pages, err = freeNear("127.0.0.1:8082"); err != nil {
		return err
	}
	key, err := keygen(d.path("key"))
	if err != nil {
		return err
	}
	login, err := loginKey(d.path("ssh-key"))
	if err != nil {
		return err
	}
	names := crateNames(d.n)
	tokens, err := d.tokens(names)
	if err != nil {
		return err
	}
	d.crowd, err = crowd.New(crowd.Settings{
		Server: "http://" + d.address, Keys: []tree.PublicKey{key.Public()}, Tokens: tokens, Failing: d.failing, Seed: 1, Off: true, Authorized: login,
	}, names)
	if err != nil {
		return err
	}
	if err = d.crowd.Listen(); err == nil {
		err = d.makeSite()
	}
	if err != nil {
		d.crowd.Close()
	}
	return err
}

func (d *crowdDemo) makeSite() error {
	c, err := crowdSite(d.path("site"), "http://"+d.address, d.crowd.FECs())
	if err != nil {
		return err
	}
	d.say("1. Made a site with %d FECs, a git repository of CUE files, in %s: commit %s.", d.n, d.path("site"), c.ID[:12])
	if err := writeNew(d.path("pomona.cue"), fmt.Appendf(nil, crowdService, d.admin, d.pages, d.path("root"), d.address, d.path("site"), d.path("key.sec"),
		d.path("ssh-key"), d.path("tokens")), 0o644); err != nil {
		return err
	}
	d.say("2. Made what its service needs: a configuration, %s; a key that signs; one that logs into FECs; a token of each FEC.", d.path("pomona.cue"))
	return nil
}

const crowdService = `admin: %q
pages: listen: %q
sites: crowd: {
	root:   %q
	listen: %q
	repository: url: %q
	keys: [%q]
	// FECs that run are restarted over ssh, as the site says.
	ssh: key: %q
	restarts: {}
	// FECs prove what they report.
	reports: tokens: %q
}
`

// loginKey makes the key that logs into FECs, and gives its public half as authorized_keys has it.
func loginKey(file string) (authorized []byte, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "pomona demo")
	if err != nil {
		return nil, err
	}
	shown, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	return ssh.MarshalAuthorizedKey(shown), writeNew(file, pem.EncodeToMemory(block), 0o600)
}

// tokens makes one for each FEC, and the service's file of them.
func (d *crowdDemo) tokens(names []string) (map[string]string, error) {
	tokens := map[string]string{}
	var file bytes.Buffer
	for _, name := range names {
		var random [64]byte
		rand.Read(random[:]) // never fails (crypto/rand)
		tokens[name] = string(tree.NewToken(random))
		fmt.Fprintf(&file, "%s %s\n", name, tokens[name])
	}
	return tokens, writeNew(d.path("tokens"), file.Bytes(), 0o600)
}

// boot boots the crowd once the service is there, shows what became of it, and waits unless once is set.
func (d *crowdDemo) boot(ctx context.Context, once bool) error {
	began := time.Now()
	if err := d.ready(ctx); err != nil {
		return err
	}
	d.say("3. Its service has validated and published the site in %s, and serves it at http://%s/. Look at http://%s/.", time.Since(began).Round(time.Millisecond), d.address, d.pages)
	d.say("4. Booting %d simulated FECs.\n", d.n)
	began = time.Now()
	progress := newProgress(os.Stderr, d.n)
	states := map[string]crowd.Status{}
	err := d.crowd.Boot(ctx, func(f *crowd.FEC, s crowd.Status) {
		states[f.Name] = s
		progress.show(len(states))
	})
	progress.done()
	if err != nil {
		return err
	}
	took := time.Since(began)
	if err := d.show(states); err != nil {
		return err
	}
	odd := d.odd(states)
	d.say("\n%d FECs have booted in %s: %.0f boots and %.0f requests a second.", d.n, took.Round(10*time.Millisecond), float64(d.n)/took.Seconds(), float64(d.crowd.Requests())/took.Seconds())
	d.where()
	if !once {
		d.say("\nServing until Ctrl-C.")
		<-ctx.Done()
	}
	if len(odd) > 0 {
		return fmt.Errorf("%d of %d FECs neither run nor fail as they were to: %s", len(odd), d.n, desired.Few(odd))
	}
	return nil
}

// ready waits until the service serves.
func (d *crowdDemo) ready(ctx context.Context) error {
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.address+"/-/readyz", nil)
		if err != nil {
			return err
		}
		if got, err := http.DefaultClient.Do(r); err == nil {
			_ = got.Body.Close() // not read
			if got.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// show prints a line for each group, and which FECs do not run.
func (d *crowdDemo) show(states map[string]crowd.Status) error {
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "GROUP\tFECS\tRUNNING\tFAILED\tOTHER\t")
	count := map[string]map[string]int{}
	var failed []string
	for i, f := range d.crowd.FECs() {
		group, state := groupOf(i), states[f.Name].State
		if count[group] == nil {
			count[group] = map[string]int{}
		}
		count[group][""]++
		count[group][state]++
		if state == "init-failed" {
			failed = append(failed, f.Name)
		}
	}
	slices.Sort(failed)
	for _, group := range slices.Sorted(maps.Keys(count)) {
		n := count[group]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t\n", group, n[""], n["running"], n["init-failed"], n[""]-n["running"]-n["init-failed"])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(failed) > 0 {
		d.say("\nInit scripts failed, as those of %g%% were to: %s.", 100*d.failing, desired.Few(failed))
	}
	return nil
}

// odd are the FECs that are neither running nor failed by their init scripts.
func (d *crowdDemo) odd(states map[string]crowd.Status) (names []string) {
	for _, f := range d.crowd.FECs() {
		if s := states[f.Name].State; s != "running" && s != "init-failed" {
			names = append(names, f.Name)
		}
	}
	return names
}

func (d *crowdDemo) where() {
	group := crowdGroups[0]
	d.say(`
Where to look:
  %[1]s status --root %[2]s/root               what is published, and what FECs run
  %[1]s fec %[3]s --root %[2]s/root     one of them
  %[2]s/service.log, http://%[4]s/metrics   what the service says of itself

Release something, and watch it reach the FECs in waves:
  sed -i s/1.0.0/1.1.0/ %[2]s/site/fecs/%[5]s/%[5]s.cue
  git -C %[2]s/site commit -qam '%[6]s 1.1.0'
  %[1]s restart status --root %[2]s/root`, os.Args[0], d.dir, d.crowd.FECs()[0].Name, d.admin, group.name, group.software)
}

// freeNear is an address that nobody listens on: the given one, or one with another port.
func freeNear(address string) (string, error) {
	l, err := listenNear(address)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// progress shows on a terminal how many of all are done.
type progress struct {
	to    io.Writer // nil: no terminal
	all   int
	shown time.Time
}

func newProgress(to *os.File, all int) *progress {
	p := &progress{all: all, shown: time.Now()}
	if info, err := to.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		p.to = to
	}
	return p
}

func (p *progress) show(n int) {
	if p.to == nil || time.Since(p.shown) < 200*time.Millisecond {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.to, "\r%d of %d", n, p.all)
}

func (p *progress) done() {
	if p.to != nil {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/boot"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

func demoCommand() *cobra.Command {
	var d demo
	var once bool
	var n int
	var failing string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show everything at once on this machine, from nothing, with simulated FECs",
		Long: `Make a site, publish it, serve it, and boot a simulated FEC with nothing but busybox for each FEC that it declares. Then have its
campaign of batch jobs start, by a commit, and run to its end on this machine. Then keep serving until Ctrl-C; with --once, leave:
exit code 0 if all FECs run.

With --fecs the site has so many FECs, which one process simulates: each boots and reports as a real one, and answers over ssh, but
unpacks and runs nothing. The init scripts of a share of them, --failing, fail. Exit code 0 then: all run but these.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out = cmd.OutOrStdout()
			share, err := readShare(failing)
			switch {
			case err != nil:
				return err
			case n < 0 || n > maxCrowd:
				return fmt.Errorf("cannot simulate %d FECs: want 1 to %d", n, maxCrowd)
			case n > 0:
				return (&crowdDemo{demo: d, n: n, failing: share}).run(cmd.Context(), once)
			case share > 0:
				return errors.New("--failing is for a crowd: give --fecs too")
			}
			return d.run(cmd.Context(), once)
		},
	}
	cmd.Flags().StringVar(&d.dir, "dir", "", "where to put everything; default: a new temporary folder")
	cmd.Flags().StringVar(&d.listen, "listen", "127.0.0.1:8080", "address to serve on; another free port of it if it is taken")
	cmd.Flags().BoolVar(&once, "once", false, "leave when the FECs have booted")
	cmd.Flags().IntVar(&n, "fecs", 0, "simulate so many FECs, without busybox; default: those of the template, each with busybox")
	cmd.Flags().StringVar(&failing, "failing", "0%", "share of these whose init scripts fail")
	return cmd
}

// maxCrowd is how many FECs one process simulates: each has an ssh server with a port of its own.
const maxCrowd = 20000

type demo struct {
	dir, listen string
	pages       string // address of the pages
	out         io.Writer
	site        desired.Site
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

func (d *demo) run(ctx context.Context, once bool) error {
	if err := d.prepare(); err != nil {
		return err
	}
	r, err := d.publish(ctx)
	if err != nil {
		return err
	}
	s, err := standBy(ctx, r.Root, r.Log)
	if err != nil || s == nil {
		return err
	}
	defer s.close()
	p := newProcess(r.Log, time.Hour)
	s.watch = newWatch(p, "demo", r, s.root, nil)
	if err := s.runCampaigns("demo", desired.ServedSite{}, r); err != nil {
		return err
	}
	looked, err := listenNear("127.0.0.1:8082")
	if err != nil {
		return err
	}
	d.pages = looked.Addr().String()
	s.beside = append(s.beside, func(ctx context.Context) error { return p.showPages(ctx, looked, &desired.Pages{}) })
	l, err := listenNear(d.listen)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.run(ctx, follow(r, 30*time.Second), l, serve.Options{}) })
	g.Go(func() error {
		defer stop()
		return d.boot(ctx, "http://"+l.Addr().String(), once, func() error { return d.carryOut(ctx, s.campaigns, r.Repo) })
	})
	return g.Wait()
}

// prepare makes the folder, the site and the key, unless an earlier demo has.
func (d *demo) prepare() (err error) {
	if d.dir == "" {
		if d.dir, err = os.MkdirTemp("", "pomona-demo-"); err != nil {
			return err
		}
	}
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return err
	}
	if _, err := os.Stat(d.path("key.sec")); err == nil {
		d.say("1. The site in %s is there already.", d.path("site"))
		return nil
	}
	if there, err := os.ReadDir(d.dir); err == nil && len(there) > 0 {
		return fmt.Errorf("%q is not empty, and no earlier demo's", d.dir)
	}
	c, err := initSite(d.path("site"))
	if err != nil {
		return err
	}
	d.say("1. Made a site, a git repository of CUE files, in %s: commit %s.", d.path("site"), c.ID[:12])
	if _, err := keygen(d.path("key")); err != nil {
		return err
	}
	d.say("2. Made a key: %s signs, %s goes into each FEC's image.", d.path("key.sec"), d.path("key.pub"))
	return nil
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

func (d *demo) publish(ctx context.Context) (*reconciler.Reconciler, error) {
	opened, err := repo.Open(d.path("site"))
	if err != nil {
		return nil, err
	}
	keys, err := readKeys(d.path("root"), []string{d.path("key.sec")})
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	cache := cacheFolder("", d.path("root"), true)
	loader, err := newLoader(cache, log)
	if err != nil {
		return nil, err
	}
	r := &reconciler.Reconciler{
		Repo: opened, Branch: "HEAD", Root: d.path("root"), Keys: keys, Loader: loader, Verdicts: build.NewVerdicts(cache, log),
		Version: version(), Log: log, Now: time.Now, Records: reconciler.NewRecords(d.path("root"), log),
	}
	rep, err := r.Reconcile(ctx)
	err = errors.Join(err, r.Records.Close()) // until it is served
	if err != nil {
		return nil, err
	}
	if d.site, _, err = validate(ctx, d.path("site"), "HEAD", "", cache, nil, log); err != nil {
		return nil, err
	}
	d.say("3. Validated it, built %d parts, published the tree in %s in %s.", rep.Built, r.Root, rep.Elapsed.Round(time.Millisecond))
	return r, nil
}

// boot boots every FEC of the site, shows what became of them and of the campaign, and waits unless once is set.
func (d *demo) boot(ctx context.Context, address string, once bool, campaign func() error) error {
	fecs, err := d.fecs(address)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range fecs {
			if err := f.Stop(); err != nil {
				d.say("%v", err)
			}
		}
	}()
	d.say("4. Serving it at %s/ and booting %d simulated FECs, each with busybox alone.\n", address, len(fecs))
	outcomes, err := boot.BootAll(ctx, fecs, 2*runtime.NumCPU())
	if err != nil {
		return err
	}
	failed := d.show(fecs, outcomes)
	if err := campaign(); err != nil {
		return err
	}
	d.say(`
Where to look:
  http://%[5]s/
      the pages: how the FECs and the campaign are
  %[1]s/fecs/
      what FECs fetch
  %[2]s/site
      the site: what you commit there is published
  %[3]s kick --root %[2]s/root
      what that did, and what is wrong with it
  %[3]s history %[2]s/site --root %[2]s/root
  %[3]s campaign %[4]s --root %[2]s/root
  %[2]s/root/.pomona/engines/local/*/out/
      what its batch jobs have left
  %[2]s/fecs/FEC/root/current/
      what a FEC has unpacked
  %[2]s/fecs/FEC/root/run/boot.log
      what its boot and its scripts said`, address, d.dir, os.Args[0], demoCampaign, d.pages)
	if !once && ctx.Err() == nil {
		d.say("\nServing until Ctrl-C.")
		<-ctx.Done()
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d FECs do not run", failed, len(fecs))
	}
	return nil
}

func (d *demo) fecs(address string) ([]*boot.FEC, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("find busybox: install Debian's busybox-static: %w", err)
	}
	client, err := os.ReadFile(filepath.Join(d.path("root"), "current", "fecs", desired.GlobalScripts, tree.Client))
	if err != nil {
		return nil, fmt.Errorf("read boot client: %w", err)
	}
	tools, err := fecTools()
	if err != nil {
		return nil, err
	}
	var fecs []*boot.FEC
	for _, name := range slices.Sorted(maps.Keys(d.site.FECs)) {
		fecs = append(fecs, &boot.FEC{
			Name: name, Server: address, Dir: filepath.Join(d.path("fecs"), name), Client: client, Keys: []string{d.path("key.pub")},
			Busybox: busybox, Tools: tools, Env: []string{"POMONA_RETRIES=3"},
		})
	}
	return fecs, nil
}

// fecTools are the programs that a FEC has besides busybox: a verifier of signatures, and what the site's scripts call.
func fecTools() (tools []string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	verifiers := []string{filepath.Join(filepath.Dir(self), "pomona-verify"), "usign", "signify-openbsd", "openssl"}
	if tools = found(verifiers...); len(tools) == 0 {
		return nil, errors.New("find a verifier of signatures: want pomona-verify beside pomona, or Debian's openssl or signify-openbsd")
	}
	return append(tools, found("dbus-daemon", "dbus-send", "dbus-test-tool", "zstd")...), nil
}

func found(programs ...string) (paths []string) {
	for _, p := range programs {
		if path, err := exec.LookPath(p); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// show prints a line for each FEC and says how many do not run.
func (d *demo) show(fecs []*boot.FEC, outcomes []boot.Outcome) (failed int) {
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FEC\tPLATFORM\tSTATE\tSERIAL\tSOFTWARE")
	for i, f := range fecs {
		fec, o := d.site.FECs[f.Name], outcomes[i]
		state := o.State
		if o.Status != 0 {
			failed++
			state = fmt.Sprintf("%s: %s (see %s)", o.State, o.Detail, o.Log)
		}
		var pins []string
		for _, sw := range slices.Sorted(maps.Keys(fec.Software)) {
			pins = append(pins, sw+" "+fec.Software[sw].Version)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.Name, fec.Platform, state, o.Serial, strings.Join(pins, ", "))
	}
	if err := w.Flush(); err != nil {
		d.say("%v", err)
	}
	return failed
}

// listenNear listens on an address, or on a free port of its host if the port is taken.
func listenNear(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	host, _, split := net.SplitHostPort(address)
	if split != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	return l, nil
}

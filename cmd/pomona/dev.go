package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// benches is how many FECs a developer works on at once.
const benches = 16

// devFlags say which site a FEC is in, and how it is reached.
type devFlags struct {
	site, rev string
	payloads  payloadFlags // a site at an address is fetched like a payload
	access    desired.Access
	hostKeys  []string // files
	timeout   time.Duration
}

func (f *devFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.site, "site", ".", "the site's repository: a folder on this machine, or an https or ssh address")
	flags.StringVar(&f.rev, "rev", "", "commit, branch or tag of a folder, default: the files as they are now; branch of an address")
	flags.StringVar(&f.access.Key, "ssh-key", "", "file of a private ssh key without a passphrase; default: ssh-agent has it")
	flags.StringSliceVar(&f.hostKeys, "ssh-known-hosts", nil, "files of host keys as ssh has them; default those of ssh. Keys that the site has of a FEC count alone")
	flags.StringVar(&f.access.User, "ssh-user", "root", "who logs into FECs that say no other")
	flags.IntVar(&f.access.Port, "ssh-port", 22, "port of FECs that say no other")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "to connect, and of silence")
	f.payloads.add(cmd, ownCache)
}

func devCommand() *cobra.Command {
	var f devFlags
	var rel reconciler.Release
	var start, follow bool
	cmd := &cobra.Command{
		Use:   "dev NAME FOLDER FEC...",
		Short: "Put what a build has left on FECs, until they boot",
		Long: `Pack FOLDER as a release of software NAME would be, copy it to each FEC over ssh, and unpack it there beside what is installed. With
--start the FEC's init scripts start it in place of the release, and nothing else is touched; with --log show what it says.
It is gone when the FEC boots or the software is restarted. Neither the site nor what is served changes.

Exit code 0: done on every FEC. 1: not on every one, or something must be changed in the site or the folder. 2: could not run.`,
		Args: cobra.MinimumNArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			rel.Name, rel.Folder = args[0], args[1]
			b, err := f.open(cmd, args[2:])
			if err != nil {
				return err
			}
			return b.put(cmd.Context(), rel, start, follow)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&rel.Install, "install", "", "where it is unpacked; default: like the version dev or the newest one")
	cmd.Flags().BoolVar(&start, "start", false, "start it in place of what runs of this software")
	cmd.Flags().BoolVar(&follow, "log", false, "then show what it logs, until Ctrl-C")
	cmd.AddCommand(
		f.verb("start", "Start what was put there in place of what runs of this software"),
		f.verb("stop", "Stop it; nothing of this software runs then"),
		f.verb("drop", "Remove it, and start what is installed"),
		f.logCommand(), f.statusCommand(),
	)
	return cmd
}

// verb is a command that has FECs do one thing to a software.
func (f *devFlags) verb(verb, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb + " NAME FEC...", Short: short, Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := f.open(cmd, args[1:])
			if err != nil {
				return err
			}
			return b.do(cmd.Context(), verb, args[0])
		},
	}
	f.add(cmd)
	return cmd
}

func (f *devFlags) logCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "log NAME FEC...", Short: "Show what a software and the boot client log, until Ctrl-C", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := f.open(cmd, args[1:])
			if err != nil {
				return err
			}
			return b.follow(cmd.Context(), args[0])
		},
	}
	f.add(cmd)
	return cmd
}

func (f *devFlags) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status FEC...", Short: "Show what developers have put on FECs since they booted", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := f.open(cmd, args)
			if err != nil {
				return err
			}
			return b.status(cmd.Context())
		},
	}
	f.add(cmd)
	return cmd
}

// bench is what a developer works on.
type bench struct {
	site      desired.Site
	fecs      []string
	on        map[string]reconciler.Bench // by FEC
	payloads  *fetch.Fetcher
	mu        sync.Mutex // of what is written
	out, errs io.Writer
}

// open reads the site, and finds out how its FECs are reached.
func (f *devFlags) open(cmd *cobra.Command, fecs []string) (*bench, error) {
	cache := cacheFolder(f.payloads.cache, "", false)
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	site, problems, err := f.read(cmd.Context(), cache, log)
	if err != nil {
		return nil, err
	}
	if len(problems.Blocking()) > 0 {
		return nil, problems
	}
	b := &bench{site: site, on: map[string]reconciler.Bench{}, out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr(), payloads: fetch.New(fetch.Options{Cache: cache})}
	access := &remote.SSH{User: f.access.User, Key: f.access.Key, KnownHosts: f.known(), Timeout: f.timeout, Patient: true}
	for _, name := range fecs {
		fec, known := site.FECs[name]
		if !known {
			return nil, desired.Problems{reconciler.UnknownFEC(site, name)}
		}
		if _, twice := b.on[name]; !twice {
			b.fecs = append(b.fecs, name)
		}
		b.on[name] = reconciler.Bench{SSH: access, Host: hostOf(f.access, name, fec)}
	}
	return b, nil
}

// read reads the site, where it lies or from elsewhere.
func (f *devFlags) read(ctx context.Context, cache string, log *slog.Logger) (desired.Site, desired.Problems, error) {
	if !repo.IsAddress(f.site) {
		return validate(ctx, f.site, f.rev, "", cache, nil, log)
	}
	client, err := f.payloads.client("")
	if err != nil {
		return desired.Site{}, nil, err
	}
	dir, err := os.MkdirTemp("", "pomona-dev-")
	if err != nil {
		return desired.Site{}, nil, err
	}
	defer os.RemoveAll(dir) // what is left is in the folder for temporary files
	from := repo.Remote{URL: f.site, Client: client, KnownHosts: f.payloads.knownHosts, OneHost: true}
	_, tip, _, err := repo.Tip(ctx, dir, from, f.rev)
	if err != nil {
		return desired.Site{}, nil, fmt.Errorf("read site %q: %w", f.site, err)
	}
	return validate(ctx, dir, tip.ID, "", cache, nil, log)
}

// known are the files of known hosts: given ones, or those of ssh that there are.
func (f *devFlags) known() []string {
	if len(f.hostKeys) > 0 {
		return f.hostKeys
	}
	files := []string{"/etc/ssh/ssh_known_hosts"}
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".ssh", "known_hosts"))
	}
	return slices.DeleteFunc(files, func(file string) bool {
		_, err := os.Stat(file)
		return err != nil
	})
}

// put copies a build to the FECs. One that cannot take it keeps no other from it.
func (b *bench) put(ctx context.Context, rel reconciler.Release, start, follow bool) error {
	if start {
		if err := b.uninhibited(); err != nil {
			return err
		}
	}
	d, err := reconciler.PackDev(ctx, b.site, rel, b.fecs, b.payloads)
	if err != nil {
		return err
	}
	err = b.each(ctx, benches, func(ctx context.Context, name string, on reconciler.Bench) error {
		began := time.Now()
		there, err := on.Put(ctx, d)
		switch {
		case err != nil:
			return err
		case there:
			b.say(name, "%s %s is there already", d.Name, d.Version)
		default:
			b.say(name, "%s %s is at %s: %d bytes in %s", d.Name, d.Version, d.Install, d.Size, time.Since(began).Round(time.Millisecond))
		}
		if _, runs := b.site.FECs[name].Software[d.Name]; !runs {
			b.say(name, "it has no %s in the site: no init script of its release starts it", d.Name)
		}
		if !start {
			return nil
		}
		return b.tell(ctx, name, on, "start", d.Name)
	})
	if err != nil || !follow {
		return err
	}
	return b.follow(ctx, d.Name)
}

// do has the FECs do one thing to a software.
func (b *bench) do(ctx context.Context, verb, software string) error {
	if err := b.uninhibited(); err != nil {
		return err
	}
	return b.each(ctx, benches, func(ctx context.Context, name string, on reconciler.Bench) error {
		return b.tell(ctx, name, on, verb, software)
	})
}

// uninhibited says which FECs the site wants left alone.
func (b *bench) uninhibited() error {
	var all desired.Problems
	for _, name := range b.fecs {
		if why := b.site.FECs[name].Inhibit; why != "" {
			all = append(all, desired.Problem{Path: desired.CUEPath("fecs", name, "inhibit"), Text: "this FEC is to be left as it runs: " + why})
		}
	}
	if len(all) > 0 {
		return all
	}
	return nil
}

// tell has one FEC do something, and shows what it says of it.
func (b *bench) tell(ctx context.Context, name string, on reconciler.Bench, verb, software string) error {
	var said bytes.Buffer
	err := on.Do(ctx, verb, software, &said)
	for lines := bufio.NewScanner(&said); lines.Scan(); {
		b.quote(name, lines.Text())
	}
	if err != nil {
		return err
	}
	b.say(name, "%s: %s", software, map[string]string{"start": "started", "stop": "stopped", "drop": "dropped"}[verb])
	return nil
}

// follow shows what a software logs on the FECs.
func (b *bench) follow(ctx context.Context, software string) error {
	return b.each(ctx, len(b.fecs), func(ctx context.Context, name string, on reconciler.Bench) error {
		return on.Follow(ctx, software, func(line string) { b.quote(name, line) })
	})
}

// status shows a line for each software that is there.
func (b *bench) status(ctx context.Context) error {
	return b.each(ctx, benches, func(ctx context.Context, name string, on reconciler.Bench) error {
		has, err := on.Has(ctx)
		if err != nil {
			return err
		}
		for _, software := range slices.Sorted(maps.Keys(has)) {
			b.quote(name, software+" "+has[software])
		}
		if len(has) == 0 {
			b.say(name, "nothing of a developer's")
		}
		return nil
	})
}

// each does something with every FEC, some at a time, and says what failed where.
func (b *bench) each(ctx context.Context, atOnce int, do func(context.Context, string, reconciler.Bench) error) error {
	var failed []string
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, name := range b.fecs {
		g.Go(func() error {
			if err := do(ctx, name, b.on[name]); err != nil {
				b.write(b.errs, name, strings.TrimPrefix(cmp.Or(ctx.Err(), err).Error(), b.on[name].Host.String()+": "))
				b.mu.Lock()
				defer b.mu.Unlock()
				failed = append(failed, name)
			}
			return nil
		})
	}
	_ = g.Wait() // they keep their errors
	if len(failed) == 0 {
		return nil
	}
	slices.Sort(failed)
	fmt.Fprintf(b.errs, "pomona: not done on %d of %d FECs: %s\n", len(failed), len(b.fecs), desired.Few(failed))
	return exit(exitProblems)
}

// say prints a line about a FEC.
func (b *bench) say(name, format string, args ...any) {
	b.write(b.out, name, strings.TrimPrefix(fmt.Sprintf(format, args...), "pomona-boot: "))
}

// quote prints a line that a FEC has said. No terminal takes it for an order.
func (b *bench) quote(name, line string) {
	b.say(name, "%s", observed.Printable(strings.ReplaceAll(line, "\t", "    ")))
}

func (b *bench) write(to io.Writer, name, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintf(to, "%s: %s\n", name, text)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/rpm"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

func environmentName(flag string) string {
	return "POMONA_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// passFlags are what every command needs that makes or plans a pass.
type passFlags struct {
	root, branch string
	base         string // of plan: a revision in place of a root
	keys         []string
	pilotKey     string
	payloads     payloadFlags
	log          *slog.Logger // nil: what the next pass must heal, on stderr
	accept       string       // commit that the mirror takes although the branch was rewritten
	later        bool         // the repository of another host is opened by whoever runs the passes
}

func (f *passFlags) add(cmd *cobra.Command, branch string) {
	cmd.Flags().StringVar(&f.root, "root", "", "served directory (required)")
	cmd.Flags().StringVar(&f.branch, branch, "HEAD", "branch, tag or commit that is wanted")
	cmd.Flags().StringSliceVar(&f.keys, "key", nil, "file of a secret key that signs; two while one replaces the other")
	cmd.Flags().StringVar(&f.pilotKey, "pilot-key", "", "file of the OpenPGP secret key that signs RPM repositories of pilots; without it none is served")
	otherwise := ownCache
	if cmd.Name() != "plan" {
		otherwise = "below --root, private"
	}
	f.payloads.add(cmd, otherwise)
}

// reconciler opens the repository at dir and reads the keys. Writes says whether a pass will be made, or only planned.
func (f *passFlags) reconciler(cmd *cobra.Command, args []string, writes bool) (*reconciler.Reconciler, error) {
	if f.root == "" && f.base == "" {
		return nil, fmt.Errorf("no served directory: give --root\nsee %s --help", cmd.CommandPath())
	}
	opened, err := f.open(cmd.Context(), siteDir(args), writes)
	if err != nil {
		return nil, err
	}
	keys, err := readKeys(f.root, f.keys)
	if err != nil {
		return nil, err
	}
	pilotKey, err := readPilotKey(f.root, f.pilotKey)
	if err != nil {
		return nil, err
	}
	cache := cacheFolder(f.payloads.cache, f.root, writes)
	payloads, err := f.payloads.fetcher(cache, f.root)
	if err != nil {
		return nil, err
	}
	// A command says what it did by itself; only what the next pass must heal is worth a line.
	log := f.log
	if log == nil {
		log = slog.New(slog.NewTextHandler(secrets.Writer(cmd.ErrOrStderr()), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	records := reconciler.ReadRecords(f.root, log)
	if writes {
		records = reconciler.NewRecords(f.root, log)
	}
	loader, err := newLoader(cache, log)
	return &reconciler.Reconciler{
		Records: records,
		Repo:    opened, Branch: f.branch, Root: f.root, Keys: keys, Loader: loader, Verdicts: build.NewVerdicts(cache, log),
		PilotKey: pilotKey, Packages: build.NewPackages(cache, log),
		Payloads: payloads, Version: version(), Log: log, Now: time.Now,
	}, err
}

// open opens the repository at dir. That of another host is mirrored below the root, which is written for that; a service
// fetches it when it is the root's one.
func (f *passFlags) open(ctx context.Context, dir string, writes bool) (*repo.Repo, error) {
	if !elsewhere(dir) {
		return repo.Open(dir)
	}
	if !writes {
		return nil, fmt.Errorf("open repository %q: it is not on this machine; clone it and name its folder", dir)
	}
	if f.later {
		return nil, nil
	}
	m, err := f.mirror(dir)
	if err != nil {
		return nil, err
	}
	err = m.Accept(f.accept)
	if err == nil {
		_, err = m.Update(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fetch: %w", err), m.Close())
	}
	return m.Repo(), nil
}

func (f *passFlags) mirror(url string) (*repo.Mirror, error) {
	if err := reconciler.MakeRoot(f.root); err != nil {
		return nil, fmt.Errorf("make root: %w", err)
	}
	dir, err := durable.Open(f.root, nil)
	if err == nil {
		err = errors.Join(dir.Prepare(), dir.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("prepare root: %w", err)
	}
	client, err := f.payloads.client(f.root)
	if err != nil {
		return nil, err
	}
	return openMirror(f.root, f.payloads.knownHosts, desired.Repository{URL: url, Branch: f.branch}, client)
}

// hint says on stderr that files were changed and not committed, where the work tree's own commit is what counts: people
// edit a file and wonder why nothing happens.
func (f *passFlags) hint(cmd *cobra.Command, r *repo.Repo) {
	commit, err := r.Resolve(f.branch)
	if err != nil || f.branch != "HEAD" {
		return
	}
	files, err := r.Files(cmd.Context(), commit)
	if err != nil {
		return // the pass says why
	}
	if changed := r.Uncommitted(files); len(changed) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "pomona: not part of commit %.12s: uncommitted changes in %s\n", commit.ID, desired.Few(changed))
	}
}

// siteDir is the site that a command works on: its argument, or the working directory.
func siteDir(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return "."
}

// newLoader evaluates CUE in children of this same binary. An empty cache remembers nothing for later processes.
func newLoader(cache string, log *slog.Logger) (*load.Loader, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	return load.New(load.Options{Worker: []string{self, evalWorker}, Cache: cache, Log: log}), nil
}

func readKeys(root string, files []string) (keys []tree.SecretKey, err error) {
	for _, file := range files {
		if err := outside(root, file); err != nil {
			return nil, err
		}
		b, err := readSecret(file)
		if err != nil {
			return nil, fmt.Errorf("read key: %w", err)
		}
		k, err := tree.ParseSecretKey(b)
		if err != nil {
			return nil, fmt.Errorf("read key %q: %w", file, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// readPilotKey reads the key that signs repositories of pilots; nil for none.
func readPilotKey(root, file string) (*rpm.Key, error) {
	if file == "" {
		return nil, nil
	}
	if err := outside(root, file); err != nil {
		return nil, err
	}
	b, err := readSecret(file)
	if err != nil {
		return nil, fmt.Errorf("read pilot key: %w", err)
	}
	k, err := rpm.ParseSecretKey(b)
	if err != nil {
		return nil, fmt.Errorf("read pilot key %q: %w", file, err)
	}
	return k, nil
}

// readSecret reads a file that nobody else may read.
func readSecret(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read or write %q: chmod 600 it", file)
	}
	b, err := os.ReadFile(file)
	conceal(b)
	return b, err
}

// tally counts problems for the last line.
func tally(ps desired.Problems) string {
	n := len(ps.Blocking())
	s := count(n, "problem")
	if w := len(ps) - n; w > 0 {
		s += ", " + count(w, "warning")
	}
	return s
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

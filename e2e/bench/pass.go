package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/serve"
)

const historyCommits = 3000

// pass compares a pass that finds nothing to do, of a running service, with git ls-remote of the same repository.
func (b *bench) pass(ctx context.Context) error {
	if _, err := measure(exec.CommandContext(ctx, b.pomona, "keygen", filepath.Join(b.dir, "pass"))); err != nil {
		return err
	}
	for _, n := range b.sizes {
		if err := b.passOne(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) passOne(ctx context.Context, n int) error {
	dir, err := b.site(n)
	if err != nil {
		return err
	}
	if err := history(dir, historyCommits); err != nil {
		return err
	}
	root := filepath.Join(b.dir, fmt.Sprintf("pass-root-%d", n))
	c, err := server(ctx, "127.0.0.1:18081", b.pomona, "serve", dir, "--root", root, "--key", filepath.Join(b.dir, "pass.sec"), "--listen", "127.0.0.1:18081")
	if c != nil {
		defer stop(c)
	}
	if err != nil {
		return err
	}
	for range 6000 {
		if _, err := os.Stat(filepath.Join(root, "current")); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	served, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer served.Close() // only read
	if _, err := kick(ctx, served); err != nil {
		return err
	}
	ours, peer, err := b.both(4*b.runs, func() (usage, error) { return kick(ctx, served) }, func() (usage, error) {
		return measure(exec.CommandContext(ctx, "git", "ls-remote", dir, "refs/heads/main"))
	})
	if err != nil {
		return err
	}
	b.table.ratio(fmt.Sprintf("pass with nothing to do, asked for over the socket, %d FECs", n),
		ours.seconds*1000, peer.seconds*1000, "ms", "git ls-remote", 3, false)
	return nil
}

// kick has the service of a root make a pass.
func kick(ctx context.Context, root *os.Root) (usage, error) {
	start := time.Now()
	a, err := serve.Ask(ctx, root, "kick", nil)
	if err == nil && a.Code != 0 {
		err = errors.New(a.Error)
	}
	return usage{seconds: time.Since(start).Seconds()}, err
}

// history adds commits, each changing one small file beside the site.
func history(dir string, n int) error {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "commit refs/heads/main\ncommitter bench <bench@example.org> %d +0000\ndata 6\nchange\n", 1_770_000_000+i)
		if i == 0 {
			b.WriteString("from refs/heads/main^0\n")
		}
		line := fmt.Sprintf("%d\n", i)
		fmt.Fprintf(&b, "M 100644 inline notes/n%03d\ndata %d\n%s\n", i%500, len(line), line)
	}
	c := exec.Command("git", "fast-import", "--quiet")
	c.Dir, c.Stdin = dir, &b
	out, err := c.CombinedOutput()
	if err == nil {
		c = exec.Command("git", "reset", "-q", "--hard")
		c.Dir = dir
		out, err = c.CombinedOutput()
	}
	if err != nil {
		return fmt.Errorf("make history: %w: %s", err, out)
	}
	return nil
}

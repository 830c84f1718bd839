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
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/boot/crowd"
	"github.com/pomona-gitops/pomona/reconciler/collect"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const (
	collectFECs  = 2000
	collectWidth = 16
	collectFiles = 8
	collectKiB   = 16 // of each file
	collectPath  = "opt/data/orbit"
	collectSlow  = 50 * time.Millisecond // that a FEC takes to answer: still faster than dropbear on a PowerPC makes its keys
)

// collect brings persistent data of 2,000 FECs, sixteen at a time, and beside that does the transfer alone: the same ssh client, and
// nobody reads what comes. The FECs are ssh servers in this process, and share its processors.
func (b *bench) collect(ctx context.Context) error {
	key, authorized, err := b.sshKey()
	if err != nil {
		return err
	}
	fecs, err := dataCrowd(authorized)
	if err != nil {
		return err
	}
	defer fecs.Close()
	access := &remote.SSH{Key: key}
	published := &collect.Published{Site: "bench", FECs: map[string]collect.FEC{}}
	for _, f := range fecs.FECs() {
		published.FECs[f.Name] = collect.FEC{
			Host: remote.Host{Name: f.Name, Address: f.Address(), HostKeys: []string{f.HostKey()}},
			Data: map[string]desired.Persistence{"orbit": {Path: "/" + collectPath, Schema: "v1"}},
		}
	}
	run := 0
	for _, answers := range []time.Duration{0, collectSlow} {
		for _, f := range fecs.FECs() {
			f.Answer(func(string, io.Reader, io.Writer, io.Writer) (int, bool) {
				time.Sleep(answers)
				return 0, false
			})
		}
		ours, transfer, err := b.both(min(b.runs, 3),
			func() (usage, error) {
				run++
				// It is not removed before the last run: ext4 looks past each inode that was freed within the last minute.
				return collectAll(ctx, filepath.Join(b.dir, fmt.Sprint("collect-root-", run)), access, published)
			},
			func() (usage, error) {
				return timed(ctx, published, func(ctx context.Context, name string) error {
					return access.Run(ctx, published.FECs[name].Host, "tar -cf - -C "+crowd.Data+" "+collectPath, nil, io.Discard)
				})
			})
		if err != nil {
			return err
		}
		what := fmt.Sprintf("collect data of %d FECs, %d KiB each, %d at a time", collectFECs, collectFiles*collectKiB, collectWidth)
		if answers > 0 {
			what = fmt.Sprintf("the same from FECs that take %v to answer", answers)
		}
		b.table.ratio(what, ours.seconds, transfer.seconds, "s", "the transfer alone", 1.2, false)
	}
	return nil
}

// sshKey makes a key to log in with.
func (b *bench) sshKey() (file string, authorized []byte, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return "", nil, err
	}
	seen, err := ssh.NewPublicKey(public)
	if err != nil {
		return "", nil, err
	}
	file = filepath.Join(b.dir, "fec-key")
	return file, ssh.MarshalAuthorizedKey(seen), os.WriteFile(file, pem.EncodeToMemory(block), 0o600)
}

// dataCrowd is 2,000 FECs with tables of numbers, each its own.
func dataCrowd(authorized []byte) (*crowd.Crowd, error) {
	var names []string
	for i := range collectFECs {
		names = append(names, fmt.Sprintf("fec%04d", i))
	}
	fecs, err := crowd.New(crowd.Settings{Authorized: authorized}, names)
	if err != nil {
		return nil, err
	}
	for i, f := range fecs.FECs() {
		for k := range collectFiles {
			var b bytes.Buffer
			for n := 0; b.Len() < collectKiB<<10; n++ {
				fmt.Fprintf(&b, "%d %d %.6f\n", k, n, float64((n*2654435761+i*40503+k)%1000003)/1000)
			}
			f.Write(fmt.Sprintf("%s/table-%d", collectPath, k), b.Bytes()[:collectKiB<<10])
		}
	}
	return fecs, fecs.Listen()
}

// timed does something for each FEC, sixteen at a time.
func timed(ctx context.Context, published *collect.Published, do func(context.Context, string) error) (usage, error) {
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(collectWidth)
	for name := range published.FECs {
		g.Go(func() error { return do(ctx, name) })
	}
	err := g.Wait()
	return usage{seconds: time.Since(start).Seconds()}, err
}

// collectAll collects into a new root, as a service does that has just started and finds all of it due.
func collectAll(ctx context.Context, root string, access *remote.SSH, published *collect.Published) (usage, error) {
	dir, err := made(root, published)
	if err != nil {
		return usage{}, err
	}
	defer dir.Close() // every write has reported its error
	var late atomic.Bool
	began := time.Now()
	done := make(chan collect.Outcome, collectFECs)
	c := collect.New(collect.Options{
		Root: root, Keys: []tree.SecretKey{tree.NewSecretKey([32]byte{1}, tree.KeyID{1})}, SSH: access, Folder: crowd.Data, AtOnce: collectWidth,
		Largest: 1 << 30, Room: 1 << 40, Least: 50, Log: slog.New(slog.DiscardHandler),
		Done: func(o collect.Outcome) { done <- o },
		Now: func() time.Time { // until all is known, nothing is due
			if late.Load() {
				return began.Add(10 * time.Minute)
			}
			return began
		},
		Site: func(context.Context) (*collect.Published, error) { return published, nil },
	})
	ctx, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer func() { end(); <-ended }()
	for len(c.Statuses()) < collectFECs {
		time.Sleep(10 * time.Millisecond)
	}
	start := time.Now()
	late.Store(true)
	for range collectFECs {
		select {
		case o := <-done:
			if o != collect.Collected {
				return usage{}, fmt.Errorf("a FEC's data is %s", o)
			}
		case <-ctx.Done():
			return usage{}, ctx.Err()
		}
	}
	return usage{seconds: time.Since(start).Seconds()}, nil
}

// made is a root with a folder for the data of each FEC, as publishing makes it.
func made(root string, published *collect.Published) (*durable.Dir, error) {
	if err := os.Mkdir(root, 0o755); err != nil {
		return nil, err
	}
	dir, err := durable.Open(root, nil)
	if err != nil {
		return nil, err
	}
	err = dir.Prepare()
	for fec := range published.FECs {
		err = errors.Join(err, os.MkdirAll(filepath.Join(root, tree.DataFolder, fec), 0o755))
	}
	return dir, err
}

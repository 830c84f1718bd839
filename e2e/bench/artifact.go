package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/e2e/bench/site"
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

const payloadSize = 105 << 20

// payload makes a repository with one folder of programs, libraries and text: of the Go installation, which every machine
// that runs this has.
func (b *bench) payload() (string, error) {
	dir := filepath.Join(b.dir, "payload")
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	goroot := strings.TrimSpace(string(out))
	left := int64(payloadSize)
	for _, part := range []string{"bin/go", "pkg/tool", "src/net", "src/runtime", "src/crypto", "src"} {
		err := filepath.WalkDir(filepath.Join(goroot, part), func(from string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || left < 0 || strings.Contains(from, "testdata") {
				return err
			}
			content, err := os.ReadFile(from)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(goroot, from)
			to := filepath.Join(dir, "p", name)
			if err != nil {
				return err
			}
			if _, err := os.Stat(to); err == nil {
				return nil
			}
			left -= int64(len(content))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			return os.WriteFile(to, content, 0o644)
		})
		if err != nil {
			return "", err
		}
	}
	return dir, site.Commit(dir, "payload", "init", "-q", "-b", "main")
}

// artifacts compares the building of one large artifact, from git objects into a root, with tar piped to a compressor, from
// files in the page cache into a file.
func (b *bench) artifacts(ctx context.Context) error {
	dir, err := b.payload()
	if err != nil {
		return err
	}
	r, err := repo.Open(dir)
	if err != nil {
		return err
	}
	c, err := r.Resolve("HEAD")
	if err != nil {
		return err
	}
	files, err := r.Files(ctx, c)
	if err != nil {
		return err
	}
	for _, peer := range []struct {
		format     artifact.Format
		compressor string
		time, size float64
	}{{artifact.Gzip, "pigz -6", 1, 1.03}, {artifact.Zstd, "zstd -q -T0 -9", 0.6, 1.09}, {artifact.Xz, "xz -T0 -6", 0, 0}} {
		out := filepath.Join(b.dir, "peer")
		spec := build.Spec{Folder: "p", Install: "/opt/payload", Format: peer.format}
		var ours int64
		mine, theirs, err := b.both(min(b.runs, map[bool]int{true: 1, false: b.runs}[peer.format == artifact.Xz]), func() (usage, error) {
			u, size, err := b.pack(ctx, files, spec)
			ours = size
			return u, err
		}, func() (usage, error) {
			return measure(exec.CommandContext(ctx, "sh", "-c", fmt.Sprintf("tar -C %s -cf - p | %s >%s", dir, peer.compressor, out)))
		})
		if err != nil {
			return err
		}
		info, err := os.Stat(out)
		if err != nil {
			return err
		}
		b.table.ratio(fmt.Sprintf("artifact, %d MB, %s", payloadSize>>20, peer.format), mine.seconds, theirs.seconds, "s", "tar, "+peer.compressor, peer.time, false)
		b.table.ratio("size of that", float64(ours)/1e6, float64(info.Size())/1e6, "MB", peer.compressor, peer.size, false)
	}
	start := time.Now()
	build.Key(files.Files(), build.Spec{Folder: "p", Install: "/opt/payload", Format: artifact.Gzip})
	b.table.count("artifact, unchanged: no byte is read", time.Since(start).Seconds()*1000, "ms", 100)
	return nil
}

func (b *bench) pack(ctx context.Context, files *repo.Files, spec build.Spec) (usage, int64, error) {
	root, err := os.MkdirTemp(b.dir, "root-")
	if err != nil {
		return usage{}, 0, err
	}
	defer os.RemoveAll(root)
	dir, err := durable.Open(root, nil)
	if err != nil {
		return usage{}, 0, err
	}
	defer dir.Close()
	if err := dir.Prepare(); err != nil {
		return usage{}, 0, err
	}
	start := time.Now()
	made, err := build.Make(ctx, files, spec, store.New(dir))
	return usage{seconds: time.Since(start).Seconds()}, made.Size, err
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pomona-gitops/pomona/e2e/bench/site"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const (
	stormFECs  = 2000 // in the tree
	stormBoots = 5000
	stormWidth = 16 // FECs that boot at once
	archiveKiB = 1536
)

// published makes a root with a published tree of n FECs, once; each boots two archives of 1.5 MB.
func (b *bench) published(ctx context.Context, n int) (dir, root string, err error) {
	dir, root = filepath.Join(b.dir, "storm"), filepath.Join(b.dir, "storm-root")
	if _, err := os.Stat(filepath.Join(root, "current")); err == nil {
		return dir, root, nil
	}
	if err := site.WriteStorm(dir, n, archiveKiB); err != nil {
		return dir, root, err
	}
	_, err = measure(exec.CommandContext(ctx, b.pomona, "keygen", filepath.Join(b.dir, "key")))
	if err == nil {
		_, err = measure(exec.CommandContext(ctx, b.pomona, "reconcile", dir, "--root", root, "--key", filepath.Join(b.dir, "key.sec")))
	}
	return dir, root, err
}

// server starts a web server on one core and waits until it answers.
func server(ctx context.Context, address string, args ...string) (*exec.Cmd, error) {
	c := exec.CommandContext(ctx, "taskset", append([]string{"-c", "0"}, args...)...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	if err := c.Start(); err != nil {
		return nil, err
	}
	for range 200 {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return c, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return c, fmt.Errorf("%s does not answer on %s", args[0], address)
}

func stop(c *exec.Cmd) {
	_ = c.Process.Signal(os.Interrupt)
	_ = c.Wait() // it was told to end
}

const nginxConf = `worker_processes 1;
daemon off;
error_log stderr crit;
pid %[1]s/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server {
    listen 127.0.0.1:%[2]s;
    location / { root %[3]s/current; }
    location /objects/ { alias %[3]s/objects/; }
  }
}
user root;
`

// storm boots 5,000 FECs, sixteen at a time, from Pomona and from nginx: the server has one core, the client the other.
func (b *bench) storm(ctx context.Context) error {
	dir, root, err := b.published(ctx, stormFECs)
	if err != nil {
		return err
	}
	conf := filepath.Join(b.dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, b.dir, "18082", root), 0o644); err != nil {
		return err
	}
	if err := onCore(1); err != nil {
		return err
	}
	defer onCore(0, 1)
	var failed, again atomic.Int64
	side := func(address string, args ...string) func() (usage, error) {
		return func() (usage, error) {
			c, err := server(ctx, address, args...)
			if c != nil {
				defer stop(c)
			}
			if err != nil {
				return usage{}, err
			}
			start := time.Now()
			bad, requests := boots(ctx, address, root, stormBoots)
			failed.Add(bad)
			again.Store(requests)
			return usage{seconds: stormBoots / time.Since(start).Seconds()}, nil
		}
	}
	ours, nginx, err := b.both(min(b.runs, 3),
		side("127.0.0.1:18081", b.pomona, "serve", dir, "--root", root, "--key", filepath.Join(b.dir, "key.sec"), "--listen", "127.0.0.1:18081"),
		side("127.0.0.1:18082", "nginx", "-c", conf))
	if err != nil {
		return err
	}
	b.table.ratio(fmt.Sprintf("boot storm, %d FECs, 2 archives of 1.5 MB each", stormBoots), ours.seconds, nginx.seconds, "boots/s", "nginx", 0.85, true)
	b.table.count("failed boots of that, both servers", float64(failed.Load()), "", 0)
	b.table.count("requests of an unchanged reboot", float64(again.Load()), "", 1)
	return nil
}

func onCore(cores ...int) error {
	var set unix.CPUSet
	for _, c := range cores {
		set.Set(c)
	}
	if runtime.NumCPU() < 2 {
		return errors.New("a storm needs two cores: one for the server, one for the client")
	}
	tasks, err := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		id, _ := strconv.Atoi(task.Name())
		err = errors.Join(err, unix.SchedSetaffinity(id, &set))
	}
	return err
}

// boots has n FECs boot: the manifest, then every object that it names. It also counts the requests of one FEC that boots
// again with nothing changed.
func boots(ctx context.Context, address, root string, n int) (failed, again int64) {
	names, _ := filepath.Glob(filepath.Join(root, "current/fecs/*cu"))
	var next, bad atomic.Int64
	var wg sync.WaitGroup
	for range stormWidth {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return
				}
				client := &http.Client{Transport: &http.Transport{}}
				if _, err := boot(client, "http://"+address, filepath.Base(names[i%len(names)]), map[string]bool{}); err != nil {
					bad.Add(1)
				}
				client.CloseIdleConnections()
			}
		})
	}
	wg.Wait()
	client := &http.Client{}
	have := map[string]bool{}
	_, err := boot(client, "http://"+address, filepath.Base(names[0]), have)
	again, err2 := boot(client, "http://"+address, filepath.Base(names[0]), have)
	if errors.Join(err, err2) != nil {
		bad.Add(1)
	}
	return bad.Load(), again
}

// boot fetches what a FEC boots, except what it has; it returns the number of requests.
func boot(c *http.Client, url, fec string, have map[string]bool) (requests int64, err error) {
	body, err := get(c, url+"/fecs/"+fec+"/"+tree.ManifestName)
	if err != nil {
		return 1, err
	}
	m, _, _, err := tree.ParseManifest(body)
	if err != nil {
		return 1, err
	}
	requests = 1
	for _, o := range m.Objects() {
		if have[o.Digest.String()] {
			continue
		}
		have[o.Digest.String()] = true
		requests++
		size, err := drain(c, url+"/objects/"+o.Digest.Path())
		if err == nil && size != o.Size {
			err = errors.New("truncated")
		}
		if err != nil {
			return requests, err
		}
	}
	return requests, nil
}

func get(c *http.Client, url string) ([]byte, error) {
	r, err := c.Get(url)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, errors.New(r.Status)
	}
	return io.ReadAll(r.Body)
}

func drain(c *http.Client, url string) (int64, error) {
	r, err := c.Get(url)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return 0, errors.New(r.Status)
	}
	return io.Copy(io.Discard, bufio.NewReaderSize(r.Body, 64<<10))
}

// idle measures a service of 2,000 FECs that has nothing to do.
func (b *bench) idle(ctx context.Context) error {
	dir, root, err := b.published(ctx, stormFECs)
	if err != nil {
		return err
	}
	c, err := server(ctx, "127.0.0.1:18081", b.pomona, "serve", dir, "--root", root, "--key", filepath.Join(b.dir, "key.sec"), "--listen", "127.0.0.1:18081")
	if c != nil {
		defer stop(c)
	}
	if err != nil {
		return err
	}
	time.Sleep(15 * time.Second)
	b.table.count(fmt.Sprintf("memory of the idle service, %d FECs, all processes", stormFECs), resident(c.Process.Pid), "MiB", 100)
	return nil
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const (
	reportsKnown   = 100_000 // in the ledger before
	reportsASecond = 5000    // that FECs send
	reportSeconds  = 10
	reportWidth    = 64 // FECs that report at once
)

// reports has 2,000 FECs send 5,000 reports a second, each on a connection of its own, half of them with a token, to a service
// whose ledger has 100,000 already. It measures when the last of them has been entered.
func (b *bench) reports(ctx context.Context) error {
	dir, root, err := b.published(ctx, stormFECs)
	if err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(root, "current/fecs/*cu"))
	if err != nil {
		return err
	}
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	if err := known(ctx, root, names); err != nil {
		return err
	}
	conf, tokens, err := b.tokens(dir, root, names)
	if err != nil {
		return err
	}
	if err := onCore(1); err != nil {
		return err
	}
	defer onCore(0, 1)
	c, err := server(ctx, "127.0.0.1:18081", b.pomona, "serve", "--config", conf)
	if c != nil {
		defer stop(c)
	}
	if err != nil {
		return err
	}
	time.Sleep(5 * time.Second) // the first pass
	before, err := processor(c.Process.Pid)
	if err != nil {
		return err
	}
	start := time.Now()
	refused := report(ctx, names, tokens)
	sent := time.Since(start)
	if err := entered(ctx, root, len(names)); err != nil {
		return err
	}
	took := time.Since(start)
	after, err := processor(c.Process.Pid)
	if err != nil {
		return err
	}
	dropped, err := metric("http://127.0.0.1:18083/metrics", "pomona_fec_reports_dropped_total")
	if err != nil {
		return err
	}
	const all = reportsASecond * reportSeconds
	b.table.rate(fmt.Sprintf("reports of FECs sent, answered and entered, %d in the ledger before", reportsKnown), all/max(took.Seconds(), sent.Seconds()), "/s", reportsASecond*0.97)
	b.table.rate("of that, for each second of the service's processor time", all/(after-before), "/s", reportsASecond)
	b.table.count("reports of that refused or dropped", float64(refused)+dropped, "", 0)
	b.table.count("entered after the last was answered", (took - sent).Seconds(), "s", 1)
	return nil
}

// known fills the ledger of a root.
func known(ctx context.Context, root string, names []string) error {
	l, err := ledger.Open(ctx, filepath.Join(root, ".pomona", ledger.File))
	if err != nil {
		return err
	}
	var batch []ledger.FECReport
	for i := range reportsKnown {
		batch = append(batch, ledger.FECReport{FEC: names[i%len(names)], Serial: 1, State: "running", Slot: "1-abcdef01", Client: "3", Source: "report", From: "192.0.2.1", At: time.Now()})
	}
	return errors.Join(l.AddReports(ctx, batch), l.Close())
}

// tokens gives half of the FECs a token, and writes the configuration of a service that knows them.
func (b *bench) tokens(dir, root string, names []string) (conf string, tokens []tree.Token, err error) {
	var lines strings.Builder
	tokens = make([]tree.Token, len(names))
	for i, name := range names {
		if i%2 == 0 {
			tokens[i] = tree.NewToken([64]byte{byte(i), byte(i >> 8)})
			fmt.Fprintf(&lines, "%s %s\n", name, tokens[i])
		}
	}
	file := filepath.Join(b.dir, "tokens")
	conf = filepath.Join(b.dir, "reports.cue")
	text := fmt.Sprintf("admin: \"127.0.0.1:18083\"\nsites: storm: {root: %q, listen: \"127.0.0.1:18081\", repository: url: %q, keys: [%q], reports: tokens: %q}\n",
		root, dir, filepath.Join(b.dir, "key.sec"), file)
	return conf, tokens, errors.Join(os.WriteFile(file, []byte(lines.String()), 0o600), os.WriteFile(conf, []byte(text), 0o644))
}

// report sends the reports at their pace; the last of each FEC is of serial 2.
func report(ctx context.Context, names []string, tokens []tree.Token) (refused int64) {
	const all = reportsASecond * reportSeconds
	var next, bad atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range reportWidth {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= all {
					return
				}
				time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / reportsASecond)))
				fec, round := i%len(names), i/len(names)
				form := "fec=" + names[fec] + "&state=running&slot=1-abcdef01&client=3&serial=1"
				if i >= all-len(names) {
					form = strings.Replace(form, "serial=1", "serial=2", 1)
				}
				if tokens[fec] != "" {
					form = tokens[fec].Prove(form, start.Add(time.Duration(round)*time.Second))
				}
				if !sendReport(form) {
					bad.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return bad.Load()
}

// sendReport sends one as busybox wget does. The connection leaves nothing behind, or the ports of this machine would run out.
func sendReport(form string) bool {
	c, err := net.Dial("tcp", "127.0.0.1:18081")
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetLinger(0)
	fmt.Fprintf(c, "POST /-/report HTTP/1.0\r\nHost: 127.0.0.1:18081\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(form), form)
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && strings.Contains(line, " 204 ")
}

// entered waits until the ledger knows the last report of each FEC.
func entered(ctx context.Context, root string, fecs int) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		l, err := ledger.Look(ctx, filepath.Join(root, ".pomona", ledger.File))
		if err != nil {
			return err
		}
		latest, err := l.LatestReports(ctx)
		if err := errors.Join(err, l.Close()); err != nil {
			return err
		}
		n := 0
		for _, r := range latest {
			if r.Serial == 2 {
				n++
			}
		}
		if n == fecs {
			return nil
		}
	}
	return errors.New("not all reports are in the ledger after a minute")
}

// processor is the processor time that a process has used, in seconds.
func processor(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var user, system float64
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	return (user + system) / 100, err // a tick is 1/100 s for all programs (proc(5))
}

// metric is the sum of a metric's series.
func metric(url, name string) (sum float64, err error) {
	r, err := http.Get(url)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), name) {
			var v float64
			if _, err := fmt.Sscan(lines.Text()[strings.LastIndex(lines.Text(), " ")+1:], &v); err != nil {
				return 0, err
			}
			sum += v
		}
	}
	return sum, lines.Err()
}

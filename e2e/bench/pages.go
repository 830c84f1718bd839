package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/e2e/bench/site"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

const (
	pagesAddress = "127.0.0.1:18086"
	pagesFew     = 2000
	pagesMany    = 20000
)

// pages asks a service for its pages as a browser does: the fleet of a site, and of a large one each page to which others lead.
func (b *bench) pages(ctx context.Context) error {
	few, err := b.look(ctx, pagesFew)
	if err != nil {
		return err
	}
	b.table.count(fmt.Sprintf("page of the fleet, %d FECs (%s)", pagesFew, few[0]), few[0].seconds*1000, "ms", 50)
	b.table.count("size of that, compressed", few[0].kB, "kB", 150)
	many, err := b.look(ctx, pagesMany)
	if err != nil {
		return err
	}
	slowest := many[0]
	for _, p := range many {
		if p.seconds > slowest.seconds {
			slowest = p
		}
	}
	b.table.count(fmt.Sprintf("page of the fleet, %d FECs (%s)", pagesMany, many[0]), many[0].seconds*1000, "ms", 500)
	b.table.count(fmt.Sprintf("slowest of %d kinds of pages there: %s (%s)", len(many), slowest.kind, slowest), slowest.seconds*1000, "ms", 500)
	return nil
}

// looked is what a page took: the median of some requests.
type looked struct {
	kind        string // its path, with * for names
	seconds, kB float64
	processor   float64 // seconds of the service for one, on average
}

func (p looked) String() string { return fmt.Sprintf("processor time %.3g ms", p.processor*1000) }

// look has a service publish a site of n FECs that have reported, and asks for each kind of page once found, the fleet first.
func (b *bench) look(ctx context.Context, n int) ([]looked, error) {
	dir, err := b.site(n)
	if err != nil {
		return nil, err
	}
	root, key := filepath.Join(b.dir, fmt.Sprintf("pages-%d", n)), filepath.Join(b.dir, "pages-key")
	if _, err := os.Stat(key + ".sec"); err != nil {
		if err := command(b.pomona, "keygen", key).Run(); err != nil {
			return nil, err
		}
	}
	if err := command(b.pomona, "reconcile", dir, "--root", root, "--key", key+".sec").Run(); err != nil {
		return nil, err
	}
	if err := said(ctx, root, n); err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, b.pomona, "serve", dir, "--root", root, "--key", key+".sec", "--listen", "127.0.0.1:18081", "--admin", "127.0.0.1:18085", "--pages", pagesAddress)
	if err := c.Start(); err != nil {
		return nil, err
	}
	defer stop(c)
	fleet := "/" + filepath.Base(dir) + "/"
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if text, _, err := page(fleet); err == nil && strings.Contains(text, fmt.Sprintf("%d of %[1]d FECs", n)) {
			break
		} else if time.Now().After(deadline) {
			return nil, errors.Join(errors.New("the fleet is not shown"), err)
		}
	}
	time.Sleep(5 * time.Second) // the first pass is over
	return b.each(fleet, c.Process.Pid)
}

// link is one to a page of a site.
var link = regexp.MustCompile(`href="(/[^"?#]+)"`)

// each asks for one page of each kind, as links lead to them.
func (b *bench) each(first string, service int) (all []looked, err error) {
	seen, next := map[string]bool{kindOf(first): true}, []string{first}
	for ; len(next) > 0; next = next[1:] {
		p := looked{kind: kindOf(next[0])}
		var took []float64
		var text string
		before, err := processor(service)
		if err != nil {
			return nil, err
		}
		for range b.runs {
			began := time.Now()
			var size int64
			if text, size, err = page(next[0]); err != nil {
				return nil, err
			}
			took = append(took, time.Since(began).Seconds())
			p.kB = float64(size) / 1000
		}
		after, err := processor(service)
		if err != nil {
			return nil, err
		}
		p.seconds, p.processor = median(took), (after-before)/float64(b.runs)
		fmt.Fprintf(os.Stderr, "%s: %.0f ms (%s), %.0f kB\n", p.kind, p.seconds*1000, p, p.kB)
		all = append(all, p)
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			if kind := kindOf(found[1]); strings.HasPrefix(found[1], first) && !seen[kind] {
				seen[kind] = true
				next = append(next, found[1])
			}
		}
	}
	return all, nil
}

// kindOf is a page's path with * for the names in it: /SITE/WORD/NAME/WORD, and versions after names of software.
func kindOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i := range parts {
		if i == 0 || i == 2 || i == 3 && parts[1] == "software" || i > 3 && parts[1] == "campaigns" {
			parts[i] = "*"
		}
	}
	return "/" + strings.Join(parts, "/")
}

// page is the text of a page, and how many bytes were sent of it.
func page(path string) (text string, size int64, err error) {
	r, err := http.NewRequest(http.MethodGet, "http://"+pagesAddress+path, nil)
	if err != nil {
		return "", 0, err
	}
	r.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	sent := &counted{r: resp.Body}
	var in io.Reader = sent
	if resp.Header.Get("Content-Encoding") == "gzip" {
		if in, err = gzip.NewReader(sent); err != nil {
			return "", 0, err
		}
	}
	b, err := io.ReadAll(in)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d", path, resp.StatusCode)
	}
	return string(b), sent.n, err
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// said enters what FECs report: most run what is published, some something older, the boots of some have failed.
func said(ctx context.Context, root string, n int) error {
	l, err := ledger.Open(ctx, filepath.Join(root, ".pomona", ledger.File))
	if err != nil {
		return err
	}
	serials, err := l.Serials(ctx)
	var batch []ledger.FECReport
	for i := range n {
		r := ledger.FECReport{FEC: site.Name(i), Serial: serials[site.Name(i)], State: "running", Slot: "1-abcdef01", Client: "3", Source: "token", From: "192.0.2.1", At: time.Now()}
		switch i % 50 {
		case 0:
			r.Serial--
		case 1:
			r.State, r.Detail = "init-failed", "50-start failed with status 1"
		case 2:
			continue
		}
		batch = append(batch, r)
	}
	return errors.Join(err, l.AddReports(ctx, batch), l.Close())
}

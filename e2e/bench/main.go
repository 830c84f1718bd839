// Command bench measures Pomona beside what a user would use instead, in one run, and prints a table with both columns:
// make bench. It makes its own sites and payload.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	rows := flag.String("rows", ".", "regular expression: only benchmarks whose name matches")
	sizes := flag.String("fecs", "1000,20000", "sizes of the sites for validation")
	runs := flag.Int("runs", 5, "runs of each side; a figure is their median")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := newBench(*rows, *sizes, *runs)
	if err == nil {
		err = errors.Join(b.all(ctx), os.RemoveAll(b.dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run of the benchmarks.
type bench struct {
	want   *regexp.Regexp
	sizes  []int
	runs   int
	dir    string // temporary
	pomona string // the program
	cue    string // stock cue
	table  table
	small  float64 // seconds that one changed FEC takes in the smallest site
}

func newBench(rows, sizes string, runs int) (*bench, error) {
	b := &bench{runs: runs}
	var err error
	if b.want, err = regexp.Compile(rows); err != nil {
		return nil, err
	}
	for word := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("malformed size %q", word)
		}
		b.sizes = append(b.sizes, n)
	}
	if b.dir, err = os.MkdirTemp("", "pomona-bench-"); err != nil {
		return nil, err
	}
	b.pomona, b.cue = filepath.Join(b.dir, "pomona"), filepath.Join(b.dir, "cue")
	for to, from := range map[string]string{b.pomona: "./cmd/pomona", b.cue: "cuelang.org/go/cmd/cue"} {
		if err := command("go", "build", "-trimpath", "-o", to, from).Run(); err != nil {
			return nil, fmt.Errorf("build %s: %w", from, err)
		}
	}
	return b, nil
}

// all runs every benchmark whose name is wanted.
func (b *bench) all(ctx context.Context) error {
	fmt.Println(machine())
	b.table.heading()
	for _, row := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"validate", b.validate}, {"pass", b.pass}, {"merge", b.merge}, {"artifact", b.artifacts}, {"storm", b.storm}, {"reports", b.reports}, {"collect", b.collect}, {"waves", b.waves}, {"campaign", b.campaign}, {"submit", b.submit}, {"gates", b.gates}, {"repodata", b.repodata}, {"pages", b.pages}, {"idle", b.idle},
	} {
		if !b.want.MatchString(row.name) {
			continue
		}
		if err := row.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
	}
	return nil
}

func command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	return c
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

// campaignSlices is how many slices the campaign has, each with one input.
const campaignSlices = 100_000

// campaign has a service plan a campaign whose dataset has 100,000 files: it measures from when the service begins until every slice is in the
// ledger, and the most memory that the service takes meanwhile. A hold keeps it from launching any. BENCH_POSTGRES names a file with the connection string of an
// empty database: then that is measured too.
func (b *bench) campaign(ctx context.Context) error {
	err := b.planCampaign(ctx, "")
	if file := os.Getenv("BENCH_POSTGRES"); file != "" && err == nil {
		err = b.planCampaign(ctx, file)
	}
	return err
}

// planCampaign plans the campaign with a ledger that is a file in the root, or a schema of a database.
func (b *bench) planCampaign(ctx context.Context, postgres string) error {
	conf, root, err := b.campaignSite(ctx, postgres)
	if err != nil {
		return err
	}
	var place ledger.Place = ledger.SQLite(filepath.Join(root, ".pomona/ledger.db"))
	if postgres != "" {
		place = ledger.Postgres{File: postgres, Schema: "pomona_one"}
	}
	began := time.Now()
	c, err := server(ctx, "127.0.0.1:18087", b.pomona, "serve", "--config", conf)
	if c != nil {
		defer stop(c)
	}
	if err != nil {
		return err
	}
	peak, took := 0.0, time.Duration(0)
	for took == 0 && time.Since(began) < time.Minute {
		peak = max(peak, resident(c.Process.Pid))
		n := 0
		if n, err = planned(ctx, place); n == campaignSlices { // else its tables are being made, perhaps
			took = time.Since(began)
		}
		time.Sleep(200 * time.Millisecond) // asking takes time of the service, too
	}
	if took == 0 {
		return errors.Join(fmt.Errorf("plan %d slices: not done within a minute", campaignSlices), err)
	}
	what := fmt.Sprintf("campaign: %d slices planned and recorded, from the start of the service", campaignSlices)
	if postgres != "" {
		what = "PostgreSQL, " + what
	}
	used, err := processor(c.Process.Pid)
	if err != nil {
		return err
	}
	b.table.count(what, took.Seconds(), "s", 5)
	b.table.count(what+", processor time", used, "s", 5)
	b.table.count(what+", memory of the service", peak, "MiB", 200)
	return nil
}

// planned is how many slices of the campaign are in the ledger.
func planned(ctx context.Context, place ledger.Place) (n int, err error) {
	l, err := place.Look(ctx)
	if err != nil {
		return 0, err
	}
	counts, err := l.SliceCounts(ctx, "big/1")
	for _, slices := range counts {
		n += slices
	}
	return n, errors.Join(err, l.Close())
}

// campaignSite publishes a site with the campaign, and is the configuration of a service for it.
func (b *bench) campaignSite(ctx context.Context, postgres string) (conf, root string, err error) {
	dir, place := filepath.Join(b.dir, "campaign"), ""
	if postgres != "" {
		dir, place = dir+"-postgres", fmt.Sprintf("\n\tledger: postgres: %q", postgres)
	}
	site, root, conf := filepath.Join(dir, "site"), filepath.Join(dir, "root"), filepath.Join(dir, "pomona.cue")
	if _, err := measure(exec.CommandContext(ctx, b.pomona, "init", site)); err != nil {
		return "", "", err
	}
	big := fmt.Sprintf(`package site

holds: big: {scope: "campaigns.big", reason: "only planned", until: %q}
campaigns: big: {
	reason:    "how long it takes"
	requester: "bench@example.org"
	state:     "active"
	stages: one: {
		input: command: name: "list"
		split: {type: "files", n: 1}
		job: argv: ["true"]
	}
}
`, time.Now().AddDate(0, 1, 0).Format(time.DateOnly))
	list := "#!/bin/sh\nseq -f '/data/raw/2026/streams/beam/events_run%06.0f_0001.root' 1 " + strconv.Itoa(campaignSlices) + "\n"
	config := fmt.Sprintf(`sites: one: {
	root:   %q
	listen: "127.0.0.1:18087"
	repository: url: %q
	keys: [%q]
	datasets: commands: list: command: [%q]%s
}
admin: "127.0.0.1:18088"
`, root, filepath.Join(site, ".git"), filepath.Join(dir, "key.sec"), filepath.Join(dir, "list"), place)
	err = errors.Join(os.WriteFile(filepath.Join(site, "big.cue"), []byte(big), 0o600), os.WriteFile(conf, []byte(config), 0o600),
		os.WriteFile(filepath.Join(dir, "list"), []byte(list), 0o700))
	for _, args := range [][]string{
		{"git", "-C", site, "add", "-A"}, {"git", "-C", site, "-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "-qm", "A campaign"},
		{b.pomona, "keygen", filepath.Join(dir, "key")}, {b.pomona, "reconcile", site, "--root", root, "--key", filepath.Join(dir, "key.sec")},
	} {
		if err == nil {
			if _, err = measure(exec.CommandContext(ctx, args[0], args[1:]...)); err != nil {
				err = fmt.Errorf("%s: %w", strings.Join(args[:2], " "), err)
			}
		}
	}
	return conf, root, err
}

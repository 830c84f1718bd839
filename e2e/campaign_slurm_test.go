package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/engine/slurmtest"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// slurmEngine is how a service's configuration has a cluster.
func slurmEngine(c *slurmtest.Cluster, accounting bool) string {
	return fmt.Sprintf(`kind: "slurm", slurm: {config: %q, accounting: %t}`, c.Config, accounting)
}

// TestACampaignOnSlurm runs on a real one, with accounting and without.
func TestACampaignOnSlurm(t *testing.T) {
	for name, accounting := range map[string]bool{"with accounting": true, "without accounting": false} {
		t.Run(name, func(t *testing.T) {
			c := slurmtest.New(t, slurmtest.Options{Accounting: accounting})
			runsOn(t, slurmEngine(c, accounting), `partition: "low", options: ["--nice=1"]`)
			if !accounting {
				return
			}
			eventually(t, "accounting has the jobs, in the profile's partition", func() bool {
				out, err := c.Run("sacct", "--noheader", "--parsable2", "--allocations", "--starttime=now-1hours", "--format=JobName,Partition,State")
				fatal(t, err)
				return strings.Count(out, "|low|COMPLETED") == 4 && strings.HasPrefix(out, "pom-")
			})
		})
	}
}

// TestNothingIsLostOrDoneTwiceOnSlurm while Pomona is killed again and again, the controller stands still and is started anew, and
// accounting is away.
func TestNothingIsLostOrDoneTwiceOnSlurm(t *testing.T) {
	const slices = 12
	c := slurmtest.New(t, slurmtest.Options{Accounting: true, Conf: []string{"MessageTimeout=2"}})
	s := configure(t, "one")
	p, folder := newPlant(s.sites["one"], slices), t.TempDir()
	eventually(t, "the site is served", func() bool { return s.answers("one") })
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.write(t, []string{"one"}, fmt.Sprintf("\t\tengines: farm: {folder: %q, interval: \"1s\", timeout: \"20s\", %s}\n", folder, slurmEngine(c, true)))
	p.write("profiles.cue", "package site\n\nsite: profiles: night: {engine: \"farm\", maxTasks: 5}\n", 0o644)
	p.set("\tstate: \"active\"")
	kills := 0
	for _, fault := range []struct{ begin, end func(string) error }{
		{c.Pause, c.Resume}, {c.Stop, c.Start}, {nil, nil}, {c.Pause, c.Resume}, {nil, nil},
	} {
		s.service = serveFile(t, s.file)
		time.Sleep(rand.N(1500 * time.Millisecond))
		if fault.begin != nil {
			fatal(t, fault.begin(slurmtest.Controller))
			time.Sleep(rand.N(1500 * time.Millisecond))
		}
		if err := s.end(syscall.SIGKILL); err == nil {
			t.Fatal("it has ended by itself")
		}
		kills++
		if fault.end != nil {
			fatal(t, fault.end(slurmtest.Controller))
		}
	}
	fatal(t, c.Stop(slurmtest.Accounting))
	s.service = serveFile(t, s.file)
	eventually(t, "all jobs run", func() bool {
		return p.is("work", "active") && p.submissions(observed.SubmissionRunning) == slices
	})
	p.open()
	eventually(t, "all jobs have ended", func() bool { return ends(t, folder) >= slices })
	fatal(t, c.Start(slurmtest.Accounting))
	campaign := p.reaches("work", "complete")
	p.once()
	if done := campaign.Stages[0].Submissions[observed.SubmissionDone]; len(p.runs()) != slices || done != slices {
		t.Errorf("%d of %d slices ran, %d are done", len(p.runs()), slices, done)
	}
	out, err := c.Run("squeue", "--noheader", "--array", "--states=all", "--format=%j %T")
	fatal(t, err)
	t.Logf("%d kills of Pomona; jobs that Slurm has seen: %d completed, %d cancelled", kills, strings.Count(out, "COMPLETED"), strings.Count(out, "CANCELLED"))
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// ends are how many jobs of an engine's folder have noted their end.
func ends(t *testing.T, folder string) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "*/end/*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

// TestJobsOutliveTheService, which is killed while they run, end while nobody looks, and are found when it is back.
func TestJobsOutliveTheService(t *testing.T) {
	t.Parallel()
	p := newPlant(newWorld(t), 2)
	p.set(`	state: "active"`)
	local := filepath.Join(p.root, ".pomona/engines/local")
	for range 2 {
		s := p.start()
		eventually(t, "both jobs run", func() bool {
			return p.is("work", "active") && p.campaign("work").Stages[0].Submissions[observed.SubmissionRunning] == 2
		})
		if err := s.end(syscall.SIGKILL); err == nil {
			t.Fatal("it has ended by itself")
		}
	}
	p.open()
	eventually(t, "the jobs end by themselves", func() bool { return ends(t, local) == 2 })
	p.serve()
	c := p.reaches("work", "complete")
	if runs := p.runs(); len(runs) != 2 || c.Stages[0].Submissions[observed.SubmissionDone] != 2 {
		t.Errorf("runs %v, %+v", runs, c)
	}
	for slice, n := range p.runs() {
		if n != 1 {
			t.Errorf("slice %s ran %d times", slice, n)
		}
	}
}

// TestACampaignOnAnEngineOfItsOwn runs on the example of docs/engines.md.
func TestACampaignOnAnEngineOfItsOwn(t *testing.T) {
	t.Parallel()
	debian(t, "python3", "python3")
	queue := t.TempDir()
	if err := os.WriteFile(filepath.Join(queue, "queue.db"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	runsOn(t, fmt.Sprintf(`kind: "command", command: [%q, %q]`, absolute(t, "../docs/engines/queue"), queue), "")
}

// TestACampaignOnRecordedHTCondor has no HTCondor: programs stand for it that print what a real pool has printed.
func TestACampaignOnRecordedHTCondor(t *testing.T) {
	t.Parallel()
	t.Log("NO REAL HTCONDOR: its recorded output is what Pomona reads here")
	debian(t, "python3", "python3")
	programs := t.TempDir()
	for _, name := range []string{"condor_submit", "condor_q", "condor_history", "condor_release"} {
		if err := os.Symlink(absolute(t, "testdata/condor"), filepath.Join(programs, name)); err != nil {
			t.Fatal(err)
		}
	}
	runsOn(t, fmt.Sprintf(`kind: "htcondor", programs: %q, htcondor: schedd: "submit.example.org"`, programs), `account: "group_beam", options: ["+Project = \"beam\""]`)
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// runsOn has a campaign run to its end on an engine that a service configures and a site's profile names.
func runsOn(t *testing.T, engine, profile string) {
	t.Helper()
	c := configure(t, "one")
	p, folder := newPlant(c.sites["one"], 3), t.TempDir()
	eventually(t, "the site is served", func() bool { return c.answers("one") })
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.write(t, []string{"one"}, fmt.Sprintf("\t\tengines: farm: {folder: %q, interval: \"1s\", %s}\n", folder, engine))
	p.write("profiles.cue", "package site\n\nsite: profiles: night: {engine: \"farm\"\n"+profile+"}\n", 0o644)
	p.set("\tstate: \"active\"")
	p.open()
	c.service = serveFile(t, c.file)
	campaign := p.reaches("work", "complete")
	if runs := p.runs(); len(runs) != 3 || campaign.Stages[0].Submissions[observed.SubmissionDone] != 3 || ends(t, folder) != 4 {
		t.Errorf("runs %v, %d ends, %+v", runs, ends(t, folder), campaign)
	}
}

// TestWhatAnEngineRefusesIsTold has a profile that the local engine takes no jobs of: whoever looks, is told or measures finds out why
// nothing moves.
func TestWhatAnEngineRefusesIsTold(t *testing.T) {
	const cause = "engine local has not taken its job: the local engine knows no GPUs: choose a profile of another engine; it is tried again"
	m := newMill(t)
	m.write("profiles.cue", "package site\n\nsite: profiles: big: {engine: \"local\", resources: gpus: 2}\n", 0o644)
	m.work("refused", "true", `profile: "big", input: files: ["a.raw", "b.raw"], split: {type: "files", n: 1}`, "")
	m.commit("a campaign of which no job is taken")
	m.start()
	m.follows("the campaign is published")
	eventually(t, "the campaign says why nothing moves", func() bool {
		c := m.campaign("refused")
		return strings.Join(c.Why, "; ") == "work: "+cause && c.Stages[0].Why == cause
	})
	if text := must(t, "campaign", "refused", "--root", m.root); !strings.Contains(text, cause) {
		t.Errorf("nobody is told:\n%s", text)
	}
	if text := must(t, "status", "--root", m.root); !strings.Contains(text, "knows no GPUs") {
		t.Errorf("the status does not say why:\n%s", text)
	}
	eventually(t, "people are told", func() bool { return m.told("campaign-held", "refused/1: work: "+cause) })
	if got := m.metric(`pomona_campaign_stuck{campaign="refused/1",site="linac"}`); got != "1" {
		t.Errorf("stuck is %q", got)
	}
	if n := strings.Count(m.served.log(), "jobs of a stage are not handed in"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

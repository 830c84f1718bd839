package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	wire "github.com/pomona-gitops/pomona/reconciler/report"
)

// campaign is how far a campaign is, as an operator is told.
func (w world) campaign(name string) (c wire.Campaign) {
	w.t.Helper()
	out := must(w.t, "campaign", name, "--root", w.root, "-o", "json")
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	return c
}

// reaches waits until a campaign is in a state.
func (w world) reaches(name, state string) wire.Campaign {
	w.t.Helper()
	eventually(w.t, "campaign "+name+" is "+state, func() bool { return w.is(name, state) })
	return w.campaign(name)
}

// is says whether a campaign is there, and in a state.
func (w world) is(name, state string) bool {
	w.t.Helper()
	out, _, code := pomona(w.t, "campaign", name, "--root", w.root, "-o", "json")
	var c wire.Campaign
	return code == 0 && json.Unmarshal([]byte(out), &c) == nil && c.State == state
}

// activate has the template's campaign run.
func (w world) activate() {
	w.t.Helper()
	w.edit("campaigns/campaigns.cue", `requester: "diagnostics@example.org"`, "requester: \"diagnostics@example.org\"\n\tstate: \"active\"")
}

const templateCampaign = "orbit-reprocessing"

// outputs are the files that the jobs of a stage have left, by their content.
func (w world) outputs(name string) (contents []string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.root, ".pomona/engines/local/*/out/*/"+name))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		contents = append(contents, string(b))
	}
	slices.Sort(contents)
	return contents
}

// TestTheTemplatesCampaignRuns from a commit to its last output, with nothing configured.
func TestTheTemplatesCampaignRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve()
	w.activate()
	c := w.reaches(templateCampaign, "complete")
	if len(c.Stages) != 2 || c.Stages[0].State != "complete" || c.Stages[1].State != "complete" || c.Stages[0].Slices[observed.SliceComplete] != 3 || c.Stages[1].Slices[observed.SliceComplete] != 1 ||
		c.Stages[0].Submissions[observed.SubmissionDone] != 3 || c.Stages[1].Submissions[observed.SubmissionDone] != 1 {
		t.Errorf("%+v", c)
	}
	if got := w.outputs("averaged.txt"); !slices.Equal(got, []string{"run-101.raw.averaged\n", "run-102.raw.averaged\n", "run-103.raw.averaged\n"}) {
		t.Errorf("outputs %q", got)
	}
	all := w.outputs("all.txt")
	if len(all) != 1 || strings.Count(all[0], "averaged") != 3 {
		t.Errorf("merged %q", all)
	}
	for _, want := range []string{"campaign orbit-reprocessing/1: complete", "reprocess", "3 complete", "3 done"} {
		if text := must(t, "campaign", templateCampaign, "--root", w.root); !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if list := must(t, "campaign", "--root", w.root); !strings.Contains(list, "orbit-reprocessing/1  complete  4 complete") {
		t.Errorf("list:\n%s", list)
	}
}

// plant is a site with one campaign of a stage whose jobs wait for a gate, and note that they ran.
type plant struct {
	world
	gate, ran string
	spec      string // of the campaign, besides what is the same in all
}

// newPlant has a campaign "work" of n slices, a part of which may fail.
func newPlant(w world, n int) *plant {
	p := &plant{world: w, gate: filepath.Join(w.dir, "gate"), ran: filepath.Join(w.dir, "ran")}
	var files []string
	for i := range n {
		files = append(files, fmt.Sprintf("%q", fmt.Sprintf("run-%d.raw", i+1)))
	}
	p.spec = fmt.Sprintf(`
	reason:    "to see whether it works"
	requester: "ann@example.org"
	stages: {
		make: {
			input: files: [%s]
			split: {type: "files", n: 1}
			job: {
				argv: ["/bin/sh", "-c", "until test -e %s; do sleep 0.1; done; echo $POMONA_SLICE >> %s; ! test -e %s.$(cat ${inputs}) && cp ${inputs} ${outputs}/made.txt"]
				resources: {memory: "64MiB", walltime: "5m"}
				outputs: made: pattern: "*.txt"
			}
		}
		join: {
			needs: make: join: "all"
			job: {argv: ["/bin/sh", "-c", "xargs cat < ${inputs} > ${outputs}/joined.txt"], outputs: joined: {pattern: "joined.txt", perInput: 0}}
		}
	}
`, strings.Join(files, ", "), p.gate, p.ran, filepath.Join(w.dir, "bad"))
	return p
}

// set writes the campaign, with more of it, and commits it.
func (p *plant) set(more string) {
	p.t.Helper()
	p.write("work.cue", "package site\n\ncampaigns: work: {"+p.spec+more+"\n}\n", 0o644)
	p.commit("the campaign: " + more)
}

func (p *plant) open() {
	p.t.Helper()
	if err := os.WriteFile(p.gate, nil, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// runs are how often jobs ran, by slice.
func (p *plant) runs() map[string]int {
	p.t.Helper()
	b, err := os.ReadFile(p.ran)
	if err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	out := map[string]int{}
	for slice := range strings.FieldsSeq(string(b)) {
		out[slice]++
	}
	return out
}

// submissions are how many there are of stage make in a state.
func (p *plant) submissions(state observed.SubmissionState) int {
	p.t.Helper()
	return p.campaign("work").Stages[0].Submissions[state]
}

func (p *plant) why() string {
	p.t.Helper()
	return strings.Join(p.campaign("work").Why, "; ")
}

func (p *plant) once() {
	p.t.Helper()
	for slice, n := range p.runs() {
		if n != 1 {
			p.t.Errorf("slice %s ran %d times", slice, n)
		}
	}
}

// TestACampaignIsHeldPausedAndGoesOn starts nothing under a hold, nothing new when paused, and each slice once.
func TestACampaignIsHeldPausedAndGoesOn(t *testing.T) {
	t.Parallel()
	p := newPlant(newWorld(t), 3)
	p.set(`state: "draft"`)
	p.serve()
	eventually(t, "the draft is known", func() bool { return p.is("work", "draft") })

	p.hold("suspend", "campaigns.work/make", "--reason", "detector off", "--by", "ann", "--for", "1h")
	p.set(`state: "active", stages: make: maxInFlight: 1`)
	p.reaches("work", "active")
	eventually(t, "it says what holds it", func() bool { return strings.Contains(p.why(), "detector off") })
	if c := p.campaign("work"); c.Stages[0].Slices[observed.SlicePlanned] != 3 || len(c.Stages[0].Submissions) != 0 {
		t.Errorf("it is held: %+v", c.Stages[0])
	}
	p.hold("resume", "campaigns.work/make", "--by", "ann")
	eventually(t, "one job runs", func() bool { return p.submissions(observed.SubmissionRunning) == 1 })
	if c := p.campaign("work"); c.Stages[0].Slices[observed.SlicePlanned] != 2 || !strings.Contains(c.Stages[0].Why, "under way") {
		t.Errorf("maxInFlight: %+v", c.Stages[0])
	}

	p.set(`state: "paused", stages: make: maxInFlight: 1`)
	p.reaches("work", "paused")
	p.open()
	eventually(t, "what ran has ended", func() bool { return p.campaign("work").Stages[0].Slices[observed.SliceComplete] == 1 })
	if c := p.campaign("work"); c.Stages[0].Slices[observed.SlicePlanned] != 2 {
		t.Errorf("it is paused: %+v", c.Stages[0])
	}
	p.set(`state: "active"`)
	p.reaches("work", "complete")
	p.once()
	if n := len(p.runs()); n != 3 {
		t.Errorf("%d slices ran", n)
	}
}

// TestAClosedCampaignNeverComesBack cancels what runs; a revert starts nothing, another run does.
func TestAClosedCampaignNeverComesBack(t *testing.T) {
	t.Parallel()
	p := newPlant(newWorld(t), 2)
	p.serve()
	p.set(`state: "active"`)
	eventually(t, "jobs run", func() bool { return p.is("work", "active") && p.submissions(observed.SubmissionRunning) == 2 })
	p.set(`state: "closed"`)
	c := p.reaches("work", "closed")
	if c.Stages[0].Slices[observed.SliceCancelled] != 2 || !c.Ended {
		t.Errorf("%+v", c)
	}
	eventually(t, "its jobs were cancelled", func() bool { return p.submissions(observed.SubmissionCancelled) == 2 })
	git(t, p.site, "revert", "--no-edit", "HEAD")
	p.follows("the revert is published")
	p.open()
	p.touch()
	p.follows("something else is published")
	if c := p.campaign("work"); c.State != "closed" || c.Wanted != "active" || len(p.runs()) != 0 {
		t.Errorf("a revert resurrected it: %+v, %v", c, p.runs())
	}
	if _, errs, code := pomona(t, "campaign", "retry", "work", c.Stages[0].Open[0].ID, "--root", p.root); code == 0 || !strings.Contains(errs, "give it another run") {
		t.Errorf("retried: %s", errs)
	}
	p.set(`state: "active", run: "2"`)
	if c := p.reaches("work", "complete"); c.UID != "work/2" || len(p.runs()) != 2 {
		t.Errorf("%+v, %v", c, p.runs())
	}
	if list := must(t, "campaign", "--all", "--root", p.root); !strings.Contains(list, "work/1  ") || !strings.Contains(list, "work/2  ") {
		t.Errorf("list:\n%s", list)
	}
}

// TestADeletedCampaignDrains: what is planned is done, nothing is added, and the service may die meanwhile.
func TestADeletedCampaignDrains(t *testing.T) {
	t.Parallel()
	p := newPlant(newWorld(t), 4)
	s := p.start()
	p.set(`state: "active", stages: make: maxInFlight: 2`)
	eventually(t, "jobs run", func() bool { return p.is("work", "active") && p.submissions(observed.SubmissionRunning) == 2 })
	if err := os.Remove(filepath.Join(p.site, "work.cue")); err != nil {
		t.Fatal(err)
	}
	p.commit("remove the campaign")
	p.reaches("work", "draining")
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()                                                      // killed
	if c := p.campaign("work"); c.State != "draining" || c.Wanted != "" { // only the site says what is wanted
		t.Errorf("without a service: %+v", c)
	}
	p.open()
	p.serve()
	c := p.reaches("work", "complete")
	if c.Stages[0].Slices[observed.SliceComplete] != 4 {
		t.Errorf("%+v", c)
	}
	p.once()
}

// TestPeopleDecideAboutFailedSlices tries again what failed, and takes as complete what somebody accepts.
func TestPeopleDecideAboutFailedSlices(t *testing.T) {
	t.Parallel()
	p := newPlant(newWorld(t), 3)
	p.open()
	for _, bad := range []string{"run-1.raw", "run-2.raw"} {
		if err := os.WriteFile(filepath.Join(p.dir, "bad."+bad), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.serve()
	p.set(`state: "draft"`)
	eventually(t, "the draft is known", func() bool { return p.is("work", "draft") })
	if out := must(t, "campaign", "test", "work", "--root", p.root, "--by", "ann"); !strings.Contains(out, "make/test-") || strings.Count(out, "planned") != 1 {
		t.Errorf("test launch:\n%s", out)
	}
	eventually(t, "the test has ended", func() bool { return p.campaign("work").Stages[0].Tests[observed.SliceFailed] == 1 })

	p.set(`state: "active"`)
	c := p.reaches("work", "incomplete")
	if c.Stages[0].Slices[observed.SliceFailed] != 2 || c.Stages[0].Slices[observed.SliceComplete] != 1 || !strings.Contains(p.why(), "retry, accept or cancel") {
		t.Errorf("%+v", c)
	}
	byLabel := map[string]string{}
	for _, s := range c.Stages[0].Open {
		byLabel[s.Label] = s.ID
		if s.Key == "" || !strings.Contains(s.Detail, "exit status 1") && !strings.HasPrefix(s.ID, "test-") {
			t.Errorf("%+v", s)
		}
	}
	if err := os.Remove(filepath.Join(p.dir, "bad.run-1.raw")); err != nil {
		t.Fatal(err)
	}
	must(t, "campaign", "retry", "work", byLabel["run-1.raw"], "--root", p.root, "--by", "ann")
	eventually(t, "the second attempt succeeds", func() bool { return p.campaign("work").Stages[0].Slices[observed.SliceComplete] == 2 })
	if _, errs, code := pomona(t, "campaign", "accept", "work", byLabel["run-2.raw"], "--root", p.root); code == 0 || !strings.Contains(errs, "give --reason") {
		t.Errorf("accepted without a reason: %s", errs)
	}
	must(t, "campaign", "accept", "work", byLabel["run-2.raw"], "--reason", "no beam in that run", "--root", p.root, "--by", "ann")
	c = p.reaches("work", "complete")
	text := must(t, "campaign", "work", "--root", p.root)
	if !strings.Contains(text, "accepted make "+byLabel["run-2.raw"]+" by ann: no beam in that run") || !strings.Contains(text, "retried make") || !strings.Contains(text, "tested make") {
		t.Errorf("decisions:\n%s", text)
	}
	if got := p.outputs("joined.txt"); len(got) != 1 || got[0] != "run-1.raw\nrun-3.raw\n" && got[0] != "run-3.raw\nrun-1.raw\n" {
		t.Errorf("joined %q", got)
	}
	if n := p.runs()[byLabel["run-1.raw"]]; n != 2 {
		t.Errorf("ran %d times", n)
	}
}

// TestALostLedgerRunsNothingTwice makes it anew of what was handed in and of what was decided, also of a run that has ended.
func TestALostLedgerRunsNothingTwice(t *testing.T) {
	t.Parallel()
	p := newPlant(newWorld(t), 4)
	for _, bad := range []string{"run-3.raw", "run-4.raw"} {
		if err := os.WriteFile(filepath.Join(p.dir, "bad."+bad), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := p.start()
	p.set(`state: "active", stages: make: maxInFlight: 2`)
	eventually(t, "jobs run", func() bool { return p.is("work", "active") && p.submissions(observed.SubmissionRunning) == 2 })
	p.loseLedger(s)
	p.open()
	s = p.start()
	c := p.reaches("work", "incomplete")
	if c.Stages[0].Slices[observed.SliceComplete] != 2 || c.Stages[0].Slices[observed.SliceFailed] != 2 || len(p.runs()) != 4 {
		t.Errorf("%+v, %v", c, p.runs())
	}
	if !strings.Contains(s.log(), "entered again from launch folders") {
		t.Errorf("log:\n%s", s.log())
	}
	byLabel := map[string]string{}
	for _, s := range c.Stages[0].Open {
		byLabel[s.Label] = s.ID
	}
	must(t, "campaign", "accept", "work", byLabel["run-3.raw"], "--reason", "no beam", "--root", p.root, "--by", "ann")
	p.loseLedger(s)
	s = p.start()
	c = p.reaches("work", "incomplete")
	if text := must(t, "campaign", "work", "--root", p.root); c.Stages[0].Slices[observed.SliceComplete] != 3 || !strings.Contains(text, "accepted make "+byLabel["run-3.raw"]+" by ann: no beam") {
		t.Errorf("what was accepted is not known:\n%s", text)
	}
	must(t, "campaign", "accept", "work", byLabel["run-4.raw"], "--reason", "no beam", "--root", p.root, "--by", "ann")
	p.reaches("work", "complete")
	p.loseLedger(s)
	p.serve()
	c = p.reaches("work", "complete")
	p.touch()
	p.follows("something else is published")
	if c = p.campaign("work"); c.State != "complete" || c.Stages[0].Slices[observed.SliceComplete] != 4 {
		t.Errorf("the run that had ended: %+v", c)
	}
	if got := p.outputs("joined.txt"); len(got) != 1 {
		t.Errorf("joined %q", got)
	}
	p.once()
}

// loseLedger kills the service and removes its ledger.
func (p *plant) loseLedger(s *service) {
	p.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	_ = s.cmd.Wait() // killed
	files, err := filepath.Glob(filepath.Join(p.root, ".pomona/ledger.db*"))
	if err != nil || len(files) == 0 {
		p.t.Fatalf("no ledger: %v", err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			p.t.Fatal(err)
		}
	}
}

// office is a service with a configuration, that knows who signs and what campaigns need.
type office struct {
	*plant
	*configured
	well string // the archive is well while this file is there
}

func newOffice(t *testing.T) *office {
	t.Helper()
	c := configure(t, "linac")
	o := &office{plant: newPlant(c.sites["linac"], 2), configured: c}
	o.well = filepath.Join(o.dir, "well")
	var allowed strings.Builder
	for _, who := range []string{"ann", "zoe"} {
		key := filepath.Join(o.dir, who)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&allowed, "%s@example.org namespaces=\"git\" %s", who, public)
	}
	if err := os.WriteFile(filepath.Join(o.dir, "allowed"), []byte(allowed.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is served", func() bool { return c.answers("linac") }) // else the configuration may be read once only
	c.write(t, []string{"linac"}, fmt.Sprintf("\t\trepository: signatures: allowedSigners: %q\n\t\tservices: archive: {command: [\"/bin/sh\", \"-c\", \"test -e %s || { echo tape robot stuck; exit 1; }\"], interval: \"1s\"}\n",
		filepath.Join(o.dir, "allowed"), o.well))
	eventually(t, "it is served as configured", func() bool { return strings.Contains(c.log(), "configuration read") && c.answers("linac") })
	return o
}

// signed commits the campaign with an approval, signed by somebody.
func (o *office) signed(by, more string) {
	o.plant.t.Helper()
	for name, value := range map[string]string{"gpg.format": "ssh", "user.signingkey": filepath.Join(o.dir, by), "commit.gpgsign": "true"} {
		git(o.plant.t, o.site, "config", name, value)
	}
	o.set(more)
}

// TestSomebodyElseApproves, by a signed commit that names what is approved, while a service that is not well keeps it waiting.
func TestSomebodyElseApproves(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	head := `state: "active", needsApproval: true, services: ["archive"]`
	o.set(head)
	c := o.reaches("work", "awaiting")
	if !strings.Contains(o.why(), "somebody else than ann@example.org has to approve it") || !strings.Contains(o.why(), c.Digest) {
		t.Errorf("why: %s", o.why())
	}
	approval := fmt.Sprintf("%s, approvals: [{digest: %q}]", head, c.Digest)
	o.set(approval)
	eventually(t, "an unsigned approval does not count", func() bool { return strings.Contains(o.why(), "it is not signed") })
	o.set(head)
	o.signed("ann", approval)
	eventually(t, "its requester's approval does not count", func() bool { return strings.Contains(o.why(), "signed by its requester ann@example.org") })
	o.set(head)
	o.signed("zoe", approval)
	o.reaches("work", "active")
	eventually(t, "the service keeps it waiting", func() bool { return strings.Contains(o.why(), "tape robot stuck") })
	if c := o.campaign("work"); c.Stages[0].Slices[observed.SlicePlanned] != 2 || len(o.runs()) != 0 {
		t.Errorf("%+v", c.Stages[0])
	}
	for _, file := range []string{o.well, o.gate} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o.reaches("work", "complete")
	if text := must(t, "campaign", "work", "--root", o.root); !strings.Contains(text, "approved the campaign by zoe@example.org: signature of commit") {
		t.Errorf("decisions:\n%s", text)
	}
	if metrics := string(download(t, "http://"+o.addrs["admin"]+"/metrics")); !strings.Contains(metrics, `pomona_campaigns{site="linac",state="complete"} 1`) || !strings.Contains(metrics, `pomona_service_up{service="archive",site="linac"} 1`) {
		t.Errorf("metrics:\n%s", metrics)
	}
}

// TestWhatWasChangedIsApprovedAgain stops a campaign that is another one than was approved.
func TestWhatWasChangedIsApprovedAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	head := `state: "active", needsApproval: true, stages: make: maxInFlight: 1`
	o.set(head)
	c := o.reaches("work", "awaiting")
	o.signed("zoe", fmt.Sprintf("%s, approvals: [{digest: %q}]", head, c.Digest))
	eventually(t, "a job runs", func() bool { return o.is("work", "active") && o.submissions(observed.SubmissionRunning) == 1 })
	o.signed("ann", fmt.Sprintf("%s, approvals: [{digest: %q}], params: gain: 2", head, c.Digest))
	o.reaches("work", "awaiting")
	o.open()
	eventually(t, "what ran has ended", func() bool { return o.campaign("work").Stages[0].Slices[observed.SliceComplete] == 1 })
	if c := o.campaign("work"); c.Stages[0].Slices[observed.SlicePlanned] != 1 || !strings.Contains(o.why(), "has to approve it") || !strings.Contains(o.why(), "changed since it was approved") {
		t.Errorf("%+v: %s", c.Stages[0], o.why())
	}
}

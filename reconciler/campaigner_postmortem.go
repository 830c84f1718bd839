package reconciler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// PostMortem tells all that is known of a slice, by ID, STAGE/ID or STAGE/EPOCH/ID, of a campaign, by name or NAME/RUN.
func (s *Campaigner) PostMortem(ctx context.Context, campaign, slice string) (report.PostMortem, error) {
	p, stage, err := s.postMortem(ctx, campaign, slice)
	if err == nil {
		s.lookInto(ctx, &p, stage)
	}
	return p, err
}

// PostMortemNow is likewise for who cannot wait: what file systems and catalogues do not tell at once is left out, and it says so.
func (s *Campaigner) PostMortemNow(ctx context.Context, campaign, slice string) (report.PostMortem, error) {
	p, stage, err := s.postMortem(ctx, campaign, slice)
	if err != nil {
		return p, err
	}
	looked := make(chan report.PostMortem, 1)
	select {
	case s.lookers <- struct{}{}:
		go func() {
			defer func() { <-s.lookers }()
			q := p
			q.Attempts = slices.Clone(p.Attempts)
			s.lookInto(ctx, &q, stage)
			looked <- q
		}()
	default: // as many wait for what does not answer as may
	}
	select {
	case q := <-looked:
		return q, nil
	case <-ctx.Done():
	case <-time.After(lookPatience):
	}
	for i := range p.Attempts {
		p.Attempts[i].LogWhy = "its folder does not answer at once: look again"
	}
	if p.Recovery.Select != "" {
		p.Recovery.Why = "at most: what its jobs have left is not to be seen at once"
	}
	return p, nil
}

const (
	lookPatience = 250 * time.Millisecond // how long whoever cannot wait does so for file systems and catalogues
	mostLookers  = 4                      // who look there at once
)

// lookInto adds what is only to be seen outside of the ledger: the logs, and what a recovery would select.
func (s *Campaigner) lookInto(ctx context.Context, p *report.PostMortem, stage desired.Stage) {
	p.Recovery = s.nextRecovery(ctx, *p, stage)
	for i := range p.Attempts {
		a := &p.Attempts[i]
		if desk := s.desk(a.Engine); desk != nil {
			a.LogFile = desk.Log(a.Launch, a.Task)
			a.Log, a.LogWhy = lastLines(a.LogFile)
		}
	}
}

// mostNames is how many inputs are named that a recovery would select.
const mostNames = 10

// nextRecovery is what a recovery of the slice's stage would select as things are. Whoever decides meanwhile need not wait.
func (s *Campaigner) nextRecovery(ctx context.Context, p report.PostMortem, stage desired.Stage) report.SliceRecovery {
	if p.Recovery.Select == "" || len(p.Attempts) == 0 {
		return p.Recovery
	}
	f := plan.SliceFacts{Now: s.Now(), Stage: stage, Slice: observed.Slice{UID: p.UID, Stage: p.Stage, Epoch: p.Epoch, ID: p.ID, Count: p.Inputs, State: p.State, Test: p.Test, Round: p.Round}}
	for _, a := range p.Attempts {
		f.Tries = append(f.Tries, a.Submission)
	}
	if err := errors.Join(s.evidence(ctx, p.UID, &f), s.wouldOffer(ctx, p.UID, &f)); err != nil {
		return report.SliceRecovery{Why: "what it would select is not known: " + err.Error()}
	}
	n, inputs := plan.NextRecovery(f)
	if n == 0 {
		return report.SliceRecovery{Why: "there is too little to do for those that are left"}
	}
	return report.SliceRecovery{Select: stage.Recoveries[n-1].Select, Inputs: len(inputs), Names: inputs[:min(mostNames, len(inputs))]}
}

// PostMortem is likewise what the ledger and the published site tell without a service.
func (r *Reconciler) PostMortem(ctx context.Context, campaign, name string) (report.PostMortem, error) {
	p, _, err := r.postMortem(ctx, campaign, name)
	return p, err
}

func (r *Reconciler) postMortem(ctx context.Context, campaign, name string) (p report.PostMortem, stage desired.Stage, err error) {
	site, err := r.siteIfAny(ctx)
	if err != nil {
		return p, stage, err
	}
	err = r.Records.Use(ctx, func(l *ledger.Ledger) error {
		row, err := namedCampaign(ctx, l, campaign)
		if err != nil {
			return err
		}
		spec, there := site.Campaigns[row.Name]
		if !there || spec.UID(row.Name) != row.UID {
			spec = specOf(row)
		}
		slice, err := sliceCalled(ctx, l, row.UID, name)
		if err != nil {
			return err
		}
		stage = spec.Stages[slice.Stage]
		p, err = postMortemOf(ctx, l, site.Settings, row.Name, spec, slice, r.Now())
		return err
	})
	return p, stage, err
}

// sliceCalled is the slice of an ID, STAGE/ID or STAGE/EPOCH/ID.
func sliceCalled(ctx context.Context, l *ledger.Ledger, uid, name string) (ledger.Slice, error) {
	words := strings.Split(name, "/")
	stage, id, epoch := "", words[len(words)-1], 0
	if len(words) > 1 {
		stage = words[0]
	}
	if len(words) == 3 {
		epoch, _ = strconv.Atoi(words[1]) // else there is none
		found, there, err := l.Slice(ctx, uid, stage, epoch, id)
		if err == nil && !there {
			err = fmt.Errorf("slice %s: %w", name, serve.ErrNoSuch)
		}
		return found, err
	}
	called, err := l.SlicesCalled(ctx, uid, stage, id)
	if err == nil && len(called) == 0 { // for a suggestion
		called, err = l.Slices(ctx, uid, "")
	}
	if err != nil {
		return ledger.Slice{}, err
	}
	return namedSlice(called, name)
}

// namedCampaign is the campaign of a name or NAME/RUN: of a name, what runOf says.
func namedCampaign(ctx context.Context, l *ledger.Ledger, name string) (found ledger.Campaign, err error) {
	rows, err := l.Campaigns(ctx)
	found = rows[runOf(rows, name)]
	if err == nil && found.UID == "" {
		err = refused{fmt.Errorf("nothing was done yet of a campaign %q: pomona campaign lists them", name), serve.ErrNoSuch}
	}
	return found, err
}

func postMortemOf(ctx context.Context, l *ledger.Ledger, settings desired.Settings, name string, spec desired.Campaign, slice ledger.Slice, now time.Time) (p report.PostMortem, err error) {
	stage := spec.Stages[slice.Stage]
	p = report.PostMortem{UID: slice.UID, Stage: slice.Stage, Epoch: slice.Epoch, ID: slice.ID, Label: slice.Label, Digest: slice.Digest, Inputs: slice.Count, Params: slice.Params,
		Cycle: slice.Cycle, Test: slice.Test, State: observed.SliceState(slice.State), Round: slice.Round, Detail: slice.Detail, Since: slice.At, Planned: slice.Began,
		Attempts: []report.Attempt{}, Disturbances: []report.Disturbance{}}
	submissions, err := l.Submissions(ctx, slice.UID, slice.Stage, slice.Epoch, slice.ID)
	if err != nil {
		return p, err
	}
	last := observed.Submission{}
	var tries []observed.Submission
	for _, s := range submissions {
		a, err := attemptOf(ctx, l, s.Key)
		if err != nil {
			return p, err
		}
		tries = append(tries, a.Submission)
		a.Asked = askedOf(settings, spec, stage, tries)
		p.Attempts = append(p.Attempts, a)
		last = a.Submission
	}
	p.Links = linksOf(settings.Campaigns.Links, map[string]string{"campaign": name, "stage": slice.Stage, "slice": slice.ID, "job": last.Job, "key": last.Key})
	until := now
	if p.State.Ended() {
		until = slice.At
	}
	if p.Disturbances, err = disturbancesOf(ctx, l, name, slice.Stage, slice.Began, until); err != nil {
		return p, err
	}
	decided, err := l.SliceEvidence(ctx, slice.UID, slice.Stage, slice.ID)
	p.Decisions = decisionsOf(decided)
	p.Recovery = nextRecovery(stage, slice)
	return p.Explain(), err
}

// askedOf is what the last of some attempts asked for, unless an earlier commit said otherwise.
func askedOf(settings desired.Settings, spec desired.Campaign, stage desired.Stage, tries []observed.Submission) report.Asked {
	if stage.Job == nil {
		return report.Asked{}
	}
	_, profile := settings.ProfileFor(spec, stage)
	r := plan.Asked(stage, profile.Resources, tries)
	return report.Asked{CPUs: r.Processors(), Memory: r.MemoryBytes(), Time: r.Time()}
}

// disturbancesOf are those that a stage may have felt from one time to another.
func disturbancesOf(ctx context.Context, l *ledger.Ledger, campaign, stage string, from, until time.Time) ([]report.Disturbance, error) {
	out := []report.Disturbance{}
	found, err := l.Disturbances(ctx, from, until)
	for _, d := range found {
		switch d.Scope {
		case "", desired.SiteScope, "campaigns", "campaigns." + campaign, "campaigns." + campaign + "/" + stage:
			out = append(out, report.Disturbance(d))
		}
	}
	return out, err
}

// disturb records what keeps campaigns from going on now.
func (s *Campaigner) disturb(ctx context.Context, holds []observed.Hold) error {
	var now []ledger.Disturbance
	for _, h := range holds {
		if h.Scope == desired.SiteScope || strings.HasPrefix(h.Scope, "campaigns") {
			now = append(now, ledger.Disturbance{Kind: "hold", Name: h.ID, Scope: h.Scope, Reason: h.Reason})
		}
	}
	for _, service := range s.samples.sorted() {
		if !service.Well {
			now = append(now, ledger.Disturbance{Kind: "service", Name: service.Name, Reason: service.Why})
		}
	}
	for _, e := range s.reportEngines() {
		if e.Trouble != "" && !e.Asked.IsZero() {
			now = append(now, ledger.Disturbance{Kind: "engine", Name: e.Name, Reason: e.Trouble})
		}
	}
	return s.Records.Use(ctx, func(l *ledger.Ledger) error { return l.SetDisturbances(ctx, s.Now(), now) })
}

// nextRecovery is what would be tried next for a slice.
func nextRecovery(stage desired.Stage, slice ledger.Slice) report.SliceRecovery {
	switch {
	case slice.State == string(observed.SliceComplete):
		return report.SliceRecovery{Why: "the slice is complete"}
	case slice.State == string(observed.SliceCancelled):
		return report.SliceRecovery{Why: "the slice is cancelled"}
	case len(stage.Recoveries) == 0:
		return report.SliceRecovery{Why: "the stage has none"}
	case slice.Round >= len(stage.Recoveries):
		return report.SliceRecovery{Why: fmt.Sprintf("all %d were tried", len(stage.Recoveries))}
	}
	return report.SliceRecovery{Select: stage.Recoveries[slice.Round].Select, Inputs: slice.Count, Why: "at most: which of them is decided by what its jobs have left"}
}

const (
	tailBytes = 16 << 10
	tailLines = 25
)

// lastLines are those of a file, or why there are none.
func lastLines(file string) (lines []string, why string) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // jobs write beside it, and may put anything there
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "its job has printed nothing yet, or its folder is gone: " + file
	case err != nil:
		return nil, err.Error()
	}
	defer f.Close() // only read
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err.Error()
	case !info.Mode().IsRegular():
		return nil, file + " is no file"
	}
	if _, err := f.Seek(max(0, info.Size()-tailBytes), io.SeekStart); err != nil {
		return nil, err.Error()
	}
	b, err := io.ReadAll(io.LimitReader(f, tailBytes))
	if err != nil {
		return nil, err.Error()
	}
	if len(b) == 0 {
		return nil, "its job has printed nothing"
	}
	all := strings.Split(strings.TrimRight(string(bytes.ToValidUTF8(b, []byte("?"))), "\n"), "\n")
	return all[max(0, len(all)-tailLines):], ""
}

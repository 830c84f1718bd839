package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// CampaignAPI answers the submission API from what the campaigner knows.
type CampaignAPI struct{ *Campaigner }

// Campaigns implements serve.Submissions.
func (a CampaignAPI) Campaigns(ctx context.Context) (any, error) {
	return a.Campaigner.Campaigns(ctx, "")
}

// Campaign implements serve.Submissions.
func (a CampaignAPI) Campaign(ctx context.Context, name string) (any, error) {
	all, err := a.Campaigner.Campaigns(ctx, name)
	if err != nil {
		return nil, err
	}
	if one, ok := all.Find(name); ok {
		return one, nil
	}
	return nil, fmt.Errorf("campaign %s: %w", name, serve.ErrNoSuch)
}

// Slices implements serve.Submissions.
func (a CampaignAPI) Slices(ctx context.Context, q serve.SliceQuery) (any, error) {
	out := report.Slices{Slices: []observed.Slice{}}
	err := a.Records.Use(ctx, func(l *ledger.Ledger) error {
		rows, err := l.Campaigns(ctx)
		if err != nil {
			return err
		}
		uid := runOf(rows, q.Campaign)
		if uid == "" {
			return fmt.Errorf("campaign %s: %w, or nothing of it was begun", q.Campaign, serve.ErrNoSuch)
		}
		found, err := l.FindSlices(ctx, ledger.SliceFilter{UID: uid, Stage: q.Stage, State: string(q.State), After: ledger.SliceKey(q.After), Limit: q.Limit})
		for _, s := range found {
			out.Slices = append(out.Slices, observedSlice(s))
		}
		return err
	})
	if n := len(out.Slices); n == q.Limit {
		last := out.Slices[n-1]
		out.Next = serve.SlicePlace{Stage: last.Stage, Epoch: last.Epoch, Slice: last.ID}.String()
	}
	return out, err
}

// runOf is the run that a campaign's name, or NAME/RUN, means: the one that has not ended, else the last; empty if there is none.
func runOf(rows map[string]ledger.Campaign, name string) (uid string) {
	for _, row := range rows {
		switch have := rows[uid]; {
		case row.UID == name:
			return name
		case row.Name != name:
		case uid == "", !goesOn(have) && (goesOn(row) || row.At.After(have.At)):
			uid = row.UID
		}
	}
	return uid
}

// Order implements serve.Submissions. Who has sent it need not wait for the answer: an order is carried out whole.
func (a CampaignAPI) Order(ctx context.Context, o serve.Order) (any, error) {
	did, err := a.Carry(context.WithoutCancel(ctx), CampaignOrder{Do: o.Do, Campaign: o.Campaign, Stage: o.Stage, Slices: o.Slices, Reason: o.Reason, By: o.By, Via: ViaAPI})
	return report.Ordered{Done: strings.Split(strings.TrimSuffix(did, "\n"), "\n")}, err
}

// Submissions implements serve.Submissions.
func (a CampaignAPI) Submissions(ctx context.Context, q serve.SubmissionQuery) (any, error) {
	out := report.Submissions{Submissions: []report.Attempt{}}
	err := a.Records.Use(ctx, func(l *ledger.Ledger) error {
		found, err := l.FindSubmissions(ctx, ledger.SubmissionFilter{Campaign: q.Campaign, Stage: q.Stage, Slice: q.Slice, State: string(q.State), After: q.After, Limit: q.Limit})
		for _, s := range found {
			out.Submissions = append(out.Submissions, report.AttemptOf(observedSubmission(s)))
		}
		return err
	})
	if n := len(out.Submissions); n == q.Limit {
		out.Next = out.Submissions[n-1].Key
	}
	return out, err
}

// Submission implements serve.Submissions.
func (a CampaignAPI) Submission(ctx context.Context, key string) (any, error) {
	var found report.Attempt
	err := a.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		found, err = attemptOf(ctx, l, key)
		return err
	})
	return found, err
}

// attemptOf is a submission with its history.
func attemptOf(ctx context.Context, l *ledger.Ledger, key string) (a report.Attempt, err error) {
	s, known, err := l.Submission(ctx, key)
	switch {
	case err != nil:
		return a, err
	case !known:
		return a, fmt.Errorf("submission %s: %w", key, serve.ErrNoSuch)
	}
	events, err := l.SubmissionEvents(ctx, key)
	a = report.AttemptOf(observedSubmission(s))
	for _, e := range events {
		a.Events = append(a.Events, report.Event(e))
	}
	return a, err
}

// wordsAnHour is how many words on one submission are kept in an hour: a job that says more is heard no more.
const wordsAnHour = 200

// Say implements serve.Submissions. What has not ended is as its batch system says: the word goes into its history. An end counts, and
// nothing counts any more that a job of it still does; but done is only what has left its end mark.
func (a CampaignAPI) Say(ctx context.Context, w serve.SubmissionWord) (any, error) {
	if err := a.mayEnd(ctx, w); err != nil {
		return nil, err
	}
	found, ended, err := a.hear(ctx, w)
	if err == nil && ended.Job != "" {
		a.cancelJob(ctx, ended)
	}
	return found, err
}

// mayEnd says why an operator may say nothing of a submission; nil: they may, or are none. Agents are no people, and have no roles.
func (a CampaignAPI) mayEnd(ctx context.Context, w serve.SubmissionWord) error {
	if !w.Operator || a.Repo == nil {
		return nil
	}
	var of ledger.Submission
	if err := a.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		of, _, err = l.Submission(ctx, w.Key)
		return err
	}); err != nil || of.UID == "" {
		return err // hear says that there is none
	}
	a.deciding.Lock()
	defer a.deciding.Unlock()
	c, err := a.ordered(ctx, of.UID)
	if err != nil {
		return err
	}
	return a.mayOrder(ctx, w.By, c)
}

// hear takes a word, and returns the submission as it was if the word has ended it: its job is still to be cancelled.
func (a CampaignAPI) hear(ctx context.Context, w serve.SubmissionWord) (found report.Attempt, ended observed.Submission, err error) {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	err = a.Records.Use(ctx, func(l *ledger.Ledger) error {
		row, known, err := l.Submission(ctx, w.Key)
		switch {
		case err != nil:
			return err
		case !known:
			return fmt.Errorf("submission %s: %w", w.Key, serve.ErrNoSuch)
		}
		have := observedSubmission(row)
		said := w.Over(have)
		if err := plan.Believes(have, said, w.Operator); err != nil {
			return fmt.Errorf("%w: %w", serve.ErrConflict, err)
		}
		if now, err := a.believe(ctx, l, have, said, w); err != nil {
			return err
		} else if now {
			ended = have
		}
		found, err = attemptOf(ctx, l, w.Key)
		return err
	})
	return found, ended, err
}

// believe records what was said, and says whether that has ended the submission.
func (a CampaignAPI) believe(ctx context.Context, l *ledger.Ledger, have, said observed.Submission, w serve.SubmissionWord) (ended bool, err error) {
	switch {
	case said.State == have.State && (w.Detail == "" || have.State.Ended()):
		return false, nil // the same again
	case !said.State.Ended():
		n, err := l.EventsSince(ctx, w.Key, w.At.Add(-time.Hour))
		if err == nil && n >= wordsAnHour {
			return false, nil
		}
		return false, errors.Join(err, l.AddSubmissionEvent(ctx, w.Key, ledger.SubmissionEvent{State: string(said.State), Detail: detailBy(w), At: w.At}))
	case said.State == observed.SubmissionDone:
		return false, fmt.Errorf("%w: its job has left no end mark, and only that says that it is done. Say failed, and it is tried again as its stage says; or accept the slice as it is: pomona campaign accept", serve.ErrConflict)
	}
	said.Detail = detailBy(w)
	desk := a.desk(said.Engine)
	if desk == nil {
		return false, fmt.Errorf("%w: its engine %s is not configured: nobody can see to it that its job has no effect", serve.ErrConflict, said.Engine)
	}
	if said, err = desk.TakeBack(said); err != nil {
		return false, err
	}
	a.stir()
	return true, l.SetSubmissions(ctx, w.At, ledgerSubmission(said))
}

// cancelJob cancels the job of a submission that was taken back: what it does counts for nothing. Nothing is locked meanwhile, as batch
// systems may take long, and whoever has said the word need not wait for the answer.
func (a CampaignAPI) cancelJob(ctx context.Context, s observed.Submission) {
	e := a.engines[s.Engine]
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), e.Conf.Patience())
	defer stop()
	if err := e.Engine.Cancel(ctx, s.Job); err != nil {
		a.Log.Warn("job is not cancelled, although somebody says that it has ended", "submission", s.Key, "job", s.Job, "err", err)
	}
}

// detailBy is what was said and by whom.
func detailBy(w serve.SubmissionWord) string {
	by := "as " + w.By + " says"
	if w.FromJob {
		by = "as the job says"
	}
	if w.Detail == "" {
		return by
	}
	return w.Detail + ", " + by
}

// SayInputs implements serve.Submissions. Recoveries go by it.
func (a CampaignAPI) SayInputs(ctx context.Context, w serve.InputWords) (any, error) {
	taken := 0
	err := a.Records.Use(ctx, func(l *ledger.Ledger) error {
		s, known, err := l.Submission(ctx, w.Key)
		switch {
		case err != nil:
			return err
		case !known:
			return fmt.Errorf("submission %s: %w", w.Key, serve.ErrNoSuch)
		case observed.SubmissionState(s.State).Ended():
			return fmt.Errorf("%w: submission %s has ended: it is %s", serve.ErrConflict, w.Key, s.State)
		}
		names, err := l.SliceInputs(ctx, s.UID, s.Stage, s.Epoch, s.Slice)
		if err != nil {
			return err
		}
		own := map[string]bool{}
		for _, name := range names {
			own[name] = true
		}
		said := map[string]string{}
		for name, state := range w.Inputs {
			if !own[name] {
				return fmt.Errorf("%w: slice %s of %s has no input %q", serve.ErrConflict, s.Slice, s.Stage, name)
			}
			said[name] = string(state)
		}
		taken = len(said)
		return l.SetInputWords(ctx, s, said, w.At)
	})
	return map[string]int{"inputs": taken}, err
}

// AddSlice implements serve.Submissions.
func (a CampaignAPI) AddSlice(ctx context.Context, n serve.ExternalSlice) (any, error) {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	c, stage, err := a.fed(ctx, n.Campaign, n.Stage)
	if err != nil {
		return nil, err
	}
	defer a.stir()
	return a.addSlice(ctx, c, stage, n)
}

// addSlice keeps and records a slice that others have made, unless it is there already.
func (a CampaignAPI) addSlice(ctx context.Context, c tended, stage desired.Stage, n serve.ExternalSlice) (observed.Slice, error) {
	at := a.Now().UTC()
	s := observed.Slice{UID: c.uid, Stage: n.Stage, Epoch: stage.TheEpoch(), ID: n.ID, Label: n.Label, Digest: plan.InputsDigest(n.Inputs, n.Params), Count: len(n.Inputs),
		Inputs: n.Inputs, Params: n.Params, State: observed.SlicePlanned, Detail: "made by " + n.By, At: at, Began: at}
	if s.Label == "" {
		s.Label = n.ID
	}
	err := a.Records.Use(ctx, func(l *ledger.Ledger) error {
		have, there, err := l.Slice(ctx, c.uid, n.Stage, s.Epoch, n.ID)
		switch {
		case err != nil:
			return err
		case there && have.Digest != s.Digest:
			return fmt.Errorf("%w: slice %s of %s is there already with other inputs or parameters (%s)", serve.ErrConflict, n.ID, n.Stage, strings.TrimPrefix(have.Digest, "sha256:")[:12])
		case there:
			s = observedSlice(have)
			return nil
		}
		row, err := stageRow(ctx, l, c.uid, n.Stage, s.Epoch)
		if err == nil && row.State == plan.StageUnderway {
			err = fmt.Errorf("%w: stage %s takes no more slices: %s", serve.ErrConflict, n.Stage, row.Detail)
		}
		if err != nil {
			return err
		}
		row.State, row.At, row.Inputs = plan.StageOpen, at, row.Inputs+len(n.Inputs)
		is := ledgerSlice(s)
		said := ledger.CampaignEvidence{UID: c.uid, Kind: decidedAdded, Stage: s.Stage, Epoch: s.Epoch, Slice: s.ID, Digest: s.Digest, By: n.By, Source: string(ViaAPI), Commit: c.row.Commit, At: at}
		if err := a.keepDecisions(keptDecision{Evidence: said, Slice: &is}); err != nil {
			return err
		}
		return l.AddSlices(ctx, []ledger.Slice{is}, row)
	})
	s.Inputs = nil
	return s, err
}

// EndSlices implements serve.Submissions.
func (a CampaignAPI) EndSlices(ctx context.Context, campaign, name, by string) (any, error) {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	c, stage, refused := a.fed(ctx, campaign, name)
	if refused != nil && stage.TheSplit(false).Type != desired.ExternalSplit {
		return nil, refused
	}
	var row ledger.CampaignStage
	err := a.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		row, err = stageRow(ctx, l, c.uid, name, stage.TheEpoch())
		switch {
		case err != nil || row.State != "" && row.State != plan.StageOpen: // it was said before
			return err
		case refused != nil:
			return refused
		}
		row.State, row.At = plan.StageUnderway, a.Now().UTC()
		row.Detail = by + " has said at " + observed.Minute(row.At) + " that none comes any more"
		said := ledger.CampaignEvidence{UID: c.uid, Kind: decidedEnded, Stage: name, By: by, Source: string(ViaAPI), Commit: c.row.Commit, At: row.At}
		if err := a.enterDecisions(ctx, l, keptDecision{Evidence: said, Stage: &row}); err != nil {
			return err
		}
		return l.SetCampaignStages(ctx, row)
	})
	a.stir()
	return report.StageEnd{UID: c.uid, Stage: name, Epoch: stage.TheEpoch(), Detail: cmp.Or(row.Detail, "that was said before")}, err
}

// fed is a stage whose slices others make now, and its campaign.
func (a CampaignAPI) fed(ctx context.Context, campaign, name string) (c tended, stage desired.Stage, err error) {
	if c, err = a.ordered(ctx, campaign); err != nil {
		return c, stage, err
	}
	stage, there := c.spec.Stages[name]
	if !there {
		return c, stage, fmt.Errorf("stage %s of campaign %s: %w", name, c.uid, serve.ErrNoSuch)
	}
	if err := c.takesSlices(name, stage); err != nil {
		return c, stage, fmt.Errorf("%w: %w", serve.ErrConflict, err)
	}
	return c, stage, nil
}

// stageRow is how far a stage without cycles is in an epoch.
func stageRow(ctx context.Context, l *ledger.Ledger, uid, name string, epoch int) (ledger.CampaignStage, error) {
	rows, err := l.CampaignStages(ctx, uid)
	for _, row := range rows {
		if row.Stage == name && row.Epoch == epoch && row.Cycle == "" {
			return row, err
		}
	}
	return ledger.CampaignStage{UID: uid, Stage: name, Epoch: epoch}, err
}

// takesSlices says why others cannot add slices to a stage now; nil: they can.
func (c tended) takesSlices(name string, stage desired.Stage) error {
	switch {
	case stage.TheSplit(false).Type != desired.ExternalSplit:
		return fmt.Errorf("stage %s makes its slices itself; split: {type: \"external\"} would have others make them", name)
	case stage.Job == nil:
		return fmt.Errorf("stage %s has no job: nothing would be done with a slice", name)
	case !c.wanted:
		return fmt.Errorf("campaign %s takes no more slices: the site has this run no more", c.uid)
	case c.spec.TheState() != desired.Active:
		return fmt.Errorf("campaign %s takes no slices: the site says that it is %s", c.uid, c.spec.TheState())
	case c.row.State == "":
		return fmt.Errorf("campaign %s takes no slices yet: it has just been published; come back in a moment", c.uid)
	case c.row.State != plan.CampaignActive && c.row.State != plan.CampaignIncomplete:
		return fmt.Errorf("campaign %s takes no slices: it is %s", c.uid, c.row.State)
	}
	return nil
}

package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// CampaignOrder is what an operator wants done about a campaign.
type CampaignOrder struct {
	Do       string   `json:"do"`                 // status, test, retry, cancel or accept
	Campaign string   `json:"campaign,omitempty"` // NAME or NAME/RUN
	All      bool     `json:"all,omitempty"`      // of status: also those that are archived
	Stage    string   `json:"stage,omitempty"`
	Slices   []string `json:"slices,omitempty"` // ID or STAGE/ID
	Reason   string   `json:"reason,omitempty"`
	By       string   `json:"by"`
	Via      OrderVia `json:"-"` // empty: the socket
}

// Kinds of what is decided about campaigns.
const (
	decidedApproved  = "approved"
	decidedRetried   = "retried"
	decidedCancelled = "cancelled"
	decidedAccepted  = "accepted"
	decidedTested    = "tested"
	decidedEnded     = "ended" // a stage of whose slices no more come
	decidedAdded     = "added" // a slice that others have made: kept, but nothing to tell people of
)

// Carry carries out an operator's order, and says what it came to.
func (s *Campaigner) Carry(ctx context.Context, o CampaignOrder) (string, error) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	defer s.stir()
	s.reads.patience = patientRead
	o.Via = cmp.Or(o.Via, ViaSocket)
	s.Log.Info("operator's order about a campaign", "do", o.Do, "campaign", o.Campaign, "stage", o.Stage, "slices", o.Slices, "by", o.By, "via", string(o.Via), "reason", o.Reason)
	c, err := s.ordered(ctx, o.Campaign)
	if err != nil {
		return "", err
	}
	if err := s.mayOrder(ctx, o.By, c); err != nil {
		return "", err
	}
	switch o.Do {
	case "test":
		return s.test(ctx, c, o)
	case "retry", "cancel", "accept":
		return s.change(ctx, c, o)
	}
	return "", refused{fmt.Errorf("unknown order %q", o.Do), serve.ErrMalformed}
}

// ordered is the campaign that an operator means. Who calls it is deciding.
func (s *Campaigner) ordered(ctx context.Context, name string) (c tended, err error) {
	all, err := s.tendedCampaigns(ctx)
	if err != nil {
		return c, err
	}
	var names []string
	for _, each := range all {
		names = append(names, each.name)
		if each.uid == name {
			return each, nil
		}
		if each.name == name && (c.uid == "" || each.wanted) {
			c = each
		}
	}
	if c.uid == "" {
		err = fmt.Errorf("there is no campaign %q", name)
		if near := desired.Suggest(name, names); near != "" {
			err = fmt.Errorf("%w: did you mean %s?", err, near)
		}
		return c, refused{err, serve.ErrNoSuch}
	}
	_, err = s.endedBefore(ctx, &c)
	return c, err
}

// change repeats, cancels or accepts slices.
func (s *Campaigner) change(ctx context.Context, c tended, o CampaignOrder) (string, error) {
	if len(o.Slices) == 0 {
		return "", refused{errors.New("name the slices"), serve.ErrMalformed}
	}
	if o.Do == "accept" && strings.TrimSpace(o.Reason) == "" {
		how := map[OrderVia]string{ViaSocket: "--reason", ViaAPI: "a reason"}[o.Via]
		return "", refused{errors.New("say why it is good enough: give " + how), serve.ErrMalformed}
	}
	if plan.CampaignEnded(c.row.State) {
		return "", conflict("campaign %s has ended: nothing of it changes any more. To do it again, give it another run", c.uid)
	}
	kind := map[string]string{"retry": decidedRetried, "cancel": decidedCancelled, "accept": decidedAccepted}[o.Do]
	var texts []string
	err := s.Records.Use(ctx, func(l *ledger.Ledger) error {
		all, err := l.Slices(ctx, c.uid, "")
		if err != nil {
			return err
		}
		var set []ledger.Slice
		var edges []ledger.SliceEdge
		var unknown []observed.Submission
		for _, name := range o.Slices {
			slice, err := namedSlice(all, name)
			if err != nil {
				return err
			}
			before := slice.State
			running, err := s.running(ctx, l, slice)
			if err != nil {
				return err
			}
			if err := s.decide(c.spec.Stages[slice.Stage], &slice, o, running); err != nil {
				return err
			}
			if o.Do == "accept" {
				if running, err = s.ofUnknown(running); err != nil {
					return err
				}
				unknown = append(unknown, running...)
			}
			set = append(set, slice)
			edges = append(edges, s.edgesOf(c.spec, observedSlice(slice))...)
			texts = append(texts, fmt.Sprintf("%s/%s: was %s, is %s\n", slice.Stage, slice.ID, before, slice.State))
		}
		var decided []keptDecision
		for _, slice := range set {
			is, err := withInputs(ctx, l, slice)
			if err != nil {
				return err
			}
			decided = append(decided, keptDecision{Evidence: ledger.CampaignEvidence{UID: c.uid, Kind: kind, Stage: slice.Stage, Epoch: slice.Epoch, Slice: slice.ID, Digest: slice.Digest, By: o.By,
				Source: string(o.Via), Reason: o.Reason, Commit: c.row.Commit, At: s.Now()}, Slice: is})
		}
		if err := s.enterDecisions(ctx, l, decided...); err != nil { // first: a decision without its effect can be given again
			return err
		}
		if err := s.giveUp(ctx, l, unknown, "its slice was accepted by "+o.By); err != nil {
			return err
		}
		return l.Judge(ctx, set, edges)
	})
	return strings.Join(texts, ""), err
}

// running are the submissions of a slice that have not ended.
func (s *Campaigner) running(ctx context.Context, l *ledger.Ledger, slice ledger.Slice) (open []observed.Submission, err error) {
	all, err := l.Submissions(ctx, slice.UID, slice.Stage, slice.Epoch, slice.ID)
	for _, row := range all {
		if sub := observedSubmission(row); !sub.State.Ended() {
			open = append(open, sub)
			s.hasten(sub.Engine) // it may be about to be cancelled
		}
	}
	return open, err
}

// allUnknown says that of none of some submissions anybody knows what became of it.
func allUnknown(open []observed.Submission) bool {
	return len(open) > 0 && !slices.ContainsFunc(open, func(sub observed.Submission) bool { return sub.State != observed.SubmissionUnknown })
}

// ofUnknown are those of some submissions of which nobody knows what became of them; an error if one of them cannot be taken back.
func (s *Campaigner) ofUnknown(open []observed.Submission) (unknown []observed.Submission, err error) {
	for _, sub := range open {
		if sub.State != observed.SubmissionUnknown {
			continue
		}
		if s.desk(sub.Engine) == nil {
			return nil, fmt.Errorf("submission %s: engine %s: %w", sub.Key, sub.Engine, errNoEngine)
		}
		unknown = append(unknown, sub)
	}
	return unknown, nil
}

// giveUp ends submissions of which nobody knows what became of them: nothing counts any more that their jobs do.
func (s *Campaigner) giveUp(ctx context.Context, l *ledger.Ledger, unknown []observed.Submission, why string) error {
	var ended []ledger.Submission
	for _, sub := range unknown {
		sub.State, sub.Detail = observed.SubmissionCancelled, why
		sub, err := s.desk(sub.Engine).TakeBack(sub)
		if err != nil {
			return err
		}
		ended = append(ended, ledgerSubmission(sub))
	}
	if len(ended) == 0 {
		return nil
	}
	return l.SetSubmissions(ctx, s.Now(), ended...)
}

// decide is what an order makes of a slice of a stage. Running are the submissions of it that have not ended. What is tried again has all its
// inputs: after a recovery in a round of its own, which no recovery follows.
func (s *Campaigner) decide(stage desired.Stage, slice *ledger.Slice, o CampaignOrder, running []observed.Submission) error {
	state := observed.SliceState(slice.State)
	by := "by " + o.By
	if o.Reason != "" {
		by += ": " + o.Reason
	}
	slice.At = s.Now()
	switch {
	case o.Do != "cancel" && state == observed.SliceAwaiting:
		return conflict("slice %s of %s waits for an approval, and only that lets it go on; or cancel it", slice.ID, slice.Stage)
	case o.Do == "retry" && (state == observed.SlicePlanned || state == observed.SliceUnderway || state == observed.SliceVerifying):
		return conflict("slice %s of %s is %s: it is tried already; cancel it first", slice.ID, slice.Stage, state)
	case o.Do == "retry" && state == observed.SliceComplete:
		return conflict("slice %s of %s is complete: to do it again, give its stage another epoch", slice.ID, slice.Stage)
	case o.Do == "retry" && len(running) > 0 && state == observed.SliceLate:
		return conflict("slice %s of %s still has a submission that has not ended, %s: cancel the slice first", slice.ID, slice.Stage, running[0].Key)
	case o.Do == "retry":
		if slice.Round > 0 {
			slice.Round, slice.Tries = max(slice.Round, len(stage.Recoveries))+1, 0
		}
		slice.State, slice.Detail = string(plan.FirstState(stage)), "again, "+by
	case state.Ended() && state != observed.SlicePartial && state != observed.SliceFailed:
		return conflict("slice %s of %s has ended: it is %s", slice.ID, slice.Stage, state)
	case o.Do == "cancel":
		slice.State, slice.Detail = string(observed.SliceCancelled), by
	case state == observed.SlicePlanned || state == observed.SliceUnderway && !allUnknown(running):
		return conflict("slice %s of %s is %s: wait until its jobs have ended, or cancel it", slice.ID, slice.Stage, state)
	default:
		slice.State, slice.Detail = string(observed.SliceComplete), "accepted "+by
	}
	return nil
}

// namedSlice is the slice of an ID or STAGE/ID.
func namedSlice(all []ledger.Slice, name string) (found ledger.Slice, err error) {
	stage, id, ofStage := strings.Cut(name, "/")
	if !ofStage {
		stage, id = "", name
	}
	for _, s := range all {
		if s.ID == id && (stage == "" || s.Stage == stage) {
			if found.ID != "" && found.Stage != s.Stage {
				return found, conflict("stages %s and %s have a slice %s: say %[1]s/%[3]s or %[2]s/%[3]s", found.Stage, s.Stage, id)
			}
			if s.Epoch >= found.Epoch {
				found = s
			}
		}
	}
	if found.ID != "" {
		return found, nil
	}
	err = fmt.Errorf("there is no slice %q", name)
	var ids []string
	for _, s := range all {
		ids = append(ids, s.ID)
	}
	if near := desired.Suggest(id, slices.Compact(slices.Sorted(slices.Values(ids)))); near != "" {
		err = fmt.Errorf("%w: did you mean %s?", err, near)
	}
	return found, refused{err, serve.ErrNoSuch}
}

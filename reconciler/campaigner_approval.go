package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// Approvers know who has approved: by the verified signature of the commit that wrote it down, or by whoever the forge says has
// approved the pull request that brought that commit. Who a commit says its author is, anybody can write.
type Approvers struct {
	Signers *repo.Signers // nil: signatures count for nothing
	Forge   forge.Forge   // nil: there is none
}

// approved is who approved one thing.
type approved struct {
	who    string
	source string // "signature of commit …", "pull request 17"
}

// patientForge is how long a forge is waited for: meanwhile nobody decides about any campaign.
const patientForge = 5 * time.Second

// of is who wrote an approval of a campaign down, as a commit of the site has it, and does not ask for the campaign. An error says
// why nobody is known to have.
func (a Approvers) of(ctx context.Context, r *Reconciler, w wanted, name string, i int) (approved, error) {
	c, err := r.introduced(ctx, w, desired.CUEPath("campaigns", name, "approvals", i, "digest"))
	if err != nil {
		return approved{}, err
	}
	campaign := w.site.Campaigns[name]
	stage := campaign.Approvals[i].Stage != ""
	may := func(who string) bool { return w.site.Settings.Campaigns.MayApprove(who, campaign, stage) }
	var why []error
	if a.Signers != nil {
		who, err := r.Repo.SignedBy(c.ID, a.Signers)
		switch {
		case err != nil:
			why = append(why, err)
		case desired.SamePerson(who, campaign.Requester):
			why = append(why, fmt.Errorf("commit %.12s, which approves it, is signed by its requester %s", c.ID, who))
		case !may(who):
			why = append(why, fmt.Errorf("commit %.12s, which approves it, is signed by %s, who has no role that may: site.campaigns.people names those who do", c.ID, who))
		default:
			return approved{who, fmt.Sprintf("signature of commit %.12s", c.ID)}, nil
		}
	}
	if a.Forge != nil {
		number, people, err := a.ask(ctx, c.ID)
		for _, who := range people {
			if may(who) {
				return approved{who, fmt.Sprintf("pull request %d", number)}, nil
			}
		}
		switch {
		case err != nil:
			why = append(why, err)
		case slices.ContainsFunc(people, func(who string) bool { return !desired.SamePerson(who, campaign.Requester) }):
			why = append(why, fmt.Errorf("pull request %d has been approved by nobody with a role that may: site.campaigns.people names those who do", number))
		case len(people) > 0:
			why = append(why, fmt.Errorf("pull request %d has been approved by nobody but the requester", number))
		default:
			why = append(why, fmt.Errorf("nobody has approved a pull request that brought commit %.12s", c.ID))
		}
	}
	if len(why) == 0 {
		why = append(why, errors.New("this service knows no signers and no forge that could say who wrote the approval: configure repository.signatures or forge"))
	}
	return approved{}, errors.Join(why...)
}

// ask asks the forge who approved what brought a commit.
func (a Approvers) ask(ctx context.Context, commit string) (number int, people []string, err error) {
	ctx, stop := context.WithTimeout(ctx, patientForge)
	defer stop()
	return a.Forge.Approvers(ctx, commit)
}

// approvals are who gave each approval. Who may approve a stage may not approve its campaign: an approval counts for what it says it is of.
type approvals map[desired.Approval]string

// of are the digests that are approved of a stage, and who gave each; empty: of the campaign.
func (a approvals) of(stage string) map[string]string {
	of := map[string]string{}
	for each, who := range a {
		if each.Stage == stage {
			of[each.Digest] = who
		}
	}
	return of
}

// approvals are those that are written down in a campaign and count; doubts say why others do not. Who gave one is found out once, and
// recorded.
func (s *Campaigner) approvals(ctx context.Context, site siteNow, now *campaignNow) (approved approvals, doubts []string, err error) {
	approved, known := approvals{}, approvals{}
	for _, e := range now.evidence {
		if e.Kind == decidedApproved {
			known[desired.Approval{Stage: e.Stage, Digest: e.Digest}] = e.By
		}
	}
	for i, a := range now.spec.Approvals {
		switch who := known[a]; {
		case who != "":
			approved[a] = who
		case !now.wanted || !now.asksFor(a): // it is of what was, or will be
			if of := now.meantBy(a); now.wanted && of != "" {
				doubts = append(doubts, fmt.Sprintf("the approval of %.19s does not count: the digest is that of %s", a.Digest, of))
			}
		default:
			who, err := s.approver(ctx, site, now, i)
			if err != nil {
				doubts = append(doubts, fmt.Sprintf("the approval of %.19s does not count: %v", a.Digest, err))
				continue
			}
			if err := s.recordApproval(ctx, site, now, a, who); err != nil {
				return nil, nil, err
			}
			approved[a] = who.who
		}
	}
	return approved, doubts, nil
}

// meantBy is what an approval's digest is of that it does not say it is of; empty: of nothing that waits.
func (n *campaignNow) meantBy(a desired.Approval) string {
	if a.Digest == n.digest {
		return "the campaign, of which an approval names no stage"
	}
	for stage := range n.waiting {
		if n.asksFor(desired.Approval{Stage: stage, Digest: a.Digest}) {
			return "stage " + stage + ", which such an approval has to name"
		}
	}
	return ""
}

// unapproved says that somebody has to approve a campaign as it is, and nobody has.
func (n *campaignNow) unapproved(settings desired.Settings) bool {
	return plan.NeedsApproval(n.spec, settings) && n.approved.of("")[n.digest] == ""
}

// doubted is why an approval does not count, until it is looked at again.
type doubted struct {
	err   error
	until time.Time
}

func doubtOf(now *campaignNow, i int, site siteNow) string {
	return fmt.Sprintf("%s %d %s", now.uid, i, site.commit)
}

// approver is who gave an approval. What a forge says may change, so that it is asked again and again.
func (s *Campaigner) approver(ctx context.Context, site siteNow, now *campaignNow, i int) (approved, error) {
	key := doubtOf(now, i, site)
	if was, ok := s.doubts[key]; ok && s.Now().Before(was.until) {
		return approved{}, was.err
	}
	w, err := s.load(ctx, site.commit)
	var who approved
	if err == nil {
		who, err = s.Approvers.of(ctx, s.Reconciler, w, now.name, i)
	}
	if err != nil {
		s.doubts[key] = doubted{err, s.Now().Add(again)}
	}
	return who, err
}

func (s *Campaigner) recordApproval(ctx context.Context, site siteNow, now *campaignNow, a desired.Approval, who approved) error {
	s.Log.Info("campaign was approved", "campaign", now.uid, "stage", a.Stage, "by", who.who, "known", who.source)
	return s.Records.Use(ctx, func(l *ledger.Ledger) error {
		return s.enterDecisions(ctx, l, keptDecision{Evidence: ledger.CampaignEvidence{UID: now.uid, Kind: decidedApproved, Stage: a.Stage, Digest: a.Digest, By: who.who, Source: who.source,
			Commit: site.commit, At: s.Now()}})
	})
}

// introduced is the commit that wrote the line that says a value.
func (r *Reconciler) introduced(ctx context.Context, w wanted, path string) (repo.Commit, error) {
	at := desired.Problems{{Path: path}}
	stated, err := w.loaded.Stated(ctx, at)
	if err == nil && stated[0].File == "" {
		stated, err = w.loaded.Locate(ctx, at)
	}
	if err != nil {
		return repo.Commit{}, fmt.Errorf("find %s: %w", path, err)
	}
	if stated[0].File == "" || stated[0].Line == 0 || stated[0].Line == 1 && stated[0].Column == 1 { // where a file names its package
		return repo.Commit{}, fmt.Errorf("find %s: nobody knows which line says it", path)
	}
	changes, err := r.Repo.Changes(w.commit)
	if err != nil {
		return repo.Commit{}, err
	}
	found, err := changes.Lines(ctx, stated[0].File, []int{stated[0].Line})
	if err == nil && found[stated[0].Line].ID == "" {
		err = fmt.Errorf("find who wrote %s:%d: history does not tell", stated[0].File, stated[0].Line)
	}
	return found[stated[0].Line], err
}

package ledger

import (
	"context"
	"database/sql"
	"slices"
	"time"
)

// Campaign is how far a run of a campaign is.
type Campaign struct {
	UID    string // NAME/RUN
	Name   string
	State  string
	Detail string // why it is in that state
	Digest string // of what is done
	Commit string
	Spec   string    // as it was last in the site, JSON: what is planned of one that was deleted is done by that
	Cycle  time.Time // last start of its schedule that was dealt with; zero for none
	At     time.Time // since when it is in this state
	Began  time.Time
}

// Campaigns are all that there have been, by UID.
func (l *Ledger) Campaigns(ctx context.Context) (map[string]Campaign, error) {
	return readMap(ctx, l, "read campaigns", func(scan func(...any) error) (uid string, c Campaign, err error) {
		var cycle, at, began int64
		err = scan(&c.UID, &c.Name, &c.State, &c.Detail, &c.Digest, &c.Commit, &c.Spec, &cycle, &at, &began)
		c.Cycle, c.At, c.Began = unstamp(cycle), unstamp(at), unstamp(began)
		return c.UID, c, err
	}, "SELECT uid, name, state, detail, digest, commit_id, spec, cycle, at, began FROM campaigns")
}

// SetCampaign enters how far a campaign is.
func (l *Ledger) SetCampaign(ctx context.Context, c Campaign) error { return l.SetCampaigns(ctx, c) }

// SetCampaigns enters how far campaigns are: all of them or nothing.
func (l *Ledger) SetCampaigns(ctx context.Context, all ...Campaign) error {
	var rows [][]any
	for _, c := range all {
		rows = append(rows, []any{c.UID, c.Name, c.State, c.Detail, c.Digest, c.Commit, c.Spec, stamp(c.Cycle), stamp(c.At), stamp(c.Began)})
	}
	return l.atomically(ctx, "record campaign", func(tx *sql.Tx) error {
		return inBatches(ctx, tx, "INSERT INTO campaigns (uid, name, state, detail, digest, commit_id, spec, cycle, at, began) VALUES ", rows,
			` ON CONFLICT (uid) DO UPDATE SET name = excluded.name, state = excluded.state, detail = excluded.detail, digest = excluded.digest,
			commit_id = excluded.commit_id, spec = excluded.spec, cycle = excluded.cycle, at = excluded.at, began = excluded.began`)
	})
}

// CampaignStage is how far a stage is, for each start of a schedule.
type CampaignStage struct {
	UID, Stage string
	Epoch      int
	Cycle      string // when the start was due, RFC 3339; empty for none
	State      string
	Detail     string
	Digest     string // of its inputs
	Inputs     int    // of all its slices
	Commit     string
	At         time.Time
}

// CampaignStages are those of a campaign, in the order of their names.
func (l *Ledger) CampaignStages(ctx context.Context, uid string) ([]CampaignStage, error) {
	return read(ctx, l, "read stages", func(scan func(...any) error) (s CampaignStage, err error) {
		var at int64
		err = scan(&s.UID, &s.Stage, &s.Epoch, &s.Cycle, &s.State, &s.Detail, &s.Digest, &s.Inputs, &s.Commit, &at)
		s.At = unstamp(at)
		return s, err
	}, "SELECT uid, stage, epoch, cycle, state, detail, digest, inputs, commit_id, at FROM campaign_stages WHERE uid = ? ORDER BY stage, epoch, cycle", uid)
}

// SetCampaignStages enters how far stages are.
func (l *Ledger) SetCampaignStages(ctx context.Context, stages ...CampaignStage) error {
	return l.atomically(ctx, "record stages", func(tx *sql.Tx) error { return setStages(ctx, tx, stages) })
}

func setStages(ctx context.Context, tx *sql.Tx, stages []CampaignStage) error {
	var rows [][]any
	for _, s := range stages {
		rows = append(rows, []any{s.UID, s.Stage, s.Epoch, s.Cycle, s.State, s.Detail, s.Digest, s.Inputs, s.Commit, stamp(s.At)})
	}
	return inBatches(ctx, tx, "INSERT INTO campaign_stages (uid, stage, epoch, cycle, state, detail, digest, inputs, commit_id, at) VALUES ", rows,
		` ON CONFLICT (uid, stage, epoch, cycle) DO UPDATE SET state = excluded.state, detail = excluded.detail, digest = excluded.digest,
		inputs = excluded.inputs, commit_id = excluded.commit_id, at = excluded.at`)
}

// CampaignEvidence is what somebody has decided about a campaign.
type CampaignEvidence struct {
	UID    string
	Kind   string // approved, accepted, retried, cancelled or another
	Stage  string // empty: the campaign
	Epoch  int    // of the slice; 0: it is about none
	Slice  string // empty: the stage
	Digest string // of what it is about
	By     string
	Source string // how it is known who that is
	Reason string
	Commit string
	At     time.Time
}

// AddCampaignEvidence enters what somebody has decided. It is never changed.
func (l *Ledger) AddCampaignEvidence(ctx context.Context, e CampaignEvidence) error {
	_, err := l.write(ctx, "record decision about campaign", `INSERT INTO campaign_evidence (uid, number, kind, stage, epoch, slice, digest, person, source, reason, commit_id, at)
		SELECT ?, COALESCE(MAX(number), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM campaign_evidence WHERE uid = ?`,
		e.UID, e.Kind, e.Stage, e.Epoch, e.Slice, e.Digest, e.By, e.Source, e.Reason, e.Commit, stamp(e.At), e.UID)
	return err
}

// CampaignEvidence is what was decided about a campaign, oldest first.
func (l *Ledger) CampaignEvidence(ctx context.Context, uid string) ([]CampaignEvidence, error) {
	return l.evidence(ctx, "WHERE uid = ? ORDER BY number", uid)
}

// CampaignEvidenceOf is likewise what was decided of one kind.
func (l *Ledger) CampaignEvidenceOf(ctx context.Context, uid, kind string) ([]CampaignEvidence, error) {
	return l.evidence(ctx, "WHERE uid = ? AND kind = ? ORDER BY number", uid, kind)
}

// SliceEvidence is likewise what was decided about one slice.
func (l *Ledger) SliceEvidence(ctx context.Context, uid, stage, slice string) ([]CampaignEvidence, error) {
	return l.evidence(ctx, "WHERE uid = ? AND stage = ? AND slice = ? ORDER BY number", uid, stage, slice)
}

// LastCampaignEvidence is the last few things that were decided about a campaign, oldest first, and how many more there are.
func (l *Ledger) LastCampaignEvidence(ctx context.Context, uid string, most int) (last []CampaignEvidence, more int, err error) {
	if last, err = l.evidence(ctx, "WHERE uid = ? ORDER BY number DESC LIMIT ?", uid, most); err != nil {
		return nil, 0, err
	}
	slices.Reverse(last)
	all, err := read(ctx, l, "count decisions about campaign", func(scan func(...any) error) (n int, err error) {
		err = scan(&n)
		return n, err
	},
		"SELECT COUNT(*) FROM campaign_evidence WHERE uid = ?", uid)
	if err != nil {
		return nil, 0, err
	}
	return last, all[0] - len(last), nil
}

// evidence is what was decided, of which a clause says which.
func (l *Ledger) evidence(ctx context.Context, which string, args ...any) ([]CampaignEvidence, error) {
	return read(ctx, l, "read decisions about campaign", func(scan func(...any) error) (e CampaignEvidence, err error) {
		var at int64
		err = scan(&e.UID, &e.Kind, &e.Stage, &e.Epoch, &e.Slice, &e.Digest, &e.By, &e.Source, &e.Reason, &e.Commit, &at)
		e.At = unstamp(at)
		return e, err
	}, "SELECT uid, kind, stage, epoch, slice, digest, person, source, reason, commit_id, at FROM campaign_evidence "+which, args...)
}

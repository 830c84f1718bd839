package ledger

import (
	"context"
	"database/sql"
)

// SubmissionGroup is what submissions are counted by.
type SubmissionGroup struct {
	Stage string
	Epoch int
	State string
}

// SubmissionCounts is how many submissions of a campaign there are of each stage, epoch and state.
func (l *Ledger) SubmissionCounts(ctx context.Context, uid string) (map[SubmissionGroup]int, error) {
	return readMap(ctx, l, "count submissions", func(scan func(...any) error) (g SubmissionGroup, n int, err error) {
		err = scan(&g.Stage, &g.Epoch, &g.State, &n)
		return g, n, err
	}, "SELECT stage, epoch, state, COUNT(*) FROM submissions WHERE uid = ? GROUP BY stage, epoch, state", uid)
}

// LastSubmissions are the last attempts at those slices of a campaign that IncompleteSlices gives, by the key of each slice.
func (l *Ledger) LastSubmissions(ctx context.Context, uid string, most int) (map[SliceKey]Submission, error) {
	all, err := read(ctx, l, "read submissions", scanSubmission, "SELECT "+submissionColumns+` FROM submissions
		WHERE uid = ? AND (stage, epoch, slice) IN (SELECT stage, epoch, slice `+incomplete+`) ORDER BY round, attempt`, uid, uid, most)
	out := map[SliceKey]Submission{}
	for _, s := range all {
		out[SliceKey{s.Stage, s.Epoch, s.Slice}] = s
	}
	return out, err
}

// SliceKey names a slice within a campaign.
type SliceKey struct {
	Stage string
	Epoch int
	Slice string
}

// incomplete are slices of a campaign that are not complete, at most so many of a stage.
const incomplete = `FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY stage ORDER BY at DESC, slice) AS place
	FROM slices WHERE uid = ? AND state <> 'complete') AS open WHERE place <= ?`

// IncompleteSlices are slices of a campaign that are not complete, without inputs, in the order of stages and ids, at most so many of
// a stage: those that have changed last.
func (l *Ledger) IncompleteSlices(ctx context.Context, uid string, most int) ([]Slice, error) {
	return read(ctx, l, "read slices", scanSlice, "SELECT "+sliceColumns+" "+incomplete+" ORDER BY stage, epoch, slice", uid, most)
}

// SliceFilter says which slices of a campaign are wanted. What is empty does not matter.
type SliceFilter struct {
	UID, Stage, State string
	After             SliceKey
	Limit             int
}

// FindSlices are those that a filter lets through, without inputs, in the order of stages, epochs and ids.
func (l *Ledger) FindSlices(ctx context.Context, f SliceFilter) ([]Slice, error) {
	return read(ctx, l, "read slices", scanSlice, "SELECT "+sliceColumns+` FROM slices WHERE uid = ? AND (stage, epoch, slice) > (?, ?, ?)
		AND (? = '' OR stage = ?) AND (? = '' OR state = ?) ORDER BY stage, epoch, slice LIMIT ?`,
		f.UID, f.After.Stage, f.After.Epoch, f.After.Slice, f.Stage, f.Stage, f.State, f.State, f.Limit)
}

// UnwantedSubmissions are those of an engine whose slice has ended, by key; of every engine where it is empty.
func (l *Ledger) UnwantedSubmissions(ctx context.Context, engine string) (map[string]bool, error) {
	where, args := openOf(engine)
	return readMap(ctx, l, "read submissions", func(scan func(...any) error) (key string, unwanted bool, err error) {
		err = scan(&key)
		return key, true, err
	}, `SELECT submission FROM submissions s WHERE launch IN (SELECT launch FROM launches WHERE `+where+`)
		AND EXISTS (SELECT 1 FROM slices p WHERE p.uid = s.uid AND p.stage = s.stage AND p.epoch = s.epoch AND p.slice = s.slice AND p.state IN (`+sliceEnds+`))`, args...)
}

// SliceCycle is what slices are counted by that are no tests.
type SliceCycle struct {
	Stage string
	Epoch int
	Cycle string
	State string
}

// SliceCycles is how many slices of a campaign there are of each stage, epoch, cycle and state, without tests.
func (l *Ledger) SliceCycles(ctx context.Context, uid string) (map[SliceCycle]int, error) {
	return readMap(ctx, l, "count slices", func(scan func(...any) error) (g SliceCycle, n int, err error) {
		err = scan(&g.Stage, &g.Epoch, &g.Cycle, &g.State, &n)
		return g, n, err
	}, "SELECT stage, epoch, cycle, state, COUNT(*) FROM slices WHERE uid = ? AND test = 0 GROUP BY stage, epoch, cycle, state", uid)
}

// CycledEdge is an edge and the cycle of the slice that it comes from.
type CycledEdge struct {
	SliceEdge
	Cycle string
}

// CycledEdges are the edges of a campaign that nobody has taken yet, oldest first.
func (l *Ledger) CycledEdges(ctx context.Context, uid string) ([]CycledEdge, error) {
	return read(ctx, l, "read edges", func(scan func(...any) error) (e CycledEdge, err error) {
		var at int64
		err = scan(&e.UID, &e.Stage, &e.Epoch, &e.Slice, &e.Dependent, &at, &e.Cycle)
		e.At = unstamp(at)
		return e, err
	}, `SELECT e.uid, e.stage, e.epoch, e.slice, e.dependent, e.at, s.cycle FROM slice_edges e
		JOIN slices s ON s.uid = e.uid AND s.stage = e.stage AND s.epoch = e.epoch AND s.slice = e.slice
		WHERE e.uid = ? AND e.taken = 0 ORDER BY e.at, e.stage, e.epoch, e.slice, e.dependent`, uid)
}

// RenewEdges enters edges as if nobody had taken them: what they lead to is to be done again, as is known of its stages.
func (l *Ledger) RenewEdges(ctx context.Context, edges []SliceEdge, stages ...CampaignStage) error {
	return l.atomically(ctx, "record edges", func(tx *sql.Tx) error {
		if err := inBatches(ctx, tx, edgesInto, edgeRows(edges), " ON CONFLICT (uid, stage, epoch, slice, dependent) DO UPDATE SET taken = 0"); err != nil {
			return err
		}
		return setStages(ctx, tx, stages)
	})
}

// OpenSlicesSubmissions are the attempts at slices of a campaign that have not ended, oldest first.
func (l *Ledger) OpenSlicesSubmissions(ctx context.Context, uid string) ([]Submission, error) {
	return read(ctx, l, "read submissions", scanSubmission, "SELECT "+submissionColumns+` FROM submissions s
		WHERE uid = ? AND EXISTS (SELECT 1 FROM slices p WHERE p.uid = s.uid AND p.stage = s.stage AND p.epoch = s.epoch AND p.slice = s.slice
		AND p.state NOT IN (`+sliceEnds+`)) ORDER BY round, attempt`, uid)
}

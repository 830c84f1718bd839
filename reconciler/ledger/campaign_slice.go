package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Slice is one part of a stage's input, as it was frozen when it was planned.
type Slice struct {
	UID, Stage string
	Epoch      int
	ID         string
	Label      string
	Digest     string
	Count      int
	Inputs     []string // names without line breaks; nil where they are not read
	Params     map[string]string
	Cycle      string
	Test       bool
	State      string // planned, underway, verifying, awaiting or late; complete, partial, failed or cancelled are ends
	Detail     string
	Round      int
	Tries      int
	At         time.Time
	Began      time.Time
}

const sliceEnds = "'complete', 'partial', 'failed', 'cancelled'"

const sliceColumns = "uid, stage, epoch, slice, label, digest, inputs, params, cycle, test, state, detail, round, tries, at, began"

// AddSlices enters slices with their inputs, and what is known of their stages: all of it or nothing. A slice that is there
// already stays as it is.
func (l *Ledger) AddSlices(ctx context.Context, slices []Slice, stages ...CampaignStage) error {
	return l.atomically(ctx, "record slices", func(tx *sql.Tx) error {
		if err := addSlices(ctx, tx, slices); err != nil {
			return err
		}
		return setStages(ctx, tx, stages)
	})
}

func addSlices(ctx context.Context, tx *sql.Tx, slices []Slice) error {
	var rows, inputs [][]any
	for _, s := range slices {
		row, names, err := s.rows()
		if err != nil {
			return fmt.Errorf("slice %s of %s: %w", s.ID, s.Stage, err)
		}
		if rows = append(rows, row); names != "" {
			inputs = append(inputs, []any{s.UID, s.Stage, s.Epoch, s.ID, names})
		}
	}
	const once = " ON CONFLICT (uid, stage, epoch, slice) DO NOTHING"
	if err := inBatches(ctx, tx, "INSERT INTO slices ("+sliceColumns+") VALUES ", rows, once); err != nil {
		return err
	}
	return inBatches(ctx, tx, "INSERT INTO slice_inputs (uid, stage, epoch, slice, names) VALUES ", inputs, once)
}

// rows are its columns, and the names of its inputs.
func (s Slice) rows() (row []any, names string, err error) {
	params := ""
	if len(s.Params) > 0 {
		b, err := json.Marshal(s.Params)
		if err != nil {
			return nil, "", err
		}
		params = string(b)
	}
	for _, name := range s.Inputs {
		if name == "" || strings.Contains(name, "\n") {
			return nil, "", fmt.Errorf("input %q is empty or has a line break", name)
		}
	}
	return []any{s.UID, s.Stage, s.Epoch, s.ID, s.Label, s.Digest, s.Count, params, s.Cycle, bit(s.Test), s.State, s.Detail, s.Round, s.Tries, stamp(s.At), stamp(s.Began)},
		strings.Join(s.Inputs, "\n"), nil
}

func scanSlice(scan func(...any) error) (s Slice, err error) {
	var params string
	var test, at, began int64
	err = scan(&s.UID, &s.Stage, &s.Epoch, &s.ID, &s.Label, &s.Digest, &s.Count, &params, &s.Cycle, &test, &s.State, &s.Detail, &s.Round, &s.Tries, &at, &began)
	s.Test, s.At, s.Began = test != 0, unstamp(at), unstamp(began)
	if err == nil && params != "" {
		err = json.Unmarshal([]byte(params), &s.Params)
	}
	return s, err
}

// OpenSlices are those of a campaign that have not ended, without inputs, in the order in which they were planned. Of those that wait for
// a submission they are the first of each stage, tests before others, at most so many.
func (l *Ledger) OpenSlices(ctx context.Context, uid string, waiting int) ([]Slice, error) {
	return read(ctx, l, "read slices", scanSlice, "SELECT "+sliceColumns+` FROM (
		SELECT *, 0 AS place FROM slices WHERE uid = ? AND state NOT IN (`+sliceEnds+`, 'planned') UNION ALL
		SELECT *, ROW_NUMBER() OVER (PARTITION BY stage ORDER BY test DESC, began, epoch, slice) AS place FROM slices WHERE uid = ? AND state = 'planned'
		) AS open WHERE place <= ? ORDER BY began, stage, epoch, slice`, uid, uid, waiting)
}

// Slices are all of a stage without inputs, in the order of their ids; of every stage where it is empty.
func (l *Ledger) Slices(ctx context.Context, uid, stage string) ([]Slice, error) {
	return read(ctx, l, "read slices", scanSlice, "SELECT "+sliceColumns+" FROM slices WHERE uid = ? AND (? = '' OR stage = ?) ORDER BY stage, epoch, slice", uid, stage, stage)
}

// SliceIDs are the ids of all of a stage in an epoch, one call for each. The ledger cannot be used before it returns.
func (l *Ledger) SliceIDs(ctx context.Context, uid, stage string, epoch int, each func(id string)) error {
	return l.readEach(ctx, "read slices", func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		if err == nil {
			each(id)
		}
		return err
	}, "SELECT slice FROM slices WHERE uid = ? AND stage = ? AND epoch = ?", uid, stage, epoch)
}

// Slice is one with its inputs; false if there is none.
func (l *Ledger) Slice(ctx context.Context, uid, stage string, epoch int, id string) (Slice, bool, error) {
	found, err := read(ctx, l, "read slice", scanSlice, "SELECT "+sliceColumns+" FROM slices WHERE uid = ? AND stage = ? AND epoch = ? AND slice = ?", uid, stage, epoch, id)
	if err != nil || len(found) == 0 {
		return Slice{}, false, err
	}
	found[0].Inputs, err = l.SliceInputs(ctx, uid, stage, epoch, id)
	return found[0], err == nil, err
}

// SliceGroup is what slices are counted by.
type SliceGroup struct {
	Stage string
	Epoch int
	Test  bool
	State string
}

// SliceCounts is how many slices of a campaign there are of each stage, epoch and state.
func (l *Ledger) SliceCounts(ctx context.Context, uid string) (map[SliceGroup]int, error) {
	return readMap(ctx, l, "count slices", func(scan func(...any) error) (g SliceGroup, n int, err error) {
		var test int64
		err = scan(&g.Stage, &g.Epoch, &test, &g.State, &n)
		g.Test = test != 0
		return g, n, err
	}, "SELECT stage, epoch, test, state, COUNT(*) FROM slices WHERE uid = ? GROUP BY stage, epoch, test, state", uid)
}

// SliceInputs are the names of a slice's inputs, as they were frozen: those that it was cut of, and those that recoveries have added.
func (l *Ledger) SliceInputs(ctx context.Context, uid, stage string, epoch int, id string) ([]string, error) {
	names, _, err := l.SliceInputsByRound(ctx, uid, stage, epoch, id)
	return names, err
}

// SliceInputsByRound is likewise, and says of those that were added with which round.
func (l *Ledger) SliceInputsByRound(ctx context.Context, uid, stage string, epoch int, id string) (names []string, added map[string]int, err error) {
	added = map[string]int{}
	err = l.readEach(ctx, "read inputs", func(scan func(...any) error) error {
		var round int
		var text string
		if err := scan(&round, &text); err != nil {
			return err
		}
		of := strings.Split(text, "\n")
		names = append(names, of...)
		for _, name := range of {
			if round > 0 {
				added[name] = round
			}
		}
		return nil
	}, `SELECT 0 AS round, names FROM slice_inputs WHERE uid = ? AND stage = ? AND epoch = ? AND slice = ? UNION ALL
		SELECT round, names FROM slice_added WHERE uid = ? AND stage = ? AND epoch = ? AND slice = ? ORDER BY 1`, uid, stage, epoch, id, uid, stage, epoch, id)
	return names, added, err
}

// AddedInputs are inputs that a recovery has given a slice. Slice.Inputs are they alone.
type AddedInputs struct {
	Slice
	Added string // digest of those that were added
}

// EachInputs says which inputs the slices of a campaign have, one call or more for each slice. The ledger cannot be used before it returns.
func (l *Ledger) EachInputs(ctx context.Context, uid string, each func(inputs []string)) error {
	return l.readEach(ctx, "read inputs", func(scan func(...any) error) error {
		var names string
		err := scan(&names)
		if err == nil {
			each(strings.Split(names, "\n"))
		}
		return err
	}, "SELECT names FROM slice_inputs WHERE uid = ? UNION ALL SELECT names FROM slice_added WHERE uid = ?", uid, uid)
}

// AssignedInputs says which inputs the slices of a stage have, one call or more for each slice; tests have none, nor those that were
// cancelled, unless a person has done it. The ledger cannot be used before it returns.
func (l *Ledger) AssignedInputs(ctx context.Context, uid, stage string, epoch int, each func(id, cycle string, inputs []string)) error {
	return l.readEach(ctx, "read inputs", func(scan func(...any) error) error {
		var id, cycle, names string
		err := scan(&id, &cycle, &names)
		if err == nil {
			each(id, cycle, strings.Split(names, "\n"))
		}
		return err
	}, `SELECT s.slice, s.cycle, i.names FROM slices s JOIN (
			SELECT uid, stage, epoch, slice, 0 AS round, names FROM slice_inputs WHERE uid = ? AND stage = ? AND epoch = ? UNION ALL
			SELECT uid, stage, epoch, slice, round, names FROM slice_added WHERE uid = ? AND stage = ? AND epoch = ?
		) AS i ON i.uid = s.uid AND i.stage = s.stage AND i.epoch = s.epoch AND i.slice = s.slice
		WHERE s.uid = ? AND s.stage = ? AND s.epoch = ? AND s.test = 0 AND (s.state <> 'cancelled' OR s.slice IN
		(SELECT e.slice FROM campaign_evidence e WHERE e.uid = ? AND e.stage = ? AND e.epoch IN (0, ?) AND e.kind = 'cancelled')) ORDER BY s.slice, i.round`,
		uid, stage, epoch, uid, stage, epoch, uid, stage, epoch, uid, stage, epoch)
}

// SliceEdge is what a slice that has ended leads to: work of another stage.
type SliceEdge struct {
	UID, Stage string
	Epoch      int
	Slice      string
	Dependent  string // stage
	At         time.Time
}

// Judge enters how far slices are, what those that have ended lead to, and which inputs recoveries give them: all of it or nothing. An edge
// of a slice that was not complete before is open again, because the slice may have left more since it was taken; another that was there
// stays as it is, and so do inputs of a round.
func (l *Ledger) Judge(ctx context.Context, slices []Slice, edges []SliceEdge, added ...AddedInputs) error {
	return l.atomically(ctx, "record slices", func(tx *sql.Tx) (err error) {
		if err := openEdges(ctx, tx, edges); err != nil { // first: it asks how far the slices were
			return err
		}
		update, err := tx.PrepareContext(ctx, "UPDATE slices SET state = ?, detail = ?, round = ?, tries = ?, at = ? WHERE uid = ? AND stage = ? AND epoch = ? AND slice = ?")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, update.Close()) }()
		for _, s := range slices {
			if _, err := update.ExecContext(ctx, s.State, s.Detail, s.Round, s.Tries, stamp(s.At), s.UID, s.Stage, s.Epoch, s.ID); err != nil {
				return err
			}
		}
		return addInputs(ctx, tx, added)
	})
}

func openEdges(ctx context.Context, tx *sql.Tx, edges []SliceEdge) error {
	return inBatches(ctx, tx, edgesInto, edgeRows(edges), ` ON CONFLICT (uid, stage, epoch, slice, dependent) DO UPDATE SET taken = 0, at = excluded.at
		WHERE slice_edges.taken <> 0 AND EXISTS (SELECT 1 FROM slices s WHERE s.uid = excluded.uid AND s.stage = excluded.stage AND s.epoch = excluded.epoch
		AND s.slice = excluded.slice AND s.state <> 'complete')`)
}

const edgesInto = "INSERT INTO slice_edges (uid, stage, epoch, slice, dependent, at, taken) VALUES "

// edgeRows are edges as columns that nobody has taken.
func edgeRows(edges []SliceEdge) (rows [][]any) {
	for _, e := range edges {
		rows = append(rows, []any{e.UID, e.Stage, e.Epoch, e.Slice, e.Dependent, stamp(e.At), 0})
	}
	return rows
}

// addInputs enters inputs that recoveries give slices, whose number and digest are others then.
func addInputs(ctx context.Context, tx *sql.Tx, added []AddedInputs) error {
	for _, a := range added {
		_, names, err := a.rows()
		if err != nil {
			return fmt.Errorf("slice %s of %s: %w", a.ID, a.Stage, err)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO slice_added (uid, stage, epoch, slice, round, digest, names) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (uid, stage, epoch, slice, round) DO NOTHING",
			a.UID, a.Stage, a.Epoch, a.ID, a.Round, a.Added, names); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE slices SET inputs = ?, digest = ? WHERE uid = ? AND stage = ? AND epoch = ? AND slice = ?",
			a.Count, a.Digest, a.UID, a.Stage, a.Epoch, a.ID); err != nil {
			return err
		}
	}
	return nil
}

// SliceEdges are those of a campaign that nobody has taken yet, oldest first.
func (l *Ledger) SliceEdges(ctx context.Context, uid string) ([]SliceEdge, error) {
	return read(ctx, l, "read edges", func(scan func(...any) error) (e SliceEdge, err error) {
		var at int64
		err = scan(&e.UID, &e.Stage, &e.Epoch, &e.Slice, &e.Dependent, &at)
		e.At = unstamp(at)
		return e, err
	}, "SELECT uid, stage, epoch, slice, dependent, at FROM slice_edges WHERE uid = ? AND taken = 0 ORDER BY at, stage, epoch, slice, dependent", uid)
}

// ErrTakenEdge says that what an edge leads to was planned before.
var ErrTakenEdge = errors.New("another has planned what it leads to")

// TakeSliceEdges enters the slices that edges lead to, and what is known of their stages, and takes the edges: all of it, or
// nothing and ErrTakenEdge if one of them is taken. So what follows a slice follows once.
func (l *Ledger) TakeSliceEdges(ctx context.Context, at time.Time, edges []SliceEdge, slices []Slice, stages ...CampaignStage) error {
	return l.atomically(ctx, "record slices", func(tx *sql.Tx) (err error) {
		take, err := tx.PrepareContext(ctx, "UPDATE slice_edges SET taken = ? WHERE uid = ? AND stage = ? AND epoch = ? AND slice = ? AND dependent = ? AND taken = 0")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, take.Close()) }()
		for _, e := range edges {
			done, err := take.ExecContext(ctx, stamp(at), e.UID, e.Stage, e.Epoch, e.Slice, e.Dependent)
			if err != nil {
				return err
			}
			if n, err := done.RowsAffected(); err != nil {
				return err
			} else if n == 0 {
				return fmt.Errorf("slice %s of %s for %s: %w", e.Slice, e.Stage, e.Dependent, ErrTakenEdge)
			}
		}
		if err := addSlices(ctx, tx, slices); err != nil {
			return err
		}
		return setStages(ctx, tx, stages)
	})
}

package reconciler

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// output is a file that a job has left.
type output struct {
	folder, name string
	size         int64
	of           ledger.Submission
}

// outputs are the files that the jobs of a slice have left, of all attempts that ended well. Where several have left a file of one name, the
// last stands for those that worked on nothing that it did not. Clashes are names of which more than one file is left after that.
func (s *Campaigner) outputs(ctx context.Context, of ledger.SliceKey, uid string) (files []output, clashes []string, err error) {
	var subs []ledger.Submission
	err = s.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		subs, err = l.Submissions(ctx, uid, of.Stage, of.Epoch, of.Slice)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	for _, sub := range subs {
		desk := s.desk(sub.Engine)
		if observed.SubmissionState(sub.State) != observed.SubmissionDone {
			continue
		}
		if desk == nil {
			return nil, nil, fmt.Errorf("engine %s: %w: where outputs are is not known", sub.Engine, errNoEngine)
		}
		folder, names, err := desk.Outputs(sub.Launch, sub.Task)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range names {
			files = append(files, output{folder: folder, name: filepath.ToSlash(name), size: sizeOf(filepath.Join(folder, name)), of: sub})
		}
	}
	return s.standing(files)
}

// standing are files without those for which one of the same name stands that a later attempt, further back, has left, and the names of which
// several are left.
func (s *Campaigner) standing(files []output) (kept []output, clashes []string, err error) {
	byName := map[string][]output{}
	for _, f := range files {
		byName[f.name] = append(byName[f.name], f)
	}
	read, clash := map[string][]string{}, map[string]bool{}
	for _, f := range files {
		later := byName[f.name][1:]
		byName[f.name] = later
		replaced := false
		for _, l := range later {
			if replaced, err = s.standsFor(read, l.of, f.of); err != nil {
				return nil, nil, err
			} else if replaced {
				break
			}
		}
		if replaced {
			continue
		}
		if len(later) > 0 && !clash[f.name] {
			clash[f.name] = true
			clashes = append(clashes, f.name)
		}
		kept = append(kept, f)
	}
	return kept, clashes, nil
}

// standsFor says whether an attempt has worked on all that an earlier one has: those of one round have the same inputs. Read are inputs of
// attempts that were asked about before.
func (s *Campaigner) standsFor(read map[string][]string, later, earlier ledger.Submission) (bool, error) {
	if later.Round == earlier.Round {
		return true, nil
	}
	for _, sub := range []ledger.Submission{later, earlier} {
		if _, known := read[sub.Key]; known {
			continue
		}
		inputs, err := s.desk(sub.Engine).Inputs(sub.Launch, sub.Task)
		if err != nil {
			return false, err
		}
		slices.Sort(inputs)
		read[sub.Key] = inputs
	}
	return !slices.ContainsFunc(read[earlier.Key], func(name string) bool {
		_, has := slices.BinarySearch(read[later.Key], name)
		return !has
	}), nil
}

// sizeOf is how large a file is, in bytes; 0 if it is gone.
func sizeOf(name string) int64 {
	info, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return info.Size()
}

package observe

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Datasets reads what files datasets have.
type Datasets struct {
	Folders  []string                           // below which globs may look, absolute
	Commands map[string]desired.DatasetsCommand // by name
}

// Limits of datasets. What goes beyond is an error: a dataset that is cut would look like a small one.
const (
	maxInputs      = 2_000_000
	maxName        = 1000    // bytes
	maxDataset     = 1 << 30 // bytes of all answers
	datasetTime    = 10 * time.Minute
	datasetRequest = 2 * time.Minute
)

// Read is what files a dataset has now, by name, none twice. Project is that of a split by what is staged, else empty. An error means that
// nothing is known: a dataset that could not be read whole is never taken for a small or an empty one.
func (d Datasets) Read(ctx context.Context, in desired.Input, project string, now time.Time) ([]observed.Input, error) {
	ctx, stop := context.WithTimeout(ctx, datasetTime)
	defer stop()
	l := &inputs{}
	var err error
	switch {
	case len(in.Files) > 0:
		for _, name := range in.Files {
			err = errors.Join(err, l.add(observed.Input{Name: name}))
		}
	case in.Glob != "":
		err = d.glob(ctx, in.Glob, l)
	case in.HTTP != nil:
		err = catalogue(ctx, *in.HTTP, l)
	case in.SAM != nil:
		err = samFiles(ctx, *in.SAM, project, l)
	case in.Command != nil:
		err = d.command(ctx, *in.Command, l)
	default:
		err = errors.New("it says nowhere what files there are")
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("read the dataset: %w", err)
	}
	return l.settled(in.Settle, now), nil
}

// inputs collects the files of a dataset.
type inputs struct {
	all []observed.Input
}

func (l *inputs) add(in observed.Input) error {
	switch {
	case in.Name == "" || len(in.Name) > maxName || !utf8.ValidString(in.Name) || strings.TrimSpace(in.Name) != in.Name || strings.ContainsFunc(in.Name, isControl):
		return fmt.Errorf("a name that cannot be: %.100q", in.Name)
	case len(l.all) == maxInputs:
		return fmt.Errorf("it has more than %d files: narrow it down", maxInputs)
	}
	if in.Run == 0 {
		in.Run = runOf(in.Name)
	}
	l.all = append(l.all, in)
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// settled are the files by name, without those that ended too short a time ago.
func (l *inputs) settled(settle string, now time.Time) []observed.Input {
	if wait, err := desired.ParseDuration(settle); err == nil {
		l.all = slices.DeleteFunc(l.all, func(i observed.Input) bool { return !i.Time.IsZero() && now.Sub(i.Time) < wait })
	}
	slices.SortStableFunc(l.all, func(a, b observed.Input) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(l.all, func(a, b observed.Input) bool { return a.Name == b.Name })
}

var runInName = regexp.MustCompile(`(?i)(?:^|[^a-z])run[-_]?0*([1-9][0-9]{0,17})(?:[^0-9]|$)`)

// runOf is the run number that a file's name says, as in run-101.raw or x_run00101_2.root; 0 for none.
func runOf(name string) int64 {
	m := runInName.FindStringSubmatch(path.Base(name))
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseInt(m[1], 10, 64) // of at most 18 digits
	return n
}

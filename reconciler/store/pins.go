package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// The files about what FECs say that they run: reported takes a line for each report; pins holds the release that each of
// them runs and that pruning therefore keeps. Between the two, taken holds the reports of which pins are being made.
const (
	reportedFile = durable.Private + "/reported"
	takenFile    = durable.Private + "/reported-taken"
	pinsFile     = durable.Private + "/pins"
)

// Pin is the release that one FEC said last that it runs.
type Pin struct {
	Serial int64           // of its manifest
	Folder artifact.Digest // of the FEC's folder with that manifest
}

// Run is a release that a FEC says that it runs.
type Run struct {
	FEC    string
	Serial int64 // of its manifest
}

// maxReported is how large the file of reports may grow, in bytes, until all but the last few of each FEC are dropped: anybody
// can send reports, and months may go by before one is needed.
const maxReported = 4 << 20

// fewReported of a FEC stay then: perhaps only an earlier one is of a release that was published to it.
const fewReported = 4

// AppendReported remembers which releases FECs run. A power cut may lose the last of them: then the pass after it prunes
// as if these FECs had not reported yet. It is for one goroutine at a time, and not while TakeReported runs.
func AppendReported(dir *durable.Dir, runs []Run) error {
	if info, err := dir.Root().Stat(reportedFile); err == nil && info.Size() > maxReported {
		if err := shorten(dir); err != nil {
			return fmt.Errorf("remember reports: %w", err)
		}
	}
	var b bytes.Buffer
	for _, r := range runs {
		fmt.Fprintf(&b, "%s %d\n", r.FEC, r.Serial)
	}
	if err := dir.Append(reportedFile, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("remember reports: %w", err)
	}
	return nil
}

// shorten leaves the last few reports of each FEC.
func shorten(dir *durable.Dir) error {
	last, err := readReports(dir.Root().FS(), reportedFile)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, fec := range slices.Sorted(maps.Keys(last)) {
		for _, serial := range last[fec][max(0, len(last[fec])-fewReported):] {
			fmt.Fprintf(&b, "%s %d\n", fec, serial)
		}
	}
	if b.Len() > maxReported/2 {
		return errors.New("more FECs report than a site can have")
	}
	return dir.Replace(reportedFile, b.Bytes(), 0o600)
}

// ReadReported is what each FEC reported since the pins were written, the last one last, and each serial once. Lines that do
// not parse are left out.
func ReadReported(root fs.FS) (map[string][]int64, error) {
	return readReports(root, takenFile, reportedFile)
}

// TakeReported takes reports, of which WritePins then makes pins; those that come in meanwhile are for the next ones.
func TakeReported(dir *durable.Dir) (map[string][]int64, error) {
	if !dir.Exists(takenFile) { // else a pass died before it wrote pins
		if err := dir.Rename(reportedFile, takenFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("take reports: %w", err)
		}
	}
	return readReports(dir.Root().FS(), takenFile)
}

func readReports(root fs.FS, files ...string) (map[string][]int64, error) {
	order, n := map[Run]int{}, 0
	for _, file := range files {
		err := eachLine(root, file, 2, func(words []string) {
			n++
			if serial, err := strconv.ParseInt(words[1], 10, 64); err == nil {
				order[Run{words[0], serial}] = n
			}
		})
		if err != nil {
			return nil, err
		}
	}
	out := map[string][]int64{}
	for _, r := range slices.SortedFunc(maps.Keys(order), func(a, b Run) int { return cmp.Compare(order[a], order[b]) }) {
		out[r.FEC] = append(out[r.FEC], r.Serial)
	}
	return out, nil
}

// ReadPins reads the pins of a root.
func ReadPins(root fs.FS) (map[string]Pin, error) {
	out := map[string]Pin{}
	err := eachLine(root, pinsFile, 3, func(words []string) {
		serial, err := strconv.ParseInt(words[1], 10, 64)
		d, err2 := artifact.ParseDigest(words[2])
		if errors.Join(err, err2) == nil {
			out[words[0]] = Pin{serial, d}
		}
	})
	return out, err
}

// WritePins replaces the pins of a root, and forgets the reports that were taken for them.
func WritePins(dir *durable.Dir, pins map[string]Pin) error {
	var b bytes.Buffer
	for _, fec := range slices.Sorted(maps.Keys(pins)) {
		fmt.Fprintf(&b, "%s %d %s\n", fec, pins[fec].Serial, pins[fec].Folder)
	}
	err := dir.Replace(pinsFile, b.Bytes(), 0o600)
	if err == nil {
		err = dir.Remove(takenFile)
	}
	if err != nil {
		return fmt.Errorf("write pins: %w", err)
	}
	return nil
}

func eachLine(root fs.FS, name string, words int, take func([]string)) error {
	b, err := fs.ReadFile(root, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil // whoever only plans may not read the private part
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) == words && strings.HasSuffix(line, "\n") {
			take(fields)
		}
	}
	return nil
}

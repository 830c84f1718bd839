package store

import (
	"bytes"
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
// them runs and that pruning therefore keeps.
const (
	reportedFile = durable.Private + "/reported"
	pinsFile     = durable.Private + "/pins"
)

// Pin is the release that one FEC said last that it runs.
type Pin struct {
	Serial int64           // of its manifest
	Folder artifact.Digest // of the FEC's folder with that manifest
}

// maxReported is how large the file of reports may grow, in bytes, until a pass has read it: anybody can send reports.
const maxReported = 4 << 20

// AppendReported remembers which serial a FEC runs. A power cut may lose the last of them: then the pass after it prunes
// as if the FEC had not reported yet.
func AppendReported(dir *durable.Dir, fec string, serial int64) error {
	if info, err := dir.Root().Stat(reportedFile); err == nil && info.Size() > maxReported {
		return fmt.Errorf("remember report of %s: more reports than a pass has read yet", fec)
	}
	if err := dir.Append(reportedFile, fmt.Appendf(nil, "%s %d\n", fec, serial), 0o600); err != nil {
		return fmt.Errorf("remember report of %s: %w", fec, err)
	}
	return nil
}

// ReadReported is the last serial that each FEC reported since the pins were written. Lines that do not parse are left out.
func ReadReported(root fs.FS) (map[string]int64, error) {
	out := map[string]int64{}
	err := eachLine(root, reportedFile, 2, func(words []string) {
		if serial, err := strconv.ParseInt(words[1], 10, 64); err == nil {
			out[words[0]] = serial
		}
	})
	return out, err
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

// WritePins replaces the pins of a root, and forgets the reports that they were made from. A report that comes in at this
// very moment may be lost: it can only be about what is served now, which needs no pin yet.
func WritePins(dir *durable.Dir, pins map[string]Pin) error {
	var b bytes.Buffer
	for _, fec := range slices.Sorted(maps.Keys(pins)) {
		fmt.Fprintf(&b, "%s %d %s\n", fec, pins[fec].Serial, pins[fec].Folder)
	}
	err := dir.Replace(pinsFile, b.Bytes(), 0o600)
	if err == nil {
		err = dir.Remove(reportedFile)
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

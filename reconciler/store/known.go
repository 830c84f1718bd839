package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// knownFile remembers what was built from what: a line for each build key. It is a cache: a lost or damaged line costs
// one build.
const knownFile = durable.Private + "/known"

// Known maps build keys to artifacts.
type Known map[artifact.Digest]artifact.Artifact

// ReadKnown reads what a root remembers. Lines that do not parse are left out: a crash may have torn the last one.
func ReadKnown(root fs.FS) (Known, error) {
	b, err := fs.ReadFile(root, knownFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Known{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read known artifacts: %w", err)
	}
	k := Known{}
	for line := range strings.Lines(string(b)) {
		if key, a, err := parseKnown(line); err == nil {
			k[key] = a
		}
	}
	return k, nil
}

// WriteKnown replaces what a root remembers.
func WriteKnown(dir *durable.Dir, k Known) error {
	var b bytes.Buffer
	for key, a := range k {
		line := fmt.Sprintf("%s %s %d %q %d %s %d", key, a.Digest, a.Size, string(a.Format), a.Memory, a.SBOM, a.Bill)
		fmt.Fprintf(&b, "%s %s\n", line, check(line))
	}
	if err := dir.Replace(knownFile, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write known artifacts: %w", err)
	}
	return nil
}

// Without is what remains when some objects are gone.
func (k Known) Without(gone map[artifact.Digest]bool) Known {
	left := maps.Clone(k)
	maps.DeleteFunc(left, func(_ artifact.Digest, a artifact.Artifact) bool { return gone[a.Digest] || gone[a.SBOM] })
	return left
}

func parseKnown(line string) (key artifact.Digest, a artifact.Artifact, err error) {
	words := strings.Fields(line)
	last := strings.LastIndexByte(line, ' ')
	if len(words) != 8 || !strings.HasSuffix(line, "\n") || words[7] != check(line[:last]) {
		return key, a, errors.New("malformed line")
	}
	format, err0 := strconv.Unquote(words[3])
	key, err1 := artifact.ParseDigest(words[0])
	d, err2 := artifact.ParseDigest(words[1])
	size, err3 := strconv.ParseInt(words[2], 10, 64)
	memory, err4 := strconv.ParseInt(words[4], 10, 64)
	sbom, err5 := artifact.ParseDigest(words[5])
	bill, err6 := strconv.ParseInt(words[6], 10, 64)
	a = artifact.Artifact{Digest: d, Size: size, Format: artifact.Format(format), Memory: memory, SBOM: sbom, Bill: bill}
	return key, a, errors.Join(err0, err1, err2, err3, err4, err5, err6)
}

// check is the beginning of a line's digest: a line that somebody or a bad disk changed must not decide about a tree.
func check(line string) string { return artifact.Sum([]byte(line)).String()[:16] }

package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// SpecDigest is what an approval of a campaign binds to, sha256:HEX: all that it does and with which profiles, but not its approvals
// and its state.
func SpecDigest(name string, c desired.Campaign, s desired.Settings) string {
	c.Approvals, c.State = nil, ""
	profiles := map[string]desired.Profile{}
	for _, stage := range c.Stages {
		if stage.Job != nil {
			key, p := s.ProfileFor(c, stage)
			p.Provides = nil // what is there is not what jobs do
			profiles[key] = p
		}
	}
	h := sha256.New()
	e := json.NewEncoder(h) // maps are sorted; what the schema accepts has no value that JSON lacks
	_ = e.Encode(c.UID(name))
	_ = e.Encode(c)
	_ = e.Encode(profiles)
	return digestOf(h)
}

// StageDigest is what an approval of slices of an approval stage binds to: those very slices, in any order, of the very campaign. A single
// slice has one, and so have all that wait together.
func StageDigest(spec, stage string, waiting ...observed.Slice) string {
	var lines []string
	for _, s := range waiting {
		lines = append(lines, fmt.Sprintf("%d %s %s\n", s.Epoch, s.ID, s.Digest))
	}
	slices.Sort(lines)
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s", spec, stage, strings.Join(lines, ""))
	return digestOf(h)
}

// InputsDigest is of what jobs of a slice get: its inputs, in their order, and its parameters.
func InputsDigest(inputs []string, params map[string]string) string {
	h := sha256.New()
	var line []byte
	for _, name := range inputs {
		line = append(append(line[:0], name...), '\n')
		h.Write(line)
	}
	for _, name := range sortedKeys(params) {
		fmt.Fprintf(h, "\x00%s=%s\n", name, params[name])
	}
	return digestOf(h)
}

func digestOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

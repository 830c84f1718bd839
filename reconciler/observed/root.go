// Package observed is what is there now: the generations of a root and what the current one holds. It does no I/O.
package observed

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Root is a served directory as a pass finds it.
type Root struct {
	Generations []Generation                          // by number, ascending; all complete
	Current     int64                                 // number of the published generation; 0 for none
	Index       tree.Index                            // of the current generation
	Manifests   map[string]tree.Manifest              // of FECs that a pass asked about, as published now
	Folders     map[string][]tree.Node                // of other folders that a pass asked about, by path
	Known       map[artifact.Digest]artifact.Artifact // build key to artifact
	Commits     map[string]int64                      // by-commit links: commit to generation
	Interrupted bool                                  // an earlier pass died before its end
	Damaged     map[int64]string                      // generations that cannot be what was published, and why
	Reported    map[string][]int64                    // FEC to the serials that it said since that it runs, the last one last
	Pins        map[string]Pin                        // FEC to the release that is kept for it
	Gone        map[artifact.Digest]bool              // folders of FECs in the index that are not there any more
	SweepDue    time.Time                             // when something that nothing reaches will be old enough to go; zero: nothing is
}

// Pin is the release that one FEC said that it runs.
type Pin struct {
	Serial int64           // of its manifest
	Folder artifact.Digest // of the FEC's folder with that manifest
}

// Generation is generation.json: where one generation comes from.
type Generation struct {
	Number    int64           `json:"generation"`
	Site      string          `json:"site"`
	Commit    string          `json:"commit"`  // 40 hex digits
	GitTree   string          `json:"gitTree"` // 40 hex digits
	Tree      artifact.Digest `json:"tree"`
	Pomona    string          `json:"pomona"` // version that rendered it
	Givens    Givens          `json:"givens"`
	Keys      []string        `json:"keys"`               // key numbers that signed it
	PilotKey  string          `json:"pilotKey,omitempty"` // fingerprint of the key that signed repositories of pilots
	Serial    int64           `json:"serial"`             // the highest of any manifest so far, also of FECs that are gone
	Published time.Time       `json:"published"`

	Preview *Proposed `json:"preview,omitempty"` // the pull request that it is the preview of
}

// Givens are what a tree is a function of besides the commit and Pomona's version.
type Givens struct {
	Holds   []Hold   `json:"holds"`   // in force, of operators and after failures, by id
	Held    []Held   `json:"held"`    // FECs that stay as they were, by name
	Expired []string `json:"expired"` // CUE paths of permissions that have passed, sorted
	// Pilots are how far pilots have got, by name
	Pilots []tree.PilotPlace `json:"pilots,omitempty"`
	// Agreed are the agreements by which that is so, by pilot, the first first; a tree does not depend on them
	Agreed []Agreed `json:"agreed,omitempty"`
	// no pull request's check has seen this tree, although they are checked here; changes nothing in it
	Unchecked bool `json:"unchecked,omitempty"`
}

// Digest stands for what of the givens changes a tree.
func (g Givens) Digest() artifact.Digest {
	type held struct {
		FEC, Commit string
		Expired     []string
		Pilots      []HeldPilot `json:",omitempty"`
	}
	of := struct {
		Held    []held
		Expired []string
		Pilots  []tree.PilotPlace `json:",omitempty"`
	}{Expired: append([]string{}, g.Expired...)}
	for _, p := range g.Pilots {
		p.Withheld, p.Had = "", nil // for people, and for who judges it
		of.Pilots = append(of.Pilots, p)
	}
	for _, h := range g.Held {
		of.Held = append(of.Held, held{h.FEC, h.Commit, append([]string{}, h.Expired...), h.Pilots})
	}
	b, err := json.Marshal(of)
	if err != nil {
		panic(err) // strings always encode
	}
	return artifact.Sum(b)
}

// Marshal writes generation.json.
func (g Generation) Marshal() []byte {
	b, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		panic(err) // strings, numbers and times always encode
	}
	return append(b, '\n')
}

// ParseGeneration reads generation.json.
func ParseGeneration(b []byte) (Generation, error) {
	var g Generation
	if err := json.Unmarshal(b, &g); err != nil {
		return g, fmt.Errorf("parse generation.json: %w", err)
	}
	if g.Number < 1 || g.Number > tree.MaxMinutes {
		return g, fmt.Errorf("parse generation.json: malformed generation %d", g.Number)
	}
	return g, nil
}

// Published is the current generation.
func (r Root) Published() (Generation, bool) {
	for _, g := range r.Generations {
		if g.Number == r.Current && r.Current > 0 {
			return g, true
		}
	}
	return Generation{}, false
}

// Whole says whether there is a current generation, and nothing is known to be wrong with it.
func (r Root) Whole() bool { return r.Current > 0 && r.Damaged[r.Current] == "" }

// LastCommit is the commit that was published last, also when generation and link are damaged; empty for none.
func (r Root) LastCommit() (commit string) {
	var newest int64
	for c, n := range r.Commits {
		if n == r.Current && n > 0 {
			return c
		}
		if n > newest {
			commit, newest = c, n
		}
	}
	return commit
}

// HighestSerial is the highest serial of any manifest so far, also when the link to the current generation is lost; 0 for
// an empty root.
func (r Root) HighestSerial() (serial int64) {
	for _, g := range r.Generations {
		serial = max(serial, g.Serial)
	}
	return serial
}

// Newest is the largest number of any generation, published or not.
func (r Root) Newest() int64 {
	n := r.Current
	for _, g := range r.Generations {
		n = max(n, g.Number)
	}
	return n
}

// Object is one object of the store.
type Object struct {
	Digest  artifact.Digest
	Size    int64 // bytes; of a folder, 0
	Written time.Time
}

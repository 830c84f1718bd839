package report

import (
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Prerequisites are what the systems of a site provide, each after what it needs, and how far that is.
type Prerequisites struct {
	Commit  string              `json:"commit,omitempty"` // that is published; empty: none is
	Systems []string            `json:"systems"`          // on which something is provided
	All     []PrerequisiteShown `json:"prerequisites"`
}

// PrerequisiteShown is one of them.
type PrerequisiteShown struct {
	plan.Prerequisite
	Description string                 `json:"description"`
	Ecosystem   string                 `json:"ecosystem"`
	Purpose     string                 `json:"purpose"`
	Needs       []string               `json:"needs,omitempty"`    // prerequisites that it needs
	NeededBy    []string               `json:"neededBy,omitempty"` // prerequisites, and releases as software NAME VERSION
	Provided    []PrerequisiteProvided `json:"provided"`           // by system, the version first that it gets by itself
	Evidence    []PrerequisiteEvidence `json:"evidence"`           // the newest first
}

// PrerequisiteProvided is a version of a prerequisite that a system can get.
type PrerequisiteProvided struct {
	System    string             `json:"system"`
	Version   string             `json:"version"`
	Other     bool               `json:"other,omitempty"`    // only who asks for it gets it
	Provider  string             `json:"provider,omitempty"` // empty: nobody
	Package   string             `json:"package,omitempty"`
	Verdict   plan.GateVerdict   `json:"verdict"` // of its trial
	Why       string             `json:"why,omitempty"`
	Verified  string             `json:"verified,omitempty"` // when a trial found it in order; empty: none did
	Record    string             `json:"record,omitempty"`   // of that
	Deviation *desired.Exception `json:"deviation,omitempty"`
	Ended     bool               `json:"ended,omitempty"` // the deviation is permitted no more
}

// PrerequisiteEvidence is a record, and what it is worth.
type PrerequisiteEvidence struct {
	Name string `json:"name"`
	desired.PrerequisiteRecord
	Says  string `json:"says"`            // its verdict
	Why   string `json:"why,omitempty"`   // it says that
	Void  bool   `json:"void,omitempty"`  // something else is rendered now
	Gates string `json:"gates,omitempty"` // that it decides now
}

// Next is what keeps it from being further, in a line.
func (p PrerequisiteShown) Next() string { return PrerequisiteNext(p.Prerequisite) }

package observed

import "io/fs"

// Damage is something of a root that is not as Pomona left it.
type Damage struct {
	Kind       Kind        `json:"kind"`
	Path       string      `json:"path"` // below the root
	What       string      `json:"what"`
	Mode       fs.FileMode `json:"-"`                    // of WrongMode: the right one
	Generation int64       `json:"generation,omitempty"` // of Gone, Altered and Unlinked
	Preview    int         `json:"preview,omitempty"`    // of Gone: the pull request, in place of a generation
}

// Kind is what happened to something damaged.
type Kind string

// Kinds of damage.
const (
	WrongMode Kind = "mode"     // only the mode is wrong
	Foreign   Kind = "foreign"  // Pomona never put it there
	Edited    Kind = "edited"   // an object or a preview that does not hold what its name says
	Gone      Kind = "gone"     // objects that a generation or a preview reaches are not there
	Altered   Kind = "altered"  // the generation's own folder is not what was published
	Unlinked  Kind = "unlinked" // by-commit does not lead to a generation
)

// Package wire is what load and its evaluation children say to each other over pipes: gob values, a batch down, then
// frames up until one says that the batch is done.
package wire

import (
	"encoding/gob"
	"fmt"
	"io"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// MaxMessage is the largest message that either side reads, in bytes.
const MaxMessage = 256 << 20

// ExitMemory is the exit status of a child that needs more than MaxMemory.
const ExitMemory = 77

// MaxMemory is what a child may use, in bytes.
const MaxMemory = 512 << 20

// Package is the name of the CUE package whose files are a site.
const Package = "site"

// Batch asks for some units. Files holds everything that they may see, by path.
type Batch struct {
	Files map[string][]byte
	Units []Unit
	// CPU is how many seconds of processor time one unit may take.
	CPU uint64
	// Output is how many bytes of JSON one unit may have.
	Output int
}

// Settings is the section of a site that is one object; every other section holds objects by name.
const Settings = "site"

// Unit is one directory package. With Paths only their positions are wanted.
type Unit struct {
	Dir    string // slashes, relative to the site; "." is its root
	Paths  []string
	Stated bool // wanted is where the values of Paths are stated, if that is elsewhere
}

// Frame is one answer. A child sends an empty one when it is ready for its first batch. Unit is an index of Batch.Units, or Whole.
type Frame struct {
	Unit int
	// Started says that the unit's evaluation begins and nothing else.
	Started bool
	// Done ends the batch and says nothing else.
	Done bool
	// Failed says that the unit has no value at all: Objects is then no complete list.
	Failed    bool
	Objects   []Object
	Problems  desired.Problems
	Positions []Position // one for each of Unit.Paths
}

// Whole is the Frame.Unit of an answer that concerns every unit of a batch.
const Whole = -1

// Object is one named value of a site, for instance fecs."kgp2cu02"; the name of site itself is empty. JSON is nil when
// the object has problems; then Draft is what the site's files say without the schema, if that can be written down.
type Object struct {
	Section, Name string
	JSON, Draft   []byte
}

// Position is a place in a file of the site; the zero value is nowhere.
type Position struct {
	File         string
	Line, Column int
}

// Conn sends and receives messages. It is for one goroutine.
type Conn struct {
	enc   *gob.Encoder
	dec   *gob.Decoder
	meter *meter
}

// New talks over r and w.
func New(r io.Reader, w io.Writer) *Conn {
	m := &meter{r: r}
	return &Conn{enc: gob.NewEncoder(w), dec: gob.NewDecoder(m), meter: m}
}

// Send writes a Batch or a Frame.
func (c *Conn) Send(v any) error { return c.enc.Encode(v) }

// Receive reads what Send wrote into v, a pointer to the zero value; io.EOF when the other side has closed.
func (c *Conn) Receive(v any) error {
	c.meter.left = MaxMessage
	return c.dec.Decode(v)
}

// meter refuses to read more than left bytes.
type meter struct {
	r    io.Reader
	left int
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, fmt.Errorf("message exceeds %d bytes", MaxMessage)
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// String is file:line:column.
func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// DataList is what was collected of the persistent data of FECs, by FEC and name.
type DataList struct {
	Service bool   `json:"service"` // one collects, and says how that goes
	One     bool   `json:"-"`       // of one FEC, with all its snapshots
	Data    []Data `json:"data"`
}

// Data is one FEC's data of one name.
type Data struct {
	FEC       string     `json:"fec"`
	Name      string     `json:"name"`
	Wanted    bool       `json:"wanted"` // what is published has it
	Outcome   string     `json:"outcome,omitempty"`
	Tried     time.Time  `json:"tried,omitzero"`
	Next      time.Time  `json:"next,omitzero"`
	Since     time.Time  `json:"failingSince,omitzero"`
	Error     string     `json:"error,omitempty"`
	Snapshots []Snapshot `json:"snapshots"` // newest first
}

// Snapshot is what was collected once.
type Snapshot struct {
	Object   artifact.Digest `json:"sha256"`
	Schema   string          `json:"schema"`
	Path     string          `json:"path"`
	At       time.Time       `json:"collected"`
	Seen     time.Time       `json:"unchangedUntil"` // when the FEC was last seen to hold the same
	Files    int64           `json:"files"`
	Bytes    int64           `json:"bytes"`
	Size     int64           `json:"size"` // as it is kept, compressed
	Newest   bool            `json:"newest"`
	Chosen   bool            `json:"chosen"` // by an operator, to be restored
	Archived bool            `json:"archived"`
}

// Is says what is special about a snapshot; empty: nothing.
func (s Snapshot) Is() string {
	switch {
	case s.Archived:
		return "archived"
	case s.Chosen:
		return "restored, because an operator chose it"
	case s.Newest:
		return "newest"
	}
	return ""
}

// Of is the entry of a FEC's data of one name, made if it is not there. It is good until the next call.
func (l *DataList) Of(fec, name string) *Data {
	i := slices.IndexFunc(l.Data, func(d Data) bool { return d.FEC == fec && d.Name == name })
	if i < 0 {
		i = len(l.Data)
		l.Data = append(l.Data, Data{FEC: fec, Name: name, Snapshots: []Snapshot{}})
	}
	return &l.Data[i]
}

// Sort puts entries in order, and leaves out those of other FECs than the given one, unless it is empty.
func (l *DataList) Sort(fec string) {
	l.Data = slices.DeleteFunc(l.Data, func(d Data) bool { return fec != "" && d.FEC != fec })
	slices.SortFunc(l.Data, func(a, b Data) int { return cmp.Or(cmp.Compare(a.FEC, b.FEC), cmp.Compare(a.Name, b.Name)) })
}

// Text writes a table.
func (l DataList) Text(w io.Writer) error {
	if len(l.Data) == 0 && l.One {
		_, err := io.WriteString(w, "nothing was collected of it, and nothing that is published for it has persistent data\n")
		return err
	}
	if len(l.Data) == 0 {
		_, err := io.WriteString(w, "nothing was collected, and nothing that is published has persistent data\n")
		return err
	}
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FEC\tDATA\tFORMAT\tCOLLECTED\tFILES\tBYTES\tKEPT\tSTATE")
	for _, d := range l.Data {
		s := Snapshot{Schema: "-"}
		collected := "never"
		if len(d.Snapshots) > 0 {
			s = d.Snapshots[0]
			collected = observed.Minute(s.At)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", observed.Printable(d.FEC), observed.Printable(d.Name), observed.Printable(s.Schema), collected, s.Files, s.Bytes, len(d.Snapshots), d.State(l.Service))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if l.One {
		l.snapshots(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// State says how collecting goes.
func (d Data) State(service bool) string {
	chosen := ""
	if i := slices.IndexFunc(d.Snapshots, func(s Snapshot) bool { return s.Chosen }); i >= 0 {
		chosen = fmt.Sprintf("; restores %.12s", d.Snapshots[i].Object)
	}
	switch {
	case d.Error != "":
		return "failing since " + observed.Minute(d.Since) + ": " + observed.Printable(d.Error) + chosen
	case len(d.Snapshots) > 0 && d.Snapshots[0].Archived:
		return "archived: no FEC wants it any more"
	case !service:
		return "no service collects" + chosen
	case !d.Wanted:
		return "not wanted any more"
	case d.Outcome == "nothing":
		return "the FEC has none yet"
	case d.Outcome == "" && d.Next.IsZero():
		return "not asked yet" + chosen
	case d.Outcome == "":
		return "first asked at " + observed.Minute(d.Next) + chosen
	}
	return d.Outcome + " at " + observed.Minute(d.Tried) + chosen
}

func (l DataList) snapshots(b *bytes.Buffer) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nDATA\tSNAPSHOT\tFORMAT\tCOLLECTED\tUNCHANGED UNTIL\tFILES\tBYTES\tSIZE\t")
	for _, d := range l.Data {
		for _, s := range d.Snapshots {
			fmt.Fprintf(t, "%s\t%.12s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", observed.Printable(d.Name), s.Object, observed.Printable(s.Schema),
				observed.Minute(s.At), observed.Minute(s.Seen), s.Files, s.Bytes, s.Size, s.Is())
		}
	}
	_ = t.Flush() // into memory
}

package collect

import (
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Archived is where snapshots go that no FEC of the site wants any more, by FEC. It is not served, and nothing removes them.
const Archived = durable.Private + "/data"

// Snapshot is what was collected of one name at one time: a gzipped tar. Its own header says all of this, so that there is no
// record beside the files that could be lost.
type Snapshot struct {
	FEC, Name, Schema string
	Path              string          // on the FEC, absolute
	At                time.Time       // when it was collected
	Seen              time.Time       // when the FEC was last seen to hold the same
	Files, Bytes      int64           // that it holds
	Content           artifact.Digest // of the tar
	Object            artifact.Digest // of the file
	Size              int64           // of the file
	Archived          bool
}

// place is where it lies below the root.
func (s Snapshot) place() string { return folderOf(s.FEC, s.Archived) + "/" + s.Object.String() }

func folderOf(fec string, archived bool) string {
	if archived {
		return Archived + "/" + fec
	}
	return tree.DataFolder + "/" + fec + "/sha256"
}

// comment is what the header of its file says. Its length does not depend on what is known only at the end.
func (s Snapshot) comment() string {
	return fmt.Sprintf("pomona-data 1 %s %s %-*s %s %d %010d %019d %s", s.FEC, s.Name, maxFormat, s.Schema, s.Path, s.At.UnixMilli(), s.Files, s.Bytes, s.Content)
}

// maxFormat is the longest tag of a format, in bytes.
const maxFormat = 63

// commentAt is where a comment begins in a gzip file that has neither extra fields nor a name (RFC 1952).
const commentAt = 10

func (s *Snapshot) parse(comment string) error {
	words := strings.Fields(comment)
	if len(words) != 10 || words[0] != "pomona-data" || words[1] != "1" {
		return errors.New("it is no snapshot")
	}
	s.FEC, s.Name, s.Schema, s.Path = words[2], words[3], words[4], words[5]
	var numbers [3]int64
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.ParseInt(words[6+i], 10, 64); err != nil {
			return fmt.Errorf("it is no snapshot: %w", err)
		}
	}
	s.At, s.Files, s.Bytes = time.UnixMilli(numbers[0]).UTC(), numbers[1], numbers[2]
	var err error
	s.Content, err = artifact.ParseDigest(words[9])
	return err
}

// Snapshots are those of a FEC that lie below a root, the newest of each name first. What is none is passed over.
func Snapshots(root *os.Root, fec string) ([]Snapshot, error) {
	var out []Snapshot
	for _, archived := range []bool{false, true} {
		folder := folderOf(fec, archived)
		names, err := durable.Names(root, folder)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			s, err := look(root, folder+"/"+name)
			if err != nil || s.FEC != fec {
				continue
			}
			s.Archived = archived
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Snapshot) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), b.At.Compare(a.At), cmp.Compare(a.Object.String(), b.Object.String()))
	})
	return out, nil
}

// look reads the header of a snapshot's file.
func look(root *os.Root, name string) (s Snapshot, err error) {
	if s.Object, err = artifact.ParseDigest(path.Base(name)); err != nil {
		return s, err
	}
	f, err := root.Open(name)
	if err != nil {
		return s, err
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return s, err
	}
	z, err := gzip.NewReader(io.LimitReader(f, 4096))
	if err != nil {
		return s, err
	}
	s.Size, s.Seen = info.Size(), info.ModTime().UTC()
	return s, s.parse(z.Comment)
}

// FECs are those of which a root has snapshots, sorted.
func FECs(root *os.Root) ([]string, error) {
	served, err := durable.Names(root, tree.DataFolder)
	if err != nil {
		return nil, err
	}
	archived, err := durable.Names(root, Archived)
	if err != nil {
		return nil, err
	}
	all := append(served, archived...)
	slices.Sort(all)
	return slices.Compact(all), nil
}

// whole says whether the file of a snapshot is the one that its name says.
func whole(root *os.Root, s Snapshot) bool {
	f, err := root.Open(s.place())
	if err != nil {
		return false
	}
	defer f.Close() // only read
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return err == nil && artifact.Digest(sum.Sum(nil)) == s.Object
}

// Open opens the archive of a snapshot, whole or not at all.
func Open(root *os.Root, s Snapshot) (io.ReadCloser, error) {
	if !whole(root, s) {
		return nil, fmt.Errorf("snapshot %s is damaged: it is not what its name says", s.place())
	}
	return root.Open(s.place())
}

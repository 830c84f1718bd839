package rpm

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Names of the files in a repository's folder repodata.
const (
	RepomdName    = "repomd.xml"
	SignatureName = "repomd.xml.asc" // of repomd.xml, armored (see Key.SignDetached)
	PrimaryName   = "primary.xml.gz"
	FilelistsName = "filelists.xml.gz"
	OtherName     = "other.xml.gz"
)

// Repodata is the content of a repository's folder repodata by name: repomd.xml and the three files that it names, as createrepo_c
// --no-database --simple-md-filenames --general-compress-type=gz --set-timestamp-to-revision writes them. Only the compressed bytes
// differ. The order of the entries does not matter. Names without a checksum are for folders that never change.
func Repodata(entries []Entry, revision int64) (map[string][]byte, error) {
	all := make([]Fragments, len(entries))
	var errs sync.Map
	share(len(entries), func(i int) {
		if entries[i].Package == nil {
			errs.Store(0, fmt.Errorf("%s is not read", entries[i].Location))
			return
		}
		all[i] = entries[i].Fragments()
	})
	if err, ok := errs.Load(0); ok {
		return nil, err.(error)
	}
	return Assemble(all, revision)
}

// RepodataKey is the digest of all that Repodata depends on but this program: who keeps it beside repodata need not read a header, nor write
// again, if nothing has changed.
func RepodataKey(entries []Entry, revision int64) artifact.Digest {
	lines := make([]string, 0, len(entries))
	for _, e := range entries {
		lines = append(lines, fmt.Sprintf("%s %d %d %q\n", e.Digest, e.Size, e.Time, e.Location))
	}
	slices.Sort(lines)
	return artifact.Sum([]byte(fmt.Sprintf("%d\n", revision) + strings.Join(lines, "")))
}

// share does something for 0 ≤ i < n on all processors.
func share(n int, do func(i int)) {
	const some = 64
	next := make(chan int, n/some+1)
	for i := 0; i < n; i += some {
		next <- i
	}
	close(next)
	var w sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		w.Go(func() {
			for from := range next {
				for i := from; i < min(from+some, n); i++ {
					do(i)
				}
			}
		})
	}
	w.Wait()
}

// Assemble is Repodata of fragments that were written before.
func Assemble(all []Fragments, revision int64) (map[string][]byte, error) {
	all = slices.SortedFunc(slices.Values(all), func(a, b Fragments) int {
		return cmp.Or(cmp.Compare(path.Base(a.Location), path.Base(b.Location)), cmp.Compare(a.Location, b.Location))
	})
	for i := range all[:max(0, len(all)-1)] {
		if all[i].Location == all[i+1].Location {
			return nil, fmt.Errorf("two packages are at %s", all[i].Location)
		}
	}
	records := []*record{
		{kind: "primary", name: PrimaryName, root: "metadata", space: `http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm`,
			of: func(f *Fragments) string { return f.Primary }},
		{kind: "filelists", name: FilelistsName, root: "filelists", space: "http://linux.duke.edu/metadata/filelists",
			of: func(f *Fragments) string { return f.Filelists }},
		{kind: "other", name: OtherName, root: "otherdata", space: "http://linux.duke.edu/metadata/other",
			of: func(f *Fragments) string { return f.Other }},
	}
	var w sync.WaitGroup
	for _, r := range records {
		w.Go(func() { r.write(all) })
	}
	w.Wait()
	files := map[string][]byte{}
	var repomd markup
	repomd.raw(declaration, `<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">`, "\n")
	repomd.element("  ", "revision", number(revision))
	for _, r := range records {
		if r.err != nil {
			return nil, fmt.Errorf("write %s: %w", r.name, r.err)
		}
		files[r.name] = r.packed.Bytes()
		r.describe(&repomd, revision)
	}
	repomd.raw("</repomd>\n")
	files[RepomdName] = repomd
	return files, nil
}

const declaration = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// record is a file that repomd.xml names.
type record struct {
	kind, name  string
	root, space string // of the XML
	of          func(*Fragments) string

	packed bytes.Buffer
	open   artifact.Digest // of the XML
	size   int64           // of that
	err    error
}

func (r *record) write(all []Fragments) {
	z, err := gzip.NewWriterLevel(&r.packed, gzip.DefaultCompression)
	if err != nil {
		r.err = err
		return
	}
	h := sha256.New()
	out := io.MultiWriter(h, z)
	put := func(s string) {
		if r.err == nil {
			_, r.err = io.WriteString(out, s)
			r.size += int64(len(s))
		}
	}
	put(declaration + "<" + r.root + ` xmlns="` + r.space + `" packages="` + number(int64(len(all))) + "\">\n")
	for i := range all {
		put(r.of(&all[i]))
	}
	put("</" + r.root + ">")
	if r.err == nil {
		r.err = z.Close()
	}
	r.open = artifact.Digest(h.Sum(nil))
}

func (r *record) describe(x *markup, revision int64) {
	x.raw("  <data type=\"", r.kind, "\">\n")
	x.raw("    <checksum type=\"sha256\">", artifact.Sum(r.packed.Bytes()).String(), "</checksum>\n")
	x.raw("    <open-checksum type=\"sha256\">", r.open.String(), "</open-checksum>\n")
	x.raw("    <location href=\"repodata/", r.name, "\"/>\n")
	x.element("    ", "timestamp", number(revision))
	x.element("    ", "size", number(int64(r.packed.Len())))
	x.element("    ", "open-size", number(r.size))
	x.raw("  </data>\n")
}

package rpm

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxBase bounds what is read of a distribution's primary.xml or filelists.xml, unpacked, and maxElement what is read of one package in it.
const (
	maxBase    = 256 << 20
	maxElement = 4 << 20
)

// bounded reads no further than it may.
type bounded struct {
	from       io.Reader
	read, most int64
}

// allow says how far it may be read: one element further than at.
func (b *bounded) allow(at int64) { b.most = min(maxBase, at+maxElement) }

func (b *bounded) Read(p []byte) (int, error) {
	switch {
	case b.read < b.most:
	case b.most == maxBase:
		return 0, fmt.Errorf("it takes more than %d MiB", maxBase>>20)
	default:
		return 0, fmt.Errorf("an element takes more than %d MiB", maxElement>>20)
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.most-b.read)])
	b.read += int64(n)
	return n, err
}

// element is what is read of a package in primary.xml.
type element struct {
	Name    string  `xml:"name"`
	Arch    string  `xml:"arch"`
	Version version `xml:"version"`
	Format  struct {
		Provides    []entry    `xml:"provides>entry"`
		Requires    []entry    `xml:"requires>entry"`
		Conflicts   []entry    `xml:"conflicts>entry"`
		Obsoletes   []entry    `xml:"obsoletes>entry"`
		Suggests    []entry    `xml:"suggests>entry"`
		Enhances    []entry    `xml:"enhances>entry"`
		Recommends  []entry    `xml:"recommends>entry"`
		Supplements []entry    `xml:"supplements>entry"`
		Files       []fileItem `xml:"file"`
	} `xml:"format"`
}

type fileItem struct {
	Path string `xml:",chardata"`
	Kind string `xml:"type,attr"`
}

func (f fileItem) file() File {
	kind, ok := map[string]Kind{"dir": Folder, "ghost": Ghost}[f.Kind]
	if !ok {
		kind = RegularFile
	}
	return File{f.Path, kind}
}

type version struct {
	Epoch   string `xml:"epoch,attr"`
	Version string `xml:"ver,attr"`
	Release string `xml:"rel,attr"`
}

type entry struct {
	version
	Name  string `xml:"name,attr"`
	Flags string `xml:"flags,attr"`
	Pre   string `xml:"pre,attr"`
}

// ParseBase reads a distribution's primary.xml, as it is or with gzip: what its packages are called, provide and ask for. Of their files
// it knows those that primary.xml tells; AddFiles adds others that somebody asks for.
func ParseBase(r io.Reader) ([]*Package, error) {
	var all []*Package
	err := eachPackage(r, "primary.xml", "metadata", func(d *xml.Decoder, start *xml.StartElement) error {
		var e element
		if err := d.DecodeElement(&e, start); err != nil {
			return noEOF(err)
		}
		p, err := e.pkg()
		if err != nil {
			return fmt.Errorf("package %.80q: %w", e.Name, err)
		}
		all = append(all, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// AddFiles adds to the packages of a distribution those files of its filelists.xml, as it is or with gzip, that some packages require.
// Without them Closure takes a required file for missing that primary.xml does not tell, such as /usr/libexec/platform-python.
func AddFiles(base, wanted []*Package, filelists io.Reader) error {
	missing := map[string]bool{}
	for _, p := range wanted {
		for _, d := range p.Requires {
			for _, name := range names(d.Name) {
				missing[name] = strings.HasPrefix(name, "/") && !primary(name)
			}
		}
	}
	known := map[string]*Package{}
	for _, p := range base {
		known[p.String()] = p
	}
	return eachPackage(filelists, "filelists.xml", "filelists", func(d *xml.Decoder, start *xml.StartElement) error {
		e := struct {
			Name    string     `xml:"name,attr"`
			Arch    string     `xml:"arch,attr"`
			Version version    `xml:"version"`
			Files   []fileItem `xml:"file"`
		}{}
		if err := d.DecodeElement(&e, start); err != nil {
			return noEOF(err)
		}
		evr, err := e.Version.evr()
		if err != nil {
			return fmt.Errorf("package %.80q: %w", e.Name, err)
		}
		p := known[(&Package{Name: e.Name, EVR: evr, Arch: e.Arch}).String()]
		for _, f := range e.Files {
			if p != nil && missing[f.Path] {
				p.Files = append(p.Files, f.file())
			}
		}
		return nil
	})
}

// eachPackage does something with each element package of a file of repodata.
func eachPackage(r io.Reader, name, root string, do func(*xml.Decoder, *xml.StartElement) error) error {
	in := bufio.NewReaderSize(r, 1<<16)
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("unpack %s: %w", name, err)
		}
		in = bufio.NewReaderSize(z, 1<<16)
	}
	limited := &bounded{from: in}
	d := xml.NewDecoder(limited)
	for inside := false; ; {
		limited.allow(d.InputOffset())
		t, err := d.Token()
		if errors.Is(err, io.EOF) && inside {
			return nil
		} else if err != nil {
			return fmt.Errorf("read %s: %w", name, noEOF(err))
		}
		start, ok := t.(xml.StartElement)
		switch {
		case !ok:
		case !inside && start.Name.Local == root:
			inside = true
		case !inside:
			return fmt.Errorf("read %s: its root is %.40q, not %s", name, start.Name.Local, root)
		case start.Name.Local == "package":
			if err := do(d, &start); err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
		}
	}
}

func (e *element) pkg() (*Package, error) {
	evr, err := e.Version.evr()
	if err != nil {
		return nil, err
	}
	if e.Name == "" || e.Arch == "" {
		return nil, errors.New("it has no name or architecture")
	}
	p := &Package{Name: e.Name, EVR: evr, Arch: e.Arch}
	for _, part := range []struct {
		into *[]Dependency
		from []entry
	}{
		{&p.Provides, e.Format.Provides}, {&p.Requires, e.Format.Requires}, {&p.Conflicts, e.Format.Conflicts}, {&p.Obsoletes, e.Format.Obsoletes},
		{&p.Suggests, e.Format.Suggests}, {&p.Enhances, e.Format.Enhances}, {&p.Recommends, e.Format.Recommends},
		{&p.Supplements, e.Format.Supplements},
	} {
		for _, d := range part.from {
			if err := tooLong(d.Name, d.Version); err != nil {
				return nil, err
			}
			evr, err := d.evr()
			if err != nil {
				return nil, err
			}
			*part.into = append(*part.into, Dependency{Name: d.Name, Flags: Flags(d.Flags), EVR: evr, Pre: d.Pre == "1"})
		}
	}
	for _, f := range e.Format.Files {
		p.Files = append(p.Files, f.file())
	}
	return p, nil
}

func (v version) evr() (EVR, error) {
	var epoch uint64
	var err error
	if v.Epoch != "" {
		if epoch, err = strconv.ParseUint(v.Epoch, 10, 32); err != nil {
			return EVR{}, fmt.Errorf("malformed epoch %.40q", v.Epoch)
		}
	}
	return EVR{uint32(epoch), v.Version, v.Release}, nil
}

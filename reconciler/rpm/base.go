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
)

// maxBase bounds what is read of a distribution's primary.xml: the largest take some 300 MB.
const maxBase = 1 << 30

// element is what is read of a package in primary.xml.
type element struct {
	Name    string  `xml:"name"`
	Arch    string  `xml:"arch"`
	Version version `xml:"version"`
	Format  struct {
		Provides    []entry `xml:"provides>entry"`
		Requires    []entry `xml:"requires>entry"`
		Conflicts   []entry `xml:"conflicts>entry"`
		Obsoletes   []entry `xml:"obsoletes>entry"`
		Suggests    []entry `xml:"suggests>entry"`
		Enhances    []entry `xml:"enhances>entry"`
		Recommends  []entry `xml:"recommends>entry"`
		Supplements []entry `xml:"supplements>entry"`
		Files       []struct {
			Path string `xml:",chardata"`
			Kind string `xml:"type,attr"`
		} `xml:"file"`
	} `xml:"format"`
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
// it knows those that primary.xml tells.
func ParseBase(r io.Reader) ([]*Package, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("unpack primary.xml: %w", err)
		}
		in = bufio.NewReaderSize(z, 1<<16)
	}
	limited := &io.LimitedReader{R: in, N: maxBase}
	d := xml.NewDecoder(limited)
	d.Strict = true
	var all []*Package
	for root := false; ; {
		t, err := d.Token()
		if errors.Is(err, io.EOF) && root && limited.N > 0 {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("read primary.xml: %w", noEOF(err))
		}
		start, ok := t.(xml.StartElement)
		switch {
		case !ok:
		case !root && start.Name.Local == "metadata":
			root = true
		case !root:
			return nil, fmt.Errorf("read primary.xml: its root is %.40q, not metadata", start.Name.Local)
		case start.Name.Local == "package":
			var e element
			if err := d.DecodeElement(&e, &start); err != nil {
				return nil, fmt.Errorf("read primary.xml: %w", noEOF(err))
			}
			p, err := e.pkg()
			if err != nil {
				return nil, fmt.Errorf("read primary.xml: package %.80q: %w", e.Name, err)
			}
			all = append(all, p)
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
			evr, err := d.evr()
			if err != nil {
				return nil, err
			}
			*part.into = append(*part.into, Dependency{Name: d.Name, Flags: Flags(d.Flags), EVR: evr, Pre: d.Pre == "1"})
		}
	}
	for _, f := range e.Format.Files {
		p.Files = append(p.Files, File{f.Path, map[string]Kind{"dir": Folder, "ghost": Ghost, "": RegularFile}[f.Kind]})
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

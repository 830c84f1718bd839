package tree

import (
	"fmt"
)

// DataManifestName is the file that names a FEC's persistent data, in its folder below DataFolder.
const DataManifestName = "data.manifest"

// DataManifest is what a FEC restores at boot: what was collected from it. It is mutable, lies outside every generation and
// is signed by a key of its own.
type DataManifest struct {
	Site string
	FEC  string // nomenclature
	Data []DataItem
}

// DataItem is what was collected last of one name in one format. The FEC takes that in the format which its software wants.
type DataItem struct {
	Name, Schema string
	Object
	Path string // below which alone it is unpacked
}

const dataHeader = "pomona-data 1"

// Marshal writes the manifest without its signatures, a line per fact:
//
//	pomona-data 1
//	site NAME
//	fec NAME
//	data NAME SCHEMA FORMAT SIZE SHA256 PATH
//	end LINES
func (m DataManifest) Marshal() []byte {
	var w lines
	w.add(dataHeader)
	w.add("site", m.Site)
	w.add("fec", m.FEC)
	for _, d := range m.Data {
		w.add("data", d.Name, d.Schema, d.Format, d.Size, d.Digest, d.Path)
	}
	return w.end()
}

// ParseDataManifest reads a manifest with its signatures, unchecked: signed are the bytes that they cover.
func ParseDataManifest(b []byte) (m DataManifest, sigs []Signature, signed []byte, err error) {
	r, sigs, signed, err := readSigned(b, dataHeader)
	if err != nil {
		return m, nil, nil, fmt.Errorf("parse data manifest: %w", err)
	}
	m.Site, m.FEC = r.name("site"), r.name("fec")
	for r.next("data", 6) {
		m.Data = append(m.Data, DataItem{Name: r.word(), Schema: r.word(), Object: r.object(), Path: r.installPath()})
	}
	r.finish()
	if r.err != nil {
		return DataManifest{}, nil, nil, fmt.Errorf("parse data manifest: %w", r.err)
	}
	return m, sigs, signed, nil
}

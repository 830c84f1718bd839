package tree

import (
	"fmt"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Manifest is what one FEC boots: the only mutable file that it fetches. It names immutable objects only, and no
// generation or commit, so that it stays the same, byte for byte, while the FEC's content does.
type Manifest struct {
	Site     string
	Channel  string
	FEC      string // nomenclature
	Host     string
	Platform string
	Serial   int64 // rises when the FEC's content changes; below 2^31, for shells with 32-bit arithmetic
	Expires  int64 // minutes since 1970; below 2^31
	Data     bool  // fetch persistent data too

	Persistence   []Persistent // data that the software writes; some exactly if Data
	Software      []Item
	Configuration []Item
	Scripts       Object // archive of all init scripts; zero when there are none
	Init          []Script
}

// Object is an archive in the object store.
type Object struct {
	Format artifact.Format
	Size   int64 // bytes, compressed
	Digest artifact.Digest
}

// Item is one software or configuration of a FEC.
type Item struct {
	Name, Version string
	Object
	Install string // where the archive unpacks to; the archive's entries carry it already
	Start   bool   // software only: may be started at boot
}

// Persistent is data that a FEC writes and gets back after a reboot: in this format, below this path, or not at all.
type Persistent struct{ Name, Schema, Path string }

// Script is one init script, by the name that orders it.
type Script struct {
	Name   string
	Digest artifact.Digest // of the script inside the archive
	Starts string          // software that it starts; empty for none
}

// Objects are all archives that the FEC fetches.
func (m Manifest) Objects() []Object {
	var out []Object
	for _, i := range slices.Concat(m.Software, m.Configuration) {
		out = append(out, i.Object)
	}
	if !m.Scripts.Digest.IsZero() {
		out = append(out, m.Scripts)
	}
	return out
}

const manifestHeader = "pomona-boot 1"

// MaxMinutes bounds serials and expiries: the largest number of a shell with 32-bit arithmetic.
const MaxMinutes = 1<<31 - 1

// Marshal writes the manifest without its signatures, a line per fact:
//
//	pomona-boot 1
//	site NAME
//	channel NAME
//	fec NAME
//	host NAME
//	platform NAME
//	serial NUMBER
//	expires MINUTES
//	data yes|no
//	persist NAME SCHEMA PATH
//	software NAME VERSION FORMAT SIZE SHA256 INSTALL start|hold
//	configuration NAME VERSION FORMAT SIZE SHA256 INSTALL
//	scripts FORMAT SIZE SHA256
//	init NAME SHA256 STARTS|-
//	end LINES
//
// LINES counts the lines before the last.
func (m Manifest) Marshal() []byte {
	w := lines{b: make([]byte, 0, 2048)}
	w.add(manifestHeader)
	w.add("site", m.Site)
	w.add("channel", m.Channel)
	w.add("fec", m.FEC)
	w.add("host", m.Host)
	w.add("platform", m.Platform)
	w.add("serial", m.Serial)
	w.add("expires", m.Expires)
	w.add("data", word(m.Data, "yes", "no"))
	for _, p := range m.Persistence {
		w.add("persist", p.Name, p.Schema, p.Path)
	}
	for _, i := range m.Software {
		w.add("software", i.Name, i.Version, i.Format, i.Size, i.Digest, i.Install, word(i.Start, "start", "hold"))
	}
	for _, i := range m.Configuration {
		w.add("configuration", i.Name, i.Version, i.Format, i.Size, i.Digest, i.Install)
	}
	if !m.Scripts.Digest.IsZero() {
		w.add("scripts", m.Scripts.Format, m.Scripts.Size, m.Scripts.Digest)
	}
	for _, s := range m.Init {
		starts := s.Starts
		if starts == "" {
			starts = "-"
		}
		w.add("init", s.Name, s.Digest, starts)
	}
	return w.end()
}

// ParseManifest reads a manifest with its signatures, unchecked: signed are the bytes that they cover.
func ParseManifest(b []byte) (m Manifest, sigs []Signature, signed []byte, err error) {
	r, sigs, signed, err := readSigned(b, manifestHeader)
	if err != nil {
		return m, nil, nil, fmt.Errorf("parse manifest: %w", err)
	}
	m.parse(r)
	if r.err != nil {
		return Manifest{}, nil, nil, fmt.Errorf("parse manifest: %w", r.err)
	}
	return m, sigs, signed, nil
}

func (m *Manifest) parse(r *lineReader) {
	m.Site = r.name("site")
	m.Channel = r.name("channel")
	m.FEC = r.name("fec")
	m.Host = r.name("host")
	m.Platform = r.name("platform")
	m.Serial = r.number("serial", MaxMinutes)
	m.Expires = r.number("expires", MaxMinutes)
	m.Data = r.choice("data", "yes", "no")
	for r.next("persist", 3) {
		m.Persistence = append(m.Persistence, Persistent{Name: r.word(), Schema: r.word(), Path: r.installPath()})
	}
	for r.next("software", 7) {
		i := Item{Name: r.word(), Version: r.word(), Object: r.object(), Install: r.installPath()}
		i.Start = r.either("start", "hold")
		m.Software = append(m.Software, i)
	}
	for r.next("configuration", 6) {
		m.Configuration = append(m.Configuration, Item{Name: r.word(), Version: r.word(), Object: r.object(), Install: r.installPath()})
	}
	if r.next("scripts", 3) {
		m.Scripts = r.object()
	}
	for r.next("init", 3) {
		s := Script{Name: r.word(), Digest: r.digest(), Starts: r.word()}
		if s.Starts == "-" {
			s.Starts = ""
		}
		m.Init = append(m.Init, s)
	}
	r.finish()
}

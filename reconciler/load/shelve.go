package load

import (
	"encoding/binary"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// pen writes values one after the other.
type pen []byte

func (p *pen) number(n int) { *p = binary.AppendUvarint(*p, uint64(n)) }

func (p *pen) text(s string) {
	p.number(len(s))
	*p = append(*p, s...)
}

func (p *pen) truth(b bool) {
	if b {
		p.number(1)
	} else {
		p.number(0)
	}
}

// bytes tells nil from empty.
func (p *pen) bytes(b []byte) {
	p.truth(b != nil)
	p.text(string(b))
}

// reader reads what a pen wrote; after the first thing that is not there, only zeros.
type reader struct {
	left []byte
	bad  bool
}

func (r *reader) number() int {
	n, size := binary.Uvarint(r.left)
	if size <= 0 || n > 1<<40 {
		r.left, r.bad = nil, true
		return 0
	}
	r.left = r.left[size:]
	return int(n)
}

func (r *reader) raw() []byte {
	n := r.number()
	if n > len(r.left) {
		r.left, r.bad = nil, true
		return nil
	}
	b := r.left[:n:n]
	r.left = r.left[n:]
	return b
}

func (r *reader) text() string { return string(r.raw()) }

func (r *reader) truth() bool { return r.number() == 1 }

func (r *reader) bytes() []byte {
	there, b := r.truth(), r.raw()
	if !there {
		return nil
	}
	return b
}

// end says whether everything was there, and nothing else.
func (r *reader) end() bool { return !r.bad && len(r.left) == 0 }

func encodeHeader(h header) []byte {
	var p pen
	p.text(h.pkg)
	p.truth(h.embeds)
	for _, i := range h.imports {
		p.text(i)
	}
	return p
}

func decodeHeader(b []byte) (header, bool) {
	r := reader{left: b}
	h := header{pkg: r.text(), embeds: r.truth()}
	for len(r.left) > 0 {
		h.imports = append(h.imports, r.text())
	}
	return h, r.end()
}

// encodeFrame writes a unit's values and problems.
func encodeFrame(f wire.Frame) []byte {
	var p pen
	p.truth(f.Failed)
	p.number(len(f.Problems))
	for _, x := range f.Problems {
		for _, s := range []string{x.File, x.Path, x.Text, x.Advice, x.Missing} {
			p.text(s)
		}
		p.number(x.Line)
		p.number(x.Column)
		p.truth(x.Warning)
	}
	for _, o := range f.Objects {
		p.text(o.Section)
		p.text(o.Name)
		p.bytes(o.JSON)
		p.bytes(o.Draft)
	}
	return p
}

func decodeFrame(b []byte) (wire.Frame, bool) {
	r := reader{left: b}
	f := wire.Frame{Failed: r.truth()}
	for n := r.number(); n > 0 && !r.bad; n-- {
		f.Problems = append(f.Problems, desired.Problem{File: r.text(), Path: r.text(), Text: r.text(), Advice: r.text(), Missing: r.text(),
			Line: r.number(), Column: r.number(), Warning: r.truth()})
	}
	for len(r.left) > 0 {
		f.Objects = append(f.Objects, wire.Object{Section: r.text(), Name: r.text(), JSON: r.bytes(), Draft: r.bytes()})
	}
	return f, r.end()
}

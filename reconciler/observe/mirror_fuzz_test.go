package observe

import (
	"bytes"
	"compress/gzip"
	"path"
	"testing"
)

// FuzzPrimary reads what a mirror may send.
func FuzzPrimary(f *testing.F) {
	one := []byte(`<metadata><package type="rpm"><checksum type="sha256">00</checksum><size package="7"/><location href="a-1-1.noarch.rpm"/></package></metadata>`)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(one); err != nil || z.Close() != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{one, packed.Bytes(), packed.Bytes()[:20], []byte(`<metadata><package><location href="../../etc/passwd"/></package></metadata>`), []byte("<a><b>"), nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := parsePrimary(b)
		if err != nil {
			return
		}
		for name, p := range all {
			if name != path.Base(name) || p.Location.Href != name {
				t.Errorf("a package at %q", name)
			}
		}
	})
}

func TestPrimaryOfAMirror(t *testing.T) {
	all, err := parsePrimary([]byte(`<metadata><package><checksum>00</checksum><size package="7"/><location href="a.rpm"/></package></metadata>`))
	if err != nil || len(all) != 1 || all["a.rpm"].Checksum != "00" || all["a.rpm"].Size.Package != 7 {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := parsePrimary([]byte(`<metadata><package><location href="../a.rpm"/></package></metadata>`)); err == nil {
		t.Error("a package beside its repository passes")
	}
}

package build_test

import (
	"archive/tar"
	"bytes"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
)

// FuzzLint feeds anything: Lint must end within its limits, without a panic, and with few findings.
func FuzzLint(f *testing.F) {
	plain := tarOf(f, dir("opt/demo/1/d"), file("opt/demo/1/a"), symlink("opt/demo/1/l", "a"), hardlink("opt/demo/1/h", "opt/demo/1/a"),
		with(file("opt/demo/1/é"), func(h *tar.Header) { h.Format = tar.FormatPAX }))
	for n, format := range formats {
		z := compress(f, format, plain)
		f.Add(byte(n), z)
		f.Add(byte(n), z[:len(z)/2])
		f.Add(byte(n), append(bytes.Clone(z), z...))
	}
	f.Add(byte(3), plain)
	f.Add(byte(1), filtered(4))
	f.Fuzz(func(t *testing.T, n byte, b []byte) {
		format := artifact.Gzip
		if int(n) < len(formats) {
			format = formats[n]
		} else {
			b = compress(t, artifact.Gzip, b) // so that the fuzzer reaches the tar
		}
		limits := build.Limits{Install: install, Memory: 1 << 20, Entries: 100, Unpacked: 1 << 20}
		if found := build.Lint(bytes.NewReader(b), format, limits); len(found) > 51 {
			t.Errorf("%d findings", len(found))
		}
	})
}

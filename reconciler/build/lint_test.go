package build_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
)

const install = "/opt/demo/1"

// dir, file, symlink and hardlink are entries of a tar below opt/demo/1.
func dir(name string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}
}
func file(name string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: 4}
}
func symlink(name, to string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}
}
func hardlink(name, to string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to, Mode: 0o644}
}
func with(h *tar.Header, change func(*tar.Header)) *tar.Header {
	change(h)
	return h
}

func tarOf(t testing.TB, hs ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range hs {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compress(t testing.TB, f artifact.Format, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	var err error
	switch f {
	case artifact.Xz:
		w, err = xz.NewWriter(&out)
	case artifact.Zstd:
		w, err = zstd.NewWriter(&out, zstd.WithWindowSize(1<<20))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// expect says whether lint finds want, or nothing for "".
func expect(t *testing.T, archive []byte, f artifact.Format, l build.Limits, want string) {
	t.Helper()
	l.Install = install
	found := build.Lint(bytes.NewReader(archive), f, l)
	if want == "" {
		if len(found) > 0 {
			t.Errorf("lint: %v, want nothing", found)
		}
		return
	}
	if !slices.ContainsFunc(found, func(f build.Finding) bool { return strings.Contains(f.String(), want) }) {
		t.Errorf("lint: %q, want %q", found, want)
	}
}

func TestLintOfEntries(t *testing.T) {
	a, b := "opt/demo/1/a", "opt/demo/1/b"
	for name, c := range map[string]struct {
		entries []*tar.Header
		want    string
	}{
		"nothing":                 {nil, ""},
		"folders first":           {[]*tar.Header{dir("opt/"), dir("opt/demo/"), dir("opt/demo/1/"), file(a)}, ""},
		"dot first":               {[]*tar.Header{dir("./"), dir("./opt/"), file("./" + a)}, ""},
		"folder after its file":   {[]*tar.Header{file(a + "/x"), dir(a)}, ""},
		"absolute":                {[]*tar.Header{file("/" + a)}, "absolute name"},
		"escaping":                {[]*tar.Header{file("opt/demo/1/../../../etc/passwd")}, "name with .."},
		"escaping within":         {[]*tar.Header{file("opt/demo/1/x/../a")}, "name with .."},
		"outside":                 {[]*tar.Header{file("etc/passwd")}, "outside the install location"},
		"outside, similar":        {[]*tar.Header{file("opt/demo/10/a")}, "outside the install location"},
		"folder outside":          {[]*tar.Header{dir("etc/")}, "outside the install location"},
		"file above":              {[]*tar.Header{file("opt/demo")}, "outside the install location"},
		"link as location":        {[]*tar.Header{symlink("opt/demo/1", "2")}, "outside the install location"},
		"link inside":             {[]*tar.Header{dir("opt/demo/1/lib"), symlink("opt/demo/1/lib/x", "../b"), symlink(a, "."), file(b)}, ""},
		"link up to the location": {[]*tar.Header{symlink("opt/demo/1/x/y", "..")}, ""},
		"link, hidden file":       {[]*tar.Header{symlink(a, ".hidden/x"), symlink(b, "..data/x")}, ""},
		"link out":                {[]*tar.Header{symlink(a, "../../2")}, "leads out of the install location"},
		"link to parent":          {[]*tar.Header{symlink(a, "..")}, "leads out of the install location"},
		"link to absolute":        {[]*tar.Header{symlink("opt/demo/1/x/y", "/opt/demo/1/lib/z")}, "make the target relative: ../lib/z"},
		"link to absolute, else":  {[]*tar.Header{symlink(a, "/etc/passwd")}, "absolute path"},
		"link down and up":        {[]*tar.Header{symlink(a, "x/../y")}, "goes up after it went down"},
		"link down and out":       {[]*tar.Header{symlink("opt/demo/1/d/e/up", "../.."), symlink("opt/demo/1/d/e/out", "up/..")}, "goes up after it went down"},
		"link to nothing":         {[]*tar.Header{symlink(a, "")}, "empty name or target"},
		"link with newline":       {[]*tar.Header{symlink(a, "x\ny")}, "control characters"},
		"entry through link":      {[]*tar.Header{symlink(a, "x"), file(a + "/b")}, "which is no folder"},
		"entry through file":      {[]*tar.Header{file(a), file(a + "/b/c")}, "which is no folder"},
		"link over folder":        {[]*tar.Header{file(a + "/b"), symlink(a, "x")}, "is there twice"},
		"duplicate":               {[]*tar.Header{file(a), file("./" + a)}, "is there twice"},
		"duplicate folder":        {[]*tar.Header{dir(a), dir(a)}, "is there twice"},
		"hard link":               {[]*tar.Header{file(a), hardlink(b, a)}, ""},
		"hard link to later":      {[]*tar.Header{hardlink(b, a), file(a)}, "no file before it"},
		"hard link to link":       {[]*tar.Header{symlink(a, "x"), hardlink(b, a)}, "no file before it"},
		"hard link out":           {[]*tar.Header{hardlink(b, "etc/passwd")}, "no file before it"},
		"hard link up":            {[]*tar.Header{hardlink(b, "../../etc/passwd")}, "no file before it"},
		"hard link to itself":     {[]*tar.Header{hardlink(a, a)}, "no file before it"},
		"device":                  {[]*tar.Header{{Typeflag: tar.TypeChar, Name: a, Mode: 0o666}}, "a device"},
		"block device":            {[]*tar.Header{{Typeflag: tar.TypeBlock, Name: a, Mode: 0o666}}, "a device"},
		"fifo":                    {[]*tar.Header{{Typeflag: tar.TypeFifo, Name: a, Mode: 0o666}}, "a fifo"},
		"contiguous file":         {[]*tar.Header{{Typeflag: tar.TypeCont, Name: a, Mode: 0o666}}, "unknown type"},
		"setuid":                  {[]*tar.Header{with(file(a), func(h *tar.Header) { h.Mode = 0o4755 })}, "has mode 4755"},
		"setgid folder":           {[]*tar.Header{with(dir(a), func(h *tar.Header) { h.Mode = 0o2755 })}, "has mode 2755"},
		"sticky":                  {[]*tar.Header{with(dir(a), func(h *tar.Header) { h.Mode = 0o1777 })}, "has mode 1777"},
		"newline":                 {[]*tar.Header{file(a + "\nb")}, "control characters"},
		"escape":                  {[]*tar.Header{file(a + "\x1b[2J")}, "control characters"},
		"not UTF-8":               {[]*tar.Header{with(file(a+"\xff"), func(h *tar.Header) { h.Format = tar.FormatGNU })}, "not UTF-8"},
		"long part":               {[]*tar.Header{with(file(a+strings.Repeat("x", 255)), func(h *tar.Header) { h.Format = tar.FormatGNU })}, "more than 255 bytes"},
		"long name":               {[]*tar.Header{with(file(a+strings.Repeat("/xxxxxxxxx", 110)), func(h *tar.Header) { h.Format = tar.FormatGNU })}, "more than 1024 bytes"},
		"long, but well":          {[]*tar.Header{with(file(a+strings.Repeat("/xxxxxxxxx", 90)), func(h *tar.Header) { h.Format = tar.FormatGNU })}, ""},
		"PAX times":               {[]*tar.Header{with(file(a), func(h *tar.Header) { h.ModTime, h.Format = time.Unix(1, 5), tar.FormatPAX })}, ""},
		"PAX path":                {[]*tar.Header{with(file(a+"é"), func(h *tar.Header) { h.Format = tar.FormatPAX })}, `PAX record "path"`},
		"PAX link path":           {[]*tar.Header{with(symlink(a, "é"), func(h *tar.Header) { h.Format = tar.FormatPAX })}, `PAX record "linkpath"`},
		"capability": {[]*tar.Header{with(file(a), func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "x"}
		})}, "PAX record"},
		"git archive": {[]*tar.Header{{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "4f"}}, file(a)}, ""},
		"global path": {[]*tar.Header{{Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{"path": "x"}}, file(a)}, `PAX record "path"`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, f := range formats {
				expect(t, compress(t, f, tarOf(t, c.entries...)), f, build.Limits{}, c.want)
			}
		})
	}
}

// TestLintOfDisagreement has tars that Go and busybox read differently: what is linted would not be what is unpacked.
func TestLintOfDisagreement(t *testing.T) {
	gnuLong := func(h *tar.Header) { h.Format = tar.FormatGNU }
	long := tarOf(t, with(file("etc/"+strings.Repeat("evil/", 30)+"x"), gnuLong))[:1024] // an L header with its data
	plain := tarOf(t, file("opt/demo/1/a"))
	global := tarOf(t, &tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{"comment": "x"}})[:1024]
	pax := tarOf(t, &tar.Header{Typeflag: tar.TypeReg, Name: "etc/é", Format: tar.FormatPAX})[:1024]
	mtime := tarOf(t, &tar.Header{Typeflag: tar.TypeReg, Name: "x", PAXRecords: map[string]string{"comment": "x"}})[:1024]
	longest := edit(append(long[:512:512], make([]byte, 1<<20)...), func(b []byte) { copy(b[124:], "00004000000\x00") })
	endless := edit(tarOf(t, with(file("opt/demo/1/a"), gnuLong)), func(b []byte) {
		b[156] = tar.TypeGNUSparse
		copy(b[386:], "00000000000\x0000000000004\x00")
		copy(b[483:], "\x80\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00") // 2^62 bytes when unpacked
	})
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"headers without end":           {slices.Concat(longest, longest, longest, longest, longest, plain), "headers are too long"},
		"sparse file":                   {endless, "a sparse file"},
		"long name, then global header": {slices.Concat(long, global, plain), "one after another"},
		"two long names":                {slices.Concat(long, long, plain), "one after another"},
		"first PAX header lost":         {slices.Concat(pax, mtime, plain), "one after another"},
		"header without name":           {slices.Concat(long, edit(plain, func(b []byte) { clear(b[:100]) })), "has no name"},
		"prefix in a GNU header":        {edit(tarOf(t, with(file("opt/demo/1/a"), gnuLong)), func(b []byte) { copy(b[345:], "\x80/../../evil") }), "more than its format"},
		"size of a folder":              {edit(tarOf(t, dir("opt/demo/1/a")), func(b []byte) { copy(b[124:], "00000001000\x00") }), "though it has no content"},
		"file with slash":               {edit(plain, func(b []byte) { copy(b, "opt/demo/1/a/") }), "ends in a slash"},
		"end missing":                   {plain[:1024], "end is missing"},
		"one block of the end":          {plain[:1536], "end is missing"},
		"second tar":                    {slices.Concat(plain, plain), "data after its end"},
		"zeros after the end":           {slices.Concat(plain, make([]byte, 9000)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, compress(t, artifact.Gzip, c.b), artifact.Gzip, build.Limits{}, c.want)
		})
	}
}

// edit changes a copy of a tar's first header and mends its checksum.
func edit(b []byte, change func([]byte)) []byte {
	b = bytes.Clone(b)
	change(b)
	copy(b[148:156], "        ")
	var sum int
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func TestLintOfCompression(t *testing.T) {
	plain := tarOf(t, file("opt/demo/1/a"))
	zeros := tarOf(t, with(file("opt/demo/1/a"), func(h *tar.Header) { h.Size = 200 << 20 }))
	wide, small := build.Limits{Memory: 64 << 20}, build.Limits{Memory: 1 << 20}
	gz, xzs, zst := compress(t, artifact.Gzip, plain), compress(t, artifact.Xz, plain), compress(t, artifact.Zstd, plain)
	skippable := []byte("\x50\x2a\x4d\x18\x03\x00\x00\x00\xff\xff\xff")
	for name, c := range map[string]struct {
		b    []byte
		f    artifact.Format
		l    build.Limits
		want string
	}{
		"nothing":                 {nil, artifact.Gzip, wide, "is not gzip"},
		"plain tar":               {plain, artifact.Gzip, wide, "is not gzip"},
		"xz as gzip":              {xzs, artifact.Gzip, wide, "but xz"},
		"gzip as zstd":            {gz, artifact.Zstd, wide, "but gzip"},
		"LFS pointer":             {[]byte("version https://git-lfs.github.com/spec/v1\noid x\n"), artifact.Xz, wide, "Git LFS pointer"},
		"gzip in two members":     {slices.Concat(compress(t, artifact.Gzip, plain[:512]), compress(t, artifact.Gzip, plain[512:])), artifact.Gzip, wide, ""},
		"gzip, then garbage":      {slices.Concat(gz, []byte("garbage that is long")), artifact.Gzip, wide, "damaged"},
		"xz in two streams":       {slices.Concat(compress(t, artifact.Xz, plain[:512]), make([]byte, 8), compress(t, artifact.Xz, plain[512:])), artifact.Xz, wide, ""},
		"xz, then garbage":        {slices.Concat(xzs, []byte("garbage that is long")), artifact.Xz, wide, "damaged"},
		"xz without index":        {withoutIndex(t, plain), artifact.Xz, wide, "damaged"},
		"xz dictionary":           {xzs, artifact.Xz, small, "8192 KiB"},
		"xz dictionary, huge":     {xzWith(t, plain, 128<<20), artifact.Xz, build.Limits{Memory: 1 << 40}, "131072 KiB"},
		"xz with BCJ":             {filtered(4), artifact.Xz, wide, "BCJ or delta"},
		"xz with delta":           {filtered(3, 1, 0), artifact.Xz, wide, "BCJ or delta"},
		"xz in blocks":            {xzBlocks(t, 129*512, 1<<20), artifact.Xz, small, ""},
		"xz in tiny blocks":       {xzBlocks(t, 512, 64<<20), artifact.Xz, wide, "too many small"},
		"zstd in two frames":      {slices.Concat(compress(t, artifact.Zstd, plain[:512]), skippable, compress(t, artifact.Zstd, plain[512:])), artifact.Zstd, wide, ""},
		"zstd, then garbage":      {slices.Concat(zst, []byte("garbage that is long")), artifact.Zstd, wide, "damaged"},
		"zstd window":             {zstdWith(t, zeros, 8<<20), artifact.Zstd, small, "8192 KiB"},
		"zstd window, later":      {slices.Concat(zst, zstdWith(t, zeros, 8<<20)), artifact.Zstd, small, "8192 KiB"},
		"zstd window, after skip": {slices.Concat(zst, skippable, zstdWith(t, zeros, 8<<20)), artifact.Zstd, small, "8192 KiB"},
		"zstd without a window":   {zstdWith(t, zeros[:2<<20], 8<<20, zstd.WithSingleSegment(true)), artifact.Zstd, small, "2048 KiB"},
		"zstd dictionary":         {[]byte("\x28\xb5\x2f\xfd\x21\x07\x05\x29\x00\x00hello"), artifact.Zstd, wide, "zstd dictionary"},
		"gzip bomb":               {compress(t, artifact.Gzip, zeros), artifact.Gzip, wide, "times its size"},
		"zstd bomb":               {compress(t, artifact.Zstd, zeros), artifact.Zstd, wide, "times its size"},
		"too large":               {gz, artifact.Gzip, build.Limits{Unpacked: 1024}, "unpacks to more than"},
		"many entries":            {compress(t, artifact.Gzip, tarOf(t, file("opt/demo/1/a"), file("opt/demo/1/b"))), artifact.Gzip, build.Limits{Entries: 4}, "more than 4 entries"},
		"many folders":            {compress(t, artifact.Gzip, tarOf(t, file("opt/demo/1/1/2/3/4/5/6/7"))), artifact.Gzip, build.Limits{Entries: 5}, "more than 5 entries"},
		"just as many as allowed": {compress(t, artifact.Gzip, tarOf(t, file("opt/demo/1/a"), file("opt/demo/1/b"))), artifact.Gzip, build.Limits{Entries: 5}, ""},
	} {
		t.Run(name, func(t *testing.T) { expect(t, c.b, c.f, c.l, c.want) })
	}
}

func xzWith(t *testing.T, b []byte, dictionary int) []byte {
	var out bytes.Buffer
	w, err := xz.WriterConfig{DictCap: dictionary}.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// zstdWith writes larger data as a stream, and smaller data with options as one frame whose size is known.
func zstdWith(t *testing.T, b []byte, window int, options ...zstd.EOption) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, append(options, zstd.WithWindowSize(window))...)
	if err != nil {
		t.Fatal(err)
	}
	if len(options) > 0 {
		return w.EncodeAll(b, nil)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// withoutIndex ends where the index of the xz stream would begin: a reader that does not care takes it for whole.
func withoutIndex(t *testing.T, b []byte) []byte {
	z := xzWith(t, b, 1<<20)
	backward := 4 * (int(binary.LittleEndian.Uint32(z[len(z)-8:])) + 1)
	return z[:len(z)-12-backward]
}

// filtered begins an xz stream whose block has a filter before LZMA2.
func filtered(id byte, properties ...byte) []byte {
	stream := []byte{0, 1}
	block := append([]byte{0, 1, id, byte(len(properties))}, properties...)
	block = append(block, 0x21, 1, 22)
	for len(block)%4 != 0 {
		block = append(block, 0)
	}
	block[0] = byte(len(block) / 4)
	out := binary.LittleEndian.AppendUint32(append([]byte("\xfd7zXZ\x00"), stream...), crc32.ChecksumIEEE(stream))
	return binary.LittleEndian.AppendUint32(append(out, block...), crc32.ChecksumIEEE(block))
}

// xzBlocks is a tar with 100 more blocks of zeros behind it, each in a stream of its own.
func xzBlocks(t *testing.T, size, dictionary int) []byte {
	out := xzWith(t, tarOf(t, file("opt/demo/1/a")), dictionary)
	return append(out, bytes.Repeat(xzWith(t, make([]byte, size), dictionary), 100)...)
}

// TestDamageIsFound cuts an archive everywhere and flips many bits. Only flips that change nothing may pass, such as the
// time in the header of gzip.
func TestDamageIsFound(t *testing.T) {
	src := commit(map[string]string{"p/a": manyLines(20), "p/b/c": "x", "p/l": "->a"})
	for _, f := range formats {
		var s sink
		if _, err := build.Make(t.Context(), src, build.Spec{Folder: "p", Install: install, Format: f}, &s); err != nil {
			t.Fatal(err)
		}
		whole := s.Bytes()
		clean := func(b []byte) bool {
			return len(build.Lint(bytes.NewReader(b), f, build.Limits{Install: install})) == 0
		}
		for n := range whole {
			if clean(whole[:n]) {
				t.Errorf("%s: cut after %d of %d bytes: nothing found", f, n, len(whole))
			}
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range 500 {
			b, n, bit := bytes.Clone(whole), r.IntN(len(whole)), r.IntN(8)
			b[n] ^= 1 << bit
			if clean(b) && !bytes.Equal(decompress(t, f, b), decompress(t, f, whole)) {
				t.Errorf("%s: bit %d of byte %d flipped: nothing found", f, bit, n)
			}
		}
	}
}

func decompress(t *testing.T, f artifact.Format, b []byte) []byte {
	var r io.Reader
	var err error
	switch f {
	case artifact.Gzip:
		r, err = gzip.NewReader(bytes.NewReader(b))
	case artifact.Xz:
		r, err = xz.NewReader(bytes.NewReader(b))
	case artifact.Zstd:
		r, err = zstd.NewReader(bytes.NewReader(b))
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLintSaysWhyItCouldNotRead(t *testing.T) {
	broken := errors.New("disk on fire")
	gz := compress(t, artifact.Gzip, tarOf(t, file("opt/demo/1/a")))
	r := io.MultiReader(bytes.NewReader(gz[:40]), failing{broken})
	if found := build.Lint(r, artifact.Gzip, build.Limits{}); len(found) != 1 || !strings.Contains(found[0].Text, broken.Error()) {
		t.Errorf("lint: %v, want %v", found, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
func (f failing) Close() error             { return nil }
func (f failing) Files() artifact.Files {
	return artifact.Files{{Path: "a.tar.gz"}, {Path: "p/x", Size: 100}}
}
func (f failing) Open(artifact.File) (io.ReadCloser, error) { return f, nil }

func TestFindingsAreBounded(t *testing.T) {
	var hs []*tar.Header
	for n := range 1000 {
		hs = append(hs, file(fmt.Sprintf("etc/%d", n)))
	}
	found := build.Lint(bytes.NewReader(compress(t, artifact.Gzip, tarOf(t, hs...))), artifact.Gzip, build.Limits{Install: install})
	if len(found) != 51 || !strings.Contains(found[50].Text, "more findings") {
		t.Errorf("%d findings, the last %v", len(found), found[len(found)-1])
	}
}

func TestLintStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	src := commit(map[string]string{"a.tar.gz": string(compress(t, artifact.Gzip, tarOf(t, file("opt/demo/1/a"))))})
	var s sink
	_, err := build.Make(ctx, src, build.Spec{Archive: "a.tar.gz", Install: install, Format: artifact.Gzip}, &s)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

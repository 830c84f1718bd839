package collect

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Limits of an archive, beside its size.
const (
	maxEntries = 100_000
	maxName    = 1024    // bytes
	maxPadding = 1 << 20 // zeros after its end
	endMarker  = 1024    // zeros that end a tar
)

// Refused says that what a FEC sent is not what it may send. No other try helps while the FEC sends the same.
type Refused struct{ Text string }

// Error says what is wrong.
func (r *Refused) Error() string { return r.Text }

func refuse(format string, args ...any) error { return &Refused{fmt.Sprintf(format, args...)} }

// FormatFile is what the boot client leaves in a folder of persistent data: the tag of the format that the software writes which
// it has booted. What is published may be further.
const FormatFile = ".pomona-format"

// contents are what is in an archive.
type contents struct {
	Files, Bytes int64
	Format       string // that FormatFile says; empty: there is none
}

// rewrite reads the tar that a FEC sends of a path, to its very end, and writes one of its own that holds the same files: what
// FECs unpack later is what was judged here, whatever tricks the first one knew. It holds folders, files and the links among
// them, below the path alone; most is how many bytes they may have.
func rewrite(in io.Reader, out io.Writer, below string, most int64) (contents, error) {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	b.in.Reset(in)
	from := &ending{r: b.in}
	w := &rewriting{from: from, in: tar.NewReader(from), out: tar.NewWriter(out), below: below, most: most, kinds: map[string]byte{}, buf: b.out}
	for {
		h, err := w.in.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = w.entry(h)
		}
		if err != nil {
			return contents{}, damaged(err)
		}
	}
	if err := from.rest(b.out); err != nil {
		return contents{}, err
	}
	if len(w.kinds) == 0 {
		return contents{}, refuse("the archive is empty")
	}
	return w.contents, w.out.Close()
}

// buffers are used again: most archives are smaller than they.
var buffers = sync.Pool{New: func() any { return &buffer{bufio.NewReaderSize(nil, 64<<10), make([]byte, 64<<10)} }}

type buffer struct {
	in  *bufio.Reader
	out []byte
}

// damaged tells what the archive is to blame for from what its way here is.
func damaged(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) {
		return refuse("the archive is damaged: %v", err)
	}
	return err
}

// rewriting is one archive under way.
type rewriting struct {
	contents
	from  *ending
	in    *tar.Reader
	out   *tar.Writer
	below string
	most  int64
	kinds map[string]byte // tar's type of what lies at a path
	buf   []byte
}

func (w *rewriting) entry(h *tar.Header) error {
	name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
	if err := w.place(name, h); err != nil {
		return err
	}
	next := tar.Header{
		Typeflag: h.Typeflag, Name: name, Mode: h.Mode & 0o777, Uid: max(h.Uid, 0), Gid: max(h.Gid, 0),
		ModTime: time.Unix(max(h.ModTime.Unix(), 0), 0), Format: tar.FormatGNU,
	}
	switch h.Typeflag {
	case tar.TypeDir:
		next.Name += "/"
		return w.out.WriteHeader(&next)
	case tar.TypeSymlink, tar.TypeLink:
		next.Linkname = h.Linkname
		return w.out.WriteHeader(&next)
	}
	next.Size = h.Size
	if name == w.below+"/"+FormatFile {
		return w.format(h.Size)
	}
	return w.file(&next)
}

// format reads the file that says which format the data has. It is no data itself.
func (w *rewriting) format(size int64) error {
	if size > maxFormat+1 {
		return refuse("%s has %d bytes: it is not the boot client's", FormatFile, size)
	}
	b, err := io.ReadAll(w.in)
	if err != nil {
		return err
	}
	w.Format = strings.TrimSuffix(string(b), "\n")
	if !formatForm.MatchString(w.Format) {
		return refuse("%s is not the boot client's: it says %q", FormatFile, w.Format)
	}
	return nil
}

// formatForm is that of #Name of the schema.
var formatForm = regexp.MustCompile(`^[a-z][a-z0-9._-]*$`)

// place judges where an entry lies, and what it is.
func (w *rewriting) place(name string, h *tar.Header) error {
	switch {
	case len(w.kinds) >= maxEntries:
		return refuse("the archive has more than %d entries", maxEntries)
	case len(name) > maxName || strings.ContainsFunc(name, unicode.IsControl) || name == "" || path.Clean(name) != name:
		return refuse("%q is no name for a file of a FEC", shown(name))
	case name != w.below && !strings.HasPrefix(name, w.below+"/"):
		return refuse("%q lies outside %s", shown(name), w.below)
	case w.kinds[name] != 0:
		return refuse("%q is there twice", shown(name))
	case name == w.below+"/"+FormatFile && h.Typeflag != tar.TypeReg, h.Typeflag == tar.TypeLink && h.Linkname == w.below+"/"+FormatFile:
		return refuse("%q is a link or a folder, and %s no file of its own: what it would be a link to is not kept", shown(name), FormatFile)
	case name != w.below && w.kinds[path.Dir(name)] != tar.TypeDir:
		return refuse("%q lies in no folder", shown(name))
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeReg:
	case tar.TypeSymlink:
		if !w.leadsInside(name, h.Linkname) {
			return refuse("%q is a link to %q, which leads out of %s", shown(name), shown(h.Linkname), w.below)
		}
	case tar.TypeLink:
		if w.kinds[h.Linkname] != tar.TypeReg {
			return refuse("%q is a hard link to %q, which is no file before it", shown(name), shown(h.Linkname))
		}
	default:
		return refuse("%q is no file, folder or link: keep devices and pipes elsewhere", shown(name))
	}
	w.kinds[name] = h.Typeflag
	if h.Typeflag == tar.TypeLink {
		w.kinds[name] = tar.TypeReg
	}
	return nil
}

// leadsInside says whether a link stays below the path, whatever else is a link: ".." may only stand at its beginning.
func (w *rewriting) leadsInside(name, target string) bool {
	if target == "" || len(target) > maxName || path.IsAbs(target) || strings.ContainsFunc(target, unicode.IsControl) ||
		strings.Contains(strings.TrimLeft(target, "./")+"/", "/../") {
		return false
	}
	to := path.Join(path.Dir(name), target)
	return to == w.below || strings.HasPrefix(to, w.below+"/")
}

func (w *rewriting) file(h *tar.Header) error {
	if h.Size > w.most-w.Bytes {
		return refuse("it has more than %d bytes: keep less there, or allow more with maxSize", w.most)
	}
	if err := w.out.WriteHeader(h); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w.out}, struct{ io.Reader }{w.in}, w.buf); err != nil {
		return err
	}
	w.from.zeros = 0 // its own are none of the end
	w.Files++
	w.Bytes += h.Size
	return nil
}

// ending counts the zeros with which a stream ends: those that end a tar show that it is whole.
type ending struct {
	r     io.Reader
	zeros int
}

// Read implements io.Reader.
func (e *ending) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	i := n
	for i > 0 && p[i-1] == 0 {
		i--
	}
	if i > 0 {
		e.zeros = 0
	}
	e.zeros += n - i
	return n, err
}

// rest reads what follows the last entry.
func (e *ending) rest(buf []byte) error {
	for total := 0; ; {
		n, err := e.Read(buf)
		total += n
		for _, b := range buf[:n] {
			if b != 0 {
				return refuse("the archive has data after its end")
			}
		}
		switch {
		case total > maxPadding:
			return refuse("the archive does not end")
		case err == io.EOF && e.zeros < endMarker:
			return errCut
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

var errCut = errors.New("the archive is cut")

// shown is a name cut to what people can read.
func shown(name string) string {
	if len(name) > 200 {
		return name[:200] + "…"
	}
	return name
}

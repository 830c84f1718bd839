package build

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// item is one entry to pack: its header, and the file with its content when it is a regular one.
type item struct {
	header tar.Header
	file   artifact.File
}

// newItem has everything fixed that differs between machines: times, owners and the bits that umask decides. GNU tar's
// own format is the one whose long names every busybox reads; those before 1.24 skip PAX paths, all skip PAX link paths
// (busybox, archival/libarchive/get_header_tar.c).
func newItem(name string, typeflag byte, mode int64) item {
	return item{header: tar.Header{Name: name, Typeflag: typeflag, Mode: mode, ModTime: time.Unix(0, 0), Format: tar.FormatGNU}}
}

// folderItems are the entries of a folder below its install location, sorted, and what is wrong with them.
func folderItems(ctx context.Context, src artifact.Source, s Spec) ([]item, Findings, error) {
	files := inOrder(src.Files()).Under(s.Folder)
	if len(files) == 0 {
		return nil, Findings{{Text: "there are no files in this folder", Advice: "add them; git keeps no empty folder"}}, nil
	}
	install := strings.TrimPrefix(s.Install, "/")
	names := newEntries(Limits{Install: s.Install})
	if len(files) > names.limit {
		return nil, Findings{{Text: fmt.Sprintf("has more than %d entries", names.limit), Advice: "pack fewer files"}}, nil
	}
	items := folders(install, files, s.Folder)
	for _, f := range files {
		i, reason, err := fileItem(ctx, src, f, path.Join(install, relative(f.Path, s.Folder)))
		if err != nil {
			return nil, nil, err
		}
		if reason != nil {
			names.found.add(i.header.Name, reason.Advice, "%s", reason.Text)
			continue
		}
		items = append(items, i)
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.header.Name, b.header.Name) })
	for _, i := range items {
		names.add(&i.header)
	}
	return items, names.found, nil
}

// folders are the entries of the install location, its parents and all folders below it.
func folders(install string, files artifact.Files, dir string) []item {
	seen := map[string]bool{}
	var items []item
	add := func(p string) {
		for ; p != "." && !seen[p]; p = path.Dir(p) {
			seen[p] = true
			items = append(items, newItem(p+"/", tar.TypeDir, 0o755))
		}
	}
	add(install)
	for _, f := range files {
		add(path.Dir(path.Join(install, relative(f.Path, dir))))
	}
	return items
}

// fileItem is the entry of a file, or the reason why it cannot be one.
func fileItem(ctx context.Context, src artifact.Source, f artifact.File, name string) (item, *Finding, error) {
	if f.Mode == artifact.Link {
		target, err := content(ctx, src, f)
		i := newItem(name, tar.TypeSymlink, 0o777)
		i.header.Linkname = string(target)
		return i, nil, err
	}
	return plainItem(ctx, src, f, name)
}

// plainItem is the entry of a file that has its bytes in the commit, or the reason why it cannot be one.
func plainItem(ctx context.Context, src artifact.Source, f artifact.File, name string) (item, *Finding, error) {
	i := newItem(name, tar.TypeReg, 0o644)
	if f.Mode == artifact.Executable {
		i.header.Mode = 0o755
	}
	i.header.Size, i.file = f.Size, f
	reason, err := plainFile(ctx, src, f)
	return i, reason, err
}

// put packs items into sink.
func put(ctx context.Context, src artifact.Source, items []item, f artifact.Format, sink Sink, in *contents) (artifact.Artifact, error) {
	out := artifact.Artifact{Format: f, Memory: window[f]}
	var err error
	out.Digest, out.Size, err = sink.Put(ctx, func(w io.Writer) error { return pack(ctx, src, items, f, w, in) })
	if err != nil {
		return artifact.Artifact{}, err
	}
	return out, nil
}

func pack(ctx context.Context, src artifact.Source, items []item, f artifact.Format, w io.Writer, in *contents) error {
	c, err := compressor(ctx, w, f)
	if err != nil {
		return err
	}
	// The compressor is closed even after an error: it owns goroutines.
	return errors.Join(packItems(ctx, src, items, c, in), c.Close())
}

func packItems(ctx context.Context, src artifact.Source, items []item, w io.Writer, in *contents) error {
	t := tar.NewWriter(w)
	for _, i := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := packItem(src, i, t, in); err != nil {
			return fmt.Errorf("pack %q: %w", i.header.Name, err)
		}
	}
	return t.Close()
}

func packItem(src artifact.Source, i item, t *tar.Writer, in *contents) error {
	if err := t.WriteHeader(&i.header); err != nil {
		return err
	}
	if i.header.Typeflag != tar.TypeReg {
		_, err := in.add(&i.header, t, strings.NewReader(""))
		return err
	}
	return reading(src, i.file, func(r io.Reader) error {
		_, err := in.add(&i.header, t, r)
		return err
	})
}

// inOrder are files sorted, whatever the order that they come in.
func inOrder(files artifact.Files) artifact.Files {
	byPath := func(a, b artifact.File) int { return cmp.Compare(a.Path, b.Path) }
	if !slices.IsSortedFunc(files, byPath) {
		files = slices.SortedFunc(slices.Values(files), byPath)
	}
	return files
}

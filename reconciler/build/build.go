// Package build makes artifacts: folders and finished archives of a commit as compressed archives with a digest. The
// same files give the same bytes on every machine. Whatever a front-end computer must not unpack is refused here.
package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// packer is the version of everything that decides about bytes: layout, levels, block sizes and the compressors. Raise
// it whenever a golden digest of the tests changes, so that no key names the bytes of an older packer.
const packer = "1"

// Spec says what one artifact is made of: either Folder or Archive, a path in the commit.
type Spec struct {
	Folder  string          // its content is packed
	Archive string          // a finished archive, which is stored as it is
	Install string          // absolute path below which the payload is unpacked
	Format  artifact.Format // of the artifact; an archive must have it already
	Origin  string          // names content that lies outside the commit, and that never changes; empty for the commit itself
	About   About           // of whom a bill of materials is made too; zero for none
}

// Sink is where the bytes go. Put hashes and stores what write produces, or nothing when write fails.
type Sink interface {
	Put(ctx context.Context, write func(io.Writer) error) (artifact.Digest, int64, error)
}

// path is what s is made of, in the commit.
func (s Spec) path() string {
	if s.Archive != "" {
		return s.Archive
	}
	return s.Folder
}

func (s Spec) check() error {
	if (s.Folder == "") == (s.Archive == "") {
		return fmt.Errorf("malformed payload: want either a folder (%q) or an archive (%q)", s.Folder, s.Archive)
	}
	if !path.IsAbs(s.Install) || path.Clean(s.Install) != s.Install || s.Install == "/" {
		return fmt.Errorf("malformed install location %q: want a clean absolute path", s.Install)
	}
	if _, ok := window[s.Format]; !ok {
		return fmt.Errorf("unknown format %q", s.Format)
	}
	return nil
}

// Key names what Make would produce. It comes from the commit's listing alone: paths below the folder, modes, blob ids,
// install location, format, the packer's version and what a bill of materials says. Of what lies outside the
// commit it is the origin that counts, so that nothing is fetched to know the key.
func Key(files artifact.Files, s Spec) artifact.Digest {
	if s.Folder != "" {
		files = inOrder(files)
	}
	return key(files, s)
}

// key is Key of files that are in order for sure: to make sure takes longer than all else for a site of many payloads.
func key(files artifact.Files, s Spec) artifact.Digest {
	h := sha256.New()
	// A hash accepts every write, and no field can hold the zero byte that ends it.
	fmt.Fprintf(h, "pomona %s\x00%s\x00%s\x00", packer, s.Install, s.Format)
	if s.About != (About{}) {
		fmt.Fprintf(h, "about\x00%q\x00", s.About)
	}
	if s.Origin != "" {
		fmt.Fprintf(h, "origin\x00%s\x00", s.Origin)
		return artifact.Digest(h.Sum(nil))
	}
	if s.Archive != "" {
		f, _ := files.Find(s.Archive) // one that is missing has a key too: Make says what is wrong
		fmt.Fprintf(h, "archive\x00%d\x00%s\x00", f.Mode, f.ID)
		return artifact.Digest(h.Sum(nil))
	}
	fmt.Fprint(h, "folder\x00")
	for _, f := range files.Under(s.Folder) {
		fmt.Fprintf(h, "%s\x00%d\x00%s\x00", relative(f.Path, s.Folder), f.Mode, f.ID)
	}
	return artifact.Digest(h.Sum(nil))
}

// Make packs one artifact and puts it into sink. What is wrong with the payload comes back as a *LintError.
func Make(ctx context.Context, src artifact.Source, s Spec, sink Sink) (artifact.Artifact, error) {
	if err := s.check(); err != nil {
		return artifact.Artifact{}, err
	}
	var made artifact.Artifact
	var err error
	var in contents
	if s.Archive != "" {
		made, err = adopt(ctx, src, s, sink, &in)
	} else {
		made, err = packFolder(ctx, src, s, sink, &in)
	}
	if err == nil && s.About != (About{}) {
		made.SBOM, made.Bill, err = putSBOM(ctx, made, s, in, sink)
	}
	if err != nil {
		return artifact.Artifact{}, fmt.Errorf("make artifact of %q: %w", s.path(), err)
	}
	return made, nil
}

func packFolder(ctx context.Context, src artifact.Source, s Spec, sink Sink, in *contents) (artifact.Artifact, error) {
	items, found, err := folderItems(ctx, src, s)
	if err == nil && len(found) > 0 {
		err = &LintError{found}
	}
	if err != nil {
		return artifact.Artifact{}, err
	}
	return put(ctx, src, items, s.Format, sink, in)
}

// adopt stores a finished archive while linting it: one read, and nothing is stored when there is a finding.
func adopt(ctx context.Context, src artifact.Source, s Spec, sink Sink, in *contents) (artifact.Artifact, error) {
	f, found := archiveFile(src.Files(), s)
	if len(found) > 0 {
		return artifact.Artifact{}, &LintError{found}
	}
	out := artifact.Artifact{Format: s.Format}
	var err error
	out.Digest, out.Size, err = sink.Put(ctx, func(w io.Writer) error {
		return reading(src, f, func(r io.Reader) error {
			found, memory, err := lint(ctx, io.TeeReader(r, w), s.Format, Limits{Install: s.Install}, in)
			if err == nil && len(found) > 0 {
				err = &LintError{found}
			}
			out.Memory = memory
			return err
		})
	})
	if err != nil {
		return artifact.Artifact{}, err
	}
	return out, nil
}

// archiveFile is the finished archive of s, unless it cannot be one.
func archiveFile(files artifact.Files, s Spec) (artifact.File, Findings) {
	f, ok := files.Find(s.Archive)
	if !ok {
		return f, Findings{{Text: "there is no such file", Advice: "add it to the repository"}}
	}
	if reason := notAFile(f); reason != nil {
		return f, Findings{*reason}
	}
	if format, err := artifact.FormatOf(s.Archive); err != nil {
		return f, Findings{{Text: err.Error()}}
	} else if format != s.Format {
		return f, Findings{{Text: fmt.Sprintf("its name promises %s, not %s", format, s.Format)}}
	}
	return f, nil
}

// reading opens f for as long as do runs.
func reading(src artifact.Source, f artifact.File, do func(io.Reader) error) error {
	r, err := src.Open(f)
	if err != nil {
		return fmt.Errorf("open %q: %w", f.Path, err)
	}
	return errors.Join(do(r), r.Close())
}

// relative is a path below folder dir, seen from there.
func relative(file, dir string) string {
	if dir == "." {
		return file
	}
	return strings.TrimPrefix(file, dir+"/")
}

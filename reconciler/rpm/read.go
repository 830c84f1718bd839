package rpm

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Tags of the main header.
const (
	tagName          = 1000
	tagVersion       = 1001
	tagRelease       = 1002
	tagEpoch         = 1003
	tagSummary       = 1004
	tagDescription   = 1005
	tagBuildTime     = 1006
	tagBuildHost     = 1007
	tagSize          = 1009
	tagVendor        = 1011
	tagLicense       = 1014
	tagPackager      = 1015
	tagGroup         = 1016
	tagURL           = 1020
	tagArch          = 1022
	tagOldFileNames  = 1027
	tagFileModes     = 1030
	tagFileFlags     = 1037
	tagSourceRPM     = 1044
	tagArchiveSize   = 1046
	tagChangeTime    = 1080
	tagChangeName    = 1081
	tagChangeText    = 1082
	tagSourcePackage = 1106
	tagDirIndexes    = 1116
	tagBaseNames     = 1117
	tagDirNames      = 1118
	tagLongSize      = 5009
)

// Tags of the signature header.
const (
	sigLongArchiveSize = 271
	sigPayloadSize     = 1007
)

const (
	modeKind   = 0o170000 // of a file's mode
	modeFolder = 0o040000
	flagGhost  = 1 << 6 // of a file's flags
)

// changes is how many entries of a changelog repodata tells.
const changes = 10

// Read reads a package's lead, signature and header, nothing of its payload, and verifies neither (see VerifyPackage).
func Read(r io.Reader) (Package, error) {
	f, err := readFile(r)
	if err != nil {
		return Package{}, err
	}
	p, err := f.identity()
	if err != nil {
		return Package{}, err
	}
	err = errors.Join(f.words(&p), f.sizes(&p))
	if err != nil {
		return Package{}, err
	}
	if p.Files, err = f.main.files(); err != nil {
		return Package{}, fmt.Errorf("files: %w", err)
	}
	if err := f.main.dependencies(&p); err != nil {
		return Package{}, fmt.Errorf("dependencies: %w", err)
	}
	if p.Changelog, err = f.main.changelog(); err != nil {
		return Package{}, fmt.Errorf("changelog: %w", err)
	}
	p.SigningKeyID = f.signature.keyID()
	return p, nil
}

// scanned are buffers to read packages through.
var scanned = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// Scan reads a whole package file: what Read tells of it, its digest and its size.
func Scan(r io.Reader) (p Package, d artifact.Digest, size int64, err error) {
	h := sha256.New()
	c := counter{h, 0}
	if p, err = Read(io.TeeReader(r, &c)); err != nil {
		return Package{}, artifact.Digest{}, 0, err
	}
	buffer := scanned.Get().(*[256 << 10]byte)
	defer scanned.Put(buffer)
	if _, err := io.CopyBuffer(&c, struct{ io.Reader }{r}, buffer[:]); err != nil {
		return Package{}, artifact.Digest{}, 0, fmt.Errorf("read payload: %w", err)
	}
	return p, artifact.Digest(h.Sum(nil)), c.n, nil
}

// counter counts what it hands on.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.to.Write(b)
}

// identity is what a package is called. These become names of files and parts of addresses, so only what rpmbuild allows is taken.
func (f file) identity() (p Package, err error) {
	epoch, err := f.main.number(tagEpoch)
	if err != nil || epoch > 1<<32-1 {
		return p, errors.Join(err, fmt.Errorf("malformed epoch %d", epoch))
	}
	p.EVR.Epoch = uint32(epoch)
	for _, part := range []struct {
		what  string
		tag   uint32
		into  *string
		other string // than letters and digits
	}{
		{"name", tagName, &p.Name, "-._+"},
		{"version", tagVersion, &p.EVR.Version, "._+~^"},
		{"release", tagRelease, &p.EVR.Release, "._+~^"},
		{"architecture", tagArch, &p.Arch, "_"},
	} {
		if *part.into, err = f.main.string(part.tag); err != nil {
			return p, err
		}
		if strings.TrimLeftFunc(*part.into, func(r rune) bool { return isDigit(r) || isLetter(r) || strings.ContainsRune(part.other, r) }) != "" || *part.into == "" {
			return p, fmt.Errorf("malformed %s %.40q", part.what, *part.into)
		}
	}
	if f.main.has(tagSourcePackage) || !f.main.has(tagSourceRPM) {
		p.Arch = "src"
	}
	return p, nil
}

func (f file) words(p *Package) error {
	var err error
	for tag, into := range map[uint32]*string{
		tagSummary: &p.Summary, tagDescription: &p.Description, tagPackager: &p.Packager, tagURL: &p.URL, tagLicense: &p.License, tagVendor: &p.Vendor,
		tagGroup: &p.Group, tagBuildHost: &p.BuildHost, tagSourceRPM: &p.SourceRPM,
	} {
		s, e := f.main.string(tag)
		*into, err = s, errors.Join(err, e)
	}
	return err
}

func (f file) sizes(p *Package) error {
	built, err1 := f.main.number(tagBuildTime)
	installed, err2 := f.main.number(tagSize, tagLongSize)
	archive, err3 := f.signature.number(sigPayloadSize, sigLongArchiveSize)
	if archive == 0 && err3 == nil {
		archive, err3 = f.main.number(tagArchiveSize)
	}
	p.BuildTime, p.InstalledSize, p.ArchiveSize = int64(built), int64(installed), int64(archive)
	p.HeaderStart, p.HeaderEnd = f.start, f.start+int64(len(f.main.raw))
	if p.BuildTime < 0 || p.InstalledSize < 0 || p.ArchiveSize < 0 {
		return errors.New("a size or time is negative")
	}
	return errors.Join(err1, err2, err3)
}

// files are a package's paths in their order.
func (h header) files() ([]File, error) {
	paths, err := h.paths()
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	modes, err1 := h.numbers(tagFileModes)
	flags, err2 := h.numbers(tagFileFlags)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if len(modes) != len(paths) || len(flags) != len(paths) {
		return nil, fmt.Errorf("%d paths, %d modes, %d flags", len(paths), len(modes), len(flags))
	}
	files := make([]File, len(paths))
	for i, path := range paths {
		files[i] = File{path, RegularFile}
		if modes[i]&modeKind == modeFolder {
			files[i].Kind = Folder
		} else if flags[i]&flagGhost != 0 {
			files[i].Kind = Ghost
		}
	}
	return files, nil
}

// paths puts together what the header keeps as folders and names.
func (h header) paths() ([]string, error) {
	if h.has(tagOldFileNames) {
		return h.strings(tagOldFileNames)
	}
	names, err1 := h.strings(tagBaseNames)
	folders, err2 := h.strings(tagDirNames)
	indexes, err3 := h.numbers(tagDirIndexes)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	if len(names) != len(indexes) {
		return nil, fmt.Errorf("%d names in %d folders", len(names), len(indexes))
	}
	size := 0
	for i, name := range names {
		if indexes[i] >= uint64(len(folders)) {
			return nil, fmt.Errorf("folder %d of %d", indexes[i], len(folders))
		}
		if size += len(folders[indexes[i]]) + len(name); size > maxPaths {
			return nil, fmt.Errorf("paths take more than %d bytes", maxPaths)
		}
	}
	var all strings.Builder // one allocation for all of them
	all.Grow(size)
	for i, name := range names {
		all.WriteString(folders[indexes[i]])
		all.WriteString(name)
	}
	rest := all.String()
	for i, name := range names {
		n := len(folders[indexes[i]]) + len(name)
		names[i], rest = rest[:n], rest[n:]
	}
	return names, nil
}

// changelog is the last ten changes, oldest first. Changes of one day get different times, as clients sort by them.
func (h header) changelog() ([]Change, error) {
	times, err1 := h.numbers(tagChangeTime)
	names, err2 := h.someStrings(tagChangeName, changes)
	texts, err3 := h.someStrings(tagChangeText, changes)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	n := min(len(times), len(names), len(texts), changes)
	if n == 0 {
		return nil, nil
	}
	log := make([]Change, n)
	var last uint64
	for i := range n {
		at := n - 1 - i
		log[at] = Change{Author: trimAuthor(names[i]), Time: int64(times[i]), Text: texts[i]}
		if times[i] != last {
			last = times[i]
			continue
		}
		for k, taken := at+1, int64(times[i]); k < n && log[k].Time == taken; k, taken = k+1, taken+1 {
			log[k].Time++
		}
	}
	return log, nil
}

// trimAuthor cuts the spaces that an author ends with; one character always stays.
func trimAuthor(s string) string {
	if s == "" {
		return s
	}
	return s[:1] + strings.TrimRight(s[1:], " ")
}

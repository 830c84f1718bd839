// Package rpm reads RPM packages and writes what clients need to install them from a folder: repodata and signatures. It says
// what a set of packages lacks, and which of them a client is never offered.
//
// header.go reads the two headers of a package, read.go what repodata tells of them, evr.go compares versions; fragment.go writes
// XML, repodata.go whole files; closure.go and rich.go ask who provides what is required, masking.go what is hidden by a higher
// version; base.go reads a distribution's own repodata; key.go signs, verify.go checks who has signed a package.
//
// Packages are hostile input. What is read of them is bounded, and strings of a Package are UTF-8 without control characters.
package rpm

import "fmt"

// Package is what repodata says of a package, in its order and as it says it: without requirements that the package itself fulfils,
// rpmlib(…) and repetitions, and with the last ten changes. It depends on the bytes of the package alone.
type Package struct {
	Name string `json:"name"`
	EVR  EVR    `json:"evr"`
	Arch string `json:"arch"` // "src" of a source package

	Summary     string `json:"summary,omitempty"`
	Description string `json:"description,omitempty"`
	Packager    string `json:"packager,omitempty"`
	URL         string `json:"url,omitempty"`
	License     string `json:"license,omitempty"`
	Vendor      string `json:"vendor,omitempty"`
	Group       string `json:"group,omitempty"`
	BuildHost   string `json:"build_host,omitempty"`
	SourceRPM   string `json:"source_rpm,omitempty"`

	BuildTime     int64 `json:"build_time,omitempty"`     // seconds since 1970
	InstalledSize int64 `json:"installed_size,omitempty"` // bytes
	ArchiveSize   int64 `json:"archive_size,omitempty"`   // bytes of the payload before compression
	HeaderStart   int64 `json:"header_start,omitempty"`   // offset in the file
	HeaderEnd     int64 `json:"header_end,omitempty"`

	Provides    []Dependency `json:"provides,omitempty"`
	Requires    []Dependency `json:"requires,omitempty"`
	Conflicts   []Dependency `json:"conflicts,omitempty"`
	Obsoletes   []Dependency `json:"obsoletes,omitempty"`
	Suggests    []Dependency `json:"suggests,omitempty"`
	Enhances    []Dependency `json:"enhances,omitempty"`
	Recommends  []Dependency `json:"recommends,omitempty"`
	Supplements []Dependency `json:"supplements,omitempty"`

	Files     []File   `json:"files,omitempty"`
	Changelog []Change `json:"changelog,omitempty"` // oldest first

	// SigningKeyID is whose key the package's signature names, 16 upper-case hex digits; empty if it has none. Nobody has
	// verified it.
	SigningKeyID string `json:"signing_key_id,omitempty"`
}

// String is the package as rpm names it: name-version-release.arch, with the epoch before the version if it has one.
func (p *Package) String() string { return fmt.Sprintf("%s-%s.%s", p.Name, p.EVR, p.Arch) }

// FileName is the name that rpmbuild gives to the package's file: without the epoch.
func (p *Package) FileName() string {
	return fmt.Sprintf("%s-%s-%s.%s.rpm", p.Name, p.EVR.Version, p.EVR.Release, p.Arch)
}

// Dependency is what a package provides or asks for: a name, a file, or a rich dependency such as "(a if b)".
type Dependency struct {
	Name  string `json:"n"`
	Flags Flags  `json:"f,omitempty"`
	EVR   EVR    `json:"v,omitzero"`
	Pre   bool   `json:"p,omitempty"` // needed by scripts of the installation
}

// String is the dependency as rpm prints it: "name >= 1.0".
func (d Dependency) String() string {
	if d.Flags == "" {
		return d.Name
	}
	return d.Name + " " + d.Flags.sign() + " " + d.EVR.String()
}

// Flags say how a dependency compares versions: LT, GT, EQ, LE, GE, or nothing.
type Flags string

func flagsOf(bits uint64) Flags {
	switch bits & 0xf {
	case 2:
		return "LT"
	case 4:
		return "GT"
	case 8:
		return "EQ"
	case 10:
		return "LE"
	case 12:
		return "GE"
	}
	return ""
}

func (f Flags) sign() string {
	return map[Flags]string{"LT": "<", "GT": ">", "EQ": "=", "LE": "<=", "GE": ">="}[f]
}

// Kind is what a path of a package is.
type Kind byte

// Kinds of paths: a file or a link to one, a folder, a path that the package owns without bringing it.
const (
	RegularFile Kind = '-'
	Folder      Kind = 'd'
	Ghost       Kind = 'g'
)

// File is a path of a package.
type File struct {
	Path string
	Kind Kind
}

// MarshalText writes the kind and the path.
func (f File) MarshalText() ([]byte, error) { return append([]byte{byte(f.Kind)}, f.Path...), nil }

// UnmarshalText reads what MarshalText writes.
func (f *File) UnmarshalText(b []byte) error {
	if len(b) == 0 || b[0] != byte(RegularFile) && b[0] != byte(Folder) && b[0] != byte(Ghost) {
		return fmt.Errorf("malformed file %q", b)
	}
	*f = File{Path: string(b[1:]), Kind: Kind(b[0])}
	return nil
}

// Change is an entry of a changelog.
type Change struct {
	Author string `json:"a"`
	Time   int64  `json:"t"`
	Text   string `json:"c"`
}

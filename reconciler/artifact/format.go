package artifact

import (
	"fmt"
	"strings"
)

// Format is the compression of an archive.
type Format string

// The formats that Pomona builds and the boot client unpacks.
const (
	Gzip Format = "gzip"
	Xz   Format = "xz"
	Zstd Format = "zstd"
)

// Extension is the end of an archive's name, for instance .tar.gz.
func (f Format) Extension() string {
	switch f {
	case Xz:
		return ".tar.xz"
	case Zstd:
		return ".tar.zst"
	}
	return ".tar.gz"
}

// FormatOf is the format that an archive's name promises.
func FormatOf(name string) (Format, error) {
	for _, f := range []Format{Gzip, Xz, Zstd} {
		if strings.HasSuffix(name, f.Extension()) {
			return f, nil
		}
	}
	if strings.HasSuffix(name, ".tgz") {
		return Gzip, nil
	}
	return "", fmt.Errorf("unknown archive name %q: want .tar.gz, .tgz, .tar.xz or .tar.zst", name)
}

// Artifact is a file with a digest, in the object store.
type Artifact struct {
	Digest Digest `json:"digest"`
	Size   int64  `json:"size"`             // bytes, as stored
	Format Format `json:"format,omitempty"` // empty for a plain file
	Memory int64  `json:"memory,omitempty"` // bytes that unpacking needs for its window
	SBOM   Digest `json:"sbom,omitzero"`    // bill of materials, an object of its own; zero for none
	Bill   int64  `json:"bill,omitempty"`   // bytes of that
}

// Sizes are the sizes of an artifact's objects.
func (a Artifact) Sizes() map[Digest]int64 {
	out := map[Digest]int64{a.Digest: a.Size}
	if !a.SBOM.IsZero() {
		out[a.SBOM] = a.Bill
	}
	return out
}

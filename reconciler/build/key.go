package build

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// FileKey names what File would store.
func FileKey(f artifact.File) artifact.Digest {
	return artifact.Sum(fmt.Appendf(nil, "pomona file\x00%d\x00%s", f.Mode, f.ID))
}

// ScriptsKey names what Scripts would pack.
func ScriptsKey(scripts map[string]artifact.File) artifact.Digest {
	h := sha256.New()
	fmt.Fprintf(h, "pomona scripts %s\x00", packer)
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		f := scripts[name]
		fmt.Fprintf(h, "%s\x00%d\x00%s\x00", name, f.Mode, f.ID)
	}
	return artifact.Digest(h.Sum(nil))
}

package tree

import (
	"maps"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// SoftwareParts are the archives of one release: one for each payload and each format that a platform gets.
func SoftwareParts(s desired.Site, name, version string) map[Part]desired.Payload {
	parts := map[Part]desired.Payload{}
	r := s.Software[name].Versions[version]
	for platform, pl := range s.Settings.Platforms {
		if p, key, ok := r.For(platform); ok {
			parts[Part{SoftwarePart, name, version, key, p.FormatFor(pl)}] = p
		}
	}
	return parts
}

// softwareFolder is software/NAME: VERSION/ARCHIVE, its checksum and its bill of materials.
func (b *builder) softwareFolder(name string) Folder {
	f := Folder{Path: "software/" + name}
	for _, v := range b.want.Releases[name] {
		parts := SoftwareParts(b.want.Site, name, v)
		f.Nodes = append(f.Nodes, b.archives(v+"/", slices.Collect(maps.Keys(parts)))...)
	}
	sortNodes(f.Nodes)
	return f
}

// archives are links to archives, each with its checksum and its bill of materials.
func (b *builder) archives(dir string, parts []Part) []Node {
	var nodes []Node
	for _, p := range parts {
		nodes = append(nodes, b.described(dir, p, b.part(p))...)
	}
	return nodes
}

// described is an archive with its bill of materials.
func (b *builder) described(dir string, p Part, a artifact.Artifact) []Node {
	nodes := b.archive(dir, p, a)
	if !a.SBOM.IsZero() {
		nodes = append(nodes, Node{Path: nodes[0].Path + sbomExtension, Object: a.SBOM})
	}
	return nodes
}

func (b *builder) archive(dir string, p Part, a artifact.Artifact) []Node {
	path := dir + desired.ArchiveName(p.Name, p.Version, p.Payload, p.Format)
	return []Node{{Path: path, Object: a.Digest}, checksum(path, a.Digest)}
}

// sbomExtension follows an archive's name in that of its bill of materials: CycloneDX in JSON.
const sbomExtension = ".cdx.json"

// IsBillOf says whether a file of a release is the bill of materials of an archive of it.
func IsBillOf(file, archive string) bool { return file == archive+sbomExtension }

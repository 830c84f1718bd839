package tree

import (
	"maps"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// ConfigurationParts are the archives of one version of a configuration item: one for each format that a platform gets,
// or the one that its own FEC gets.
func ConfigurationParts(s desired.Site, name, version string) map[Part]desired.Payload {
	parts := map[Part]desired.Payload{}
	item := s.Configuration[name]
	p := item.Versions[version].Payload
	for platform, pl := range s.Settings.Platforms {
		if item.FEC == "" || s.FECs[item.FEC].Platform == platform {
			parts[Part{Kind: ConfigurationPart, Name: name, Version: version, Format: p.FormatFor(pl)}] = p
		}
	}
	return parts
}

// configurationFolder is configuration/NAME of an item that FECs share: VERSION/ARCHIVE, its checksum and its
// bill of materials.
func (b *builder) configurationFolder(name string, item desired.Configuration) Folder {
	f := Folder{Path: "configuration/" + name}
	for v := range item.Versions {
		parts := ConfigurationParts(b.want.Site, name, v)
		f.Nodes = append(f.Nodes, b.archives(v+"/", slices.Collect(maps.Keys(parts)))...)
	}
	sortNodes(f.Nodes)
	return f
}

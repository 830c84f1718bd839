package tree

import (
	"slices"
	"strconv"
)

// PreviewPath is where the tree of a pull request lies below a root.
func PreviewPath(number int) string { return PreviewsFolder + "/" + strconv.Itoa(number) }

// PreviewChannel is the channel of a pull request's tree. The channel of a site is a name, which has no slash.
func PreviewChannel(number int) string { return "preview/" + strconv.Itoa(number) }

// InChannel is the same tree for FECs that accept another channel.
func (t Tree) InChannel(channel string) Tree {
	t.Channel, t.Folders = channel, slices.Clone(t.Folders)
	for i, f := range t.Folders {
		if f.Manifest == nil {
			continue
		}
		m := *f.Manifest
		m.Channel = channel
		f = Folder{Path: f.Path, Nodes: f.Nodes, Manifest: &m}
		f.content = f.Content()
		t.Folders[i] = f
	}
	return t
}

package tree

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// ManifestName is the file of a FEC's folder that its boot client fetches first.
const ManifestName = "boot.manifest"

// Content is the digest of what the folder holds, without a manifest's serial, expiry and signatures.
func (f Folder) Content() artifact.Digest {
	if !f.content.IsZero() {
		return f.content
	}
	if f.Manifest == nil {
		return digestNodes(f.Nodes)
	}
	m := *f.Manifest
	m.Serial, m.Expires = 0, 0
	return digestNodes(f.withManifest(m.Marshal()))
}

// Sealed are the folder's nodes with its manifest, signed, and the digest that names the folder in the object store.
func (f Folder) Sealed(manifest []byte) ([]Node, artifact.Digest) {
	nodes := f.Nodes
	if manifest != nil {
		nodes = f.withManifest(manifest)
	}
	if nodes == nil {
		nodes = []Node{} // an empty folder, not one that is stored already
	}
	return nodes, digestNodes(nodes)
}

// Added are the paths that publish adds to the folder with the pilot key: no content tells of them, so that a tree is the same whoever
// renders it.
func (f Folder) Added() (paths []string) {
	for _, path := range f.Signs {
		paths = append(paths, path+signatureExtension)
	}
	if f.Key != "" {
		paths = append(paths, f.Key)
	}
	return paths
}

// With are the folder's nodes with those that publish adds, and the digest that names the folder in the object store.
func (f Folder) With(added []Node) ([]Node, artifact.Digest) {
	nodes := sortNodes(slices.Concat(f.Nodes, added))
	return nodes, digestNodes(nodes)
}

// FolderDigest names a folder in the object store by its nodes.
func FolderDigest(nodes []Node) artifact.Digest { return digestNodes(sortNodes(slices.Clone(nodes))) }

func (f Folder) withManifest(b []byte) []Node {
	at, _ := slices.BinarySearchFunc(f.Nodes, ManifestName, func(n Node, path string) int { return cmp.Compare(n.Path, path) })
	nodes := make([]Node, 0, len(f.Nodes)+1)
	nodes = append(append(nodes, f.Nodes[:at]...), Node{Path: ManifestName, Data: b})
	return append(nodes, f.Nodes[at:]...)
}

func sortNodes(nodes []Node) []Node {
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.Path, b.Path) })
	return nodes
}

func digestNodes(nodes []Node) artifact.Digest {
	b := appendLine(make([]byte, 0, 200*(1+len(nodes))), "pomona-folder 1")
	for _, n := range nodes {
		switch {
		case n.Target != "":
			b = appendLine(b, "link", n.Path, n.Target)
		case !n.Object.IsZero():
			b = appendLine(b, "object", n.Path, n.Object)
		default:
			b = appendLine(b, "file", n.Path, n.Permissions(), artifact.Sum(n.Data))
		}
	}
	return artifact.Sum(b)
}

// Permissions are a rendered file's mode bits: nobody may write it.
func (n Node) Permissions() string {
	if n.Mode == artifact.Executable {
		return "0555"
	}
	return "0444"
}

// LinkTarget is what the link at n.Path holds once its folder lies in the object store, three folders below the root:
// objects/sha256/ab/DIGEST. It is empty for a rendered file.
func (n Node) LinkTarget() string {
	up := strings.Repeat("../", strings.Count(n.Path, "/"))
	switch {
	case n.Target != "":
		return up + "../../../../" + n.Target
	case !n.Object.IsZero():
		return up + "../../" + strings.TrimPrefix(n.Object.Path(), "sha256/")
	}
	return ""
}

// LinkNode is the node whose link at path holds target: LinkTarget backwards. What no node's link holds is malformed.
func LinkNode(path, target string) (Node, error) {
	n := Node{Path: path}
	to, inRoot := strings.CutPrefix(target, strings.Repeat("../", strings.Count(path, "/"))+"../../../../")
	if inRoot {
		n.Target = to
	} else if d, err := artifact.ParseDigest(to[strings.LastIndex(to, "/")+1:]); err == nil {
		n.Object = d
	}
	if n.LinkTarget() != target {
		return Node{}, fmt.Errorf("malformed link %s -> %q", path, target)
	}
	return n, nil
}

// checksum is the .sha256 file beside an archive, as sha256sum -c reads it.
func checksum(path string, d artifact.Digest) Node {
	name := path[strings.LastIndex(path, "/")+1:]
	return Node{Path: path + ".sha256", Data: appendLine(make([]byte, 0, 2*len(d)+len(name)+3), d, "", name)}
}

// Package tree is what a served tree is: every file of one commit, in memory, before a byte is written, and the formats
// that a FEC reads: manifest, index, signatures. It does no I/O.
package tree

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Tree is every file of one generation.
type Tree struct {
	Site    string
	Channel string
	Folders []Folder // by path; each is stored once and shared by all generations that hold it
	Links   []Link   // by path; fecs/HOST beside fecs/FEC
	Data    []string // FECs whose persistent data has a folder, sorted
	Life    int64    // minutes that a manifest is valid

	settings desired.Settings
}

// Folder is one folder of a tree, for instance fecs/kgp2cu02 or software/bpm.
type Folder struct {
	Path     string
	Nodes    []Node    // by path
	Manifest *Manifest // of a FEC, without serial and expiry
	Signs    []string  // nodes beside which publish puts signatures of the pilot key
	Key      string    // path at which publish puts the public part of that key; empty: nowhere

	content artifact.Digest // once it is laid out
	watched *watched        // of a FEC: what monitoring systems are told of it
}

// Node is one file or link below a folder. Exactly one of Data, Object and Target says what it holds.
type Node struct {
	Path   string
	Mode   artifact.Mode
	Data   []byte          // a small file, rendered
	Object artifact.Digest // a link to an object
	Target string          // a link to a path below the root, for instance data/kgp2cu02
}

// Link is a link of a tree to a neighbour in the same folder.
type Link struct{ Path, Target string }

// Part names something that a tree holds and that must be built first.
type Part struct {
	Kind    string // software, configuration, script or scripts
	Name    string // of the software or configuration; the file of a script; the FEC of scripts
	Version string
	Payload string // platform key of a software's payload
	Format  artifact.Format
}

// Kinds of parts.
const (
	SoftwarePart      = "software"
	ConfigurationPart = "configuration"
	ScriptPart        = "script"  // one script, plain
	ScriptsPart       = "scripts" // all init scripts of one FEC, one archive
)

// String names the part for people.
func (p Part) String() string {
	switch p.Kind {
	case SoftwarePart:
		return fmt.Sprintf("%s %s (%s, %s)", p.Name, p.Version, p.Payload, p.Format)
	case ConfigurationPart:
		return fmt.Sprintf("configuration %s %s (%s)", p.Name, p.Version, p.Format)
	case ScriptsPart:
		return "init scripts of " + p.Name
	case PackagePart:
		return "package " + p.Name
	case RepodataPart:
		return fmt.Sprintf("%s of packages %.12s", p.Payload, p.Name)
	case KeyPart:
		return "public key " + p.Name
	}
	return "script " + p.Name
}

// Wanted is all that a tree is a function of.
type Wanted struct {
	Site     desired.Site
	Releases map[string][]string        // software to the versions that are served
	Parts    map[Part]artifact.Artifact // everything built
	Client   []byte                     // the boot client
	Command  []byte                     // what FECs answer over ssh with; empty: none is served
	Expired  map[string]bool            // CUE paths of permissions that have passed
	Pilots   []PilotPlace               // how far pilots have got, by name; FECs have theirs in Site already
}

// Client and Command are paths in the folder of global scripts: the boot client, and what FECs answer over ssh with.
const (
	Client  = "pomona-boot"
	Command = "pomona-fec"
)

// Of lays out the whole tree. Missing parts and two entries at one path are errors of Pomona's own: desired.Check has
// already refused a site that would cause them.
func Of(w Wanted) (Tree, error) {
	return of(w, func(string) (Folder, bool) { return Folder{}, false })
}

// of lays out the whole tree. Folders of FECs that are known need not be laid out.
func of(w Wanted, known func(fec string) (Folder, bool)) (Tree, error) {
	t := Tree{Site: w.Site.Settings.Name, Channel: w.Site.Settings.TheChannel(), Life: int64(w.Site.Settings.Boot.Life().Minutes()), settings: w.Site.Settings}
	b := builder{want: w, known: known}
	t.Folders = append(t.Folders, b.globalFolder())
	for name, item := range w.Site.Configuration {
		if item.FEC == "" {
			t.Folders = append(t.Folders, b.configurationFolder(name, item))
		}
	}
	for name := range w.Site.Software {
		t.Folders = append(t.Folders, b.softwareFolder(name))
	}
	fecs := b.fecFolders(slices.Sorted(maps.Keys(w.Site.FECs)))
	t.Folders = append(append(t.Folders, fecs...), monitoringFolders(w.Site.Settings, fecs)...)
	t.Folders = append(t.Folders, b.prerequisitesFolder()...)
	t.Folders = append(t.Folders, b.pilotFolders()...)
	t.Folders = append(t.Folders, infosysFolders(w.Site, w.Pilots)...)
	for name, fec := range w.Site.FECs {
		if fec.Host != name {
			t.Links = append(t.Links, Link{Path: "fecs/" + fec.Host, Target: name})
		}
		if len(fec.Persistence) > 0 {
			t.Data = append(t.Data, name)
		}
	}
	slices.SortFunc(t.Folders, func(a, b Folder) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(t.Links, func(a, b Link) int { return cmp.Compare(a.Path, b.Path) })
	slices.Sort(t.Data)
	for i, f := range t.Folders {
		t.Folders[i].content = f.Content() // of a FEC it is known already
	}
	if b.err != nil {
		return Tree{}, b.err
	}
	return t, t.check()
}

// fecFolders are the folders of all FECs, which are most of a tree: all processors lay them out.
func (b *builder) fecFolders(fecs []string) []Folder {
	folders, share := make([]Folder, len(fecs)), 1+len(fecs)/runtime.GOMAXPROCS(0)
	var working sync.WaitGroup
	var mu sync.Mutex
	for from := 0; from < len(fecs); from += share {
		working.Go(func() {
			own := builder{want: b.want}
			for i := from; i < min(from+share, len(fecs)); i++ {
				var ok bool
				if folders[i], ok = b.known(fecs[i]); ok {
					continue
				}
				folders[i] = own.fecFolder(fecs[i], b.want.Site.FECs[fecs[i]])
				folders[i].content = folders[i].Content()
			}
			mu.Lock()
			defer mu.Unlock()
			b.err = cmp.Or(b.err, own.err)
		})
	}
	working.Wait()
	return folders
}

// check finds two entries at one path.
func (t Tree) check() error {
	seen := map[string]bool{}
	for _, f := range t.Folders {
		if seen[f.Path] {
			return fmt.Errorf("lay out tree: two entries at %q", f.Path)
		}
		seen[f.Path] = true
		for i, n := range f.Nodes {
			if i > 0 && f.Nodes[i-1].Path == n.Path {
				return fmt.Errorf("lay out tree: two entries at %q", f.Path+"/"+n.Path)
			}
		}
	}
	for _, l := range t.Links {
		if seen[l.Path] {
			return fmt.Errorf("lay out tree: two entries at %q", l.Path)
		}
		seen[l.Path] = true
	}
	return nil
}

// Digest covers paths, modes and object digests: not commits, generation numbers, serials, dates or signatures. Equal
// site trees give equal digests on any machine.
func (t Tree) Digest() artifact.Digest {
	b := appendLine(nil, "pomona-tree 1", t.Site, t.Channel)
	for _, f := range t.Folders {
		b = appendLine(b, "folder", f.Path, f.Content())
	}
	for _, l := range t.Links {
		b = appendLine(b, "link", l.Path, l.Target)
	}
	for _, d := range t.Data {
		b = appendLine(b, "data", d)
	}
	return artifact.Sum(b)
}

// builder collects the first error, so that layout reads as layout.
type builder struct {
	want  Wanted
	known func(fec string) (Folder, bool)
	err   error
}

func (b *builder) part(p Part) artifact.Artifact {
	a, ok := b.want.Parts[p]
	if !ok && b.err == nil {
		b.err = fmt.Errorf("lay out tree: %s has not been built", p)
	}
	return a
}

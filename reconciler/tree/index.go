package tree

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Index lists one generation: a line for each shared folder and link. With its signature, whoever holds a site's key
// can check the whole tree from it.
type Index struct {
	Site       string
	Channel    string
	Generation int64
	Commit     string // 40 hex digits
	Tree       artifact.Digest
	FECs       []IndexedFEC
	Folders    []IndexedFolder
	Links      []Link
}

// IndexedFEC is the folder of one FEC.
type IndexedFEC struct {
	Name    string
	Content artifact.Digest // of what it boots
	Folder  artifact.Digest // of the folder object, manifest included
	Serial  int64           // of the manifest
	Expires int64           // of the manifest, minutes since 1970
}

// IndexedFolder is a folder that is no FEC's.
type IndexedFolder struct {
	Path    string
	Folder  artifact.Digest
	Content artifact.Digest // without what publish added; zero: it added nothing
}

// Holds is the digest of what the folder's content is, whoever signed it.
func (f IndexedFolder) Holds() artifact.Digest {
	if f.Content.IsZero() {
		return f.Folder
	}
	return f.Content
}

const indexHeader = "pomona-index 1"

// FindFEC is one FEC of an index that is not read otherwise: there may be many. False: it has none of that name.
func FindFEC(index []byte, name string) (f IndexedFEC, there bool) {
	_, rest, found := bytes.Cut(index, []byte("\nfec "+name+" "))
	if !found || strings.ContainsAny(name, " \n") {
		return f, false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) != 4 {
		return f, false
	}
	var errs [4]error
	f.Name = name
	f.Content, errs[0] = artifact.ParseDigest(words[0])
	f.Folder, errs[1] = artifact.ParseDigest(words[1])
	f.Serial, errs[2] = strconv.ParseInt(words[2], 10, 32)
	f.Expires, errs[3] = strconv.ParseInt(words[3], 10, 32)
	return f, errors.Join(errs[:]...) == nil
}

// Marshal writes the index, a line per fact:
//
//	pomona-index 1
//	site NAME
//	channel NAME
//	generation NUMBER
//	commit SHA1
//	tree SHA256
//	fec NAME CONTENT FOLDER SERIAL EXPIRES
//	folder PATH FOLDER
//	signed PATH CONTENT FOLDER
//	link PATH TARGET
//	end LINES
func (x Index) Marshal() []byte {
	w := lines{}
	w.add(indexHeader)
	w.add("site", x.Site)
	w.add("channel", x.Channel)
	w.add("generation", x.Generation)
	w.add("commit", x.Commit)
	w.add("tree", x.Tree)
	for _, f := range x.FECs {
		w.add("fec", f.Name, f.Content, f.Folder, f.Serial, f.Expires)
	}
	for _, f := range x.Folders {
		if f.Content.IsZero() {
			w.add("folder", f.Path, f.Folder)
		}
	}
	for _, f := range x.Folders {
		if !f.Content.IsZero() {
			w.add("signed", f.Path, f.Content, f.Folder)
		}
	}
	for _, l := range x.Links {
		w.add("link", l.Path, l.Target)
	}
	return w.end()
}

// ParseIndex reads an index, unchecked.
func ParseIndex(b []byte) (Index, error) {
	r, err := readLines(b, indexHeader)
	if err != nil {
		return Index{}, fmt.Errorf("parse index: %w", err)
	}
	x := Index{Site: r.name("site"), Channel: r.name("channel"), Generation: r.number("generation", MaxMinutes), Commit: r.name("commit")}
	if len(x.Commit) != 40 || strings.Trim(x.Commit, "0123456789abcdef") != "" {
		r.fail("malformed commit %q", clip(x.Commit))
	}
	if !r.next("tree", 1) {
		r.fail("want tree")
	}
	x.Tree = r.digest()
	for r.next("fec", 5) {
		x.FECs = append(x.FECs, IndexedFEC{Name: r.word(), Content: r.digest(), Folder: r.digest(), Serial: r.integer(MaxMinutes), Expires: r.integer(MaxMinutes)})
	}
	for r.next("folder", 2) {
		x.Folders = append(x.Folders, IndexedFolder{Path: r.word(), Folder: r.digest()})
	}
	for r.next("signed", 3) {
		x.Folders = append(x.Folders, IndexedFolder{Path: r.word(), Content: r.digest(), Folder: r.digest()})
	}
	for r.next("link", 2) {
		x.Links = append(x.Links, Link{Path: r.word(), Target: r.word()})
	}
	r.finish()
	if r.err != nil {
		return Index{}, fmt.Errorf("parse index: %w", r.err)
	}
	return x, nil
}

// Paths are all folders and links.
func (x Index) Paths() (paths []string) {
	for _, f := range x.FECs {
		paths = append(paths, "fecs/"+f.Name)
	}
	for _, f := range x.Folders {
		paths = append(paths, f.Path)
	}
	for _, l := range x.Links {
		paths = append(paths, l.Path)
	}
	return paths
}

package reconciler

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// AddPackages states the packages of a folder, OS/ARCH/DIRECTORY/FILE, as those of the first installation.
type AddPackages struct {
	Folder string
	URL    string // where they lie in the same folders; empty: they go to the blob store
}

func (w AddPackages) say(s PilotSeen) (c PilotChange, err error) {
	if err := s.mayAdd(); err != nil {
		return c, err
	}
	found, blobs, err := w.read()
	if err != nil {
		return c, err
	}
	p := s.Pilot
	p.Branches = maps.Clone(p.Branches)
	if p.Branches == nil {
		p.Branches = map[string]desired.RPMBranch{}
	}
	c = PilotChange{Blobs: blobs, Title: "Packages of pilot " + s.Name}
	for _, branch := range slices.Sorted(maps.Keys(found)) {
		directories := desired.RPMBranch{}
		for _, d := range desired.RPMDirectories {
			directories[d] = append([]desired.RPM{}, found[branch][d]...)
		}
		for _, d := range slices.Sorted(maps.Keys(found[branch])) {
			if !slices.Contains(desired.RPMDirectories, d) {
				return c, fmt.Errorf("%s/%s is none of the folders of a source repository: %s", branch, d, strings.Join(desired.RPMDirectories, ", "))
			}
		}
		if len(directories[desired.ReleaseRPMs]) == 0 {
			return c, fmt.Errorf("%s/%s has no packages: there must be at least one", branch, desired.ReleaseRPMs)
		}
		p.Branches[branch] = directories
		c.Apart = append(c.Apart, Apart{File: "packages-" + strings.ReplaceAll(branch, "/", "-"), Path: []string{"branches", branch}, Value: directories})
	}
	if s.frozen("") != "" && s.frozen("") != p.Snapshot().Subject() {
		c.Warnings = append(c.Warnings, fmt.Sprintf("what was frozen changes: whatever was said of it is void; freeze it anew: pomona pilot %s freeze", s.Name))
	}
	c.Pilot = &p
	return c, nil
}

// mayAdd says why somebody may not say of which packages a pilot is.
func (s PilotSeen) mayAdd() error {
	if s.Pilot.Scope == desired.PilotOfFECs {
		return fmt.Errorf("pilot %s is of FECs, which have no packages: pomona release puts a version there", s.Name)
	}
	return s.may(desired.PilotRecord{Kind: desired.RecordNotes, By: s.By})
}

// read finds the packages of a folder, by branch and directory, and what the blob store has to get.
func (w AddPackages) read() (found map[string]map[string][]desired.RPM, blobs []remote.Blob, err error) {
	found = map[string]map[string][]desired.RPM{}
	seen := map[string]bool{}
	if !isFolder(w.Folder) {
		return nil, nil, fmt.Errorf("read packages: there is no folder %q", w.Folder)
	}
	err = fs.WalkDir(os.DirFS(w.Folder), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && e.Name() == "repodata" {
			return fs.SkipDir // Pomona makes its own
		}
		if e.IsDir() || !strings.HasSuffix(name, ".rpm") {
			return nil
		}
		parts := strings.Split(name, "/")
		if len(parts) != 3 && len(parts) != 4 {
			return fmt.Errorf("%q lies in the wrong folder: want OS/ARCH/DIRECTORY/FILE, for instance SL9/x86_64/%s/%s", name, desired.ReleaseRPMs, path.Base(name))
		}
		branch, directory := parts[0]+"/"+parts[1], ""
		if len(parts) == 4 {
			directory = parts[2]
		}
		digest, size, err := sumOf(w.Folder, name)
		if err != nil {
			return err
		}
		r := desired.RPM{File: path.Base(name), SHA256: digest.String()}
		if w.URL != "" {
			r.URL = strings.TrimSuffix(w.URL, "/") + "/" + name
		} else if !seen[r.SHA256] {
			seen[r.SHA256] = true
			blobs = append(blobs, remote.Blob{Digest: digest, Size: size, Open: func() (io.ReadCloser, error) { return os.Open(path.Join(w.Folder, name)) }})
		}
		if found[branch] == nil {
			found[branch] = map[string][]desired.RPM{}
		}
		found[branch][directory] = append(found[branch][directory], r)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read packages of %q: %w", w.Folder, err)
	}
	if len(found) == 0 {
		return nil, nil, fmt.Errorf("folder %q has no packages: want OS/ARCH/DIRECTORY/FILE.rpm in it", w.Folder)
	}
	return found, blobs, nil
}

func sumOf(folder, name string) (d artifact.Digest, size int64, err error) {
	f, err := os.Open(path.Join(folder, name))
	if err != nil {
		return d, 0, err
	}
	defer f.Close() // only read
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return d, 0, err
	}
	d, err = artifact.ParseDigest(fmt.Sprintf("%x", h.Sum(nil)))
	return d, size, err
}

// AddUpdate candidates an update: packages that are added to what was mirrored last.
type AddUpdate struct {
	Update   string
	Is       desired.PilotUpdate // without its base and packages
	Packages AddPackages
}

func (w AddUpdate) say(s PilotSeen) (c PilotChange, err error) {
	if err := s.mayAdd(); err != nil {
		return c, err
	}
	u := w.Is
	if _, there := s.Pilot.Updates[w.Update]; there && s.frozen(w.Update) != "" {
		return c, fmt.Errorf("update %s is frozen already: choose another name", w.Update)
	}
	if u.Base, err = s.mirrored(); err != nil {
		return c, err
	}
	found, blobs, err := w.Packages.read()
	if err != nil {
		return c, err
	}
	u.Packages = map[string][]desired.RPM{}
	for _, branch := range slices.Sorted(maps.Keys(found)) {
		for _, directory := range slices.Sorted(maps.Keys(found[branch])) {
			if directory != "" && directory != u.Directory() {
				return c, fmt.Errorf("%s/%s: an update of kind %s goes to %s alone: move its packages to %[1]s/%[4]s", branch, directory, u.Kind, u.Directory())
			}
			u.Packages[branch] = append(u.Packages[branch], found[branch][directory]...)
		}
	}
	p := s.Pilot
	p.Updates = maps.Clone(p.Updates)
	if p.Updates == nil {
		p.Updates = map[string]desired.PilotUpdate{}
	}
	p.Updates[w.Update] = u
	c = PilotChange{Pilot: &p, Blobs: blobs, Title: fmt.Sprintf("Candidate update %s of %s", w.Update, s.Name)}
	c.Apart = []Apart{{File: "update-" + w.Update, Path: []string{"updates", w.Update}, Value: u}}
	return c, nil
}

// mirrored is the digest of what was mirrored last, which updates add to.
func (s PilotSeen) mirrored() (string, error) {
	base := ""
	subjects := map[string]bool{s.Now.Subject: true}
	for _, subject := range s.subjects() {
		subjects[subject] = true
	}
	for _, name := range s.Pilot.RecordsInOrder() {
		if r := s.Pilot.Records[name]; r.Kind == desired.RecordMirror && subjects[r.Subject] {
			base = r.Subject
		}
	}
	if base == "" {
		return "", fmt.Errorf("nothing of pilot %[1]s has been mirrored that an update could add to: until then its packages change by pomona pilot %[1]s add-packages", s.Name)
	}
	return base, nil
}

package tree

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Where the repositories of grid-service pilots lie.
const (
	pilotRepositories = "repo/pilots"
	packageKeys       = "repo/keys"
	pilotNotes        = "pilots"
	noPackages        = "none" // in the place of a snapshot's digest: a repository without packages
)

// PilotKey is the name of the public key that signs repositories, in repo/keys.
const PilotKey = "pomona.asc"

// signatureExtension follows the name of what is signed in that of its signature.
const signatureExtension = ".asc"

// Files of a repository, in its folder repodata. Names without a digest are for folders that never change.
const repomd = "repomd.xml"

// RepodataFiles are all files of a folder repodata but signatures.
var RepodataFiles = []string{"filelists.xml.gz", "other.xml.gz", "primary.xml.gz", repomd}

// Parts of repositories.
const (
	PackagePart  = "package"  // one package file: Name, Version is its digest
	RepodataPart = "repodata" // one file of repodata: Name is the digest of what it lists, Payload the file
	KeyPart      = "key"      // a public key, a file of the site
)

// PilotSnapshots are all trees of packages that a pilot states: its first release, and what each update makes of another, by their subject.
func PilotSnapshots(p desired.Pilot) map[string]desired.Snapshot {
	first := p.Snapshot()
	all := map[string]desired.Snapshot{first.Subject(): first}
	for _, tree := range p.Trees() {
		all[tree.Subject()] = tree
	}
	return all
}

// Directory is one repository of a snapshot: a directory of a branch.
type Directory struct {
	Branch    string // OS/ARCH
	Directory string // one of desired.RPMDirectories
	Packages  []desired.RPM
}

// Path is where the directory lies in its snapshot.
func (d Directory) Path() string { return d.Branch + "/" + d.Directory }

// Listing stands for the packages of a directory, so that equal ones share their repodata.
func (d Directory) Listing() artifact.Digest {
	b := appendLine(nil, "pomona-packages 1")
	for _, r := range d.Packages {
		b = appendLine(b, r.SHA256, r.File)
	}
	return artifact.Sum(b)
}

// Directories are all four of each branch of a pilot in one snapshot, by path; packages by name.
func Directories(p desired.Pilot, s desired.Snapshot) (out []Directory) {
	by := map[string][]desired.RPM{}
	for at, r := range s {
		by[path.Dir(at)] = append(by[path.Dir(at)], r)
	}
	for _, branch := range slices.Sorted(maps.Keys(p.Branches)) {
		for _, directory := range slices.Sorted(slices.Values(desired.RPMDirectories)) {
			d := Directory{Branch: branch, Directory: directory, Packages: by[branch+"/"+directory]}
			slices.SortFunc(d.Packages, func(a, b desired.RPM) int { return strings.Compare(a.File, b.File) })
			out = append(out, d)
		}
	}
	return out
}

// RepositoryNeeds are the parts that the repositories of pilots are laid out from: package files, and what repodata is made of.
func RepositoryNeeds(s desired.Site, places []PilotPlace) (packages map[Part]desired.RPM, listings map[artifact.Digest][]desired.RPM) {
	packages, listings = map[Part]desired.RPM{}, map[artifact.Digest][]desired.RPM{}
	for _, place := range places {
		r, ok := repositoryOf(s, place)
		if !ok {
			continue
		}
		for _, snapshot := range r.snapshots {
			for _, d := range Directories(r.pilot, snapshot) {
				listings[d.Listing()] = d.Packages
				for _, f := range d.Packages {
					packages[packagePart(f)] = f
				}
			}
		}
		if r.idle() {
			listings[Directory{}.Listing()] = nil
		}
	}
	return packages, listings
}

func packagePart(r desired.RPM) Part { return Part{Kind: PackagePart, Name: r.File, Version: r.SHA256} }

// RepodataPartOf is one file of the repodata of what is listed.
func RepodataPartOf(listing artifact.Digest, file string) Part {
	return Part{Kind: RepodataPart, Name: listing.String(), Payload: file}
}

// repository is everything that is served of one pilot of sites.
type repository struct {
	site      desired.Site
	name      string
	pilot     desired.Pilot
	place     PilotPlace
	snapshots map[string]desired.Snapshot // that are served, by digest in hex
}

// repositoryOf is nothing for pilots of FECs, and as long as nothing of a pilot is to be served. A snapshot that neither the site states
// nor the place has cannot be laid out.
func repositoryOf(s desired.Site, place PilotPlace) (repository, bool) {
	r := repository{site: s, name: place.Name, pilot: place.Deployed.Of(s.Pilots[place.Name]), place: place, snapshots: map[string]desired.Snapshot{}}
	if r.pilot.Scope != desired.PilotOfSites || len(place.Snapshots) == 0 {
		return r, false
	}
	stated := PilotSnapshots(r.pilot)
	for _, subject := range place.Snapshots {
		if snapshot, ok := stated[subject]; ok {
			r.snapshots[subjectHex(subject)] = snapshot
		}
	}
	return r, true
}

func subjectHex(subject string) string { return strings.TrimPrefix(subject, "sha256:") }

// points is the folder of the snapshot that a wave gets, counted from 0.
func (r repository) points(wave int) string {
	if at := subjectHex(r.place.Waves[wave]); r.snapshots[at] != nil {
		return at
	}
	return noPackages
}

// idle says whether a wave gets nothing.
func (r repository) idle() bool {
	for i := range r.place.Waves {
		if r.points(i) == noPackages {
			return true
		}
	}
	return false
}

// SignedFolders are the paths of the folders of a place that publish signs with the pilot key.
func SignedFolders(s desired.Site, place PilotPlace) (paths []string) {
	r, ok := repositoryOf(s, place)
	if !ok {
		return nil
	}
	for _, digest := range slices.Sorted(maps.Keys(r.snapshots)) {
		paths = append(paths, r.snapshotPath(digest))
	}
	if r.idle() {
		paths = append(paths, r.snapshotPath(noPackages))
	}
	return append(paths, packageKeys)
}

func (r repository) snapshotPath(digest string) string {
	return pilotRepositories + "/" + r.name + "/snap/" + digest
}

// pilotFolders are everything that is served of pilots of sites.
func (b *builder) pilotFolders() (out []Folder) {
	served := false
	for _, place := range b.want.Pilots {
		if r, ok := repositoryOf(b.want.Site, place); ok {
			served = true
			out = append(out, b.repositoryFolders(r)...)
		}
	}
	if served {
		out = append(out, b.keyFolder())
	}
	return out
}

func (b *builder) repositoryFolders(r repository) (out []Folder) {
	for _, digest := range slices.Sorted(maps.Keys(r.snapshots)) {
		out = append(out, b.snapshotFolder(r.snapshotPath(digest), Directories(r.pilot, r.snapshots[digest])))
	}
	if r.idle() {
		f := Folder{Path: r.snapshotPath(noPackages)}
		b.addRepository(&f, "", Directory{})
		f.Nodes = sortNodes(f.Nodes)
		out = append(out, f)
	}
	for i := range r.place.Waves {
		out = append(out, r.waveFolder(i))
	}
	if f := r.notesFolder(); len(f.Nodes) > 0 {
		out = append(out, f)
	}
	return out
}

// snapshotFolder is snap/DIGEST: BRANCH/DIRECTORY/FILE.rpm and BRANCH/DIRECTORY/repodata. Its content never changes.
func (b *builder) snapshotFolder(at string, directories []Directory) Folder {
	f := Folder{Path: at}
	for _, d := range directories {
		b.addRepository(&f, d.Path()+"/", d)
	}
	f.Nodes = sortNodes(f.Nodes)
	return f
}

func (b *builder) addRepository(f *Folder, dir string, d Directory) {
	for _, r := range d.Packages {
		f.Nodes = append(f.Nodes, Node{Path: dir + r.File, Object: b.part(packagePart(r)).Digest})
	}
	for _, name := range RepodataFiles {
		f.Nodes = append(f.Nodes, Node{Path: dir + "repodata/" + name, Object: b.part(RepodataPartOf(d.Listing(), name)).Digest})
	}
	f.Signs = append(f.Signs, dir+"repodata/"+repomd)
}

// waveFolder is wave-N: BRANCH/DIRECTORY.mirrorlist, which alone says what a node gets, and BRANCH/KIND.repo.
func (r repository) waveFolder(wave int) Folder {
	f := Folder{Path: r.wavePath(wave)}
	for _, branch := range slices.Sorted(maps.Keys(r.pilot.Branches)) {
		for _, directory := range desired.RPMDirectories {
			f.Nodes = append(f.Nodes, Node{Path: mirrorlist(branch, directory), Data: r.mirrors(wave, branch, directory)})
		}
		for _, kind := range repoFiles {
			f.Nodes = append(f.Nodes, Node{Path: branch + "/" + kind.file, Data: r.repoFile(wave, branch, kind)})
		}
	}
	f.Nodes = sortNodes(f.Nodes)
	return f
}

func (r repository) wavePath(wave int) string {
	return fmt.Sprintf("%s/%s/wave-%d", pilotRepositories, r.name, wave+1)
}

func mirrorlist(branch, directory string) string { return branch + "/" + directory + ".mirrorlist" }

// mirrors is the one line for each server: a client reads it once, and then everything from a folder that never changes.
func (r repository) mirrors(wave int, branch, directory string) (b []byte) {
	at := r.points(wave)
	below := "/" + r.snapshotPath(at) + "/"
	if at != noPackages {
		below += branch + "/" + directory + "/"
	}
	for _, server := range r.site.PackageServers() {
		b = append(append(append(b, server...), below...), '\n')
	}
	return b
}

// repoFileKind is one of the files that say to a node where its packages come from.
type repoFileKind struct {
	file, about string
	directories []string
}

var repoFiles = []repoFileKind{
	{"pilot-node.repo", "for nodes that take part in the pilot", desired.RPMDirectories},
	// a node that left must not be offered the pilot's own updates, whose versions are higher
	{"plain-node.repo", "for nodes that do not get the pilot's own updates", slices.DeleteFunc(slices.Clone(desired.RPMDirectories),
		func(directory string) bool { return directory == desired.PilotUpdateRPMs })},
}

func (r repository) repoFile(wave int, branch string, kind repoFileKind) []byte {
	server := ""
	if all := r.site.PackageServers(); len(all) > 0 {
		server = all[0]
	}
	keys := []string{server + "/" + packageKeys + "/" + PilotKey}
	for _, name := range slices.Sorted(maps.Keys(r.site.Settings.Packages.Keys)) {
		keys = append(keys, server+"/"+packageKeys+"/"+keyFile(name))
	}
	enabled := 1
	b := &strings.Builder{}
	fmt.Fprintf(b, "# Pilot %s, wave %d, %s: %s. Put it into /etc/yum.repos.d.\n", r.name, wave+1, branch, kind.about)
	if r.points(wave) == noPackages {
		enabled = 0
		fmt.Fprintf(b, "# Nothing is offered to this wave (%s). A node that has packages of the pilot goes back with dnf distro-sync.\n", r.place.State)
	}
	for _, directory := range kind.directories {
		fmt.Fprintf(b, "\n[pilot-%s-%s]\nname=Pilot %s, %s of %s\n", r.name, repoID(directory), r.name, directory, branch)
		fmt.Fprintf(b, "mirrorlist=%s/%s/%s\n", server, r.wavePath(wave), mirrorlist(branch, directory))
		fmt.Fprintf(b, "enabled=%d\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=%s\nskip_if_unavailable=0\nmetadata_expire=900\n", enabled, strings.Join(keys, " "))
	}
	return []byte(b.String())
}

// repoID is a directory's name as clients have it on their command lines: release, externals, pilot-updates, production-updates.
func repoID(directory string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(directory, "RPMS.")), "_", "-")
}

// notesFolder is pilots/NAME/notes: DIGEST.md for each snapshot that is served, as the record has them that counts.
func (r repository) notesFolder() Folder {
	f := Folder{Path: pilotNotes + "/" + r.name + "/notes"}
	for _, subject := range slices.Sorted(maps.Keys(r.place.Notes)) {
		counts, digest := r.place.Notes[subject], subjectHex(subject)
		n, there := r.pilot.Records[counts.Record]
		if !there || r.snapshots[digest] == nil || NotesOf(counts.Record, n) != counts {
			continue
		}
		b := &strings.Builder{}
		fmt.Fprintf(b, "# Pilot %s: release notes\n\nPackages sha256:%s, written by %s on %s.\n\n%s\n", r.name, digest, n.By, n.At, strings.TrimSpace(n.Text))
		if n.Migration != "" {
			fmt.Fprintf(b, "\n## Coming from the version before\n\n%s\n", strings.TrimSpace(n.Migration))
		}
		f.Nodes = append(f.Nodes, Node{Path: digest + ".md", Data: []byte(b.String())})
	}
	return f
}

// keyFolder is repo/keys: who may have signed packages, and, from publish, who signs repositories.
func (b *builder) keyFolder() Folder {
	f := Folder{Path: packageKeys, Key: PilotKey}
	for name, k := range b.want.Site.Settings.Packages.Keys {
		f.Nodes = append(f.Nodes, Node{Path: keyFile(name), Object: b.part(Part{Kind: KeyPart, Name: k.File}).Digest})
	}
	f.Nodes = sortNodes(f.Nodes)
	return f
}

func keyFile(name string) string { return "packages-" + name + ".asc" }

// repositories are the folders of all pilots of sites; of files below them their folder tells.
func (o origins) repositories() {
	for name, p := range o.site.Pilots {
		if p.Scope != desired.PilotOfSites {
			continue
		}
		at := pilotRepositories + "/" + name
		o.folder(at, "packages of pilot "+name, "pilot", "pilots", name)
		for subject, snapshot := range PilotSnapshots(p) {
			folder := at + "/snap/" + subjectHex(subject)
			o.folder(folder, "packages of pilot "+name+", a snapshot that never changes", "packages", "pilots", name, "branches")
			for path, r := range snapshot {
				o.folder(folder+"/"+path, "package "+r.File+" of pilot "+name, "package", "pilots", name, "branches")
			}
		}
		if p.Rollout != nil {
			for i := range p.Rollout.Waves {
				o.folder(fmt.Sprintf("%s/wave-%d", at, i+1), fmt.Sprintf("where wave %d of pilot %s gets its packages", i+1, name), "wave", "pilots", name, "rollout", "waves", i)
			}
		}
		o.folder(pilotNotes+"/"+name+"/notes", "release notes of pilot "+name, "notes", "pilots", name, "records")
	}
	o.add(packageKeys, "public keys of who signs packages and their repositories", value("keys", "site", "packages", "keys"))
	o.add(packageKeys+"/"+PilotKey, "public key of who signs repositories; no commit holds it", value("site", "site", "name"))
	for name, k := range o.site.Settings.Packages.Keys {
		o.add(packageKeys+"/"+keyFile(name), "public key of "+name+", who signs packages", value("key", "site", "packages", "keys", name, "file"), Source{Role: "content", File: k.File})
	}
}

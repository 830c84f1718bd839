package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// ErrNoSoftware says that neither the site nor the tree has a software, or a version of it, of a name.
var ErrNoSoftware error = refused{errors.New("there is no software"), serve.ErrNoSuch}

// AllSoftware is every software of the site: which versions its FECs want, get and run, and what keeps each in the tree. It only reads.
func (r *Reconciler) AllSoftware(ctx context.Context) (report.AllSoftware, error) {
	x, err := r.seeSoftware(ctx)
	if err != nil {
		return report.AllSoftware{}, err
	}
	defer x.root.Close() // only read
	x.countAll(ctx)
	out := report.AllSoftware{SoftwareSeen: x.head, Software: []report.SoftwareLine{}}
	for _, name := range x.names() {
		line := x.line(name)
		out.Of += len(line.Versions)
		out.Software = append(out.Software, line)
	}
	return out, nil
}

// Software is one software with its archives and its FECs: without a name the first, and nothing but what is known of the site if there is none.
// It only reads.
func (r *Reconciler) Software(ctx context.Context, name string) (report.Software, error) {
	x, err := r.seeSoftware(ctx)
	if err != nil {
		return report.Software{}, err
	}
	defer x.root.Close() // only read
	names := x.names()
	switch {
	case name != "" && !slices.Contains(names, name):
		if near := desired.Suggest(name, names); near != "" {
			return report.Software{}, fmt.Errorf("%w %s: did you mean %s?", ErrNoSoftware, name, near)
		}
		return report.Software{}, fmt.Errorf("%w %s", ErrNoSoftware, name)
	case name == "" && len(names) == 0:
		return report.Software{SoftwareSeen: x.head}, nil
	case name == "":
		name = names[0]
	}
	fecs := x.fecsOf(ctx, name)
	out := report.Software{SoftwareSeen: x.head, SoftwareLine: x.line(name), Names: names, Of: len(fecs), FECs: fecs}
	archives, err := archivesOf(x.root, x.have.Index, name)
	for i := range out.Versions {
		v := &out.Versions[i]
		v.Payload, v.Artifacts = x.release(name, v.Version).Payload, archives[v.Version]
	}
	return out, err
}

// maxBill is more than any bill of materials, in bytes.
const maxBill = 64 << 20

// Bill is the bill of materials of an archive that is published: of the first one of that release, if none is named.
func (r *Reconciler) Bill(_ context.Context, software, version, archive string) ([]byte, error) {
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	defer root.Close() // only read
	now, err := observe.Now(root)
	if err != nil {
		return nil, err
	}
	archives, err := archivesOf(root, now.Index, software)
	if err != nil {
		return nil, err
	}
	all := archives[version]
	i := slices.IndexFunc(all, func(a report.SoftwareArtifact) bool { return (archive == "" || a.File == archive) && !a.SBOM.IsZero() })
	if i < 0 {
		return nil, fmt.Errorf("%w %s %s with a bill of materials", ErrNoSoftware, software, strings.TrimSpace(version+" "+archive))
	}
	f, err := root.Open(store.Path(all[i].SBOM))
	if err != nil {
		return nil, fmt.Errorf("read bill of materials: %w", err)
	}
	defer f.Close() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxBill+1))
	if err == nil && len(b) > maxBill {
		err = errors.New("it is too large")
	}
	if err != nil {
		return nil, fmt.Errorf("read bill of materials: %w", err)
	}
	return b, nil
}

// archivesOf are the archives of a software in a published tree, by version and name; none of one that is not there.
func archivesOf(root *os.Root, in tree.Index, software string) (map[string][]report.SoftwareArtifact, error) {
	i := slices.IndexFunc(in.Folders, func(f tree.IndexedFolder) bool { return f.Path == "software/"+software })
	if i < 0 {
		return nil, nil
	}
	nodes, err := observe.Folder(root, in.Folders[i].Folder)
	if err != nil {
		return nil, fmt.Errorf("read archives of %s: %w", software, err)
	}
	out := map[string][]report.SoftwareArtifact{}
	for _, n := range nodes {
		version, file, ok := strings.Cut(n.Path, "/")
		if !ok || n.Object.IsZero() {
			continue
		}
		all, at := out[version], path.Join(in.Folders[i].Path, n.Path)
		if last := len(all) - 1; last >= 0 && tree.IsBillOf(file, all[last].File) { // it comes right after its archive
			all[last].Bill, all[last].SBOM = at, n.Object
			continue
		}
		info, err := root.Stat(store.Path(n.Object))
		if err != nil {
			return nil, fmt.Errorf("look at an archive of %s: %w", software, err)
		}
		out[version] = append(all, report.SoftwareArtifact{File: file, Path: at, Digest: n.Object, Size: info.Size()})
	}
	return out, nil
}

// softwareVersion names a release.
type softwareVersion struct{ software, version string }

// softwareSeen is what is known of the software of a site.
type softwareSeen struct {
	*Reconciler
	root     *os.Root
	head     report.SoftwareSeen
	have     observed.Root
	served   servedSite
	want     desired.Site // what the branch wants of all FECs; empty if that is not known
	settings desired.Retention
	lines    map[string]report.FECLine // by FEC

	retained, next map[softwareVersion]plan.Retained
	held           map[softwareVersion][]int64 // by which generations, ascending
	fates          map[int64]plan.Pruned
	first          map[softwareVersion]*report.FirstPublished
	count          map[softwareVersion]*[3]int // FECs that want it, that it is published to, and that run it
	versions       map[string]map[string]bool
}

// seeSoftware looks at everything but what FECs have. The caller closes its root.
func (r *Reconciler) seeSoftware(ctx context.Context) (*softwareSeen, error) {
	if r.Repo == nil || r.Loader == nil {
		return nil, errNoRepository
	}
	status, err := r.Status(ctx)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	x := &softwareSeen{Reconciler: r, root: root, lines: map[string]report.FECLine{}, retained: map[softwareVersion]plan.Retained{}, next: map[softwareVersion]plan.Retained{},
		held: map[softwareVersion][]int64{}, fates: map[int64]plan.Pruned{}, first: map[softwareVersion]*report.FirstPublished{}, count: map[softwareVersion]*[3]int{},
		versions: map[string]map[string]bool{}}
	x.head = report.SoftwareSeen{Site: status.Site, At: r.Now().UTC(), Wanted: status.Wanted, Published: status.Published, Trouble: status.Trouble}
	if x.have, err = r.Served.root(root); err == nil {
		x.read(ctx, status)
		err = x.generations(status.Holds)
	}
	if err != nil {
		_ = root.Close() // only read
		return nil, err
	}
	x.firsts(ctx)
	return x, ctx.Err()
}

// read reads what is published and what is wanted, and works out what the latter keeps.
func (x *softwareSeen) read(ctx context.Context, status report.Status) {
	if status.FECs != nil {
		for _, line := range status.FECs.All {
			x.lines[line.FEC] = line
		}
	}
	var err error
	if x.served, err = x.publishedBy(ctx, x.root); err != nil {
		x.head.Trouble = err.Error()
	}
	if servers := x.served.site.Settings.Boot.Servers; len(servers) > 0 {
		x.head.Server = strings.TrimSuffix(servers[0], "/")
	}
	kept := x.served.site
	w, err := x.Reconciler.seen(ctx, x.Branch)
	if err == nil {
		w.place(x.served.generation.Givens.Pilots)
		x.want = w.site
		if err = x.keep(ctx, &w, x.served.generation.Givens.Held, nil); err == nil {
			kept = w.theServed()
		}
	}
	if err != nil {
		x.head.Unread, x.want = err.Error(), desired.Site{}
	}
	x.settings = kept.Settings.Retention
	now, next := plan.RetainNext(kept)
	for _, k := range now {
		x.retained[softwareVersion{k.Software, k.Version}] = k
		x.note(k.Software, k.Version)
	}
	for _, k := range next {
		x.next[softwareVersion{k.Software, k.Version}] = k
	}
	for _, site := range []desired.Site{x.want, x.served.site} {
		for name, s := range site.Software {
			for version := range s.Versions {
				x.note(name, version)
			}
		}
	}
}

func (x *softwareSeen) note(software, version string) {
	if x.versions[software] == nil {
		x.versions[software] = map[string]bool{}
	}
	if version != "" {
		x.versions[software][version] = true
	}
}

// generations reads which versions each generation holds, and says which of them would go.
func (x *softwareSeen) generations(holds []observed.Hold) error {
	for _, p := range plan.Fates(x.settings, x.have, holds, x.Now()) {
		x.fates[p.Number] = p
	}
	var releases observe.Releases
	for _, g := range x.have.Generations {
		if g.Number > x.have.Current {
			continue // it was never published
		}
		in, err := releases.In(x.root, g.Number)
		if err != nil {
			return err
		}
		for name, versions := range in {
			for _, version := range versions {
				v := softwareVersion{name, version}
				x.held[v] = append(x.held[v], g.Number)
				x.note(name, version)
			}
		}
	}
	return nil
}

// firsts are the generations that had each release first, by the ledger.
func (x *softwareSeen) firsts(ctx context.Context) {
	if x.Records == nil {
		return
	}
	var all []ledger.PublishedRelease
	err := x.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		all, err = l.Releases(ctx)
		return err
	})
	if err != nil && !errors.Is(err, ledger.ErrNone) {
		x.head.Trouble = err.Error()
	}
	by := map[string]report.FirstPublished{}
	for _, p := range all {
		first, known := by[p.Commit]
		if !known {
			if c, err := x.Repo.Commit(p.Commit); err == nil { // else the repository has it no more
				first.Author, first.Subject = c.Author, c.Subject
			}
			by[p.Commit] = first
		}
		first.Commit, first.Generation, first.At = p.Commit, p.Generation, p.At
		x.first[softwareVersion{p.Software, p.Version}] = &first
	}
}

// names are those of all software that is declared or held, sorted.
func (x *softwareSeen) names() []string { return slices.Sorted(maps.Keys(x.versions)) }

// declared is a software as the branch wants it, or else as it is published.
func (x *softwareSeen) declared(name string) desired.Software {
	if s, ok := x.want.Software[name]; ok {
		return s
	}
	return x.served.site.Software[name]
}

func (x *softwareSeen) release(name, version string) desired.Release {
	if r, ok := x.want.Software[name].Versions[version]; ok {
		return r
	}
	return x.served.site.Software[name].Versions[version]
}

// runs says what FECs run: known is what is published to those that run that; of the others, what the ledger has of their serials is to be asked.
func (x *softwareSeen) runs(fec string) (published bool, serial int64) {
	line := x.lines[fec]
	return line.Running > 0 && line.Running == line.Published, line.Running
}

// FECs have a version at these stages.
const (
	wantedStage = iota
	publishedStage
	runningStage
)

func (x *softwareSeen) add(software, version string, stage, n int) {
	v := softwareVersion{software, version}
	if x.count[v] == nil {
		x.count[v] = &[3]int{}
	}
	x.count[v][stage] += n
}

// countAll counts the FECs of all versions.
func (x *softwareSeen) countAll(ctx context.Context) {
	for _, f := range x.want.FECs {
		for name, pin := range f.Software {
			x.add(name, pin.Version, wantedStage, 1)
		}
	}
	others := map[string]int64{}
	for fec, f := range x.served.site.FECs {
		same, serial := x.runs(fec)
		for name, pin := range f.Software {
			x.add(name, pin.Version, publishedStage, 1)
			if same {
				x.add(name, pin.Version, runningStage, 1)
			}
		}
		if !same && serial > 0 {
			others[fec] = serial
		}
	}
	x.ask(ctx, others, func(l *ledger.Ledger) error {
		n, err := x.remembers().counts.of("", others, func() (map[string]map[string]int, error) { return l.CountVersions(ctx, others) })
		for name, versions := range n {
			for version, n := range versions {
				x.add(name, version, runningStage, n)
				x.note(name, version)
			}
		}
		return err
	})
}

// remembers is what was answered before.
func (x *softwareSeen) remembers() *PublishedSite {
	if x.Served == nil {
		return &PublishedSite{}
	}
	return x.Served
}

// ask asks the ledger about FECs, if there are some.
func (x *softwareSeen) ask(ctx context.Context, fecs map[string]int64, do func(*ledger.Ledger) error) {
	if x.Records == nil || len(fecs) == 0 {
		return
	}
	if err := x.Records.Use(ctx, do); err != nil {
		x.head.Trouble = "it is not known what all FECs run: " + err.Error()
	}
}

// fecsOf are the FECs that want, get or run a software, by name, and counts them.
func (x *softwareSeen) fecsOf(ctx context.Context, name string) []report.SoftwareFEC {
	others := map[string]int64{}
	for fec := range x.served.site.FECs {
		if same, serial := x.runs(fec); !same && serial > 0 {
			others[fec] = serial
		}
	}
	var ran map[string]string
	x.ask(ctx, others, func(l *ledger.Ledger) (err error) {
		ran, err = x.remembers().versions.of(name, others, func() (map[string]string, error) { return l.VersionsOf(ctx, name, others) })
		return err
	})
	out := []report.SoftwareFEC{}
	all := maps.Clone(x.served.site.FECs)
	if all == nil {
		all = map[string]desired.FEC{}
	}
	for fec, f := range x.want.FECs {
		if _, there := all[fec]; !there {
			all[fec] = f
		}
	}
	for _, fec := range slices.Sorted(maps.Keys(all)) {
		f := report.SoftwareFEC{FEC: fec, Groups: all[fec].Groups, Wanted: x.want.FECs[fec].Software[name].Version, Published: x.served.site.FECs[fec].Software[name].Version}
		if same, _ := x.runs(fec); same {
			f.Running, f.Known = f.Published, true
		} else {
			f.Running, f.Known = ran[fec], false
			_, f.Known = ran[fec]
		}
		if f.Wanted+f.Published+f.Running == "" {
			continue
		}
		f.Differs = f.Wanted != f.Published && x.head.Unread == "" || f.Known && f.Running != f.Published
		for stage, version := range []string{f.Wanted, f.Published, f.Running} {
			if version != "" {
				x.add(name, version, stage, 1)
				x.note(name, version)
			}
		}
		out = append(out, f)
	}
	return out
}

// line is one software, once its FECs are counted.
func (x *softwareSeen) line(name string) report.SoftwareLine {
	s := x.declared(name)
	out := report.SoftwareLine{Name: name, Description: s.Description, Responsible: s.Responsible, OnUpdate: s.Needs(), OnFail: s.OnFail, Versions: []report.SoftwareVersion{}}
	for _, version := range desired.NewestFirst(x.versions[name]) {
		out.Versions = append(out.Versions, x.version(name, version))
	}
	return out
}

func (x *softwareSeen) version(name, version string) report.SoftwareVersion {
	v := softwareVersion{name, version}
	r := x.release(name, version)
	out := report.SoftwareVersion{Version: version, Released: r.Released, Notes: r.Notes, Needs: r.Needs, First: x.first[v], Generations: x.held[v], Pilots: x.pilotsOf(v)}
	if len(r.Payload) > 0 {
		out.Channel = "production"
		if r.IsDev(version) {
			out.Channel = desired.Dev
		}
	}
	out.WantedUnknown = x.head.Unread != ""
	if n := x.count[v]; n != nil {
		out.Wanted, out.Published, out.Running = n[wantedStage], n[publishedStage], n[runningStage]
	}
	last := int64(0)
	if len(out.Generations) > 0 {
		last = slices.Max(out.Generations)
	}
	out.InTree = last > 0 && last == x.have.Current
	k, declared := x.retained[v]
	out.Stays, out.Why = k.Keep, k.Reason
	if !declared {
		out.Why = "nothing declares it"
	}
	out.Next = k.Keep && !x.next[v].Keep
	if last > 0 && !(out.InTree && out.Stays) {
		l := report.Leaves{Generation: last, Why: x.fates[last].Reason}
		l.More, l.NotBefore = plan.Leaving(x.settings, x.have, last)
		out.Leaves = &l
	}
	return out
}

// pilotsOf are the pilots that offer a release, sorted.
func (x *softwareSeen) pilotsOf(v softwareVersion) (names []string) {
	site := x.want
	if x.head.Unread != "" {
		site = x.served.site
	}
	for name, p := range site.Pilots {
		if p.Software == v.software && p.Version == v.version {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

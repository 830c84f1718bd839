package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// FEC is what changes for one front-end computer, and what that costs it.
type FEC struct {
	Name          string   `json:"name"`
	Host          string   `json:"host"`
	Groups        []string `json:"groups"` // of one that a root serves and nobody wants any more unknown
	What          string   `json:"what"`   // added, changed or removed
	Software      []Item   `json:"software"`
	Configuration []Item   `json:"configuration"`
	Scripts       []Item   `json:"scripts"`
	Others        []string `json:"others"`  // host, platform and so on, for people
	Bytes         int64    `json:"bytes"`   // to download at its next boot, at most
	Needs         string   `json:"needs"`   // boot (the first one), reboot, restart or none
	Restart       []string `json:"restart"` // software to restart, if that is enough
}

// Boot is what a FEC needs that is new. The other needs are desired.Reboot, desired.Restart and desired.Nothing.
const Boot = "boot"

// Item is what changes in one software, configuration or script of a FEC.
type Item struct {
	Name string `json:"name"`
	What string `json:"what"`           // added, removed, changed, rebuilt, started or held
	From string `json:"from,omitempty"` // version that is published
	To   string `json:"to,omitempty"`   // version that is wanted
	By   string `json:"by,omitempty"`   // pilot and wave that puts it there; empty: the site itself
}

// String is the change in a few words.
func (i Item) String() string {
	if i.By != "" {
		by := i.By
		i.By = ""
		return i.String() + " (" + by + ")"
	}
	switch {
	case i.What == Added && i.To == "":
		return "+ " + i.Name
	case i.What == Removed && i.From == "":
		return "− " + i.Name
	case i.What == Added:
		return i.Name + " + " + i.To
	case i.What == Removed:
		return i.Name + " − " + i.From
	case i.What == Rebuilt:
		return i.Name + " " + i.To + " rebuilt"
	case i.What == Started:
		return i.Name + " " + i.To + " is started at boot"
	case i.What == Held:
		return i.Name + " " + i.To + " is not started at boot any more"
	case i.From == "":
		return i.Name + " changed"
	}
	return fmt.Sprintf("%s %s → %s", i.Name, i.From, i.To)
}

// Why says in a few words each what changes.
func (f FEC) Why() (why []string) {
	add := func(kind string, items []Item) {
		for _, i := range items {
			why = append(why, joined(kind, i.String()))
		}
	}
	add("", f.Software)
	add("configuration", f.Configuration)
	add("script", f.Scripts)
	return append(why, f.Others...)
}

// fecs are the FECs that change, by name.
func fecs(s desired.Site, t tree.Tree, have observed.Root) []FEC {
	out := []FEC{}
	was := map[string]artifact.Digest{}
	for _, f := range have.Index.FECs {
		was[f.Name] = f.Content
	}
	for _, f := range t.Folders {
		if f.Manifest == nil {
			continue
		}
		name := f.Manifest.FEC
		content, published := was[name]
		delete(was, name)
		switch {
		case !published:
			out = append(out, added(s, *f.Manifest))
		case content != f.Content() && have.Manifests[name].FEC == "":
			out = append(out, unread(s, *f.Manifest))
		case content != f.Content():
			out = append(out, changed(s, have.Manifests[name], *f.Manifest))
		}
	}
	hosts := map[string]string{}
	for _, l := range have.Index.Links {
		hosts["fecs/"+l.Target] = l.Path
	}
	for name := range was {
		out = append(out, removed(name, hosts["fecs/"+name]))
	}
	slices.SortFunc(out, func(a, b FEC) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func added(s desired.Site, now tree.Manifest) FEC {
	f := compareManifests(s, tree.Manifest{}, now)
	f.What, f.Needs, f.Restart, f.Others = Added, Boot, []string{}, []string{}
	return f
}

func removed(name, link string) FEC {
	host := name // that has no link of its own
	if link != "" {
		host = link[len("fecs/"):]
	}
	return FEC{
		Name: name, Host: host, Groups: []string{}, What: Removed, Needs: desired.Nothing, Software: []Item{}, Configuration: []Item{},
		Scripts: []Item{}, Others: []string{}, Restart: []string{},
	}
}

func changed(s desired.Site, was, now tree.Manifest) FEC {
	f := compareManifests(s, was, now)
	f.What = Changed
	f.Needs, f.Restart = needs(s, f, was, now)
	if len(f.Why()) == 0 {
		f.Others = append(f.Others, "files beside the manifest")
	}
	return f
}

// unread is a FEC whose published manifest is damaged: nobody knows what changes, and what is not known may need the most.
func unread(s desired.Site, now tree.Manifest) FEC {
	f := added(s, now)
	f.What, f.Needs, f.Others = Changed, desired.Reboot, []string{"its published manifest cannot be read"}
	f.Software, f.Configuration, f.Scripts = []Item{}, []Item{}, []Item{}
	return f
}

// compareManifests says what a FEC will boot that it does not boot now.
func compareManifests(s desired.Site, was, now tree.Manifest) FEC {
	return FEC{
		Name: now.FEC, Host: now.Host, Groups: groupsOf(s, now.FEC),
		Software: byPilots(s.FECs[now.FEC], items(was.Software, now.Software)), Configuration: items(was.Configuration, now.Configuration),
		Scripts: scripts(was.Init, now.Init), Others: others(was, now), Bytes: download(was, now),
	}
}

func groupsOf(s desired.Site, fec string) []string {
	groups := append([]string{}, s.FECs[fec].Groups...)
	slices.Sort(groups)
	return groups
}

// fetched are the archives that the boot client fetches on the way from one manifest to the other: those that the first
// does not name, each once. It keeps those of the release that it has installed.
func fetched(was, now tree.Manifest) (out []tree.Object) {
	has := map[artifact.Digest]bool{}
	for _, o := range was.Objects() {
		has[o.Digest] = true
	}
	for _, o := range now.Objects() {
		if !has[o.Digest] {
			has[o.Digest] = true
			out = append(out, o)
		}
	}
	return out
}

func download(was, now tree.Manifest) (bytes int64) {
	for _, o := range fetched(was, now) {
		bytes += o.Size
	}
	return bytes
}

func items(was, now []tree.Item) []Item {
	out := []Item{}
	old := map[string]tree.Item{}
	for _, i := range was {
		old[i.Name] = i
	}
	for _, i := range now {
		o, ok := old[i.Name]
		delete(old, i.Name)
		switch {
		case !ok:
			out = append(out, Item{Name: i.Name, What: Added, To: i.Version})
			continue
		case o.Version != i.Version:
			out = append(out, Item{Name: i.Name, What: Changed, From: o.Version, To: i.Version})
		case o.Digest != i.Digest || o.Install != i.Install:
			out = append(out, Item{Name: i.Name, What: Rebuilt, From: o.Version, To: i.Version})
		}
		if o.Start != i.Start {
			out = append(out, Item{Name: i.Name, What: startedOr(i.Start), From: o.Version, To: i.Version})
		}
	}
	for _, name := range sortedKeys(old) {
		out = append(out, Item{Name: name, What: Removed, From: old[name].Version})
	}
	return out
}

// byPilots says which versions pilots have put there.
func byPilots(f desired.FEC, software []Item) []Item {
	for i, item := range software {
		if pin := f.Software[item.Name]; pin.Piloted.Pilot != "" && pin.Version == item.To {
			software[i].By = pin.Piloted.String()
		}
	}
	return software
}

func startedOr(start bool) string {
	if start {
		return Started
	}
	return Held
}

func scripts(was, now []tree.Script) []Item {
	out := []Item{}
	old := map[string]tree.Script{}
	for _, s := range was {
		old[s.Name] = s
	}
	for _, s := range now {
		o, ok := old[s.Name]
		delete(old, s.Name)
		if !ok {
			out = append(out, Item{Name: s.Name, What: Added})
		} else if o != s {
			out = append(out, Item{Name: s.Name, What: Changed})
		}
	}
	for _, name := range sortedKeys(old) {
		out = append(out, Item{Name: name, What: Removed})
	}
	return out
}

// others are the changes of what every manifest says.
func others(was, now tree.Manifest) []string {
	out := []string{}
	for _, w := range [][3]string{{"site", was.Site, now.Site}, {"channel", was.Channel, now.Channel}, {"host", was.Host, now.Host}, {"platform", was.Platform, now.Platform}} {
		if w[1] != w[2] {
			out = append(out, fmt.Sprintf("%s %s → %s", w[0], w[1], w[2]))
		}
	}
	switch {
	case now.Data && !was.Data:
		out = append(out, "gets persistent data")
	case was.Data && !now.Data:
		out = append(out, "gets no persistent data any more")
	case !slices.Equal(now.Persistence, was.Persistence):
		out = append(out, "its persistent data has other names, formats or paths")
	}
	return out
}

func joined(words ...string) string {
	out := ""
	for _, w := range words {
		if w != "" && out != "" {
			out += " "
		}
		out += w
	}
	return out
}

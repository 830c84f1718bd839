package tree

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// globalFolder is fecs/global: the scripts that FECs reuse, and Pomona's own.
func (b *builder) globalFolder() Folder {
	f := Folder{Path: "fecs/" + desired.GlobalScripts, Nodes: []Node{{Path: Client, Mode: artifact.Executable, Data: b.want.Client}}}
	if len(b.want.Command) > 0 {
		f.Nodes = append(f.Nodes, Node{Path: Command, Mode: artifact.Executable, Data: b.want.Command})
	}
	for name, s := range b.want.Site.Settings.Scripts {
		f.Nodes = append(f.Nodes, Node{Path: name, Object: b.part(Part{Kind: ScriptPart, Name: s.File}).Digest})
	}
	sortNodes(f.Nodes)
	return f
}

// ScriptFile is the repository's file that one init script of a FEC comes from.
func ScriptFile(s desired.Site, i desired.Init) string {
	if i.Global != "" {
		return s.Settings.Scripts[i.Global].File
	}
	return i.File
}

// fecFolder is fecs/FEC: the manifest, and links for people beside what it names.
func (b *builder) fecFolder(name string, fec desired.FEC) Folder {
	m := &Manifest{
		Site: b.want.Site.Settings.Name, Channel: b.want.Site.Settings.TheChannel(),
		FEC: name, Host: fec.Host, Platform: fec.Platform, Data: len(fec.Persistence) > 0,
	}
	for _, data := range slices.Sorted(maps.Keys(fec.Persistence)) {
		m.Persistence = append(m.Persistence, Persistent{data, fec.Persistence[data].Schema, fec.Persistence[data].Path})
	}
	f := Folder{Path: "fecs/" + name, Manifest: m}
	f.Nodes = append(f.Nodes, b.fecSoftware(name, fec, m)...)
	f.Nodes = append(f.Nodes, b.fecConfiguration(fec, m)...)
	f.Nodes = append(f.Nodes, b.fecInit(name, fec, m)...)
	f.Nodes = append(f.Nodes, monitor(fec.Monitoring)...)
	if m.Data {
		f.Nodes = append(f.Nodes, Node{Path: "persistent-data", Target: "data/" + name}, Node{Path: "data", Target: "data/" + name})
	}
	sortNodes(f.Nodes)
	f.watched = watch(m.Site, name, fec)
	return f
}

func (b *builder) fecSoftware(name string, fec desired.FEC, m *Manifest) (nodes []Node) {
	platform := b.want.Site.Settings.Platforms[fec.Platform]
	for _, sw := range slices.Sorted(maps.Keys(fec.Software)) {
		pin := fec.Software[sw]
		r := b.want.Site.Software[sw].Versions[pin.Version]
		payload, key, _ := r.For(fec.Platform)
		part := Part{SoftwarePart, sw, pin.Version, key, payload.FormatFor(platform)}
		a := b.part(part)
		expired := len(b.want.Expired) > 0 && b.want.Expired[StartPermission(name, sw)]
		m.Software = append(m.Software, Item{
			Name: sw, Version: pin.Version, Object: object(a), Install: payload.Install,
			Start: pin.Starts(r.IsDev(pin.Version), expired),
		})
		nodes = append(nodes, b.archive("software/", part, a)...)
	}
	return nodes
}

// StartPermission names the permission of a FEC to start a development release, as a given of a pass.
func StartPermission(fec, software string) string {
	return desired.CUEPath("fecs", fec, "software", software, "start")
}

func (b *builder) fecConfiguration(fec desired.FEC, m *Manifest) (nodes []Node) {
	platform := b.want.Site.Settings.Platforms[fec.Platform]
	for _, name := range slices.Sorted(maps.Keys(fec.Configuration)) {
		version := fec.Configuration[name]
		item := b.want.Site.Configuration[name]
		payload := item.Versions[version].Payload
		part := Part{Kind: ConfigurationPart, Name: name, Version: version, Format: payload.FormatFor(platform)}
		a := b.part(part)
		m.Configuration = append(m.Configuration, Item{Name: name, Version: version, Object: object(a), Install: payload.Install})
		if item.FEC != "" { // there is no other place for its bill of materials
			nodes = append(nodes, b.described("configuration/", part, a)...)
			continue
		}
		nodes = append(nodes, b.archive("configuration/", part, a)...)
	}
	return nodes
}

func (b *builder) fecInit(name string, fec desired.FEC, m *Manifest) (nodes []Node) {
	if len(fec.Init) == 0 {
		return nil
	}
	m.Scripts = object(b.part(Part{Kind: ScriptsPart, Name: name}))
	for _, script := range slices.Sorted(maps.Keys(fec.Init)) {
		i := fec.Init[script]
		d := b.part(Part{Kind: ScriptPart, Name: ScriptFile(b.want.Site, i)}).Digest
		m.Init = append(m.Init, Script{Name: script, Digest: d, Starts: i.Starts})
		nodes = append(nodes, Node{Path: "init/" + script, Object: d})
	}
	return nodes
}

func object(a artifact.Artifact) Object {
	return Object{Format: a.Format, Size: a.Size, Digest: a.Digest}
}

// monitor is fecs/FEC/monitor: a file for each service, and monitoring_groups with a group a line.
func monitor(m desired.Monitoring) (nodes []Node) {
	for name, s := range m.Services {
		var b strings.Builder
		fmt.Fprintf(&b, "check %s\n", s.Check)
		for _, kv := range [][2]string{{"port", number(s.Port)}, {"target", s.Target}, {"interval", s.Interval}, {"description", s.Description}} {
			if kv[1] != "" {
				fmt.Fprintf(&b, "%s %s\n", kv[0], strings.ReplaceAll(kv[1], "\n", " "))
			}
		}
		nodes = append(nodes, Node{Path: "monitor/" + name, Data: []byte(b.String())})
	}
	if len(m.Groups) > 0 {
		groups := slices.Sorted(slices.Values(m.Groups))
		nodes = append(nodes, Node{Path: "monitor/" + desired.MonitoringGroups, Data: []byte(strings.Join(groups, "\n") + "\n")})
	}
	return nodes
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

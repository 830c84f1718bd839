package tree

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Origin is what one path of a tree is and where it comes from.
type Origin struct {
	What    string // for people, for instance "boot manifest of FEC kgp2cu02"
	Sources []Source
}

// Source is one value or payload that a path comes from.
type Source struct {
	Role string // what it decides
	Path string // CUE path; empty for a payload
	File string // file or folder of the repository; empty for a value
}

// Origins are the paths of the top folder that path lies in, for instance all of fecs/kgp2cu02 for
// fecs/kgp2cu02/boot.manifest: each path's origin. It is empty when there is no such folder.
func Origins(s desired.Site, releases map[string][]string, path string) map[string]Origin {
	o := origins{site: s, out: map[string]Origin{}}
	top, rest, _ := strings.Cut(path, "/")
	name, _, _ := strings.Cut(rest, "/")
	switch {
	case top == "fecs" && name == desired.GlobalScripts:
		o.global()
	case top == "fecs":
		o.fecOrHost(name)
	case top == "software":
		o.software(name, releases[name])
	case top == "configuration" && s.Configuration[name].FEC == "":
		o.configuration(name)
	case top == monitoringTop:
		o.monitoring(top + "/" + name)
	case top == infosysFolder:
		o.infosys()
	case top == PrerequisitesFolder:
		o.prerequisites()
	case top == "repo" || top == pilotNotes:
		o.repositories()
	case top == DataFolder:
		o.data(name)
	case path == IndexFile, path == SignatureFile, path == GenerationFile:
		o.generation()
	}
	return o.out
}

// Tops are the folders that Origins knows, for suggestions.
func Tops(s desired.Site) []string {
	out := []string{IndexFile, SignatureFile, GenerationFile, "fecs/" + desired.GlobalScripts}
	for name, fec := range s.FECs {
		out = append(out, "fecs/"+name)
		if fec.Host != name {
			out = append(out, "fecs/"+fec.Host)
		}
	}
	for name := range s.Software {
		out = append(out, "software/"+name)
	}
	for name, item := range s.Configuration {
		if item.FEC == "" {
			out = append(out, "configuration/"+name)
		}
	}
	for _, fec := range s.FECs {
		if isWatched(fec) {
			out = append(out, icingaFolder, promFolder)
			break
		}
	}
	if len(s.Prerequisites) > 0 {
		out = append(out, PrerequisitesFolder)
	}
	slices.Sort(out)
	return out
}

type origins struct {
	site desired.Site
	out  map[string]Origin
}

func (o origins) add(path, what string, sources ...Source) {
	o.out[path] = Origin{What: what, Sources: sources}
}

// folder is a folder of a top folder: it comes from one field.
func (o origins) folder(path, what, role string, parts ...any) {
	o.add(path, what, Source{Role: role, Path: desired.CUEPath(parts...)})
}

func value(role string, parts ...any) Source {
	return Source{Role: role, Path: desired.CUEPath(parts...)}
}

func (o origins) generation() {
	for _, name := range []string{IndexFile, SignatureFile, GenerationFile} {
		o.add(name, map[string]string{
			IndexFile: "list of all folders of a generation", SignatureFile: "signature of the index",
			GenerationFile: "where a generation comes from",
		}[name], value("site", "site", "name"))
	}
}

func (o origins) global() {
	at := "fecs/" + desired.GlobalScripts
	o.folder(at, "scripts that every FEC may use", "scripts", "site", "scripts")
	o.add(at+"/"+Client, "boot client, a part of Pomona; these settings are written into it",
		value("site", "site", "name"), value("settings", "site", "boot"))
	o.add(at+"/"+Command, "what FECs answer the service over ssh, a part of Pomona", value("site", "site", "name"))
	for name, s := range o.site.Settings.Scripts {
		o.add(at+"/"+name, "global script "+name, value("script", "site", "scripts", name, "file"), Source{Role: "content", File: s.File})
	}
}

// fecOrHost are a FEC's paths by its nomenclature, or by its host name.
func (o origins) fecOrHost(name string) {
	if fec, ok := o.site.FECs[name]; ok {
		o.fec(name, fec)
		return
	}
	for fec, f := range o.site.FECs {
		if f.Host != name {
			continue
		}
		o.fec(fec, f)
		host := value("host name", "fecs", fec, "host")
		named := maps.Clone(o.out)
		clear(o.out)
		for path, origin := range named {
			origin.Sources = append([]Source{host}, origin.Sources...)
			o.out["fecs/"+name+strings.TrimPrefix(path, "fecs/"+fec)] = origin
		}
		o.out["fecs/"+name] = Origin{What: "link to FEC " + fec + ", by its host name", Sources: []Source{host}}
		return
	}
}

func (o origins) fec(name string, fec desired.FEC) {
	at, of := "fecs/"+name, " of FEC "+name
	declared := value("FEC", "fecs", name)
	manifest := []Source{declared, value("host name", "fecs", name, "host"), value("platform", "fecs", name, "platform")}
	o.add(at, "FEC "+name, manifest...)
	manifest = slices.Concat(manifest, o.fecSoftware(name, fec), o.fecConfiguration(name, fec), o.fecInit(name, fec))
	o.monitor(name, fec)
	if len(fec.Persistence) > 0 {
		manifest = append(manifest, value("persistent data", "fecs", name, "persistence"))
		for _, link := range []string{"persistent-data", "data"} {
			o.folder(at+"/"+link, "link to the persistent data"+of, "persistent data", "fecs", name, "persistence")
		}
	}
	o.add(at+"/"+ManifestName, "boot manifest"+of, manifest...)
}

func (o origins) fecSoftware(name string, fec desired.FEC) (all []Source) {
	at := "fecs/" + name + "/software"
	for _, sw := range slices.Sorted(maps.Keys(fec.Software)) {
		v := fec.Software[sw].Version
		payload, key, ok := o.site.Software[sw].Versions[v].For(fec.Platform)
		if !ok {
			continue
		}
		format := payload.FormatFor(o.site.Settings.Platforms[fec.Platform])
		pin := value("pinned version", "fecs", name, "software", sw, "version")
		if by := fec.Software[sw].Piloted; by.Pilot != "" {
			pin = value(by.String(), "pilots", by.Pilot, "version")
		}
		made := slices.Concat([]Source{pin}, payloadSources(payload, "software", sw, "versions", v, "payload", key))
		o.archive(at+"/"+desired.ArchiveName(sw, v, key, format), fmt.Sprintf("%s %s for FEC %s", sw, v, name), made)
		all = append(all, made...)
	}
	if len(all) > 0 {
		o.folder(at, "software of FEC "+name, "software", "fecs", name, "software")
	}
	return all
}

func (o origins) archive(path, what string, sources []Source) {
	o.add(path, "archive of "+what, sources...)
	o.add(path+".sha256", "checksum of the archive of "+what, sources...)
}

// described is an archive with its bill of materials.
func (o origins) described(path, what string, sources []Source) {
	o.archive(path, what, sources)
	o.add(path+sbomExtension, "bill of materials of the archive of "+what, sources...)
}

// payloadSources are the value that states a payload, and its files if they lie in the site's repository.
func payloadSources(p desired.Payload, parts ...any) []Source {
	if !p.Local() {
		return []Source{value("payload", parts...)}
	}
	file := p.Folder
	if p.Archive != "" {
		file = p.Archive
	}
	return []Source{value("payload", parts...), {Role: "content", File: file}}
}

func (o origins) fecConfiguration(name string, fec desired.FEC) (all []Source) {
	at := "fecs/" + name + "/configuration"
	for _, item := range slices.Sorted(maps.Keys(fec.Configuration)) {
		v := fec.Configuration[item]
		version, ok := o.site.Configuration[item].Versions[v]
		if !ok {
			continue
		}
		format := version.Payload.FormatFor(o.site.Settings.Platforms[fec.Platform])
		made := slices.Concat([]Source{value("pinned version", "fecs", name, "configuration", item)},
			payloadSources(version.Payload, "configuration", item, "versions", v, "payload"))
		archive := o.archive
		if o.site.Configuration[item].FEC != "" {
			archive = o.described
		}
		archive(at+"/"+desired.ArchiveName(item, v, "", format), fmt.Sprintf("configuration %s %s for FEC %s", item, v, name), made)
		all = append(all, made...)
	}
	if len(all) > 0 {
		o.folder(at, "configuration of FEC "+name, "configuration", "fecs", name, "configuration")
	}
	return all
}

func (o origins) fecInit(name string, fec desired.FEC) (all []Source) {
	at := "fecs/" + name + "/init"
	for _, script := range slices.Sorted(maps.Keys(fec.Init)) {
		i := fec.Init[script]
		made := []Source{value("init script", "fecs", name, "init", script)}
		if i.Global != "" {
			made = append(made, value("global script", "site", "scripts", i.Global, "file"))
		}
		made = append(made, Source{Role: "content", File: ScriptFile(o.site, i)})
		o.add(at+"/"+script, fmt.Sprintf("init script %s of FEC %s", script, name), made...)
		all = append(all, made...)
	}
	if len(all) > 0 {
		o.folder(at, "init scripts of FEC "+name, "init scripts", "fecs", name, "init")
	}
	return all
}

func (o origins) monitor(name string, fec desired.FEC) {
	at := "fecs/" + name + "/monitor"
	m := fec.Monitoring
	for service := range m.Services {
		o.folder(at+"/"+service, fmt.Sprintf("monitoring of %s on FEC %s", service, name), "service", "fecs", name, "monitoring", "services", service)
	}
	if len(m.Groups) > 0 {
		o.folder(at+"/"+desired.MonitoringGroups, "monitoring groups of FEC "+name, "groups", "fecs", name, "monitoring", "groups")
	}
	if len(m.Services)+len(m.Groups) > 0 {
		o.folder(at, "monitoring of FEC "+name, "monitoring", "fecs", name, "monitoring")
	}
}

// monitoring is one of the folders of monitoring systems.
func (o origins) monitoring(at string) {
	var watched []Source
	for _, name := range slices.Sorted(maps.Keys(o.site.FECs)) {
		if isWatched(o.site.FECs[name]) {
			watched = append(watched, value("FEC", "fecs", name, "monitoring"))
		}
	}
	groups, servers := value("groups", "site", "monitoringGroups"), value("servers", "site", "boot", "servers")
	switch {
	case len(watched) == 0:
	case at == icingaFolder:
		o.add(at, "FECs for Icinga", append(watched, groups, servers)...)
		o.add(at+"/"+icingaGroups, "host groups for Icinga", groups)
		o.add(at+"/"+icingaHosts, "FECs and their services for Icinga", watched...)
		o.add(at+"/"+icingaTemplates, "how Icinga checks FECs, a part of Pomona", servers)
		o.add(at+"/"+icingaPlugin, "check of what a FEC runs, a part of Pomona", value("site", "site", "name"))
	case at == promFolder:
		for path, what := range map[string]string{"": "FECs for Prometheus", "/" + promTargets: "targets for Prometheus", "/" + promProbes: "targets for a blackbox exporter"} {
			o.add(at+path, what, watched...)
		}
	}
}

func (o origins) software(name string, versions []string) {
	if _, ok := o.site.Software[name]; !ok {
		return
	}
	at := "software/" + name
	o.folder(at, "releases of "+name+" that are served", "software", "software", name)
	for _, v := range versions {
		o.folder(at+"/"+v, name+" "+v, "release", "software", name, "versions", v)
		for p, payload := range SoftwareParts(o.site, name, v) {
			o.described(at+"/"+v+"/"+desired.ArchiveName(name, v, p.Payload, p.Format), fmt.Sprintf("%s %s (%s, %s)", name, v, p.Payload, p.Format),
				payloadSources(payload, "software", name, "versions", v, "payload", p.Payload))
		}
	}
}

func (o origins) configuration(name string) {
	item, ok := o.site.Configuration[name]
	if !ok {
		return
	}
	at := "configuration/" + name
	o.folder(at, "versions of configuration "+name, "configuration", "configuration", name)
	for v := range item.Versions {
		o.folder(at+"/"+v, "configuration "+name+" "+v, "version", "configuration", name, "versions", v)
		for p, payload := range ConfigurationParts(o.site, name, v) {
			o.described(at+"/"+v+"/"+desired.ArchiveName(name, v, "", p.Format), fmt.Sprintf("configuration %s %s (%s)", name, v, p.Format),
				payloadSources(payload, "configuration", name, "versions", v, "payload"))
		}
	}
}

func (o origins) data(name string) {
	if len(o.site.FECs[name].Persistence) > 0 {
		o.folder(DataFolder+"/"+name, "data that FEC "+name+" wrote; no commit holds it", "persistent data", "fecs", name, "persistence")
	}
}

// FECOf is the FEC whose folder a path lies in, by its name or its host's, as far as that says what the FEC runs; empty: none.
func FECOf(s desired.Site, path string) string {
	parts := strings.Split(path, "/")
	if len(parts) < 2 || parts[0] != "fecs" || len(parts) > 2 && parts[2] != "software" && parts[2] != ManifestName {
		return ""
	}
	if _, ok := s.FECs[parts[1]]; ok {
		return parts[1]
	}
	for name, f := range s.FECs {
		if f.Host == parts[1] {
			return name
		}
	}
	return ""
}

package desired

import (
	"fmt"
	"strings"
)

// fecs checks every FEC, by itself and among the others.
func (c *checker) fecs() {
	first := make(map[string]string, len(c.site.FECs)) // host to the FEC that has it
	var parts []part
	for _, name := range sortedKeys(c.site.FECs) {
		f := c.site.FECs[name]
		c.hosts(name, f, first)
		if c.proven(name) {
			continue
		}
		before := len(c.found)
		c.memberships(name, f)
		parts = c.uses(name, f, parts[:0])
		c.archives(name, f, parts)
		c.places(name, f, parts)
		c.init(name, f)
		if len(c.found) == before && !f.awaits() {
			c.sound = append(c.sound, name)
		}
	}
}

// awaits says whether a FEC may get a problem by the passing of time.
func (f FEC) awaits() bool {
	for _, pin := range f.Software {
		if pin.Until != "" {
			return true
		}
	}
	return false
}

// hosts checks the names under which a FEC is served: its own and its host's.
func (c *checker) hosts(name string, f FEC, first map[string]string) {
	if name == GlobalScripts {
		c.problem(CUEPath("fecs", name),
			fmt.Sprintf("a FEC cannot be named %q: its folder would be that of the global scripts", name),
			"use its nomenclature")
	}
	at := func() string { return CUEPath("fecs", name, "host") }
	if f.Host == GlobalScripts {
		c.problem(at(),
			fmt.Sprintf("a host cannot be named %q: its folder would be that of the global scripts", f.Host),
			"use its host name")
	}
	if _, taken := c.site.FECs[f.Host]; taken && f.Host != name {
		c.problem(at(),
			fmt.Sprintf("host %q has the name of another FEC: both would be served as fecs/%s", f.Host, f.Host),
			"correct the host name, or the other FEC's nomenclature")
	}
	if other, taken := first[f.Host]; taken {
		c.problem(at(), fmt.Sprintf("host %q is also that of FEC %q", f.Host, other), "correct one of them")
		return
	}
	first[f.Host] = name
}

// memberships checks what kind of FEC one is, and to what it belongs.
func (c *checker) memberships(name string, f FEC) {
	s := c.site.Settings
	if _, ok := s.Platforms[f.Platform]; !ok {
		unknown(c, CUEPath("fecs", name, "platform"), "platform", f.Platform, s.Platforms, "site.platforms")
	}
	members(c, "group", f.Groups, s.Groups, "site.groups", "fecs", name, "groups")
	members(c, "monitoring group", f.Monitoring.Groups, s.MonitoringGroups, "site.monitoringGroups",
		"fecs", name, "monitoring", "groups")
	for _, service := range sortedKeys(f.Monitoring.Services) {
		c.monitored(f.Monitoring.Services[service], service, func(field ...any) string {
			return CUEPath(append([]any{"fecs", name, "monitoring", "services", service}, field...)...)
		})
	}
}

// ReleaseService is the service by which monitoring sees whether a FEC runs what is published for it.
const ReleaseService = "pomona-release"

// monitored checks that a service says what is looked at.
func (c *checker) monitored(s MonitorService, name string, at func(...any) string) {
	switch name {
	case MonitoringGroups:
		c.problem(at(), fmt.Sprintf("a service cannot be named %q: its file would be that of the groups", name), "give it another name")
	case ReleaseService:
		c.problem(at(), fmt.Sprintf("a service cannot be named %q: Pomona has one of that name", name), "give it another name")
	}
	if s.Port == 0 && (s.Check == CheckTCP || s.Check == CheckHTTP || s.Check == CheckMetrics) {
		c.problem(at(), fmt.Sprintf("a check of %s needs a port", s.Check), "give port")
	}
	switch onNetwork := s.Check == CheckHTTP || s.Check == CheckMetrics; {
	case s.Target == "" && (s.Check == CheckProcess || s.Check == CheckDBus):
		c.problem(at(), fmt.Sprintf("a check of %s needs a name", s.Check), "give target")
	case s.Target != "" && onNetwork && !strings.HasPrefix(s.Target, "/"):
		c.problem(at("target"), fmt.Sprintf("%q is no path", s.Target), "begin it with /")
	}
}

// part is an archive that a FEC unpacks.
type part struct {
	section       string // software or configuration, as in the site
	name, version string
	key           string // of the payload, in a release
	payload       Payload
}

// String names the part for people.
func (p part) String() string { return p.name + " " + p.version }

// uses checks the software and configuration that a FEC uses, and appends what it unpacks as far as the site declares
// it: software, then configuration, each by name.
func (c *checker) uses(name string, f FEC, parts []part) []part {
	for _, software := range sortedKeys(f.Software) {
		pin := f.Software[software]
		if p, ok := c.pin(name, f.Platform, software, pin); ok {
			parts = append(parts, p)
		}
	}
	for _, item := range sortedKeys(f.Configuration) {
		if p, ok := c.configurationUse(name, f, item, f.Configuration[item]); ok {
			parts = append(parts, p)
		}
	}
	return parts
}

// archives checks the archives of one FEC: its platform unpacks them, and no two have one name.
func (c *checker) archives(fec string, f FEC, parts []part) {
	platform, ok := c.site.Settings.Platforms[f.Platform]
	if !ok {
		return
	}
	for i, p := range parts {
		format := p.payload.FormatFor(platform)
		// What a platform's own payload or default gets wrong is reported there, once.
		if p.key != f.Platform && (p.payload.Finished() || p.payload.Format != "") {
			c.unpacks(f.Platform, format, p, func() string { return CUEPath("fecs", fec, p.section, p.name) })
		}
		for _, other := range parts[:i] {
			// Parts are in the order of their names, and only a name that begins another can become equal to it.
			if other.section != p.section || !strings.HasPrefix(p.name, other.name) {
				continue
			}
			file := ArchiveName(p.name, p.version, p.key, format)
			if ArchiveName(other.name, other.version, other.key, other.payload.FormatFor(platform)) == file {
				c.problem(CUEPath("fecs", fec, p.section, p.name),
					fmt.Sprintf("%s and %s would both be served as %s", other, p, file), "rename one of them")
			}
		}
	}
}

package desired

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// software checks one software's releases by themselves.
func (c *checker) software(name string, sw Software) {
	var versions []Version
	for _, v := range sortedKeys(sw.Versions) {
		if version, ok := c.version(v, "software", name, "versions", v); ok {
			versions = append(versions, version)
		}
		c.softwareRelease(name, v, sw.Versions[v])
	}
	c.sameVersions(versions, "software", name, "versions")
}

// version reads the key of a version.
func (c *checker) version(text string, at ...any) (Version, bool) {
	v, err := ParseVersion(text)
	if err != nil {
		c.problem(CUEPath(at...), err.Error(), "rename it")
		return Version{}, false
	}
	c.versions[text] = v
	return v, true
}

// sameVersions reports two spellings of one version.
func (c *checker) sameVersions(vs []Version, at ...any) {
	slices.SortFunc(vs, Version.Compare)
	for i := 1; i < len(vs); i++ {
		if vs[i-1].order(vs[i]) == 0 {
			c.problem(CUEPath(append(slices.Clone(at), vs[i].String())...),
				fmt.Sprintf("%s and %s are the same version", vs[i-1], vs[i]), "keep one of them")
		}
	}
}

func (c *checker) softwareRelease(name, version string, r Release) {
	at := []any{"software", name, "versions", version}
	if version == Dev && !r.IsDev(version) {
		c.problem(CUEPath(append(at, "channel")...),
			fmt.Sprintf("version dev cannot be in channel %s", r.Channel),
			"remove channel, or give the release a number")
	}
	for _, key := range sortedKeys(r.Payload) {
		at := append(slices.Clone(at), "payload", key)
		p := r.Payload[key]
		c.payload(p, at...)
		if key == AnyPlatform {
			continue
		}
		platform, ok := c.site.Settings.Platforms[key]
		if !ok {
			unknown(c, CUEPath(at...), "platform", key, c.site.Settings.Platforms, "site.platforms, or use the word any")
			continue
		}
		if p.Finished() || p.Format != "" { // otherwise, the platform itself is wrong
			c.unpacks(key, p.FormatFor(platform), part{name: name, version: version}, func() string { return CUEPath(at...) })
		}
	}
}

// retention checks that no more production versions of a software are named than may stay.
func (c *checker) retention() {
	most := max(1, c.site.Settings.Retention.Keep())
	many := func(s Software) bool { return len(s.Versions) > most }
	if !slices.ContainsFunc(slices.Collect(maps.Values(c.site.Software)), many) {
		return // however many are named
	}
	named := c.site.Named()
	for _, name := range sortedKeys(c.site.Software) {
		var versions []string
		for v, r := range c.site.Software[name].Versions {
			if !r.IsDev(v) && len(named[name][v]) > 0 {
				versions = append(versions, v)
			}
		}
		if len(versions) <= most {
			continue
		}
		slices.SortFunc(versions, CompareVersions)
		who := make([]string, len(versions))
		for i, v := range versions {
			who[i] = v + " by " + Few(named[name][v])
		}
		report := c.problem
		if c.site.Settings.Retention.ExtraNamed == "warning" {
			report = c.warning
		}
		text := fmt.Sprintf("%d production versions of %q are in use and at most %d may be: ", len(versions), name, most)
		report(CUEPath("software", name), text+strings.Join(who, "; "),
			fmt.Sprintf("move what names %s to a newer version, or raise site.retention.production", versions[0]))
	}
}

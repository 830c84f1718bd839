package desired

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// settings checks what belongs to the site as a whole.
func (c *checker) settings() {
	for _, name := range sortedKeys(c.site.Settings.Platforms) {
		c.platform(name, c.site.Settings.Platforms[name])
	}
	for _, name := range sortedKeys(c.site.Settings.Scripts) {
		c.file(c.site.Settings.Scripts[name].File, func() string { return CUEPath("site", "scripts", name, "file") })
	}
	c.packages()
	c.restarts(c.site.Settings.Restarts)
	if life := c.site.Settings.Boot.Life(); life < leastLife {
		c.problem(CUEPath("site", "boot", "manifestLife"), fmt.Sprintf("manifests that live %s would be renewed all the time", life),
			"let them live at least 1d")
	}
}

func (c *checker) restarts(r Restarts) {
	groups := c.site.Settings.Groups
	members(c, "group", r.Order, groups, "site.groups", "site", "restarts", "order")
	for _, name := range sortedKeys(r.Groups) {
		if _, ok := groups[name]; !ok {
			unknown(c, CUEPath("site", "restarts", "groups", name), "group", name, groups, "site.groups")
		}
	}
}

// leastLife is the shortest life of a manifest: it is renewed when a third is left, and FECs must find it valid.
const leastLife = 24 * time.Hour

func (c *checker) platform(name string, p Platform) {
	at := func(field ...any) string { return CUEPath(append([]any{"site", "platforms", name}, field...)...) }
	if name == AnyPlatform {
		c.problem(at(), fmt.Sprintf("a platform cannot be named %q: that serves every platform that a release does not name", name),
			"give it another name")
	}
	if slices.Contains(p.Unpack, p.Prefers()) {
		return
	}
	path, text := at("format"), fmt.Sprintf("platform %q does not unpack %s, the format that is built for it", name, p.Prefers())
	if p.Format == "" {
		path, text = at("unpack"), text+" by default"
	}
	c.problem(path, text, "set format to one that it unpacks: "+formats(p))
}

// formats lists what a platform unpacks.
func formats(p Platform) string {
	words := make([]string, len(p.Unpack))
	for i, f := range p.Unpack {
		words[i] = string(f)
	}
	return strings.Join(words, ", ")
}

// unpacks checks that a platform can open an archive.
func (c *checker) unpacks(platform string, f artifact.Format, what part, at func() string) {
	p := c.site.Settings.Platforms[platform]
	if f == "" || slices.Contains(p.Unpack, f) {
		return
	}
	c.problem(at(), fmt.Sprintf("platform %q cannot unpack %s, which is compressed with %s", platform, what, f),
		fmt.Sprintf("offer a format that it unpacks (%s), or add %s to %s if it does unpack that",
			formats(p), f, CUEPath("site", "platforms", platform, "unpack")))
}

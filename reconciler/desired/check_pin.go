package desired

import (
	"fmt"
	"strings"
	"time"
)

// pin checks what a FEC says about one software that it runs, and finds what it unpacks for it.
func (c *checker) pin(fec, platform, software string, p Pin) (part, bool) {
	at := func() string { return CUEPath("fecs", fec, "software", software) }
	versionAt := func() string { return at() + ".version" }
	r, ok := c.release(software, p.Version, at, versionAt)
	if !ok {
		return part{}, false
	}
	if r.IsDev(p.Version) {
		c.permission(software, p, at)
	} else if p.Until != "" || p.Reason != "" {
		c.problem(at(),
			fmt.Sprintf("until and reason are for development releases, and %s %s is a production release", software, p.Version),
			"remove them")
	}
	payload, key, ok := r.For(platform)
	on, known := c.site.Settings.Platforms[platform]
	if known {
		c.provided(r, software+" "+p.Version, fmt.Sprintf("platform %q", platform), on.Provides, versionAt, CUEPath("site", "platforms", platform, "provides"))
	}
	if known && !ok {
		c.problem(versionAt(), fmt.Sprintf("%s %s has no payload for platform %q", software, p.Version, platform),
			fmt.Sprintf("add one in %s, or pin another version", CUEPath("software", software, "versions", p.Version, "payload")))
	}
	return part{"software", software, p.Version, key, payload}, ok
}

// permission checks the permission to start a development release: it has an end, at most a year ahead, and a reason.
func (c *checker) permission(software string, p Pin, at func() string) {
	starts := p.Start != nil && *p.Start
	if !starts && (p.Until != "" || p.Reason != "") {
		c.warning(at(),
			fmt.Sprintf("until and reason do nothing: %s %s is not started", software, p.Version),
			"add start: true, or remove them")
	}
	if !starts {
		return
	}
	var missing []string
	if p.Until == "" {
		missing = append(missing, "until")
	}
	if p.Reason == "" {
		missing = append(missing, "reason")
	}
	if len(missing) > 0 {
		needs := strings.Join(missing, " and ")
		c.problem(at(), fmt.Sprintf("%s %s is a development release, and starting it needs %s", software, p.Version, needs),
			"until is the last day on which it is started, and reason says why")
	}
	switch {
	case Expired(p.Until, c.now):
		c.warning(at()+".until",
			fmt.Sprintf("%s %s is not started any more: its permission ended with %s", software, p.Version, p.Until),
			"pin a production version, or give a later day")
	case p.Until > c.now.UTC().AddDate(1, 0, 0).Format(time.DateOnly):
		c.problem(at()+".until",
			fmt.Sprintf("the permission to start %s %s ends on %s, more than a year ahead", software, p.Version, p.Until),
			"give a day within a year, and renew it then")
	}
}

package desired

import "fmt"

// pilot checks what a pilot names, and whether it is still running.
func (c *checker) pilot(name string, p Pilot) {
	if p.Scope == PilotOfFECs {
		c.release(p.Software, p.Version,
			func() string { return CUEPath("pilots", name, "software") },
			func() string { return CUEPath("pilots", name, "version") })
	}
	if p.Rollout != nil {
		for i, w := range p.Rollout.Waves {
			members(c, "FEC", w.FECs, c.site.FECs, "fecs", "pilots", name, "rollout", "waves", i, "fecs")
			members(c, "group", w.Groups, c.site.Settings.Groups, "site.groups", "pilots", name, "rollout", "waves", i, "groups")
		}
	}
	if Expired(p.Expires, c.now) {
		c.warning(CUEPath("pilots", name, "expires"),
			fmt.Sprintf("this pilot ended with %s", p.Expires), "conclude it and remove it, or give a later day")
	}
}

package desired

import "fmt"

// pilot checks what a pilot names, and whether it is still running.
func (c *checker) pilot(name string, p Pilot) {
	c.release(p.Software, p.Version,
		func() string { return CUEPath("pilots", name, "software") },
		func() string { return CUEPath("pilots", name, "version") })
	members(c, "FEC", p.FECs, c.site.FECs, "fecs", "pilots", name, "fecs")
	members(c, "group", p.Groups, c.site.Settings.Groups, "site.groups", "pilots", name, "groups")
	if Expired(p.Expires, c.now) {
		c.warning(CUEPath("pilots", name, "expires"),
			fmt.Sprintf("this pilot ended with %s", p.Expires), "conclude it and remove it, or give a later day")
	}
}

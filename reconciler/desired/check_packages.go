package desired

// packages checks what repositories of packages need beyond the packages.
func (c *checker) packages() {
	for _, name := range sortedKeys(c.site.Settings.Packages.Keys) {
		c.file(c.site.Settings.Packages.Keys[name].File, func() string { return CUEPath("site", "packages", "keys", name, "file") })
	}
	if len(c.site.PackageServers()) > 0 {
		return
	}
	for _, name := range sortedKeys(c.site.Pilots) {
		if p := c.site.Pilots[name]; p.Scope == PilotOfSites && len(p.Branches) > 0 {
			c.problem(CUEPath("pilots", name, "branches"), "nobody knows the address from which sites install these packages",
				"say it in site.packages.servers or site.boot.servers")
		}
	}
}

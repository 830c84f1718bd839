package desired

// prerequisites checks what prerequisites name.
func (c *checker) prerequisites() {
	platforms := c.site.Settings.Platforms
	needs := map[string][]string{}
	for _, name := range sortedKeys(c.site.Prerequisites) {
		p := c.site.Prerequisites[name]
		for _, platform := range sortedKeys(p.Packages) {
			if _, ok := platforms[platform]; !ok {
				unknown(c, CUEPath("prerequisites", name, "packages", platform), "platform", platform, platforms, "site.platforms")
			}
		}
		needs[name] = p.Needs
		members(c, "prerequisite", p.Needs, c.site.Prerequisites, "prerequisites", "prerequisites", name, "needs")
	}
	c.acyclic("prerequisite", needs, func(name string, need int) string { return CUEPath("prerequisites", name, "needs", need) }, "")
}

package desired

// campaign checks what a campaign names.
func (c *checker) campaign(name string, g Campaign) {
	for _, software := range sortedKeys(g.Software) {
		at := func() string { return CUEPath("campaigns", name, "software", software) }
		c.release(software, g.Software[software], at, at)
	}
	needs := map[string][]string{}
	where := CUEPath("campaigns", name, "stages")
	for _, stage := range sortedKeys(g.Stages) {
		needs[stage] = g.Stages[stage].Needs
		members(c, "stage", needs[stage], g.Stages, where, "campaigns", name, "stages", stage, "needs")
	}
	c.acyclic("stage", needs, "campaigns", name, "stages")
}

package desired

import "fmt"

// configurationItem checks one item's versions by themselves.
func (c *checker) configurationItem(name string, item Configuration) {
	if _, ok := c.site.FECs[item.FEC]; !ok && item.FEC != "" {
		unknown(c, CUEPath("configuration", name, "fec"), "FEC", item.FEC, c.site.FECs, "fecs")
	}
	var versions []Version
	for _, v := range sortedKeys(item.Versions) {
		if version, ok := c.version(v, "configuration", name, "versions", v); ok {
			versions = append(versions, version)
		}
		c.payload(item.Versions[v].Payload, "configuration", name, "versions", v, "payload")
		c.constraintsOf(name, v, item.Versions[v])
	}
	c.sameVersions(versions, "configuration", name, "versions")
}

// constraintsOf reads what one version of an item is for.
func (c *checker) constraintsOf(name, version string, cv ConfigurationVersion) {
	read := map[string]Constraint{}
	for _, software := range sortedKeys(cv.For) {
		at := CUEPath("configuration", name, "versions", version, "for", software)
		if _, ok := c.site.Software[software]; !ok {
			unknown(c, at, "software", software, c.site.Software, "software")
		}
		fit, err := ParseConstraint(cv.For[software])
		if err != nil {
			c.problem(at, err.Error(), `for instance ">=3.1 <4 || dev"`)
			continue
		}
		read[software] = fit
	}
	c.constraints[itemVersion{name, version}] = read
}

// configurationUse checks a FEC's reference to a configuration item, and finds what the FEC unpacks for it.
func (c *checker) configurationUse(name string, f FEC, item, version string) (part, bool) {
	at := func() string { return CUEPath("fecs", name, "configuration", item) }
	declared, ok := c.site.Configuration[item]
	if !ok {
		unknown(c, at(), "configuration", item, c.site.Configuration, "configuration")
		return part{}, false
	}
	if declared.FEC != "" && declared.FEC != name {
		c.problem(at(),
			fmt.Sprintf("configuration %q belongs to FEC %q", item, declared.FEC),
			"use an item of this FEC's own, or remove fec from the item to share it")
	}
	cv, ok := declared.Versions[version]
	if !ok {
		unknownVersion(c, at(), item, version, declared.Versions)
		return part{}, false
	}
	c.fits(f, item, version, cv.For, at)
	return part{"configuration", item, version, "", cv.Payload}, true
}

// fits checks a configuration item against the software of a FEC that uses it. An item that is for no software at all
// fits every FEC.
func (c *checker) fits(f FEC, item, version string, wanted map[string]string, at func() string) {
	constraints := c.constraints[itemVersion{item, version}]
	runs := false
	for software := range wanted {
		pin, ok := f.Software[software]
		if !ok {
			continue
		}
		runs = true
		fit, wellFormed := constraints[software]
		v, known := c.versions[pin.Version]
		if wellFormed && known && !fit.Fits(v) {
			c.problem(at(),
				fmt.Sprintf("%s %s is for %s %s, and this FEC runs %s", item, version, software, fit, v),
				c.fitting(item, software, v))
		}
	}
	if !runs && len(wanted) > 0 {
		c.problem(at(), fmt.Sprintf("%s %s is for %s, and this FEC runs none of it", item, version, Few(sortedKeys(wanted))),
			"add the software to the FEC, or remove the configuration")
	}
}

// fitting is the advice for an item that does not fit a version of a software.
func (c *checker) fitting(item, software string, v Version) string {
	if c.maySuggest() {
		for _, candidate := range NewestFirst(c.site.Configuration[item].Versions) {
			if fit, ok := c.constraints[itemVersion{item, candidate}][software]; ok && fit.Fits(v) {
				return fmt.Sprintf("use %s %s, which fits, or pin another version of %s", item, candidate, software)
			}
		}
	}
	return fmt.Sprintf("pin another version of %s, or add a version of %s that fits", software, item)
}

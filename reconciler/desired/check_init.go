package desired

import (
	"fmt"
	"strings"
)

// init checks the init scripts of a FEC.
func (c *checker) init(fec string, f FEC) {
	starter := map[string]string{} // software to the first script that starts it
	names := sortedKeys(f.Init)
	for _, name := range names {
		i := f.Init[name]
		at := func(field string) string { return CUEPath("fecs", fec, "init", name, field) }
		c.oneOf(CUEPath("fecs", fec, "init", name), "global", i.Global, "file", i.File)
		c.script(i, at)
		if i.Starts == "" {
			continue
		}
		if _, ok := f.Software[i.Starts]; !ok {
			advice := "add it to " + CUEPath("fecs", fec, "software")
			if c.maySuggest() {
				advice = didYouMean(i.Starts, sortedKeys(f.Software), advice)
			}
			c.problem(at("starts"), fmt.Sprintf("this FEC does not run %q", i.Starts), advice)
		}
		if other, ok := starter[i.Starts]; ok {
			c.warning(at("starts"), fmt.Sprintf("%s also starts %q", other, i.Starts), "let one script start it")
			continue
		}
		starter[i.Starts] = name
	}
	c.order(fec, names)
}

// script checks where one init script comes from.
func (c *checker) script(i Init, at func(field string) string) {
	if i.File != "" {
		c.file(i.File, func() string { return at("file") })
	}
	if _, ok := c.site.Settings.Scripts[i.Global]; !ok && i.Global != "" {
		unknown(c, at("global"), "global script", i.Global, c.site.Settings.Scripts, "site.scripts")
	}
}

// order checks that two neighbours run in the same order wherever they are sorted. The locales of glibc pass over
// dashes at first, so that en_US.UTF-8 has 10-aa before 10-a-b, where C has 10-a-b first; names that differ in dashes
// alone have no order of their own.
func (c *checker) order(fec string, names []string) {
	for i := 1; i < len(names); i++ {
		if letters(names[i-1]) >= letters(names[i]) {
			c.problem(CUEPath("fecs", fec, "init", names[i]),
				fmt.Sprintf("%s and %s sort differently where a locale passes over dashes", names[i-1], names[i]),
				"give them different numbers")
		}
	}
}

func letters(name string) string { return strings.ReplaceAll(name, "-", "") }

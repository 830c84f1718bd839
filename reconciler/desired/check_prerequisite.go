package desired

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// prerequisites checks what prerequisites say and name, and who provides them.
func (c *checker) prerequisites() {
	needs, roles := map[string][]string{}, map[string]string{}
	for _, name := range sortedKeys(c.site.Prerequisites) {
		p := c.site.Prerequisites[name]
		if other, taken := roles[RoleName(name)]; taken {
			c.problem(CUEPath("prerequisites", name), fmt.Sprintf("%q and %q would have one Ansible role, %s", name, other, RoleName(name)), "rename one of them")
		}
		roles[RoleName(name)] = name
		needs[name] = p.Needs
		members(c, "prerequisite", p.Needs, c.site.Prerequisites, "prerequisites", "prerequisites", name, "needs")
		prerequisiteChecker{c, name, p}.check()
	}
	c.acyclic("prerequisite", needs, func(name string, need int) string { return CUEPath("prerequisites", name, "needs", need) }, "")
	c.systems()
	for _, name := range sortedKeys(c.site.Settings.Platforms) {
		c.platformProvides(name, c.site.Settings.Platforms[name])
	}
	for _, name := range sortedKeys(c.site.Settings.Profiles) {
		c.provides(c.site.Settings.Profiles[name].Provides, "site", "profiles", name, "provides")
	}
	for _, name := range sortedKeys(c.site.Software) {
		for _, v := range sortedKeys(c.site.Software[name].Versions) {
			members(c, "prerequisite", c.site.Software[name].Versions[v].Needs, c.site.Prerequisites, "prerequisites", "software", name, "versions", v, "needs")
		}
	}
}

// reserved are names in the folder of what prerequisites are rendered into.
var reserved = []string{"ansible", "ci", "docs", "lock.json"}

// systems checks that something is rendered for each.
func (c *checker) systems() {
	groups := map[string]string{}
	for _, name := range sortedKeys(c.site.Settings.Systems) {
		at := CUEPath("site", "systems", name)
		if slices.Contains(reserved, name) {
			c.problem(at, fmt.Sprintf("a system cannot be named %q: its folder would be that of others", name), "give it another name")
		}
		if other, taken := groups[RoleName(name)]; taken {
			c.problem(at, fmt.Sprintf("%q and %q would be one group of Ansible's", name, other), "rename one of them")
		}
		groups[RoleName(name)] = name
		used := false
		for _, p := range c.site.Prerequisites {
			_, has := p.Systems[name]
			used = used || has
		}
		if !used {
			c.problem(at, fmt.Sprintf("no prerequisite is provided on system %q: nothing would be rendered", name), "say what it gets in prerequisites, or remove it")
		}
	}
}

// platformProvides checks what a platform provides: its system must have it.
func (c *checker) platformProvides(name string, p Platform) {
	at := []any{"site", "platforms", name}
	c.provides(p.Provides, append(at, "provides")...)
	if p.System == "" {
		return
	}
	if _, ok := c.site.Settings.Systems[p.System]; !ok {
		unknown(c, CUEPath(append(at, "system")...), "system", p.System, c.site.Settings.Systems, "site.systems")
		return
	}
	for i, one := range p.Provides {
		q, ok := c.site.Prerequisites[one]
		if _, has := q.Systems[p.System]; ok && !has {
			c.problem(CUEPath(append(at, "provides", i)...), fmt.Sprintf("platform %q is system %q, where nobody provides %q", name, p.System, one),
				"add "+CUEPath("prerequisites", one, "systems", p.System)+", or remove it here")
		}
	}
}

// provides checks a list of what is there: with each, what that needs.
func (c *checker) provides(list []string, at ...any) {
	members(c, "prerequisite", list, c.site.Prerequisites, "prerequisites", at...)
	for i, name := range list {
		for _, need := range c.site.Prerequisites[name].Needs {
			if _, ok := c.site.Prerequisites[need]; ok && !slices.Contains(list, need) {
				c.problem(CUEPath(append(slices.Clone(at), i)...), fmt.Sprintf("prerequisite %q needs %q, which is not provided here", name, need), fmt.Sprintf("add %q", need))
			}
		}
	}
}

// provided checks that what a release needs is among what the place where it runs provides. That the prerequisites are there is
// checked where they are named.
func (c *checker) provided(r Release, what, where string, provides []string, at func() string, list string) {
	for _, need := range r.Needs {
		if slices.Contains(provides, need) {
			continue
		}
		advice := fmt.Sprintf("add %q to %s if it is there", need, list)
		if c.maySuggest() {
			advice = didYouMean(need, provides, advice)
		}
		c.problem(at(), fmt.Sprintf("%s needs prerequisite %q, which %s does not provide", what, need, where), advice)
	}
}

// prerequisiteChecker checks one prerequisite.
type prerequisiteChecker struct {
	*checker
	name string
	Prerequisite
}

func (k prerequisiteChecker) at(field ...any) string {
	return CUEPath(append([]any{"prerequisites", k.name}, field...)...)
}

func (k prerequisiteChecker) check() {
	k.versions()
	if len(k.Systems) == 0 {
		k.problem(k.at("systems"), "no system has it: nothing would be rendered", "say where it comes from, on one of site.systems at least")
	}
	for _, system := range sortedKeys(k.Systems) {
		k.provision(system, k.Systems[system])
	}
	for i, probe := range k.Verify {
		if (len(probe.Run) > 0) == (probe.Shell != "") {
			k.problem(k.at("verify", i), "a probe is run in one way", "give run, a program and its arguments, or shell, a line for sh")
		}
	}
	for _, record := range sortedKeys(k.Records) {
		k.record(record, k.Records[record])
	}
}

// versions checks that there is what is recommended, and that every supported version is to be had somewhere.
func (k prerequisiteChecker) versions() {
	if !slices.Contains(k.Supported, k.Recommended) {
		k.problem(k.at("recommended"), fmt.Sprintf("version %q is recommended but not supported", k.Recommended),
			didYouMean(k.Recommended, k.Supported, "add it to supported"))
	}
	if k.Previous != "" && k.Previous == k.Recommended {
		k.problem(k.at("previous"), fmt.Sprintf("version %q cannot have been recommended before: it is now", k.Previous), "name the one before, or remove it")
	}
	had := map[string]bool{}
	for system := range k.Systems {
		for _, v := range k.Prerequisite.Versions(system) {
			had[v] = true
		}
	}
	seen := map[string]bool{}
	for i, v := range k.Supported {
		switch {
		case seen[v]:
			k.problem(k.at("supported", i), fmt.Sprintf("version %q comes twice", v), "remove one of them")
		case !had[v] && len(k.Systems) > 0:
			k.problem(k.at("supported", i), fmt.Sprintf("version %q is supported, and no system has it", v), "say under others where a system gets it, or support it no more")
		}
		seen[v] = true
	}
}

// provision checks where one system gets it.
func (k prerequisiteChecker) provision(system string, v Provision) {
	at := func(field ...any) []any { return append([]any{"systems", system}, field...) }
	s, ok := k.site.Settings.Systems[system]
	if !ok {
		unknown(k.checker, k.at(at()...), "system", system, k.site.Settings.Systems, "site.systems")
	}
	if v.Version != "" && !slices.Contains(k.Supported, v.Version) {
		k.problem(k.at(at("version")...), fmt.Sprintf("version %q is not supported", v.Version), didYouMean(v.Version, k.Supported, "add it to supported"))
	}
	own := v.TheVersion(k.Prerequisite)
	k.source(system, own, v.Source, s, at()...)
	for _, other := range sortedKeys(v.Others) {
		switch {
		case other == own:
			k.problem(k.at(at("others", other)...), fmt.Sprintf("version %q is what this system gets by itself", other), "remove it here")
			continue
		case !slices.Contains(k.Supported, other) && other != k.Previous:
			k.problem(k.at(at("others", other)...), fmt.Sprintf("version %q is not supported", other), didYouMean(other, k.Supported, "add it to supported"))
		}
		k.source(system, other, v.Others[other], s, at("others", other)...)
	}
	k.exception(system, v, at)
	for i, need := range k.Needs {
		q, known := k.site.Prerequisites[need]
		if _, has := q.Systems[system]; known && !has {
			k.problem(k.at("needs", i), fmt.Sprintf("system %q does not get %q, which is needed there", system, need), "add "+CUEPath("prerequisites", need, "systems", system))
		}
	}
}

// source checks that somebody provides a version on a system, and that what its index has is that version.
func (k prerequisiteChecker) source(system, version string, s Source, on System, at ...any) {
	path := func(field ...any) string { return k.at(append(slices.Clone(at), field...)...) }
	excepted := k.Systems[system].Exception != nil && s.Has(k.Systems[system].Exception.Provider)
	switch {
	case s == (Source{}):
		k.problem(path(), "it comes from nowhere", "give distro, or language of a python module that the distribution does not have")
	case s.provider(k.Ecosystem) == "" && !excepted:
		k.problem(path(), "neither the distribution nor the language provides it: that needs an exception", "add exception: with provider, reason, by and expires")
	}
	if s.Language != nil && k.Ecosystem != Python {
		k.problem(path("language"), fmt.Sprintf("ecosystem %q has no index of its own", k.Ecosystem), "give distro, or an exception with vendorRepo or artifact")
	}
	if s.VendorRepo != nil && on.Family == MacOS {
		k.problem(path("vendorRepo"), "macos knows no such repositories", "give distro, which is a formula, or artifact")
	}
	if d := s.Distro; d != nil {
		if !excepted && !isVersion(d.Candidate, version) { // else it is not what comes
			k.problem(path("distro", "candidate"), fmt.Sprintf("system %q has %s of it, which is not version %q", system, d.Candidate, version),
				"say in version which of supported that is")
		}
		switch day, err := time.Parse(time.DateOnly, d.AsOf); {
		case err != nil: // the schema has said so
		case day.After(k.now.Add(24 * time.Hour)):
			k.problem(path("distro", "asOf"), fmt.Sprintf("%s has not been yet", d.AsOf), "say when the index was asked")
		case k.now.Sub(day) > staleFact:
			k.warning(path("distro", "asOf"), fmt.Sprintf("that system %q has %s is known since %s, and nobody has looked again", system, d.Candidate, d.AsOf),
				"ask its index (apt-cache policy, dnf repoquery), and give today's date")
		}
	}
	if l := s.Language; l != nil && (!excepted || k.Systems[system].Exception.Provider == FromLanguage) && !isVersion(l.Version, version) {
		k.problem(path("language", "version"), fmt.Sprintf("%s is not version %q", l.Version, version), "say in version which of supported that is")
	}
}

// staleFact is how old what an index said may be.
const staleFact = 180 * 24 * time.Hour

// isVersion says whether a package's version is one in the words of whoever makes it: 1:1.14.10-1~deb12u1 is 1.14.10, and 1.14.
func isVersion(candidate, version string) bool {
	if _, after, epoch := strings.Cut(candidate, ":"); epoch && !strings.Contains(version, ":") {
		candidate = after
	}
	rest, ok := strings.CutPrefix(candidate, version)
	return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
}

// exception checks that there is what an exception says, that it is one, and that it ends.
func (k prerequisiteChecker) exception(system string, v Provision, at func(...any) []any) {
	e := v.Exception
	if e == nil {
		return
	}
	path := func(field string) string { return k.at(at("exception", field)...) }
	switch {
	case !v.Has(e.Provider):
		k.problem(path("provider"), fmt.Sprintf("system %q has no %s of it", system, sourceField(e.Provider)), "give that, or another provider")
	case v.provider(k.Ecosystem) == e.Provider:
		k.problem(path("provider"), fmt.Sprintf("%s is no exception: it would be taken anyway", e.Provider), "remove the exception")
	}
	switch {
	case Expired(e.Expires, k.now):
		k.warning(path("expires"), fmt.Sprintf("this exception ended with %s", e.Expires), "do without it, or give a later day")
	case e.Expires > k.now.UTC().AddDate(1, 0, 0).Format(time.DateOnly):
		k.problem(path("expires"), fmt.Sprintf("the exception ends on %s, more than a year ahead", e.Expires), "give a day within a year, and renew it then")
	}
}

// sourceField is the field of a source that a provider's package is in.
func sourceField(provider string) string {
	if provider == FromVendor {
		return "vendorRepo"
	}
	return provider
}

// record checks that a record says what belongs to its kind. What it names may be gone.
func (k prerequisiteChecker) record(name string, r PrerequisiteRecord) {
	at := func(field ...any) string { return k.at(append([]any{"records", name}, field...)...) }
	k.recordAt(at("at"), r.At)
	trial := r.Kind == TrialRecord
	for _, f := range []struct {
		name         string
		given, wants bool
	}{
		{"system", r.System != "", trial},
		{"version", r.Version != "", trial},
		{"jobs", r.Jobs != TrialJobs{}, trial},
		{"verdict", r.Verdict != "", !trial},
	} {
		switch {
		case f.given && !f.wants && f.name == "verdict":
			k.problem(at(f.name), "a trial has no verdict of its own: what each job said counts", "remove it")
		case f.given && !f.wants:
			k.problem(at(f.name), fmt.Sprintf("a record of kind %s has no %s", r.Kind, f.name), "remove it")
		case f.wants && !f.given:
			k.problem(at(), fmt.Sprintf("a record of kind %s says no %s", r.Kind, f.name), "add "+f.name)
		}
	}
	if r.Reason == "" && !trial && (r.Kind == RetireRecord || r.Verdict != "" && r.Verdict != PassVerdict) {
		k.problem(at(), "this record gives no reason", "add reason")
	}
	if !trial {
		return
	}
	for _, j := range []struct {
		name   string
		result *JobResult
	}{{"install", r.Jobs.Install}, {"again", r.Jobs.Again}, {"verify", r.Jobs.Verify}, {"upgrade", r.Jobs.Upgrade}} {
		if j.result != nil && (j.result.From != "") != (j.name == "upgrade") {
			k.problem(at("jobs", j.name), "from is where an upgrade begins", "give it there alone")
		}
	}
}

// Verdicts of records.
const (
	PassVerdict         = "pass"
	FailVerdict         = "fail"
	InconclusiveVerdict = "inconclusive"
)

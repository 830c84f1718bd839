package desired

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Check finds everything that the schema cannot see: references to what is not there, and entries that do not go
// together or with the files of their commit. Now decides which permissions have passed. The problems carry the CUE path
// of the offending value and no position; their order does not depend on the order of maps.
//
// Values are expected to satisfy the schema; what does not gives a problem or is passed over, never a panic.
func Check(s Site, files artifact.Files, now time.Time) Problems {
	found, _ := CheckChanged(s, files, now, func(string) bool { return false })
	return found
}

// CheckChanged is Check that looks at a FEC by itself only when proven does not say that nothing was wrong with the same
// value amid the same settings, software, configuration, and names and modes of files. Sound are those that may be said to
// be proven from now on.
func CheckChanged(s Site, files artifact.Files, now time.Time, proven func(fec string) bool) (found Problems, sound []string) {
	c := &checker{
		site: s, files: files, now: now, proven: proven, suggestions: mostSuggestions,
		versions: map[string]Version{}, constraints: map[itemVersion]map[string]Constraint{},
	}
	c.settings()
	for _, name := range sortedKeys(s.Software) {
		c.software(name, s.Software[name])
	}
	for _, name := range sortedKeys(s.Configuration) {
		c.configurationItem(name, s.Configuration[name])
	}
	c.fecs()
	c.pilots()
	for _, name := range sortedKeys(s.Campaigns) {
		c.campaign(name, s.Campaigns[name])
	}
	c.prerequisites()
	for _, name := range sortedKeys(s.Holds) {
		c.hold(name, s.Holds[name])
	}
	c.retention()
	return c.found.Sorted(), c.sound
}

type checker struct {
	site        Site
	files       artifact.Files
	now         time.Time
	proven      func(fec string) bool
	sound       []string
	suggestions int // left to make
	found       Problems

	placed, around []place // of one FEC: all, and what the present one lies in, outermost first; kept for their memory

	versions    map[string]Version                    // of software, by their text
	constraints map[itemVersion]map[string]Constraint // well-formed ones, by software
}

type itemVersion struct{ item, version string }

// mostSuggestions bounds what a site of many wrong references may cost: each looks at all words that it could mean.
const mostSuggestions = 100

func (c *checker) problem(path, text, advice string) {
	c.found = append(c.found, Problem{Path: path, Text: text, Advice: advice})
}

func (c *checker) warning(path, text, advice string) {
	c.found = append(c.found, Problem{Path: path, Text: text, Advice: advice, Warning: true})
}

// unknown reports a word that is no key of known; where is the path at which it could be declared, and may go on after a
// comma.
func unknown[V any](c *checker, path, what, word string, known map[string]V, where string) {
	advice := "declare it in " + where
	if c.maySuggest() {
		advice = didYouMean(word, slices.Collect(maps.Keys(known)), advice)
	}
	section, _, _ := strings.Cut(where, ",")
	c.found = append(c.found, Problem{Path: path, Text: fmt.Sprintf("unknown %s %q", what, word), Advice: advice, Missing: section + "." + word})
}

// unknownVersion reports a version that a software or configuration item does not have.
func unknownVersion[V any](c *checker, path, name, version string, known map[string]V) {
	advice := "use one that is declared"
	if c.maySuggest() {
		versions := NewestFirst(known)
		advice = didYouMean(version, versions, advice+": "+Few(versions))
	}
	c.problem(path, fmt.Sprintf("unknown version %q of %q", version, name), advice)
}

// maySuggest says whether there is still time to look for what somebody meant.
func (c *checker) maySuggest() bool {
	c.suggestions--
	return c.suggestions >= 0
}

// didYouMean is the advice for a word that is none of known.
func didYouMean(word string, known []string, otherwise string) string {
	if near := Suggest(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return otherwise
}

// NewestFirst are the versions that are the keys of m, in falling order.
func NewestFirst[V any](m map[string]V) []string {
	versions := slices.Collect(maps.Keys(m))
	slices.SortFunc(versions, func(a, b string) int { return CompareVersions(b, a) })
	return versions
}

// members checks a list of names: each is a key of known, and none comes twice.
func members[V any](c *checker, what string, list []string, known map[string]V, where string, at ...any) {
	seen := make(map[string]bool, len(list))
	for i, name := range list {
		path := func() string { return CUEPath(append(slices.Clone(at), i)...) }
		if _, ok := known[name]; !ok {
			unknown(c, path(), what, name, known, where)
		}
		if seen[name] {
			c.problem(path(), fmt.Sprintf("%s %q comes twice", what, name), "remove one of them")
		}
		seen[name] = true
	}
}

// release finds the release that something names, or reports that there is none.
func (c *checker) release(software, version string, softwareAt, versionAt func() string) (Release, bool) {
	sw, ok := c.site.Software[software]
	if !ok {
		unknown(c, softwareAt(), "software", software, c.site.Software, "software")
		return Release{}, false
	}
	r, ok := sw.Versions[version]
	if !ok {
		unknownVersion(c, versionAt(), software, version, sw.Versions)
	}
	return r, ok
}

package desired

import (
	"fmt"
	"slices"
	"strings"
)

// mostCycles bounds how many cycles of one graph are told: a hostile one has more than anybody can read.
const mostCycles = 20

// cycle is a way from a name through what it needs back to it.
type cycle struct {
	names []string // each needs the next, and the last needs the first
	need  int      // place of that last need in its list
}

// cycles are ways around a graph, such that without the last need of each none is left; at most mostCycles.
func cycles(needs map[string][]string) (found []cycle) {
	const entered, left = 1, 2
	state := map[string]int{}
	var way []string
	var follow func(name string)
	follow = func(name string) {
		state[name] = entered
		way = append(way, name)
		for i, need := range needs[name] {
			switch state[need] {
			case left:
			case entered:
				if len(found) < mostCycles {
					found = append(found, cycle{slices.Clone(way[slices.Index(way, need):]), i})
				}
			default:
				follow(need)
			}
		}
		way = way[:len(way)-1]
		state[name] = left
	}
	for _, name := range sortedKeys(needs) {
		if state[name] != left {
			follow(name)
		}
	}
	return found
}

// acyclic reports entries of one kind that need each other in a circle. At is the CUE path of a name's need, by its place in
// the list.
func (c *checker) acyclic(what string, needs map[string][]string, at func(name string, need int) string, advice string) {
	for _, circle := range cycles(needs) {
		last := circle.names[len(circle.names)-1]
		if len(circle.names) == 1 {
			c.problem(at(last, circle.need), fmt.Sprintf("%s %q needs itself", what, last), "remove it"+advice)
			continue
		}
		c.problem(at(last, circle.need),
			fmt.Sprintf("%ss need each other: %s needs %s", what, strings.Join(circle.names, " needs "), circle.names[0]),
			"remove one of these needs"+advice)
	}
}

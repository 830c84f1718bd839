package desired

import (
	"fmt"
	"strings"
)

// updates checks what comes after the first release.
func (k *pilotChecker) updates() {
	if !k.bounded() || len(k.Updates) == 0 {
		return
	}
	k.trees = k.Trees()
	bases := map[string]Snapshot{}
	first := k.Snapshot()
	bases[first.Subject()] = first
	after := map[string]string{}
	for name, tree := range k.trees {
		after[name] = tree.Subject()
		bases[after[name]] = tree
	}
	mirrored, rejected := k.settled(after)
	tip := first.Subject()
	ordered, _ := k.UpdatesInOrder()
	for _, name := range ordered {
		if mirrored[name] {
			tip = after[name]
		}
	}
	for _, name := range sortedKeys(k.Updates) {
		u := k.Updates[name]
		k.update(name, u)
		base, ok := bases[u.Base]
		if !ok {
			k.problem(k.at("updates", name, "base"), "no packages of this pilot have this digest", "the last ones mirrored, to which an update adds, have "+tip)
		}
		k.added(name, u, base)
	}
	k.inFlight(tip, mirrored, rejected)
}

// update checks one update by itself.
func (k *pilotChecker) update(name string, u PilotUpdate) {
	at := func(parts ...any) string { return k.at(append([]any{"updates", name}, parts...)...) }
	if u.Reason == SecurityUpdate && u.Advisory == "" {
		k.problem(at(), "a security update needs an advisory", "say in advisory which one: participants are told of it")
	}
	if u.Test == SkippedTest && !k.ended && !k.testWaived(name) {
		k.warning(at("test"), "the test of this update is skipped, and no waiver says why", fmt.Sprintf("its authoriser or a tester does: pomona pilot %s update %s waive test; or have it tested", k.name, name))
	}
	for _, branch := range sortedKeys(u.Packages) {
		if _, ok := k.Branches[branch]; !ok {
			unknown(k.checker, at("packages", branch), "branch", branch, k.Branches, k.at("branches"))
		}
	}
}

func (k *pilotChecker) testWaived(update string) bool {
	if k.waivedTests == nil {
		k.waivedTests = map[waiverOf]bool{}
		for _, r := range k.Records {
			if r.Kind == RecordWaiver {
				k.waivedTests[waiverOf{r.Check, r.Update, r.Subject}] = true
			}
		}
	}
	subject, _ := k.subject(update)
	return subject == "" || k.waivedTests[waiverOf{TestOfUpdate, update, subject}]
}

// added checks that an update only adds packages to the tree that it is based on; without one, by themselves.
func (k *pilotChecker) added(name string, u PilotUpdate, base Snapshot) {
	in := map[string]map[string]placedRPM{} // by branch
	for _, path := range sortedKeys(base) {
		r := base[path]
		branch, directory := splitPackagePath(path)
		if _, ok := u.Packages[branch]; !ok {
			continue
		}
		if in[branch] == nil {
			in[branch] = map[string]placedRPM{}
		}
		there := in[branch][r.File]
		in[branch][r.File] = placedRPM{sha256: r.SHA256, directories: append(there.directories, directory)}
	}
	for _, branch := range sortedKeys(u.Packages) {
		if in[branch] == nil {
			in[branch] = map[string]placedRPM{}
		}
		k.packages(in[branch], u.Directory(), u.Packages[branch], "updates", name, "packages", branch)
	}
}

// splitPackagePath is the branch and the directory of a path of a snapshot.
func splitPackagePath(path string) (branch, directory string) {
	path = path[:max(strings.LastIndexByte(path, '/'), 0)]
	i := max(strings.LastIndexByte(path, '/'), 0)
	return path[:i], strings.TrimPrefix(path[i:], "/")
}

// inFlight checks that one update at a time is on its way into a directory.
func (k *pilotChecker) inFlight(tip string, mirrored, rejected map[string]bool) {
	first := map[string]string{} // by directory
	for _, name := range sortedKeys(k.Updates) {
		u := k.Updates[name]
		if u.Base != tip || mirrored[name] || rejected[name] || k.ended {
			continue
		}
		if other, ok := first[u.Directory()]; ok {
			k.problem(k.at("updates", name), fmt.Sprintf("update %q is on its way into %s too", other, u.Directory()),
				"reject one of them, or base this one on what the other makes: "+k.trees[other].Subject())
			continue
		}
		first[u.Directory()] = name
	}
}

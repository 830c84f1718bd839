package desired

import "fmt"

// participants checks in which waves sites are.
func (k *pilotChecker) participants() {
	waves, used := len(k.TheWaves()), map[int]bool{}
	for _, name := range sortedKeys(k.Sites) {
		w := k.Sites[name].TheWave()
		if used[w] = true; w > waves {
			k.problem(k.at("sites", name, "wave"), fmt.Sprintf("there is no wave %d: %s", w, manyWaves(waves)), "give another one, or add a wave to rollout.waves")
		}
	}
	for i := range waves {
		if len(k.Sites) > 0 && !used[i+1] {
			k.warning(k.at("rollout", "waves", i), fmt.Sprintf("no site is in wave %d", i+1), "give a site that wave, or remove it")
		}
	}
	k.minimum("sites", len(k.Sites))
}

func manyWaves(n int) string {
	if n == 1 {
		return "all sites get it at once"
	}
	return fmt.Sprintf("rollout has %d", n)
}

// marked checks that what sites publish tells one pilot from another.
func (k *pilotChecker) marked(among *pilotsAmong) {
	if k.InfoSys == nil || k.ended {
		return
	}
	id, at := k.IDOf(k.name), k.at("infosys")
	if k.InfoSys.ID != "" {
		at = k.at("infosys", "id")
	}
	if other, ok := among.marks[id]; ok {
		k.problem(at, fmt.Sprintf("PilotID=%s marks resources of pilot %q already", id, other), "give another id")
		return
	}
	among.marks[id] = k.name
}

// mostPackages bounds what digests of a pilot are worked out over, and mostUpdates how often.
const (
	mostPackages = 20_000
	mostUpdates  = 200
)

// bounded says whether the pilot is small enough to be looked at.
func (k *pilotChecker) bounded() bool {
	n := 0
	for _, directories := range k.Branches {
		for _, packages := range directories {
			n += len(packages)
		}
	}
	for _, u := range k.Updates {
		for _, packages := range u.Packages {
			n += len(packages)
		}
	}
	switch {
	case n > mostPackages:
		k.problem(k.at("branches"), fmt.Sprintf("there are %d packages", n), fmt.Sprintf("keep at most %d", mostPackages))
	case len(k.Updates) > mostUpdates:
		k.problem(k.at("updates"), fmt.Sprintf("there are %d updates", len(k.Updates)), fmt.Sprintf("keep at most %d: end this pilot, and begin another with what there is", mostUpdates))
	}
	return n <= mostPackages && len(k.Updates) <= mostUpdates
}

// branches checks the packages of the first release.
func (k *pilotChecker) branches() {
	for _, branch := range sortedKeys(k.Branches) {
		in := map[string]placedRPM{}
		for _, directory := range RPMDirectories {
			k.packages(in, directory, k.Branches[branch][directory], "branches", branch, directory)
		}
	}
}

// placedRPM is a package in the directories where a branch has it.
type placedRPM struct {
	sha256      string
	directories []string
}

// packages checks that a list adds to a directory what is not there yet: one file name is one package.
func (k *pilotChecker) packages(in map[string]placedRPM, directory string, list []RPM, where ...any) {
	mine := map[string]bool{}
	for i, r := range list {
		at := func(field string) string { return k.at(append(append([]any{}, where...), i, field)...) }
		there := in[r.File]
		switch {
		case mine[r.File]:
			k.problem(at("file"), fmt.Sprintf("package %q comes twice", r.File), "remove one of them")
			continue
		case there.in(directory):
			k.problem(at("file"), fmt.Sprintf("package %q is in %s already", r.File, directory), "remove it: an update only adds, and a new package has a new release number")
		case there.sha256 != "" && there.sha256 != r.SHA256:
			k.problem(at("sha256"), fmt.Sprintf("package %q is another one in %s", r.File, there.directories[0]), "give both one digest, or one of them another release number")
		}
		mine[r.File] = true
		in[r.File] = placedRPM{sha256: r.SHA256, directories: append(there.directories, directory)}
	}
}

func (p placedRPM) in(directory string) bool {
	for _, d := range p.directories {
		if d == directory {
			return true
		}
	}
	return false
}

package propose

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// pomsStage is one stage of an import under way.
type pomsStage struct {
	*pomsImport
	dumpedStage
	name    string // here
	kind    string
	dataset string // what stands for %(dataset)s in arguments
}

func (p *pomsImport) stage(dumped dumpedStage) {
	s := &pomsStage{pomsImport: p, dumpedStage: dumped, name: p.stageNames[dumped.name], dataset: "${inputs}"}
	p.line("%s: {", label(s.name))
	if s.name != dumped.name {
		p.line("description: %s", quote("stage "+inALine(dumped.name)+" of POMS"))
	}
	s.theType()
	s.needs()
	if s.kind != desired.ApprovalStage {
		s.inputAndSplit()
	}
	if s.kind != desired.ApprovalStage && s.kind != desired.TransferStage {
		s.work()
	}
	s.left()
	p.line("}")
}

func (s *pomsStage) say(format string, args ...any) { s.note("stage "+s.name, format, args...) }

func (s *pomsStage) theType() {
	kinds := map[string]string{"": desired.RegularStage, "regular": desired.RegularStage, "test": desired.TestStage,
		"generator": desired.GeneratorStage, "approval": desired.ApprovalStage, "datatransfer": desired.TransferStage}
	was := s.field(s.dumpedStage, "stage_type")
	kind, ok := kinds[was]
	if !ok {
		s.say("the type %q is not known; taken as regular", was)
		kind = desired.RegularStage
	}
	if kind == desired.RegularStage && !s.worksOnFiles() {
		s.say("it has no dataset and follows no stage: a generator")
		kind = desired.GeneratorStage
	}
	if s.kind = kind; kind != desired.RegularStage {
		s.line("type: %s", quote(kind))
	}
	role := strings.ToLower(s.field(s.dumpedStage, "vo_role"))
	if mine := strings.ToLower(s.campaign.get("poms_role")); role != "" && mine != "" && !strings.HasPrefix(mine, role) {
		s.say("it ran with the role %s of the experiment: that is the credential of a profile's engine here", role)
	}
}

// worksOnFiles says whether it gets a dataset, or what another stage leaves.
func (s *pomsStage) worksOnFiles() bool {
	split := strings.ToLower(s.field(s.dumpedStage, "cs_split_type"))
	if strings.HasPrefix(split, "list") || strings.HasPrefix(split, "multiparam") {
		return s.follows() // what stands for its dataset are values
	}
	dataset := s.pomsImport.dataset(s.dumpedStage)
	return s.follows() || dataset != "" && !strings.HasPrefix(dataset, "from_parent")
}

// needs are its dependencies, but for those that close a circle.
func (s *pomsStage) needs() {
	var edges []edge
	for _, e := range s.edges {
		switch {
		case e.stage != s.dumpedStage.name:
		case e.from == e.stage:
			s.say("it depended on itself, which launched its next slice: here its split makes all slices by itself")
		case s.closesCircle(e):
			s.say("it needs %s, which needs it in turn: write loop: {stage: …, max: …} for the campaign if its output is to be worked on again", s.stageNames[e.from])
		default:
			edges = append(edges, e)
		}
	}
	if len(edges) == 0 {
		return
	}
	if len(edges) > 1 {
		s.say("it started anew for each of the stages that it needs; here a slice may need all of them. See what that means for its job")
	}
	byStage := map[string][]string{}
	for _, e := range edges {
		from := s.stageNames[e.from]
		byStage[from] = append(byStage[from], s.outputFor(e)...)
	}
	s.line("needs: {")
	for _, from := range slices.Sorted(maps.Keys(byStage)) {
		if names := byStage[from]; len(names) > 0 {
			s.line("%s: outputs: [%s]", label(from), quoted(slices.Compact(slices.Sorted(slices.Values(names)))))
		} else {
			s.line("%s: {}", label(from))
		}
	}
	s.line("}")
}

// closesCircle says whether the stage that is needed comes to need this one, by edges that come before in the dump.
func (p *pomsImport) closesCircle(last edge) bool {
	seen := map[string]bool{}
	var reaches func(from string) bool
	reaches = func(stage string) bool {
		if stage == last.stage {
			return true
		}
		if seen[stage] {
			return false
		}
		seen[stage] = true
		for _, e := range p.edges {
			if e == last {
				return false
			}
			if e.stage == stage && e.from != e.stage && reaches(e.from) {
				return true
			}
		}
		return false
	}
	return reaches(last.from)
}

// outputFor names the output of the provider's job that matches an edge's pattern; none if there is no such.
func (s *pomsStage) outputFor(e edge) []string {
	i := slices.IndexFunc(s.stages, func(d dumpedStage) bool { return d.name == e.from })
	for _, o := range s.outputsOf(s.stages[i]) {
		if o.poms == likeText(e.pattern) {
			return []string{o.name}
		}
	}
	if e.pattern != "" && likeText(e.pattern) != "%" {
		s.say("the files of %s that it takes are told by %q, which is no pattern of names: name outputs of that stage's job here", s.stageNames[e.from], e.pattern)
	}
	return nil
}

// pomsOutput is an output of a job, by the pattern that POMS has for it.
type pomsOutput struct {
	name, poms, pattern string
	wanted              bool // the job type wants it of each input
}

// outputsOf are the outputs of a stage's job: what its type declares, and what other stages take of it.
func (p *pomsImport) outputsOf(d dumpedStage) (out []pomsOutput) {
	switch p.field(d, "stage_type") {
	case "approval", "datatransfer":
		return nil
	}
	add := func(poms string, wanted bool) {
		poms = likeText(poms)
		pattern := strings.ReplaceAll(poms, "%", "*")
		if poms == "" || poms == "None" || !outputPattern.MatchString(pattern) || slices.ContainsFunc(out, func(o pomsOutput) bool { return o.poms == poms }) {
			return
		}
		base := nameOf(strings.Trim(pattern, "*"))
		if strings.Trim(pattern, "*") == "" {
			base = "files"
		}
		name := unique(base, func(n string) bool { return slices.ContainsFunc(out, func(o pomsOutput) bool { return o.name == n }) })
		out = append(out, pomsOutput{name, poms, pattern, wanted})
	}
	for pattern := range strings.SplitSeq(p.jobs[p.field(d, "job_type")].get("output_file_patterns"), ",") {
		add(pattern, true)
	}
	for _, e := range p.edges {
		if e.from == d.name && e.stage != d.name {
			add(e.pattern, false)
		}
	}
	return out
}

// likeText is a pattern with one % in place of several, as Python's configparser writes one, and which mean the same.
func likeText(pattern string) string {
	return anyText.ReplaceAllString(strings.TrimSpace(pattern), "%")
}

var (
	anyText       = regexp.MustCompile(`%+`)
	outputPattern = regexp.MustCompile(`^[A-Za-z0-9_.+@*?-]+(/[A-Za-z0-9_.+@*?-]+)*$`) // schema/campaign.cue, #Output
)

func quoted(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, quote(n))
	}
	return strings.Join(out, ", ")
}

// completion is when a slice is complete, outputs or not.
func (s *pomsStage) completion(hasOutputs bool) {
	criterion := "jobs"
	if kind := s.field(s.dumpedStage, "completion_type"); kind == "located" && hasOutputs {
		criterion = "outputs"
	} else if kind == "located" {
		s.say("its completion was located, by files that no pattern tells: here its jobs' exit status counts")
	}
	threshold := ""
	if said := s.field(s.dumpedStage, "completion_pct"); said != "" {
		share, err := strconv.ParseFloat(said, 64)
		if err != nil || share <= 0 || share > 100 {
			s.say("completion_pct %s is not taken over: a slice is complete at 100%%", said)
		} else {
			threshold = fmt.Sprintf(", threshold: %s", quote(fmt.Sprintf("%d%%", int(math.Ceil(share)))))
		}
	}
	if criterion == "jobs" {
		s.line("// POMS: failed jobs counted as done there; here they do not. What is late after two days is told, and no longer taken for complete.")
	} else {
		s.line("// POMS: what is late after two days is told, and no longer taken for complete.")
	}
	s.line("completion: {criterion: %s%s}", quote(criterion), threshold)
	if depth := s.field(s.dumpedStage, "output_ancestor_depth"); depth != "" && depth != "1" {
		s.say("output_ancestor_depth %s is not needed: outputs are what a job leaves in its folder, not a catalogue's children", depth)
	}
}

var recoveryKinds = map[string]string{
	"consumed_status": "not-consumed", "state_not_done": "not-consumed",
	"proj_status": "failed-or-not-consumed", "process_status": "failed-or-not-consumed", "state_failed": "failed-or-not-consumed",
	"pending_files": "missing-output", "reprocess_orphans": "missing-output",
	"added_files": "added-inputs", "delivered_not_consumed": "delivered-not-consumed",
}

// recoveries are what is tried for what a slice lacks. Have are the arguments that a recovery may give another value.
func (s *pomsStage) recoveries(all []recovery, have map[string]string) {
	if len(all) > 5 {
		s.say("it has %d recoveries; the first 5 are taken over", len(all))
		all = all[:5]
	}
	var lines []string
	for _, r := range all {
		kind, ok := recoveryKinds[r.kind]
		if !ok {
			s.say("the recovery %q is not there: for everything anew, count epoch up", r.kind)
			continue
		}
		resources, params := s.differing("its recovery "+r.kind, r.overrides, have)
		text := "{select: " + quote(kind)
		if resources != "" {
			text += ", resources: " + resources
		}
		if params != "" {
			text += ", params: " + params
		}
		lines = append(lines, text+"}")
	}
	if len(lines) > 0 {
		s.line("recoveries: [\n%s,\n]", strings.Join(lines, ",\n"))
	}
}

// left names fields of the stage that nobody has looked at.
func (s *pomsStage) left() {
	s.get("default_clear_cronjob") // rest speaks of it
	for _, name := range []string{"output_ancestor_depth", "merge_overrides", "completion_type", "completion_pct", "job_type", "login_setup", "cs_split_type", "software_version", "vo_role", "param_overrides", "test_param_overrides", "dataset_or_split_data", "dataset"} {
		if s.kind == desired.ApprovalStage || s.kind == desired.TransferStage { // it has no job
			s.get(name)
		}
		s.defaults.get(name)
	}
	for _, name := range s.dumpedStage.left() {
		s.say("%s is not known: %s", name, s.values[name])
	}
}

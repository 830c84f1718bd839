package desired

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// campaign checks what a campaign names, and whether its stages can come to an end.
func (c *checker) campaign(name string, g Campaign) {
	k := campaignChecker{checker: c, name: name, Campaign: g}
	k.versions(g.Software, "software")
	if len(g.Stages) == 0 {
		k.problem(k.at("stages"), "this campaign has no stages", "give it one, or remove it")
	}
	k.graph()
	k.profile(g.Profile, "profile")
	k.people()
	for _, stage := range sortedKeys(g.Stages) {
		k.stage(stage, g.Stages[stage])
	}
	k.provided()
	k.approvals()
	k.schedule()
	k.loop()
}

type campaignChecker struct {
	*checker
	name string
	Campaign
}

// at is the path of a value of the campaign.
func (k campaignChecker) at(parts ...any) string {
	return CUEPath(append([]any{"campaigns", k.name}, parts...)...)
}

// versions checks that there are the releases that jobs run.
func (k campaignChecker) versions(software map[string]string, at ...any) {
	for _, name := range sortedKeys(software) {
		path := func() string { return k.at(append(slices.Clone(at), name)...) }
		k.release(name, software[name], path, path)
	}
}

// provided checks that what jobs run finds what it needs where they run.
func (k campaignChecker) provided() {
	type use struct{ profile, software string }
	seen := map[use]bool{} // of the campaign's own software
	for _, stage := range sortedKeys(k.Stages) {
		s := k.Stages[stage]
		if s.Job == nil {
			continue
		}
		profile, p := k.site.Settings.ProfileFor(k.Campaign, s)
		if p.Engine == "" {
			continue // there is no such profile
		}
		check := func(software map[string]string, name string, at ...any) {
			version := software[name]
			k.checker.provided(k.site.Software[name].Versions[version], name+" "+version, fmt.Sprintf("profile %q", profile), p.Provides,
				func() string { return k.at(append(at, name)...) }, CUEPath("site", "profiles", profile, "provides"))
		}
		for _, name := range sortedKeys(k.Campaign.Software) {
			if !seen[use{profile, name}] {
				seen[use{profile, name}] = true
				check(k.Campaign.Software, name, "software")
			}
		}
		for _, name := range sortedKeys(s.Job.Software) {
			check(s.Job.Software, name, "stages", stage, "job", "software")
		}
	}
}

// profile checks where jobs run.
func (k campaignChecker) profile(name string, at ...any) {
	p, ok := k.site.Settings.Profiles[name]
	switch role := k.TheRole(); {
	case name == "", !ok && name == LocalEngine:
	case !ok:
		unknown(k.checker, k.at(at...), "profile", name, k.site.Settings.Profiles, "site.profiles")
	case len(p.Roles) > 0 && !slices.Contains(p.Roles, role):
		k.problem(k.at(at...), fmt.Sprintf("profile %q is not for campaigns of role %s", name, role),
			"use one that is, or add the role to "+CUEPath("site", "profiles", name, "roles"))
	}
}

// graph checks which stages need which.
func (k campaignChecker) graph() {
	needs := map[string][]string{}
	for _, stage := range sortedKeys(k.Stages) {
		needs[stage] = sortedKeys(k.Stages[stage].Needs)
		for _, need := range needs[stage] {
			at := k.at("stages", stage, "needs", need)
			if provider, ok := k.Stages[need]; !ok {
				unknown(k.checker, at, "stage", need, k.Stages, k.at("stages"))
			} else {
				k.needed(stage, need, provider)
			}
		}
	}
	before := len(k.found)
	k.acyclic("stage", needs, func(stage string, need int) string { return k.at("stages", stage, "needs", needs[stage][need]) },
		"; to have a stage's outputs worked on again, use loop")
	if len(k.found) > before {
		k.unreachable(needs)
		return
	}
	k.pastApproval(needs)
}

// needed checks what a stage wants of another.
func (k campaignChecker) needed(stage, need string, provider Stage) {
	s, at := k.Stages[stage], []any{"stages", stage, "needs", need, "outputs"}
	n := s.Needs[need]
	switch {
	case len(n.Outputs) > 0 && s.ReadsDataset():
		k.problem(k.at(at...), fmt.Sprintf("stage %q has an input of its own, and works on no outputs", stage), "remove one of both")
	case len(n.Outputs) > 0 && provider.Job == nil:
		k.problem(k.at(at...), fmt.Sprintf("stage %q has no job, and so no outputs with names", need), "remove them: it gets what that stage hands on")
	case len(n.Outputs) > 0:
		members(k.checker, "output", n.Outputs, provider.Job.Outputs, k.at("stages", need, "job", "outputs"), append([]any{"campaigns", k.name}, at...)...)
	case !s.ReadsDataset() && !s.worksOnNothing() && !k.leaves(need, map[string]bool{}) && s.TheType() != ApprovalStage:
		k.problem(k.at("stages", stage, "needs", need), fmt.Sprintf("stage %q leaves no files, and split %s of stage %q cuts some", need, s.TheSplit(false).Type, stage),
			"declare outputs of its job, give this stage an input, or use another split")
	}
}

// worksOnNothing says whether a split makes slices without any input.
func (s Stage) worksOnNothing() bool {
	switch s.TheSplit(false).Type {
	case NoSplit, ListSplit, MatrixSplit, ModuloSplit, ExternalSplit, SampleSplit:
		return true
	}
	return false
}

// leaves says whether a stage can leave files: outputs of its job or, of one without a job, what it was given.
func (k campaignChecker) leaves(name string, seen map[string]bool) bool {
	s := k.Stages[name]
	switch {
	case s.Job != nil:
		return len(s.Job.Outputs) > 0
	case s.Input != nil:
		return true
	case seen[name]:
		return false
	}
	seen[name] = true
	return slices.ContainsFunc(sortedKeys(s.Needs), func(need string) bool { return k.leaves(need, seen) })
}

// unreachable reports stages that can never begin because what they need needs itself.
func (k campaignChecker) unreachable(needs map[string][]string) {
	begins := map[string]bool{}
	for again := true; again; {
		again = false
		for stage, list := range needs {
			if !begins[stage] && !slices.ContainsFunc(list, func(n string) bool { _, there := needs[n]; return there && !begins[n] }) {
				begins[stage], again = true, true
			}
		}
	}
	around := map[string]bool{}
	for _, circle := range cycles(needs) {
		for _, name := range circle.names {
			around[name] = true
		}
	}
	for _, stage := range sortedKeys(needs) {
		if !begins[stage] && !around[stage] {
			k.problem(k.at("stages", stage), fmt.Sprintf("stage %q is never reached: what it needs needs itself", stage), "break that circle")
		}
	}
}

// pastApproval reports a stage that needs an approval and besides what that is about: it would not wait for it.
func (k campaignChecker) pastApproval(needs map[string][]string) {
	for _, stage := range sortedKeys(needs) {
		for _, approval := range needs[stage] {
			if k.Stages[approval].TheType() != ApprovalStage || k.Stages[stage].ReadsDataset() {
				continue
			}
			for _, past := range needs[stage] {
				if past != approval && reaches(needs, approval, past, map[string]bool{}) {
					k.problem(k.at("stages", stage, "needs", past), fmt.Sprintf("stage %q would work on outputs of %q before %q has approved them", stage, past, approval),
						"remove it: an approval hands on what it has approved")
				}
			}
		}
	}
}

// reaches says whether a stage needs another, directly or not.
func reaches(needs map[string][]string, stage, other string, seen map[string]bool) bool {
	if seen[stage] {
		return false
	}
	seen[stage] = true
	return slices.ContainsFunc(needs[stage], func(n string) bool { return n == other || reaches(needs, n, other, seen) })
}

// approvals checks what approvals are of.
func (k campaignChecker) approvals() {
	seen := map[Approval]bool{}
	for i, a := range k.Approvals {
		s, ok := k.Stages[a.Stage]
		switch at := k.at("approvals", i, "stage"); {
		case a.Stage == "":
		case !ok:
			unknown(k.checker, at, "stage", a.Stage, k.Stages, k.at("stages"))
		case s.TheType() != ApprovalStage:
			k.problem(at, fmt.Sprintf("stage %q waits for no approval: its type is %s", a.Stage, s.TheType()), "name a stage of type approval, or none for the campaign")
		}
		if seen[a] {
			k.problem(k.at("approvals", i), "this approval comes twice", "remove one of them")
		}
		seen[a] = true
	}
}

// schedule checks when the campaign starts.
func (k campaignChecker) schedule() {
	if k.Schedule == nil {
		return
	}
	if _, err := k.Schedule.zone(); err != nil {
		k.unknownZone(k.Schedule.TimeZone, k.at("schedule", "timeZone"))
		return
	}
	if err := k.Schedule.Problem(k.now); err != nil {
		k.problem(k.at("schedule", "cron"), err.Error(), `give minute, hour, day of the month, month and day of the week, for instance "30 6 * * 1-5"`)
	}
}

func (c *checker) unknownZone(zone, at string) {
	c.problem(at, fmt.Sprintf("unknown time zone %q", zone), "give the IANA name of one, for instance Europe/Berlin")
}

// loop checks what goes around.
func (k campaignChecker) loop() {
	if k.Loop == nil {
		return
	}
	at := k.at("loop", "stage")
	if _, ok := k.Stages[k.Loop.Stage]; !ok {
		unknown(k.checker, at, "stage", k.Loop.Stage, k.Stages, k.at("stages"))
		return
	}
	if !k.leaves(k.Loop.Stage, map[string]bool{}) {
		k.problem(at, fmt.Sprintf("stage %q leaves no files that the first stages could work on", k.Loop.Stage), "declare outputs of its job")
	}
}

// stage checks one stage by itself.
func (k campaignChecker) stage(name string, s Stage) {
	at := func(parts ...any) string { return k.at(append([]any{"stages", name}, parts...)...) }
	jobless := s.TheType() == ApprovalStage || s.TheType() == TransferStage
	switch {
	case jobless && s.Job != nil:
		k.problem(at("job"), "a stage of type "+s.TheType()+" runs nothing", "remove the job, or make the stage a regular one")
	case !jobless && s.Job == nil:
		k.problem(at(), fmt.Sprintf("stage %q runs nothing", name), "give it a job, or make its type approval or transfer")
	}
	k.stageInput(name, s, at)
	if s.Input != nil {
		k.input(*s.Input, func(parts ...any) string { return at(append([]any{"input"}, parts...)...) })
	}
	for _, split := range []struct {
		field string
		*Split
	}{{"split", s.Split}, {"testSplit", s.TestSplit}} {
		if split.Split != nil {
			k.split(s, *split.Split, func(parts ...any) string { return at(append([]any{split.field}, parts...)...) })
		}
	}
	k.completion(s, at)
	k.recoveries(s, at)
	if s.Profile != "" {
		k.profile(s.Profile, "stages", name, "profile")
	} else if only, _ := k.site.Settings.ProfileFor(k.Campaign, s); k.Profile == "" && s.Job != nil && k.site.Settings.Profiles[only].Engine != "" {
		k.profile(only, "stages", name, "job")
	}
	if s.Job != nil {
		k.versions(s.Job.Software, "stages", name, "job", "software")
		k.words(name, s, at)
		k.retry(s.Job.Retry, at)
	}
}

// stageInput checks that a stage of its type has something to work on.
func (k campaignChecker) stageInput(name string, s Stage, at func(...any) string) {
	split := s.TheSplit(false).Type
	switch t := s.TheType(); {
	case t == ApprovalStage && s.Input != nil:
		k.problem(at("input"), "an approval has no input: it is about what it needs", "remove it")
	case (t == ApprovalStage || t == TransferStage) && len(s.Needs) == 0 && s.Input == nil:
		k.problem(at(), fmt.Sprintf("stage %q is of type %s and about nothing", name, t), "say by needs which stage's outputs it is about")
	case t == GeneratorStage && s.Input != nil:
		k.problem(at("input"), "a generator has no input: it makes files from nothing", "remove the input, or make the stage a regular one")
	case t == GeneratorStage && len(s.Needs) == 0 && !s.worksOnNothing() && split != RunsSplit:
		k.problem(at("split"), fmt.Sprintf("split %s cuts inputs, and a generator has none", split), "use none, list, matrix, modulo or runs")
	case t != GeneratorStage && s.Input == nil && len(s.Needs) == 0 && s.Job != nil && split != ListSplit && split != ExternalSplit:
		k.problem(at(), fmt.Sprintf("stage %q has nothing to work on", name), "give it an input or needs, or make its type generator")
	case s.Input != nil && split == ExternalSplit:
		k.problem(at("input"), "slices of split external have the inputs that whoever makes them says, and no others", "remove the input or the split")
	case k.Schedule != nil && split == ExternalSplit:
		k.problem(at("split"), "slices of split external come when others make them, and a schedule starts none", "remove the schedule or the split")
	case s.Input != nil && split == ListSplit:
		k.problem(at("input"), "slices of split list have its items as inputs, and no others", "remove the input or the split")
	case s.Input != nil && s.Input.Live && k.Schedule == nil && !s.TheSplit(false).Pools() && split != StagedSplit:
		k.problem(at("input", "live"), fmt.Sprintf("split %s takes what there is once, and not what comes later", split),
			"use drain, existing-runs, runs, window, tags or merge, give the campaign a schedule, or remove live")
	}
}

// input checks that a dataset is said in one way.
func (k campaignChecker) input(in Input, at func(...any) string) {
	said := 0
	for _, yes := range []bool{len(in.Files) > 0, in.Glob != "", in.HTTP != nil, in.SAM != nil, in.Command != nil} {
		if yes {
			said++
		}
	}
	switch {
	case said == 0:
		k.problem(at(), "the input does not say where it is", "give one of files, glob, http, sam and command")
	case said > 1:
		k.problem(at(), "the input says more than once where it is", "keep one of files, glob, http, sam and command")
	}
	if s := in.SAM; s != nil && (s.Definition == "") == (s.Dimensions == "") {
		k.problem(at("sam"), "a dataset of SAM is a definition or dimensions", "give one of both")
	}
	if in.Settle != "" && !in.Live {
		k.problem(at("settle"), "only live data settles", "add live: true, or remove it")
	}
	seen := map[string]bool{}
	for i, name := range in.Files {
		if seen[name] {
			k.problem(at("files", i), fmt.Sprintf("file %q comes twice", name), "remove one of them")
		}
		seen[name] = true
	}
}

// split checks that fields go with the type, and with what is cut.
func (k campaignChecker) split(s Stage, split Split, at func(...any) string) {
	rule := splitFields[split.Type]
	has := map[string]bool{
		"items": len(split.Items) > 0, "params": len(split.Params) > 0, "n": split.N > 0, "low": split.Low > 0, "high": split.High > 0, "width": split.Width != "",
		"lag": split.Lag != "", "from": split.From != "", "until": split.Until != "", "timeZone": split.TimeZone != "", "size": split.Size != "",
		"project": split.Project != "", "tags": len(split.Tags) > 0, "catchAll": split.CatchAll != "",
	}
	for _, field := range sortedKeys(has) {
		switch {
		case has[field] && !slices.Contains(rule.may, field) && !slices.Contains(rule.must, field):
			k.problem(at(field), fmt.Sprintf("split %s has no %s", split.Type, field), "remove it")
		case !has[field] && slices.Contains(rule.must, field):
			k.problem(at(), fmt.Sprintf("split %s needs %s", split.Type, field), "add it")
		}
	}
	switch split.Type {
	case MergeSplit:
		if split.N == 0 && split.Size == "" {
			k.problem(at(), "split merge needs n or size", "add one of both")
		}
	case RunsSplit:
		if split.High > 0 && split.Low > split.High {
			k.problem(at("high"), fmt.Sprintf("runs end with %d, before they begin with %d", split.High, split.Low), "give a higher one")
		}
	case StagedSplit:
		if s.Input == nil || s.Input.SAM == nil {
			k.problem(at(), "split staged asks SAM what a project has staged", "give the stage an input of SAM, or use drain")
		}
	case ResplitSplit:
		if s.ReadsDataset() || len(s.Needs) == 0 {
			k.problem(at(), "split resplit cuts the outputs of other stages", "use files or drain for an input, or give the stage needs alone")
		}
	case WindowSplit:
		k.window(split, at)
	case TagsSplit:
		k.tags(s, split, at)
	case SampleSplit, FilesSplit, DrainSplit, ListSplit, MatrixSplit, ModuloSplit, ExistingRunsSplit, ExternalSplit, NoSplit:
	}
	seen := map[string]bool{}
	for i, item := range split.Items {
		if seen[item] {
			k.problem(at("items", i), fmt.Sprintf("item %q comes twice", item), "remove one of them")
		}
		seen[item] = true
	}
	if n := combinations(split.Params); n > mostSlices {
		k.problem(at("params"), fmt.Sprintf("these are more than %d combinations", mostSlices), "split the campaign")
	}
	if n := split.High - split.Low; split.Type == RunsSplit && n >= mostSlices {
		k.problem(at("high"), fmt.Sprintf("these are more than %d runs", mostSlices), "split the campaign")
	}
}

// mostSlices bounds how many slices a site can ask for without saying of what.
const mostSlices = 1_000_000

func combinations(params map[string][]ParamValue) int {
	n := 1
	for _, values := range params {
		if n *= max(len(values), 1); n > mostSlices {
			return n
		}
	}
	return n
}

// splitFields says which fields go with a type of split.
var splitFields = map[string]struct{ must, may []string }{
	NoSplit:           {},
	ListSplit:         {must: []string{"items"}},
	MatrixSplit:       {must: []string{"params"}},
	ModuloSplit:       {must: []string{"n"}},
	FilesSplit:        {must: []string{"n"}},
	DrainSplit:        {must: []string{"n"}},
	SampleSplit:       {must: []string{"n"}},
	RunsSplit:         {must: []string{"high"}, may: []string{"low"}},
	ExistingRunsSplit: {},
	WindowSplit:       {must: []string{"width"}, may: []string{"lag", "from", "until", "timeZone"}},
	StagedSplit:       {must: []string{"project", "n"}},
	MergeSplit:        {may: []string{"n", "size"}},
	ResplitSplit:      {must: []string{"n"}},
	TagsSplit:         {must: []string{"tags"}, may: []string{"catchAll"}},
	ExternalSplit:     {},
}

func (k campaignChecker) window(split Split, at func(...any) string) {
	if _, err := time.LoadLocation(or(split.TimeZone, "UTC")); err != nil {
		k.unknownZone(split.TimeZone, at("timeZone"))
	}
	times := map[string]time.Time{}
	for field, text := range map[string]string{"from": split.From, "until": split.Until} {
		t, err := time.Parse(time.RFC3339, text)
		if text != "" && err != nil {
			k.problem(at(field), text+" is no moment", "give a day and a time that there are, for instance 2026-10-01T00:00:00Z")
		}
		times[field] = t
	}
	if from, until := times["from"], times["until"]; !from.IsZero() && !until.IsZero() && !from.Before(until) {
		k.problem(at("until"), fmt.Sprintf("windows end at %s, not after they begin at %s", split.Until, split.From), "give a later time")
	}
}

// tags checks that some output of what a stage needs can have a tag.
func (k campaignChecker) tags(s Stage, split Split, at func(...any) string) {
	if s.ReadsDataset() {
		return
	}
	var patterns []string
	for need, n := range s.Needs {
		provider, ok := k.Stages[need]
		if !ok || provider.Job == nil {
			return // what it hands on has any names
		}
		for name, o := range provider.Job.Outputs {
			if len(n.Outputs) == 0 || slices.Contains(n.Outputs, name) {
				patterns = append(patterns, "*/"+o.Pattern)
			}
		}
	}
	for _, tag := range sortedKeys(split.Tags) {
		if len(patterns) > 0 && !slices.ContainsFunc(patterns, func(p string) bool { return Meet(split.Tags[tag], p) }) {
			k.problem(at("tags", tag), fmt.Sprintf("no output of what this stage needs can match %q", split.Tags[tag]),
				"outputs are whole paths: begin the pattern with *, and see the patterns of their jobs")
		}
	}
}

func (k campaignChecker) completion(s Stage, at func(...any) string) {
	c := s.Completion
	switch {
	case c.Criterion == "outputs" && !s.ByOutputs():
		k.problem(at("completion", "criterion"), "no output of its job has to be there", "declare one with perInput above 0, or use jobs")
	case c.CountFailedAsDone && s.ByOutputs():
		k.problem(at("completion", "countFailedAsDone"), "slices are complete by what there is, and not by how jobs end", `set criterion: "jobs", or remove it`)
	}
	if c.Threshold != "" && c.Percent() == 0 {
		k.problem(at("completion", "threshold"), "nothing would be enough", "give at least 1%")
	}
}

// mostRecoveries is how many recoveries a stage may have.
const mostRecoveries = 5

func (k campaignChecker) recoveries(s Stage, at func(...any) string) {
	if len(s.Recoveries) > mostRecoveries {
		k.problem(at("recoveries"), fmt.Sprintf("there are %d recoveries", len(s.Recoveries)), fmt.Sprintf("keep at most %d", mostRecoveries))
	}
	for i, r := range s.Recoveries {
		switch {
		case s.Job == nil:
			k.problem(at("recoveries", i), "a stage without a job has nothing to recover", "remove it")
		case r.Select == "missing-output" && !s.ByOutputs():
			k.problem(at("recoveries", i, "select"), "no output of its job has to be there", "declare one with perInput above 0, or select what was not consumed")
		case r.Select == "added-inputs" && !s.ReadsDataset():
			k.problem(at("recoveries", i, "select"), "only a dataset gets more inputs", "remove it: outputs that come later are slices of their own")
		}
	}
}

func (k campaignChecker) retry(r Retry, at func(...any) string) {
	switch {
	case r.Max == 0 && (len(r.OnExit) > 0 || r.MemoryFactor > 0):
		k.problem(at("job", "retry"), "nothing is tried again without max", "add max")
	case slices.Contains(r.OnExit, 75):
		k.problem(at("job", "retry", "onExit", slices.Index(r.OnExit, 75)), "exit status 75 is Pomona's own: the job was claimed by another", "have the job use another one")
	}
}

// words checks what is replaced in arguments.
func (k campaignChecker) words(name string, s Stage, at func(...any) string) {
	params, tested := k.params(name, s, false), k.params(name, s, true)
	software := map[string]string{}
	for n, v := range k.Software {
		software[n] = v
	}
	for n, v := range s.Job.Software {
		software[n] = v
	}
	if len(s.Job.Argv) > 0 && strings.Contains(s.Job.Argv[0], "=") {
		k.problem(at("job", "argv", 0), "a program whose name has = cannot be run", "put variables into environment")
	}
	for i, arg := range s.Job.Argv {
		for _, word := range placeholders(arg) {
			kind, of, _ := strings.Cut(word, ".")
			here := at("job", "argv", i)
			switch {
			case slices.Contains(plainWords, word):
			case kind == "params" && params[of] && !tested[of]:
				k.warning(here, fmt.Sprintf("tests of the stage have no parameter %q", of), "add it to testParams, or give a testSplit that does")
			case kind == "params" && !params[of]:
				unknown(k.checker, here, "parameter", of, params, at("params"))
			case kind == "software":
				if _, ok := software[of]; !ok {
					unknown(k.checker, here, "software", of, software, at("job", "software"))
				}
			case kind != "params":
				k.problem(here, fmt.Sprintf("${%s} means nothing", word), didYouMean(word, plainWords,
					"use ${params.NAME}, ${software.NAME}, ${"+strings.Join(plainWords, "}, ${")+"}, or have the program read its environment"))
			}
		}
	}
}

var plainWords = []string{"attempt", "campaign", "inputs", "outputs", "slice", "stage"}

// placeholders are the words between ${ and } of an argument.
func placeholders(arg string) (words []string) {
	for {
		_, rest, ok := strings.Cut(arg, "${")
		if !ok {
			return words
		}
		word, rest, ok := strings.Cut(rest, "}")
		if !ok {
			return words
		}
		if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == "" && word != "" {
			words = append(words, word)
		}
		arg = rest
	}
}

// params are the names of the parameters that jobs of a stage have.
func (k campaignChecker) params(name string, s Stage, test bool) map[string]bool {
	out := map[string]bool{}
	for n := range k.Params {
		out[n] = true
	}
	for n := range s.Params {
		out[n] = true
	}
	if test {
		for n := range s.TestParams {
			out[n] = true
		}
	}
	k.given(name, test, out, map[string]bool{})
	return out
}

// given adds the parameters of slices: those that the split gives, and those of the slices whose outputs they are.
func (k campaignChecker) given(name string, test bool, out, seen map[string]bool) {
	s := k.Stages[name]
	if seen[name] {
		return
	}
	seen[name] = true
	split := s.TheSplit(test)
	if split.Type == SampleSplit && s.Input == nil && len(s.Needs) == 0 {
		split = s.TheSplit(false) // the first of those slices
	}
	for _, n := range split.Gives() {
		out[n] = true
	}
	if s.ReadsDataset() || s.TheSplit(false).Pools() {
		return
	}
	for need, n := range s.Needs {
		if !n.JoinsAll() {
			k.given(need, test, out, seen)
		}
	}
}

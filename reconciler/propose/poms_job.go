package propose

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// work is what the stage runs: POMS's job type, behind its login setup, with the parameters of both and of the stage.
func (s *pomsStage) work() {
	kind := s.field(s.dumpedStage, "job_type")
	job, ok := s.jobs[kind]
	if !ok {
		s.say("its job type %q is not in the dump: write what it runs", kind)
	}
	base, resources := s.withoutResources(s.arguments(job))
	test := s.overrides("test_param_overrides", s.field(s.dumpedStage, "test_param_overrides"))
	recoveries, err := recoveriesOf(job.get("recoveries"))
	if err != nil {
		s.say("recoveries of its job type: %v", err)
	}
	names := s.changeable(base, test, recoveries)
	s.stageParams(base, names)
	if testResources, params := s.differing("its test launch", test, names); params != "" || testResources != "" {
		if testResources != "" {
			s.say("a test launch asks for the resources of every other here, not for %s", testResources)
		}
		if params != "" {
			s.line("testParams: %s", params)
		}
	}
	s.line("job: {")
	s.argv(job, base, names)
	if text := resourcesText(resources); text != "" {
		s.line("resources: %s", text)
	}
	outputs := s.outputsOf(s.dumpedStage)
	if len(outputs) > 0 {
		s.line("outputs: {")
		for _, o := range outputs {
			if o.wanted {
				s.line("%s: pattern: %s", label(o.name), quote(o.pattern))
			} else {
				s.line("%s: {pattern: %s, perInput: 0}", label(o.name), quote(o.pattern))
			}
		}
		s.line("}")
	}
	s.unmappedPatterns(job)
	s.line("}")
	s.completion(slices.ContainsFunc(outputs, func(o pomsOutput) bool { return o.wanted }))
	s.recoveries(recoveries, names)
}

// unmappedPatterns says which of a job type's patterns tell no names.
func (s *pomsStage) unmappedPatterns(job fields) {
	for pattern := range strings.SplitSeq(job.get("output_file_patterns"), ",") {
		pattern = strings.TrimSpace(pattern)
		if pattern != "" && !slices.ContainsFunc(s.outputsOf(s.dumpedStage), func(o pomsOutput) bool { return o.poms == likeText(pattern) }) {
			s.say("the output pattern %q is no pattern of names: name the output here", pattern)
		}
	}
}

// arguments are what POMS writes behind the launch script: each may take the place of one before.
func (s *pomsStage) arguments(job fields) []override {
	all := s.overrides("parameters of its job type", job.get("parameters"))
	if merge := strings.ToLower(s.field(s.dumpedStage, "merge_overrides")); merge == "true" || merge == "1" {
		all = merged(all, s.overrides("param_overrides of campaign_defaults", s.defaults.get("param_overrides")))
	}
	return merged(all, s.overrides("param_overrides", s.field(s.dumpedStage, "param_overrides")))
}

func (s *pomsStage) overrides(what, text string) []override {
	out, err := overridesOf(text)
	if err != nil {
		s.say("%s: %v", what, err)
	}
	return out
}

var jobsKey = regexp.MustCompile(`(?:^|[.-])N[= ]*$`)

var resourceKey = regexp.MustCompile(`(?i)(?:^|[.-])(memory|disk|cpu|expected[_-]lifetime)[= ]*$`)

// withoutResources takes what jobsub is asked for out of arguments.
func (s *pomsStage) withoutResources(all []override) (rest []override, resources map[string]string) {
	resources = map[string]string{}
	for _, o := range all {
		m := resourceKey.FindStringSubmatch(o.key)
		if m == nil {
			rest = append(rest, o)
			continue
		}
		name, value := resourceOf(strings.ToLower(m[1]), strings.TrimSpace(o.value))
		if value == "" {
			s.say("%s%s is not taken over as a resource", o.key, o.value)
			continue
		}
		resources[name] = value
	}
	return rest, resources
}

var sizeForm = regexp.MustCompile(`(?i)^([0-9]{1,7})\s*([kmgt]?)i?b?$`)

// resourceOf is a resource as the schema has it; without a value if it cannot be. Jobsub counts memory in MiB and disk in KiB unless
// a unit is there, which it takes as powers of 1024.
func resourceOf(kind, value string) (name, text string) {
	switch kind {
	case "cpu":
		if n, err := strconv.Atoi(value); err == nil && n > 0 {
			return "cpus", strconv.Itoa(n)
		}
		return "cpus", ""
	case "memory", "disk":
		m := sizeForm.FindStringSubmatch(value)
		if m == nil {
			return kind, ""
		}
		unit := strings.ToUpper(m[2])
		if unit == "" && kind == "memory" {
			unit = "M"
		}
		if unit == "" {
			unit = "K"
		}
		return kind, quote(m[1] + unit + "iB")
	}
	d, err := pomsDuration(strings.ToLower(value))
	if err != nil || d <= 0 {
		return "walltime", ""
	}
	return "walltime", quote(durationText(d))
}

func resourcesText(resources map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		parts = append(parts, name+": "+resources[name])
	}
	if len(parts) == 0 {
		return ""
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// changeable gives those arguments the name of a parameter that a test launch or a recovery gives another value.
func (s *pomsStage) changeable(base, test []override, recoveries []recovery) map[string]string {
	names := map[string]string{}
	others := slices.Clone(test)
	for _, r := range recoveries {
		others = append(others, r.overrides...)
	}
	for _, o := range others {
		i := slices.IndexFunc(base, func(b override) bool { return b.key == o.key })
		if i < 0 || names[o.key] != "" || base[i].value == o.value || strings.Contains(base[i].value, "%(") && !s.fixed(base[i].value) {
			continue
		}
		name := strings.Trim(notInParam.ReplaceAllString(o.key, "_"), "_")
		if name == "" || name[0] >= '0' && name[0] <= '9' {
			name = "argument_" + name
		}
		names[o.key] = unique(name[:min(len(name), 63)], func(n string) bool {
			return s.params[n] != "" || n == "version" || slices.Contains(slices.Collect(maps.Values(names)), n)
		})
	}
	return names
}

var notInParam = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// fixed says whether a text is the same for all slices.
func (s *pomsStage) fixed(text string) bool {
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		if s.value(m[1]) == "" {
			return false
		}
	}
	return true
}

// value is what stands for a word of POMS, the same for all slices; empty if there is none.
func (s *pomsStage) value(name string) string {
	if v := s.field(s.dumpedStage, "software_version"); name == "version" && v != "" {
		return v
	}
	return s.params[name]
}

// stageParams are the parameters of this stage alone.
func (s *pomsStage) stageParams(base []override, names map[string]string) {
	params := map[string]string{}
	if v := s.field(s.dumpedStage, "software_version"); v != "" && v != s.params["version"] {
		params["version"] = v
	}
	for _, o := range base {
		if name := names[o.key]; name != "" {
			params[name], _ = s.replaced(o.value, false)
		}
	}
	if v := s.field(s.dumpedStage, "software_version"); v != "" {
		s.line("// POMS: its software version %s is a parameter; write software: NAME: VERSION once the site has it.", inALine(v))
	}
	if text := paramsText(params); text != "" {
		s.line("params: %s", text)
	}
}

func paramsText(params map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		parts = append(parts, label(name)+": "+quote(params[name]))
	}
	if len(parts) == 0 {
		return ""
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// differing is what somebody gives another value: resources and parameters, as CUE text.
func (s *pomsStage) differing(who string, overrides []override, names map[string]string) (resources, params string) {
	rest, asked := s.withoutResources(overrides)
	values := map[string]string{}
	for _, o := range rest {
		value, ok := s.replaced(o.value, false)
		switch name := names[o.key]; {
		case name != "" && ok:
			values[name] = value
		case name == "" && ok && s.unchanged(o):
		default:
			s.say("%s had %s%s, which is no argument that can differ here", who, o.key, o.value)
		}
	}
	return resourcesText(asked), paramsText(values)
}

// unchanged says whether an override says what holds anyhow.
func (s *pomsStage) unchanged(o override) bool {
	return slices.Contains(s.arguments(s.jobs[s.field(s.dumpedStage, "job_type")]), o)
}

var (
	placeholder = regexp.MustCompile(`%+\((\w+)\)s?`)
	shellWord   = regexp.MustCompile(`^[A-Za-z0-9_./:=@,+%-]*$`) // that means itself
	shellBraces = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}([^$]?)`)

	wordCharacter = regexp.MustCompile(`^\w`)
)

// replaced is a text with Pomona's words in place of POMS's. Outside of arguments nothing is replaced later: then it is false if
// something would have to be.
func (s *pomsStage) replaced(text string, argument bool) (string, bool) {
	ok := true
	text = placeholder.ReplaceAllStringFunc(text, func(word string) string {
		name := placeholder.FindStringSubmatch(word)[1]
		value := s.value(name)
		switch {
		case (name == "dataset" || name == "parameter") && argument:
			return s.dataset
		case value != "" && argument:
			return "${params." + name + "}"
		case value != "":
			return value
		}
		if ok = false; argument {
			s.say("%s is not known: write what stands for it", word)
		}
		return word
	})
	return strings.ReplaceAll(text, "%%", "%"), ok
}

// argv is the launch script with its arguments. Of what needs a shell it is a line for one.
func (s *pomsStage) argv(job fields, base []override, names map[string]string) {
	login := s.logins[s.field(s.dumpedStage, "login_setup")]
	if host := login.get("host"); host != "" {
		s.say("it was launched on %s as %s; where jobs run, and as whom, a profile says here", host, login.get("account"))
	}
	launch, setup := strings.TrimSpace(job.get("launch_script")), strings.Trim(login.get("setup"), "; ")
	for _, word := range []string{"fife_launch", "jobsub_submit", "project.py", "poms_jobsub_wrapper"} {
		if strings.Contains(launch+setup, word) {
			s.say("%s hands in jobs by itself, of which Pomona would know nothing: write here what those jobs run", word)
			break
		}
	}
	if strings.Contains(launch+setup, "$POMS") {
		s.say("POMS's variables are not set: see POMONA_CAMPAIGN, POMONA_STAGE, POMONA_SLICE and their like")
	}
	var words []string
	switch {
	case launch == "":
		s.say("nothing says what it runs: write its program here")
		words = []string{"/bin/false"}
	case setup == "" && !slices.ContainsFunc(strings.Fields(launch), func(w string) bool { return !shellWord.MatchString(placeholder.ReplaceAllString(w, "")) }):
		for _, w := range strings.Fields(launch) {
			w, _ = s.replaced(w, true)
			words = append(words, w)
		}
	default:
		words = s.shell(setup, launch)
	}
	for _, o := range base {
		if jobsKey.MatchString(o.key) {
			s.say("%s%s was the number of jobs of one launch; here each job has a slice: split: {type: \"matrix\", params: job: list.Range(0, %s, 1)} makes as many", o.key, o.value, strings.TrimSpace(o.value))
		}
		words = append(words, s.argument(o, names[o.key])...)
	}
	s.line("argv: [\n%s,\n]", strings.ReplaceAll(quoted(words), ", \"", ",\n\""))
}

// shell is a line for a shell after its setup. Values reach it by the environment, so that none of them is taken for a command.
func (s *pomsStage) shell(setup, launch string) []string {
	line := launch
	if setup != "" {
		line = setup + "; " + launch
	}
	s.say("a shell runs it, as it was; have one program of your software do it and name that instead")
	line = placeholder.ReplaceAllStringFunc(inALine(line), func(word string) string {
		switch name := placeholder.FindStringSubmatch(word)[1]; {
		case name == "dataset" || name == "parameter":
			return strings.NewReplacer("${inputs}", "${POMONA_INPUTS}", "${params.", "${POMONA_PARAM_").Replace(s.dataset)
		case s.value(name) != "":
			return "${POMONA_PARAM_" + name + "}"
		}
		s.say("%s is not known: write what stands for it", word)
		return word
	})
	line = withoutBraces(strings.ReplaceAll(line, "%%", "%"))
	if strings.Contains(line, "${") { // more than a name, which Pomona must not take for its own
		s.line("environment: POMS_LAUNCH: %s", quote(line))
		return []string{"/bin/bash", "-c", `eval "$POMS_LAUNCH \"\$@\""`, s.name}
	}
	return []string{"/bin/bash", "-c", line + ` "$@"`, s.name}
}

// withoutBraces writes ${NAME} as $NAME: with braces it is Pomona's. Where the name would not end, two quotes do, also within quotes.
func withoutBraces(line string) string {
	return shellBraces.ReplaceAllStringFunc(line, func(word string) string {
		m := shellBraces.FindStringSubmatch(word)
		if m[2] == "" || !wordCharacter.MatchString(m[2]) {
			return "$" + m[1] + m[2]
		}
		return "$" + m[1] + `""` + m[2]
	})
}

// argument is an override as one word or several: a key that ends with a blank is a word of its own.
func (s *pomsStage) argument(o override, param string) (words []string) {
	value := o.value
	if param != "" {
		value = "${params." + param + "}"
	} else if strings.Contains(value, "$") {
		s.say("a shell replaced what is in %s: it stays as it is here", value)
		value = withoutBraces(value)
		value, _ = s.replaced(strings.ReplaceAll(value, "${", "$"), true)
	} else {
		value, _ = s.replaced(value, true)
	}
	key, _ := s.replaced(strings.ReplaceAll(o.key, "${", "$"), true)
	words = strings.Fields(key)
	if n := len(words); n > 0 && !strings.HasSuffix(key, " ") {
		words[n-1] += value
	} else if value != "" {
		words = append(words, value)
	}
	for i, w := range words {
		words[i] = inALine(w)
	}
	return words
}

package propose

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/ini.v1"
)

// dump is a campaign as POMS writes it: what "Download as .ini" and poms_client give.
type dump struct {
	campaign fields
	defaults fields
	stages   []dumpedStage
	logins   map[string]fields
	jobs     map[string]fields // job types
	edges    []edge
	other    []string // sections that POMS does not have
	drawn    bool     // where stages are in POMS's editor
}

type dumpedStage struct {
	name string
	fields
}

// edge is a dependency: stage needs the files of from that match pattern, as SQL's LIKE has it.
type edge struct{ stage, from, pattern string }

// fields are the values of a section, and which of them somebody has looked at.
type fields struct {
	values map[string]string
	taken  map[string]bool
}

// has says whether a field says something, which None and an empty list do not.
func (f fields) has(name string) bool { return f.get(name) != "" }

// get is a value without the quotes around it; empty if it says nothing.
func (f fields) get(name string) string {
	if f.taken != nil {
		f.taken[name] = true
	}
	v := strings.TrimSpace(f.values[name])
	if len(v) >= 2 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
		v = strings.TrimSpace(v[1 : len(v)-1])
	}
	switch v {
	case "None", "none", "null", "[]", "{}", "[ ]":
		return ""
	}
	return v
}

// left are the fields that nobody has looked at, and which say something.
func (f fields) left() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		if !f.taken[name] && f.has(name) {
			names = append(names, name)
		}
	}
	return names
}

// readDump reads a dump. Python's configparser has written it.
func readDump(text []byte) (d dump, err error) {
	file, err := ini.LoadSources(ini.LoadOptions{
		IgnoreInlineComment: true, PreserveSurroundedQuote: true, AllowPythonMultilineValues: true, SpaceBeforeInlineComment: true,
	}, text)
	if err != nil {
		return d, fmt.Errorf("read dump: %w", err)
	}
	d.logins, d.jobs = map[string]fields{}, map[string]fields{}
	for _, section := range file.Sections() {
		f := fields{values: map[string]string{}, taken: map[string]bool{}}
		for _, key := range section.Keys() {
			f.values[key.Name()] = key.Value() // String would replace %(name)s
		}
		kind, name, _ := strings.Cut(section.Name(), " ")
		name = strings.TrimSpace(name)
		switch kind {
		case ini.DefaultSection:
			if len(f.values) > 0 {
				return d, errors.New("read dump: fields before the first section")
			}
		case "campaign":
			d.campaign = f
		case "campaign_defaults":
			d.defaults = f
		case "campaign_stage":
			d.stages = append(d.stages, dumpedStage{name, f})
		case "login_setup":
			d.logins[name] = f
		case "job_type":
			d.jobs[name] = f
		case "dependencies":
			d.edges = append(d.edges, edgesOf(name, f)...)
		case "node_positions":
			d.drawn = true
		default:
			d.other = append(d.other, section.Name())
		}
	}
	if d.campaign.values == nil || len(d.stages) == 0 {
		return d, errors.New("read dump: this is no campaign of POMS: it has no [campaign] or no [campaign_stage NAME]")
	}
	return d, d.check()
}

// edgesOf are the dependencies of a stage: campaign_stage_1, file_pattern_1, and so on.
func edgesOf(stage string, f fields) (edges []edge) {
	for n := 1; f.has(fmt.Sprintf("campaign_stage_%d", n)); n++ {
		edges = append(edges, edge{stage, f.get(fmt.Sprintf("campaign_stage_%d", n)), f.get(fmt.Sprintf("file_pattern_%d", n))})
	}
	return edges
}

// check says what a dump names and does not have.
func (d dump) check() error {
	known := map[string]bool{}
	for _, s := range d.stages {
		known[s.name] = true
	}
	for _, e := range d.edges {
		for _, name := range []string{e.stage, e.from} {
			if !known[name] {
				return fmt.Errorf("read dump: dependencies of %q name the stage %q, which is not in the dump", e.stage, name)
			}
		}
	}
	return nil
}

// field is a value of a stage, or else what all stages have.
func (d dump) field(s dumpedStage, name string) string {
	own, all := s.get(name), d.defaults.get(name)
	if _, said := s.values[name]; said {
		return own
	}
	return all
}

// dataset is the dataset of a stage: older dumps have it under another name.
func (d dump) dataset(s dumpedStage) string {
	for _, name := range []string{"dataset_or_split_data", "dataset"} {
		if _, said := s.values[name]; said {
			return s.get(name)
		}
	}
	if v := d.defaults.get("dataset_or_split_data"); v != "" {
		return v
	}
	return d.defaults.get("dataset")
}

// override is an argument as POMS has it: it puts key and value together, and after the launch script.
type override struct{ key, value string }

// overridesOf reads a JSON list of pairs.
func overridesOf(text string) (out []override, err error) {
	if text == "" {
		return nil, nil
	}
	var pairs [][]any
	if err := json.Unmarshal([]byte(text), &pairs); err != nil {
		return nil, fmt.Errorf("no list of pairs in JSON: %s", text)
	}
	for _, p := range pairs {
		if len(p) == 0 || len(p) > 2 {
			return nil, fmt.Errorf("no list of pairs in JSON: %s", text)
		}
		o := override{key: fmt.Sprint(p[0])}
		if len(p) == 2 {
			o.value = fmt.Sprint(p[1])
		}
		out = append(out, o)
	}
	return out, nil
}

// merged are overrides with later ones in place of those of the same key.
func merged(lists ...[]override) (out []override) {
	for _, list := range lists {
		for _, o := range list {
			if i := slices.IndexFunc(out, func(have override) bool { return have.key == o.key }); i >= 0 {
				out[i] = o
			} else {
				out = append(out, o)
			}
		}
	}
	return out
}

// recovery is one of a job type's, with its overrides.
type recovery struct {
	kind      string
	overrides []override
}

func recoveriesOf(text string) (out []recovery, err error) {
	if text == "" {
		return nil, nil
	}
	var list [][]json.RawMessage
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("no list of recoveries in JSON: %s", text)
	}
	for _, entry := range list {
		var r recovery
		if len(entry) == 0 || json.Unmarshal(entry[0], &r.kind) != nil {
			return nil, fmt.Errorf("no list of recoveries in JSON: %s", text)
		}
		if len(entry) > 1 {
			if r.overrides, err = overridesOf(string(entry[1])); err != nil {
				return nil, err
			}
		}
		out = append(out, r)
	}
	return out, nil
}

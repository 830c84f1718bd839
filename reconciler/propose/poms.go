package propose

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"cuelang.org/go/cue/format"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// POMS says what a dump of POMS does not.
type POMS struct {
	Requester string    // who wants the campaign
	Profile   string    // where its jobs run; empty: as the site says
	SAM       string    // address of SAM's web service; EXPERIMENT in it is replaced
	Now       time.Time // where windows begin that POMS would have begun at their first launch
}

// Imported is a campaign of POMS as CUE.
type Imported struct {
	Name  string // of the campaign here
	Text  []byte
	Notes []string // what a person must look at, as it also stands in the text
}

// FromPOMS makes a campaign of a dump as POMS writes it. Whatever of the dump is not in it, a comment in the text names, and why. It is
// a draft: nothing of it starts.
func FromPOMS(text []byte, o POMS) (Imported, error) {
	if strings.TrimSpace(o.Requester) == "" {
		return Imported{}, errors.New("a dump does not say who answers for the campaign: name the requester: give --requester")
	}
	d, err := readDump(text)
	if err != nil {
		return Imported{}, err
	}
	p := &pomsImport{POMS: o, dump: d, stageNames: map[string]string{}}
	return p.make()
}

// pomsImport is an import under way.
type pomsImport struct {
	POMS
	dump
	stageNames map[string]string // of POMS to ours
	params     map[string]string // of the campaign
	b          bytes.Buffer
	notes      []string
}

func (p *pomsImport) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// note says in the text what is not taken over, or otherwise than it was.
func (p *pomsImport) note(about, format string, args ...any) {
	said := inALine(fmt.Sprintf(format, args...))
	p.line("// POMS: %s", said)
	p.notes = append(p.notes, about+": "+said)
}

// inALine is text that ends no comment and no line.
func inALine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 }), " ")
}

var noName = regexp.MustCompile(`[^a-z0-9_-]+`)

// nameOf is a name as the schema has it.
func nameOf(text string) string {
	name := strings.Trim(noName.ReplaceAllString(strings.ToLower(text), "-"), "-_")
	if name == "" || name[0] < 'a' || name[0] > 'z' {
		name = strings.TrimRight("x-"+name, "-")
	}
	return strings.TrimRight(name[:min(len(name), 63)], "-_")
}

// unique is a name that is not among taken.
func unique(name string, taken func(string) bool) string {
	for n, base := 2, name; taken(name); n++ {
		suffix := fmt.Sprintf("-%d", n)
		name = base[:min(len(base), 63-len(suffix))] + suffix
	}
	return name
}

func (p *pomsImport) make() (Imported, error) {
	poms := cmp.Or(p.campaign.get("name"), p.campaign.get("tag"), "campaign")
	name := nameOf(poms)
	ours := map[string]bool{}
	for _, s := range p.stages {
		if p.stageNames[s.name] != "" {
			return Imported{}, fmt.Errorf("read dump: the stage %q is there twice", s.name)
		}
		own := unique(nameOf(s.name), func(n string) bool { return ours[n] })
		p.stageNames[s.name], ours[own] = own, true
	}
	p.line("// Made by pomona campaign import of the campaign %s of POMS. Lines that begin with POMS say what is otherwise here,", quote(inALine(poms)))
	p.line("// and what a person must look at.")
	p.line("campaigns: %s: {", label(name))
	p.head(poms)
	p.line("stages: {")
	for _, s := range p.stages {
		p.stage(s)
	}
	p.line("}")
	p.rest()
	p.line("}")
	text, err := format.Source(append([]byte("package site\n\n"), p.b.Bytes()...))
	if err != nil {
		return Imported{}, fmt.Errorf("format campaign %q: %w", name, err)
	}
	return Imported{Name: name, Text: text, Notes: p.notes}, nil
}

// head is what all stages have in common.
func (p *pomsImport) head(poms string) {
	experiment := p.campaign.get("experiment")
	p.line("reason: %s", quote(fmt.Sprintf("POMS campaign %s of %s", inALine(poms), cmp.Or(experiment, "an experiment"))))
	p.line("requester: %s", quote(p.Requester))
	role := map[string]string{"analysis": desired.Analysis, "production-shifter": desired.Shifter, "shifter": desired.Shifter}[strings.ToLower(p.campaign.get("poms_role"))]
	p.line("role: %s", quote(cmp.Or(role, desired.Production)))
	if was := p.campaign.get("state"); was != "" {
		p.note("campaign", "it was %s there; here nothing starts before somebody writes active", was)
	}
	p.line("state: %s", quote(desired.Draft))
	if p.campaign.get("campaign_type") == "test" {
		p.line(`phase: "test"`)
	}
	if p.Profile != "" {
		p.line("profile: %s", quote(p.Profile))
	}
	p.note("campaign", "its schedule is in POMS's crontab and not in the dump: write schedule: cron here if it had one")
	p.campaignParams(experiment)
	if labels := p.labels(); len(labels) > 0 {
		p.line("labels: {")
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			p.line("%s: %s", label(name), quote(labels[name]))
		}
		p.line("}")
	}
}

// campaignParams are POMS's keywords and what it replaces in texts by itself.
func (p *pomsImport) campaignParams(experiment string) {
	p.params = map[string]string{"experiment": experiment, "group": experiment, "experimenter": p.Requester, "version": p.defaults.get("software_version")}
	var keywords map[string]any
	if text := p.campaign.get("campaign_keywords"); text != "" {
		if err := json.Unmarshal([]byte(text), &keywords); err != nil {
			p.note("campaign", "campaign_keywords is no JSON object: %s", text)
		}
	}
	for name, value := range keywords {
		if text := fmt.Sprint(value); paramForm.MatchString(name) && !strings.Contains(text, "${") && inALine(text) == text {
			p.params[name] = text
		} else {
			p.note("campaign", "the keyword %q is not a parameter here: its name or its value cannot be", name)
		}
	}
	p.line("params: {")
	for _, name := range slices.Sorted(maps.Keys(p.params)) {
		if p.params[name] != "" {
			p.line("%s: %s", label(name), quote(p.params[name]))
		} else {
			delete(p.params, name)
		}
	}
	p.line("}")
}

var paramForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// labels are POMS's tags.
func (p *pomsImport) labels() map[string]string {
	labels := map[string]string{}
	for tag := range strings.SplitSeq(p.campaign.get("tags"), ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			labels[nameOf(tag)] = inALine(tag)
		}
	}
	return labels
}

// rest names what of the dump nobody has looked at.
func (p *pomsImport) rest() {
	p.campaign.get("campaign_stage_list") // the stages' own sections have it
	if p.drawn {
		p.note("campaign", "node_positions, where its editor has drawn stages, mean nothing here: pomona campaign NAME graph draws them")
	}
	if p.defaults.get("default_clear_cronjob") != "" {
		p.note("campaign", "default_clear_cronjob means nothing here: a schedule whose input is used up makes no slices")
	}
	about := func(section string, f fields) {
		for _, name := range f.left() {
			p.note(section, "%s of [%s] is not known: %s", name, section, f.values[name])
		}
	}
	about("campaign", p.campaign)
	about("campaign_defaults", p.defaults)
	for _, name := range slices.Sorted(maps.Keys(p.logins)) {
		about("login_setup "+name, p.logins[name])
	}
	for _, name := range slices.Sorted(maps.Keys(p.jobs)) {
		about("job_type "+name, p.jobs[name])
	}
	for _, section := range p.other {
		p.note("dump", "the section [%s] is not known", section)
	}
}

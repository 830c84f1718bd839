package propose

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

var splitForm = regexp.MustCompile(`^([a-z_]+)\s*(?:\((.*)\))?$`)

// inputAndSplit is what the stage works on, and what of that is one slice.
func (s *pomsStage) inputAndSplit() {
	dataset, said := s.pomsImport.dataset(s.dumpedStage), s.field(s.dumpedStage, "cs_split_type")
	kind, args := "none", ""
	if m := splitForm.FindStringSubmatch(strings.ToLower(said)); m != nil {
		kind, args = m[1], m[2]
	} else if said != "" {
		s.say("the split %q is not known; taken as none", said)
	}
	follows := s.follows()
	if strings.HasPrefix(dataset, "from_parent") {
		dataset = ""
	}
	live, split := s.split(kind, args, &dataset)
	if dataset != "" && follows {
		s.say("its own dataset %s counted only when it was launched by hand: here it works on what the stages before leave", dataset)
		dataset = ""
	}
	if dataset != "" {
		s.sam(dataset, live)
	}
	if split != "" {
		s.line("split: %s", split)
	}
	for _, name := range []string{"data_handling_service", "data_dispatcher_dataset_query", "data_dispatcher_project_id"} {
		if v := s.field(s.dumpedStage, name); v != "" && v != "sam" {
			s.say("%s %s: Data Dispatcher is asked by a catalogue's address (input: http) or a command (input: command) here", name, v)
		}
	}
}

// follows says whether it works on what another stage leaves.
func (s *pomsStage) follows() bool {
	for _, e := range s.edges {
		if e.stage == s.dumpedStage.name && e.from != e.stage && !s.closesCircle(e) {
			return true
		}
	}
	return false
}

// sam is a dataset of SAM: a definition, or dimensions if it has blanks.
func (s *pomsStage) sam(dataset string, live bool) {
	by := "definition"
	if strings.ContainsAny(dataset, " :") {
		by = "dimensions"
	}
	more := ""
	if live {
		more = ", live: true"
	}
	dataset, _ = s.replaced(dataset, false)
	s.line("input: {sam: {url: %s, %s: %s}%s}", quote(strings.ReplaceAll(s.SAM, "EXPERIMENT", s.campaign.get("experiment"))), by, quote(dataset), more)
}

// split is a split as CUE text, and whether its input grows. It may use the dataset up, or say what it is.
func (s *pomsStage) split(kind, args string, dataset *string) (live bool, text string) {
	n, isNumber := 0, false
	if v, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(args), "n=")); err == nil && v > 0 {
		n, isNumber = v, true
	}
	numbered := func(our string) string {
		if !isNumber {
			s.say("the split %s(%s) has no number; taken as none", kind, args)
			return ""
		}
		return fmt.Sprintf("{type: %s, n: %d}", quote(our), n)
	}
	switch kind {
	case "none":
		return false, ""
	case "draining":
		s.line("// POMS: the dataset itself had to leave out what was done; here no input is in two slices.")
		return true, fmt.Sprintf("{type: %s, n: 1000000}", quote(desired.DrainSplit))
	case "drainingn":
		return true, numbered(desired.DrainSplit)
	case "nfiles":
		return false, numbered(desired.FilesSplit)
	case "limitn":
		return false, numbered(desired.SampleSplit)
	case "mod":
		return false, numbered(desired.ModuloSplit)
	case "stagedfiles":
		*dataset = fmt.Sprintf("project_name %s and consumed_status consumed", *dataset)
		return true, numbered(desired.DrainSplit)
	case "byexistingruns":
		return true, fmt.Sprintf("{type: %s}", quote(desired.ExistingRunsSplit))
	case "byrun":
		return false, s.byRun(args)
	case "new", "new_local":
		return true, s.window(kind, args)
	case "list", "multiparam":
		return false, s.matrix(kind, dataset)
	}
	s.say("the split %s is not known; taken as none", kind)
	return false, ""
}

// settings are NAME=VALUE with commas between.
func settings(args string) map[string]string {
	out := map[string]string{}
	for part := range strings.SplitSeq(args, ",") {
		if name, value, ok := strings.Cut(strings.TrimSpace(part), "="); ok {
			out[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return out
}

func (s *pomsStage) byRun(args string) string {
	low, high := 1, 999999
	for name, value := range settings(args) {
		n, err := strconv.Atoi(value)
		switch {
		case err != nil || n < 0:
			s.say("%s of byrun is no number: %s", name, value)
		case name == "low":
			low = n
		case name == "high":
			high = n
		}
	}
	if high <= low {
		s.say("byrun(%s) makes no slice: POMS stopped before high", args)
		high = low + 1
	}
	s.line("// POMS: it stopped before its high, %d; here high is included.", high)
	return fmt.Sprintf("{type: %s, low: %d, high: %d}", quote(desired.RunsSplit), low, high-1)
}

// window is a span of time after the other. POMS has week, day, hour, minute and second as suffixes, and seconds without.
func (s *pomsStage) window(kind, args string) string {
	width, lag, from, until := 7*24*time.Hour, 30*time.Minute, time.Time{}, time.Time{}
	for name, value := range settings(args) {
		d, err := pomsDuration(value)
		if err != nil {
			s.say("%s=%s of %s is no time", name, value, kind)
			continue
		}
		switch name {
		case "window":
			width = d
		case "fts":
			lag = d
		case "firsttime":
			from = time.Unix(int64(d/time.Second), 0).UTC()
		case "lasttime":
			until = time.Unix(int64(d/time.Second), 0).UTC()
		case "round":
			if d > time.Second {
				s.say("round=%s is not taken over: windows count from their first", value)
			}
		case "localtime":
			kind = "new_local"
		}
	}
	if kind == "new_local" {
		s.say("its windows were in local time; here they are in UTC: see whether from is right")
	}
	if from.IsZero() {
		from = s.Now.UTC().Truncate(time.Hour).Add(-lag - width).Truncate(time.Hour)
		s.say("its first window began when it was first launched; here from says when: see whether it is right")
	}
	text := fmt.Sprintf("{type: %s, width: %s, lag: %s, from: %s", quote(desired.WindowSplit), quote(durationText(width)), quote(durationText(lag)), quote(from.Format(time.RFC3339)))
	if !until.IsZero() {
		text += fmt.Sprintf(", until: %s", quote(until.Format(time.RFC3339)))
	}
	return text + "}"
}

// pomsDuration reads a number with a suffix of w, d, h, m or s, or none.
func pomsDuration(text string) (time.Duration, error) {
	units := map[byte]time.Duration{'w': 7 * 24 * time.Hour, 'd': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	unit := time.Second
	if n := len(text); n > 0 && units[text[n-1]] > 0 {
		unit, text = units[text[n-1]], text[:n-1]
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f > 1e10 {
		return 0, fmt.Errorf("malformed number %q", text)
	}
	return time.Duration(f * float64(unit.Seconds()) * 1e9).Round(time.Second), nil
}

// durationText is a duration as the schema has it, in the largest unit that fits.
func durationText(d time.Duration) string {
	for _, u := range []struct {
		unit   time.Duration
		suffix string
	}{{7 * 24 * time.Hour, "w"}, {24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= u.unit && d%u.unit == 0 {
			return fmt.Sprintf("%d%s", d/u.unit, u.suffix)
		}
	}
	return fmt.Sprintf("%ds", max(1, d/time.Second))
}

// matrix is a list of items, or all combinations of several lists, as parameters: the dataset field held the values.
func (s *pomsStage) matrix(kind string, dataset *string) string {
	var lists [][]any
	text := *dataset
	*dataset = ""
	if kind == "list" {
		var items []any
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		lists = [][]any{items}
	} else if err := json.Unmarshal([]byte(text), &lists); err != nil {
		s.say("the values of multiparam are no list of lists in JSON: %s", text)
		return ""
	}
	var params, words []string
	for i, list := range lists {
		var items []string
		for _, v := range list {
			items = append(items, quote(fmt.Sprint(v)))
		}
		if len(items) == 0 {
			s.say("the split %s has no values; taken as none", kind)
			return ""
		}
		name := fmt.Sprintf("dataset%d", i+1)
		if len(lists) == 1 {
			name = "dataset"
		}
		params, words = append(params, fmt.Sprintf("%s: [%s]", name, strings.Join(items, ", "))), append(words, "${params."+name+"}")
	}
	if len(params) == 0 {
		s.say("the split %s has no values; taken as none", kind)
		return ""
	}
	s.dataset = strings.Join(words, "_")
	return fmt.Sprintf("{type: %s, params: {%s}}", quote(desired.MatrixSplit), strings.Join(params, ", "))
}

package desired

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Terms is the digest, sha256:HEX, of everything that a pilot says of itself but its packages, updates and records: who may do what, what decides
// whether it gets further, when it ends. It is that of JSON with the fields of each object in their order, without spaces and without fields that
// are empty.
func (p Pilot) Terms() string { return digestOf(p.terms()) }

// TermLines are these terms for people, a line PATH: VALUE for each field.
func (p Pilot) TermLines() []string { return flat(nil, "", p.terms()) }

func (p Pilot) terms() map[string]any {
	p.Branches, p.Updates, p.Records = nil, nil, nil // most of what it has, and not to be written for nothing
	return without(p, "branches", "updates", "records")
}

// Terms is the digest of everything that an update says of itself but its packages, likewise.
func (u PilotUpdate) Terms() string {
	u.Packages = nil
	return digestOf(without(u, "packages"))
}

// Names says whether an agreement names those whom the terms of a pilot name, and its last day.
func (r PilotRecord) Names(p Pilot) bool {
	coordinator := ""
	if p.Roles != nil {
		coordinator = p.Roles.Coordinator
	}
	return r.Owner == p.Owner && r.Coordinator == coordinator && r.Expires == p.Expires
}

// Digest is that of everything that a record says, likewise.
func (r PilotRecord) Digest() string { return digestOf(without(r)) }

// Agreement is a record by which somebody agrees to the terms of a pilot.
func (p Pilot) Agreement(by, at string) PilotRecord {
	r := PilotRecord{Kind: RecordAgreement, By: by, At: at, Terms: p.Terms(), Owner: p.Owner, Expires: p.Expires}
	if p.Roles != nil {
		r.Coordinator = p.Roles.Coordinator
	}
	return r
}

// without is a value as JSON has it, without some fields.
func without(v any, fields ...string) map[string]any {
	b, _ := json.Marshal(v) // what the schema accepts has no value that JSON lacks
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var out map[string]any
	_ = d.Decode(&out) // what has been marshalled is well formed
	for field, value := range out {
		if value == nil || slices.Contains(fields, field) {
			delete(out, field)
		}
	}
	return out
}

func digestOf(v map[string]any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // maps are sorted
	h := sha256.New()
	h.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return subjectOf(h)
}

// flat adds a line for each value below a path; lists of words are one.
func flat(lines []string, path string, v any) []string {
	switch v := v.(type) {
	case map[string]any:
		for _, field := range sortedKeys(v) {
			lines = flat(lines, strings.TrimPrefix(path+"."+field, "."), v[field])
		}
		return lines
	case []any:
		var words []string
		for i, each := range v {
			word, ok := each.(string)
			if !ok {
				lines = flat(lines, fmt.Sprintf("%s[%d]", path, i), each)
			}
			words = append(words, word)
		}
		if all := strings.Join(words, ", "); all != "" && !slices.Contains(words, "") {
			return append(lines, path+": "+all)
		}
		return lines
	}
	return append(lines, fmt.Sprintf("%s: %v", path, v))
}

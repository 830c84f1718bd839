package propose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/literal"
)

// Value is a value of package desired as CUE text: its fields in their order, without those that say nothing.
func Value(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("write value: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var w valueText
	if err := w.value(d, 0); err != nil {
		return "", fmt.Errorf("write value: %w", err)
	}
	return w.String(), nil
}

// Written is a file of package site that states values by their paths, in the order of stated.
func Written(path, comment string, stated ...Statement) (File, error) {
	var b strings.Builder
	for line := range strings.Lines(comment) {
		fmt.Fprintf(&b, "// %s\n", strings.TrimRight(line, "\n"))
	}
	b.WriteString("package site\n")
	for _, s := range stated {
		text, err := Value(s.Value)
		if err != nil {
			return File{}, err
		}
		fmt.Fprintf(&b, "\n%s\n", declaration(s.Path, text))
	}
	text, err := format.Source([]byte(b.String()))
	if err != nil {
		return File{}, fmt.Errorf("format %q: %w", path, err)
	}
	return File{Path: path, Content: text}, nil
}

// Statement is a value at its path.
type Statement struct {
	Path  []string
	Value any
}

// valueText is CUE text that is made of JSON.
type valueText struct{ strings.Builder }

func (w *valueText) value(d *json.Decoder, tabs int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case json.Delim:
		return w.many(d, t, tabs)
	case string:
		w.WriteString(textOf(t, tabs))
	case nil:
		w.WriteString("null")
	default:
		fmt.Fprint(w, t)
	}
	return nil
}

// many writes a struct or a list, a line for each of what it has.
func (w *valueText) many(d *json.Decoder, open json.Delim, tabs int) error {
	w.WriteString(open.String())
	more := false
	for ; d.More(); more = true {
		w.WriteString("\n" + strings.Repeat("\t", tabs+1))
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s: ", label(name.(string))) // JSON has no other names
		}
		if err := w.value(d, tabs+1); err != nil {
			return err
		}
		if open == '[' {
			w.WriteString(",")
		}
	}
	end, err := d.Token()
	if err != nil {
		return err
	}
	if more {
		w.WriteString("\n" + strings.Repeat("\t", tabs))
	}
	w.WriteString(end.(json.Delim).String())
	return nil
}

// textOf is a text as CUE writes it; one of several lines stays readable.
func textOf(s string, tabs int) string {
	if strings.Contains(s, "\r") {
		return quote(s) // a file with other line ends would change it
	}
	return literal.String.WithOptionalTabIndent(tabs + 1).Quote(s)
}

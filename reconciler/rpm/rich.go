package rpm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// maxDepth bounds how deep rich dependencies nest.
const maxDepth = 32

// rich is a rich dependency: a plain one, or an operator between others.
type rich struct {
	plain    Dependency
	operator string // and, or, with, without, if, unless; empty: plain
	parts    []rich // of if and unless: what, condition, otherwise
}

// parseRich reads "(a >= 1 and (b or c))".
func parseRich(s string) (rich, error) {
	p := &richParser{words: richWords(s)}
	r, err := p.group(0)
	if err == nil && len(p.words) > 0 {
		err = errors.New("something follows its last parenthesis")
	}
	if err != nil {
		return rich{}, fmt.Errorf("malformed rich dependency %.80q: %w", s, err)
	}
	return r, nil
}

// richWords cuts at spaces and at parentheses that do not belong to a name as those of "perl(x)" do.
func richWords(s string) (words []string) {
	start, depth := -1, 0 // of the word, of parentheses in it
	end := func(i int) {
		if start >= 0 {
			words, start, depth = append(words, s[start:i]), -1, 0
		}
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			end(i)
		case c == '(' && start >= 0:
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '(' || c == ')':
			end(i)
			words = append(words, s[i:i+1])
		case start < 0:
			start = i
		}
	}
	end(len(s))
	return words
}

type richParser struct {
	words []string
}

func (p *richParser) next() string {
	if len(p.words) == 0 {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *richParser) group(depth int) (rich, error) {
	if depth > maxDepth {
		return rich{}, fmt.Errorf("it nests deeper than %d", maxDepth)
	}
	if p.next() != "(" {
		return rich{}, errors.New("want a parenthesis")
	}
	head, err := p.operand(depth)
	if err != nil {
		return rich{}, err
	}
	r := rich{parts: []rich{head}}
	for {
		word := p.next()
		switch {
		case word == ")" && r.operator == "":
			return head, nil
		case word == ")":
			return r, nil
		case r.operator == "" && slices.Contains([]string{"and", "or", "with", "without", "if", "unless"}, word):
			r.operator = word
		case word == r.operator && (word == "and" || word == "or" || word == "with"):
		case word == "else" && (r.operator == "if" || r.operator == "unless") && len(r.parts) == 2:
		default:
			return rich{}, fmt.Errorf("unexpected %.40q", word)
		}
		part, err := p.operand(depth)
		if err != nil {
			return rich{}, err
		}
		r.parts = append(r.parts, part)
	}
}

// operand is a group, or a name with or without a version.
func (p *richParser) operand(depth int) (rich, error) {
	if len(p.words) > 0 && p.words[0] == "(" {
		return p.group(depth + 1)
	}
	name := p.next()
	if name == "" || name == ")" {
		return rich{}, errors.New("want a name")
	}
	d := Dependency{Name: name}
	if len(p.words) > 1 {
		d.Flags = map[string]Flags{"<": "LT", ">": "GT", "=": "EQ", "<=": "LE", ">=": "GE"}[p.words[0]]
	}
	if d.Flags != "" {
		p.next()
		var err error
		if d.EVR, err = ParseEVR(p.next()); err != nil {
			return rich{}, err
		}
	}
	return rich{plain: d}, nil
}

// rich says whether somebody fulfils a rich dependency. Whatever somebody provides may be installed: "(a if b)" lacks an a if there is a b.
func (o offer) rich(r rich) bool {
	part := func(i int) bool { return o.rich(r.parts[i]) }
	switch r.operator {
	case "":
		return len(o.providers(r.plain)) > 0
	case "and":
		return !slices.ContainsFunc(r.parts, func(p rich) bool { return !o.rich(p) })
	case "or":
		return slices.ContainsFunc(r.parts, o.rich)
	case "with", "without":
		return len(o.both(r)) > 0
	case "if":
		if part(1) {
			return part(0)
		}
		return len(r.parts) == 2 || part(2)
	case "unless":
		return part(0) || part(1) && (len(r.parts) == 2 || part(2))
	}
	return false
}

// both are the packages that fulfil "with" and "without", which speak of one package, and what these are made of.
func (o offer) both(r rich) map[*Package]bool {
	all := map[*Package]bool{}
	switch r.operator {
	case "":
		for _, p := range o.providers(r.plain) {
			all[p] = true
		}
	case "or":
		for _, p := range r.parts {
			maps.Copy(all, o.both(p))
		}
	case "with", "without":
		all = o.both(r.parts[0])
		for _, p := range r.parts[1:] {
			other := o.both(p)
			maps.DeleteFunc(all, func(q *Package, _ bool) bool { return other[q] == (r.operator == "without") })
		}
	}
	return all
}

package load

import (
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/memo"
)

// saved is a fragment as the shelf keeps it.
type saved struct {
	Failed   bool
	Problems desired.Problems
	Objects  []savedObject
}

// savedObject is one object, encoded by its section's type; nil without a value or a draft.
type savedObject struct {
	Section, Name string
	Value, Draft  []byte
}

func encodeFragment(f *fragment) ([]byte, error) {
	s := saved{Failed: f.failed, Problems: f.problems}
	for name, v := range f.values {
		o := savedObject{Section: name.section, Name: name.name}
		var err error
		if o.Value, err = encodeObject(v); err != nil {
			return nil, fmt.Errorf("encode %s: %w", objectPath(name), err)
		}
		if o.Draft, err = encodeObject(f.drafts[name]); err != nil {
			return nil, fmt.Errorf("encode %s: %w", objectPath(name), err)
		}
		s.Objects = append(s.Objects, o)
	}
	return memo.Encode(s)
}

func encodeObject(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return memo.Encode(v)
}

// decodeFragment is nil for what encodeFragment did not make.
func decodeFragment(b []byte) *fragment {
	var s saved
	if memo.Decode(b, &s) != nil {
		return nil
	}
	f := &fragment{failed: s.Failed, problems: s.Problems, values: map[object]any{}, drafts: map[object]any{}}
	for _, o := range s.Objects {
		name := object{o.Section, o.Name}
		v, err := decodeObject(o.Section, o.Value)
		if err != nil {
			return nil
		}
		f.values[name] = v
		draft, err := decodeObject(o.Section, o.Draft)
		if err != nil {
			return nil
		}
		if draft != nil {
			f.drafts[name] = draft
		}
	}
	return f.index()
}

func decodeObject(section string, b []byte) (any, error) {
	if b == nil {
		return nil, nil
	}
	return fromSection(section, recalled(b))
}

// recalled reads an object that memo.Encode wrote.
type recalled []byte

func (r recalled) into(v any) error { return memo.Decode(r, v) }

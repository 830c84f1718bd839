package desired

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Params are parameters by name.
type Params map[string]ParamValue

// ParamValue is a string, a number or a boolean, as JSON has it: so no digit of a number is lost.
type ParamValue string

// Param is the value of a string, a number or a boolean.
func Param(v any) ParamValue {
	b, err := json.Marshal(v)
	if err != nil {
		return ParamValue(`""`)
	}
	return ParamValue(b)
}

// String is a value as jobs get it.
func (p ParamValue) String() string {
	if s := ""; strings.HasPrefix(string(p), `"`) && json.Unmarshal([]byte(p), &s) == nil {
		return s
	}
	return string(p)
}

// MarshalJSON is the value itself.
func (p ParamValue) MarshalJSON() ([]byte, error) {
	if !json.Valid([]byte(p)) {
		return nil, fmt.Errorf("malformed value %q of a parameter", string(p))
	}
	return []byte(p), nil
}

// UnmarshalJSON keeps the value.
func (p *ParamValue) UnmarshalJSON(b []byte) error {
	*p = ParamValue(b)
	return nil
}

package load

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/eval"
)

// Service reads the configuration of a service, whose file is called name. What a person must change in it comes back as
// desired.Problems.
func Service(name string, src []byte) (desired.Service, error) {
	var s desired.Service
	c, problems := eval.EvaluateConfig(name, src, "#Service")
	if len(problems) > 0 {
		return s, problems
	}
	d := json.NewDecoder(bytes.NewReader(c.JSON))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("read values of %s: %w", name, err)
	}
	if problems := s.Check(); len(problems) > 0 {
		return s, c.Place(problems)
	}
	return s, nil
}

package propose

import (
	"encoding/json"
	"fmt"

	"cuelang.org/go/cue/format"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// PrerequisiteRecord is a file of its own with one record of a prerequisite: whoever else adds one meanwhile edits another file.
func PrerequisiteRecord(path, prerequisite, record string, r desired.PrerequisiteRecord) (File, error) {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return File{}, fmt.Errorf("write record %s: %w", record, err)
	}
	text := "// Evidence: records are added, never changed.\npackage site\n\n" + declaration([]string{"prerequisites", prerequisite, "records", record}, string(b)) + "\n"
	out, err := format.Source([]byte(text), format.Simplify())
	if err != nil {
		return File{}, fmt.Errorf("format record %s: %w", record, err)
	}
	return File{path, out}, nil
}

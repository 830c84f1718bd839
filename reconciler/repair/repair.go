// Package repair puts right what somebody did to a root by hand: modes, and things that do not belong there. What is missing
// afterwards is built and rendered again.
package repair

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Names sets modes and removes what the plan names. Everything leaves its place in one step, into staging. Stuck is what the
// system does not let go, such as a folder of another user.
func Names(dir *durable.Dir, r plan.Repair) (stuck []string, err error) {
	for _, name := range r.Paths() {
		if err := dir.Chmod(name, r.Modes[name]); err != nil {
			return stuck, fmt.Errorf("repair mode: %w", err)
		}
	}
	for _, name := range r.Remove {
		temp := dir.Temp("damaged")
		if err := dir.Rename(name, temp); errors.Is(err, fs.ErrPermission) {
			stuck = append(stuck, name)
			continue
		} else if err != nil {
			return stuck, fmt.Errorf("take away %s: %w", name, err)
		}
		if err := dir.Sync(path.Dir(name)); err != nil {
			return stuck, fmt.Errorf("take away %s: %w", name, err)
		}
		if err := dir.Remove(temp); err != nil {
			return stuck, fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return stuck, nil
}

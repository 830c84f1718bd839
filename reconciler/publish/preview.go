package publish

import (
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Preview gives a staged tree the place of a pull request's preview, in one step. An earlier one then lies where the new one
// was staged.
func Preview(dir *durable.Dir, staged string, number int) error {
	at := tree.PreviewPath(number)
	err := dir.MkdirAll(tree.PreviewsFolder)
	if err == nil && dir.Exists(at) {
		err = dir.Exchange(staged, at)
	} else if err == nil {
		err = dir.Rename(staged, at)
	}
	if err == nil {
		err = dir.Sync(tree.PreviewsFolder)
	}
	if err != nil {
		return fmt.Errorf("publish preview %d: %w", number, err)
	}
	return nil
}

package fetch

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

// How long things stay in the cache without being used, and in its staging without being finished.
const (
	unused     = 30 * 24 * time.Hour
	unfinished = 24 * time.Hour
)

// used notes that something in the cache is needed still. A failure only lets it go earlier.
func used(path string) {
	now := time.Now()
	_ = os.Chtimes(path, now, now)
}

// sweep removes from the cache what nobody has used for long, and what processes that died have left. Others may use the
// cache at the same time.
func (f *Fetcher) sweep() error {
	objects, err := f.cache.List()
	if err != nil {
		return fmt.Errorf("sweep cache: %w", err)
	}
	var errs []error
	for _, d := range objects {
		if f.older(store.Path(d), unused) {
			errs = append(errs, f.cache.Delete(d))
		}
	}
	for dir, age := range map[string]time.Duration{commits: unused, durable.Staging: unfinished} {
		names, err := f.dir.Names(dir)
		errs = append(errs, err)
		for _, name := range names {
			if name = dir + "/" + name; f.older(name, age) {
				errs = append(errs, f.dir.Remove(name))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sweep cache: %w", err)
	}
	return nil
}

func (f *Fetcher) older(name string, age time.Duration) bool {
	info, err := f.dir.Root().Lstat(name)
	return err == nil && time.Since(info.ModTime()) > age
}

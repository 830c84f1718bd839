package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long after an event the repository is left alone: git changes several files for one commit. Where there is
// always something going on, patience ends it.
const (
	settle   = 20 * time.Millisecond
	patience = 10 * settle
)

// Watch sends when a branch may have moved. It is a hint: events can be lost, and some file systems have none, so whoever
// uses it looks for himself now and then too. It ends with the context. Errors say that there will be no hints at all.
func (r *Repo) Watch(ctx context.Context, branch string) (<-chan struct{}, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch repository: %w", err)
	}
	if err := r.look(w, branch); err != nil {
		return nil, errors.Join(fmt.Errorf("watch repository: %w", err), w.Close())
	}
	hints := make(chan struct{}, 1)
	go func() {
		defer w.Close() // nothing was written
		for {
			select {
			case <-ctx.Done():
				return
			case _, open := <-w.Events:
				if !open {
					return
				}
			case <-w.Errors: // the queue was full: something has changed
			}
			drain(w)
			_ = r.look(w, branch) // a folder may have come or been replaced; polling finds what this misses
			select {
			case hints <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	return hints, nil
}

// drain takes what comes with an event.
func drain(w *fsnotify.Watcher) {
	end := time.After(patience)
	for {
		select {
		case <-end:
			return
		case _, open := <-w.Events:
			if !open {
				return
			}
		case <-w.Errors:
		case <-time.After(settle):
			return
		}
	}
}

// look watches every folder in which something changes when the branch moves: those of its loose ref, down to where they
// exist, of packed-refs and HEAD, and those that the repository itself and its work tree lie in. Watching one again does
// nothing, unless another folder has taken its place.
func (r *Repo) look(w *fsnotify.Watcher, branch string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	folders := []string{r.head, filepath.Dir(r.dir)}
	if filepath.Base(r.dir) == ".git" {
		folders = append(folders, filepath.Dir(filepath.Dir(r.dir)))
	}
	for _, ref := range r.refsOf(branch) {
		at := r.dir
		for part := range strings.SplitSeq(ref, "/") {
			folders = append(folders, at)
			at = filepath.Join(at, part)
		}
	}
	var first error
	for _, folder := range folders {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			continue
		}
		if err := w.Add(folder); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// refsOf are the references that a revision may mean, as Resolve has them: HEAD's is what it points to now.
func (r *Repo) refsOf(rev string) []string {
	if rev == "HEAD" {
		if b, err := os.ReadFile(filepath.Join(r.head, "HEAD")); err == nil {
			rev = strings.TrimPrefix(strings.TrimSpace(string(b)), "ref: ")
		}
	}
	if i := strings.IndexAny(rev, "~^"); i >= 0 {
		rev = rev[:i]
	}
	if strings.HasPrefix(rev, "refs/") {
		return []string{rev}
	}
	return []string{"refs/heads/" + rev, "refs/tags/" + rev, "refs/remotes/" + rev + "/HEAD"}
}

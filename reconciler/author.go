package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// Change is a branch that a person is asked to merge.
type Change struct {
	Branch, Base string // names of branches
	Commit       string
	Title, Body  string
}

// Author writes into a site what a command was told. The commit goes to a branch of the repository that Site names.
type Author struct {
	Site   string      // folder on this machine, or address
	Branch string      // empty: the one that is checked out, or that HEAD names there
	Remote repo.Remote // how an address is reached; its URL is Site
	// OpenChange asks for a merge, and gives the address of what it has opened; nil commits to the branch itself.
	OpenChange func(context.Context, Change) (string, error)
	Sign       repo.Sign // nil: commits are not signed
	// Put brings a file to the blob store.
	Put      func(context.Context, remote.Blob) error
	Loader   *load.Loader
	Verdicts *build.Verdicts
	Log      *slog.Logger
	Now      func() time.Time
}

// How often an author starts again when the branch moves, or the blob store is unavailable.
const (
	maxMoves   = 8
	maxUploads = 5
)

// whileMoving does something again as long as the branch has moved meanwhile.
func whileMoving[T any](a *Author, once func() (T, error)) (T, error) {
	for try := 1; ; try++ {
		done, err := once()
		if !errors.Is(err, repo.ErrMoved) || try == maxMoves {
			return done, err
		}
		a.Log.Info("the branch has moved: trying again", "try", try)
	}
}

// target is the branch that is changed, at its newest commit.
type target struct {
	repo   *repo.Repo
	commit repo.Commit
	files  *repo.Files
	branch string
	temp   string // folder to be removed
}

func (a *Author) target(ctx context.Context) (*target, error) {
	t := &target{branch: a.Branch}
	var err error
	if repo.IsAddress(a.Site) {
		if t.temp, err = os.MkdirTemp("", "pomona-site-"); err != nil {
			return nil, err
		}
		t.repo, t.commit, t.branch, err = repo.Tip(ctx, t.temp, a.Remote, a.Branch)
	} else {
		err = t.open(a.Site)
	}
	if err == nil {
		t.files, err = t.repo.Files(ctx, t.commit)
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("read site %q: %w", a.Site, err)
	}
	return t, nil
}

func (t *target) open(dir string) (err error) {
	if t.repo, err = repo.Open(dir); err != nil {
		return err
	}
	if t.branch == "" {
		if t.branch, err = t.repo.Branch(); err != nil {
			return fmt.Errorf("%w: name a branch with --branch", err)
		}
	}
	t.commit, err = t.repo.Resolve("refs/heads/" + t.branch)
	return err
}

func (t *target) close() {
	if t.temp != "" {
		_ = os.RemoveAll(t.temp) // what is left is in the folder for temporary files
	}
}

// committed is where a commit went.
type committed struct {
	Commit string // empty: the branch had been pushed before
	Branch string
	Change string // address of a pull request
}

// commit makes the commit and shows it to whom it concerns. A pull request's branch is called name and what it holds.
func (a *Author) commit(ctx context.Context, t *target, content map[string][]byte, title, body, name string) (committed, error) {
	done := committed{Branch: t.branch}
	draft, err := t.repo.Draft(t.commit, content, title+"\n\n"+body, a.Now(), a.Sign)
	if err != nil {
		return done, err
	}
	done.Commit = draft.Commit.ID
	switch {
	case a.OpenChange != nil:
		done.Branch = fmt.Sprintf("%s-%.12s", name, draft.Commit.Tree)
		return a.propose(ctx, t, draft, title, body, done)
	case t.temp == "":
		return done, t.repo.Advance(t.branch, draft)
	}
	return done, t.repo.Push(ctx, a.Remote, t.branch, draft, false)
}

// propose pushes a branch of its own and asks for its merge. The branch is named by what it holds: one that is there already
// was pushed by a try that got no further.
func (a *Author) propose(ctx context.Context, t *target, d repo.Draft, title, body string, done committed) (committed, error) {
	err := t.repo.Push(ctx, a.Remote, done.Branch, d, true)
	switch {
	case errors.Is(err, repo.ErrMoved):
		done.Commit = "" // what lies there is of another minute
	case err != nil:
		return done, err
	}
	done.Change, err = a.OpenChange(ctx, Change{Branch: done.Branch, Base: t.branch, Commit: done.Commit, Title: title, Body: body})
	if err != nil {
		return done, fmt.Errorf("open pull request for branch %q: %w", done.Branch, err)
	}
	return done, nil
}

// upload brings files to the blob store before a commit names them. A store that is unavailable is asked again.
func (a *Author) upload(ctx context.Context, blobs ...remote.Blob) error {
	for _, b := range blobs {
		_, err := backoff.Retry(ctx, func() (struct{}, error) {
			err := a.Put(ctx, b)
			var unavailable *remote.Unavailable
			if err != nil && !errors.As(err, &unavailable) {
				err = backoff.Permanent(err)
			}
			if err != nil {
				a.Log.Warn("upload failed", "digest", b.Digest.String(), "because", err)
			}
			return struct{}{}, err
		}, backoff.WithMaxTries(maxUploads))
		if err != nil {
			return fmt.Errorf("upload %s: %w", b.Digest, err)
		}
	}
	return nil
}

// PutInto brings files to the blob store of a root on this machine.
func PutInto(root string) func(context.Context, remote.Blob) error {
	return func(ctx context.Context, b remote.Blob) error {
		blobs, err := OpenBlobs(root)
		if err != nil {
			return err
		}
		defer blobs.Close() // every write reports its own error
		if blobs.Has(b.Digest) {
			return nil
		}
		_, _, err = blobs.Put(ctx, func(w io.Writer) error {
			from, err := b.Open()
			if err != nil {
				return err
			}
			_, err = io.Copy(w, from)
			return errors.Join(err, from.Close())
		})
		return err
	}
}

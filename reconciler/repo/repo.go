// Package repo reads git repositories: commits and their files, from objects, never through a checkout. It is the one
// room that knows go-git.
package repo

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"golang.org/x/sys/unix"
)

// largeObject is the size, in bytes, from which a blob is streamed from its pack instead of held in memory.
const largeObject = 1 << 20

// Repo is a git repository on this machine, with or without a work tree.
type Repo struct {
	dir  string // the .git folder, or the bare repository
	head string // folder whose HEAD counts: of a linked work tree its own, else dir
	at   string // where it is looked for, as long as it was never there; else empty
	seen stamp  // what the handle was opened on
	mu   sync.Mutex

	git     *git.Repository // not safe for concurrent use; guarded by mu
	storage *filesystem.Storage
	past    remembered // guarded by mu

	doubted atomic.Bool // something could not be read: of a mirror, another may hold it whole
}

// Commit is one commit.
type Commit struct {
	ID      string // 40 hex digits
	Tree    string // 40 hex digits
	Author  string // name and address, as the commit says; proves nothing
	Time    time.Time
	Subject string
}

// Open opens the repository at or above dir: a work tree, a linked work tree or a bare repository.
func Open(dir string) (*Repo, error) {
	if u, err := url.Parse(dir); err == nil && u.Scheme != "" && u.Host != "" {
		return nil, fmt.Errorf("open repository %q: it is not on this machine; clone it and name its folder", u.Redacted())
	}
	r, err := find(dir)
	if err != nil {
		return nil, fmt.Errorf("open repository %q: %w", dir, err)
	}
	return r, r.refresh()
}

// Await is the repository at or above dir, which need not be there yet: until it is, reading it fails.
func Await(dir string) (*Repo, error) {
	if r, err := Open(dir); err == nil {
		return r, nil
	}
	dir, err := filepath.Abs(dir)
	return &Repo{dir: dir, head: dir, at: dir}, err
}

// come finds a repository that was not there before.
func (r *Repo) come() error {
	if r.at == "" {
		return nil
	}
	found, err := find(r.at)
	if err != nil {
		return fmt.Errorf("open repository %q: %w", r.at, err)
	}
	r.dir, r.head, r.at = found.dir, found.head, ""
	return nil
}

// refresh opens the repository anew when it is another one than before, or holds other packs: go-git lists packs once.
func (r *Repo) refresh() error {
	if err := r.come(); err != nil {
		return err
	}
	now := r.stamp()
	if now == r.seen {
		return nil
	}
	if b, _ := os.ReadFile(filepath.Join(r.dir, "objects/info/alternates")); len(b) > 0 {
		return fmt.Errorf("open repository %q: it borrows objects from another: have git repack -ad bring them, and remove objects/info/alternates", r.dir)
	}
	opened, storage, err := r.handle()
	if err != nil {
		return fmt.Errorf("open repository %q: %w", r.dir, err)
	}
	if now.files != r.seen.files {
		r.past = remembered{}
	}
	if r.storage != nil {
		_ = r.storage.Close() // only read
	}
	r.git, r.storage, r.seen = opened, storage, now
	return nil
}

// replaceBy makes this repository another one, which must not be used any more. What is open already can be read to its end.
func (r *Repo) replaceBy(other *Repo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.storage != nil {
		_ = r.storage.Close() // only read
	}
	r.dir, r.head, r.seen, r.git, r.storage, r.past = other.dir, other.head, other.seen, other.git, other.storage, other.past
}

// forget lets everything be read anew, nothing from what is open or remembered.
func (r *Repo) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.past = stamp{}, remembered{}
}

// close closes the packs.
func (r *Repo) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.storage == nil {
		return nil
	}
	r.seen = stamp{} // whoever uses it again opens it again
	return r.storage.Close()
}

// suspect notes an error of reading objects.
func (r *Repo) suspect(err error) {
	if err != nil && !isUnfit(err) {
		r.doubted.Store(true)
	}
}

// ready opens a repository that could not be opened before: a damaged mirror.
func (r *Repo) ready() error {
	if r.git != nil {
		return nil
	}
	return r.refresh()
}

// stamp changes when the repository's folder, its packs or what it borrows from others are replaced; its files only when
// one of them is another file or folder than before.
type stamp struct{ files, times string }

func (r *Repo) stamp() stamp {
	var files, times strings.Builder
	for _, name := range []string{".", "objects/pack", "objects/info/alternates", "config"} {
		var s unix.Stat_t
		if err := unix.Stat(filepath.Join(r.dir, name), &s); err == nil {
			fmt.Fprintf(&files, "%d %d ", s.Dev, s.Ino)
			if name != "." { // lock files come and go there
				fmt.Fprintf(&times, "%d.%d ", s.Mtim.Sec, s.Mtim.Nsec)
			}
		}
	}
	return stamp{files.String(), times.String()}
}

// handle is go-git's view of the repository, for one goroutine. It keeps packs open, whose opening costs more than reading
// a small object; whoever holds it closes it.
func (r *Repo) handle() (*git.Repository, *filesystem.Storage, error) {
	files := osfs.New(r.dir, osfs.WithBoundOS())
	s := filesystem.NewStorageWithOptions(files, cache.NewObjectLRU(8<<20), filesystem.Options{KeepDescriptors: true, LargeObjectThreshold: largeObject})
	opened, err := git.Open(s, nil)
	return opened, s, err
}

// find is the git folder of dir or of the nearest folder above it.
func find(dir string) (*Repo, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if isGitDir(at) {
			return &Repo{dir: at, head: at}, nil
		}
		if dot := filepath.Join(at, ".git"); isGitDir(dot) {
			return &Repo{dir: dot, head: dot}, nil
		} else if r, ok := gitFile(dot); ok {
			return r, nil
		}
		if at == filepath.Dir(at) {
			return nil, errors.New("not a git repository, and none above it")
		}
	}
}

func isGitDir(dir string) bool {
	_, errHead := os.Stat(filepath.Join(dir, "HEAD"))
	_, errObjects := os.Stat(filepath.Join(dir, "objects"))
	return errHead == nil && errObjects == nil
}

// gitFile follows the .git file of a linked work tree to the repository that it shares.
func gitFile(file string) (*Repo, bool) {
	b, err := os.ReadFile(file)
	to, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "gitdir: ")
	if err != nil || !ok {
		return nil, false
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(file), to)
	}
	r := &Repo{dir: to, head: to}
	if common, err := os.ReadFile(filepath.Join(to, "commondir")); err == nil {
		r.dir = filepath.Join(to, strings.TrimSpace(string(common)))
	}
	return r, isGitDir(r.dir)
}

// own is what HEAD means here: a linked work tree has one of its own, which the shared repository does not show.
func (r *Repo) own(rev string) string {
	if rev != "HEAD" || r.head == r.dir {
		return rev
	}
	b, err := os.ReadFile(filepath.Join(r.head, "HEAD"))
	if err != nil {
		return rev // resolving it says what is wrong
	}
	return strings.TrimPrefix(strings.TrimSpace(string(b)), "ref: ")
}

// Create makes a repository in an existing folder with one commit of all its files, on branch main.
func Create(dir, message string, now time.Time) (Commit, error) {
	made, err := git.PlainInitWithOptions(dir, &git.PlainInitOptions{InitOptions: git.InitOptions{DefaultBranch: plumbing.Main}})
	if err != nil {
		return Commit{}, fmt.Errorf("create repository: %w", err)
	}
	work, err := made.Worktree()
	if err != nil {
		return Commit{}, fmt.Errorf("create repository: %w", err)
	}
	if err := work.AddWithOptions(&git.AddOptions{All: true}); err != nil {
		return Commit{}, fmt.Errorf("add files: %w", err)
	}
	id, err := work.Commit(message, &git.CommitOptions{Author: identity(made, now)})
	if err != nil {
		return Commit{}, fmt.Errorf("commit files: %w", err)
	}
	r, err := Open(dir)
	if err != nil {
		return Commit{}, err
	}
	return r.Resolve(id.String())
}

// identity is the author that git is configured with, else Pomona.
func identity(r *git.Repository, now time.Time) *object.Signature {
	s := &object.Signature{Name: "Pomona", Email: "pomona@localhost", When: now}
	if c, err := r.ConfigScoped(config.SystemScope); err == nil && c.User.Name != "" && c.User.Email != "" {
		s.Name, s.Email = c.User.Name, c.User.Email
	}
	return s
}

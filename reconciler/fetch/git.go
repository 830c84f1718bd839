package fetch

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// commits is the folder of the cache that holds a bare repository for each commit.
const commits = "git"

// git is a commit of another repository, in a bare repository of its own that is there whole or not at all.
func (f *Fetcher) git(ctx context.Context, c desired.GitCommit) (artifact.Source, error) {
	name := commits + "/" + artifact.Sum(fmt.Appendf(nil, "%s\n%s\n%s\n", c.URL, c.Commit, c.Tag)).String()
	defer f.alone(name)()
	dir := filepath.Join(f.options.Cache, name)
	if src, err := openCommit(ctx, dir, c.Commit); err == nil {
		used(dir)
		return src, nil
	}
	if err := f.clone(ctx, name, c); err != nil {
		return nil, err
	}
	return openCommit(ctx, dir, c.Commit)
}

func openCommit(ctx context.Context, dir, commit string) (artifact.Source, error) {
	r, err := repo.Open(dir)
	if err != nil {
		return nil, err
	}
	c, err := r.Resolve(commit)
	if err != nil {
		return nil, err
	}
	return r.Files(ctx, c)
}

// clone fetches into a folder in staging and gives it its name when everything has reached the disk.
func (f *Fetcher) clone(ctx context.Context, name string, c desired.GitCommit) error {
	if _, err := f.open(); err != nil {
		return err
	}
	temp := f.dir.Temp("git")
	if err := f.dir.Mkdir(temp, 0o700); err != nil {
		return err
	}
	from := repo.Remote{URL: c.URL, Client: f.options.Remote, KnownHosts: f.options.KnownHosts}
	err := repo.Fetch(ctx, filepath.Join(f.options.Cache, temp), from, repo.Wanted{Commit: c.Commit, Tag: c.Tag})
	if err == nil {
		err = f.settle(temp, name)
	}
	return errors.Join(err, f.dir.Remove(temp))
}

// settle gives a folder its name, in the place of what was found damaged there.
func (f *Fetcher) settle(temp, name string) error {
	if err := f.dir.SyncFileSystem(); err != nil {
		return err
	}
	if err := f.dir.Remove(name); err != nil {
		return err
	}
	if err := f.dir.MkdirAll(path.Dir(name)); err != nil {
		return err
	}
	if err := f.dir.Rename(temp, name); err != nil {
		return err
	}
	return f.dir.Sync(path.Dir(name))
}

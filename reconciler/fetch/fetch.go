// Package fetch brings the payloads that lie outside a site's repository: in another repository, at an address, in the
// blob store, in a registry. What was fetched is kept by its digest, whole and checked, or not at all.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

// Options say where payloads are kept and how their hosts are reached.
type Options struct {
	Cache      string // folder for what is fetched; made when it is needed
	Root       string // served directory, whose objects and blobs need not be fetched; may be empty or not exist
	Remote     *remote.Client
	KnownHosts string // file with the keys of ssh hosts
}

// Fetcher brings payloads. It is safe for concurrent use.
type Fetcher struct {
	options Options
	mu      sync.Mutex
	dir     *durable.Dir // of the cache, once it is needed
	cache   *store.Store
	locks   map[string]*sync.Mutex

	local    bool               // fetches nothing
	packages map[string]*coming // by address and digest
}

// New is a Fetcher. It opens nothing yet.
func New(o Options) *Fetcher { return &Fetcher{options: o, locks: map[string]*sync.Mutex{}} }

// ErrNoRoot says that the blob store is unknown, because no served directory is.
var ErrNoRoot = errors.New("no served directory whose blob store could be looked into")

// Payload brings p and says what it is in the source that it came to. What a person must change comes back as
// desired.Problems with paths below the payload; what another try may bring, as a *remote.Unavailable.
func (f *Fetcher) Payload(ctx context.Context, p desired.Payload) (artifact.Source, desired.Payload, error) {
	local := desired.Payload{Folder: p.Folder, Archive: p.Archive, Install: p.Install, Format: p.Format}
	if p.Git != (desired.GitCommit{}) {
		src, err := f.git(ctx, p.Git)
		return src, local, explain("git", err)
	}
	section, bring := f.archive(p)
	file, err := bring(ctx)
	if err != nil {
		return nil, p, explain(section, err)
	}
	local.Format = p.FormatFor(desired.Platform{})
	local.Archive = "archive" + local.Format.Extension()
	file.name = local.Archive
	return file, local, nil
}

// archive is the field that says where a finished archive lies, and how to get it from there.
func (f *Fetcher) archive(p desired.Payload) (section string, bring func(context.Context) (object, error)) {
	switch {
	case p.HTTPS != desired.Download{}:
		return "https", func(ctx context.Context) (object, error) { return f.download(ctx, p.HTTPS) }
	case p.Blob != desired.Blob{}:
		return "blob", func(context.Context) (object, error) { return f.blob(p.Blob) }
	}
	return "oci", func(ctx context.Context) (object, error) { return f.image(ctx, p.OCI) }
}

// explain makes a problem of what a person must change, and leaves other errors as short as they are.
func explain(section string, err error) error {
	var wrong *remote.Wrong
	var unavailable *remote.Unavailable
	switch {
	case errors.As(err, &wrong):
		return desired.Problems{{Path: desired.CUEPath(section, wrong.Field), Text: wrong.Text, Advice: wrong.Advice}}
	case errors.As(err, &unavailable):
		return unavailable
	case err != nil:
		return fmt.Errorf("fetch payload: %w", err)
	}
	return nil
}

// alone waits until nobody else brings the same thing, and keeps others waiting until done is called.
func (f *Fetcher) alone(what string) (done func()) {
	f.mu.Lock()
	l := f.locks[what]
	if l == nil {
		l = &sync.Mutex{}
		f.locks[what] = l
	}
	f.mu.Unlock()
	l.Lock()
	return l.Unlock
}

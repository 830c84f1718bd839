package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// fetchTimeout is how long a fetch may take in all.
const fetchTimeout = 30 * time.Minute

// address is what may be fetched from, whatever a schema says: a path goes into a command of an ssh host, and no other
// scheme may reach this machine's own files.
var address = regexp.MustCompile(`^(https://|ssh://([a-z_][a-z0-9_-]*@)?)[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9._~+@,=/-]+$`)

// Remote is a repository on another host.
type Remote struct {
	URL        string // https or ssh
	Client     *remote.Client
	KnownHosts string // file with the keys of ssh hosts
	Git        string // git's own program for folders on this machine; empty: git-upload-pack, else go-git
	OneHost    bool   // redirects to other hosts are refused; else they are followed without a credential
}

// Wanted is a commit of a remote repository.
type Wanted struct {
	Commit string // 40 hex digits
	Tag    string // leads to it; may be empty
}

// Fetch makes a bare repository in the empty folder dir that holds a commit and all its files. Its error is a
// *remote.Wrong, a *remote.Unavailable, or this machine's.
func Fetch(ctx context.Context, dir string, from Remote, want Wanted) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	at, err := url.Parse(from.URL)
	if err != nil || !address.MatchString(from.URL) {
		return &remote.Wrong{Field: "url", Text: "malformed address", Advice: "use https or ssh, without password and query"}
	}
	if !plumbing.IsHash(want.Commit) {
		return &remote.Wrong{Field: "commit", Text: "malformed commit", Advice: "write all 40 digits"}
	}
	f := fetch{want: want, host: remote.HostOf(at), dir: dir, most: from.Client.MaxSize()}
	if err := f.prepare(dir); err != nil {
		return fmt.Errorf("make repository: %w", err)
	}
	if f.session, err = from.session(ctx, at); err != nil {
		return f.failed(ctx, err)
	}
	err = f.run(ctx)
	// Closing ends a connection that has given everything, or that has failed already.
	_ = f.session.Close()
	return f.failed(ctx, err)
}

// fetch is one commit on its way.
type fetch struct {
	want    Wanted
	host    string
	dir     string
	most    int64 // bytes
	session session
	to      *filesystem.Storage
	offers  *packp.AdvRefs
}

func (f *fetch) prepare(dir string) error {
	f.to = filesystem.NewStorageWithOptions(osfs.New(dir, osfs.WithBoundOS()), cache.NewObjectLRUDefault(), filesystem.Options{LargeObjectThreshold: largeObject})
	_, err := git.Init(f.to, nil)
	return err
}

// run asks for the commit alone. A server that gives only what its branches and tags name is asked for all of that.
func (f *fetch) run(ctx context.Context) (err error) {
	if f.offers, err = f.session.AdvertisedReferencesContext(ctx); err != nil {
		return err
	}
	if err := f.checkTag(); err != nil {
		return err
	}
	if name, ok := f.offered(); ok {
		return f.get(ctx, []plumbing.Hash{name}, 1)
	}
	exact := f.offers.Capabilities.Supports(capability.AllowReachableSHA1InWant) || f.offers.Capabilities.Supports("allow-any-sha1-in-want")
	if exact {
		err := f.get(ctx, []plumbing.Hash{plumbing.NewHash(f.want.Commit)}, 1)
		if err != nil && strings.Contains(err.Error(), "not our ref") {
			return f.missing()
		}
		return err
	}
	var all []plumbing.Hash
	for _, id := range f.offers.References {
		all = append(all, id)
	}
	return f.get(ctx, all, 0)
}

// checkTag says whether the tag still leads to the commit.
func (f *fetch) checkTag() error {
	if f.want.Tag == "" {
		return nil
	}
	ref := "refs/tags/" + f.want.Tag
	at, ok := f.offers.Peeled[ref]
	if !ok {
		at, ok = f.offers.References[ref]
	}
	switch {
	case !ok:
		return &remote.Wrong{Field: "tag", Text: fmt.Sprintf("the repository has no tag %q", f.want.Tag), Advice: "correct it, or leave it out"}
	case at.String() != f.want.Commit:
		return &remote.Wrong{Field: "tag", Text: fmt.Sprintf("tag %q has moved: it leads to %s", f.want.Tag, at), Advice: "write that commit if it is what you want, or leave the tag out"}
	}
	return nil
}

// offered is the object to ask for when a branch or a tag leads to the commit.
func (f *fetch) offered() (plumbing.Hash, bool) {
	for _, id := range f.offers.References {
		if id.String() == f.want.Commit {
			return id, true
		}
	}
	for ref, id := range f.offers.Peeled {
		if id.String() == f.want.Commit {
			return f.offers.References[ref], true
		}
	}
	return plumbing.ZeroHash, false
}

// get fetches objects with all their files and, unless depth is 0, so many commits of their history.
func (f *fetch) get(ctx context.Context, ids []plumbing.Hash, depth int) error {
	req := packp.NewUploadPackRequestFromCapabilities(f.offers.Capabilities)
	req.Wants = ids
	if depth > 0 && f.offers.Capabilities.Supports(capability.Shallow) {
		req.Depth = packp.DepthCommits(depth)
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return err
		}
	}
	if f.offers.Capabilities.Supports(capability.NoProgress) {
		if err := req.Capabilities.Set(capability.NoProgress); err != nil {
			return err
		}
	}
	res, err := f.session.UploadPack(ctx, req)
	if err != nil {
		return err
	}
	if len(res.Shallows) > 0 {
		err = f.to.SetShallow(res.Shallows)
	}
	if err == nil {
		l := Limits{Fetch: f.most, Object: f.most}.orDefault()
		err = storePack(ctx, f.dir, l, &atMost{r: demultiplexed(req.Capabilities, res), left: f.most, err: excess{errors.New("too large")}})
	}
	// What is missing shows below; a second error would hide the first.
	_ = res.Close()
	if err != nil {
		return err
	}
	return f.whole(ctx)
}

func demultiplexed(l *capability.List, r io.Reader) io.Reader {
	switch {
	case l.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case l.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// whole checks that the commit and every file of it has come.
func (f *fetch) whole(ctx context.Context) error {
	made, err := git.Open(f.to, nil)
	if err != nil {
		return err
	}
	c, err := made.CommitObject(plumbing.NewHash(f.want.Commit))
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return f.missing()
	}
	if err != nil {
		return err
	}
	_, err = (&Repo{git: made}).Files(ctx, Commit{ID: f.want.Commit, Tree: c.TreeHash.String()})
	return err
}

func (f *fetch) missing() error {
	return &remote.Wrong{Field: "commit", Text: "the repository has no such commit", Advice: "push it there, or correct it"}
}

func (f *fetch) failed(ctx context.Context, err error) error {
	var much excess
	switch {
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return f.missing()
	case errors.As(err, &much):
		return remote.TooLarge("commit", f.most)
	}
	return gitFailed(ctx, f.host, err)
}

// gitFailed tells what an error of git's means. What the server says is left out: it may hold anything.
func gitFailed(ctx context.Context, host string, err error) error {
	var answer *githttp.Err
	var odd *plumbing.UnexpectedError
	if errors.As(err, &odd) {
		err = odd.Err
	}
	switch {
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return &remote.Wrong{Field: "url", Text: host + " has no such repository", Advice: "correct the address"}
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		err = errCredential
	case errors.As(err, &answer):
		err = fmt.Errorf("status %d %s", answer.StatusCode(), http.StatusText(answer.StatusCode()))
	}
	err = remote.Failed(ctx, host, err)
	if u := new(remote.Unavailable); errors.As(err, &u) {
		return &remote.Unavailable{Host: u.Host, Err: short{u.Err}}
	}
	return err
}

var errCredential = errors.New("it asks for another credential: see --credential, or credentials in the configuration")

// short is an error that may quote what a server has sent.
type short struct{ error }

// Error is one line, not too long.
func (s short) Error() string {
	const most = 200
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s.error.Error())
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// Unwrap is the cause.
func (s short) Unwrap() error { return s.error }

// atMost ends reading with an error when there is too much.
type atMost struct {
	r    io.Reader
	left int64 // bytes
	err  error
}

// Read implements io.Reader.
func (a *atMost) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if a.left -= int64(n); a.left < 0 {
		return 0, a.err
	}
	return n, err
}

package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// IsAddress says whether a repository is named by its address on another host, and not by a folder on this machine.
func IsAddress(s string) bool { return address.MatchString(s) }

// Tip fetches the newest commit of a branch, or of the one that HEAD names there if branch is empty, into the empty folder
// dir, without its history. Its error is like Fetch's.
func Tip(ctx context.Context, dir string, from Remote, branch string) (r *Repo, c Commit, name string, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	at, err := url.Parse(from.URL)
	if err != nil || !address.MatchString(from.URL) {
		return nil, c, "", &remote.Wrong{Field: "url", Text: "malformed address", Advice: "use https or ssh, without password and query"}
	}
	f := fetch{host: remote.HostOf(at), dir: dir, most: from.Client.MaxSize()}
	if err := f.prepare(dir); err != nil {
		return nil, c, "", fmt.Errorf("make repository: %w", err)
	}
	if f.session, err = from.session(ctx, at); err != nil {
		return nil, c, "", f.failed(ctx, err)
	}
	name, err = f.tip(ctx, branch)
	_ = f.session.Close() // it has given everything, or has failed already
	if err != nil {
		return nil, c, "", f.failed(ctx, err)
	}
	if r, err = Open(dir); err != nil {
		return nil, c, "", err
	}
	c, err = r.Resolve(f.want.Commit)
	return r, c, name, err
}

func (f *fetch) tip(ctx context.Context, branch string) (string, error) {
	var err error
	if f.offers, err = f.session.AdvertisedReferencesContext(ctx); err != nil {
		return "", err
	}
	if branch == "" {
		for _, link := range f.offers.Capabilities.Get(capability.SymRef) {
			if to, ok := strings.CutPrefix(link, "HEAD:refs/heads/"); ok {
				branch = to
			}
		}
	}
	id, ok := f.offers.References["refs/heads/"+branch]
	if !ok {
		return "", &remote.Wrong{Field: "branch", Text: fmt.Sprintf("the repository has no branch %q", branch), Advice: "correct it, or push it there"}
	}
	f.want.Commit = id.String()
	return branch, f.get(ctx, []plumbing.Hash{id}, 1)
}

// pusher is a conversation in which a repository elsewhere takes objects.
type pusher interface {
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	ReceivePack(context.Context, *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error)
	Close() error
}

// Push sends a draft that was made in r to a branch of a remote repository. A branch that is the draft's base moves on; another
// that is not there is made. ErrMoved says that the branch names something else by now.
func (r *Repo) Push(ctx context.Context, to Remote, branch string, d Draft, fresh bool) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	at, err := url.Parse(to.URL)
	if err != nil || !address.MatchString(to.URL) {
		return &remote.Wrong{Field: "url", Text: "malformed address", Advice: "use https or ssh, without password and query"}
	}
	f := fetch{host: remote.HostOf(at)}
	s, err := to.pusher(ctx, at)
	if err != nil {
		return f.failed(ctx, err)
	}
	err = r.send(ctx, s, branch, d, fresh)
	_ = s.Close() // it has taken everything, or has failed already
	if errors.Is(err, ErrMoved) {
		return err
	}
	return f.failed(ctx, err)
}

func (r *Repo) send(ctx context.Context, s pusher, branch string, d Draft, fresh bool) error {
	offers, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return err
	}
	name := plumbing.NewBranchReferenceName(branch)
	old := offers.References[name.String()] // zero if it is not there
	if fresh != old.IsZero() || !fresh && old.String() != d.Base.ID {
		return ErrMoved
	}
	var pack bytes.Buffer // some CUE files and the folders above them
	r.mu.Lock()
	_, err = packfile.NewEncoder(&pack, r.git.Storer, false).Encode(d.objects, 0)
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("pack commit: %w", err)
	}
	req := packp.NewReferenceUpdateRequestFromCapabilities(offers.Capabilities)
	req.Commands = []*packp.Command{{Name: name, Old: old, New: plumbing.NewHash(d.Commit.ID)}}
	req.Packfile = io.NopCloser(&pack)
	status, err := s.ReceivePack(ctx, req)
	if status == nil || status.UnpackStatus == "" { // it did not get so far
		return err
	}
	return refused(status)
}

// refused is what the server did not do: a hook's or a protected branch's no is for a person, a lost race is not.
func refused(s *packp.ReportStatus) error {
	said := cmp.Or(s.UnpackStatus, "ok")
	for _, c := range s.CommandStatuses {
		if c.Status != "ok" {
			said = c.Status
		}
	}
	switch {
	case said == "ok":
		return nil
	case strings.Contains(said, "fetch first"), strings.Contains(said, "failed to update ref"), strings.Contains(said, "cannot lock ref"), strings.Contains(said, "reference already exists"):
		return ErrMoved
	}
	return &remote.Wrong{Field: "branch", Text: fmt.Sprintf("the server does not take the commit: %.200q", said), Advice: "push to a branch that it lets you, or open a pull request"}
}

func (r Remote) pusher(ctx context.Context, at *url.URL) (pusher, error) {
	own, _, err := r.Client.Credential(ctx, at)
	if err != nil {
		return nil, &remote.Unavailable{Host: remote.HostOf(at), Err: err}
	}
	if at.Scheme == "https" {
		client, ep, auth, err := r.httpClient(at, own)
		if err != nil {
			return nil, err
		}
		return client.NewReceivePackSession(ep, auth)
	}
	key, ok := own.Key()
	if !ok {
		return nil, &remote.Unavailable{Host: remote.HostOf(at), Err: errors.New("there is no private key for it: give one with --credential HOST=FILE")}
	}
	return r.sshSession(ctx, at, key, "git-receive-pack")
}

// ReceivePack implements pusher.
func (p *pipes) ReceivePack(_ context.Context, req *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error) {
	p.asked = true
	if err := req.Encode(p.in); err != nil {
		return nil, err
	}
	if !req.Capabilities.Supports(capability.ReportStatus) {
		return nil, nil
	}
	s := packp.NewReportStatus()
	return s, s.Decode(p.out)
}

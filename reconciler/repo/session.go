package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/plumbing/transport/server"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// Limits of what a git server may say before it sends objects.
const (
	dialTimeout = 15 * time.Second
	maxRefs     = 64 << 20 // bytes of a list of branches and tags
	maxSaid     = 64 << 10 // bytes of an error
)

// session is one conversation with a repository elsewhere: what it has, and then objects once. It ends with the context
// that it was begun with.
type session interface {
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	UploadPack(context.Context, *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	Close() error
}

// session connects to where a repository lies, with the credential of its host.
func (r Remote) session(ctx context.Context, at *url.URL) (session, error) {
	own, known, err := r.Client.Credential(ctx, at)
	if err != nil {
		return nil, &remote.Unavailable{Host: remote.HostOf(at), Err: err}
	}
	switch at.Scheme {
	case "file":
		return localSession(ctx, r.Git, at.Path)
	case "https":
		return r.httpSession(at, own)
	}
	key, ok := own.Key()
	if !known || !ok {
		return nil, &remote.Unavailable{Host: remote.HostOf(at), Err: errors.New("there is no private key for it: give one with --credential HOST=FILE")}
	}
	return r.sshSession(ctx, at, key, "git-upload-pack")
}

func (r Remote) httpSession(at *url.URL, own remote.Credential) (session, error) {
	client, ep, auth, err := r.httpClient(at, own)
	if err != nil {
		return nil, err
	}
	return client.NewUploadPackSession(ep, auth)
}

func (r Remote) httpClient(at *url.URL, own remote.Credential) (transport.Transport, *transport.Endpoint, transport.AuthMethod, error) {
	ep, err := transport.NewEndpoint(at.String())
	if err != nil {
		return nil, nil, nil, err
	}
	var auth transport.AuthMethod
	if user, password, ok := own.User(); ok {
		auth = &githttp.BasicAuth{Username: user, Password: password}
	} else if token, ok := own.Token(); ok {
		auth = &githttp.TokenAuth{Token: token}
	}
	client := *r.Client.HTTP()
	client.Transport = brief{client.Transport}
	if r.OneHost {
		client.CheckRedirect = remote.SameHost
	}
	return githttp.NewClient(&client), ep, auth, nil
}

// brief limits answers that are no objects: go-git reads them whole.
type brief struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b brief) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	type body struct {
		io.Reader
		io.Closer
	}
	switch {
	case res.StatusCode >= http.StatusMultipleChoices:
		res.Body = body{io.LimitReader(res.Body, maxSaid), res.Body}
	case req.Method == http.MethodGet:
		res.Body = body{&atMost{r: res.Body, left: maxRefs, err: errRefs}, res.Body}
	}
	return res, nil
}

var errRefs = errors.New("its list of branches and tags does not end")

// sshSession speaks with one of git's programs on an ssh host. A server that falls silent, at whatever stage, is given up.
func (r Remote) sshSession(ctx context.Context, at *url.URL, key []byte, program string) (*pipes, error) {
	host, port, user := at.Hostname(), at.Port(), at.User.Username()
	if port == "" {
		port = "22"
	}
	if user == "" {
		user = "git"
	}
	address := net.JoinHostPort(host, port)
	config, err := r.sshConfig(address, remote.HostOf(at), user, key)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // whoever reads or writes says so
	talk, chans, reqs, err := ssh.NewClientConn(impatient{conn, r.Client.Stall()}, address, config)
	if err != nil {
		stop()
		return nil, errors.Join(err, conn.Close())
	}
	client := ssh.NewClient(talk, chans, reqs)
	end := func() error { stop(); return client.Close() }
	p, err := start(client, program, at.Path)
	if err != nil {
		return nil, errors.Join(err, end())
	}
	p.end = end
	return p, nil
}

func (r Remote) sshConfig(address, host, user string, key []byte) (*ssh.ClientConfig, error) {
	if r.KnownHosts == "" {
		return nil, &remote.Unavailable{Host: host, Err: errors.New("nothing says which key it has: give --known-hosts FILE")}
	}
	known, err := gitssh.NewKnownHostsDb(r.KnownHosts)
	if err != nil {
		return nil, fmt.Errorf("read known hosts: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("read private key for %s: %w", host, err)
	}
	// It is asked for the kind of key that is known of it.
	return &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: known.HostKeyCallback(), HostKeyAlgorithms: known.HostKeyAlgorithms(address),
	}, nil
}

// start starts one of git's programs on an ssh host.
func start(client *ssh.Client, program, path string) (*pipes, error) {
	s, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	p := &pipes{wait: s.Wait}
	s.Stderr = &p.said
	in, err1 := s.StdinPipe()
	out, err2 := s.StdoutPipe()
	p.in, p.out = in, out
	return p, errors.Join(err1, err2, s.Start(program+" '"+path+"'"))
}

// impatient gives up when a host says nothing for a while. It is reset by every byte.
type impatient struct {
	net.Conn
	most time.Duration
}

// Read implements io.Reader.
func (i impatient) Read(p []byte) (int, error) {
	if err := i.SetReadDeadline(time.Now().Add(i.most)); err != nil {
		return 0, err
	}
	return i.Conn.Read(p)
}

// localSession speaks with git's own program about a repository on this machine; where there is none, go-git does its work.
func localSession(ctx context.Context, git, path string) (session, error) {
	args := []string{"upload-pack", path}
	if git == "" {
		found, err := exec.LookPath("git-upload-pack")
		if err != nil {
			return ownSession(path)
		}
		git, args = found, args[1:]
	}
	p := &pipes{}
	cmd := exec.CommandContext(ctx, git, args...)
	// The repository may belong to somebody else: upload-pack runs nothing that it holds. No other configuration counts.
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	cmd.Stderr, cmd.WaitDelay = &p.said, time.Second
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return nil, err
	}
	p.in, p.out, p.wait = in, out, sync.OnceValue(cmd.Wait)
	p.end = func() error {
		_ = out.Close() // else it may wait for somebody who reads
		_ = p.wait()    // it has said what it had to say
		return nil
	}
	return p, nil
}

// ownSession reads a repository on this machine with go-git.
func ownSession(path string) (session, error) {
	ep := &transport.Endpoint{Protocol: "file", Path: path}
	loader := server.NewFilesystemLoader(osfs.New("/", osfs.WithBoundOS()))
	objects, err := loader.Load(ep)
	if err != nil {
		return nil, err
	}
	s, err := server.NewClient(loader).NewUploadPackSession(ep, nil)
	return own{s, objects}, err
}

// own is a session with go-git. It must not be told of what it does not have.
type own struct {
	session
	objects storer.EncodedObjectStorer
}

// UploadPack implements session.
func (o own) UploadPack(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	req.Haves = slices.DeleteFunc(req.Haves, func(id plumbing.Hash) bool { return o.objects.HasEncodedObject(id) != nil })
	return o.session.UploadPack(ctx, req)
}

// pipes are a session with a git-upload-pack that runs elsewhere or beside.
type pipes struct {
	in    io.WriteCloser
	out   io.Reader
	said  said
	wait  func() error
	end   func() error
	asked bool
}

// AdvertisedReferencesContext implements session.
func (p *pipes) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	refs := packp.NewAdvRefs()
	err := refs.Decode(&atMost{r: p.out, left: maxRefs, err: errRefs})
	switch {
	case errors.Is(err, packp.ErrEmptyInput):
		_ = p.wait() // it has ended; what it said counts
		return nil, p.said.meaning()
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && refs.IsEmpty():
		return nil, transport.ErrEmptyRemoteRepository
	case err != nil:
		return nil, err
	}
	transport.FilterUnsupportedCapabilities(refs.Capabilities)
	return refs, nil
}

// UploadPack implements session.
func (p *pipes) UploadPack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	p.asked = true
	err := errors.Join(req.UploadRequest.Encode(p.in), req.UploadHaves.Encode(p.in, false), pktline.NewEncoder(p.in).EncodeString("done\n"))
	if err != nil {
		return nil, err
	}
	res := packp.NewUploadPackResponse(req)
	return res, res.Decode(io.NopCloser(p.out))
}

// Close implements session. A server that was asked for nothing is told so.
func (p *pipes) Close() error {
	if !p.asked {
		_, _ = p.in.Write(pktline.FlushPkt) // it may be gone
	}
	_ = p.in.Close() // likewise
	return p.end()
}

// said is what a program says on its standard error, not too much of it.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p[:min(len(p), maxSaid-s.text.Len())])
	return len(p), nil
}

// meaning is the error of a program that ended without an answer. Its words are left out: they may hold anything.
func (s *said) meaning() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, words := range []string{"not appear to be a git repository", "epository not found", "epository does not exist", "could not be found", "not exist or you do not have access"} {
		if strings.Contains(s.text.String(), words) {
			return transport.ErrRepositoryNotFound
		}
	}
	return errors.New("it ended without an answer")
}

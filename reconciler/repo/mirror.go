package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// MirrorOptions say what is mirrored, and where.
type MirrorOptions struct {
	Dir        string // folder of the mirror; made if it is not there. One process uses it at a time
	URL        string // https://…, ssh://…, USER@HOST:PATH, or a folder on this machine
	Branch     string // a branch, or HEAD, whatever it points to there
	Client     *remote.Client
	KnownHosts string // file with the keys of ssh hosts
	Limits     Limits
	Signers    *Signers     // who may sign commits; nil: commits need no signature
	Git        string       // git's own program, to pack the mirror anew; empty: it is cloned anew instead
	Hook       durable.Hook // stands before changes of the mirror's folder; nil applies them
}

// Limits of what is fetched. Zero is the default.
type Limits struct {
	Fetch   int64 // bytes of one fetch; 1 GiB
	Mirror  int64 // bytes of the mirror; 8 GiB
	Objects int   // objects of one fetch; 5 million
	Object  int64 // bytes of one object, unpacked; 256 MiB
	Packs   int   // packs before the mirror is packed anew; 50, as git has it
}

func (l Limits) orDefault() Limits {
	return Limits{
		cmp.Or(l.Fetch, 1<<30), cmp.Or(l.Mirror, 8<<30), cmp.Or(l.Objects, 5_000_000), cmp.Or(l.Object, 256<<20), cmp.Or(l.Packs, 50),
	}
}

// Mirror is one branch of another repository with its whole history, on this machine. What it shows is the last commit that
// was accepted: whole, readable, signed if there is a policy, and a descendant of the one accepted before. It is safe for
// concurrent use.
//
// On disk it is a folder with one bare repository, git-N, and the record, which names that repository and the accepted
// commits. The record is replaced as a whole; whatever it does not name is left over from a crash.
type Mirror struct {
	o      MirrorOptions
	from   Remote
	at     *url.URL
	dir    *durable.Dir
	unlock func()

	mu       sync.Mutex // guards what follows, and keeps updates apart
	repo     *Repo
	record   record
	accepted plumbing.Hash // the branch's in the record; zero if there is none yet
	known    commitSet     // the accepted commit and all its ancestors
	named    plumbing.Hash // by an operator; zero if none
	doubt    error         // why the repository may be damaged
	last     refusal
	untidy   int // packs that could not be packed anew; it is tried again when there are more
}

// Update is what an update did.
type Update struct {
	From, To string // the accepted commit before and after; empty if there is none
	Moved    bool
	Untidy   error // why the mirror could not be packed anew; nothing is lost
}

// Refused says that a commit is there but is not taken. What was accepted stays.
type Refused struct {
	Commit string
	Text   string
	Advice string
}

// Error names the commit and says what to do.
func (e *Refused) Error() string {
	return fmt.Sprintf("commit %s is not taken: %s; %s", e.Commit, e.Text, e.Advice)
}

// refusal is remembered, so that a commit that is refused is not fetched and judged again with each look.
type refusal struct {
	tip, named plumbing.Hash
	stamp      string // of the signers
	doubt      bool
	err        error
}

// OpenMirror opens a mirror, or makes an empty one. What a crash left is removed. A damaged mirror opens too: reading it
// fails until an update has made it anew; which commit was accepted last stays known.
func OpenMirror(o MirrorOptions) (*Mirror, error) {
	m := &Mirror{o: o, from: Remote{Client: o.Client, KnownHosts: o.KnownHosts, OneHost: true, Git: o.Git}}
	m.o.Branch, m.o.Limits = cmp.Or(o.Branch, "HEAD"), o.Limits.orDefault()
	var err error
	if m.at, err = parseOrigin(o.URL); err != nil {
		return nil, fmt.Errorf("open mirror: %w", err)
	}
	if err := m.ref().Validate(); err != nil {
		return nil, fmt.Errorf("open mirror: malformed branch %q: %w", o.Branch, err)
	}
	m.from.URL = m.at.String()
	if err := m.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open mirror %q: %w", o.Dir, err), m.Close())
	}
	return m, nil
}

func (m *Mirror) open() (err error) {
	if err := m.enter(); err != nil {
		return err
	}
	if err := m.recall(); err != nil {
		return err
	}
	m.examine(context.Background(), false)
	return nil
}

// enter takes the folder for this process.
func (m *Mirror) enter() (err error) {
	m.dir, m.unlock, err = m.o.enter()
	return err
}

// enter makes the folder, unless it is there, and takes it for this process. What it gives beside an error is to be given up.
func (o MirrorOptions) enter() (dir *durable.Dir, unlock func(), err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, nil, err
	}
	if dir, err = durable.Open(o.Dir, o.Hook); err != nil {
		return nil, nil, err
	}
	if err = dir.Prepare(); err == nil {
		unlock, err = dir.Lock()
	}
	if err == nil {
		_, err = dir.Recover()
	}
	return dir, unlock, err
}

// leave gives the folder up.
func (m *Mirror) leave() (err error) {
	if m.unlock != nil {
		m.unlock()
	}
	if m.dir != nil {
		err = m.dir.Close()
	}
	m.unlock, m.dir = nil, nil
	return err
}

// reenter makes a folder that somebody has removed anew. What was accepted last stays known.
func (m *Mirror) reenter() error {
	if m.dir != nil {
		there, err := os.Stat(m.o.Dir)
		own, err2 := m.dir.Root().Stat(".")
		if err == nil && err2 == nil && os.SameFile(there, own) {
			return nil
		}
	}
	_ = m.leave() // what it was is gone
	err := m.enter()
	if err == nil && !m.dir.Exists(m.record.Repository) {
		err = m.initBare(m.record.Repository)
	}
	if err == nil {
		err = m.writeRecord(m.record)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make mirror anew: %w", err), m.leave())
	}
	m.doubt = errors.New("somebody removed the mirror")
	return nil
}

// Close releases the folder. An update that runs ends first.
func (m *Mirror) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	if m.repo != nil {
		err = m.repo.close()
	}
	return errors.Join(err, m.leave())
}

// Repo reads the mirror; Resolve of the branch is the last accepted commit.
func (m *Mirror) Repo() *Repo { return m.repo }

// Accepted is the last accepted commit; empty if there is none yet.
func (m *Mirror) Accepted() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return text(m.accepted)
}

// Accept names a commit that updates take although it is no descendant of the accepted one, alone or with what has been added
// to it, until they take one; an empty name takes that back. Signatures count all the same.
func (m *Mirror) Accept(commit string) error {
	if commit != "" {
		if err := CheckCommit(commit); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.named = plumbing.NewHash(commit)
	return nil
}

// CheckCommit says why a text is no commit's id.
func CheckCommit(id string) error {
	if !plumbing.IsHash(id) {
		return fmt.Errorf("malformed commit %q: want all of its 40 hexadecimal digits", id)
	}
	return nil
}

// Update asks where the branch is and, if it has moved, fetches it, checks it and accepts it. Its error is a
// *remote.Unavailable, a *remote.Wrong, a *Refused, or this machine's; then what was accepted is as it was.
func (m *Mirror) Update(ctx context.Context) (Update, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	u := Update{From: text(m.accepted)}
	err := m.update(ctx)
	u.To = text(m.accepted)
	u.Moved = u.To != u.From
	if err == nil || isRefused(err) {
		u.Untidy = m.tidy(ctx, u.Moved)
	}
	return u, err
}

func (m *Mirror) update(ctx context.Context) error {
	if err := m.reenter(); err != nil {
		return err
	}
	if m.doubt == nil {
		m.doubt = m.writeRecord(m.record) // somebody may have removed it
	}
	if m.repo.doubted.Swap(false) && m.doubt == nil {
		m.examine(ctx, true)
	}
	there, err := m.ask(ctx, m.from, m.at)
	if err != nil {
		return m.failed(ctx, plumbing.ZeroHash, err)
	}
	defer there.Close() // what is missing shows when it is read
	tip, err := m.tip(there.refs)
	if err != nil {
		return err
	}
	if tip == m.accepted && m.doubt == nil {
		m.last = refusal{}
		return nil
	}
	if now := m.refusal(tip, m.last.err); m.last.err != nil && now == m.last {
		return m.last.err
	}
	err = m.take(ctx, there, tip)
	if errors.Is(err, errCredential) {
		err = m.takeAgain(ctx, tip, err)
	}
	m.last = refusal{}
	if refused := new(Refused); errors.As(err, &refused) {
		m.last = m.refusal(tip, refused)
	}
	return err
}

// takeAgain is take with the credential as it is now: the last one expired between two answers.
func (m *Mirror) takeAgain(ctx context.Context, tip plumbing.Hash, was error) error {
	m.from.Client.Forget(m.at) // a file is read again anyway
	there, err := m.ask(ctx, m.from, m.at)
	if err != nil {
		return was
	}
	defer there.Close() // like the first
	return m.take(ctx, there, tip)
}

func (m *Mirror) refusal(tip plumbing.Hash, err error) refusal {
	return refusal{tip, m.named, m.o.Signers.Stamp(), m.doubt != nil, err}
}

// take fetches a commit, makes sure that it is whole, judges it and accepts it. What is not whole is cloned anew once.
func (m *Mirror) take(ctx context.Context, there talk, tip plumbing.Hash) error {
	var h history
	var err error
	if m.doubt == nil {
		h, err = m.fetch(ctx, there, tip)
	}
	if m.doubt != nil || notWhole(err) {
		if err := m.renew(ctx, m.from, m.at, tip); err != nil {
			return err
		}
		h, err = m.history(ctx, m.repo, tip)
	}
	if err != nil {
		return err
	}
	if err := m.judge(tip, h); err != nil {
		return err
	}
	return m.accept(ctx, tip, h)
}

// talk is a session that has said what its branches and tags are.
type talk struct {
	session
	refs *packp.AdvRefs
}

// ask begins a conversation. A token that is no longer accepted is asked for anew once.
func (m *Mirror) ask(ctx context.Context, from Remote, at *url.URL) (talk, error) {
	t, err := from.talk(ctx, at)
	if errors.Is(err, transport.ErrAuthenticationRequired) && from.Client.Forget(at) {
		t, err = from.talk(ctx, at)
	}
	return t, err
}

func (r Remote) talk(ctx context.Context, at *url.URL) (talk, error) {
	s, err := r.session(ctx, at)
	if err != nil {
		return talk{}, err
	}
	refs, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		_ = s.Close() // the first error counts
		return talk{}, err
	}
	return talk{s, refs}, nil
}

// tip is the commit that the branch points to.
func (m *Mirror) tip(refs *packp.AdvRefs) (plumbing.Hash, error) {
	name := m.ref().String()
	if m.o.Branch == "HEAD" && refs.Head != nil {
		return *refs.Head, nil
	}
	if id, ok := refs.Peeled[name]; ok {
		return id, nil
	}
	if id, ok := refs.References[name]; ok {
		return id, nil
	}
	return plumbing.ZeroHash, &remote.Wrong{Field: "branch", Text: fmt.Sprintf("the repository has no branch %q", m.o.Branch), Advice: "push it, or correct its name"}
}

// ref is the branch's full name.
func (m *Mirror) ref() plumbing.ReferenceName {
	switch {
	case m.o.Branch == "HEAD":
		return plumbing.HEAD
	case strings.HasPrefix(m.o.Branch, "refs/"):
		return plumbing.ReferenceName(m.o.Branch)
	}
	return plumbing.NewBranchReferenceName(m.o.Branch)
}

// parseOrigin reads where a repository lies: as a URL, or as git's short form for ssh, or as a folder.
func parseOrigin(s string) (*url.URL, error) {
	if user, rest, ok := strings.Cut(s, "@"); ok && !strings.ContainsAny(user, ":/") {
		if host, path, ok := strings.Cut(rest, ":"); ok && !strings.Contains(host, "/") {
			s = "ssh://" + user + "@" + host + "/" + strings.TrimPrefix(path, "/")
		}
	}
	if address.MatchString(s) {
		return url.Parse(s)
	}
	path := strings.TrimPrefix(s, "file://")
	if !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) {
		return nil, &remote.Wrong{Field: "url", Text: "malformed address", Advice: "use https or ssh, without password and query, or a folder from the root on"}
	}
	return &url.URL{Scheme: "file", Path: path}, nil
}

// hostOf is what people call the place of a repository.
func hostOf(at *url.URL) string {
	if at.Scheme == "file" {
		return at.Path
	}
	return remote.HostOf(at)
}

func text(h plumbing.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

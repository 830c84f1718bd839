package repo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// Proposals is a second mirror, of pull requests alone: whatever they bring never lies beside what was accepted. It is
// disposable and has a quota: when it is full, it is emptied, and what is still needed is fetched again.
type Proposals struct {
	o      MirrorOptions
	from   Remote
	at     *url.URL
	quota  int64 // bytes
	dir    *durable.Dir
	unlock func()

	mu    sync.Mutex // guards what follows
	repo  *Repo
	tips  map[string]string // commits that are whole here, by reference
	base  plumbing.Hash
	known commitSet      // the base and all its ancestors
	done  map[int]merged // the last of each pull request, by number
}

type merged struct {
	Proposal
	into Commit
}

// Proposal is a pull request.
type Proposal struct {
	Number   int    // 0: none, but a commit of a merge queue
	Head     string // commit that is proposed
	Base     string // commit of the branch that it is to be merged into
	MergeRef string // where the forge keeps what would come of it, for instance refs/pull/7/merge; may be empty
}

// NeedsRebase says that a pull request and its base have changed the same paths. If there are none, their histories have no
// single point from which they part.
type NeedsRebase struct {
	Paths []string // sorted
}

// maxNamed is how many paths an error names.
const maxNamed = 10

// Error names some of the paths.
func (e *NeedsRebase) Error() string {
	if len(e.Paths) == 0 {
		return "needs rebase: the branch and its base do not part from one commit"
	}
	shown, more := e.Paths, ""
	if n := len(shown) - maxNamed; n > 0 {
		shown, more = shown[:maxNamed], fmt.Sprintf(" and %d more", n)
	}
	return "needs rebase: the base has changed too: " + strings.Join(shown, ", ") + more
}

const proposalsName = bareName + "1"

// OpenProposals opens the mirror at dir, or makes it. Of the options, Dir, Branch and Signers do not count.
func OpenProposals(dir string, o MirrorOptions, quota int64) (*Proposals, error) {
	p := &Proposals{o: o, quota: quota, from: Remote{Client: o.Client, KnownHosts: o.KnownHosts, OneHost: true, Git: o.Git}}
	p.o.Dir, p.o.Limits = dir, o.Limits.orDefault()
	var err error
	if p.at, err = parseOrigin(o.URL); err != nil {
		return nil, fmt.Errorf("open pull requests: %w", err)
	}
	p.from.URL = p.at.String()
	if err := p.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open pull requests %q: %w", dir, err), p.Close())
	}
	return p, nil
}

func (p *Proposals) open() (err error) {
	if p.dir, p.unlock, err = p.o.enter(); err != nil {
		return err
	}
	path, err := filepath.Abs(filepath.Join(p.o.Dir, proposalsName))
	if err != nil {
		return err
	}
	p.repo = &Repo{dir: path, head: path}
	b, err := p.dir.Root().ReadFile(proposalsName + "/packed-refs")
	if err != nil {
		return p.empty()
	}
	p.forgetAll()
	for line := range strings.Lines(string(b)) {
		if id, ref, ok := strings.Cut(strings.TrimSpace(line), " "); ok && plumbing.IsHash(id) {
			p.tips[ref] = id
		}
	}
	return sweepPacks(p.dir, proposalsName)
}

// Close releases the folder.
func (p *Proposals) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.repo != nil {
		err = p.repo.close()
	}
	if p.unlock != nil {
		p.unlock()
	}
	if p.dir != nil {
		err = errors.Join(err, p.dir.Close())
	}
	return err
}

func (p *Proposals) forgetAll() {
	p.tips, p.done = map[string]string{}, map[int]merged{}
	p.base, p.known = plumbing.ZeroHash, nil
}

// empty removes everything. Whoever still reads what was there may fail, and succeeds when he asks again.
func (p *Proposals) empty() error {
	p.forgetAll()
	if err := p.repo.close(); err != nil {
		return err
	}
	if err := p.dir.Remove(proposalsName); err != nil {
		return err
	}
	if err := p.dir.Mkdir(proposalsName, 0o700); err != nil {
		return err
	}
	return initBare(p.repo.dir)
}

// Merge is what the base would be if the pull request were merged now, in a repository that holds it: what the forge says,
// where it says it of these two commits, else a merge path by path. Its error is a *NeedsRebase, a *Refused, a
// *remote.Unavailable, a *remote.Wrong, or this machine's.
func (p *Proposals) Merge(ctx context.Context, pr Proposal) (*Repo, Commit, error) {
	if !plumbing.IsHash(pr.Head) || !plumbing.IsHash(pr.Base) {
		return nil, Commit{}, fmt.Errorf("pull request %d: malformed commit", pr.Number)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	if p.repo.doubted.Swap(false) {
		if err := p.empty(); err != nil {
			return nil, Commit{}, err
		}
	}
	if last := p.done[pr.Number]; last.Proposal == pr {
		return p.repo, last.into, nil
	}
	c, err := p.merge(ctx, pr)
	if again := p.again(err); again {
		if err := p.empty(); err != nil {
			return nil, Commit{}, err
		}
		c, err = p.merge(ctx, pr)
	}
	if err != nil {
		return nil, Commit{}, p.explain(ctx, pr, err)
	}
	p.done[pr.Number] = merged{pr, c}
	return p.repo, c, nil
}

// again says whether it may help to begin with an empty mirror.
func (p *Proposals) again(err error) bool {
	var much excess
	return (notWhole(err) || errors.As(err, &much)) && len(p.tips) > 0
}

func (p *Proposals) explain(ctx context.Context, pr Proposal, err error) error {
	var much excess
	var bad *remote.Wrong
	var rebase *NeedsRebase
	switch {
	case errors.As(err, &rebase):
		return err
	case isUnfit(err) && errors.As(err, &bad):
		return &Refused{pr.Head, bad.Text, bad.Advice}
	case errors.As(err, &much):
		return &Refused{pr.Head, much.Error(), "take large files out of the history"}
	case notWhole(err):
		return &remote.Unavailable{Host: hostOf(p.at), Err: fmt.Errorf("what it sends is not whole: %w", err)}
	}
	return gitFailed(ctx, hostOf(p.at), err)
}

// Forget drops a pull request that is closed. When none is left, the mirror is emptied.
func (p *Proposals) Forget(number int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.done, number)
	if _, ok := p.tips[refOf(number)]; !ok {
		return nil
	}
	delete(p.tips, refOf(number))
	if len(p.tips) <= 1 { // the base alone
		return p.empty()
	}
	return p.writeTips()
}

func refOf(number int) string { return fmt.Sprintf("refs/pomona/%d", number) }

const baseRef = "refs/pomona/base"

func (p *Proposals) writeTips() error {
	var b strings.Builder
	for ref, id := range p.tips {
		fmt.Fprintf(&b, "%s %s\n", id, ref)
	}
	return p.dir.Replace(proposalsName+"/packed-refs", []byte(b.String()), privateMode)
}

// merge brings what is missing and finds the result.
func (p *Proposals) merge(ctx context.Context, pr Proposal) (Commit, error) {
	head, base := plumbing.NewHash(pr.Head), plumbing.NewHash(pr.Base)
	forge, err := p.bring(ctx, pr, head, base)
	if err != nil {
		return Commit{}, err
	}
	if err := p.knowBase(ctx, base); err != nil {
		return Commit{}, err
	}
	h, err := p.repo.walkBack(ctx, head, p.known)
	if err != nil {
		return Commit{}, asIncomplete(ctx, err)
	}
	p.tips[baseRef] = pr.Base
	if pr.Number > 0 { // nobody would forget it
		p.tips[refOf(pr.Number)] = pr.Head
	}
	if err := p.writeTips(); err != nil {
		return Commit{}, err
	}
	if c, ok := p.ofForge(forge, base, head); ok {
		return c, asIncomplete(ctx, p.repo.filesOf(ctx, forge))
	}
	c, err := p.repo.mergeCommits(ctx, base, head, h)
	if err != nil {
		return Commit{}, err
	}
	return c, asIncomplete(ctx, p.repo.filesOf(ctx, plumbing.NewHash(c.ID)))
}

// ofForge is the forge's own merge, if it is one of these two commits: it may not have made it anew yet.
func (p *Proposals) ofForge(id, base, head plumbing.Hash) (Commit, bool) {
	if id.IsZero() {
		return Commit{}, false
	}
	p.repo.mu.Lock()
	raw, err := p.repo.rawCommit(id)
	p.repo.mu.Unlock()
	if err != nil || !slices.Equal(parentsOf(raw), []plumbing.Hash{base, head}) {
		return Commit{}, false
	}
	c, err := p.repo.checkedCommit(id)
	return c, err == nil
}

// bring fetches the two commits with their histories, and the forge's merge if there is one.
func (p *Proposals) bring(ctx context.Context, pr Proposal, head, base plumbing.Hash) (forge plumbing.Hash, err error) {
	l, err := p.room()
	if err != nil || pr.MergeRef == "" && p.has(head) && p.has(base) {
		return forge, err
	}
	there, err := p.from.talk(ctx, p.at)
	if err != nil {
		return forge, err
	}
	defer there.Close() // what is missing shows when it is read
	forge = there.refs.References[pr.MergeRef]
	wants, err := p.wants(there, head, base, forge)
	if err != nil || len(wants) == 0 {
		return forge, err
	}
	return forge, there.fetchPack(ctx, p.repo.dir, l, wants, p.haves())
}

// room is what may be fetched. A tenth of the quota is for indices and merges.
func (p *Proposals) room() (Limits, error) {
	l := p.o.Limits
	packs, bytes, err := packsOf(p.repo.dir)
	if l.Fetch = min(l.Fetch, p.quota-p.quota/10-bytes); err == nil && (packs >= l.Packs || l.Fetch <= 0) {
		err = excess{fmt.Errorf("more than %d MiB of pull requests", p.quota>>20)}
	}
	return l, err
}

// wants are the commits to ask for: those that are not here, if the server says that it gives them. A base that no branch
// leads to any more comes with the history of the head, or is found missing.
func (p *Proposals) wants(there talk, head, base, forge plumbing.Hash) (wants []plumbing.Hash, err error) {
	offered := commitSet{}
	for _, id := range there.refs.References {
		offered[id] = struct{}{}
	}
	any := there.refs.Capabilities.Supports(capability.AllowReachableSHA1InWant) || there.refs.Capabilities.Supports("allow-any-sha1-in-want")
	if !p.has(head) && !offered.has(head) && !any {
		return nil, &remote.Unavailable{Host: hostOf(p.at), Err: fmt.Errorf("it has commit %s no more", head)}
	}
	for _, id := range []plumbing.Hash{head, base, forge} {
		if !id.IsZero() && !p.has(id) && (offered.has(id) || any) {
			wants = append(wants, id)
		}
	}
	return wants, nil
}

func (p *Proposals) has(id plumbing.Hash) bool {
	p.repo.mu.Lock()
	defer p.repo.mu.Unlock()
	return p.repo.refresh() == nil && p.repo.storage.HasEncodedObject(id) == nil
}

func (p *Proposals) haves() (ids []plumbing.Hash) {
	for _, id := range p.tips {
		ids = append(ids, plumbing.NewHash(id))
	}
	return ids
}

// knowBase learns all ancestors of the base; of one that descends from the last, only what is new.
func (p *Proposals) knowBase(ctx context.Context, base plumbing.Hash) error {
	if base == p.base {
		return nil
	}
	h, err := p.repo.walkBack(ctx, base, p.known)
	if err == nil && !h.reached.has(p.base) && len(p.known) > 0 {
		p.known = nil
		h, err = p.repo.walkBack(ctx, base, nil)
	}
	if err != nil {
		return asIncomplete(ctx, err)
	}
	if p.known == nil {
		p.known = commitSet{}
	}
	for _, id := range h.fresh {
		p.known[id] = struct{}{}
	}
	p.base = base
	return nil
}

package repo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// fetch brings a commit with its history. go-git does not negotiate what both sides have; here nothing needs to be: the
// accepted commit is whole, so that naming it, and some of its ancestors for a server that has lost it, says it all.
func (m *Mirror) fetch(ctx context.Context, there talk, tip plumbing.Hash) (history, error) {
	if h, err := m.history(ctx, m.repo, tip); err == nil || isRefused(err) {
		return h, err // it came before, and was refused
	}
	l, err := m.room()
	if err != nil {
		return history{}, m.failed(ctx, tip, err)
	}
	if err := m.fetchPack(ctx, there, m.record.Repository, l, tip, m.haves()); err != nil {
		return history{}, m.failed(ctx, tip, err)
	}
	h, err := m.history(ctx, m.repo, tip)
	if notWhole(err) && len(there.refs.Shallows) > 0 {
		return h, shallow(m.o.Branch)
	}
	return h, err
}

// fetchPack brings a commit, with what it needs beyond the haves, into one of the mirror's repositories.
func (m *Mirror) fetchPack(ctx context.Context, from talk, name string, l Limits, tip plumbing.Hash, haves []plumbing.Hash) error {
	return from.fetchPack(ctx, m.path(name), l, []plumbing.Hash{tip}, haves)
}

// haves are the accepted commit and, ever further apart, first parents of it.
func (m *Mirror) haves() (ids []plumbing.Hash) {
	const furthest = 64
	m.repo.mu.Lock()
	defer m.repo.mu.Unlock()
	for at, i := m.accepted, 0; !at.IsZero() && i <= furthest && m.doubt == nil; i++ {
		if i < 4 || i&(i-1) == 0 {
			ids = append(ids, at)
		}
		raw, err := m.repo.rawCommit(at)
		parents := parentsOf(raw)
		if err != nil || len(parents) == 0 {
			break
		}
		at = parents[0]
	}
	return ids
}

// room is what may be fetched now.
func (m *Mirror) room() (Limits, error) {
	l := m.o.Limits
	_, bytes, err := packsOf(m.path(m.record.Repository))
	if l.Fetch = min(l.Fetch, l.Mirror-bytes); err == nil && l.Fetch <= 0 {
		err = excess{fmt.Errorf("the mirror has %d MiB already, and may have %d", bytes>>20, l.Mirror>>20)}
	}
	return l, err
}

// failed tells what an error of a fetch means.
func (m *Mirror) failed(ctx context.Context, tip plumbing.Hash, err error) error {
	var much excess
	switch {
	case errors.As(err, &much):
		return &Refused{tip.String(), much.Error(), "take large files out of the history, or allow more"}
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return &remote.Wrong{Field: "branch", Text: "the repository has no commit yet", Advice: "push one"}
	case notWhole(err), isRefused(err):
		return err
	}
	return gitFailed(ctx, hostOf(m.at), err)
}

func shallow(branch string) error {
	return &remote.Wrong{Field: "url", Text: fmt.Sprintf("the repository there is shallow: it has not the whole history of %s", branch), Advice: "run git fetch --unshallow there, or name the repository that it comes from"}
}

// renew clones the branch beside, and puts the clone in the mirror's place when it is whole: at a commit and, if the mirror
// has one, at the accepted commit too.
func (m *Mirror) renew(ctx context.Context, from Remote, at *url.URL, tip plumbing.Hash) error {
	name := m.nextName()
	fresh := &Repo{dir: m.path(name), head: m.path(name)}
	known, err := m.cloneInto(ctx, fresh, name, from, at, tip)
	if err != nil {
		return errors.Join(m.failed(ctx, tip, err), fresh.close(), m.dir.Remove(name))
	}
	old := m.record
	next := old
	next.Repository = name
	if err := m.writeRecord(next); err != nil {
		m.record = old
		return errors.Join(err, fresh.close())
	}
	m.repo.replaceBy(fresh)
	m.known, m.doubt = known, nil
	return m.dir.Remove(old.Repository)
}

func (m *Mirror) nextName() string {
	n, err := strconv.Atoi(strings.TrimPrefix(m.record.Repository, bareName))
	if err != nil {
		n = 0 // never: the record was checked
	}
	return bareName + strconv.Itoa(n+1)
}

// cloneInto makes a clone and checks it. What is known of it afterwards are the accepted commit and its ancestors.
func (m *Mirror) cloneInto(ctx context.Context, fresh *Repo, name string, from Remote, at *url.URL, tip plumbing.Hash) (commitSet, error) {
	there, err := m.ask(ctx, from, at)
	if err != nil {
		return nil, err
	}
	defer there.Close() // what is missing shows below
	if err := errors.Join(m.dir.Remove(name), m.initBare(name)); err != nil {
		return nil, err
	}
	err = m.fetchPack(ctx, there, name, m.o.Limits, tip, nil)
	if notWhole(err) {
		return nil, m.brokenThere(there, err)
	}
	if err != nil {
		return nil, err
	}
	all, err := m.wholeOf(ctx, fresh, tip)
	if notWhole(err) {
		return nil, m.brokenThere(there, err)
	}
	if err != nil && !isUnfit(err) || m.accepted.IsZero() {
		return nil, err
	}
	if !all.has(m.accepted) {
		if m.named.IsZero() || !all.has(m.named) {
			return nil, &Refused{tip.String(), fmt.Sprintf("it does not descend from %s, which was accepted last: the branch was rewritten", m.accepted), "push a commit that does or, if this one is right, name it with --accept"}
		}
		return nil, nil
	}
	known, err := m.wholeOf(ctx, fresh, m.accepted)
	if isUnfit(err) {
		err = nil // it was taken when more was allowed
	}
	return known, err
}

func isRefused(err error) bool {
	var r *Refused
	return errors.As(err, &r)
}

func (m *Mirror) brokenThere(there talk, err error) error {
	if len(there.refs.Shallows) > 0 {
		return shallow(m.o.Branch)
	}
	return &remote.Unavailable{Host: hostOf(m.at), Err: fmt.Errorf("what it sends is not whole: %w", err)}
}

// tidy packs the mirror anew when it has many packs: at once when they are very many, else when nothing else is to do.
func (m *Mirror) tidy(ctx context.Context, busy bool) error {
	packs, _, err := packsOf(m.path(m.record.Repository))
	most := m.o.Limits.Packs
	if busy {
		most *= 2
	}
	if err != nil || packs < most || packs == m.untidy || m.accepted.IsZero() || m.doubt != nil {
		return err
	}
	from, at := m.from, m.at
	if m.o.Git != "" || m.last.err != nil || at.Scheme == "file" {
		from, at = Remote{Client: m.o.Client, Git: m.o.Git}, &url.URL{Scheme: "file", Path: m.path(m.record.Repository)}
	}
	err = m.renew(ctx, from, at, m.accepted)
	if m.untidy = 0; err != nil {
		m.untidy = packs
	}
	return err
}

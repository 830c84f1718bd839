package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sys/unix"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

type commitSet map[plumbing.Hash]struct{}

func (s commitSet) has(id plumbing.Hash) bool { _, ok := s[id]; return ok }

// history is what lies between a commit and those that are known.
type history struct {
	fresh   []plumbing.Hash // commits that are not known, the newest first
	reached commitSet       // known ones that these name as parents, or the commit itself
}

// history walks from a commit back to known ones and lists the commit's files, so that all of it is known to be there.
func (m *Mirror) history(ctx context.Context, r *Repo, tip plumbing.Hash) (history, error) {
	h, err := r.walkBack(ctx, tip, m.known)
	if err == nil {
		err = r.filesOf(ctx, tip)
	}
	if bad := new(remote.Wrong); isUnfit(err) && errors.As(err, &bad) {
		return h, &Refused{tip.String(), bad.Text, bad.Advice}
	}
	return h, asIncomplete(ctx, err)
}

// wholeOf is a commit with all its ancestors; its files are there too, or that is the error.
func (m *Mirror) wholeOf(ctx context.Context, r *Repo, tip plumbing.Hash) (commitSet, error) {
	h, err := r.walkBack(ctx, tip, nil)
	all := make(commitSet, len(h.fresh))
	for _, id := range h.fresh {
		all[id] = struct{}{}
	}
	if err == nil {
		err = r.filesOf(ctx, tip)
	}
	return all, asIncomplete(ctx, err)
}

// walkBack reads every commit that a commit descends from, but for those that are known and what they descend from.
func (r *Repo) walkBack(ctx context.Context, tip plumbing.Hash, known commitSet) (history, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := history{reached: commitSet{}}
	if err := r.refresh(); err != nil {
		return h, err
	}
	seen := commitSet{}
	for next := []plumbing.Hash{tip}; len(next) > 0; {
		id := next[len(next)-1]
		next = next[:len(next)-1]
		switch {
		case known.has(id):
			h.reached[id] = struct{}{}
			continue
		case seen.has(id):
			continue
		}
		seen[id] = struct{}{}
		if err := ctx.Err(); err != nil {
			return h, err
		}
		raw, err := r.rawCommit(id)
		if err != nil {
			return h, fmt.Errorf("read history: %w", err)
		}
		h.fresh = append(h.fresh, id)
		next = append(next, parentsOf(raw)...)
	}
	return h, nil
}

// rawCommit are the bytes of a commit, as its id hashes them.
func (r *Repo) rawCommit(id plumbing.Hash) ([]byte, error) {
	o, err := readObject(r.git.Storer, plumbing.CommitObject, id, maxCommit)
	if err != nil {
		return nil, err
	}
	content, err := o.Reader()
	if err != nil {
		return nil, err
	}
	defer content.Close() // only read
	return io.ReadAll(content)
}

// parentsOf are the parents that a commit's headers name.
func parentsOf(raw []byte) (ids []plumbing.Hash) {
	for line := range bytes.Lines(raw) {
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
		if id, ok := bytes.CutPrefix(bytes.TrimRight(line, "\n"), []byte("parent ")); ok {
			ids = append(ids, plumbing.NewHash(string(id)))
		}
	}
	return ids
}

// filesOf reads all folders of a commit and finds all its files.
func (r *Repo) filesOf(ctx context.Context, id plumbing.Hash) error {
	c, err := r.checkedCommit(id)
	if err != nil {
		return err
	}
	_, err = r.Files(ctx, c)
	return err
}

// readAll reads every byte of a commit's files.
func (r *Repo) readAll(ctx context.Context, id plumbing.Hash) error {
	c, err := r.checkedCommit(id)
	if err != nil {
		return asIncomplete(ctx, err)
	}
	all, err := r.Files(ctx, c)
	if err != nil {
		return asIncomplete(ctx, err)
	}
	for _, f := range all.Files() {
		if f.Mode == artifact.Module {
			continue
		}
		if err := cmp.Or(ctx.Err(), readFile(all, f)); err != nil {
			return asIncomplete(ctx, err)
		}
	}
	return nil
}

func readFile(all *Files, f artifact.File) error {
	r, err := all.Open(f)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// checkedCommit is a commit that every reader reads alike.
func (r *Repo) checkedCommit(id plumbing.Hash) (Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, err := readObject(r.git.Storer, plumbing.CommitObject, id, maxCommit)
	if err != nil {
		return Commit{}, err
	}
	c, err := r.decodeCommit(o)
	if err != nil {
		return Commit{}, malformed("commit anew", "%v", err)
	}
	return describe(c), nil
}

// judge says whether a commit whose history is there may follow the accepted one.
func (m *Mirror) judge(tip plumbing.Hash, h history) error {
	if m.record.Lost && !m.allowed(tip, h) {
		return &Refused{tip.String(), "the mirror's record was damaged, and nothing says which commit was accepted last", "if it is the right one, name it with --accept"}
	}
	if !m.accepted.IsZero() && !h.reached.has(m.accepted) && !m.allowed(tip, h) {
		what := "the branch was rewritten"
		if m.known.has(tip) {
			what = "the branch was set back, or its server lags behind"
		}
		return &Refused{tip.String(), fmt.Sprintf("it does not descend from %s, which was accepted last: %s", m.accepted, what), "push a commit that does or, if this one is right, name it with --accept"}
	}
	return m.checkSignatures(tip, h)
}

// allowed says whether an operator has named the commit, or one that it descends from.
func (m *Mirror) allowed(tip plumbing.Hash, h history) bool {
	if m.named.IsZero() {
		return false
	}
	if tip == m.named {
		return true
	}
	for _, id := range h.fresh {
		if id == m.named {
			return true
		}
	}
	return false
}

// checkSignatures checks each commit since the accepted one; of a first one, that one alone.
func (m *Mirror) checkSignatures(tip plumbing.Hash, h history) error {
	if m.o.Signers == nil {
		return nil
	}
	fresh := h.fresh
	if len(m.known) == 0 {
		fresh = []plumbing.Hash{tip}
	}
	m.repo.mu.Lock()
	defer m.repo.mu.Unlock()
	for _, id := range fresh {
		raw, err := m.repo.rawCommit(id)
		if err != nil {
			return err
		}
		if _, err := m.o.Signers.Verify(raw); err != nil {
			text := err.Error()
			if id != tip {
				text = fmt.Sprintf("it brings commit %s: %s", id, text)
			}
			return &Refused{tip.String(), text, "have it signed by somebody whose key is known, or let that key be known"}
		}
	}
	return nil
}

// accept makes a commit the accepted one, on the disk first.
func (m *Mirror) accept(ctx context.Context, tip plumbing.Hash, h history) error {
	r := record{Repository: m.record.Repository, Accepted: map[string]string{}}
	for ref, id := range m.record.Accepted {
		r.Accepted[ref] = id
	}
	r.Accepted[m.ref().String()] = tip.String()
	if err := m.writeRecord(r); err != nil {
		return err
	}
	forward := m.accepted.IsZero() || h.reached.has(m.accepted)
	m.accepted, m.named, m.last = tip, plumbing.ZeroHash, refusal{}
	if m.known == nil {
		m.known = commitSet{}
	}
	if !forward {
		m.examine(ctx, false)
		return nil
	}
	for _, id := range h.fresh {
		m.known[id] = struct{}{}
	}
	return nil
}

// isUnfit says whether an error is one of what people committed, and not of the repository that holds it.
func isUnfit(err error) bool {
	var w *remote.Wrong
	return errors.As(err, &w) && w.Field == "commit"
}

// incomplete is an error of objects that are missing or damaged, so that fetching them anew may help.
type incomplete struct{ error }

// Unwrap is the cause.
func (i incomplete) Unwrap() error { return i.error }

func notWhole(err error) bool {
	var i incomplete
	return errors.As(err, &i)
}

// asIncomplete makes an error of reading objects incomplete, unless it has another reason.
func asIncomplete(ctx context.Context, err error) error {
	if err == nil || isUnfit(err) || ctx.Err() != nil {
		return err
	}
	for _, own := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOSPC, unix.EDQUOT, unix.EACCES, unix.EROFS} {
		if errors.Is(err, own) {
			return err
		}
	}
	return incomplete{err}
}

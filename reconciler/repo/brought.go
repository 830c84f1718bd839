package repo

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// skew is by how much the clocks of committers may differ.
const skew = 24 * time.Hour

// Brought are the messages of the commits of the branch itself that brought others: of each the merge that had it first, or its own message if it was
// made there. The branch is that which Changes looks back from, along first parents. What is not found is not there.
func (c *Changes) Brought(ctx context.Context, ids []string) (map[string]string, error) {
	b := bringing{Changes: c, ctx: ctx, left: commitSet{}, seen: commitSet{}, found: map[string]string{}}
	for _, id := range ids {
		at, err := c.commit(plumbing.NewHash(id))
		if err != nil {
			return nil, err
		}
		if at == nil {
			continue
		}
		b.left[at.Hash] = struct{}{}
		if when := at.Committer.When.Add(-skew); b.since.IsZero() || when.Before(b.since) {
			b.since = when
		}
	}
	line, err := b.mainline()
	if err != nil {
		return nil, err
	}
	for i := len(line) - 1; i >= 0 && len(b.left) > 0; i-- { // the oldest first: it had what later ones have too
		if err := b.merged(line[i]); err != nil {
			return nil, err
		}
	}
	return b.found, nil
}

// bringing is one search for the commits that brought others.
type bringing struct {
	*Changes
	ctx   context.Context
	since time.Time // no older commit can have brought any
	left  commitSet // not found yet
	seen  commitSet
	found map[string]string
}

// look notes a commit, and what brought it if that is wanted.
func (b *bringing) look(at *object.Commit, message string) error {
	b.seen[at.Hash] = struct{}{}
	if b.left.has(at.Hash) {
		b.found[at.Hash.String()] = message
		delete(b.left, at.Hash)
	}
	if len(b.seen) > maxVisits {
		return fmt.Errorf("find merges: not within %d commits", maxVisits)
	}
	return b.ctx.Err()
}

// mainline are the branch's own commits, the newest first.
func (b *bringing) mainline() (line []*object.Commit, err error) {
	for at := b.start; at != nil && len(b.left) > 0 && !at.Committer.When.Before(b.since); {
		if err := b.look(at, at.Message); err != nil {
			return nil, err
		}
		line = append(line, at)
		if at.NumParents() == 0 {
			break
		}
		if at, err = b.commit(at.ParentHashes[0]); err != nil {
			return nil, err
		}
	}
	return line, nil
}

// merged looks at what a merge brought.
func (b *bringing) merged(m *object.Commit) error {
	for next := slices.Clone(m.ParentHashes[min(1, len(m.ParentHashes)):]); len(next) > 0; {
		id := next[len(next)-1]
		next = next[:len(next)-1]
		if b.seen.has(id) {
			continue
		}
		at, err := b.commit(id)
		if err != nil {
			return err
		}
		if at == nil || at.Committer.When.Before(b.since) {
			continue
		}
		if err := b.look(at, m.Message); err != nil {
			return err
		}
		next = append(next, at.ParentHashes...)
	}
	return nil
}

// pullForms are how forges name a pull request in the message of its merge: GitHub; GitHub and Gitea, of what was squashed or merged; GitLab.
var pullForms = []*regexp.Regexp{
	regexp.MustCompile(`^Merge pull request #([0-9]{1,9}) from `),
	regexp.MustCompile(`^[^\n]*\(#([0-9]{1,9})\)(?:$|\n| from )`),
	regexp.MustCompile(`(?m)^See merge request [^\s]*!([0-9]{1,9})$`),
}

// PullOf is the number of the pull request that the message of a merge names; 0: none.
func PullOf(message string) int {
	message = strings.TrimSpace(message)
	for _, form := range pullForms {
		if m := form.FindStringSubmatch(message); m != nil {
			n, _ := strconv.Atoi(m[1]) // it has few digits, and nothing else
			return n
		}
	}
	return 0
}

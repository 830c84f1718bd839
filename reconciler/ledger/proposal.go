package ledger

import (
	"context"
	"strconv"
	"time"
)

// The proposals that are kept beside pull requests that are open: so many, and so much of them all.
const (
	mostProposals     = 500
	mostProposalBytes = 64 << 20
)

// Proposal is what was found last of a pull request, or of the commit of a merge queue.
type Proposal struct {
	Number  int    // 0: none
	Head    string // commit that is proposed
	Merged  string // commit that its merge gives; empty: none
	Planned time.Time
	Closed  bool
	Line    []byte // JSON: what a list of them shows
	Told    []byte // JSON: everything; not in lists
}

// PutProposal remembers what was found of one, in place of what was before.
func (l *Ledger) PutProposal(ctx context.Context, p Proposal) error {
	id := p.Head
	if p.Number > 0 {
		id = strconv.Itoa(p.Number)
	}
	_, err := l.write(ctx, "record proposal", `INSERT INTO proposals (id, number, head, merged, planned, closed, line, told) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET head = excluded.head, merged = excluded.merged, planned = excluded.planned, closed = excluded.closed, line = excluded.line, told = excluded.told`,
		id, p.Number, p.Head, p.Merged, stamp(p.Planned), bit(p.Closed), string(p.Line), string(p.Told))
	if err != nil {
		return err
	}
	last, over, err := l.surplus(ctx, "SELECT planned, OCTET_LENGTH(told) FROM proposals WHERE closed = 1 OR number = 0 ORDER BY planned DESC", mostProposals, mostProposalBytes)
	if over {
		_, err = l.write(ctx, "forget proposals", "DELETE FROM proposals WHERE planned <= ? AND (closed = 1 OR number = 0)", last)
	}
	return err
}

// OpenProposals are the pull requests that were open when they were looked at last.
func (l *Ledger) OpenProposals(ctx context.Context) ([]int, error) {
	return read(ctx, l, "read open proposals", func(scan func(...any) error) (n int, err error) {
		err = scan(&n)
		return n, err
	}, "SELECT number FROM proposals WHERE closed = 0 AND number > 0 ORDER BY number")
}

// CloseProposal remembers that a pull request is open no more.
func (l *Ledger) CloseProposal(ctx context.Context, number int) error {
	_, err := l.write(ctx, "close proposal", "UPDATE proposals SET closed = 1 WHERE number = ?", number)
	return err
}

// Proposals are all that are kept, the last that was planned first, without what was told of each.
func (l *Ledger) Proposals(ctx context.Context) ([]Proposal, error) {
	return read(ctx, l, "read proposals", scanProposal, "SELECT number, head, merged, planned, closed, line, '' FROM proposals ORDER BY planned DESC, id")
}

// ProposalOf is the last that was planned of a number, or of those whose proposed or merged commit begins so, with twelve digits or more; false for none.
func (l *Ledger) ProposalOf(ctx context.Context, which string) (Proposal, bool, error) {
	number, err := strconv.ParseInt(which, 10, 64)
	if err != nil || number == 0 {
		number = -1
	}
	if len(which) < 12 {
		which = "-" // as no commit begins
	}
	found, err := read(ctx, l, "read proposal", scanProposal, `SELECT number, head, merged, planned, closed, line, told FROM proposals
		WHERE number = ? OR SUBSTR(head, 1, ?) = ? OR SUBSTR(merged, 1, ?) = ? ORDER BY planned DESC, id LIMIT 1`, number, len(which), which, len(which), which)
	if err != nil || len(found) == 0 {
		return Proposal{}, false, err
	}
	return found[0], true, nil
}

func scanProposal(scan func(...any) error) (p Proposal, err error) {
	var planned, closed int64
	err = scan(&p.Number, &p.Head, &p.Merged, &planned, &closed, &p.Line, &p.Told)
	p.Planned, p.Closed = unstamp(planned), closed == 1
	return p, err
}

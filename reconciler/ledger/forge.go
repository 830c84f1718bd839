package ledger

import (
	"context"
	"fmt"
	"time"
)

// Check is what the check of a pull request found that a merge of it will render.
type Check struct {
	GitTree string // 40 hex digits
	Pomona  string // version
	Givens  string // their digest
	Tree    string // the tree digest, 64 hex digits
}

// PutCheck remembers a check, in place of an earlier one of the same inputs.
func (l *Ledger) PutCheck(ctx context.Context, c Check, at time.Time) error {
	_, err := l.write(ctx, "record check", `INSERT INTO checks (git_tree, pomona, givens, tree, at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (git_tree, pomona, givens) DO UPDATE SET tree = excluded.tree, at = excluded.at`, c.GitTree, c.Pomona, c.Givens, c.Tree, stamp(at))
	return err
}

// Checked is the tree digest that a check of these inputs found; empty for none.
func (l *Ledger) Checked(ctx context.Context, gitTree, pomona, givens string) (tree string, err error) {
	err = l.db.QueryRowContext(ctx, "SELECT tree FROM checks WHERE git_tree = ? AND pomona = ? AND givens = ?", gitTree, pomona, givens).Scan(&tree)
	return tree, orNone("read check", err)
}

// Delivery is one of a webhook that was heard.
type Delivery struct {
	Source, ID string
	At         time.Time
}

// maxDeliveries are kept; older ones go.
const maxDeliveries = 1 << 16

// Deliver remembers deliveries.
func (l *Ledger) Deliver(ctx context.Context, ds []Delivery) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("record deliveries: %w", err)
	}
	defer tx.Rollback() // of no effect once it is committed
	for _, d := range ds {
		if _, err := tx.ExecContext(ctx, "INSERT INTO deliveries (source, id, at) VALUES (?, ?, ?) ON CONFLICT (source, id) DO NOTHING", d.Source, d.ID, stamp(d.At)); err != nil {
			return fmt.Errorf("record deliveries: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("record deliveries: %w", err)
	}
	return nil
}

// Deliveries are those that are remembered, the oldest first.
func (l *Ledger) Deliveries(ctx context.Context) ([]Delivery, error) {
	return read(ctx, l, "read deliveries", func(scan func(...any) error) (d Delivery, err error) {
		var at int64
		err = scan(&d.Source, &d.ID, &at)
		d.At = unstamp(at)
		return d, err
	}, "SELECT source, id, at FROM deliveries ORDER BY at, source, id")
}

// ForgetDeliveries forgets those before a time, and the oldest if there are too many.
func (l *Ledger) ForgetDeliveries(ctx context.Context, before time.Time) error {
	_, err := l.write(ctx, "forget deliveries", `DELETE FROM deliveries WHERE at < ? OR
		at < (SELECT at FROM deliveries ORDER BY at DESC LIMIT 1 OFFSET ?)`, stamp(before), maxDeliveries)
	return err
}

// Preview is the tree of a pull request that is served.
type Preview struct {
	Number  int
	Head    string // commit, 40 hex digits
	Tree    string // digest, 64 hex digits
	Bytes   int64
	Expires time.Time
}

// PutPreview remembers a preview, in place of an earlier one of the same pull request.
func (l *Ledger) PutPreview(ctx context.Context, p Preview) error {
	_, err := l.write(ctx, "record preview", `INSERT INTO previews (number, head, tree, bytes, expires) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (number) DO UPDATE SET head = excluded.head, tree = excluded.tree, bytes = excluded.bytes, expires = excluded.expires`,
		p.Number, p.Head, p.Tree, p.Bytes, stamp(p.Expires))
	return err
}

// Previews are all of them, by number.
func (l *Ledger) Previews(ctx context.Context) ([]Preview, error) {
	return read(ctx, l, "read previews", func(scan func(...any) error) (p Preview, err error) {
		var expires int64
		err = scan(&p.Number, &p.Head, &p.Tree, &p.Bytes, &expires)
		p.Expires = unstamp(expires)
		return p, err
	}, "SELECT number, head, tree, bytes, expires FROM previews ORDER BY number")
}

// DeletePreview forgets a preview; one that is not there is no error.
func (l *Ledger) DeletePreview(ctx context.Context, number int) error {
	_, err := l.write(ctx, "forget preview", "DELETE FROM previews WHERE number = ?", number)
	return err
}

package ledger

import (
	"context"
	"time"
)

// Notification is a message to one target that has not been delivered yet.
type Notification struct {
	Target string
	Hash   string // of what it says: equal ones are one
	Body   []byte
	Tries  int       // failed so far
	Due    time.Time // when to try; zero once it is delivered
}

// Notify queues a message, due at once, unless an equal one was queued at or after since. It says whether it was queued.
func (l *Ledger) Notify(ctx context.Context, n Notification, at, since time.Time) (queued bool, err error) {
	changed, err := l.write(ctx, "queue notification", `INSERT INTO notifications (target, hash, at, body, tries, due) VALUES (?, ?, ?, ?, 0, ?)
		ON CONFLICT (target, hash) DO UPDATE SET at = excluded.at, body = excluded.body, tries = 0, due = excluded.due
		WHERE notifications.at < ? AND notifications.due = 0`, n.Target, n.Hash, stamp(at), string(n.Body), stamp(at), stamp(since))
	return changed > 0, err
}

// Due are the messages to deliver now, the oldest first.
func (l *Ledger) Due(ctx context.Context, now time.Time) ([]Notification, error) {
	return read(ctx, l, "read notifications", func(scan func(...any) error) (n Notification, err error) {
		var due int64
		err = scan(&n.Target, &n.Hash, &n.Body, &n.Tries, &due)
		n.Due = unstamp(due)
		return n, err
	}, "SELECT target, hash, body, tries, due FROM notifications WHERE due > 0 AND due <= ? ORDER BY at, target, hash", stamp(now))
}

// Delivered says that a message needs no more tries: it arrived, or was given up.
func (l *Ledger) Delivered(ctx context.Context, n Notification) error {
	_, err := l.write(ctx, "record notification", "UPDATE notifications SET due = 0 WHERE target = ? AND hash = ?", n.Target, n.Hash)
	return err
}

// Retry has a message tried again later.
func (l *Ledger) Retry(ctx context.Context, n Notification, due time.Time) error {
	_, err := l.write(ctx, "record notification", "UPDATE notifications SET tries = tries + 1, due = ? WHERE target = ? AND hash = ?", stamp(due), n.Target, n.Hash)
	return err
}

// ForgetNotifications forgets delivered ones that were queued before a time.
func (l *Ledger) ForgetNotifications(ctx context.Context, before time.Time) error {
	_, err := l.write(ctx, "forget notifications", "DELETE FROM notifications WHERE due = 0 AND at < ?", stamp(before))
	return err
}

package ledger

import (
	"context"
	"time"
)

// Hook is how a hook after publication fares.
type Hook struct {
	Name       string
	Generation int64     // that it was told of last, with success; 0 for none
	Commit     string    // of it
	At         time.Time // when
	Tries      int       // failed since then
	Since      time.Time // of the first of them
	Trouble    string    // of the last of them
}

// PutHook remembers how a hook fares. A ledger that was lost has it told of the current generation once more.
func (l *Ledger) PutHook(ctx context.Context, h Hook) error {
	_, err := l.write(ctx, "record hook", `INSERT INTO hooks (hook, generation, commit_id, at, tries, since, trouble) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (hook) DO UPDATE SET generation = excluded.generation, commit_id = excluded.commit_id, at = excluded.at,
		tries = excluded.tries, since = excluded.since, trouble = excluded.trouble`,
		h.Name, h.Generation, h.Commit, stamp(h.At), h.Tries, stamp(h.Since), h.Trouble)
	return err
}

// Hooks are all that were ever told something, by name.
func (l *Ledger) Hooks(ctx context.Context) ([]Hook, error) {
	return read(ctx, l, "read hooks", func(scan func(...any) error) (h Hook, err error) {
		var at, since int64
		err = scan(&h.Name, &h.Generation, &h.Commit, &at, &h.Tries, &since, &h.Trouble)
		h.At, h.Since = unstamp(at), unstamp(since)
		return h, err
	}, "SELECT hook, generation, commit_id, at, tries, since, trouble FROM hooks ORDER BY hook")
}

// ForgetHook forgets a hook that is configured no more.
func (l *Ledger) ForgetHook(ctx context.Context, name string) error {
	_, err := l.write(ctx, "forget hook", "DELETE FROM hooks WHERE hook = ?", name)
	return err
}

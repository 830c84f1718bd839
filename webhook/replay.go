package webhook

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// Replay remembers deliveries: Deliver says whether this one is new.
type Replay interface {
	Deliver(ctx context.Context, source, id string, at time.Time) (fresh bool, err error)
}

// Memory is a Replay that remembers so many deliveries, and forgets the oldest. Its zero value is of no use.
type Memory struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]struct{}
	ring [][sha256.Size]byte
	next int
}

// NewMemory remembers n deliveries: about 150 bytes each.
func NewMemory(n int) *Memory {
	return &Memory{seen: make(map[[sha256.Size]byte]struct{}), ring: make([][sha256.Size]byte, n)}
}

// Deliver implements Replay.
func (m *Memory) Deliver(_ context.Context, source, id string, _ time.Time) (bool, error) {
	key := sha256.Sum256([]byte(source + "\x00" + id))
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.seen[key]; ok {
		return false, nil
	}
	delete(m.seen, m.ring[m.next])
	m.ring[m.next] = key
	m.seen[key] = struct{}{}
	m.next = (m.next + 1) % len(m.ring)
	return true, nil
}

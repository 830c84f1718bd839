package load

import (
	"maps"
	"sync"
)

// cache remembers values that recent passes used. Its zero value is empty; it is safe for concurrent use.
type cache[T any] struct {
	mu      sync.Mutex
	entries map[string]entry[T]
}

// entry is a value with the last pass that used it.
type entry[T any] struct {
	value T
	pass  int64
}

// forget is after how many passes an unused value is dropped; some branches may take turns.
const forget = 8

func (c *cache[T]) get(key string, pass int64) (T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if ok {
		c.entries[key] = entry[T]{e.value, max(pass, e.pass)}
	}
	return e.value, ok
}

func (c *cache[T]) put(key string, v T, pass int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[string]entry[T]{}
	}
	c.entries[key] = entry[T]{v, pass}
}

func (c *cache[T]) sweep(pass int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.entries, func(_ string, e entry[T]) bool { return e.pass <= pass-forget })
}

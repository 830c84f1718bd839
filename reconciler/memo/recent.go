package memo

import (
	"maps"
	"sync"
)

// Recent remembers values that recent passes used. Its zero value is empty; it is safe for concurrent use.
type Recent[T any] struct {
	mu      sync.Mutex
	entries map[string]*recent[T]
}

// recent is a value with the last pass that used it.
type recent[T any] struct {
	value T
	pass  int64
}

// forget is after how many passes an unused value is dropped; some branches may take turns.
const forget = 8

// Get is what was put by a key.
func (r *Recent[T]) Get(key string, pass int64) (v T, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[key]
	if ok {
		e.pass = max(pass, e.pass)
		v = e.value
	}
	return v, ok
}

// Put remembers a value.
func (r *Recent[T]) Put(key string, v T, pass int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = map[string]*recent[T]{}
	}
	r.entries[key] = &recent[T]{v, pass}
}

// Has says whether there is a value by a key, which is no use of it.
func (r *Recent[T]) Has(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entries[key] != nil
}

// Sweep drops what no recent pass has used.
func (r *Recent[T]) Sweep(pass int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.entries, func(_ string, e *recent[T]) bool { return e.pass <= pass-forget })
}

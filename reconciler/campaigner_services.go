package reconciler

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// SampledService is a service that campaigns need, and how often it is asked.
type SampledService struct {
	observe.ServiceSource
	Every time.Duration
}

// samples are the services as they were sampled last.
type samples struct {
	mu   sync.Mutex
	last map[string]observed.Service // At is since when it is so
}

// sample asks each service again and again, until the context ends.
func (s *Campaigner) sample(ctx context.Context) {
	var all sync.WaitGroup
	for _, source := range s.Services {
		all.Go(func() {
			for ctx.Err() == nil {
				if now := source.Sample(ctx, s.Now()); ctx.Err() == nil && s.samples.set(now) {
					s.Log.Info("a service that campaigns need is another way", "service", now.Name, "well", now.Well, "because", now.Why)
					s.stir()
				}
				select {
				case <-ctx.Done():
				case <-time.After(source.Every):
				}
			}
		})
	}
	all.Wait()
}

// set notes a sample, and says whether it changes whether the service is well.
func (s *samples) set(now observed.Service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[string]observed.Service{}
	}
	was, known := s.last[now.Name]
	if known && was.Well == now.Well {
		now.At = was.At
	}
	s.last[now.Name] = now
	return !known || was.Well != now.Well
}

// all are the services by name, as far as they were sampled.
func (s *samples) all() map[string]observed.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.last)
}

func (s *samples) sorted() []observed.Service {
	return slices.SortedFunc(maps.Values(s.all()), func(a, b observed.Service) int { return strings.Compare(a.Name, b.Name) })
}

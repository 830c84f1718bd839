package reconciler

import "context"

// Step decides once and does it, as Run does again and again.
func (s *Restarter) Step(ctx context.Context) error {
	_, err := s.step(ctx)
	return err
}

// DiesAt has a restarter do nothing more from a point on, as if it were killed there.
func (s *Restarter) DiesAt(at func(point, fec string) bool) { s.atPoint = at }

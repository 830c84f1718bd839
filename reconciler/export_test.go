package reconciler

import "context"

// Step decides once and does it, as Run does again and again.
func (s *Restarter) Step(ctx context.Context) error {
	_, err := s.step(ctx)
	return err
}

// DiesAt has a restarter do nothing more from a point on, as if it were killed there.
func (s *Restarter) DiesAt(at func(point, fec string) bool) { s.atPoint = at }

// Step looks once at every record that is not proven, and asks for a pass if it could prove any.
func (p *Prover) Step(ctx context.Context) error {
	found, err := p.step(ctx)
	if found > 0 {
		p.Kick(ctx)
	}
	return err
}

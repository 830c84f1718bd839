package main

import (
	"fmt"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// BenchmarkGates judges one pilot of row gates: 200 are what is measured there.
func BenchmarkGates(b *testing.B) {
	p := newPiloted("pilot")
	for b.Loop() {
		_ = plan.Pilot(p.name, p.pilot, p.facts, p.now)
	}
}

// BenchmarkClosures judges one that somebody has recorded as closed again and again, without what that wants.
func BenchmarkClosures(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := newPiloted("pilot")
			for range n {
				p.add("carla", desired.PilotRecord{Kind: desired.RecordClosure, Outcome: "promoted"})
			}
			for b.Loop() {
				_ = plan.Pilot(p.name, p.pilot, p.facts, p.now)
			}
		})
	}
}

package load_test

import (
	"fmt"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/load"
)

// BenchmarkSite loads 1,000 FECs in folders of ten: cold, and again with nothing changed.
func BenchmarkSite(b *testing.B) {
	m := newMemory().put("cue.mod/module.cue", module, artifact.Regular).put("site.cue", settings, artifact.Regular)
	m.put("schema.cue", root, artifact.Regular)
	for d := range 100 {
		for i := range 10 {
			name := fmt.Sprintf("kg%dx%d", d, i)
			pins := ""
			for s := range 8 {
				pins += fmt.Sprintf("\t\tsw%d: {version: \"1.%d.0\", start: true}\n", s, i)
			}
			m.put(fmt.Sprintf("fecs/g%03d/%s.cue", d, name), fmt.Sprintf(`package site

fecs: %s: {
	host: "%s.example.org"
	platform: "ppc"
	location: "hall %d"
	groups: ["a", "b"]
	software: {
%s	}
	configuration: {c1: "1.0", c2: "2.0"}
	init: "10-env": global: "10-env"
	init: "20-run": {file: "scripts/run", starts: "sw1"}
	labels: {a: "b", c: "d"}
}
`, name, name, i, pins), artifact.Regular)
		}
	}
	run := func(b *testing.B, l *load.Loader) {
		loaded, err := l.Site(b.Context(), m)
		if err != nil || len(loaded.Problems) > 0 || len(loaded.Site.FECs) != 1000 {
			b.Fatal(err, loaded.Problems)
		}
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			run(b, load.New(options(b)))
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		l := load.New(options(b))
		run(b, l)
		for b.Loop() {
			run(b, l)
		}
	})
}

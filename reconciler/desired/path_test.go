package desired_test

import (
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestCUEPath(t *testing.T) {
	for _, c := range []struct {
		parts []any
		want  string
	}{
		{[]any{"software", "bpm", "versions", "3.1.0", "payload", "any"}, `software.bpm.versions."3.1.0".payload.any`},
		{[]any{"fecs", "kgp2cu02", "groups", 1}, `fecs.kgp2cu02.groups[1]`},
		{[]any{"fecs", "2cu", "init", "10-env"}, `fecs."2cu".init."10-env"`},
		{[]any{"software", "beam_loss"}, `software.beam_loss`},
		{[]any{"labels", "_hidden", "#Definition", ""}, `labels."_hidden"."#Definition".""`},
		{[]any{"labels", `a"b`}, `labels."a\"b"`},
		{nil, ""},
	} {
		if got := desired.CUEPath(c.parts...); got != c.want {
			t.Errorf("CUEPath(%q) = %s, want %s", c.parts, got, c.want)
		}
	}
}

func TestArchiveName(t *testing.T) {
	for _, c := range []struct {
		key    string
		format artifact.Format
		want   string
	}{
		{"any", artifact.Gzip, "bpm-3.1.0.tar.gz"},
		{"", artifact.Xz, "bpm-3.1.0.tar.xz"},
		{"ppc", artifact.Zstd, "bpm-3.1.0-ppc.tar.zst"},
	} {
		if got := desired.ArchiveName("bpm", "3.1.0", c.key, c.format); got != c.want {
			t.Errorf("ArchiveName(%q, %q) = %s, want %s", c.key, c.format, got, c.want)
		}
	}
}

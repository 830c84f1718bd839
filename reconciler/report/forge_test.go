package report_test

import (
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/report"
)

func TestWhereAForgeShowsThings(t *testing.T) {
	for _, c := range []struct{ kind, api, repository, commit, pull, line string }{
		{"github", "", "lab/site", "https://github.com/lab/site/commit/abc", "https://github.com/lab/site/pull/7", "https://github.com/lab/site/blob/abc/fecs/a%20b.cue#L3"},
		{"github", "https://api.github.com", "lab/site", "https://github.com/lab/site/commit/abc", "https://github.com/lab/site/pull/7", "https://github.com/lab/site/blob/abc/fecs/a%20b.cue#L3"},
		{"github", "https://ghe.example.org/api/v3/", "lab/site", "https://ghe.example.org/lab/site/commit/abc", "https://ghe.example.org/lab/site/pull/7", "https://ghe.example.org/lab/site/blob/abc/fecs/a%20b.cue#L3"},
		{"gitea", "https://git.example.org/sub", "lab/site", "https://git.example.org/sub/lab/site/commit/abc", "https://git.example.org/sub/lab/site/pulls/7", "https://git.example.org/sub/lab/site/src/commit/abc/fecs/a%20b.cue#L3"},
		{"gitea", "https://git.example.org/api/v1", "lab/site", "https://git.example.org/lab/site/commit/abc", "https://git.example.org/lab/site/pulls/7", "https://git.example.org/lab/site/src/commit/abc/fecs/a%20b.cue#L3"},
		{"github", "javascript:alert(1)", "lab/site", "", "", ""},
		{"github", "", "site", "", "", ""},
	} {
		f := report.ForgeOf(c.kind, c.api, c.repository)
		if got := [3]string{f.Commit("abc"), f.Pull(7), f.Line("abc", "fecs/a b.cue", 3)}; got != [3]string{c.commit, c.pull, c.line} {
			t.Errorf("%s %q: %q", c.kind, c.api, got)
		}
	}
	if got := report.ForgeOf("github", "", "lab/site").Line("abc", "../../x/../y/", 0); got != "https://github.com/lab/site/blob/abc/x/y" {
		t.Errorf("got %s", got)
	}
}

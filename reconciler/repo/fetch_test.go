package repo_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// TestFetchAsksNoOddAddress: these are problems before anything is asked, also where no schema stands before.
func TestFetchAsksNoOddAddress(t *testing.T) {
	commit := strings.Repeat("01", 20)
	own, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ url, commit string }{
		{"file://" + own, commit}, {own, commit}, {"http://127.0.0.1/a", commit}, {"git://127.0.0.1/a", commit}, {"ext::sh -c x", commit},
		{"ssh://git@127.0.0.1/a';touch x;'", commit}, {"ssh://git@127.0.0.1/a%27;touch%20x;%27", commit}, {"ssh://git@127.0.0.1/%27", commit}, {"ssh://-oProxyCommand@127.0.0.1/a", commit},
		{"https://me:secret@127.0.0.1/a", commit}, {"https://127.0.0.1/a", "main"}, {"https://127.0.0.1/a", ""},
	} {
		err := repo.Fetch(t.Context(), t.TempDir(), repo.Remote{URL: c.url, Client: remote.New(remote.Options{})}, repo.Wanted{Commit: c.commit})
		var wrong *remote.Wrong
		if !errors.As(err, &wrong) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s %s: %v", c.url, c.commit, err)
		}
	}
}

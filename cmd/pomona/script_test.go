package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the expected output of test scripts anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pomona": func() { os.Exit(run(context.Background(), os.Args[1:])) },
	})
}

// TestScripts runs testdata/COMMAND_CASE.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			// The evaluation child is this test binary, by the same name.
			e.Vars = append(e.Vars, "XDG_CACHE_HOME="+filepath.Join(e.WorkDir, ".cache"), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
			return nil
		},
	})
}

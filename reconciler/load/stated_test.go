package load_test

import (
	"fmt"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
)

// TestStatedIsWhereAValueIsWrittenDown: behind references and variables, and nowhere when its own line has it.
func TestStatedIsWhereAValueIsWrittenDown(t *testing.T) {
	m := newMemory().put("cue.mod/module.cue", module, artifact.Regular).put("site.cue", settings, artifact.Regular)
	m.put("defaults/d.cue", `package defaults

linux: {platform: *"ppc" | string, ...}
rack: "rack 7"
`, artifact.Regular)
	m.put("fecs.cue", `package site

import "example.org/site/defaults"

let versions = {
	"1": "one"
	"2": "two"
}
let who = "me"
fecs: {
	for n, v in versions {
		"kg\(n)": defaults.linux & {
			host:        "h\(n)"
			description: v
			responsible: who
			location:    defaults.rack
			platform:    "ppc"
		}
	}
	kg3: defaults.linux & {host: "h3", location: "here"}
}
`, artifact.Regular)
	loaded := mustLoad(t, load.New(options(t)), m)
	if len(loaded.Problems) > 0 {
		t.Fatal(loaded.Problems)
	}
	for path, want := range map[string]string{
		"fecs.kg1.description": "fecs.cue:6",
		"fecs.kg2.description": "fecs.cue:7",
		"fecs.kg2.responsible": "fecs.cue:9",
		"fecs.kg2.location":    "defaults/d.cue:4",
		"fecs.kg2.host":        ":0",
		"fecs.kg2.platform":    ":0",
		"fecs.kg3.location":    ":0",
		"fecs.kg3.nothing":     ":0",
		"fecs.nobody.host":     ":0",
		"malformed..":          ":0",
	} {
		got, err := loaded.Stated(t.Context(), desired.Problems{{Path: path}})
		if err != nil {
			t.Fatal(err)
		}
		if at := fmt.Sprintf("%s:%d", got[0].File, got[0].Line); at != want {
			t.Errorf("%s is stated at %s, want %s", path, at, want)
		}
	}
}

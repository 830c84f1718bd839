package build_test

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// TestAttributesThatChangeContent has rules that make a work tree differ from what is committed and packed.
func TestAttributesThatChangeContent(t *testing.T) {
	site := desired.Site{
		Settings: desired.Settings{Scripts: map[string]desired.GlobalScript{"net": {File: "net.sh"}}},
		Software: map[string]desired.Software{"bpm": {Versions: map[string]desired.Release{"1.0.0": {Payload: map[string]desired.Payload{
			"any": {Folder: "bpm/1", Install: install},
		}}}}},
	}
	files := map[string]string{"net.sh": "", "bpm/1/bin/x": "", "bpm/1/lib/y.so": "", "docs/z.png": ""}
	for rule, want := range map[string]string{
		"*.so filter=lfs diff=lfs merge=lfs -text": "filter=lfs makes git change bpm/1/lib/y.so at checkout",
		"bpm/1/bin/x ident":                        "ident makes git change bpm/1/bin/x",
		"/bpm/** eol=crlf":                         "eol=crlf makes git change bpm/1/bin/x",
		"*.sh text working-tree-encoding=UTF-16":   "working-tree-encoding=UTF-16 makes git change net.sh",
		"x\t  ident":                               "ident makes git change bpm/1/bin/x",
		"* text=auto eol=lf":                       "",
		"*.so -filter binary":                      "",
		"*.png filter=lfs":                         "",
		"# *.so filter=lfs":                        "",
		"docs/** filter=lfs":                       "",
		"*.so":                                     "",
		"[ filter=lfs":                             "",
	} {
		t.Run(rule, func(t *testing.T) {
			files[".gitattributes"] = "\n" + rule + "\n"
			ps, err := build.Check(t.Context(), commit(files), site, nil)
			if err != nil {
				t.Fatal(err)
			}
			if want == "" && len(ps) > 0 || want != "" && (len(ps) != 1 || !ps[0].Warning || !strings.HasPrefix(ps.Error(), ".gitattributes:2:1: warning: "+want)) {
				t.Errorf("problems %v, want %q", ps, want)
			}
		})
	}
	files[".gitattributes"] = ""
	files["bpm/1/.gitattributes"] = "/bin/x ident\n"
	if ps, err := build.Check(t.Context(), commit(files), site, nil); err != nil || len(ps) != 1 || ps[0].File != "bpm/1/.gitattributes" {
		t.Errorf("in a folder: %v, %v", ps, err)
	}
}

package tree_test

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

func TestOneFECOfAnIndexIsFound(t *testing.T) {
	x := tree.Index{Site: "a", Channel: "production", Generation: 3, Commit: strings.Repeat("a", 40)}
	for i, name := range []string{"crate", "crate1", "crate10"} {
		x.FECs = append(x.FECs, tree.IndexedFEC{Name: name, Content: artifact.Sum([]byte(name)), Folder: artifact.Sum([]byte{byte(i)}), Serial: int64(i + 7), Expires: 9})
	}
	b := x.Marshal()
	for _, want := range x.FECs {
		if got, there := tree.FindFEC(b, want.Name); !there || got != want {
			t.Errorf("%s is %+v, %v", want.Name, got, there)
		}
	}
	for _, name := range []string{"", "crat", "crate2", "crate1 x", "a\nfec crate1", "crate " + x.FECs[0].Content.String()} {
		if got, there := tree.FindFEC(b, name); there {
			t.Errorf("%q is %+v", name, got)
		}
	}
	if _, there := tree.FindFEC(b[:200], "crate"); there {
		t.Error("a line that is cut is found")
	}
}

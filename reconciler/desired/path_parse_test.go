package desired_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestParseCUEPathIsTheInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := []any{rapid.StringMatching(`[ -~]{1,8}`).Draw(t, "first")}
		more := rapid.OneOf(rapid.StringMatching(`[ -~]{0,8}`).AsAny(), rapid.IntRange(0, 9).AsAny())
		parts = append(parts, rapid.SliceOfN(more, 0, 4).Draw(t, "rest")...)
		path := desired.CUEPath(parts...)
		got, err := desired.ParseCUEPath(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(parts, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", path, d)
		}
	})
}

func TestParseCUEPathRefuses(t *testing.T) {
	for _, path := range []string{"", ".", "a.", "a..b", ".a", "[1]", "a[x]", "a[1", `a."b`, `"a"b`, "a.[1]", "a[1]b"} {
		if got, err := desired.ParseCUEPath(path); err == nil {
			t.Errorf("%q gives %v", path, got)
		}
	}
}

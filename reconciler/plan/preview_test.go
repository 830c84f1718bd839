package plan

import (
	"slices"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

func TestWhichPreviewsMustMakeRoom(t *testing.T) {
	object := func(s string) artifact.Digest { return artifact.Sum([]byte(s)) }
	of := func(number, day int, objects map[artifact.Digest]int64) Weighed {
		return Weighed{observed.Proposed{Number: number, Expires: time.Unix(0, 0).AddDate(0, 0, day)}, objects}
	}
	sized := func(name string, size int64) map[artifact.Digest]int64 {
		return map[artifact.Digest]int64{object(name): size}
	}
	published := map[artifact.Digest]bool{object("published"): true}
	for _, c := range []struct {
		name string
		all  []Weighed
		gone []int
	}{
		{"all fit", []Weighed{of(1, 1, sized("a", 4)), of(2, 2, sized("b", 6))}, nil},
		{"too many", []Weighed{of(1, 1, nil), of(2, 2, nil), of(3, 3, nil), of(4, 4, nil)}, []int{1}},
		{"too much", []Weighed{of(1, 1, sized("a", 5)), of(2, 2, sized("b", 6))}, []int{1}},
		{"what they share counts once", []Weighed{of(1, 1, sized("a", 9)), of(2, 2, sized("a", 9))}, nil},
		{"what is published does not count", []Weighed{of(1, 1, sized("published", 99)), of(2, 2, sized("b", 6))}, nil},
		{"one that never fits takes nobody's place", []Weighed{of(1, 1, sized("a", 5)), of(2, 2, sized("b", 5)), of(3, 3, sized("c", 11))}, []int{3}},
	} {
		if gone := Crowded(c.all, published, 3, 10); !slices.Equal(gone, c.gone) {
			t.Errorf("%s: %v go, want %v", c.name, gone, c.gone)
		}
	}
}
